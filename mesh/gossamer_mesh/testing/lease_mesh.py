"""Members with claimers and holders on one engine, in virtual time: what `lease_model` troubles.

One seed makes one run: how many members, which of them reach the engine, what they serve, how long
each message, call and job takes. Each member is driven as a node drives it. What goes wrong, and
when, is for a model to say; `Checks` watches every step.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappush
from typing import TYPE_CHECKING

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.holder import Acknowledged, Cancel, Holder, Run
from gossamer_mesh.leases.messages import (
    HandBack,
    Heartbeat,
    LeaseId,
    Offer,
    Refuse,
    TopicTerms,
    from_plain,
)
from gossamer_mesh.leases.placement import rank
from gossamer_mesh.leases.work import EngineWork, Extend, Report
from gossamer_mesh.testing import lease_engine
from gossamer_mesh.testing.lease_checks import Checks, InvariantBroken, name_of
from gossamer_mesh.testing.lease_engine import EngineModel
from gossamer_mesh.testing.lease_network import LeaseNetwork

if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import Message

NEWS_MS_MAX = 6_000
"""How late a member hears that another died or came."""
JOBS_PER_POLL_MAX = 4
BYTES_MAX = 1_000
"""Of payloads and outcomes on one holder."""


@dataclass
class Process:
    """One run of a member's process: what dies with it.

    `cut_off`: members that do not reach the engine any more, as this one has heard.
    """

    member_id: str
    session: int
    holder: Holder
    checks: Checks
    claimers: dict[str, Claimer] = field(default_factory=dict)
    view: set[str] = field(default_factory=set)
    running: dict[LeaseId, int] = field(default_factory=dict)
    polling: set[str] = field(default_factory=set)
    cut_off: set[str] = field(default_factory=set)
    backlog: list[Callable[[], None]] = field(default_factory=list)
    alive: bool = True
    draining: bool = False
    paused: bool = False
    wake_ms: int | None = None


class LeaseMesh:
    """The members, their network and their engine.

    Args:
        seed: decides everything.
        trace: takes each step in words; None for none.
        lock_ms: of the engine's locks; None: the seed decides.
        can_wait: whether a service may leave a lost job to the engine's lock.
        members_min: of at most four.
    """

    def __init__(
        self,
        seed: int,
        trace: Callable[[str], None] | None = None,
        *,
        lock_ms: int | None = None,
        can_wait: bool = True,
        members_min: int = 2,
    ) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self._trace = trace
        self._rng = rng = random.Random(seed)
        self._now_ms = 0
        self._number = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._config = LeaseConfig(outcomes_kept_max=6)
        self._network = LeaseNetwork(rng, datagrams=rng.random() < 0.3)
        self._member_ids = [f"m{number}" for number in range(rng.randint(members_min, 4))]
        self._lock_ms = lock_ms or rng.choice([10_000, 30_000])
        self._engine = EngineModel(rng.random() < 0.5, rng.choice([0, 1_000]))
        self._engine_down_ms = 0
        self._links_cut: set[str] = set()
        self._groups = {"e/a": ["a1", "a2"]}
        if rng.random() < 0.3:
            self._groups["e/b"] = ["b1"]
        self._reach = {
            group: set(rng.sample(self._member_ids, rng.randint(1, len(self._member_ids))))
            for group in self._groups
        }
        waits = {"a2"} if can_wait and rng.random() < 0.3 else set()
        self._terms = {
            topic: TopicTerms(topic, self._lock_ms, None, "wait" if topic in waits else "regrant")
            for topics in self._groups.values()
            for topic in topics
        }
        self._processes: dict[str, Process] = {}
        self._terms_seen: Counter[str] = Counter()
        self._granted: set[LeaseId] = set()
        self._poison: dict[str, int] = {}
        self._luck_end_ms = 0
        self._polls_outlive = True

    def _leftovers(self) -> list[str]:
        left = [repr(job) for job in self._engine.jobs.values() if not job.done]
        for process in self._processes.values():
            for claimer in process.claimers.values():
                left += [f"{process.member_id} {one.id!r} {one.state}" for one in claimer.leases()]
            counts = process.holder.statistics()
            if counts["running"] or counts["unacknowledged"]:
                left.append(f"{process.member_id} holds {counts}")
        return left

    def _say(self, text: str) -> None:
        if self._trace is not None:
            self._trace(f"{self._now_ms:7} {text}")

    def _at(self, due_ms: int, action: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._queue, (due_ms, self._number, action))

    def _after(self, pause_ms: int, action: Callable[[], None]) -> None:
        self._at(self._now_ms + pause_ms, action)

    def _post(self, process: Process, action: Callable[[], None]) -> None:
        """Lets a process act, unless it is dead; later, if it is paused."""
        if process.paused:
            process.backlog.append(action)
        elif process.alive:
            action()
            self._drive(process)

    # --- members

    def _start(self, member_id: str, view: set[str]) -> None:
        session = self._rng.randrange(1, 2**40)
        slots = self._rng.randint(1, 4)
        config = self._config
        holder = Holder(session, slots, BYTES_MAX, config)
        checks = Checks(member_id, session, slots, BYTES_MAX, self._granted, config)
        process = Process(member_id, session, holder, checks)
        process.view = view | {member_id}
        process.cut_off = set(self._links_cut)
        for group, topics in sorted(self._groups.items()):
            # The first member serves all, so that each job has a holder in the end.
            served = [topic for topic in topics if member_id == "m0" or self._rng.random() < 0.8]
            holder.serve(group, [self._terms[topic] for topic in served])
            if member_id in self._reach[group]:
                process.claimers[group] = Claimer(group, member_id, session, self._config)
        self._processes[member_id] = process
        self._say(f"{member_id} starts")
        self._post(process, lambda: self._view_changed(process))

    def _view_changed(self, process: Process) -> None:
        process.holder.set_members(process.view)
        for group in self._groups:
            ranked = rank(group, sorted((process.view & self._reach[group]) - process.cut_off))
            leader = ranked[0] if ranked else None
            others = [one for one in ranked if one != process.member_id]
            process.holder.set_claimer(group, leader)
            if group in process.claimers:
                claimer = process.claimers[group]
                # What gossip has told of earlier terms may be nothing yet.
                term_seen = self._rng.choice([0, self._terms_seen[group]])
                claimer.elect(leader == process.member_id and not process.draining, term_seen)
                self._terms_seen[group] = max(self._terms_seen[group], claimer.term)
                # The next in the ranking, or the first, when that is another.
                heir = others[0] if others else None
                reaches = process.member_id not in process.cut_off
                claimer.set_members(process.view, heir, self._now_ms, reaches=reaches)

    def _spread(self, member_id: str, alive: bool) -> None:
        """The news that a member died or came reaches the others, each in its own time."""
        for other in self._member_ids:
            if other != member_id:
                pause_ms = self._rng.randrange(100, NEWS_MS_MAX)
                self._after(pause_ms, partial(self._tell, other, member_id, alive))

    def _tell(self, other: str, member_id: str, alive: bool) -> None:
        process = self._processes[other]
        self._post(process, lambda: self._hear(process, member_id, alive))

    def _hear(self, process: Process, member_id: str, alive: bool) -> None:
        if (member_id in process.view) == alive:
            return
        self._say(f"{process.member_id} hears {member_id} {'is there' if alive else 'died'}")
        if alive:
            process.view.add(member_id)
        else:
            process.view.discard(member_id)
            process.checks.note_member_lost(member_id)
            for claimer in process.claimers.values():
                claimer.handle_member_lost(member_id, self._now_ms)
        self._view_changed(process)

    def _cut_link(self, member_id: str) -> None:
        """A member's way to the engine is cut: it finds out, then tells the others."""
        self._say(f"{member_id} loses the engine")
        self._links_cut.add(member_id)
        self._spread_link(member_id, self._rng.randrange(100, 2_000))

    def _mend_link(self, member_id: str) -> None:
        if member_id in self._links_cut:
            self._say(f"{member_id} has the engine again")
            self._links_cut.discard(member_id)
            self._spread_link(member_id, self._rng.randrange(100, 2_000))

    def _spread_link(self, member_id: str, found_ms: int) -> None:
        for other in self._member_ids:
            late_ms = self._rng.randrange(100, NEWS_MS_MAX) if other != member_id else 0
            self._after(found_ms + late_ms, partial(self._hear_link, other, member_id))

    def _hear_link(self, other: str, member_id: str) -> None:
        process = self._processes[other]
        self._post(process, lambda: self._take_link(process, member_id))

    def _take_link(self, process: Process, member_id: str) -> None:
        if member_id in self._links_cut:
            process.cut_off.add(member_id)
        else:
            process.cut_off.discard(member_id)
        self._view_changed(process)

    def _drain(self, process: Process) -> None:
        process.draining = True
        process.holder.drain()
        self._view_changed(process)

    def _hand_back(self, process: Process) -> None:
        for lease in list(process.running):
            process.holder.hand_back(lease)
        process.running.clear()
        for claimer in process.claimers.values():
            claimer.release_waiting(self._now_ms)

    def _cut_streams(self, member_id: str) -> None:
        """What is under way to and from this member is lost."""
        self._network.break_streams(
            {(member_id, other) for other in self._member_ids}
            | {(other, member_id) for other in self._member_ids}
        )

    def _crash(self, process: Process) -> None:
        """A worker brought its process down."""
        raise NotImplementedError

    def _restart(self, member_id: str) -> None:
        if not self._processes[member_id].alive:
            self._start(member_id, set())
            for other in self._member_ids:
                if other != member_id and self._processes[other].alive:
                    pause_ms = self._rng.randrange(100, 3_000)
                    self._after(pause_ms, partial(self._tell, member_id, other, True))
            self._spread(member_id, alive=True)

    # --- what a driver does

    def _drive(self, process: Process) -> None:
        """Runs a process until it has nothing to do, and sets its alarm."""
        if not process.alive or process.paused:
            return
        now_ms = self._now_ms
        holder = process.holder
        holder.handle_timer(now_ms)
        due = [holder.get_timer()]
        for group, claimer in process.claimers.items():
            claimer.handle_timer(now_ms)
            for work in claimer.events():
                self._call_engine(process, claimer, work)
            for to, message in claimer.messages_to_send():
                process.checks.check_claimer_message(claimer, to, message, now_ms)
                self._send(process, to, message)
            if group not in process.polling and (credit := claimer.credit()):
                self._poll(process, claimer, min(credit, JOBS_PER_POLL_MAX))
            timer_ms = claimer.get_timer()
            if timer_ms is not None:
                due.append(timer_ms)
        for event in holder.events():
            self._handle_holder_event(process, event)
        process.checks.check_bounds(process.running, holder.statistics())
        for to, message in holder.messages_to_send():
            if isinstance(message, Offer):
                process.checks.check_offer(message, len(process.running))
            self._send(process, to, message)
        wake_ms = max(min(due), now_ms + 1)
        if process.wake_ms is None or wake_ms < process.wake_ms or process.wake_ms <= now_ms:
            process.wake_ms = wake_ms
            self._at(wake_ms, lambda: self._wake(process, wake_ms))

    def _wake(self, process: Process, wake_ms: int) -> None:
        if process.wake_ms == wake_ms:
            process.wake_ms = None
            self._drive(process)

    def _handle_holder_event(self, process: Process, event: Run | Cancel | Acknowledged) -> None:
        lease = event.lease
        if isinstance(event, Run):
            process.checks.check_run(lease)
            process.running[lease] = len(event.payload)
            self._say(f"{process.member_id} runs {lease!r}")
            self.counts["runs"] += 1
            if self._poison.get(lease.key, 0) > 0:
                self._poison[lease.key] -= 1
                self._after(self._rng.randrange(1, 500), lambda: self._crash(process))
            usual = self._rng.random() < 0.9
            run_ms = self._rng.randrange(5, 800) if usual else self._rng.randrange(1_000, 40_000)
            if self._rng.random() < 0.1:
                lock_ms = self._rng.choice([0, 5_000, 60_000])
                process.holder.prolong(lease, lock_ms)
            self._after(run_ms, lambda: self._post(process, lambda: self._finish(process, lease)))
        elif isinstance(event, Cancel):
            self._say(f"{process.member_id} cancels {lease!r}: {event.reason}")
            self.counts["cancelled"] += 1
            process.running.pop(lease, None)
        else:
            self._say(f"{process.member_id} is told {lease!r}: {event.result}")
            self.counts[f"told {event.result}"] += 1

    def _finish(self, process: Process, lease: LeaseId) -> None:
        if lease in process.running:
            del process.running[lease]
            verb = lease_engine.FAILED if self._rng.random() < 0.1 else lease_engine.COMPLETED
            self._say(f"{process.member_id} has {verb} {lease!r}")
            process.holder.finish(lease, f"{verb}|{name_of(lease)}".encode(), self._now_ms)

    # --- the network

    def _send(self, process: Process, to: str, message: "Message") -> None:
        pair, plain = (process.member_id, to), message.to_plain()
        stream, arrivals_ms = self._network.send(pair, self._now_ms)
        for arrival_ms in arrivals_ms:
            self._at(arrival_ms, lambda: self._deliver(pair, stream, plain))

    def _deliver(self, pair: tuple[str, str], stream: int, plain: list[object]) -> None:
        if not self._network.arrives(pair, stream):
            return
        sender, to = pair
        message = from_plain(plain)
        if message is None:
            raise InvariantBroken(f"{sender} sent what nobody can read: {plain}")
        process = self._processes[to]
        self._post(process, lambda: self._receive(process, sender, message))

    def _receive(self, process: Process, sender: str, message: "Message") -> None:
        process.holder.receive_message(sender, message, self._now_ms)
        group = message.group if hasattr(message, "group") else message.lease.group
        claimer = process.claimers.get(group)
        if claimer is None:
            return
        if isinstance(message, (Offer, Heartbeat)):
            process.checks.note_state(sender, message, self._now_ms)
        elif isinstance(message, (Refuse, HandBack)):
            process.checks.note_back(claimer, message.lease)
        claimer.receive_message(sender, message, self._now_ms)

    # --- the engine

    def _poll(self, process: Process, claimer: Claimer, jobs_max: int) -> None:
        """One long poll for a group: the engine locks, then answers; a dead asker hears nothing.

        Real engines lock for a dead asker, too; `_polls_outlive` says whether this one does.
        """
        process.polling.add(claimer.group)
        topics = {one.name for one in claimer.topics()}
        wait_ms = self._rng.randrange(5, 1_000)

        def act() -> None:
            jobs = []
            down = self._now_ms < self._engine_down_ms or process.member_id in self._links_cut
            if not down and (process.alive or self._polls_outlive):
                jobs = self._engine.activate(
                    topics, jobs_max, self._lock_ms, process.member_id, self._now_ms
                )
            lock_end_ms = self._now_ms + self._lock_ms
            found = [(job.key, job.topic) for job in jobs]
            self._after(
                self._rng.randrange(1, 40),
                lambda: self._post(process, lambda: answer(found, lock_end_ms)),
            )

        def answer(found: list[tuple[str, str]], lock_end_ms: int) -> None:
            process.polling.discard(claimer.group)
            for key, topic in found:
                self._say(f"{process.member_id} activated {key}")
                claimer.handle_activated(
                    key,
                    topic,
                    self._lock_ms,
                    lock_end_ms,
                    f"{key}|{process.member_id}".encode(),
                    b"x" * self._rng.randrange(50, 600),
                    self._now_ms,
                )

        self._after(wait_ms, act)

    def _call_engine(self, process: Process, claimer: Claimer, work: EngineWork) -> None:
        """A call takes its time, and may fail before or after the engine has acted."""
        process.checks.check_call(work)
        if isinstance(work, Report):
            if work.lease.claimer != process.member_id or work.lease.session != process.session:
                self.counts["adopted"] += 1
            if work.outcome is None:
                self.counts["given up"] += 1
        slow_ms = self._rng.randrange(1, 40) if self._rng.random() < 0.95 else 3_000
        luck = self._rng.random() if self._now_ms < self._luck_end_ms else 1.0

        def act() -> None:
            cut = process.member_id in self._links_cut
            down = self._now_ms < self._engine_down_ms or cut or luck < 0.05
            result = None if down else self._engine.call(work, self._now_ms)
            heard = None if luck < 0.1 else result
            self._say(f"{process.member_id} {type(work).__name__} {work.lease!r}: {result} {heard}")
            self._after(
                self._rng.randrange(1, 40), lambda: self._post(process, lambda: answer(heard))
            )

        def answer(result: str | None) -> None:
            if result is not None:
                process.checks.note_answered(work)
            if isinstance(work, Extend):
                ours = None if result is None else result == lease_engine.EXTENDED
                claimer.handle_extended(work, ours, self._now_ms)
                return
            claimer.handle_settled(work, result, self._now_ms)

        self._after(slow_ms, act)
