"""One core on a bench: the test is its peers, and hears what it says and sends."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.codec import (
    GOSSIP,
    SYNC,
    Codec,
    Frame,
    Profile,
    Update,
)
from gossamer_mesh.swim.config import Config, suspicion_timeout_ms
from gossamer_mesh.swim.digest import BUCKET_BYTES
from gossamer_mesh.swim.events import MemberEvent
from gossamer_mesh.swim.protocol import Swim
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.swim.state import DEAD, SUSPECT
from gossamer_mesh.testing.toy_signing import ToySigner

if TYPE_CHECKING:
    from gossamer_mesh.swim.codec import TableDigest

US = "00" * 16
A = "aa" * 16
B = "bb" * 16
C = "cc" * 16
ADDRESSES = {A: ("10.0.0.1", 1), B: ("10.0.0.2", 2), C: ("10.0.0.3", 3)}
ELSEWHERE = ("10.9.9.9", 9)

NEARLY_EMPTY: "TableDigest" = (2, 1, bytes(BUCKET_BYTES))
"""The digest of a table that has nothing of ours."""

CODEC = Codec(pack, unpack, ToySigner(US))


class Bench:
    """A core whose peers are the test."""

    def __init__(
        self, config: Config | None = None, admits: Callable[[str], bool] | None = None
    ) -> None:
        self.now_ms = 1_000
        self.config = config or Config()
        self.swim = Swim(
            config=self.config,
            codec=Codec(pack, unpack, ToySigner(US), self.config.frame_bytes_max),
            rng=Rng(1),
            node_id=US,
            incarnation=10,
            profile=Profile("10.0.0.9", 7946, "us", b"", 77),
            now_ms=self.now_ms,
            admits=admits,
        )

    def hear(
        self,
        sender: str,
        *updates: Update,
        kind: int = GOSSIP,
        target: str = "",
        sequence: int = 0,
        digest: "TableDigest | None" = None,
    ) -> None:
        data = packed(kind, sender, sequence, target, updates, digest)
        self.swim.receive_datagram(data, ADDRESSES[sender], self.now_ms)

    def hear_by_stream(
        self,
        sender: str,
        *updates: Update,
        kind: int = GOSSIP,
        target: str = "",
        sequence: int = 0,
        sender_id: str | None = None,
        digest: "TableDigest | None" = None,
    ) -> None:
        data = packed(kind, sender, sequence, target, updates, digest)
        self.swim.receive_stream_frame(data, sender_id or sender, self.now_ms)

    def sent_by_stream(self) -> list[tuple[Frame, tuple[str, int], str]]:
        frames = []
        for data, address, receiver in self.swim.stream_frames_to_send():
            frame = CODEC.decode(data, by_stream=True)
            assert frame is not None
            frames.append((frame, address, receiver))
        return frames

    def sent(self, kind: int | None = None) -> list[tuple[Frame, tuple[str, int]]]:
        frames = []
        for data, address in self.swim.datagrams_to_send():
            frame = CODEC.decode(data)
            assert frame is not None
            if kind is None or frame.kind == kind:
                frames.append((frame, address))
        return frames

    def said(self) -> list[str]:
        """Kinds of member events since last asked, with the first letters of the id."""
        kinds = []
        while (event := self.swim.next_event()) is not None:
            if isinstance(event, MemberEvent):
                kinds.append(f"{event.kind} {event.member.id[:2]}")
            else:
                kinds.append(type(event).__name__)
        return kinds

    def advance(self, until_ms: int) -> None:
        """Runs the timers on time, one after the other."""
        while (timer_ms := self.swim.get_timer()) is not None and timer_ms <= until_ms:
            self.now_ms = max(self.now_ms, timer_ms)
            self.swim.handle_timer(self.now_ms)
        self.now_ms = until_ms

    def bury(self, id: str) -> None:
        """Hears of a suspicion, and of the death once the time to object is over."""
        self.hear(id, CODEC.verdict(SUSPECT, id, 1, B))
        self.now_ms += suspicion_timeout_ms(self.config, len(self.swim.present()))
        self.hear(id, CODEC.verdict(DEAD, id, 1, B))
        assert self.state_of(id) == DEAD

    def state_of(self, id: str) -> int | None:
        member = self.swim.member(id)
        return None if member is None else member.state


def packed(
    kind: int,
    sender: str,
    sequence: int,
    target: str,
    updates: Sequence[Update],
    digest: "TableDigest | None",
) -> bytes:
    """A frame; a comparison has a digest, of a nearly empty table if it is not given."""
    return CODEC.encode(
        kind,
        sender,
        sequence,
        target=target,
        address=None,
        updates=[each.encoded for each in updates],
        digest=digest or (NEARLY_EMPTY if kind == SYNC else None),
    )


def claim(id: str, incarnation: int = 1, *, tags: bytes = b"", session: int = 1) -> Update:
    host, port = ADDRESSES.get(id, ELSEWHERE)
    codec = Codec(pack, unpack, ToySigner(id))
    return codec.claim(incarnation, Profile(host, port, id[:2], tags, session))


def goodbye(id: str, incarnation: int = 1) -> Update:
    return Codec(pack, unpack, ToySigner(id)).goodbye(incarnation)


def forged(update: Update) -> Update:
    """The same word with a signature of somebody else's."""
    data = update.encoded
    frame = CODEC.decode(
        CODEC.encode(
            GOSSIP, A, 0, target="", address=None, updates=[data[:33] + bytes(64) + data[97:]]
        )
    )
    assert frame is not None
    return frame.updates[0]
