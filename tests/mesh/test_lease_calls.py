"""Calls between services: who is asked, who counts as lost, what is late; and whole worlds."""

from collections import Counter
from collections.abc import Callable

import pytest

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases import messages as wire
from gossamer_mesh.leases.answering import Answerer, Asked
from gossamer_mesh.leases.calling import (
    ALL_BUSY,
    ASKED_MAX,
    BUSY,
    GROUP,
    LATE,
    LOST,
    NOBODY,
    Caller,
    Ended,
)
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.holder import Cancel
from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.rng import Rng

CONFIG = LeaseConfig()
SESSIONS = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}


class Desk:
    """A caller `a`, and what it says to whom."""

    def __init__(self, calls_max: int = 8) -> None:
        self.now_ms = 1_000
        self.caller = Caller("a", SESSIONS["a"], calls_max, CONFIG)
        self.caller.set_members(SESSIONS, self.now_ms)

    def call(self, members: str, *, for_ms: int = 60_000) -> int:
        deadline_ms = self.now_ms + for_ms
        return self.caller.call("job-1/1", "price", list(members), b"in", deadline_ms, self.now_ms)

    def grants(self) -> list[tuple[str, wire.Grant]]:
        sent = self.caller.messages_to_send()
        return [(to, one) for to, one in sent if isinstance(one, wire.Grant)]

    def grant(self) -> tuple[str, wire.Grant]:
        (one,) = self.grants()
        return one

    def tell(self, sender: str, message: "wire.Message") -> None:
        self.caller.receive_message(sender, message, self.now_ms)

    def refuse_next(self, reason: str = BUSY) -> tuple[str, bytes]:
        to, grant = self.grant()
        self.tell(to, wire.Refuse(grant.lease, reason))
        return to, grant.receipt

    def held_by(self, members: str) -> wire.LeaseId:
        self.call(members)
        to, grant = self.grant()
        self.tell(to, wire.Accept(grant.lease))
        return grant.lease

    def tick(self, pause_ms: int) -> None:
        """As a driver does: the timer is asked whenever it is due."""
        end_ms = self.now_ms + pause_ms
        while True:
            due_ms = self.caller.get_timer()
            if due_ms is None or due_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, due_ms)
            self.caller.handle_timer(self.now_ms)
        self.now_ms = end_ms

    def ended(self) -> list[tuple[bytes | None, str, str]]:
        return [(one.outcome, one.why, one.reason) for one in self.caller.events()]


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- the caller


def test_the_first_that_takes_it_has_it_and_its_outcome_ends_it(desk: Desk) -> None:
    number = desk.call("bc")
    to, grant = desk.grant()
    assert (to, grant.topic, grant.payload, grant.remaining_ms) == ("b", "price", b"in", 60_000)
    assert (grant.lease.group, grant.lease.key, grant.lease.claimer) == (GROUP, "job-1/1", "a")
    desk.tell("b", wire.Accept(grant.lease))
    assert desk.caller.holder_of(number) == "b"
    desk.tell("b", wire.OutcomeReport(grant.lease, "price", b"", b"out"))
    ((to, settled),) = desk.caller.messages_to_send()
    assert (to, type(settled)) == ("b", wire.Settled)
    assert desk.ended() == [(b"out", "", "")]
    assert desk.caller.get_timer() is None


def test_who_is_busy_is_passed_over_and_asked_to_let_it_wait_at_last(desk: Desk) -> None:
    desk.call("bcdef")
    asked = [desk.refuse_next() for _ in range(ASKED_MAX + 1)]
    assert asked == [(to, b"\0\0") for to in "bcde"] + [("b", b"\x01\0")]
    assert [to for to, _ in desk.grants()] == ["c"]


def test_a_call_that_all_refuse_ends_with_what_the_last_one_said(desk: Desk) -> None:
    desk.call("bc")
    for _ in range(4):
        desk.refuse_next()
    assert desk.grants() == [] and desk.ended() == [(None, ALL_BUSY, BUSY)]
    desk.call("b")
    assert desk.refuse_next("no such service") == ("b", b"\x01\0")
    assert desk.ended() == [(None, NOBODY, "no such service")]
    desk.call("")
    assert desk.ended() == [(None, NOBODY, "")]
    desk.call("x")
    assert desk.ended() == [(None, NOBODY, "")]


def test_the_last_one_is_asked_once_if_nobody_was_busy(desk: Desk) -> None:
    desk.call("bc")
    assert desk.refuse_next("this node is stopping") == ("b", b"\0\0")
    to, grant = desk.grant()
    assert (to, grant.receipt) == ("c", b"\x01\0")


def lose_by_membership(desk: Desk, lease: wire.LeaseId) -> None:
    desk.caller.set_members({one: n for one, n in SESSIONS.items() if one != "b"}, desk.now_ms)


def lose_by_restart(desk: Desk, lease: wire.LeaseId) -> None:
    desk.caller.set_members(SESSIONS | {"b": 77}, desk.now_ms)


def lose_by_silence(desk: Desk, lease: wire.LeaseId) -> None:
    desk.tick(CONFIG.silence_ms)


def lose_by_forgetting(desk: Desk, lease: wire.LeaseId) -> None:
    desk.tell("b", wire.Heartbeat(GROUP, 2, 1, [], []))


@pytest.mark.parametrize(
    "lose", [lose_by_membership, lose_by_restart, lose_by_silence, lose_by_forgetting]
)
def test_a_lost_holders_call_goes_to_another_under_a_new_id(
    desk: Desk, lose: Callable[[Desk, wire.LeaseId], None]
) -> None:
    lease = desk.held_by("bc")
    lose(desk, lease)
    to, grant = desk.grant()
    assert to == "c" and grant.receipt == b"\x01\x01"
    assert grant.lease.key == lease.key and grant.lease.counter > lease.counter
    # It was there after all: too late.
    desk.tell("b", wire.OutcomeReport(lease, "price", b"", b"old"))
    desk.tell("b", wire.Accept(lease))
    told = [(to, type(one)) for to, one in desk.caller.messages_to_send()]
    assert told == [("b", wire.Settled), ("b", wire.Revoke)] and desk.ended() == []
    assert desk.caller.statistics()["stale"] == 1


def test_a_grant_without_an_answer_counts_as_lost_and_is_taken_back(desk: Desk) -> None:
    desk.call("bc")
    _, first = desk.grant()
    desk.tick(CONFIG.accept_ms - 1)
    assert desk.caller.messages_to_send() == []
    desk.tick(1)
    (to, revoke), (other, grant) = desk.caller.messages_to_send()
    assert to == "b" and isinstance(revoke, wire.Revoke) and revoke.lease == first.lease
    assert other == "c" and isinstance(grant, wire.Grant)


def test_a_heartbeat_accepts_and_keeps(desk: Desk) -> None:
    desk.call("bc")
    _, grant = desk.grant()
    for sequence in range(1, 40):
        desk.tick(1_000)
        desk.tell("b", wire.Heartbeat(GROUP, 2, sequence, [], [grant.lease]))
    assert desk.caller.messages_to_send() == []
    desk.tell("b", wire.Heartbeat(GROUP, 2, 1, [], []))  # one that came late says nothing
    assert desk.caller.messages_to_send() == []


def test_a_call_is_granted_three_times_at_most(desk: Desk) -> None:
    lease = desk.held_by("bcdef")
    for holder, following in (("b", "c"), ("c", "d")):
        desk.tell(holder, wire.Heartbeat(GROUP, SESSIONS[holder], 1, [], []))
        to, grant = desk.grant()
        assert to == following
        desk.tell(to, wire.Accept(grant.lease))
        lease = grant.lease
    desk.tell("d", wire.Heartbeat(GROUP, SESSIONS["d"], 1, [], []))
    assert desk.grants() == [] and desk.ended() == [(None, LOST, "")]
    desk.tell("d", wire.OutcomeReport(lease, "price", b"", b"late"))
    assert desk.ended() == []


def test_one_that_was_lost_is_not_asked_again_but_a_busy_one_is(desk: Desk) -> None:
    desk.call("bc")
    desk.refuse_next()
    to, grant = desk.grant()
    assert to == "c"
    desk.tell("c", wire.Accept(grant.lease))
    desk.tell("c", wire.Heartbeat(GROUP, 3, 1, [], []))
    assert desk.refuse_next("gone") == ("b", b"\x01\x01")
    assert desk.ended() == [(None, LOST, "gone")]


def test_what_is_handed_back_goes_on_and_is_no_loss(desk: Desk) -> None:
    lease = desk.held_by("bc")
    desk.tell("b", wire.HandBack(lease, "this node is stopping"))
    to, grant = desk.grant()
    assert (to, grant.receipt) == ("c", b"\x01\0")


def test_the_callers_time_ends_the_call_where_it_runs(desk: Desk) -> None:
    desk.call("bc", for_ms=500)
    _, grant = desk.grant()
    desk.tell("b", wire.Accept(grant.lease))
    desk.tick(500)
    ((to, revoke),) = desk.caller.messages_to_send()
    assert to == "b" and isinstance(revoke, wire.Revoke)
    assert desk.ended() == [(None, LATE, "")]


def test_a_cancelled_call_is_told_to_its_holder_and_to_nobody_else(desk: Desk) -> None:
    number = desk.call("b")
    _, grant = desk.grant()
    desk.caller.cancel(number, desk.now_ms)
    desk.caller.cancel(number, desk.now_ms)
    ((to, revoke),) = desk.caller.messages_to_send()
    assert to == "b" and isinstance(revoke, wire.Revoke)
    desk.tell("b", wire.Accept(grant.lease))  # crossed the revocation
    assert [type(one) for _, one in desk.caller.messages_to_send()] == [wire.Revoke]
    assert desk.ended() == []


def test_strangers_words_on_a_call_change_nothing(desk: Desk) -> None:
    lease = desk.held_by("bc")
    desk.tell("c", wire.OutcomeReport(lease, "price", b"", b"forged"))
    desk.tell("c", wire.HandBack(lease, "forged"))
    desk.tell("c", wire.Refuse(lease, "forged"))
    desk.tell("b", wire.Refuse(lease, "after it had accepted"))
    desk.tell("b", wire.Heartbeat("e/0", 2, 9, [], [lease]))
    assert desk.ended() == [] and desk.grants() == []


def test_after_a_pause_of_its_own_it_listens_before_it_judges(desk: Desk) -> None:
    lease = desk.held_by("bc")
    desk.caller.handle_timer(desk.now_ms)
    desk.now_ms += 60_000 - 1
    desk.caller.handle_timer(desk.now_ms)
    assert desk.grants() == []
    desk.tell("b", wire.OutcomeReport(lease, "price", b"", b"out"))
    assert desk.ended() == [(b"out", "", "")]


def test_calls_are_bounded() -> None:
    desk = Desk(calls_max=1)
    desk.call("b")
    assert desk.caller.is_full()
    with pytest.raises(MisuseError):
        desk.call("b")
    assert len(desk.grants()) == 1


# --- the holder


class Bench:
    """A holder `b`, and what it says."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.answerer = Answerer("b", SESSIONS["b"], 2, 10, CONFIG)
        self.answerer.set_members(SESSIONS)

    def lease(self, counter: int, claimer: str = "a") -> wire.LeaseId:
        return wire.LeaseId(GROUP, f"j/{counter}", claimer, SESSIONS[claimer], 0, counter)

    def grant(self, lease: wire.LeaseId, payload: bytes = b"in", for_ms: int = 9_000) -> None:
        self.tell(lease.claimer, wire.Grant(lease, "price", for_ms, b"\x01\x01", payload))

    def tell(self, sender: str, message: "wire.Message") -> None:
        self.answerer.receive_message(sender, message, self.now_ms)

    def take(self, counter: int, for_ms: int = 9_000) -> wire.LeaseId:
        lease = self.lease(counter)
        self.grant(lease, for_ms=for_ms)
        self.answerer.events()
        self.answerer.accept(lease)
        return lease

    def said(self) -> list[tuple[str, str]]:
        self.answerer.handle_timer(self.now_ms)
        sent = self.answerer.messages_to_send()
        kinds = [(to, type(one).__name__) for to, one in sent]
        return [one for one in kinds if one[1] != "Heartbeat"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_call_is_put_to_the_driver_and_its_outcome_kept_until_it_is_settled(
    bench: Bench,
) -> None:
    lease = bench.lease(1)
    bench.grant(lease)
    (asked,) = bench.answerer.events()
    assert isinstance(asked, Asked)
    assert (asked.service, asked.payload, asked.remaining_ms) == ("price", b"in", 9_000)
    assert asked.may_wait and asked.lost == 1
    bench.answerer.accept(lease)
    assert bench.said() == [("a", "Accept")]
    bench.answerer.finish(lease, b"out", bench.now_ms)
    assert bench.said() == [("a", "OutcomeReport")]
    bench.now_ms += CONFIG.repeat_ms
    assert bench.said() == [("a", "OutcomeReport")]
    bench.tell("c", wire.Settled(lease, "forged"))
    assert bench.answerer.statistics()["unacknowledged"] == 1
    bench.tell("a", wire.Settled(lease, "applied"))
    assert bench.answerer.statistics()["unacknowledged"] == 0
    bench.now_ms += CONFIG.heartbeat_ms
    bench.said()
    assert bench.answerer.get_timer() is None


def test_its_driver_may_refuse(bench: Bench) -> None:
    bench.grant(bench.lease(1))
    bench.answerer.refuse(bench.lease(1), "no such service")
    ((to, refusal),) = bench.answerer.messages_to_send()
    assert to == "a" and isinstance(refusal, wire.Refuse) and refusal.reason == "no such service"
    with pytest.raises(MisuseError):
        bench.answerer.accept(bench.lease(1))
    with pytest.raises(MisuseError):
        bench.answerer.refuse(bench.lease(1), "")


def test_what_is_here_is_bounded_in_number_and_in_bytes(bench: Bench) -> None:
    bench.take(1)
    bench.grant(bench.lease(2), payload=b"123456789")
    assert ("a", "Refuse") in bench.said()
    bench.answerer.finish(bench.take(3), b"out", bench.now_ms)
    bench.grant(bench.lease(4))
    assert bench.answerer.events() == []


def test_a_grant_that_comes_late_or_twice_is_refused(bench: Bench) -> None:
    bench.answerer.finish(bench.take(2), b"out", bench.now_ms)
    bench.tell("a", wire.Settled(bench.lease(2), "applied"))
    for counter in (1, 2):
        bench.grant(bench.lease(counter))
    assert bench.answerer.events() == []
    bench.grant(wire.LeaseId(GROUP, "j", "a", 99, 0, 1))  # of another process
    assert len(bench.answerer.events()) == 1


def test_a_call_ends_with_its_callers_time(bench: Bench) -> None:
    bench.take(1, for_ms=500)
    assert bench.answerer.get_timer() is not None
    bench.now_ms += 500
    bench.said()
    (cancel,) = bench.answerer.events()
    assert isinstance(cancel, Cancel)
    bench.answerer.finish(bench.lease(1), b"late", bench.now_ms)
    assert bench.said() == []


def test_an_outcome_that_nobody_can_want_any_more_is_forgotten(bench: Bench) -> None:
    bench.answerer.finish(bench.take(1, for_ms=500), b"out", bench.now_ms)
    bench.said()
    bench.now_ms += 500
    assert bench.said() == [] and bench.answerer.statistics()["unacknowledged"] == 0


@pytest.mark.parametrize("sessions", [{"b": 2}, {"a": 88, "b": 2}], ids=["gone", "restarted"])
def test_a_call_ends_with_its_caller(bench: Bench, sessions: dict[str, int]) -> None:
    bench.take(1)
    bench.answerer.finish(bench.take(2), b"out", bench.now_ms)
    bench.answerer.set_members(sessions)
    (cancel,) = bench.answerer.events()
    assert isinstance(cancel, Cancel) and cancel.lease == bench.lease(1)
    assert bench.answerer.statistics()["unacknowledged"] == 0


def test_revoked_is_stopped_and_only_by_its_caller(bench: Bench) -> None:
    lease = bench.take(1)
    bench.tell("c", wire.Revoke(lease, "forged"))
    assert bench.answerer.events() == []
    bench.tell("a", wire.Revoke(lease, "not wanted"))
    (cancel,) = bench.answerer.events()
    assert isinstance(cancel, Cancel) and cancel.reason == "not wanted"


def test_a_node_that_stops_serves_its_own_jobs_and_gives_the_others_back(bench: Bench) -> None:
    lease = bench.take(1)
    bench.answerer.drain()
    bench.grant(bench.lease(2))
    assert bench.answerer.events() == []
    bench.grant(bench.lease(1, "b"))
    assert len(bench.answerer.events()) == 1
    bench.answerer.hand_back(lease)
    assert ("a", "HandBack") in bench.said()


def test_heartbeats_name_what_is_here_and_once_more_that_nothing_is(bench: Bench) -> None:
    lease = bench.take(1)
    bench.answerer.handle_timer(bench.now_ms)
    named = []
    for _ in range(3):
        sent = bench.answerer.messages_to_send()
        named += [one.leases for _, one in sent if isinstance(one, wire.Heartbeat)]
        bench.tell("a", wire.Revoke(lease, ""))
        bench.now_ms += CONFIG.heartbeat_ms
        bench.answerer.handle_timer(bench.now_ms)
    assert named == [[lease], []]


# --- whole worlds


class World:
    """Members that call each other over a network that loses and delays, and that crash."""

    def __init__(self, seed: int) -> None:
        self.rng = Rng(seed)
        self.now_ms = 0
        self.session = 0
        self.members: dict[str, tuple[Caller, Answerer]] = {}
        self.queue: list[tuple[int, int, str, str, list[object]]] = []
        self.sent = 0
        self.working: list[tuple[int, str, int, wire.LeaseId]] = []
        self.ended: dict[tuple[str, int, int], list[Ended]] = {}
        self.open: dict[tuple[str, int, int], int] = {}
        self.runs: Counter[wire.LeaseId] = Counter()
        self.keys: Counter[str] = Counter()
        self.calls = 0
        self.loss = self.rng.below(30)
        for name in "abcd":
            self.start(name)

    def start(self, name: str) -> None:
        self.session += 1
        self.members[name] = (
            Caller(name, self.session, 16, CONFIG),
            Answerer(name, self.session, 6, 1_000, CONFIG),
        )
        self.tell_members()

    def session_of(self, name: str) -> int:
        return self.members[name][0]._session

    def tell_members(self) -> None:
        sessions = {name: self.session_of(name) for name in self.members}
        for caller, answerer in self.members.values():
            caller.set_members(sessions, self.now_ms)
            answerer.set_members(sessions)

    def crash(self, name: str) -> None:
        session = self.session_of(name)
        del self.members[name]
        self.open = {k: v for k, v in self.open.items() if k[:2] != (name, session)}
        self.working = [one for one in self.working if one[1] != name]
        if self.rng.below(2):
            self.tell_members()
        self.start(name)

    def call(self, name: str) -> None:
        caller = self.members[name][0]
        if caller.is_full():
            return
        self.calls += 1
        others = [one for one in "abcd" if self.rng.below(4)]
        deadline_ms = self.now_ms + 1_000 + self.rng.below(30_000)
        number = caller.call(f"j{self.calls}", "s", others, b"xx", deadline_ms, self.now_ms)
        self.open[name, self.session_of(name), number] = deadline_ms

    def pump(self) -> None:
        for name in sorted(self.members):
            caller, answerer = self.members[name]
            for machine in (caller, answerer):
                for to, message in machine.messages_to_send():
                    if self.rng.below(100) >= self.loss:
                        self.sent += 1
                        # In order for each pair of members, as on a stream.
                        delay_ms = 5
                        plain = unpack(pack(message.to_plain()))
                        self.queue.append((self.now_ms + delay_ms, self.sent, name, to, plain))
            for event in answerer.events():
                if isinstance(event, Asked):
                    if self.rng.below(3) == 0 and not event.may_wait:
                        answerer.refuse(event.lease, BUSY)
                    else:
                        answerer.accept(event.lease)
                        self.runs[event.lease] += 1
                        self.keys[event.lease.key] += 1
                        end_ms = self.now_ms + self.rng.below(8_000)
                        session = self.session_of(name)
                        self.working.append((end_ms, name, session, event.lease))
                else:
                    self.working = [one for one in self.working if one[3] != event.lease]
            for ended in caller.events():
                key = (name, self.session_of(name), ended.number)
                self.ended.setdefault(key, []).append(ended)
                assert ended.why or ended.outcome == b"out"
                deadline_ms = self.open.pop(key)
                assert self.now_ms <= deadline_ms + 100

    def step(self) -> None:
        self.now_ms += 50
        for caller, answerer in self.members.values():
            for machine in (caller, answerer):
                due_ms = machine.get_timer()
                if due_ms is not None and due_ms <= self.now_ms:
                    machine.handle_timer(self.now_ms)
        due = sorted(one for one in self.queue if one[0] <= self.now_ms)
        self.queue = [one for one in self.queue if one[0] > self.now_ms]
        for _, _, sender, to, plain in due:
            message = wire.from_plain(plain)
            assert message is not None
            if to in self.members:
                caller, answerer = self.members[to]
                for machine in (caller, answerer):
                    machine.receive_message(sender, message, self.now_ms)
        for one in [each for each in self.working if each[0] <= self.now_ms]:
            self.working.remove(one)
            self.members[one[1]][1].finish(one[3], b"out", self.now_ms)
        self.pump()


@pytest.mark.parametrize("seed", range(24))
def test_every_call_ends_once_and_nothing_is_left(seed: int) -> None:
    world = World(seed)
    for _ in range(1_200):
        if world.rng.below(4) == 0:
            world.call("abcd"[world.rng.below(4)])
        if world.rng.below(150) == 0:
            world.crash("abcd"[world.rng.below(4)])
        world.step()
    for _ in range(1_500):
        world.step()
    assert world.open == {}, f"seed {seed}"
    assert all(len(ended) == 1 for ended in world.ended.values()), f"seed {seed}"
    assert max(world.runs.values()) == 1, f"seed {seed}: one lease ran twice"
    assert max(world.keys.values()) <= 1 + CONFIG.regrants_max, f"seed {seed}"
    assert world.working == [], f"seed {seed}: a worker outlives its caller"
    for caller, answerer in world.members.values():
        assert caller.statistics()["open"] == 0
        counts = answerer.statistics()
        assert (counts["running"], counts["unacknowledged"]) == (0, 0), f"seed {seed}"
        assert caller.get_timer() is None and answerer.get_timer() is None, f"seed {seed}"
    answered = sum(1 for (one,) in world.ended.values() if one.outcome is not None)
    assert answered > world.calls // 3, f"seed {seed}: {answered} of {world.calls}"
