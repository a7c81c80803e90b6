"""Calls between services: drives the machines of `leases.calling` and `leases.answering` on trio.

A worker's thread asks, the node's loop does the rest: it grants the call to this node, if it has
the service, or to a member that offers it, and runs here what others call. Messages to this very
member take the short way around the mesh and are otherwise treated alike.

Why nobody waits for ever, however services call each other. What a job that waits for a call keeps,
and what what it calls may need, is either given back meanwhile or never waited for:

- its place among its service's jobs: given back (`places`);
- its thread: it counts for nothing while it waits (`wasm.pool.calling`); so many may wait at once
  on a node, `CALLERS_MAX`, and one call more is refused with a sentence;
- its slot of the node: kept, so that an engine brings no further job; a call needs none;
- its turn, where its service has a key: kept, since nobody may change the key's state meanwhile. A
  call that would wait for a turn that its own chain of callers has is refused with a sentence.
  Two chains that wait for each other's keys end with their time;
- room for what is called (`CALLS_HELD_MAX`): never waited for. Who has none refuses, the next is
  asked, and at the end the call is refused with a sentence.

A call never outlives its caller: its time is what its caller has left, and when the caller is
stopped, or its node is gone, what it called is stopped, and what that called in turn. A chain has
`DEPTH_MAX` services at most, so services that call each other in a circle end with a sentence.
"""

import math
import secrets
from collections import deque
from collections.abc import Callable, Mapping

import trio

from gossamer_mesh.drivers import Mesh
from gossamer_mesh.leases import calling as core
from gossamer_mesh.leases import messages as wire
from gossamer_mesh.leases.answering import Answerer, Asked
from gossamer_mesh.leases.calling import BUSY, Caller, Ended
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_node import logs
from gossamer_node.calls import Call, Told, Unanswered
from gossamer_node.jobs import Failed, Job, JobRef, Outcome
from gossamer_node.registry.ranges import parse_range
from gossamer_node.registry.semver import precedence
from gossamer_node.service.spec import ServiceSpec
from gossamer_node.wasm.living.keys import NoKey, key_of
from gossamer_node.wasm.pool import CALLERS_MAX
from gossamer_node.work.call_wire import (
    CALL_BYTES_MAX,
    DEPTH_MAX,
    CallTerms,
    Link,
    pack_call,
    unpack_call,
)
from gossamer_node.work.claiming import now_ms
from gossamer_node.work.context import LeaseContext, no_lock
from gossamer_node.work.executing import Executor, Served, kind_of
from gossamer_node.work.offers import Offer, Offers
from gossamer_node.work.places import Place
from gossamer_node.work.wire import Uncarried, pack_message, pack_outcome, unpack_outcome

log = logs.get("calling")

CALLS_HELD_MAX = 256
"""Calls that are here, running or waiting for their turn, or whose outcome nobody has settled."""

CALLS_BYTES_MAX = 64 * 2**20
"""Of their variables and outcomes together."""

LATE_MS = 10
"""Before its caller's time is over; a failure so late is most likely that the time was over, and
the caller hears that instead."""

Find = Callable[[str, str], list[str]]
"""Ids of other members that offer a service within a range of versions, the best first."""


def finder(offers: Offers, node_id: str, is_usable: Callable[[Offer], bool]) -> Find:
    """Looks among what members offer.

    Args:
        node_id: this member, which knows its own services.
        is_usable: whether an offer has what it needs itself.
    """

    def find(service: str, version: str) -> list[str]:
        found = [one for one in offers.of(service, version) if one.member != node_id]
        # Each caller begins with another of those that have the same version.
        random = secrets.SystemRandom()
        found = [one for one in random.sample(found, len(found)) if is_usable(one)]
        found.sort(key=lambda one: precedence(one.version), reverse=True)
        return [one.member for one in found]

    return find


class _One:
    """A call of a worker of this node.

    Attributes:
        number: the caller machine's, once it has begun.
        over: nobody is to be told any more.
    """

    __slots__ = ("call", "context", "number", "over", "spec", "told")

    def __init__(self, context: LeaseContext, spec: ServiceSpec, call: Call, told: Told) -> None:
        self.context = context
        self.spec = spec
        self.call = call
        self.told = told
        self.number: int | None = None
        self.over = False


class Calling:
    """This member's calls, and those that it answers.

    Args:
        mesh: the running mesh.
        executor: has the services.
        config: bounds and intervals of leases.

    Attributes:
        find: who else offers a service; by default, nobody.
    """

    def __init__(self, mesh: Mesh, executor: Executor, config: LeaseConfig) -> None:
        self._mesh = mesh
        self._executor = executor
        self._config = config
        self.find: Find = lambda _service, _version: []
        self._caller = Caller(mesh.node_id, mesh.session, CALLERS_MAX, config)
        self._answerer = Answerer(
            mesh.node_id, mesh.session, CALLS_HELD_MAX, CALLS_BYTES_MAX, config
        )
        self._open: dict[int, _One] = {}
        self.runs: dict[wire.LeaseId, trio.CancelScope] = {}
        self._contexts: dict[wire.LeaseId, LeaseContext] = {}
        self._local: deque[wire.Message] = deque()
        self._sleeps_until_ms = math.inf
        self._sooner = trio.Event()
        self._ended = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until it is cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await self._run_timer()
        finally:
            # A worker's thread may still ask: nothing is begun any more.
            self._nursery = None

    async def _run_timer(self) -> None:
        while True:
            self._sleeps_until_ms = self._due_ms()
            self._sooner = trio.Event()
            with trio.move_on_after(max(0, self._sleeps_until_ms - now_ms()) / 1_000):
                await self._sooner.wait()
                continue
            self._caller.handle_timer(now_ms())
            self._answerer.handle_timer(now_ms())
            self._pump()

    def _due_ms(self) -> float:
        timers = (self._caller.get_timer(), self._answerer.get_timer())
        return min((one for one in timers if one is not None), default=math.inf)

    # --- what a worker of this node asks

    def prepare(self, context: LeaseContext, spec: ServiceSpec, call: Call, told: Told) -> _One:
        """A call that is to `begin`. From any thread."""
        return _One(context, spec, call, told)

    def begin(self, one: _One) -> None:
        """Grants a call to whoever has its service."""
        if one.over:
            return
        call, job = one.call, one.context.job
        chain = (*one.context.chain, Link(one.spec.name, _turn_of(one.spec, job)))
        refusal = self._refusal(one, chain)
        if refusal is None:
            try:
                payload = pack_call(CallTerms(_job_of(job, call), call.version, chain))
            except Uncarried as error:
                refusal = Unanswered("too much", f"The call of {call.service} {error}.")
        if refusal is not None:
            self._tell(one, refusal)
            return
        members = self.find(call.service, call.version)
        own = self._executor.callee(call.service)
        if own is not None and own.spec.version in parse_range(call.version):
            members = [self._mesh.node_id, *members]
        if one.context.place is not None:
            one.context.place.step_aside()
        key = _key_of(job, call)
        now = now_ms()
        one.number = self._caller.call(
            key, call.service, members, payload, now + call.timeout_ms, now
        )
        self._open[one.number] = one
        self._pump()

    def give_up(self, one: _One) -> None:
        """Nobody wants a call's outcome any more: what it called is stopped."""
        one.over = True
        if one.number is not None and self._open.pop(one.number, None) is not None:
            self._caller.cancel(one.number, now_ms())
            self._pump()

    def _refusal(self, one: _One, chain: tuple[Link, ...]) -> Unanswered | None:
        """Why a call is not even made; None when nothing speaks against it."""
        if self._nursery is None:
            return Unanswered("unavailable", "This node is not at work.")
        if len(chain) >= DEPTH_MAX:
            path = " → ".join([*(link.service for link in chain), one.call.service])
            return Unanswered(
                "too much",
                f"{DEPTH_MAX} services in a row may call each other, no more: {path}.",
            )
        if self._caller.is_full():
            return Unanswered(
                "unavailable",
                f"{CALLERS_MAX} jobs of this node wait for calls, as many as may; try again later.",
            )
        return None

    def _end(self, ended: Ended) -> None:
        one = self._open.pop(ended.number, None)
        if one is None:
            return
        answer = self._answer(one.call, ended)
        assert self._nursery is not None, "calls begin within `run`"
        if one.context.place is None:
            self._tell(one, answer)
        else:
            self._nursery.start_soon(self._come_back, one, answer)

    async def _come_back(self, one: _One, answer: Outcome | Unanswered) -> None:
        if one.context.place is not None:
            await one.context.place.come_back()
        self._tell(one, answer)

    def _tell(self, one: _One, answer: Outcome | Unanswered) -> None:
        if not one.over:
            one.over = True
            one.told(answer)

    def _answer(self, call: Call, ended: Ended) -> Outcome | Unanswered:
        """What the worker hears of a call that is over."""
        if ended.outcome is not None:
            outcome = unpack_outcome(ended.outcome)
            if outcome is not None:
                return outcome
            return Unanswered("unavailable", f"{call.service} answered what this node cannot read.")
        label = call.service if call.version == "*" else f"{call.service} {call.version}"
        match ended.why:
            case core.LATE:
                return Unanswered("late", f"{label} did not end within {call.timeout_ms} ms.")
            case core.ALL_BUSY:
                return Unanswered("unavailable", f"All that offer {label} are busy.")
            case core.LOST:
                why = f"; the last one asked said: {ended.reason}" if ended.reason else ""
                return Unanswered(
                    "unavailable", f"Every node that was to work {label} was lost{why}."
                )
        why = f": {ended.reason}" if ended.reason else ""
        return Unanswered("unavailable", f"No node of the mesh offers {label}{why}.")

    # --- what others call here

    def _judge(self, asked: Asked) -> None:
        """Takes a call or refuses it."""
        terms = unpack_call(asked.service, asked.payload, asked.remaining_ms)
        served = self._executor.callee(asked.service)
        waits = self._executor.waiting().get(asked.service)
        refusal = f"it {waits}" if waits else _refusal_of(asked, terms, served)
        if refusal or terms is None or served is None:
            self._answerer.refuse(asked.lease, refusal)
            return
        self._answerer.accept(asked.lease)
        assert self._nursery is not None, "messages come within `run`"
        scope = self.runs[asked.lease] = trio.CancelScope()
        place = served.places.line_up()  # from now on others see it taken
        self._nursery.start_soon(self._work, asked, terms, served, place, scope)

    async def _work(
        self,
        asked: Asked,
        terms: CallTerms,
        served: Served,
        place: Place,
        scope: trio.CancelScope,
    ) -> None:
        lease, job = asked.lease, terms.job
        late_ms = now_ms() + asked.remaining_ms - LATE_MS
        context = LeaseContext(no_lock, job, self, terms.chain)
        self._contexts[lease] = context
        with scope:
            outcome = await self._executor.call(served, place, job, context, asked.remaining_ms)
            log.info(
                "answered",
                job=job.ref.key,
                service=served.spec.name,
                version=served.spec.version,
                caller=terms.chain[-1].service,
                epoch=f"{lease.term}.{lease.counter}",
                outcome=kind_of(outcome),
            )
        del self.runs[lease], self._contexts[lease]
        self._ended.set()
        self._ended = trio.Event()
        if not scope.cancelled_caught and not (isinstance(outcome, Failed) and now_ms() >= late_ms):
            self._answerer.finish(lease, _packed(outcome), now_ms())
        self._pump()

    # --- the node's life

    def set_members(self, sessions: Mapping[str, int]) -> None:
        """Says who is alive, this member included, each with the session of its process."""
        self._caller.set_members(dict(sessions), now_ms())
        self._answerer.set_members(dict(sessions))
        self._pump()

    def drain(self) -> None:
        """From now on only this node's own jobs may call here."""
        self._answerer.drain()

    async def wait_idle(self) -> None:
        """Returns when nothing runs here for callers."""
        while self.runs:
            await self._ended.wait()

    def is_quiet(self) -> bool:
        """Whether nobody waits for an outcome that was sent from here."""
        return self._answerer.statistics()["unacknowledged"] == 0

    def hand_back(self) -> None:
        """Stops what runs here for others, and tells them; they ask another node."""
        for lease, scope in list(self.runs.items()):
            scope.cancel()
            self._answerer.hand_back(lease)
        self._pump()

    def receive(self, sender: str, message: "wire.Message") -> None:
        """Takes a message about calls."""
        self._hand_in(sender, message)
        self._pump()

    def _hand_in(self, sender: str, message: "wire.Message") -> None:
        if isinstance(message, (wire.Grant, wire.Settled, wire.Revoke)):
            self._answerer.receive_message(sender, message, now_ms())
        else:
            self._caller.receive_message(sender, message, now_ms())

    def _pump(self) -> None:
        """Moves what the machines put out, until they have nothing more to say for now."""
        moved = True
        while moved and self._nursery is not None:
            moved = False
            for machine in (self._caller, self._answerer):
                for member_id, message in machine.messages_to_send():
                    moved = True
                    self._send(member_id, message)
            while self._local:
                self._hand_in(self._mesh.node_id, self._local.popleft())
            for event in self._answerer.events():
                moved = True
                if isinstance(event, Asked):
                    self._judge(event)
                elif event.lease in self.runs:
                    log.info("stopped", job=event.lease.key, reason=event.reason)
                    self.runs[event.lease].cancel()
            for ended in self._caller.events():
                moved = True
                self._end(ended)
        if self._due_ms() < self._sleeps_until_ms:
            self._sooner.set()

    def _send(self, member_id: str, message: "wire.Message") -> None:
        if member_id == self._mesh.node_id:
            self._local.append(message)
            return
        sent = self._mesh.send_nowait(member_id, pack_message(message))
        if not sent and isinstance(message, wire.Grant):
            # Others have room; to wait until it counts as lost would take seconds.
            refusal = wire.Refuse(message.lease, BUSY)
            self._caller.receive_message(member_id, refusal, now_ms())

    def working(self) -> list[tuple[wire.LeaseId, LeaseContext]]:
        """What runs here for callers."""
        return list(self._contexts.items())

    def status(self) -> dict[str, object]:
        """What this member knows of calls, as plain values."""
        return {"made": self._caller.statistics(), "taken": self._answerer.statistics()}


def _key_of(job: Job, call: Call) -> str:
    return f"{job.ref.key}/{call.number}"


def _job_of(job: Job, call: Call) -> Job:
    """What the called service works: where in which process it stands, it has from its caller."""
    ref = JobRef(job.ref.engine, _key_of(job, call), call.service, "", types=call.variables.types)
    return Job(
        ref,
        call.variables,
        lock_ms=call.timeout_ms,
        process_id=job.process_id,
        process_instance_key=job.process_instance_key,
        element_id=job.element_id,
        business_key=job.business_key,
        tenant=job.tenant,
    )


def _turn_of(spec: ServiceSpec, job: Job) -> str | None:
    """Whose turn a job has while it runs; None for one whose service has no key."""
    if spec.dense is None or spec.dense.key is None:
        return None
    try:
        key = key_of(spec.name, spec.dense.key, job)
    except NoKey:
        return None  # such a job ends before it has a turn
    return f"{key.tenant}\n{key.value}"


def _refusal_of(asked: Asked, terms: CallTerms | None, served: Served | None) -> str:
    """Why a call is not taken here; empty when it is."""
    if served is None:
        return "it has no such service"
    spec = served.spec
    try:
        if terms is None or spec.version not in parse_range(terms.version):
            return f"it has {spec.version}" if terms else "it cannot read the call"
    except ValueError:
        return "it cannot read the call"
    if asked.lost and spec.on_holder_lost == "wait":
        return "a node was lost with it, and the service says on_holder_lost: wait"
    turn = _turn_of(spec, terms.job)
    if turn is not None and Link(spec.name, turn) in terms.chain:
        return "it would wait for a key's turn that one of its callers has"
    if not asked.may_wait and not served.places.has_room():
        return BUSY
    return ""


def _packed(outcome: Outcome) -> bytes:
    try:
        packed = pack_outcome(outcome)
        if len(packed) > CALL_BYTES_MAX:
            raise Uncarried(f"has {len(packed):,} bytes; a call brings {CALL_BYTES_MAX:,} at most")
    except Uncarried as error:
        packed = pack_outcome(Failed(f"The outcome {error}."))
    return packed
