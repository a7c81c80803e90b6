"""The picture of a mesh: what members say goes in, what changed comes out; junk changes nothing."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.watching import picture, reading
from gossamer_gateway.watching.picture import GONE_MS, ORPHAN_MS, Picture
from gossamer_gateway.watching.reading import LeaseSaid, NodeSaid, ServiceSaid
from gossamer_mesh.drivers import Member
from gossamer_node.watching import ROWS_MAX, answer, is_question

A, B, C = (letter * 32 for letter in "abc")

SAID = NodeSaid("node", "1.0", 5_000, slots=8, running=1, unacknowledged=0, services=1, leases=1)

HELD = LeaseSaid("old/0", "job-1", "book", "1.1", "held", B, 0, None, None)


def member(id: str, state: Any = "alive", **tags: Any) -> Member:
    return Member(id, f"node-{id[0]}", ("10.0.0.1", 7407), state, tags, 1, 1)


def kinds(seen: Picture) -> list[str]:
    return [one.kind for one in seen.take_events()]


def mesh() -> Picture:
    made = Picture()
    made.members_are([member(one) for one in (A, B, C)], 1_000)
    for one in (A, B, C):
        made.said(one, SAID, [], [HELD] if one == A else [], 1_500)
    made.take_events()
    return made


def test_a_holder_dies_and_its_lease_moves() -> None:
    seen = mesh()
    seen.member("suspected", member(B, "suspect"), 2_000)
    seen.member("died", member(B, "dead"), 3_000)
    seen.said(A, SAID, None, [replace(HELD, state="waiting", holder=None)], 4_000)
    seen.said(A, SAID, None, [replace(HELD, holder=C, epoch="1.2")], 5_000)
    assert kinds(seen) == ["node.suspected", "node.died", "lease.waiting", "lease.moved"]
    (lease,) = seen.leases()
    assert (lease.holder, lease.moved_from, lease.since_ms) == (C, B, 1_500)


def test_a_lease_that_comes_back_to_its_holder_has_not_moved() -> None:
    seen = mesh()
    seen.said(A, SAID, None, [replace(HELD, state="waiting", holder=None)], 4_000)
    seen.said(A, SAID, None, [HELD], 5_000)
    assert kinds(seen) == ["lease.waiting", "lease.granted"]
    assert seen.leases()[0].moved_from is None


def test_a_claimer_dies_and_its_leases_are_inherited_or_end() -> None:
    seen = mesh()
    other = replace(HELD, job="job-2")
    seen.said(A, SAID, None, [HELD, other], 2_000)
    seen.member("died", member(A, "dead"), 3_000)
    assert [one.state for one in seen.leases()] == ["orphaned", "orphaned"]
    seen.said(C, SAID, None, [HELD], 4_000)
    seen.tick(3_000 + ORPHAN_MS - 1)
    assert len(seen.leases()) == 2
    seen.tick(3_000 + ORPHAN_MS)
    (lease,) = seen.leases()
    assert (lease.claimer, lease.state) == (C, "held")
    assert kinds(seen) == [
        "lease.granted", "node.died", "lease.orphaned", "lease.orphaned", "lease.inherited",
        "lease.ended",
    ]  # fmt: skip


def test_the_later_word_counts_where_two_answer_for_a_job() -> None:
    seen = mesh()
    seen.said(C, SAID, None, [replace(HELD, epoch="2.1")], 2_000)
    seen.said(A, SAID, None, [], 2_100)
    assert [(one.claimer, one.epoch) for one in seen.leases()] == [(C, "2.1")]
    assert kinds(seen) == ["lease.inherited"]


def test_who_comes_back_begins_anew() -> None:
    seen = mesh()
    seen.member("died", member(A, "dead"), 3_000)
    assert seen.node(A) is not None and seen.services() == []
    seen.said(A, SAID, [ServiceSaid("s", "1", (), 1, None)], [HELD], 3_100)  # said while it went
    assert seen.services() == []
    seen.member("joined", member(A), 4_000)
    node = seen.node(A)
    assert node is not None and (node.state, node.slots, node.heard_ms) == ("alive", None, None)


def test_who_went_is_forgotten_in_time() -> None:
    seen = mesh()
    seen.member("left", member(B, "left"), 3_000)
    seen.tick(3_000 + GONE_MS - 1)
    assert seen.node(B) is not None
    seen.tick(3_000 + GONE_MS)
    assert seen.node(B) is None
    assert kinds(seen) == ["node.left", "node.forgotten"]


def test_what_only_counts_up_is_no_event() -> None:
    seen = mesh()
    seen.said(A, replace(SAID, up_ms=9_000, gossip=(("datagrams_sent", 9),)), None, [HELD], 2_000)
    assert kinds(seen) == []
    seen.said(A, replace(SAID, running=2), None, [HELD], 3_000)
    assert kinds(seen) == ["node.changed"]


def test_services_are_brought_together_by_name() -> None:
    seen = mesh()
    seen.said(A, SAID, [ServiceSaid("hotel", "1.0", ("book",), 4, None)], [], 2_000)
    seen.said(B, SAID, [ServiceSaid("hotel", "1.1", ("pay",), 4, "waits for x")], [], 2_000)
    (service,) = seen.services()
    assert service.topics == ["book", "pay"]
    assert [(one.node, one.version, one.waits) for one in service.nodes] == [
        (A, "1.0", None),
        (B, "1.1", "waits for x"),
    ]
    seen.take_events()
    seen.said(B, SAID, [], [], 3_000)
    assert kinds(seen) == ["service.changed"]


def test_all_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "LEASES_MAX", 3)
    monkeypatch.setattr(picture, "NODES_MAX", 4)
    seen = mesh()
    seen.said(A, SAID, None, [replace(HELD, job=str(number)) for number in range(9)], 2_000)
    assert len(seen.leases()) <= 3
    for number in range(9):
        seen.member("joined", member(f"{number:032x}"), 2_000)
    assert len(seen.nodes()) == 4
    assert seen.dropped == 7 + 8  # the lease from before still had its place


@pytest.mark.parametrize("seed", range(20))
def test_the_events_tell_the_whole_story(seed: int) -> None:
    """Who begins with a picture and takes every event has the picture that is there now."""
    chance = random.Random(seed)
    seen = mesh()
    told = {("lease", one.id): True for one in seen.leases()}
    told |= {("node", one.id): True for one in seen.nodes()}
    now_ms = 10_000
    for _ in range(300):
        now_ms += chance.randrange(5_000)
        who = chance.choice((A, B, C))
        match chance.randrange(6):
            case 0:
                kind, state = chance.choice(
                    (("died", "dead"), ("left", "left"), ("joined", "alive"))
                )
                seen.member(kind, member(who, state), now_ms)  # type: ignore[arg-type]
            case 1:
                seen.tick(now_ms)
            case _:
                leases = [
                    replace(HELD, job=f"job-{number}", holder=chance.choice((A, B, C, None)))
                    for number in range(6)
                    if chance.random() < 0.5
                ]
                seen.said(who, SAID, None, leases, now_ms)
        for event in seen.take_events():
            key = (event.kind.partition(".")[0], event.subject)
            if event.data is None:
                assert told.pop(key, None), f"seed {seed}: {event} of what nobody knew"
            else:
                told[key] = True
        there = {("lease", one.id) for one in seen.leases()}
        there |= {("node", one.id) for one in seen.nodes()}
        assert set(told) == there, f"seed {seed}"


# --- what members answer

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(junk)
def test_junk_is_read_as_nothing(value: Any) -> None:
    reading.page(value)
    assert reading.node([value]) is None
    assert reading.service({"a": value}) is None
    assert reading.lease(value) is None or isinstance(value, list)
    is_question(value)


def status(leases: int) -> dict[str, Any]:
    """What of `Node.status` is looked at."""
    return {
        "leases": [
            {
                "group": "old/0", "job": f"job-{number:05}", "topic": "t\n" * 300, "epoch": "1.1",
                "state": "held", "holder_id": A, "regrants": 0, "done": 0.25, "doing": "half",
            }
            for number in range(leases)
        ],
        "services": [],
    }  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, ROWS_MAX, ROWS_MAX + 1, 3 * ROWS_MAX])
def test_pages_have_every_row_once(count: int) -> None:
    told = status(count)
    jobs: list[str] = []
    after: list[str] = []
    while True:
        read = reading.page(answer(told, "leases", after))
        assert read is not None
        rows: Sequence[Any] = [reading.lease(row) for row in read[0]]
        assert all(row.done_thousandths == 250 and "\n" not in row.topic for row in rows)
        jobs += [row.job for row in rows]
        after = read[1]
        if not after:
            break
    assert jobs == [f"job-{number:05}" for number in range(count)]
