"""Frames on their way out: which words ride on each, and two bounded queues for the driver.

A frame carries first what its receiver must object to (our verdict on itself), then waiting
updates, as many as fit. Datagrams are short and may be lost; stream frames are long and come in
order, but cost a connection.
"""

from gossamer_mesh.swim.config import retransmit_limit
from gossamer_mesh.swim.state import SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.swim.broadcast import Broadcasts
    from gossamer_mesh.swim.codec import Codec, TableDigest
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

    def clear(self) -> None:
        """Nothing of what waits is to be said any more."""
        self._datagrams = []
        self._stream_frames = []

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
        updates = []
        for word in self._verdict_on(receiver):
            if self._codec.cost(word) <= room:
                updates.append(word)
                room -= self._codec.cost(word)
        if not by_stream:
            # A stream may never come about; what rides on it would count as sent.
            limit = retransmit_limit(self._config, len(self._members.present()))
            updates.extend(self._broadcasts.take(room, self._header_bytes, limit))
        self.put(
            kind,
            address,
            receiver,
            sequence,
            updates,
            target=target,
            place=place,
            by_stream=by_stream,
        )

    def _verdict_on(self, receiver: str) -> list[bytes]:
        """What the receiver must object to: first of all, so that it always fits."""
        held = self._members.get(receiver)
        if held is None or not held.verdict:
            return []
        if held.state == SUSPECT and not self._config.buddy_system:
            return []
        return held.words_for_itself()

    def put(
        self,
        kind: int,
        address: "Address",
        receiver: str,
        sequence: int,
        updates: list[bytes],
        *,
        target: str | None = None,
        place: "Address | None" = None,
        digest: "TableDigest | None" = None,
        by_stream: bool = False,
    ) -> None:
        """One frame with just these updates; the caller keeps within the codec's room.

        Args:
            target: see `send`; None: the receiver.
            digest: see `codec.Frame`.
        """
        if by_stream and len(self._stream_frames) >= self._config.stream_frames_max:
            self.stream_frames_dropped += 1
            return
        if not by_stream and len(self._datagrams) >= self._config.datagrams_max:
            self.dropped += 1
            return
        data = self._codec.encode(
            kind,
            self._node_id,
            sequence,
            target=receiver if target is None else target,
            address=place,
            updates=updates,
            digest=digest,
        )
        if by_stream:
            self._stream_frames.append((data, address, receiver))
        else:
            self._datagrams.append((data, address))
