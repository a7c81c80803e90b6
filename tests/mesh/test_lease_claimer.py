"""The claimer alone: what it says and asks for, given what holders and the engine say."""

from itertools import pairwise
from typing import TypeVar

import pytest

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import (
    HOLDINGS_MAX,
    Accept,
    Grant,
    HandBack,
    Heartbeat,
    LeaseId,
    Offer,
    OutcomeReport,
    Prolong,
    Refuse,
    Revoke,
    Settled,
    TopicTerms,
)
from gossamer_mesh.leases.work import Extend, Release, Report

CONFIG = LeaseConfig()
SESSION = 77
LOCK_MS = 30_000
Kind = TypeVar("Kind")


class Bench:
    """A claimer at work, and the time."""

    def __init__(self, config: LeaseConfig = CONFIG) -> None:
        self.now_ms = 1_000
        self.claimer = Claimer("e/a", "c", SESSION, config)
        self.claimer.elect(True, 0)
        self.sequence = 0

    def offer(
        self, who: str, slots: int, *, seen: int = 0, bytes_free: int = 1_000, session: int = 5
    ) -> None:
        self.sequence += 1
        self.tell(who, Offer("e/a", session, self.sequence, slots, bytes_free, SESSION, seen))

    def heartbeat(
        self, who: str, *leases: LeaseId, on_lost: str = "regrant", session: int = 5
    ) -> None:
        self.sequence += 1
        topics = [TopicTerms("t", LOCK_MS, None, on_lost)]
        self.tell(who, Heartbeat("e/a", session, self.sequence, topics, list(leases)))

    def join(self, who: str, slots: int, on_lost: str = "regrant", session: int = 5) -> None:
        self.heartbeat(who, on_lost=on_lost, session=session)
        self.offer(who, slots, session=session)

    def tell(self, who: str, message: object) -> None:
        self.claimer.receive_message(who, message, self.now_ms)  # type: ignore[arg-type]

    def activate(self, key: str, payload: bytes = b"p") -> None:
        self.claimer.handle_activated(
            key, "t", LOCK_MS, self.now_ms + LOCK_MS, b"receipt", payload, self.now_ms
        )

    def sent(self, kind: type[Kind]) -> list[tuple[str, Kind]]:
        messages = self.claimer.messages_to_send()
        return [(to, one) for to, one in messages if isinstance(one, kind)]

    def grant(self) -> tuple[str, LeaseId]:
        """The only grant that was sent."""
        ((to, grant),) = self.sent(Grant)
        return to, grant.lease

    def held(self, key: str = "j1", who: str = "h1") -> LeaseId:
        """A job that this holder has accepted."""
        self.activate(key)
        to, lease = self.grant()
        assert to == who
        self.tell(who, Accept(lease))
        return lease

    def outcome(self, who: str, lease: LeaseId, outcome: bytes = b"done") -> None:
        self.tell(who, OutcomeReport(lease, "t", b"receipt", outcome))

    def work(self, kind: type[Kind]) -> Kind:
        """The only call to the engine that is asked for."""
        (one,) = self.claimer.events()
        assert isinstance(one, kind)
        return one

    def lease(self, key: str = "j1") -> Lease:
        return next(one for one in self.claimer.leases() if one.id.key == key)

    def wait(self, pause_ms: int, *alive: str) -> None:
        """Time passes as for a driver: it wakes when it asked to; these holders speak."""
        end_ms = self.now_ms + pause_ms
        while self.now_ms < end_ms:
            timer_ms = self.claimer.get_timer()
            self.now_ms = min(end_ms, self.now_ms + 500, timer_ms or end_ms)
            for who in alive:
                mine = self.claimer.leases()
                self.heartbeat(who, *[one.id for one in mine if one.holder == who])
            self.claimer.handle_timer(self.now_ms)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- credit


def test_no_credit_without_election_or_offer(bench: Bench) -> None:
    assert bench.claimer.credit() == 0
    bench.join("h1", 3)
    assert bench.claimer.credit() == bench.claimer.credit("t") == 3
    assert bench.claimer.credit("other") == 0
    bench.claimer.elect(False, 0)
    assert bench.claimer.credit() == 0


def test_never_grants_more_than_offered(bench: Bench) -> None:
    bench.join("h1", 2)
    for key in ("j1", "j2", "j3"):
        bench.activate(key)
    assert len(bench.sent(Grant)) == 2
    assert bench.claimer.credit() == 0
    assert bench.lease("j3").state == states.WAITING


def test_offer_counts_what_it_has_seen(bench: Bench) -> None:
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


def test_mark_of_another_session_counts_nothing(bench: Bench) -> None:
    bench.join("h1", 2)
    bench.activate("j1")
    bench.tell("h1", Offer("e/a", 5, 99, 2, 1_000, SESSION + 1, 1_000))
    assert bench.claimer.credit() == 1


def test_lost_grants_do_not_cost_their_slots_for_ever(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.activate("j1")
    bench.sent(Grant)
    bench.wait(CONFIG.accept_ms)
    assert bench.lease().state == states.WAITING
    bench.offer("h1", 1)
    assert bench.sent(Grant) == []  # only a heartbeat tells that it does not have the job
    bench.heartbeat("h1")
    assert bench.grant()[0] == "h1"


def test_refusal_ends_credit_until_the_next_offer(bench: Bench) -> None:
    bench.join("h1", 4)
    bench.activate("j1")
    _, lease = bench.grant()
    bench.tell("h1", Refuse(lease, "no"))
    assert bench.claimer.credit() == 0
    assert bench.lease().state == states.WAITING
    bench.offer("h1", 1, seen=lease.counter)
    assert bench.grant()[0] == "h1"
    assert bench.lease().regrants == 0


def test_payload_goes_where_it_fits(bench: Bench) -> None:
    bench.join("h1", 9)
    bench.join("h2", 1)
    bench.offer("h1", 9, bytes_free=10)
    bench.activate("j1", b"x" * 11)
    assert bench.grant()[0] == "h2"
    bench.activate("j2", b"x" * 11)
    assert bench.sent(Grant) == []
    bench.activate("j3", b"x" * 10)
    assert bench.grant()[0] == "h1"
    assert bench.claimer.credit() == 0  # nine slots, but not a byte
    bench.offer("h1", 9, bytes_free=500, seen=10**6)
    assert bench.grant()[0] == "h1"


def test_most_credit_first(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.join("h2", 3)
    for key in ("j1", "j2", "j3"):
        bench.activate(key)
    assert sorted(to for to, _ in bench.sent(Grant)) == ["h1", "h2", "h2"]


def test_older_sequence_is_ignored(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.tell("h1", Offer("e/a", 5, bench.sequence, 9, 1_000, SESSION, 0))
    bench.tell("h1", Heartbeat("e/a", 5, 1, [], []))
    assert bench.claimer.credit("t") == 1


def test_other_groups_are_ignored(bench: Bench) -> None:
    bench.tell("h1", Offer("e/b", 5, 1, 9, 1_000, SESSION, 0))
    bench.tell("h1", OutcomeReport(LeaseId("e/b", "j1", "x", 1, 1, 1), "t", b"", b""))
    assert bench.claimer.statistics()["holders"] == 0
    assert bench.claimer.events() == []


def test_topics_are_taken_together_and_bounded(bench: Bench) -> None:
    for who, terms in (
        ("h1", TopicTerms("t", 5_000, ["a"], "regrant", 3, 10)),
        ("h2", TopicTerms("t", 9_000, ["b"], "wait", 5, 5)),
        ("h3", TopicTerms("u", 0, None)),
        ("h4", TopicTerms("v", 2**60, ["a"])),
        ("h5", TopicTerms("v", 1, None)),
    ):
        bench.claimer.receive_message(who, Heartbeat("e/a", 5, 1, [terms], []), 0)
    t, u, v = bench.claimer.topics()
    assert t.to_plain() == ["t", 9_000, ["a", "b"], "wait", 5, 10]
    assert u.lock_ms == CONFIG.lock_ms_min
    assert (v.lock_ms, v.variables) == (CONFIG.lock_ms_max, None)


# --- loss


def test_dead_holder_means_a_new_grant_under_a_new_id(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.join("h2", 1)
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    to, again = bench.grant()
    assert to == "h2"
    assert again.counter > lease.counter
    assert bench.lease().regrants == 1


def test_heartbeat_that_leaves_it_out_means_a_new_grant(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.join("h2", 1)
    bench.heartbeat("h1")
    assert bench.grant()[0] == "h2"


def test_heartbeat_accepts_and_does_not_lose_what_is_on_its_way(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.activate("j1")
    _, lease = bench.grant()
    bench.heartbeat("h1")
    assert bench.lease().state == states.GRANTED
    bench.heartbeat("h1", lease)
    assert bench.lease().state == states.HELD


def test_new_session_means_a_new_grant_and_not_by_the_old_credit(bench: Bench) -> None:
    bench.join("h1", 5)
    bench.held()
    bench.offer("h1", 1, session=6)
    assert bench.sent(Grant) == []
    bench.heartbeat("h1", session=6)
    assert bench.grant()[0] == "h1"


def test_silence_means_a_new_grant(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.wait(CONFIG.silence_ms - 1)
    assert bench.lease().state == states.HELD
    bench.wait(1)
    assert bench.lease().state == states.WAITING
    assert bench.claimer.statistics()["holders"] == 0


def test_all_silent_holders_go_before_their_leases_do(bench: Bench) -> None:
    for who in ("h1", "h2", "h3"):
        bench.join(who, 5)
    for key in ("j1", "j2", "j3"):
        bench.activate(key)
    for to, grant in bench.sent(Grant):
        bench.tell(to, Accept(grant.lease))
    bench.wait(CONFIG.silence_ms)
    assert bench.sent(Grant) == []
    assert [one.state for one in bench.claimer.leases()] == [states.WAITING] * 3


def test_no_answer_means_a_new_grant_elsewhere(bench: Bench) -> None:
    bench.join("h1", 2)
    bench.activate("j1")
    bench.sent(Grant)
    bench.join("h2", 1)
    bench.wait(CONFIG.accept_ms - 1)
    assert bench.sent(Grant) == []
    bench.wait(1)
    assert bench.grant()[0] == "h2"


def test_own_pause_is_nobody_elses_silence(bench: Bench) -> None:
    bench.join("h1", 2)
    bench.held()
    bench.activate("j2")
    bench.sent(Grant)
    bench.now_ms += 20_000
    bench.claimer.handle_timer(bench.now_ms)
    assert {one.state for one in bench.claimer.leases()} == {states.HELD, states.GRANTED}
    bench.wait(CONFIG.accept_ms)
    assert bench.lease().state == states.WAITING


def test_two_re_grants_then_it_gives_up(bench: Bench) -> None:
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


def test_hand_back_does_not_count(bench: Bench) -> None:
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


def test_lost_holder_that_speaks_again_goes_on(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(CONFIG.silence_ms)
    bench.tell("h1", Accept(lease))
    assert bench.lease().state == states.WAITING  # without a view, it could never be lost again
    bench.heartbeat("h1", lease)
    assert (bench.lease().state, bench.lease().id) == (states.HELD, lease)
    assert bench.lease().regrants == 0


def test_outcome_of_a_lost_holder_counts_until_another_has_it(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.outcome("h1", lease)
    assert bench.work(Report).outcome == b"done"


def test_stale_run_is_revoked_when_a_heartbeat_names_it(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.join("h2", 1)
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.grant()
    bench.heartbeat("h1", lease)
    ((to, revoke),) = bench.sent(Revoke)
    assert (to, revoke.lease, revoke.reason) == ("h1", lease, "stale")


def test_leases_of_another_process_are_not_revoked(bench: Bench) -> None:
    bench.heartbeat(
        "h1", LeaseId("e/a", "j1", "c", SESSION - 1, 1, 1), LeaseId("e/a", "j2", "d", 9, 1, 1)
    )
    assert bench.sent(Revoke) == []


def test_waiting_job_goes_back_to_the_engine(bench: Bench) -> None:
    bench.activate("j1")
    bench.wait(CONFIG.waiting_ms - 1)
    assert bench.claimer.events() == []
    bench.wait(1)
    release = bench.work(Release)
    assert release.reason == "no node had room for it"
    bench.claimer.handle_settled(release, None, bench.now_ms)
    assert bench.claimer.leases() == []
    assert bench.claimer.get_timer() is None


# --- the policy `wait`


def test_wait_policy_lets_the_lock_end(bench: Bench) -> None:
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


def test_wait_policy_takes_the_holder_back(bench: Bench) -> None:
    bench.join("h1", 1, on_lost="wait")
    lease = bench.held()
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.heartbeat("h1", lease)
    assert bench.lease().state == states.HELD
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.outcome("h1", lease)
    assert bench.work(Report).outcome == b"done"


# --- outcomes


def test_outcome_is_reported_and_acknowledged(bench: Bench) -> None:
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


def test_repeated_outcome_is_answered_from_the_tombstone(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.outcome("h1", lease)
    bench.claimer.handle_settled(bench.work(Report), "completed", bench.now_ms)
    bench.sent(Settled)
    bench.outcome("h1", lease)
    assert [one.reason for _, one in bench.sent(Settled)] == ["completed"]
    assert bench.claimer.events() == []
    assert bench.claimer.statistics()["stale"] == 0


def test_outcome_without_accept_counts(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.activate("j1")
    _, lease = bench.grant()
    bench.outcome("h1", lease)
    assert bench.work(Report).lease == lease


def test_outcome_of_an_old_id_is_stale(bench: Bench) -> None:
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


def test_unanswered_report_is_repeated_with_pauses(bench: Bench) -> None:
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


def test_retry_waits_as_long_as_the_engine_wishes(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.outcome("h1", bench.held())
    bench.claimer.handle_settled(bench.work(Report), None, bench.now_ms, retry_after_ms=7_000)
    assert bench.lease().retry_at_ms == bench.now_ms + 7_000


def test_outcome_of_a_dead_claimer_is_adopted(bench: Bench) -> None:
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


def test_outcome_of_our_own_forgotten_lease_is_stale_not_adopted(bench: Bench) -> None:
    bench.outcome("h1", LeaseId("e/a", "j1", "c", SESSION, 1, 1))
    assert bench.claimer.events() == []
    assert bench.claimer.statistics()["stale"] == 1


def test_outcome_of_a_dead_claimer_is_stale_once_the_job_is_ours(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.outcome("h2", LeaseId("e/a", "j1", "dead", 9, 4, 2))
    assert [one.reason for _, one in bench.sent(Settled)] == ["stale"]


def test_tombstones_are_bounded() -> None:
    bench = Bench(LeaseConfig(settled_kept_max=3))
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


def test_activated_again_while_running_revokes(bench: Bench) -> None:
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


def test_activated_again_while_a_retry_waits_carries_the_outcome_over(bench: Bench) -> None:
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


def test_activated_again_while_reporting_and_unanswered_carries_over(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.outcome("h1", bench.held())
    report = bench.work(Report)
    bench.activate("j1")
    assert bench.claimer.events() == []
    bench.claimer.handle_settled(report, None, bench.now_ms)
    assert bench.work(Report).outcome == b"done"


def test_activated_again_because_the_outcome_was_taken_is_worked_again(bench: Bench) -> None:
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


def test_lock_is_renewed_at_a_third(bench: Bench) -> None:
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


def test_renewal_without_an_answer_is_tried_again(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    bench.claimer.handle_extended(bench.work(Extend), None, bench.now_ms)
    bench.wait(LOCK_MS // 10, "h1")
    bench.work(Extend)


def test_lock_that_is_not_ours_stops_the_worker(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    bench.claimer.handle_extended(bench.work(Extend), False, bench.now_ms)
    ((to, revoke),) = bench.sent(Revoke)
    assert (to, revoke.lease) == ("h1", lease)
    assert bench.claimer.leases() == []


def test_refused_renewal_does_not_loop_while_a_report_waits(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    extend = bench.work(Extend)
    bench.outcome("h1", lease)
    report = bench.work(Report)
    bench.claimer.handle_settled(report, None, bench.now_ms, retry_after_ms=20_000)
    bench.claimer.handle_extended(extend, False, bench.now_ms)
    bench.wait(5_000, "h1")
    assert bench.claimer.events() == []
    assert bench.lease().state == states.REPORTING


def test_prolong_renews_at_once_within_bounds(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    for asked_ms, lock_ms in ((60_000, 60_000), (0, 1_000), (2**60, 86_400_000)):
        bench.tell("h1", Prolong(lease, asked_ms))
        bench.claimer.handle_timer(bench.now_ms)
        extend = bench.work(Extend)
        assert extend.lock_ms == lock_ms
        bench.claimer.handle_extended(extend, True, bench.now_ms)


def test_prolong_during_a_renewal_is_not_lost(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.wait(LOCK_MS // 3, "h1")
    extend = bench.work(Extend)
    bench.tell("h1", Prolong(lease, 90_000))
    bench.claimer.handle_extended(extend, True, bench.now_ms)
    bench.claimer.handle_timer(bench.now_ms)
    assert bench.work(Extend).lock_ms == 90_000


def test_prolong_by_anybody_else_is_ignored(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.tell("h2", Prolong(lease, 90_000))
    bench.claimer.handle_timer(bench.now_ms)
    assert bench.claimer.events() == []


# --- election and the end


def test_de_elected_claimer_keeps_its_leases(bench: Bench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.claimer.elect(False, 0)
    bench.wait(LOCK_MS // 3, "h1")
    bench.claimer.handle_extended(bench.work(Extend), True, bench.now_ms)
    bench.outcome("h1", lease)
    bench.claimer.handle_settled(bench.work(Report), "completed", bench.now_ms)
    assert bench.claimer.leases() == []


def test_term_rises_above_all_and_ids_never_repeat(bench: Bench) -> None:
    bench.join("h1", 9)
    first = bench.held("j1")
    bench.claimer.elect(False, 0)
    bench.claimer.elect(True, 12)
    second = bench.held("j2")
    assert (first.term, second.term) == (1, 13)
    assert second.counter > first.counter
    assert (first.session, first.claimer) == (SESSION, "c")


def test_election_again_changes_nothing(bench: Bench) -> None:
    bench.claimer.elect(True, 50)
    assert bench.claimer.term == 1


def test_release_of_what_waits(bench: Bench) -> None:
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
        "settled": 0,
        "released": 1,
        "stale": 0,
        "open": 1,
        "holders": 1,
    }


def test_answers_for_what_is_gone_are_ignored(bench: Bench) -> None:
    bench.join("h1", 1)
    bench.outcome("h1", bench.held())
    report = bench.work(Report)
    bench.claimer.handle_settled(report, "completed", bench.now_ms)
    bench.claimer.handle_settled(report, "completed", bench.now_ms)
    assert bench.claimer.statistics()["settled"] == 1


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
