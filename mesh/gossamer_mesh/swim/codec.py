"""Frames and updates as bytes: the only module of the core that knows the wire.

A frame is a msgpack array [kind, sender, sequence, target, address, updates, digest]; the digest is
in SYNC and some STATE only. An update is bytes of its own, so that members hand on what was said
word for word, fields of later versions included:

    alive            0 (1) | public key (32) | signature (64) | packed
                            [incarnation, session, overruled, host, port, name, tags]
    left             3 (1) | public key (32) | signature (64) | packed [incarnation]
    suspect, dead    packed [1 | 2, id, incarnation, by]

What a member says of itself is signed: whoever gets it, from whomever, checks the same bytes. The
signature covers the first byte and the packed part; the id is the hash of the key, so a word for an
id needs the key behind that id, and nothing can be added to a word without that key. A verdict is
not signed: it is one member's view of another, to be objected to. A signature is checked late, by
`is_proved`, and only for what would change something: most updates are old news, and old news
costs no more than its reading.

Ids are 16 raw bytes on the wire and 32 hex digits inside. Fields that follow are ignored; an update
of an unknown state is skipped, the rest of its frame counts. The decoder is total: any bytes give
a frame or None and a count, and what it allocates is bounded by the datagram. msgpack and the
signer are injected: CPython brings C libraries, a microcontroller and a simulation their own.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.swim.digest import BUCKET_BYTES, BUCKETS_MAX
from gossamer_mesh.swim.state import ALIVE, DEAD, LEFT, SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    Address = tuple[str, int]
    TableDigest = tuple[int, int, bytes]

    class Signer(Protocol):
        """One member's key, and how to check what others signed."""

        @property
        def public_key(self) -> bytes:
            """`PUBLIC_KEY_BYTES` of it."""
            ...

        def sign(self, message: bytes) -> bytes:
            """`SIGNATURE_BYTES` that only this key makes."""
            ...

        def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
            """Whether that key signed that message. Never raises."""
            ...

        def id_of(self, public_key: bytes) -> str:
            """The id of the member that has that key: 32 hex digits of its hash."""
            ...


PING = 0
ACK = 1
PING_REQUEST = 2
GOSSIP = 3
SYNC = 4
STATE = 5
NACK = 6

KINDS = (PING, ACK, PING_REQUEST, GOSSIP, SYNC, STATE, NACK)

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

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
"""Of Ed25519 (RFC 8032)."""

CLAIM_BYTES_MAX = 800
"""The largest claim that this version makes has 767: 97 of proof, 512 of tags, 158 of the rest. An
ordinary one, with a hundred bytes of tags, has about 240."""

VERDICT_BYTES_MAX = 96
"""This version's have 47 at most."""

FRAME_BYTES_MIN = 1_000
"""Room for an envelope, the longest claim and a verdict."""

INCARNATION_MAX = 2**53 - 2
SEQUENCE_MAX = 2**32 - 1
SESSION_MAX = 2**32 - 1
PORT_MAX = 65_535

_ID_BYTES = 16
_UPDATES_HEADER_BYTES = 2  # an array of up to 65,535 takes 3 bytes, the empty one counted took 1
_UPDATE_HEADER_BYTES = 3
_DIGEST_HEADER_BYTES = 12  # an array of a long int, a short one and bytes
_KEY_END = 1 + PUBLIC_KEY_BYTES
_PROOF_END = _KEY_END + SIGNATURE_BYTES


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
        overruled: for ALIVE: session of another process of the same id, whose claim this one
            answers; 0 for none.
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
        overruled: int = 0,
    ) -> None:
        self.state = state
        self.id = id
        self.incarnation = incarnation
        self.by = by
        self.profile = profile
        self.encoded = encoded
        self.overruled = overruled


class Frame:
    """What one datagram, or one frame over a stream, says.

    Attributes:
        kind: one of `KINDS`.
        sender: id of the member that sent it.
        sequence: pairs a question with its answer.
        target: PING: who is meant; PING_REQUEST: whom to ping; ACK: who is alive; NACK: who did
            not answer; else "".
        address: PING_REQUEST: where the target is; else None.
        updates: those that could be read.
        digest: of a table (`digest`): how many members it has present, how many buckets, and in
            SYNC the buckets' digests, in STATE a mask of those that this frame has in full.
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
        digest: "TableDigest | None" = None,
    ) -> None:
        self.kind = kind
        self.sender = sender
        self.sequence = sequence
        self.target = target
        self.address = address
        self.updates = updates
        self.digest = digest


class Codec:
    """Packs and reads frames.

    Args:
        pack: object → msgpack bytes (`msgpack.packb`).
        unpack: msgpack bytes → object (`msgpack.unpackb`); may raise anything on junk.
        signer: this member's key.
        frame_bytes_max: see `Config.frame_bytes_max`.
    """

    def __init__(
        self,
        pack: "Callable[[object], bytes]",
        unpack: "Callable[[bytes], object]",
        signer: "Signer",
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        self.pack = pack
        self._unpack = unpack
        self._signer = signer
        self.own_id = signer.id_of(signer.public_key)
        self.frame_bytes_max = frame_bytes_max
        self.frames_rejected = 0
        self.updates_rejected = 0

    def claim(self, incarnation: int, profile: Profile, overruled: int = 0) -> Update:
        """What this member says of itself, as an update.

        Raises:
            MisuseError: a field is out of its bounds.
        """
        update = self._signed(
            ALIVE,
            [
                incarnation,
                profile.session,
                overruled,
                profile.host,
                profile.port,
                profile.name,
                profile.tags,
            ],
        )
        if update is None:
            raise MisuseError(
                f"a member's own description is out of bounds: incarnation "
                f"{incarnation}, address {profile.host!r}:{profile.port}, name {profile.name!r}, "
                f"{len(profile.tags)} bytes of tags; at most {NAME_BYTES_MAX} bytes of name and "
                f"{TAGS_BYTES_MAX} of tags."
            )
        return update

    def goodbye(self, incarnation: int) -> Update:
        """LEFT, said of this member itself."""
        update = self._signed(LEFT, [incarnation])
        assert update is not None
        return update

    def verdict(self, state: int, id: str, incarnation: int, by: str) -> Update:
        """SUSPECT or DEAD, said by the member `by`."""
        encoded = self.pack([state, bytes.fromhex(id), incarnation, bytes.fromhex(by)])
        return Update(
            state=state, id=id, incarnation=incarnation, by=by, profile=None, encoded=encoded
        )

    def is_proved(self, update: Update) -> bool:
        """Whether the member that an update is about signed it; a verdict needs no proof."""
        if update.state in (SUSPECT, DEAD):
            return True
        said = update.encoded
        return self._signer.verify(
            said[1:_KEY_END], _message(said[0], said[_PROOF_END:]), said[_KEY_END:_PROOF_END]
        )

    def _signed(self, state: int, said: "list[object]") -> Update | None:
        body = self.pack(said)
        signature = self._signer.sign(_message(state, body))
        return self.read_update(bytes((state,)) + self._signer.public_key + signature + body)

    def encode(
        self,
        kind: int,
        sender: str,
        sequence: int,
        *,
        target: str,
        address: "Address | None",
        updates: list[bytes],
        digest: "TableDigest | None" = None,
    ) -> bytes:
        """One frame. The caller keeps within `room`."""
        fields = [
            kind,
            bytes.fromhex(sender),
            sequence,
            bytes.fromhex(target),
            None if address is None else list(address),
            updates,
        ]
        if digest is not None:
            fields.append(list(digest))
        return self.pack(fields)

    def room(self, address: "Address | None" = None, *, by_stream: bool = False) -> int:
        """Bytes for updates beside an envelope, each counted as `cost` says."""
        anyone = "00" * _ID_BYTES
        empty = self.encode(STATE, anyone, SEQUENCE_MAX, target=anyone, address=address, updates=[])
        return self._bytes_max(by_stream) - len(empty) - _UPDATES_HEADER_BYTES

    def digest_room(self, updates: list[bytes]) -> int:
        """Bytes for the buckets of a digest beside these updates in a datagram."""
        used = sum(self.cost(update) for update in updates)
        return self.room() - used - _DIGEST_HEADER_BYTES

    def room_beside_mask(self, *, by_stream: bool = False) -> int:
        """Bytes for updates beside an envelope and a mask of buckets."""
        return self.room(by_stream=by_stream) - _DIGEST_HEADER_BYTES - BUCKETS_MAX // 8

    def cost(self, encoded: bytes) -> int:
        """What an update takes of the room."""
        return len(encoded) + _UPDATE_HEADER_BYTES

    def decode(self, data: bytes, *, by_stream: bool = False) -> Frame | None:
        """Reads a frame; None (counted) for anything else. Never raises."""
        is_long = len(data) > self._bytes_max(by_stream)
        frame = None if is_long else self._frame_of(self.unpacked(data))
        if frame is None:
            self.frames_rejected += 1
        return frame

    def _bytes_max(self, by_stream: bool) -> int:
        return STREAM_FRAME_BYTES_MAX if by_stream else self.frame_bytes_max

    def unpacked(self, data: bytes) -> object:
        """What was packed; None for junk."""
        try:
            return self._unpack(data)
        except Exception:  # each msgpack library has its own; all of them mean junk
            return None

    def _frame_of(self, fields: object) -> Frame | None:
        if not isinstance(fields, list) or len(fields) < 6:
            return None
        kind, sender, sequence, target, place, blobs = fields[:6]
        if (
            not is_int(kind, KINDS[0], KINDS[-1])
            or not is_id(sender)
            or not is_int(sequence, 0, SEQUENCE_MAX)
            or not (target == b"" or is_id(target))
            or not isinstance(blobs, list)
        ):
            return None
        address = None
        if place is not None:
            if not isinstance(place, list) or len(place) < 2 or not is_address(place[0], place[1]):
                return None
            address = (place[0], place[1])
        if kind in (PING, ACK, PING_REQUEST, NACK) and target == b"":
            return None
        if kind == PING_REQUEST and address is None:
            return None
        updates = []
        for blob in blobs:
            update = None
            if isinstance(blob, bytes):
                update = self.read_update(blob)
            if update is None:
                self.updates_rejected += 1
            else:
                updates.append(update)
        digest = None
        if kind == SYNC or (kind == STATE and len(fields) > 6):
            digest = _digest_of(kind, fields[6:])
            if digest is None:
                return None
        return Frame(
            kind=kind,
            sender=sender.hex(),
            sequence=sequence,
            target=target.hex(),
            address=address,
            updates=updates,
            digest=digest,
        )

    def read_update(self, encoded: bytes) -> Update | None:
        """Reads one update; None for anything else."""
        if encoded[:1] == bytes((ALIVE,)) or encoded[:1] == bytes((LEFT,)):
            return self._own_word_of(encoded) if len(encoded) <= CLAIM_BYTES_MAX else None
        return self._verdict_of(encoded) if len(encoded) <= VERDICT_BYTES_MAX else None

    def _own_word_of(self, encoded: bytes) -> Update | None:
        said = self.unpacked(encoded[_PROOF_END:])
        if not isinstance(said, list) or not said or not is_int(said[0], 0, INCARNATION_MAX):
            return None
        profile = None
        overruled = 0
        if encoded[0] == ALIVE:
            if len(said) < 7 or not is_int(said[2], 0, SESSION_MAX):
                return None
            overruled = said[2]
            profile = _profile_of(said[1], said[3], said[4], said[5], said[6])
            if profile is None:
                return None
        id = self._signer.id_of(encoded[1:_KEY_END])
        return Update(
            state=encoded[0],
            id=id,
            incarnation=said[0],
            by=id,
            profile=profile,
            encoded=encoded,
            overruled=overruled,
        )

    def _verdict_of(self, encoded: bytes) -> Update | None:
        fields = self.unpacked(encoded)
        if not isinstance(fields, list) or len(fields) < 4:
            return None
        state, id, incarnation, by = fields[:4]
        if not is_int(state, SUSPECT, DEAD) or not is_id(id) or not is_id(by):
            return None
        if not is_int(incarnation, 0, INCARNATION_MAX):
            return None
        return Update(
            state=state,
            id=id.hex(),
            incarnation=incarnation,
            by=by.hex(),
            profile=None,
            encoded=encoded,
        )


def _message(state: int, body: bytes) -> bytes:
    """What is signed. The state belongs to it: a claim must not be taken for a goodbye."""
    return bytes((state,)) + body


def _profile_of(
    session: "Any", host: "Any", port: "Any", name: "Any", tags: "Any"
) -> Profile | None:
    if (
        not is_int(session, 0, SESSION_MAX)
        or not is_address(host, port)
        or not _is_text(name, 0, NAME_BYTES_MAX)
        or not isinstance(tags, bytes)
        or len(tags) > TAGS_BYTES_MAX
    ):
        return None
    return Profile(host, port, name, tags, session)


def _digest_of(kind: int, more: "list[Any]") -> "TableDigest | None":
    if not more or not isinstance(more[0], list) or len(more[0]) < 3:
        return None
    members, count, data = more[0][:3]
    if not is_int(members, 0, SEQUENCE_MAX) or not is_int(count, 1, BUCKETS_MAX):
        return None
    length = count * BUCKET_BYTES if kind == SYNC else (count + 7) // 8
    if count & (count - 1) or not isinstance(data, bytes) or len(data) != length:
        return None
    return members, count, data


def is_int(value: object, least: int, greatest: int) -> bool:
    """Whether it is a whole number within bounds."""
    # A bool is an int to Python, not to the wire.
    return type(value) is int and least <= value <= greatest


def is_id(value: object) -> bool:
    """Whether it is an id as bytes."""
    return isinstance(value, bytes) and len(value) == _ID_BYTES


def _is_text(value: object, least: int, greatest: int) -> bool:
    return isinstance(value, str) and least <= len(value.encode()) <= greatest


def is_address(host: object, port: object) -> bool:
    """Whether datagrams can be sent there."""
    return _is_text(host, 1, HOST_BYTES_MAX) and is_int(port, 1, PORT_MAX)
