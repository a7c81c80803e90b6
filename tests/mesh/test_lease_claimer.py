"""The claimer alone: to whom it grants what, and when it takes a holder for lost."""

import pytest

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.messages import (
    HOLDINGS_MAX,
    Accept,
    Grant,
    HandBack,
    Heartbeat,
    LeaseId,
    Offer,
    OutcomeReport,
    Refuse,
    Revoke,
    Settled,
    TopicTerms,
)
from gossamer_mesh.leases.work import Release, Report
from gossamer_mesh.testing.lease_bench import CONFIG, LOCK_MS, SESSION, ClaimerBench


@pytest.fixture
def bench() -> ClaimerBench:
    return ClaimerBench()


# --- credit


def test_no_credit_without_election_or_offer(bench: ClaimerBench) -> None:
    assert bench.claimer.credit() == 0
    bench.join("h1", 3)
    assert bench.claimer.credit() == bench.claimer.credit("t") == 3
    assert bench.claimer.credit("other") == 0
    bench.claimer.elect(False, 0)
    assert bench.claimer.credit() == 0


def test_never_grants_more_than_offered(bench: ClaimerBench) -> None:
    bench.join("h1", 2)
    for key in ("j1", "j2", "j3"):
        bench.activate(key)
    assert len(bench.sent(Grant)) == 2
    assert bench.claimer.credit() == 0
    assert bench.work(Release).lease.key == "j3"  # at once: it was not asked for


def test_offer_counts_what_it_has_seen(bench: ClaimerBench) -> None:
    bench.join("h1", 3)
    bench.activate("j1")
    _, first = bench.grant()
    bench.activate("j2")
    bench.offer("h1", 3, seen=0)
    assert bench.claimer.credit() == 1
    bench.offer("h1", 2, seen=first.counter)
    assert bench.claimer.credit() == 1
    bench.offer("h1", 5, seen=first.counter + 99)
    assert bench.claimer.credit() == 5


def test_mark_of_another_session_counts_nothing(bench: ClaimerBench) -> None:
    bench.join("h1", 2)
    bench.activate("j1")
    bench.tell("h1", Offer("e/a", 5, 99, 2, 1_000, SESSION + 1, 1_000))
    assert bench.claimer.credit() == 1


def test_lost_grants_do_not_cost_their_slots_for_ever(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.activate("j1")
    bench.sent(Grant)
    bench.wait(CONFIG.accept_ms)
    assert bench.lease().state == states.WAITING
    bench.offer("h1", 1)
    assert bench.sent(Grant) == []  # only a heartbeat tells that it does not have the job
    bench.heartbeat("h1")
    assert bench.grant()[0] == "h1"


def test_refusal_ends_credit_until_the_next_offer(bench: ClaimerBench) -> None:
    bench.join("h1", 4)
    bench.activate("j1")
    _, lease = bench.grant()
    bench.tell("h1", Refuse(lease, "no"))
    assert bench.claimer.credit() == 0
    assert bench.lease().state == states.WAITING
    bench.offer("h1", 1, seen=lease.counter)
    assert bench.grant()[0] == "h1"
    assert bench.lease().regrants == 0


def test_payload_goes_where_it_fits(bench: ClaimerBench) -> None:
    bench.join("h1", 9)
    bench.join("h2", 1)
    bench.offer("h1", 9, bytes_free=10)
    bench.activate("j1", b"x" * 11)
    assert bench.grant()[0] == "h2"
    bench.activate("j2", b"x" * 11)
    assert bench.work(Release).lease.key == "j2"
    bench.activate("j3", b"x" * 10)
    assert bench.grant()[0] == "h1"
    assert bench.claimer.credit() == 0  # nine slots, but not a byte
    bench.offer("h1", 9, bytes_free=500, seen=10**6)
    assert bench.claimer.credit() == 9


def test_most_credit_first(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.join("h2", 3)
    for key in ("j1", "j2", "j3"):
        bench.activate(key)
    assert sorted(to for to, _ in bench.sent(Grant)) == ["h1", "h2", "h2"]


def test_older_sequence_is_ignored(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.tell("h1", Offer("e/a", 5, bench.sequence, 9, 1_000, SESSION, 0))
    bench.tell("h1", Heartbeat("e/a", 5, 1, [], []))
    assert bench.claimer.credit("t") == 1


def test_other_groups_are_ignored(bench: ClaimerBench) -> None:
    bench.tell("h1", Offer("e/b", 5, 1, 9, 1_000, SESSION, 0))
    bench.tell("h1", OutcomeReport(LeaseId("e/b", "j1", "x", 1, 1, 1), "t", b"", b""))
    assert bench.claimer.statistics()["holders"] == 0
    assert bench.claimer.events() == []


def test_topics_are_taken_together_and_bounded(bench: ClaimerBench) -> None:
    for who, terms in (
        ("h1", TopicTerms("t", 5_000, ["a"], "regrant", 3, 10)),
        ("h2", TopicTerms("t", 9_000, ["b"], "wait", 5, 5)),
        ("h3", TopicTerms("u", 0, None)),
        ("h4", TopicTerms("v", 2**60, ["a"])),
        ("h5", TopicTerms("v", 1, None)),
    ):
        bench.claimer.receive_message(who, Heartbeat("e/a", 5, 1, [terms], []), 0)
    t, u, v = bench.claimer.topics()
    assert t.to_plain() == ["t", 9_000, ["a", "b"], "wait", 5, 10, 0, False]
    assert u.lock_ms == CONFIG.lock_ms_min
    assert (v.lock_ms, v.variables) == (CONFIG.lock_ms_max, None)


# --- loss


def test_dead_holder_means_a_new_grant_under_a_new_id(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.join("h2", 1)
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    to, again = bench.grant()
    assert to == "h2"
    assert again.counter > lease.counter
    assert bench.lease().regrants == 1


def test_heartbeat_that_leaves_it_out_means_a_new_grant(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.join("h2", 1)
    bench.heartbeat("h1")
    assert bench.grant()[0] == "h2"


def test_heartbeat_accepts_and_does_not_lose_what_is_on_its_way(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.activate("j1")
    _, lease = bench.grant()
    bench.heartbeat("h1")
    assert bench.lease().state == states.GRANTED
    bench.heartbeat("h1", lease)
    assert bench.lease().state == states.HELD


def test_new_session_means_a_new_grant_and_not_by_the_old_credit(bench: ClaimerBench) -> None:
    bench.join("h1", 5)
    bench.held()
    bench.offer("h1", 1, session=6)
    assert bench.sent(Grant) == []
    bench.heartbeat("h1", session=6)
    assert bench.grant()[0] == "h1"


def test_silence_means_a_new_grant(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.wait(CONFIG.silence_ms - 1)
    assert bench.lease().state == states.HELD
    bench.wait(1)
    assert bench.lease().state == states.WAITING
    assert bench.claimer.statistics()["holders"] == 0


def test_all_silent_holders_go_before_their_leases_do(bench: ClaimerBench) -> None:
    for who in ("h1", "h2", "h3"):
        bench.join(who, 5)
    for key in ("j1", "j2", "j3"):
        bench.activate(key)
    for to, grant in bench.sent(Grant):
        bench.tell(to, Accept(grant.lease))
    bench.wait(CONFIG.silence_ms)
    assert bench.sent(Grant) == []
    assert [one.state for one in bench.claimer.leases()] == [states.WAITING] * 3


def test_no_answer_means_a_new_grant_elsewhere(bench: ClaimerBench) -> None:
    bench.join("h1", 2)
    bench.activate("j1")
    bench.sent(Grant)
    bench.join("h2", 1)
    bench.wait(CONFIG.accept_ms - 1)
    assert bench.sent(Grant) == []
    bench.wait(1)
    assert bench.grant()[0] == "h2"


def test_own_pause_is_nobody_elses_silence(bench: ClaimerBench) -> None:
    bench.join("h1", 2)
    bench.held()
    bench.activate("j2")
    bench.sent(Grant)
    bench.now_ms += 20_000
    bench.claimer.handle_timer(bench.now_ms)
    assert {one.state for one in bench.claimer.leases()} == {states.HELD, states.GRANTED}
    bench.wait(CONFIG.accept_ms)
    assert bench.lease().state == states.WAITING


def test_two_re_grants_then_it_gives_up(bench: ClaimerBench) -> None:
    for who in ("h1", "h2", "h3", "h4"):
        bench.join(who, 1)
    bench.activate("j1")
    ids = set()
    for _ in range(3):
        to, lease = bench.grant()
        ids.add(lease)
        bench.tell(to, Accept(lease))
        bench.claimer.handle_member_lost(to, bench.now_ms)
    assert bench.sent(Grant) == []
    assert len(ids) == 3
    report = bench.work(Report)
    assert report.outcome is None
    assert report.reason == "3 nodes in a row were lost while they had this job"
    bench.claimer.handle_settled(report, "failed", bench.now_ms)
    assert bench.claimer.leases() == []
    assert bench.sent(Settled) == []


def test_hand_back_does_not_count(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    for _ in range(5):
        lease = bench.held()
        bench.tell("h1", HandBack(lease, "stopping"))
        assert bench.lease().regrants == 0
        bench.offer("h1", 1, seen=lease.counter)
        _, again = bench.grant()
        bench.tell("h1", Refuse(again, "no"))
        bench.claimer.release_waiting(bench.now_ms)
        bench.claimer.handle_settled(bench.work(Release), "released", bench.now_ms)
        bench.offer("h1", 1, seen=again.counter)


def test_lost_holder_that_speaks_again_goes_on(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(CONFIG.silence_ms)
    bench.tell("h1", Accept(lease))
    assert bench.lease().state == states.WAITING  # without a view, it could never be lost again
    bench.heartbeat("h1", lease)
    assert (bench.lease().state, bench.lease().id) == (states.HELD, lease)
    assert bench.lease().regrants == 0


def test_outcome_of_a_lost_holder_counts_until_another_has_it(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.outcome("h1", lease)
    assert bench.work(Report).outcome == b"done"


def test_stale_run_is_revoked_when_a_heartbeat_names_it(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.join("h2", 1)
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.grant()
    bench.heartbeat("h1", lease)
    ((to, revoke),) = bench.sent(Revoke)
    assert (to, revoke.lease, revoke.reason) == ("h1", lease, "stale")


def test_leases_of_another_process_are_not_revoked(bench: ClaimerBench) -> None:
    bench.heartbeat(
        "h1", LeaseId("e/a", "j1", "c", SESSION - 1, 1, 1), LeaseId("e/a", "j2", "d", 9, 1, 1)
    )
    assert bench.sent(Revoke) == []


def test_waiting_job_goes_back_to_the_engine(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.activate("j1")
    bench.tell("h1", Refuse(bench.grant()[1], "no free slot"))
    bench.wait(CONFIG.waiting_ms - 1)
    assert bench.claimer.events() == []
    bench.wait(1)
    release = bench.work(Release)
    assert release.reason == "no node had room for it"
    bench.claimer.handle_settled(release, None, bench.now_ms)
    bench.wait(CONFIG.retry_max_ms)
    again = bench.work(Release)  # without an answer it is tried while the lock lasts, no longer
    bench.now_ms = bench.lease().lock_end_ms
    bench.claimer.handle_settled(again, None, bench.now_ms)
    assert bench.claimer.leases() == []


# --- the policy `wait`


def test_wait_policy_lets_the_lock_end(bench: ClaimerBench) -> None:
    bench.join("h1", 1, on_lost="wait")
    lease = bench.held()
    bench.join("h2", 1)
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    assert bench.lease().state == states.ABANDONED
    bench.wait(LOCK_MS, "h2")
    assert bench.claimer.leases() == []
    assert bench.claimer.events() == []
    assert bench.sent(Grant) == []
    bench.outcome("h1", lease)
    ((_, settled),) = bench.sent(Settled)
    assert settled.reason == "its node was lost and its lock ended"


def test_wait_policy_takes_the_holder_back(bench: ClaimerBench) -> None:
    bench.join("h1", 1, on_lost="wait")
    lease = bench.held()
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.heartbeat("h1", lease)
    assert bench.lease().state == states.HELD
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.outcome("h1", lease)
    assert bench.work(Report).outcome == b"done"


@pytest.mark.parametrize(
    "settings",
    [
        {"heartbeat_ms": 0},
        {"heartbeat_ms": 3_000},
        {"accept_ms": 10_000},
        {"outcomes_kept_max": HOLDINGS_MAX + 1},
    ],
)
def test_settings_that_cannot_work_together(settings: dict[str, int]) -> None:
    with pytest.raises(MisuseError):
        LeaseConfig(**settings)
