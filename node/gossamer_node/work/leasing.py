"""The node's part in the mesh's work: drives the lease machines on trio.

One `Leasing` owns this member's `Holder` and a `Claimer` for each engine that it can reach. The
machines are pure and are touched only here, without an await in between, so there are no locks.
What goes in: messages from the mesh, membership, activated jobs, outcomes, time. What comes out:
messages, calls to engines, workers to start. Messages to this very member take the short way
around the mesh and are otherwise treated alike.

Who claims is for `electing` to say, at every change of the mesh or of an engine's reach.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

import trio

from gossamer_mesh.drivers import Member, Mesh
from gossamer_mesh.leases import messages as wire
from gossamer_mesh.leases.calling import GROUP as CALLS
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.demand import SAMPLE_MS
from gossamer_mesh.leases.holder import Acknowledged, Cancel, Holder, Run
from gossamer_mesh.leases.mirroring import AboutMirror, HandOver, Mirror, TakenOver
from gossamer_node import logs
from gossamer_node.engines.port import Engine
from gossamer_node.jobs import Failed, Job, Outcome
from gossamer_node.keyed.circle import filter_of
from gossamer_node.tracing.jobs import UNTRACED, JobTraces, ended
from gossamer_node.work import electing, settling, showing
from gossamer_node.work.calling import Calling
from gossamer_node.work.claiming import ClaimLoop, now_ms, worker_id
from gossamer_node.work.context import LeaseContext
from gossamer_node.work.engine_calls import EngineCalls
from gossamer_node.work.executing import Executor, kind_of
from gossamer_node.work.probing import Probing
from gossamer_node.work.signals import Signals, signals_told
from gossamer_node.work.wire import (
    Uncarried,
    pack_finished,
    pack_job,
    pack_message,
    unpack_job,
    unpack_message,
)

log = logs.get("leasing")

PAYLOAD_BYTES_MAX = 64 * 2**20
"""Payload that this node holds at once; its holder offers no credit beyond."""


class Leasing:
    """This member's claimers and holder.

    Args:
        mesh: the running mesh.
        engines: those that this node is configured to reach, by name.
        executor: runs what is granted to this node.
        slots: jobs that may be here at once.
        claims: whether this node may claim at all.
        config: bounds and intervals of leases.
        traces: of the jobs that come here.
        reviewed: called with the members, whenever they or what they say may have changed.

    Raises: InputError for more engines than a member can announce.
    """

    def __init__(
        self,
        mesh: Mesh,
        engines: Mapping[str, Engine],
        executor: Executor,
        *,
        slots: int,
        claims: bool,
        config: LeaseConfig | None = None,
        traces: JobTraces = UNTRACED,
        reviewed: Callable[[list[Member]], None] = lambda members: None,
    ) -> None:
        electing.refuse_too_many(list(engines))
        self._mesh = mesh
        self._engines = engines
        self._executor = executor
        self._may_claim = claims
        self._config = config or LeaseConfig()
        self._session = mesh.session
        self._holder = Holder(self._session, executor.slots(slots), PAYLOAD_BYTES_MAX, self._config)
        self._slots = slots
        self._services_digest = b""
        self._traces = traces
        self._offers_stamp: int | None = None
        self.reviewed = reviewed
        self._claimers: dict[str, Claimer] = {}
        self._loops: dict[str, ClaimLoop] = {}
        self._signals = Signals()
        self.calling = Calling(mesh, executor, self._config)
        self._groups: set[str] = set()
        self._served: set[str] = set()
        self._probing = Probing(engines, self._review, self._depends_on)
        self._engine_calls = EngineCalls(engines, self._probing, traces, self._pump)
        self._unreadable: set[str] = set()
        self._announced: set[str] = set()
        self._namesakes: dict[str, str] = {}
        self._elections: dict[str, electing.Election] = {}
        self._have_claimed: dict[str, set[str]] = {}
        self._runs: dict[wire.LeaseId, trio.CancelScope] = {}
        self._contexts: dict[wire.LeaseId, LeaseContext] = {}
        self._local: deque[wire.Message] = deque()
        self._touched = trio.Event()
        self._stopping = False
        self._nursery: trio.Nursery | None = None
        for name in engines:
            self._add_claimer(electing.group_of(name))

    def _add_claimer(self, group: str) -> None:
        """A claimer and its loop: of each engine's first part, and of others when they come up."""
        name = electing.engine_of(group)
        self._claimers[group] = Claimer(group, self._mesh.node_id, self._session, self._config)
        loop = self._loops[group] = ClaimLoop(
            self._engines[name],
            self._claimers[group],
            worker_id(self._mesh.node_id, self._session, group),
            partial(self._take, group),
            partial(self._probing.set_reachable, name),
            partial(self._probing.watch, name),
            self._traces.wanted,
        )
        if self._nursery is not None and not self._stopping:
            self._nursery.start_soon(loop.run)

    # --- running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until it is cancelled; `stop` first, for a stop in good order."""
        async with trio.open_nursery() as nursery:
            first = list(self._loops.values())
            self._nursery = nursery
            await nursery.start(self.calling.run)
            self._review()
            nursery.start_soon(self._run_timer)
            nursery.start_soon(self._run_members)
            nursery.start_soon(self._run_messages)
            nursery.start_soon(self._run_signals)
            nursery.start_soon(self._probing.run)
            for loop in first:
                nursery.start_soon(loop.run)
            task_status.started()

    def services_changed(self, digest: bytes, offers: int | None = None) -> None:
        """What this node works on is another, or what it knows of services, or would run.

        Args:
            digest: stands for the services that it knows; others see it in its tags.
            offers: changes with those that it would run; in its tags, too.
        """
        self._services_digest, self._offers_stamp = digest, offers
        self._holder.set_slots(self._executor.slots(self._slots))
        self._review()

    async def stop(self, finish_ms: int, acknowledge_ms: int) -> None:
        """Stops claiming, lets the running jobs finish, hands the rest back.

        Args:
            finish_ms: how long running jobs may take before they are handed back.
            acknowledge_ms: how long outcomes then wait for their acknowledgement.
        """
        self._stopping = True
        self._holder.drain()
        self.calling.drain()
        for loop in self._loops.values():
            loop.stop()
        self._review()
        with trio.move_on_after(finish_ms / 1_000):
            await self._wait_until(lambda: not self._runs)
            await self.calling.wait_idle()
        for lease, scope in list(self._runs.items()):
            scope.cancel()
            self._holder.hand_back(lease)
        self.calling.hand_back()
        self._pump()
        for claimer in self._claimers.values():
            claimer.release_waiting(now_ms())
        self._pump()
        with trio.move_on_after(acknowledge_ms / 1_000):
            await self._wait_until(self._is_quiet)

    def _is_quiet(self) -> bool:
        return (
            self._holder.statistics()["unacknowledged"] == 0
            and self.calling.is_quiet()
            and not any(one.leases() for one in self._claimers.values())
        )

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._touched.wait()

    async def _run_timer(self) -> None:
        while True:
            touched = self._touched
            now = now_ms()
            if now >= self._holder.get_timer():  # perhaps for a heartbeat
                for lease, context in self._contexts.items():
                    if (said := context.progress_told) is not None:
                        self._holder.note_progress(lease, said.thousandths, said.sentence)
            self._holder.handle_timer(now)
            for claimer in self._claimers.values():
                claimer.handle_timer(now)
            self._pump(touch=False)
            due = [self._holder.get_timer()]
            timers = [claimer.get_timer() for claimer in self._claimers.values()]
            due += [timer for timer in timers if timer is not None]
            with trio.move_on_after(max(0, min(due) - now_ms()) / 1_000):
                await touched.wait()

    async def _run_members(self) -> None:
        while True:
            event = await self._mesh.next_event()
            member = event.member
            log.info("member", change=event.kind, member=member.name, id=member.id)
            if event.kind in ("died", "left"):
                self._handle_member_lost(member)
            self._review()

    def _handle_member_lost(self, member: Member) -> None:
        for group, claimer in self._claimers.items():
            before = claimer.statistics()["inherited"]
            claimed = member.id in self._have_claimed.get(group, ())
            claimer.handle_member_lost(member.id, now_ms(), member.session if claimed else None)
            count = claimer.statistics()["inherited"] - before
            if count:
                log.warning("took over", group=group, leases=count, member=member.name)
        for ids in self._have_claimed.values():
            ids.discard(member.id)

    async def _run_messages(self) -> None:
        while True:
            sender, data = await self._mesh.receive()
            message = unpack_message(data)
            if message is None:
                if sender not in self._unreadable:
                    # Once a member: one of another version would fill the log.
                    self._unreadable.add(sender)
                    log.warning("unreadable messages", member=sender, size_bytes=len(data))
                continue
            self._receive(sender, message)
            self._pump()

    # --- who is there, who claims

    def _review(self) -> None:
        """Works out who claims, and tells the machines and the mesh."""
        members = self._mesh.members()
        reachable = self._reachable(members)
        elections = self._elect(members, reachable)
        sessions = {one.id: one.session for one in members} | {self._mesh.node_id: self._session}
        alive = set(sessions)
        self._holder.set_members(alive)
        self.calling.set_members(sessions)
        engines = {electing.engine_of(group) for group in elections} | {*self._engines}
        mine = [
            electing.group_to_serve(members, self._mesh.node_id, elections, name)
            for name in engines
        ]
        self._served = {group for group in mine if group is not None}
        for group in sorted({*elections, *self._elections, *self._groups, *self._claimers}):
            name, election = electing.engine_of(group), elections.get(group)
            # What is left of a part that is no more goes to the claimer of the first.
            heir = election or elections.get(electing.group_of(name))
            if self._elections.get(group) != election:
                log.info(
                    "claimer",
                    group=group,
                    member=election.claimer if election else None,
                    standby=election.standby if election else None,
                )
            topics = self._executor.topics(name, self._slots) if group in self._served else []
            self._holder.serve(group, topics)
            self._holder.set_claimer(group, heir.claimer if heir else None)
            elected = election is not None and election.claimer == self._mesh.node_id
            if elected and group not in self._claimers:
                self._add_claimer(group)
            claimer = self._claimers.get(group)
            if claimer is not None:
                if elected and not claimer.elected:
                    self._probing.doubt(name)
                claimer.elect(elected, electing.term_seen_max(members, group))
                then = None if heir is None else heir.standby if elected else heir.claimer
                # In doubt a new claimer takes nobody's leases over, and an old one gives none away.
                reaches = self._probing.is_sure(name) if elected else self._probing.answers(name)
                claimer.set_members(alive, then, now_ms(), reaches=reaches, sessions=sessions)
        self._elections = elections
        for group, election in elections.items():
            self._have_claimed.setdefault(group, set()).add(election.claimer)
        self._groups = {
            group
            for group in {*elections, *self._groups}
            if electing.group_of(electing.engine_of(group)) in elections
        }
        self._announced = set(reachable)
        digest, offers = self._services_digest, self._offers_stamp
        keyed = filter_of(self._executor.keyed())
        said = electing.tags(reachable, self._own_claims(), digest, offers=offers, keyed=keyed)
        self._mesh.set_tags(said)
        self.reviewed(members)
        self._pump()

    def _depends_on(self, name: str) -> bool:
        """Whether this member claims from an engine, or still has leases of it."""
        claimers = electing.of_engine(name, self._claimers)
        return any(one.elected or one.leases() for one in claimers)

    def _elect(
        self, members: list[Member], reachable: Mapping[str, str]
    ) -> dict[str, electing.Election]:
        """Who claims, with as many parts as the claimers of the first parts say."""
        elections = electing.elections(
            members, self._mesh.node_id, reachable, self._signals.parts()
        )
        for name in {electing.engine_of(group) for group in elections}:
            told = electing.parts_told(members, elections, name)
            if told and elections[electing.group_of(name)].claimer != self._mesh.node_id:
                self._signals.follow(name, told)
        return electing.elections(members, self._mesh.node_id, reachable, self._signals.parts())

    def _own_claims(self) -> dict[str, electing.Claim]:
        return {
            group: self._signals.claim(group, one.term)
            for group, one in self._claimers.items()
            if one.elected
        }

    async def _run_signals(self) -> None:
        """Looks at demand and capacity, tells the mesh when they change, and follows them."""
        while True:
            await trio.sleep(SAMPLE_MS / 1_000)
            members = self._mesh.members()
            claimers = {
                group: (one, self._loops[group].is_hot())
                for group, one in self._claimers.items()
                if one.elected
            }
            reaching = {
                name: len(
                    {self._mesh.node_id}
                    | {one.id for one in members if name in electing.engines_of(one)}
                )
                for name in self._engines
            }
            changed = self._signals.look(claimers, reaching, now_ms())
            told = signals_told(members, self._elections, self._own_claims())
            if self._executor.follow(told, now_ms()):
                self._holder.set_slots(self._executor.slots(self._slots))
                changed = True
            for group in self._served:
                topics = self._executor.topics(electing.engine_of(group), self._slots)
                self._holder.serve(group, topics)
            if changed:
                self._review()

    def _reachable(self, members: list[Member]) -> dict[str, str]:
        """Fingerprints of the engines that this member may claim from now.

        One name must mean one engine: where others have announced another fingerprint before us,
        ours stays out, and a person is told.
        """
        if self._stopping or not self._may_claim:
            return {}
        reachable = {}
        for name in sorted(self._engines):
            info = self._probing.info(name)
            if info is None or not self._probing.answers(name):
                continue
            other = electing.namesake(
                members, self._mesh.node_id, name, info.fingerprint, name in self._announced
            )
            if other is None:
                self._namesakes.pop(name, None)
                reachable[name] = info.fingerprint
            elif self._namesakes.get(name) != other.id:
                self._namesakes[name] = other.id
                self._probing.doubt(name)  # perhaps the engine was set up anew, and we are behind
                log.error(
                    f"engine {name} is another engine on node {other.name}: this node does not "
                    "claim from it; give the two engines different names",
                    engine=name,
                )
        return reachable

    # --- jobs in, outcomes out

    def _take(self, group: str, jobs: list[Job], started_ms: int) -> None:
        """Jobs that a poll brought.

        When in the poll an engine locked a job is not known: its own time of the lock's end is on
        another clock. So a lock ends no earlier than if it had begun with the poll. That is what
        counts: at worst the first renewal comes too early, never too late.
        """
        claimer = self._claimers[group]
        for job in sorted(jobs, key=lambda one: -one.priority):
            log.debug("activated", job=job.ref.key, topic=job.ref.topic, engine=job.ref.engine)
            try:
                receipt, payload = pack_job(self._traces.claimed(job))
            except Uncarried as error:
                assert self._nursery is not None, "polls run within `run`"
                engine = self._engines[job.ref.engine]
                self._nursery.start_soon(settling.refuse, engine, job.ref, str(error))
                continue
            claimer.handle_activated(
                job.ref.key,
                job.ref.topic,
                job.lock_ms,
                started_ms + job.lock_ms,
                receipt,
                payload,
                now_ms(),
                job.priority,
            )
        self._pump()

    async def _run_job(self, run: Run, scope: trio.CancelScope) -> None:
        job = unpack_job(run.receipt, run.payload, run.remaining_ms)
        with scope:
            if job is None:
                outcome: Outcome = Failed("the claimer sent a job that this node cannot read")
            else:
                context = LeaseContext(partial(self.prolong, run.lease), job, self.calling)
                self._contexts[run.lease] = context
                with self._traces.running(job.ref) as span:
                    outcome = await self._executor.run(job, context)
                    ended(span, kind_of(outcome))
                log.info(
                    "worked",
                    job=job.ref.key,
                    topic=job.ref.topic,
                    engine=job.ref.engine,
                    epoch=f"{run.lease.term}.{run.lease.counter}",
                    outcome=kind_of(outcome),
                )
        del self._runs[run.lease]
        self._contexts.pop(run.lease, None)
        if scope.cancelled_caught:
            self._pump()  # `stop` waits for the last of them
        else:
            self._finish(run.lease, outcome)

    def _finish(self, lease: wire.LeaseId, outcome: Outcome) -> None:
        packed = pack_finished(outcome, self._config.outcome_bytes_max)
        self._holder.finish(lease, packed, now_ms())
        self._pump()

    def prolong(self, lease: wire.LeaseId, lock_ms: int) -> bool:
        """The worker of a lease asks for a longer lock."""
        asked = self._holder.prolong(lease, lock_ms)
        self._pump()
        return asked

    # --- the pump

    def _pump(self, *, touch: bool = True) -> None:
        """Moves what the machines put out, until they have nothing more to say for now.

        Then whoever waits for a change looks again: if anything moved (in a mesh of one node
        everything does here), or if the caller has changed something (`touch`).
        """
        moved = True
        while moved:
            moved = False
            machines: list[Holder | Claimer] = [self._holder, *self._claimers.values()]
            for machine in machines:
                for member_id, message in machine.messages_to_send():
                    moved = True
                    if isinstance(message, wire.Grant):
                        lease = message.lease
                        epoch = f"{lease.term}.{lease.counter}"
                        log.debug("granted", job=lease.key, epoch=epoch, holder=member_id)
                        self._traces.granted(message, member_id)
                    if member_id == self._mesh.node_id:
                        self._local.append(message)
                    else:
                        # A message that finds no room is lost like one on a broken stream.
                        self._mesh.send_nowait(member_id, pack_message(message))
            while self._local:
                self._receive(self._mesh.node_id, self._local.popleft())
            moved = self._start_work() or moved
            touch = touch or moved
        if touch:
            self._touched.set()
            self._touched = trio.Event()
            for loop in self._loops.values():
                loop.wake()

    def _start_work(self) -> bool:
        """Starts what the machines ask for. Returns whether there was anything."""
        if self._nursery is None:
            return False
        started = False
        for claimer in self._claimers.values():
            for work in claimer.events():
                started = True
                self._nursery.start_soon(self._engine_calls.make, claimer, work)
            for look in claimer.looks():
                locker = worker_id(look.claimer, look.session, claimer.group)
                engine = self._engines[electing.engine_of(claimer.group)]
                self._nursery.start_soon(settling.look, engine, claimer, look, locker, self._pump)
        for event in self._holder.events():
            started = True
            if isinstance(event, Run):
                # Known from now on: a stop or a revocation may come before the task's first step.
                scope = self._runs[event.lease] = trio.CancelScope()
                self._nursery.start_soon(self._run_job, event, scope)
            elif isinstance(event, Cancel):
                log.warning("revoked", job=event.lease.key, reason=event.reason)
                if event.lease in self._runs:
                    self._runs[event.lease].cancel()
            elif isinstance(event, Acknowledged) and event.result not in ("applied", "failed"):
                log.info("acknowledged", job=event.lease.key, result=event.result)
        return started

    def _receive(self, sender: str, message: "wire.Message") -> None:
        about_group = (wire.Offer, wire.Heartbeat, Mirror, AboutMirror, HandOver, TakenOver)
        group = message.group if isinstance(message, about_group) else message.lease.group
        if group == CALLS:
            self.calling.receive(sender, message)
            return
        if isinstance(message, (wire.Grant, wire.Settled, wire.Revoke, wire.Inherit, wire.Yield)):
            self._holder.receive_message(sender, message, now_ms())
            return
        if (
            group not in self._claimers
            and electing.engine_of(group) in self._engines
            and electing.is_group(group)
        ):
            self._add_claimer(group)  # of a part that was given to us before we have heard of it
        if group in self._claimers:
            self._claimers[group].receive_message(sender, message, now_ms())
            if isinstance(message, TakenOver):
                log.warning("handed over", group=group, leases=len(message.leases), member=sender)

    # --- what a person sees

    def status(self) -> dict[str, object]:
        """What this member knows, as plain values: see `gossamer status --json`."""
        members = self._mesh.members()
        return {
            "engines": [
                showing.engine(
                    engine,
                    self._probing.info(name),
                    self._probing.answers(name),
                    electing.of_engine(name, self._loops),
                )
                for name, engine in sorted(self._engines.items())
            ],
            **showing.groups(
                members, self._elections, self._claimers, self._own_claims(), self._signals
            ),
            "holding": self._holder.statistics(),
            "outcomes": dict(self._executor.outcomes),
            "calls": self.calling.status(),
            "jobs": showing.jobs(members, [*self._contexts.items(), *self.calling.working()]),
        }
