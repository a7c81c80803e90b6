"""Frames on their way out: which words ride on each, and two bounded queues for the driver.

A frame carries first what its receiver must object to (our verdict on itself), then waiting
updates, as many as fit. A table goes out in as many frames as it takes, up to a bound. Datagrams
are short and may be lost; stream frames are long and come in order, but cost a connection.
"""

from gossamer_mesh.swim.codec import STATE, SYNC
from gossamer_mesh.swim.config import retransmit_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.swim.broadcast import Broadcasts
    from gossamer_mesh.swim.codec import Codec
    from gossamer_mesh.swim.config import Config
    from gossamer_mesh.swim.members import Members

    Address = tuple[str, int]


class Outbox:
    """What one member has to send. It reads the table and the waiting updates, and changes neither
    but for counting how often an update was sent."""

    def __init__(
        self,
        node_id: str,
        config: "Config",
        codec: "Codec",
        members: "Members",
        broadcasts: "Broadcasts",
    ) -> None:
        self._node_id = node_id
        self._config = config
        self._codec = codec
        self._members = members
        self._broadcasts = broadcasts
        self._room = codec.room()
        self._stream_room = codec.room(by_stream=True)
        self._header_bytes = codec.cost(b"")
        self._datagrams: list[tuple[bytes, Address]] = []
        self._stream_frames: list[tuple[bytes, Address, str]] = []
        self.dropped = 0
        self.stream_frames_dropped = 0

    def take(self) -> "list[tuple[bytes, Address]]":
        """All that waits, in order; it waits no longer."""
        datagrams = self._datagrams
        self._datagrams = []
        return datagrams

    def take_stream_frames(self) -> "list[tuple[bytes, Address, str]]":
        """All stream frames that wait: frame, address, the member there ("": not known)."""
        frames = self._stream_frames
        self._stream_frames = []
        return frames

    def send(
        self,
        kind: int,
        address: "Address",
        receiver: str,
        sequence: int,
        *,
        target: str = "",
        place: "Address | None" = None,
        by_stream: bool = False,
    ) -> None:
        """One frame; a datagram with as many waiting updates as fit.

        Args:
            kind: see `codec.KINDS`.
            address: where to.
            receiver: the member there, "" when we do not know.
            sequence: pairs question and answer.
            target: whom it is about, see `codec.Frame`.
            place: the target's address, for a request.
            by_stream: over a stream to the receiver instead of a datagram.
        """
        room = self._room if place is None else self._codec.room(place)
        updates = self._verdict_on(receiver)
        for verdict in updates:
            room -= self._codec.cost(verdict)
        if not by_stream:
            # A stream may never come about; what rides on it would count as sent.
            limit = retransmit_limit(self._config, len(self._members.present()))
            updates.extend(self._broadcasts.take(room, self._header_bytes, limit))
        self._put(
            kind,
            address,
            receiver,
            sequence,
            updates,
            target=target,
            place=place,
            by_stream=by_stream,
        )

    def ask_for_table(self, address: "Address", receiver: str, sequence: int) -> None:
        """SYNC with our own words only: to somebody of whom we know too little for more."""
        own = self._members.get(self._node_id)
        assert own is not None
        updates = own.words() + self._verdict_on(receiver)
        self._put(SYNC, address, receiver, sequence, updates, target=receiver)

    def send_table(
        self,
        kind: int,
        address: "Address",
        receiver: str,
        sequence: int,
        turn: int,
        *,
        by_stream: bool = False,
    ) -> None:
        """All members, in as many frames as they take: one of `kind`, then STATE.

        Ourselves and the receiver come first; the others follow from the place that `turn` (any
        number) points at, so that a bounded or lossy exchange leaves out another part each time.
        """
        others = [id for id in self._members.ids() if id not in (self._node_id, receiver)]
        start = turn % len(others) if others else 0
        ids = [self._node_id, receiver] + others[start:] + others[:start]
        updates: list[bytes] = []
        room = self._stream_room if by_stream else self._room
        frames = 0
        for id in ids:
            member = self._members.get(id)
            for word in member.words() if member is not None else ():
                cost = self._codec.cost(word)
                if cost > room:
                    self._put(
                        kind,
                        address,
                        receiver,
                        sequence,
                        updates,
                        target=receiver,
                        by_stream=by_stream,
                    )
                    frames += 1
                    if frames == self._config.sync_frames_max:
                        return
                    kind = STATE
                    updates = []
                    room = self._stream_room if by_stream else self._room
                updates.append(word)
                room -= cost
        self._put(kind, address, receiver, sequence, updates, target=receiver, by_stream=by_stream)

    def _verdict_on(self, receiver: str) -> list[bytes]:
        held = self._members.get(receiver)
        return [held.verdict] if held is not None and held.verdict else []

    def _put(
        self,
        kind: int,
        address: "Address",
        receiver: str,
        sequence: int,
        updates: list[bytes],
        *,
        target: str,
        place: "Address | None" = None,
        by_stream: bool = False,
    ) -> None:
        if by_stream and len(self._stream_frames) >= self._config.stream_frames_max:
            self.stream_frames_dropped += 1
            return
        if not by_stream and len(self._datagrams) >= self._config.datagrams_max:
            self.dropped += 1
            return
        data = self._codec.encode(
            kind, self._node_id, sequence, target=target, address=place, updates=updates
        )
        if by_stream:
            self._stream_frames.append((data, address, receiver))
        else:
            self._datagrams.append((data, address))
