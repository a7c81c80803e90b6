"""The holder alone: what it offers, runs, keeps and says again."""

from typing import TypeVar

import pytest

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.holder import Acknowledged, Cancel, Holder, Run
from gossamer_mesh.leases.messages import (
    TOPICS_MAX,
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
)

CONFIG = LeaseConfig()
TOPIC = TopicTerms("t", 30_000)
Kind = TypeVar("Kind")


class Bench:
    """A holder with two slots that serves topic `t` of one group for claimer `c`."""

    def __init__(self, config: LeaseConfig = CONFIG, slots: int = 2) -> None:
        self.now_ms = 1_000
        self.holder = Holder(5, slots, 100, config)
        self.holder.set_members({"c", "d", "me"})
        self.holder.set_claimer("e/a", "c")
        self.holder.serve("e/a", [TOPIC])

    def lease(
        self, counter: int, *, key: str = "", claimer: str = "c", session: int = 7
    ) -> LeaseId:
        return LeaseId("e/a", key or f"j{counter}", claimer, session, 1, counter)

    def grant(self, lease: LeaseId, *, topic: str = "t", payload: bytes = b"p") -> None:
        grant = Grant(lease, topic, 29_000, b"receipt", payload)
        self.holder.receive_message(lease.claimer, grant, self.now_ms)

    def run(self, counter: int) -> LeaseId:
        """A job that runs."""
        lease = self.lease(counter)
        self.grant(lease)
        (event,) = self.holder.events()
        assert isinstance(event, Run) and event.lease == lease
        return lease

    def finished(self, counter: int) -> LeaseId:
        """A job whose outcome was sent once."""
        lease = self.run(counter)
        self.holder.finish(lease, b"done", self.now_ms)
        self.sent(OutcomeReport)
        return lease

    def tell(self, message: object, sender: str = "c") -> None:
        self.holder.receive_message(sender, message, self.now_ms)  # type: ignore[arg-type]

    def sent(self, kind: type[Kind]) -> list[tuple[str, Kind]]:
        self.holder.handle_timer(self.now_ms)
        messages = self.holder.messages_to_send()
        return [(to, one) for to, one in messages if isinstance(one, kind)]

    def offers(self) -> list[tuple[str, int]]:
        return [(to, one.slots_free) for to, one in self.sent(Offer)]

    def tick(self, pause_ms: int) -> None:
        self.now_ms += pause_ms


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- what it says of itself


def test_offer_goes_before_heartbeat_each_second(bench: Bench) -> None:
    assert bench.holder.get_timer() <= bench.now_ms
    bench.holder.handle_timer(bench.now_ms)
    (to, offer), (_, heartbeat) = bench.holder.messages_to_send()
    assert to == "c"
    assert isinstance(offer, Offer) and isinstance(heartbeat, Heartbeat)
    assert (offer.slots_free, offer.bytes_free, offer.session) == (2, 100, 5)
    assert heartbeat.sequence > offer.sequence
    assert [one.name for one in heartbeat.topics] == ["t"]
    assert bench.holder.get_timer() == bench.now_ms + CONFIG.heartbeat_ms
    bench.tick(CONFIG.heartbeat_ms - 1)
    assert bench.sent(object) == []
    bench.tick(1)
    assert len(bench.sent(object)) == 2


def test_offer_follows_each_change(bench: Bench) -> None:
    bench.offers()
    lease = bench.run(1)
    ((_, offer),) = bench.sent(Offer)
    assert (offer.slots_free, offer.claimer_session, offer.counter_seen) == (1, 7, 1)
    assert offer.bytes_free == 99
    bench.holder.finish(lease, b"done", bench.now_ms)
    assert bench.offers() == [("c", 2)]


def test_heartbeat_names_what_runs_and_what_is_kept(bench: Bench) -> None:
    leases = [bench.finished(1), bench.run(2)]
    bench.tick(CONFIG.heartbeat_ms)
    ((_, heartbeat),) = bench.sent(Heartbeat)
    assert sorted(heartbeat.leases, key=repr) == leases


def test_leases_of_an_earlier_claimer_are_named_to_it_and_only_to_it(bench: Bench) -> None:
    lease = bench.run(1)
    bench.holder.set_claimer("e/a", "d")
    named = {to: one.leases for to, one in bench.sent(Heartbeat)}
    assert named == {"c": [lease], "d": []}
    bench.tick(CONFIG.heartbeat_ms)
    assert sorted(bench.offers()) == [("c", 0), ("d", 1)]


def test_who_is_not_concerned_any_more_hears_so_once(bench: Bench) -> None:
    bench.offers()
    bench.holder.serve("e/a", [])
    messages = dict((type(one), one) for _, one in bench.sent(object))
    offer, heartbeat = messages[Offer], messages[Heartbeat]
    assert isinstance(offer, Offer) and offer.slots_free == 0
    assert isinstance(heartbeat, Heartbeat) and heartbeat.topics == []
    bench.tick(CONFIG.heartbeat_ms)
    assert bench.sent(object) == []


def test_nobody_claims(bench: Bench) -> None:
    bench.offers()
    bench.holder.set_claimer("e/a", None)
    assert bench.offers() == [("c", 0)]
    bench.tick(CONFIG.heartbeat_ms)
    assert bench.sent(object) == []


def test_more_topics_than_a_heartbeat_names(bench: Bench) -> None:
    with pytest.raises(MisuseError):
        bench.holder.serve("e/a", [TOPIC] * (TOPICS_MAX + 1))
    ((_, heartbeat),) = bench.sent(Heartbeat)
    assert len(heartbeat.topics) == 1


# --- grants


def test_grant_is_accepted_and_run(bench: Bench) -> None:
    bench.grant(bench.lease(1), payload=b"work")
    (run,) = bench.holder.events()
    assert isinstance(run, Run)
    assert (run.lease, run.topic, run.payload, run.remaining_ms) == (
        bench.lease(1),
        "t",
        b"work",
        29_000,
    )
    assert [one.lease for _, one in bench.sent(Accept)] == [bench.lease(1)]
    assert bench.holder.statistics() == {"slots": 2, "running": 1, "unacknowledged": 0}


def test_grant_beyond_the_slots_is_refused(bench: Bench) -> None:
    for counter in (1, 2, 3):
        bench.grant(bench.lease(counter))
    assert len(bench.holder.events()) == 2
    ((_, refuse),) = bench.sent(Refuse)
    assert (refuse.lease, refuse.reason) == (bench.lease(3), "no free slot")
    assert bench.holder.slots_free() == 0


def test_grant_beyond_the_bytes_is_refused(bench: Bench) -> None:
    bench.grant(bench.lease(1), payload=b"x" * 60)
    bench.grant(bench.lease(2), payload=b"x" * 41)
    assert [one.reason for _, one in bench.sent(Refuse)] == ["no room for its payload"]
    bench.grant(bench.lease(3), payload=b"x" * 40)
    assert bench.holder.statistics()["running"] == 2


def test_kept_outcomes_take_their_bytes(bench: Bench) -> None:
    lease = bench.run(1)
    bench.holder.finish(lease, b"x" * 300, bench.now_ms)
    assert [one.bytes_free for _, one in bench.sent(Offer)] == [0]
    bench.tell(Settled(lease, "completed"))
    assert [one.bytes_free for _, one in bench.sent(Offer)] == [100]


def test_kept_outcomes_are_bounded() -> None:
    bench = Bench(LeaseConfig(outcomes_kept_max=3))
    for counter in (1, 2):
        bench.finished(counter)
    assert bench.holder.slots_free() == 1
    bench.finished(3)
    assert bench.offers() == []
    assert bench.holder.slots_free() == 0
    bench.grant(bench.lease(4))
    assert len(bench.sent(Refuse)) == 1


def test_unserved_topic_or_group_is_refused(bench: Bench) -> None:
    bench.grant(bench.lease(1), topic="other")
    bench.holder.receive_message(
        "c", Grant(LeaseId("e/b", "j", "c", 7, 1, 2), "t", 1, b"", b""), bench.now_ms
    )
    assert [one.reason for _, one in bench.sent(Refuse)] == [
        "no service here works on other",
        "no service here works on t",
    ]


def test_grant_in_the_name_of_another_is_ignored(bench: Bench) -> None:
    bench.offers()
    bench.tell(Grant(bench.lease(1, claimer="d"), "t", 1, b"", b""), sender="c")
    assert bench.sent(object) == []
    assert bench.holder.events() == []


def test_duplicates_are_harmless(bench: Bench) -> None:
    lease = bench.run(1)
    bench.grant(lease)
    assert bench.holder.events() == []
    assert [one.lease for _, one in bench.sent(Accept)] == [lease, lease]
    bench.holder.finish(lease, b"done", bench.now_ms)
    bench.holder.finish(lease, b"other", bench.now_ms)
    bench.grant(lease)
    assert bench.holder.events() == []
    assert [one.outcome for _, one in bench.sent(OutcomeReport)] == [b"done"]
    for _ in range(2):
        bench.tell(Settled(lease, "completed"))
        bench.tell(Revoke(lease, "stale"))
    assert [type(one) for one in bench.holder.events()] == [Acknowledged]
    bench.grant(lease)
    assert bench.holder.events() == []
    assert [one.reason for _, one in bench.sent(Refuse)] == ["it came late or twice"]
    assert bench.holder.statistics() == {"slots": 2, "running": 0, "unacknowledged": 0}


def test_grant_that_was_overtaken_is_refused(bench: Bench) -> None:
    bench.run(2)
    bench.grant(bench.lease(1))
    assert [one.lease for _, one in bench.sent(Refuse)] == [bench.lease(1)]


def test_another_process_of_the_claimer_counts_anew(bench: Bench) -> None:
    bench.run(9)
    bench.grant(bench.lease(1, session=8))
    (run,) = bench.holder.events()
    assert run.lease.session == 8


# --- outcomes


def test_outcome_is_repeated_less_and_less_until_settled(bench: Bench) -> None:
    lease = bench.run(1)
    bench.holder.finish(lease, b"done", bench.now_ms)
    ((to, report),) = bench.sent(OutcomeReport)
    assert to == "c"
    assert (report.lease, report.topic, report.receipt, report.outcome) == (
        lease,
        "t",
        b"receipt",
        b"done",
    )
    pauses = []
    for _ in range(6):
        start_ms = bench.now_ms
        while not bench.sent(OutcomeReport):
            bench.now_ms = max(bench.now_ms + 1, bench.holder.get_timer())
        pauses.append(bench.now_ms - start_ms)
    assert pauses == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    bench.tell(Settled(lease, "completed"))
    (event,) = bench.holder.events()
    assert isinstance(event, Acknowledged)
    assert (event.lease, event.result) == (lease, "completed")
    bench.tick(60_000)
    assert bench.sent(OutcomeReport) == []


def test_outcome_goes_to_the_next_claimer_when_its_own_is_gone(bench: Bench) -> None:
    lease = bench.finished(1)
    bench.holder.set_members({"d", "me"})
    bench.holder.set_claimer("e/a", "d")
    assert [(to, one.lease) for to, one in bench.sent(OutcomeReport)] == [("d", lease)]
    bench.tell(Settled(lease, "gone"), sender="d")
    assert len(bench.holder.events()) == 1


def test_outcome_stays_with_its_living_claimer(bench: Bench) -> None:
    bench.finished(1)
    bench.holder.set_claimer("e/a", "d")
    bench.tick(CONFIG.repeat_ms)
    assert [to for to, _ in bench.sent(OutcomeReport)] == ["c"]


def test_outcome_leaves_a_living_claimer_that_never_answers(bench: Bench) -> None:
    bench.finished(1)
    bench.holder.set_claimer("e/a", "d")
    receivers = []
    for _ in range(60):
        bench.tick(1_000)
        receivers += [to for to, _ in bench.sent(OutcomeReport)]
    assert receivers[:3] == ["c", "c", "d"]


def test_outcome_waits_for_somebody_to_claim(bench: Bench) -> None:
    lease = bench.run(1)
    bench.holder.set_members({"me"})
    bench.holder.set_claimer("e/a", None)
    bench.holder.finish(lease, b"done", bench.now_ms)
    assert bench.sent(OutcomeReport) == []
    bench.holder.set_claimer("e/a", "me")
    assert [to for to, _ in bench.sent(OutcomeReport)] == ["me"]


def test_outcome_too_large_changes_nothing() -> None:
    bench = Bench(LeaseConfig(outcome_bytes_max=10))
    lease = bench.run(1)
    with pytest.raises(MisuseError, match="11 bytes; at most 10"):
        bench.holder.finish(lease, b"x" * 11, bench.now_ms)
    assert bench.holder.statistics()["running"] == 1
    bench.holder.finish(lease, b"x" * 10, bench.now_ms)
    assert len(bench.sent(OutcomeReport)) == 1


def test_settled_never_ends_what_runs(bench: Bench) -> None:
    bench.tell(Settled(bench.run(1), "stale"))
    assert bench.holder.events() == []
    assert bench.holder.statistics()["running"] == 1


# --- the end of a lease


def test_revoke_cancels_what_runs(bench: Bench) -> None:
    lease = bench.run(1)
    bench.tell(Revoke(lease, "taken"), sender="d")
    assert bench.holder.events() == []
    bench.tell(Revoke(lease, "taken"))
    (event,) = bench.holder.events()
    assert isinstance(event, Cancel) and event.reason == "taken"
    bench.sent(object)
    bench.holder.finish(lease, b"too late", bench.now_ms)
    assert bench.sent(OutcomeReport) == []
    assert bench.holder.slots_free() == 2


def test_revoke_of_a_kept_outcome_acknowledges(bench: Bench) -> None:
    lease = bench.finished(1)
    bench.tell(Revoke(lease, "stale"))
    (event,) = bench.holder.events()
    assert isinstance(event, Acknowledged) and event.result == "stale"
    assert bench.holder.statistics()["unacknowledged"] == 0


def test_hand_back(bench: Bench) -> None:
    lease = bench.run(1)
    bench.holder.hand_back(lease)
    bench.holder.hand_back(lease)
    assert [(to, one.lease) for to, one in bench.sent(HandBack)] == [("c", lease)]
    assert bench.holder.statistics()["running"] == 0


def test_hand_back_of_a_finished_job_is_ignored(bench: Bench) -> None:
    bench.holder.hand_back(bench.finished(1))
    assert bench.sent(HandBack) == []
    assert bench.holder.statistics()["unacknowledged"] == 1


def test_draining_refuses_and_finishes(bench: Bench) -> None:
    lease = bench.run(1)
    bench.offers()
    bench.holder.drain()
    assert bench.offers() == [("c", 0)]
    bench.grant(bench.lease(2))
    assert [one.reason for _, one in bench.sent(Refuse)] == ["this node is stopping"]
    bench.holder.finish(lease, b"done", bench.now_ms)
    assert len(bench.sent(OutcomeReport)) == 1


def test_prolong(bench: Bench) -> None:
    lease = bench.run(1)
    assert bench.holder.prolong(lease, 60_000)
    assert [(to, one.lock_ms) for to, one in bench.sent(Prolong)] == [("c", 60_000)]
    bench.holder.finish(lease, b"done", bench.now_ms)
    assert not bench.holder.prolong(lease, 60_000)
    assert bench.sent(Prolong) == []


# --- claimers that are gone


def test_a_lease_moves_to_who_claims_when_its_claimer_is_gone(bench: Bench) -> None:
    lease = bench.run(1)
    bench.sent(Heartbeat)
    bench.holder.set_members({"d", "me"})
    bench.holder.set_claimer("e/a", "d")
    told = {to: (one.leases, one.moved) for to, one in bench.sent(Heartbeat)}  # at once
    assert told["d"] == ([lease], [])
    bench.holder.prolong(lease, 5)
    assert [to for to, _ in bench.sent(Prolong)] == ["d"]
    # The one that granted it was only out of sight: it hears where its lease is.
    bench.holder.set_members({"c", "d", "me"})
    bench.holder.set_claimer("e/a", "c")
    bench.now_ms += CONFIG.heartbeat_ms
    told = {to: (one.leases, one.moved) for to, one in bench.sent(Heartbeat)}
    assert told == {"c": ([], [lease]), "d": ([lease], [])}
    bench.holder.receive_message("d", Revoke(lease, "void"), bench.now_ms)
    assert [type(one) for one in bench.holder.events()] == [Cancel]


def test_who_offers_to_inherit_is_told_who_answers_for_the_lease(bench: Bench) -> None:
    lease = bench.run(1)
    bench.sent(Accept)
    bench.holder.receive_message("d", Inherit(lease), bench.now_ms)
    assert [to for to, _ in bench.sent(Keep)] == ["d"]
    bench.holder.receive_message("d", Inherit(bench.lease(2)), bench.now_ms)
    assert [one.lease.counter for _, one in bench.sent(Refuse)] == [2]
    bench.holder.receive_message("d", Revoke(lease, "not mine to say"), bench.now_ms)
    assert bench.holder.events() == []
    bench.holder.set_members({"d", "me"})
    bench.holder.receive_message("d", Inherit(lease), bench.now_ms)
    ((to, inherited),) = bench.sent(Inherited)
    assert (to, inherited.lease, inherited.receipt) == ("d", lease, b"receipt")
    bench.holder.finish(lease, b"done", bench.now_ms)
    assert [to for to, _ in bench.sent(OutcomeReport)] == ["d"]


def test_an_outcome_follows_its_lease_at_once(bench: Bench) -> None:
    lease = bench.finished(1)
    bench.holder.set_members({"d", "me"})
    bench.holder.receive_message("d", Inherit(lease), bench.now_ms)
    assert [to for to, _ in bench.sent(OutcomeReport)] == ["d"]
    assert bench.holder.leases() == [lease]
