"""Frames and updates as bytes: the only module of the core that knows the wire.

A frame is a msgpack array [kind, sender, sequence, target, address, updates]; an update is itself
packed, so that members hand on what was said word for word, fields of later versions included:

    alive                   [0, id, incarnation, session, host, port, name, tags]
    suspect, dead, left     [1 | 2 | 3, id, incarnation, by]

Ids are 16 raw bytes on the wire and 32 hex digits inside. Fields that follow are ignored; an update
of an unknown state is skipped, the rest of its frame counts. The decoder is total: any bytes give
a frame or None and a count, and what it allocates is bounded by the datagram. The msgpack
functions are injected: CPython brings the C library, a microcontroller its own.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.swim.state import ALIVE, DEAD, LEFT, SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Address = tuple[str, int]

PING = 0
ACK = 1
PING_REQUEST = 2
GOSSIP = 3
SYNC = 4
STATE = 5

KINDS = (PING, ACK, PING_REQUEST, GOSSIP, SYNC, STATE)

DATAGRAM_BYTES_MAX = 1_400
"""What crosses every network unfragmented, tunnels included (memberlist UDPBufferSize)."""

FRAME_BYTES_MAX = 1_359
"""A datagram less 41 bytes of seal (`seal.OVERHEAD_BYTES`)."""

STREAM_FRAME_BYTES_MAX = 262_144
"""A frame over a stream: room for a short word on each of 10,000 members. Whoever reads one holds
it whole in memory, so it is bounded."""

TAGS_BYTES_MAX = 512
NAME_BYTES_MAX = 64
HOST_BYTES_MAX = 64
"""Hosts are addresses in digits, never names to look up; IPv6 with a scope fits."""

FRAME_BYTES_MIN = 900
"""Room for an envelope and the largest claim."""

INCARNATION_MAX = 2**53 - 2
SEQUENCE_MAX = 2**32 - 1
SESSION_MAX = 2**32 - 1
PORT_MAX = 65_535

_ID_BYTES = 16
_UPDATES_HEADER_BYTES = 2  # an array of up to 65,535 takes 3 bytes, the empty one counted took 1
_UPDATE_HEADER_BYTES = 3


class Profile:
    """What a member says of itself."""

    def __init__(self, host: str, port: int, name: str, tags: bytes, session: int) -> None:
        self.host = host
        self.port = port
        self.name = name
        self.tags = tags
        self.session = session

    def same_as(self, other: "Profile") -> bool:
        """Whether nothing differs that anyone could see."""
        return (
            self.host == other.host
            and self.port == other.port
            and self.name == other.name
            and self.tags == other.tags
            and self.session == other.session
        )


class Update:
    """One word on one member.

    Attributes:
        state: ALIVE, SUSPECT, DEAD or LEFT.
        id: whom it is about.
        incarnation: which of the member's own words it answers to.
        by: who says so; the member itself for ALIVE and LEFT.
        profile: for ALIVE only.
        encoded: the bytes, handed on as they came.
    """

    def __init__(
        self,
        *,
        state: int,
        id: str,
        incarnation: int,
        by: str,
        profile: Profile | None,
        encoded: bytes,
    ) -> None:
        self.state = state
        self.id = id
        self.incarnation = incarnation
        self.by = by
        self.profile = profile
        self.encoded = encoded


class Frame:
    """What one datagram, or one frame over a stream, says.

    Attributes:
        kind: one of `KINDS`.
        sender: id of the member that sent it.
        sequence: pairs a question with its answer.
        target: PING: who is meant; PING_REQUEST: whom to ping; ACK: who is alive; else "".
        address: PING_REQUEST: where the target is; else None.
        updates: those that could be read.
    """

    def __init__(
        self,
        *,
        kind: int,
        sender: str,
        sequence: int,
        target: str,
        address: "Address | None",
        updates: list[Update],
    ) -> None:
        self.kind = kind
        self.sender = sender
        self.sequence = sequence
        self.target = target
        self.address = address
        self.updates = updates


class Codec:
    """Packs and reads frames.

    Args:
        pack: object → msgpack bytes (`msgpack.packb`).
        unpack: msgpack bytes → object (`msgpack.unpackb`); may raise anything on junk.
        frame_bytes_max: see `Config.frame_bytes_max`.
    """

    def __init__(
        self,
        pack: "Callable[[object], bytes]",
        unpack: "Callable[[bytes], object]",
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        self._pack = pack
        self._unpack = unpack
        self.frame_bytes_max = frame_bytes_max
        self.frames_rejected = 0
        self.updates_rejected = 0

    def claim(self, id: str, incarnation: int, profile: Profile) -> Update:
        """What a member says of itself, as an update.

        Raises:
            MisuseError: a field is out of its bounds.
        """
        fields = [
            ALIVE,
            bytes.fromhex(id),
            incarnation,
            profile.session,
            profile.host,
            profile.port,
            profile.name,
            profile.tags,
        ]
        update = self._update_of(fields, self._pack(fields))
        if update is None:
            raise MisuseError(
                f"a member's own description is out of bounds: id {id!r}, incarnation "
                f"{incarnation}, address {profile.host!r}:{profile.port}, name {profile.name!r}, "
                f"{len(profile.tags)} bytes of tags; at most {NAME_BYTES_MAX} bytes of name and "
                f"{TAGS_BYTES_MAX} of tags."
            )
        return update

    def verdict(self, state: int, id: str, incarnation: int, by: str) -> Update:
        """SUSPECT, DEAD or LEFT, said by the member `by`."""
        encoded = self._pack([state, bytes.fromhex(id), incarnation, bytes.fromhex(by)])
        return Update(
            state=state, id=id, incarnation=incarnation, by=by, profile=None, encoded=encoded
        )

    def encode(
        self,
        kind: int,
        sender: str,
        sequence: int,
        *,
        target: str,
        address: "Address | None",
        updates: list[bytes],
    ) -> bytes:
        """One frame. The caller keeps within `room`."""
        return self._pack(
            [
                kind,
                bytes.fromhex(sender),
                sequence,
                bytes.fromhex(target),
                None if address is None else list(address),
                updates,
            ]
        )

    def room(self, address: "Address | None" = None, *, by_stream: bool = False) -> int:
        """Bytes for updates beside an envelope, each counted as `cost` says."""
        anyone = "00" * _ID_BYTES
        empty = self.encode(STATE, anyone, SEQUENCE_MAX, target=anyone, address=address, updates=[])
        return self._bytes_max(by_stream) - len(empty) - _UPDATES_HEADER_BYTES

    def cost(self, encoded: bytes) -> int:
        """What an update takes of the room."""
        return len(encoded) + _UPDATE_HEADER_BYTES

    def decode(self, data: bytes, *, by_stream: bool = False) -> Frame | None:
        """Reads a frame; None (counted) for anything else. Never raises."""
        is_long = len(data) > self._bytes_max(by_stream)
        frame = None if is_long else self._frame_of(self._unpacked(data))
        if frame is None:
            self.frames_rejected += 1
        return frame

    def _bytes_max(self, by_stream: bool) -> int:
        return STREAM_FRAME_BYTES_MAX if by_stream else self.frame_bytes_max

    def _unpacked(self, data: bytes) -> object:
        try:
            return self._unpack(data)
        except Exception:  # each msgpack library has its own; all of them mean junk
            return None

    def _frame_of(self, fields: object) -> Frame | None:
        if not isinstance(fields, list) or len(fields) < 6:
            return None
        kind, sender, sequence, target, place, blobs = fields[:6]
        if (
            not _is_int(kind, KINDS[0], KINDS[-1])
            or not _is_id(sender)
            or not _is_int(sequence, 0, SEQUENCE_MAX)
            or not (target == b"" or _is_id(target))
            or not isinstance(blobs, list)
        ):
            return None
        address = None
        if place is not None:
            if not isinstance(place, list) or len(place) < 2 or not _is_address(place[0], place[1]):
                return None
            address = (place[0], place[1])
        if kind in (PING, ACK, PING_REQUEST) and target == b"":
            return None
        if kind == PING_REQUEST and address is None:
            return None
        updates = []
        for blob in blobs:
            update = None
            if isinstance(blob, bytes):
                update = self._update_of(self._unpacked(blob), blob)
            if update is None:
                self.updates_rejected += 1
            else:
                updates.append(update)
        return Frame(
            kind=kind,
            sender=sender.hex(),
            sequence=sequence,
            target=target.hex(),
            address=address,
            updates=updates,
        )

    def _update_of(self, fields: object, encoded: bytes) -> Update | None:
        if not isinstance(fields, list) or len(fields) < 4:
            return None
        state, id, incarnation = fields[:3]
        if not _is_int(state, ALIVE, LEFT) or not _is_id(id):
            return None
        if not _is_int(incarnation, 0, INCARNATION_MAX):
            return None
        if state in (SUSPECT, DEAD, LEFT):
            by, profile = fields[3], None
            if not _is_id(by):
                return None
        else:
            by, profile = id, _profile_of(fields[3:])
            if profile is None:
                return None
        return Update(
            state=state,
            id=id.hex(),
            incarnation=incarnation,
            by=by.hex(),
            profile=profile,
            encoded=encoded,
        )


def _profile_of(fields: "list[Any]") -> Profile | None:
    if len(fields) < 5:
        return None
    session, host, port, name, tags = fields[:5]
    if (
        not _is_int(session, 0, SESSION_MAX)
        or not _is_address(host, port)
        or not _is_text(name, 0, NAME_BYTES_MAX)
        or not isinstance(tags, bytes)
        or len(tags) > TAGS_BYTES_MAX
    ):
        return None
    return Profile(host, port, name, tags, session)


def _is_int(value: object, least: int, greatest: int) -> bool:
    # A bool is an int to Python, not to the wire.
    return type(value) is int and least <= value <= greatest


def _is_id(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == _ID_BYTES


def _is_text(value: object, least: int, greatest: int) -> bool:
    return isinstance(value, str) and least <= len(value.encode()) <= greatest


def _is_address(host: object, port: object) -> bool:
    return _is_text(host, 1, HOST_BYTES_MAX) and _is_int(port, 1, PORT_MAX)
