"""A claimer that lives but has lost its engine hands its leases over; the heir; the holders."""

import pytest

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.holder import Holder, Run
from gossamer_mesh.leases.messages import (
    Grant,
    Inherit,
    Inherited,
    Keep,
    LeaseId,
    OutcomeReport,
    Revoke,
    Settled,
    TopicTerms,
    Yield,
)
from gossamer_mesh.leases.mirroring import (
    FREE,
    GIVEN_UP,
    LEFT_ALONE,
    ROWS_MAX,
    TAKEN,
    HandOver,
    Row,
    TakenOver,
)
from gossamer_mesh.leases.work import Extend, Release, Report
from gossamer_mesh.testing.lease_bench import CONFIG, LOCK_MS, SESSION, ClaimerBench

ALL = {"c", "s", "s2", "h1", "h2"}
OLD = "old"


@pytest.fixture
def bench() -> ClaimerBench:
    """A claimer with a job at `h1`, whose engine is still there."""
    one = ClaimerBench()
    one.claimer.set_members(ALL, "s", one.now_ms)
    one.join("h1", 2)
    one.held("j1")
    return one


def strand(bench: ClaimerBench, heir: str = "s", alive: set[str] = ALL) -> None:
    """The engine is out of reach, and the heir claims now."""
    bench.claimer.elect(False, 1)
    bench.claimer.set_members(alive, heir, bench.now_ms, reaches=False)


def offered(bench: ClaimerBench) -> list[tuple[str, HandOver]]:
    bench.claimer.handle_timer(bench.now_ms)
    return bench.sent(HandOver)


def offer(bench: ClaimerBench) -> HandOver:
    bench.now_ms += CONFIG.heartbeat_ms
    ((to, one),) = offered(bench)
    assert to == "s"
    return one


def take(bench: ClaimerBench, one: HandOver, heir: str = "s") -> None:
    bench.tell(heir, TakenOver("e/a", SESSION, [row.lease for row in one.rows]))


# --- the claimer that gives


def test_what_is_offered_stays_until_the_heir_has_it(bench: ClaimerBench) -> None:
    lease = bench.lease().id
    strand(bench)
    assert offered(bench) == []  # not before a heartbeat
    for _ in range(3):  # each a heartbeat after the one before
        one = offer(bench)
        assert [(row.lease, row.standing) for row in one.rows] == [(lease, TAKEN)]
        assert offered(bench) == []
    bench.claimer.events()
    take(bench, one)
    assert (bench.claimer.leases(), bench.claimer.events()) == ([], [])
    assert bench.claimer.statistics()["handed_over"] == 1


@pytest.mark.parametrize("why", ["it claims", "its engine is there", "nobody else claims"])
def test_a_claimer_keeps_its_leases_while(bench: ClaimerBench, why: str) -> None:
    if why != "it claims":
        bench.claimer.elect(False, 1)
    heir = None if why == "nobody else claims" else "s"
    reaches = why == "its engine is there"
    bench.claimer.set_members(ALL, heir, bench.now_ms, reaches=reaches)
    bench.now_ms += 3 * CONFIG.heartbeat_ms
    assert offered(bench) == []


def test_another_heir_gets_it_after_a_heartbeat(bench: ClaimerBench) -> None:
    strand(bench)
    first = offer(bench)
    strand(bench, "s2", ALL - {"s"})
    take(bench, first)  # of a member that is the heir no more
    assert len(bench.claimer.leases()) == 1
    bench.now_ms += CONFIG.heartbeat_ms
    ((to, again),) = offered(bench)
    assert to == "s2"
    take(bench, again, "s2")
    assert bench.claimer.leases() == []


def test_an_outcome_without_an_answer_travels_along(bench: ClaimerBench) -> None:
    bench.outcome("h1", bench.lease().id)
    bench.claimer.handle_settled(bench.work(Report), None, bench.now_ms)
    strand(bench)
    assert offer(bench).outcomes == [b"done"]


def test_what_has_changed_since_it_was_offered_is_offered_again(bench: ClaimerBench) -> None:
    strand(bench)
    one = offer(bench)
    bench.outcome("h1", one.rows[0].lease)
    take(bench, one)
    assert bench.lease().state == states.REPORTING
    ((_, again),) = offered(bench)  # at once: the heir has answered
    assert again.outcomes == [b"done"]
    take(bench, again)
    assert bench.claimer.leases() == []
    bench.claimer.handle_settled(bench.work(Report), "applied", bench.now_ms)  # too late
    assert bench.sent(Settled) == []


def test_a_grant_without_an_answer_waits(bench: ClaimerBench) -> None:
    bench.activate("j2")
    _, lease = bench.grant()
    strand(bench)
    assert [row.lease.key for row in offer(bench).rows] == ["j1"]
    bench.heartbeat("h1", lease, bench.lease("j1").id)
    assert [row.lease.key for row in offer(bench).rows] == ["j1", "j2"]


def test_a_large_table_goes_as_fast_as_the_heir_answers() -> None:
    bench, count = ClaimerBench(), ROWS_MAX + 10
    bench.claimer.set_members(ALL, "s", bench.now_ms)
    bench.join("h1", count)
    bench.offer("h1", count, bytes_free=count)
    for number in range(count):
        bench.activate(f"j{number}")
    bench.heartbeat("h1", *[one.id for one in bench.claimer.leases()])
    strand(bench)
    first = offer(bench)
    assert len(first.rows) == ROWS_MAX
    take(bench, first)
    ((_, second),) = offered(bench)
    take(bench, second)
    assert bench.claimer.leases() == []


def test_a_holder_that_has_not_heard_of_the_heir_is_sent_there(bench: ClaimerBench) -> None:
    lease = bench.lease().id
    strand(bench)
    take(bench, offer(bench))
    bench.heartbeat("h1", lease)
    bench.outcome("h1", lease)
    told = bench.claimer.messages_to_send()
    assert [(to, one.reason) for to, one in told if isinstance(one, Yield)] == [("h1", "s")] * 2
    assert not [one for _, one in told if isinstance(one, (Revoke, Settled))]


@pytest.mark.parametrize("by", ["heartbeat", "outcome"])
def test_when_the_heir_is_gone_the_old_claimer_asks_again(bench: ClaimerBench, by: str) -> None:
    lease = bench.lease().id
    strand(bench)
    take(bench, offer(bench))
    bench.claimer.elect(True, 1)
    bench.claimer.set_members(ALL - {"s"}, "s2", bench.now_ms)
    if by == "heartbeat":
        bench.heartbeat("h1", lease)
        assert [one.lease for _, one in bench.sent(Inherit)] == [lease]
        bench.tell("h1", Inherited(lease, "t", b"receipt"))
        assert bench.lease().state == states.HELD
    else:
        bench.outcome("h1", lease)
        assert bench.lease().state == states.REPORTING


# --- the heir


def row(standing: str, holder: str = "", key: str = "j1", **other: int) -> Row:
    lease = LeaseId("e/a", key, OLD, 9, 1, 5)
    regrants = other.get("regrants", 0)
    return Row(lease, "t", b"receipt", holder, standing, regrants, LOCK_MS, LOCK_MS, "regrant")


def heir(*rows: Row, outcome: bytes | None = None) -> ClaimerBench:
    """One that is handed these by a claimer that lives."""
    bench = ClaimerBench()
    bench.claimer.set_members(ALL | {OLD}, "s", bench.now_ms)
    bench.join("h1", 1)
    bench.claimer.messages_to_send()
    bench.tell(OLD, HandOver("e/a", 9, list(rows), [outcome] * len(rows)))
    return bench


def test_the_heir_renews_asks_the_holder_and_says_so() -> None:
    bench = heir(row(TAKEN, "h1"))
    messages = bench.claimer.messages_to_send()
    assert [(to, one.reason) for to, one in messages if isinstance(one, Inherit)] == [("h1", OLD)]
    ((to, taken),) = [(to, one) for to, one in messages if isinstance(one, TakenOver)]
    assert (to, taken.session, taken.leases) == (OLD, 9, [row(TAKEN).lease])
    bench.claimer.handle_timer(bench.now_ms)
    assert bench.work(Extend).receipt == b"receipt"
    bench.tell("h1", Inherited(row(TAKEN).lease, "t", b"receipt"))
    assert bench.lease().state == states.HELD


def test_the_heir_does_with_each_lease_as_after_a_death() -> None:
    assert heir(row(FREE)).work(Release).lease.key == "j1"
    assert heir(row(TAKEN, "h9")).work(Release).lease.key == "j1"
    assert heir(row(LEFT_ALONE, "h1")).lease().state == states.ABANDONED
    assert heir(row(GIVEN_UP)).work(Report).outcome is None


def test_an_outcome_that_comes_along_is_reported_and_its_holder_told() -> None:
    bench = heir(row(TAKEN, "h1"), outcome=b"done")
    report = bench.work(Report)
    assert (report.outcome, report.receipt) == (b"done", b"receipt")
    bench.claimer.handle_settled(report, "applied", bench.now_ms)
    assert [(to, one.lease) for to, one in bench.sent(Settled)] == [("h1", row(TAKEN).lease)]


def test_what_is_offered_again_is_said_to_be_there_and_nothing_more() -> None:
    bench = heir(row(TAKEN, "h1"))
    bench.claimer.messages_to_send()
    bench.tell(OLD, HandOver("e/a", 9, [row(TAKEN, "h1")], [None]))
    assert [type(one) for _, one in bench.claimer.messages_to_send()] == [TakenOver]
    bench.tell(OLD, HandOver("e/a", 9, [row(TAKEN, "h1")], [b"done"]))
    assert bench.lease().state == states.REPORTING  # the holder has it no more, perhaps


def test_an_heir_without_an_engine_says_nothing() -> None:
    bench = ClaimerBench()
    bench.claimer.set_members(ALL | {OLD}, "s", bench.now_ms, reaches=False)
    bench.tell(OLD, HandOver("e/a", 9, [row(FREE)], [None]))
    assert (bench.claimer.leases(), bench.claimer.messages_to_send()) == ([], [])


def test_junk_about_a_hand_over_changes_nothing(bench: ClaimerBench) -> None:
    lease = bench.lease().id
    strand(bench)
    offer(bench)
    bench.tell("s", TakenOver("e/a", SESSION + 1, [lease]))
    bench.tell("s", TakenOver("e/other", SESSION, [lease]))
    bench.tell("h1", TakenOver("e/a", SESSION, [lease]))
    bench.tell("s", TakenOver("e/a", SESSION, [row(FREE, key="j9").lease]))
    bench.tell("c", HandOver("e/a", 9, [row(FREE, key="j8")], [None]))
    bench.tell("stranger", HandOver("e/a", 9, [row(FREE, key="j8")], [None]))
    assert [one.id for one in bench.claimer.leases()] == [lease]


# --- the holder


def holding() -> tuple[Holder, LeaseId]:
    holder = Holder(5, 2, 1_000, CONFIG)
    holder.set_members({"me", OLD, "s", "s2"})
    holder.set_claimer("e/a", "s")
    holder.serve("e/a", [TopicTerms("t", LOCK_MS)])
    lease = row(TAKEN).lease
    holder.receive_message(OLD, Grant(lease, "t", LOCK_MS, b"receipt", b"p"), 0)
    (run,) = holder.events()
    assert isinstance(run, Run)
    holder.messages_to_send()
    return holder, lease


def test_a_holder_goes_with_the_heir_that_its_claimer_agreed_to() -> None:
    holder, lease = holding()
    for agreed, kind in ((OLD, Inherited), ("s2", Keep)):
        holder.receive_message("s", Inherit(lease, agreed), 0)
        ((to, answer),) = holder.messages_to_send()
        assert (to, type(answer)) == ("s", kind)
        holder, lease = holding()


@pytest.mark.parametrize(
    ("sender", "told", "goes_to"),
    [(OLD, "s2", "s2"), (OLD, "dead", "s"), ("s2", "s2", OLD)],
)
def test_a_lease_is_yielded_by_its_claimer_alone(sender: str, told: str, goes_to: str) -> None:
    holder, lease = holding()
    holder.finish(lease, b"done", 0)
    holder.handle_timer(0)
    holder.messages_to_send()
    holder.receive_message(sender, Yield(lease, told), 1)
    holder.handle_timer(CONFIG.repeat_ms)
    sent = holder.messages_to_send()
    assert [to for to, one in sent if isinstance(one, OutcomeReport)] == [goes_to]
