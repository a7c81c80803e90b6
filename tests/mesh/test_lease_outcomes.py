"""The claimer alone: outcomes, the same job again, the engine's lock, and election."""

from itertools import pairwise

import pytest

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.messages import (
    Grant,
    LeaseId,
    Prolong,
    Revoke,
    Settled,
)
from gossamer_mesh.leases.work import Extend, Release, Report
from gossamer_mesh.testing.lease_bench import LOCK_MS, SESSION, ClaimerBench


@pytest.fixture
def bench() -> ClaimerBench:
    return ClaimerBench()


# --- outcomes


def test_outcome_is_reported_and_acknowledged(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.outcome("h1", lease)
    bench.outcome("h1", lease)
    report = bench.work(Report)
    assert (report.lease, report.outcome, report.receipt) == (lease, b"done", b"receipt")
    assert report.terms is not None and report.terms.name == "t"
    bench.claimer.handle_settled(report, "completed", bench.now_ms)
    assert [(to, one.reason) for to, one in bench.sent(Settled)] == [("h1", "completed")]
    assert bench.claimer.leases() == []


def test_repeated_outcome_is_answered_from_the_tombstone(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.outcome("h1", lease)
    bench.claimer.handle_settled(bench.work(Report), "completed", bench.now_ms)
    bench.sent(Settled)
    bench.outcome("h1", lease)
    assert [one.reason for _, one in bench.sent(Settled)] == ["completed"]
    assert bench.claimer.events() == []
    assert bench.claimer.statistics()["stale"] == 0


def test_outcome_without_accept_counts(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.activate("j1")
    _, lease = bench.grant()
    bench.outcome("h1", lease)
    assert bench.work(Report).lease == lease


def test_outcome_of_an_old_id_is_stale(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    old = bench.held()
    bench.join("h2", 1)
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    _, new = bench.grant()
    bench.outcome("h1", old, b"old")
    assert [(to, one.lease, one.reason) for to, one in bench.sent(Settled)] == [
        ("h1", old, "stale")
    ]
    assert bench.claimer.events() == []
    bench.outcome("h1", new, b"not yours")
    assert bench.claimer.events() == []
    bench.outcome("h2", new, b"new")
    assert bench.work(Report).outcome == b"new"


def test_unanswered_report_is_repeated_with_pauses(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.outcome("h1", bench.held())
    reported_ms: list[int] = []
    while len(reported_ms) < 9:
        for work in bench.claimer.events():
            if isinstance(work, Extend):
                bench.claimer.handle_extended(work, True, bench.now_ms)
            else:
                reported_ms.append(bench.now_ms)
                bench.claimer.handle_settled(work, None, bench.now_ms)
        timer_ms = bench.claimer.get_timer()
        assert timer_ms is not None
        bench.now_ms = timer_ms
        bench.claimer.handle_timer(bench.now_ms)
    pauses_ms = [after - before for before, after in pairwise(reported_ms)]
    assert pauses_ms == [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]


def test_retry_waits_as_long_as_the_engine_wishes(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.outcome("h1", bench.held())
    bench.claimer.handle_settled(bench.work(Report), None, bench.now_ms, retry_after_ms=7_000)
    assert bench.lease().retry_at_ms == bench.now_ms + 7_000


def test_outcome_of_a_dead_claimer_is_adopted(bench: ClaimerBench) -> None:
    bench.claimer.elect(False, 0)
    lease = LeaseId("e/a", "j1", "dead", 9, 4, 2)
    bench.outcome("h1", lease)
    bench.outcome("h1", lease)
    report = bench.work(Report)
    assert (report.lease, report.outcome, report.receipt) == (lease, b"done", b"receipt")
    bench.claimer.handle_settled(report, None, bench.now_ms)
    bench.wait(1_000)
    bench.claimer.handle_settled(bench.work(Report), "gone", bench.now_ms)
    bench.outcome("h1", lease)
    assert [one.reason for _, one in bench.sent(Settled)] == ["gone", "gone"]
    assert bench.claimer.events() == []


def test_outcome_of_our_own_forgotten_lease_is_stale_not_adopted(bench: ClaimerBench) -> None:
    bench.outcome("h1", LeaseId("e/a", "j1", "c", SESSION, 1, 1))
    assert bench.claimer.events() == []
    assert bench.claimer.statistics()["stale"] == 1


def test_outcome_of_a_dead_claimer_is_stale_once_the_job_is_ours(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.outcome("h2", LeaseId("e/a", "j1", "dead", 9, 4, 2))
    assert [one.reason for _, one in bench.sent(Settled)] == ["stale"]


def test_tombstones_are_bounded() -> None:
    bench = ClaimerBench(LeaseConfig(settled_kept_max=3))
    bench.join("h1", 9)
    leases = [bench.held(f"j{number}") for number in range(5)]
    for lease in leases:
        bench.outcome("h1", lease)
        bench.claimer.handle_settled(bench.work(Report), "completed", bench.now_ms)
    bench.sent(Settled)
    for lease in leases:
        bench.outcome("h1", lease)
    assert [one.reason for _, one in bench.sent(Settled)] == ["stale"] * 2 + ["completed"] * 3


# --- the same key again


def test_activated_again_while_running_revokes(bench: ClaimerBench) -> None:
    bench.join("h1", 2)
    old = bench.held()
    bench.activate("j1")
    messages = bench.claimer.messages_to_send()
    revoke, grant = messages[0][1], messages[1][1]
    assert isinstance(revoke, Revoke) and revoke.lease == old
    assert isinstance(grant, Grant) and grant.lease.counter > old.counter
    assert len(bench.claimer.leases()) == 1
    bench.outcome("h1", old)
    assert bench.claimer.events() == []


def test_activated_again_while_a_retry_waits_carries_the_outcome_over(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.outcome("h1", lease)
    bench.claimer.handle_settled(bench.work(Report), None, bench.now_ms)
    bench.claimer.handle_activated(
        "j1", "t", LOCK_MS, bench.now_ms + LOCK_MS, b"receipt 2", b"p", bench.now_ms
    )
    report = bench.work(Report)
    assert (report.lease, report.outcome, report.receipt) == (lease, b"done", b"receipt 2")
    bench.claimer.handle_settled(report, "completed", bench.now_ms)
    assert bench.claimer.leases() == []
    assert [one.reason for _, one in bench.sent(Settled)] == ["completed"]


def test_activated_again_while_reporting_and_unanswered_carries_over(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.outcome("h1", bench.held())
    report = bench.work(Report)
    bench.activate("j1")
    assert bench.claimer.events() == []
    bench.claimer.handle_settled(report, None, bench.now_ms)
    assert bench.work(Report).outcome == b"done"


def test_activated_again_because_the_outcome_was_taken_is_worked_again(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.outcome("h1", lease, b"failed, please again")
    report = bench.work(Report)
    bench.activate("j1")
    assert bench.sent(Grant) == []
    bench.claimer.handle_settled(report, "failed", bench.now_ms)
    bench.offer("h1", 1, seen=lease.counter)
    to, again = bench.grant()
    assert (to, again.key) == ("h1", "j1")
    assert again.counter > lease.counter


# --- the engine's lock


def test_lock_is_renewed_at_a_third(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.held()
    start_ms = bench.now_ms
    for third in range(1, 4):
        bench.wait(LOCK_MS // 3 - 1, "h1")
        assert bench.claimer.events() == []
        bench.wait(1, "h1")
        extend = bench.work(Extend)
        assert extend.lock_ms == LOCK_MS
        assert bench.now_ms == start_ms + third * LOCK_MS // 3
        bench.claimer.handle_extended(extend, True, bench.now_ms)
        assert bench.lease().lock_end_ms == bench.now_ms + LOCK_MS


def test_renewal_without_an_answer_is_tried_again(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    bench.claimer.handle_extended(bench.work(Extend), None, bench.now_ms)
    bench.wait(LOCK_MS // 10, "h1")
    bench.work(Extend)


def test_lock_that_is_not_ours_stops_the_worker(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    bench.claimer.handle_extended(bench.work(Extend), False, bench.now_ms)
    ((to, revoke),) = bench.sent(Revoke)
    assert (to, revoke.lease) == ("h1", lease)
    assert bench.claimer.leases() == []


def test_a_report_waits_for_the_renewal_that_is_under_way(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    extend = bench.work(Extend)
    bench.outcome("h1", lease)
    assert bench.claimer.events() == []  # behind the report, it could lock the job for nobody
    bench.claimer.handle_extended(extend, None, bench.now_ms)
    assert bench.work(Report).lease == lease


def test_a_renewal_that_waits_for_its_turn_is_not_made_when_the_outcome_is_here(
    bench: ClaimerBench,
) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    extend = bench.work(Extend)
    assert bench.claimer.is_current(extend)
    bench.outcome("h1", lease)
    assert not bench.claimer.is_current(extend)
    bench.claimer.handle_extended(extend, None, bench.now_ms)
    report = bench.work(Report)
    assert bench.claimer.is_current(report)


def test_a_report_waits_for_the_renewal_of_an_earlier_lease_of_the_same_job(
    bench: ClaimerBench,
) -> None:
    bench.join("h1", 2)
    bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    extend = bench.work(Extend)
    again = bench.held()  # the engine has given it out anew
    bench.outcome("h1", again)
    assert bench.claimer.events() == []
    bench.claimer.handle_extended(extend, True, bench.now_ms)
    assert bench.work(Report).lease == again


def test_refused_renewal_does_not_loop_while_a_report_waits(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.outcome("h1", lease)
    report = bench.work(Report)
    bench.claimer.handle_settled(report, None, bench.now_ms, retry_after_ms=20_000)
    bench.wait(LOCK_MS // 3, "h1")
    extend = bench.work(Extend)
    bench.claimer.handle_extended(extend, False, bench.now_ms)
    bench.wait(5_000, "h1")
    assert bench.claimer.events() == []
    assert bench.lease().state == states.REPORTING


def test_prolong_renews_at_once_within_bounds(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    for asked_ms, lock_ms in ((60_000, 60_000), (0, 1_000), (2**60, 86_400_000)):
        bench.tell("h1", Prolong(lease, asked_ms))
        bench.claimer.handle_timer(bench.now_ms)
        extend = bench.work(Extend)
        assert extend.lock_ms == lock_ms
        bench.claimer.handle_extended(extend, True, bench.now_ms)


def test_prolong_during_a_renewal_is_not_lost(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    extend = bench.work(Extend)
    bench.tell("h1", Prolong(lease, 90_000))
    bench.claimer.handle_extended(extend, True, bench.now_ms)
    bench.claimer.handle_timer(bench.now_ms)
    assert bench.work(Extend).lock_ms == 90_000


def test_prolong_by_anybody_else_is_ignored(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.tell("h2", Prolong(lease, 90_000))
    bench.claimer.handle_timer(bench.now_ms)
    assert bench.claimer.events() == []


# --- election and the end


def test_de_elected_claimer_keeps_its_leases(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.claimer.elect(False, 0)
    bench.wait(LOCK_MS // 3, "h1")
    bench.claimer.handle_extended(bench.work(Extend), True, bench.now_ms)
    bench.outcome("h1", lease)
    bench.claimer.handle_settled(bench.work(Report), "completed", bench.now_ms)
    assert bench.claimer.leases() == []


def test_what_a_poll_brings_after_the_election_goes_back_although_a_slot_is_offered(
    bench: ClaimerBench,
) -> None:
    """A holder that offers has not heard of the election, or hears this claimer no more."""
    bench.join("h1", 1)
    bench.claimer.elect(False, 0)
    bench.activate("late")
    assert bench.work(Release).lease.key == "late"
    assert bench.sent(Grant) == []


def test_what_is_given_out_anew_while_its_outcome_is_reported_goes_back_after_the_election(
    bench: ClaimerBench,
) -> None:
    bench.join("h1", 2)
    bench.outcome("h1", bench.held())
    report = bench.work(Report)
    bench.activate("j1")
    bench.claimer.elect(False, 0)
    bench.claimer.handle_settled(report, "failed", bench.now_ms)
    assert bench.work(Release).lease.key == "j1"


def test_term_rises_above_all_and_ids_never_repeat(bench: ClaimerBench) -> None:
    bench.join("h1", 9)
    first = bench.held("j1")
    bench.claimer.elect(False, 0)
    bench.claimer.elect(True, 12)
    second = bench.held("j2")
    assert (first.term, second.term) == (1, 13)
    assert second.counter > first.counter
    assert (first.session, first.claimer) == (SESSION, "c")


def test_election_again_changes_nothing(bench: ClaimerBench) -> None:
    bench.claimer.elect(True, 50)
    assert bench.claimer.term == 1


def test_release_of_what_waits(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.activate("j2")
    bench.claimer.release_waiting(bench.now_ms)
    release = bench.work(Release)
    assert release.lease.key == "j2"
    bench.claimer.handle_settled(release, "released", bench.now_ms)
    assert bench.claimer.statistics() == {
        "activated": 2,
        "granted": 1,
        "regranted": 0,
        "inherited": 0,
        "handed_over": 0,
        "reclaimed": 0,
        "settled": 0,
        "released": 1,
        "stale": 0,
        "bytes_moved": 2,
        "open": 1,
        "mirrored": 0,
        "holders": 1,
    }


def test_answers_for_what_is_gone_are_ignored(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.outcome("h1", bench.held())
    report = bench.work(Report)
    bench.claimer.handle_settled(report, "completed", bench.now_ms)
    bench.claimer.handle_settled(report, "completed", bench.now_ms)
    assert bench.claimer.statistics()["settled"] == 1
