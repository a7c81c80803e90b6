"""Junk of every kind into the cores: nothing raises, every bound is kept, and they work on.

Not bytes alone, which the codec turns away, but well-formed frames and messages that no sound
member would send: wrong groups, old counters, ids of others, times that make no sense, in any
order, from anybody, between commands and engine answers that come late or twice.
"""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.holder import Cancel, Holder, Run
from gossamer_mesh.leases.messages import (
    Accept,
    Grant,
    HandBack,
    Heartbeat,
    Inherit,
    Inherited,
    Keep,
    LeaseId,
    Offer,
    OutcomeReport,
    Prolong,
    Refuse,
    Revoke,
    Settled,
    TopicTerms,
    from_plain,
)
from gossamer_mesh.leases.mirroring import STANDINGS, Mirror, MirrorAsk, MirrorEnd, Row
from gossamer_mesh.leases.work import Extend
from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.codec import KINDS, Codec, Profile
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.protocol import Swim
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.swim.state import DEAD, SUSPECT
from gossamer_mesh.testing.toy_signing import ToySigner

IDS = [f"{number:032x}" for number in range(1, 6)]
OWN = IDS[0]
ADDRESSES = st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2", "x"]), st.sampled_from([1, 7946]))
NUMBERS = st.integers(0, 4) | st.sampled_from([2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1])
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.integers(0, 3), inner),
    max_leaves=25,
)

# --- membership


def codec_of(id: str) -> Codec:
    return Codec(pack, unpack, ToySigner(id))


@st.composite
def updates(draw: st.DrawFn) -> bytes:
    """A word on a member: true, signed by another's key, of another form, or no word at all."""
    about = draw(st.sampled_from(IDS))
    incarnation = draw(NUMBERS.filter(lambda one: one < 2**53))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        host, port = draw(ADDRESSES)
        tags = draw(st.binary(max_size=30))
        profile = Profile(host, port, "n", tags, draw(st.integers(0, 2**32 - 1)))
        return codec_of(about).claim(incarnation, profile).encoded
    if kind == 1:
        return codec_of(about).goodbye(incarnation).encoded
    if kind == 2:
        state, by = draw(st.sampled_from([SUSPECT, DEAD])), draw(st.sampled_from(IDS))
        return codec_of(about).verdict(state, about, incarnation, by).encoded
    if kind == 3:
        return pack(draw(JUNK))
    return draw(st.binary(max_size=200))


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=60)) if draw(st.booleans()) else pack(draw(JUNK))
    return codec_of(OWN).encode(
        draw(st.sampled_from(KINDS)),
        draw(st.sampled_from(IDS)),
        draw(st.integers(0, 2**32 - 1)),
        target=draw(st.sampled_from(["", *IDS])),
        address=draw(st.none() | ADDRESSES),
        updates=draw(st.lists(updates(), max_size=4)),
    )


SWIM_STEPS = st.lists(
    st.tuples(st.integers(0, 7), frames(), ADDRESSES, st.sampled_from(IDS), NUMBERS), max_size=25
)


@settings(max_examples=150)
@given(SWIM_STEPS)
def test_the_membership_bears_any_frames(
    steps: list[tuple[int, bytes, tuple[str, int], str, int]],
) -> None:
    config = Config(members_max=3, gone_max=2, broadcasts_max=16, relays_max=2, datagrams_max=16)
    swim = Swim(
        config=config,
        codec=codec_of(OWN),
        rng=Rng(1),
        node_id=OWN,
        incarnation=0,
        profile=Profile("10.0.0.1", 7946, "n", b"", 7),
        now_ms=0,
    )
    now_ms = 0
    for kind, data, address, sender, pause in steps:
        now_ms += pause % 5_000
        if kind < 4:
            swim.receive_datagram(data, address, now_ms)
        elif kind < 6:
            swim.receive_stream_frame(data, sender, now_ms)
        elif kind == 6:
            swim.join([address], now_ms)
        else:
            swim.set_tags(data[:40], now_ms)
        swim.handle_timer(now_ms)
        while swim.next_event() is not None:
            pass
        for frame, _ in swim.datagrams_to_send():
            assert len(frame) <= config.frame_bytes_max
        swim.stream_frames_to_send()
        counts = swim.statistics()
        assert counts["members_present"] <= config.members_max
        assert counts["members_gone"] <= config.gone_max + config.members_max
        assert counts["broadcasts_waiting"] <= config.broadcasts_max
        assert counts["relays"] <= config.relays_max
        assert swim.own.is_present
    # It still answers.
    swim.leave(now_ms)
    for _ in range(100):
        timer_ms = swim.get_timer()
        if timer_ms is None:
            break
        now_ms = max(now_ms, timer_ms)
        swim.handle_timer(now_ms)
        swim.datagrams_to_send()
    assert swim.get_timer() is None


# --- leases

MEMBERS = ["a", "b", "c"]
KEYS = ["j1", "j2", "j3"]
GROUP = "e/0"
CONFIG = LeaseConfig(outcomes_kept_max=3, settled_kept_max=4)
LEASES = st.builds(
    LeaseId,
    st.sampled_from([GROUP, "e/1"]),
    st.sampled_from(KEYS),
    st.sampled_from(MEMBERS),
    st.sampled_from([7, 8, 9]),
    NUMBERS,
    NUMBERS,
)
TERMS = st.builds(
    TopicTerms,
    st.sampled_from(["t", "u"]),
    NUMBERS,
    st.none() | st.lists(st.sampled_from(["v", "w"]), max_size=2),
    st.sampled_from(["regrant", "wait"]),
    NUMBERS,
    NUMBERS,
)
ROWS = st.builds(
    Row,
    LEASES,
    st.sampled_from(["t", "u"]),
    st.binary(max_size=3),
    st.sampled_from(["", *MEMBERS]),
    st.sampled_from(STANDINGS),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.sampled_from(["regrant", "wait"]),
)
GROUPS = st.just(GROUP)
NAMES = st.sampled_from(["t", "u"])
BLOBS = st.binary(max_size=5)
MESSAGES = st.one_of(
    st.builds(Offer, GROUPS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.builds(
        Heartbeat,
        GROUPS,
        NUMBERS,
        NUMBERS,
        st.lists(TERMS, max_size=2),
        st.lists(LEASES, min_size=1, max_size=3),
        st.lists(LEASES, max_size=2),
        st.lists(st.tuples(st.just(0), st.integers(0, 1_000), st.text(max_size=3)), max_size=2),
    ),
    st.builds(Grant, LEASES, NAMES, NUMBERS, BLOBS, BLOBS),
    st.builds(OutcomeReport, LEASES, NAMES, BLOBS, BLOBS),
    st.builds(Prolong, LEASES, NUMBERS),
    st.builds(Inherited, LEASES, NAMES, BLOBS),
    st.builds(Mirror, GROUPS, NUMBERS, NUMBERS, NUMBERS, st.lists(ROWS, max_size=3), st.just([])),
    st.builds(MirrorAsk, GROUPS, NUMBERS, NUMBERS),
    st.builds(MirrorEnd, GROUPS, NUMBERS, NUMBERS),
    *(
        st.builds(kind, LEASES, st.sampled_from(["", "why"]))
        for kind in (Accept, Refuse, HandBack, Settled, Revoke, Keep)
    ),
    st.builds(Inherit, LEASES),
)
STEPS = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from(MEMBERS), MESSAGES, LEASES, NUMBERS), max_size=40
)


class Pair:
    """A claimer and a holder of one member, whom everybody tells anything."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.claimer = Claimer(GROUP, "a", 7, CONFIG)
        self.holder = Holder(7, 2, 20, CONFIG)
        self.holder.serve(GROUP, [TopicTerms("t", 30_000)])
        self.work: list[Any] = []
        self.running: list[LeaseId] = []

    def step(self, kind: int, member: str, message: Any, lease: LeaseId, number: int) -> None:
        now_ms, claimer, holder = self.now_ms, self.claimer, self.holder
        if kind < 5:
            again = from_plain(message.to_plain())
            assert again is not None
            claimer.receive_message(member, again, now_ms)
            holder.receive_message(member, again, now_ms)
        elif kind == 5:
            end_ms = now_ms + number % 60_000
            claimer.handle_activated(lease.key, "t", 30_000, end_ms, b"r", b"p" * 5, now_ms)
        elif kind == 6:
            claimer.elect(number % 2 == 0, number)
            alive = set(MEMBERS[: 1 + number % 3]) | {"a"}
            claimer.set_members(alive, member, now_ms)
            holder.set_members(alive)
            holder.set_claimer(GROUP, member if number % 3 else None)
        elif kind == 7:
            claimer.handle_member_lost(member, now_ms)
        elif kind == 8 and self.work:
            self.answer(self.work[number % len(self.work)], number)  # it stays, to come twice
        elif kind == 9 and self.running and number % 3 == 0:
            holder.note_progress(self.running[number % len(self.running)], number % 1_001, "now")
        elif kind == 9 and self.running:
            holder.finish(self.running[number % len(self.running)], b"done", now_ms)
        elif kind == 10:
            for one in list(self.running):
                holder.hand_back(one)
            claimer.release_waiting(now_ms)
        else:
            self.now_ms += number % 40_000
        self.take()

    def answer(self, work: Any, number: int) -> None:
        if isinstance(work, Extend):
            self.claimer.handle_extended(work, (None, True, False)[number % 3], self.now_ms)
        else:
            word = (None, "completed", "gone")[number % 3]
            self.claimer.handle_settled(work, word, self.now_ms, number % 1_000)

    def take(self) -> None:
        """What the driver does, and what must hold."""
        self.claimer.handle_timer(self.now_ms)
        self.holder.handle_timer(self.now_ms)
        self.work = (self.work + self.claimer.events())[-8:]
        for event in self.holder.events():
            if isinstance(event, Run):
                self.running.append(event.lease)
            elif isinstance(event, Cancel):
                self.running.remove(event.lease)
        sent = self.claimer.messages_to_send() + self.holder.messages_to_send()
        for _, message in sent:
            assert from_plain(message.to_plain()) is not None, message.to_plain()
        counts = self.holder.statistics()
        assert counts["running"] <= 2
        assert counts["running"] + counts["unacknowledged"] <= CONFIG.outcomes_kept_max
        assert self.holder.slots_free() >= 0
        assert self.claimer.credit() >= 0
        assert len(self.claimer.leases()) <= len(KEYS)
        for timer_ms in (self.claimer.get_timer(), self.holder.get_timer()):
            assert timer_ms is None or isinstance(timer_ms, int)


@settings(max_examples=300)
@given(STEPS)
def test_leases_bear_any_messages_in_any_order(
    steps: list[tuple[int, str, Any, LeaseId, int]],
) -> None:
    pair = Pair()
    for step in steps:
        pair.step(*step)
        pair.running = [one for one in pair.running if one in pair.holder.leases()]
