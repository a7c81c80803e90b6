"""Services that call each other: on one node, over a mesh, all at once, and when things end early.

Members are real, workers are plain Python. A worker is called through what a WASM worker is given,
so it asks from a thread.
"""

import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from tests.patience import patience, until

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.calls import Call, Unanswered
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef, Outcome
from gossamer_node.service.spec import Dense, Limits, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import JobContext
from gossamer_node.wasm.pool import CALLERS_MAX
from gossamer_node.work.call_wire import CALL_BYTES_MAX, DEPTH_MAX
from gossamer_node.work.calling import Calling
from gossamer_node.work.context import LeaseContext, no_lock
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

SLOTS = 4

LONG_MS = 3_600_000
"""What is to end by itself does so long before."""

Answer = Outcome | Unanswered
Work = Callable[["Asking"], Awaitable[Outcome]]


class Asking:
    """What a worker of these tests has: its job, and calls."""

    def __init__(self, node: "Node", spec: ServiceSpec, job: Job, context: JobContext) -> None:
        self.node = node
        self.spec = spec
        self.job = job
        self._context = context
        self._calls = 0

    @property
    def values(self) -> dict[str, object]:
        return dict(self.job.variables.values)

    async def call(
        self, service: str, version: str = "*", timeout_ms: int = LONG_MS, **values: object
    ) -> Answer:
        """As `service.call` does: on a thread, which is told when the job is stopped."""
        self._calls += 1
        call = Call(service, self._calls, Variables(values), version, timeout_ms)  # type: ignore[arg-type]
        answers: list[Answer] = []
        came = threading.Event()
        given_up = threading.Event()

        def told(answer: Answer) -> None:
            answers.append(answer)
            came.set()

        def wait() -> None:
            give_up = self._context.call(self.spec, call, told)
            came.wait()
            if given_up.is_set():
                give_up()

        try:
            await trio.to_thread.run_sync(wait, abandon_on_cancel=True, limiter=self.node.threads)
        except trio.Cancelled:
            given_up.set()
            came.set()
            raise
        (answer,) = answers
        return answer


class Service:
    """A worker that does what it is told, and counts."""

    def __init__(self, node: "Node", spec: ServiceSpec, work: Work) -> None:
        self._node, self._spec, self._work = node, spec, work

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        node = self._node
        node.running[self._spec.name] += 1
        node.runs.append((self._spec.name, job.ref.key))
        try:
            with trio.move_on_after(deadline_ms / 1_000):
                return await self._work(Asking(node, self._spec, job, context))
            return Failed("too slow")
        finally:
            node.running[self._spec.name] -= 1


class Node:
    """A member with services that come and go."""

    def __init__(self, mesh: Mesh, leasing: Leasing, executor: Executor, path: Path) -> None:
        self.mesh, self.leasing, self.executor = mesh, leasing, executor
        self.calling: Calling = leasing.calling
        self.running: Counter[str] = Counter()
        self.runs: list[tuple[str, str]] = []
        self.threads = trio.CapacityLimiter(200)
        self.scope = trio.CancelScope()
        self._path = path

    def add(self, name: str, work: Work, **fields: object) -> None:
        limits = Limits(time_ms_max=LONG_MS)
        fields = {"version": "1.2.0", "concurrency": SLOTS, "limits": limits} | fields
        spec = ServiceSpec(path=self._path, name=name, **fields)  # type: ignore[arg-type]
        self.executor.put(spec, Service(self, spec, work))

    async def work(self, name: str, key: str = "job-1", **values: object) -> Outcome:
        """A job of an engine, as far as this node has to do with it."""
        served = self.executor.callee(name)
        assert served is not None
        job = Job(JobRef("c7", key, "t", "w"), Variables(values), 30_000)  # type: ignore[arg-type]
        context = LeaseContext(no_lock, job, self.calling)
        place = served.places.line_up()
        return await self.executor.call(served, place, job, context, LONG_MS)

    def offers(self, *others: "Node") -> None:
        """Says who else has any service."""
        self.calling.find = lambda _service, _version: [one.mesh.node_id for one in others]


@asynccontextmanager
async def members(count: int, path: Path) -> AsyncIterator[list[Node]]:
    seeds: tuple[tuple[str, int], ...] = ()
    async with trio.open_nursery() as nursery:

        async def run_node(task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED) -> None:
            nonlocal seeds
            settings = MeshConfig(
                identity=Identity.generate(), keyring=Keyring((bytes(32),)), seeds=seeds
            )
            async with open_mesh(settings) as mesh, trio.open_nursery() as inner:
                seeds = seeds or (mesh.address,)
                executor = Executor()
                leasing = Leasing(mesh, {}, executor, slots=SLOTS, claims=False)
                node = Node(mesh, leasing, executor, path)
                with node.scope:
                    async with trio.open_nursery() as work:
                        await work.start(leasing.run)
                        task_status.started(node)
                        await trio.sleep_forever()
                inner.cancel_scope.cancel()

        with patience():
            nodes = [await nursery.start(run_node) for _ in range(count)]
            await until(lambda: all(len(one.mesh.members()) == count for one in nodes))
            yield nodes
        nursery.cancel_scope.cancel()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with members(1, tmp_path) as (one,):
        yield one


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    async with members(2, tmp_path) as (one, other):
        one.offers(other)
        other.offers(one)
        yield one, other


async def echo(asking: Asking) -> Outcome:
    return Completed(asking.job.variables)


async def forever(asking: Asking) -> Outcome:
    await trio.sleep_forever()
    raise AssertionError


def calls(service: str, **fields: object) -> Work:
    """A worker that calls a service, and completes with what it heard."""

    async def work(asking: Asking) -> Outcome:
        answer = await asking.call(service, **fields)  # type: ignore[arg-type]
        if isinstance(answer, Unanswered):
            return Failed(f"{answer.why}: {answer.sentence}")
        return answer

    return work


# --- one node


async def test_a_service_of_the_same_node_answers(node: Node) -> None:
    seen: list[Job] = []

    async def price(asking: Asking) -> Outcome:
        seen.append(asking.job)
        return BpmnError("NO_ROOM", "None left.", Variables({"left": 0}))

    node.add("price", price)
    node.add("booking", calls("price", nights=3))
    assert await node.work("booking") == BpmnError("NO_ROOM", "None left.", Variables({"left": 0}))
    (job,) = seen
    assert job.ref == JobRef("c7", "job-1/1", "price", "")
    assert job.variables == Variables({"nights": 3})


async def test_a_job_that_is_run_again_calls_under_the_same_keys(node: Node) -> None:
    async def booking(asking: Asking) -> Outcome:
        await asking.call("price")
        return Completed() if await asking.call("room") else Failed("no")

    async def room(asking: Asking) -> Outcome:
        await asking.call("price")
        return Completed()

    node.add("price", echo)
    node.add("room", room)
    node.add("booking", booking)
    await node.work("booking")
    once = [one for one in node.runs if one[0] != "booking"]
    assert once == [("price", "job-1/1"), ("room", "job-1/2"), ("price", "job-1/2/1")]
    await node.work("booking")
    assert [one for one in node.runs if one[0] != "booking"] == once * 2


async def test_nobody_has_it_or_not_that_version(node: Node) -> None:
    node.add("price", echo)
    node.add("a", calls("nothing"))
    node.add("b", calls("price", version="^2.0.0"))
    node.add("c", calls("price", version="~1.2"))
    assert await node.work("a") == Failed("unavailable: No node of the mesh offers nothing.")
    assert await node.work("b") == Failed("unavailable: No node of the mesh offers price ^2.0.0.")
    assert await node.work("c") == Completed()


async def test_services_that_call_each_other_in_a_circle_end_with_a_sentence(node: Node) -> None:
    node.add("a", calls("b"))
    node.add("b", calls("a"))
    outcome = await node.work("a")
    assert isinstance(outcome, Failed)
    assert outcome.message == (
        "too much: 8 services in a row may call each other, no more: "
        "a → b → a → b → a → b → a → b → a."
    )
    assert len(node.runs) == DEPTH_MAX
    assert not any(node.running.values())


async def test_a_keys_turn_is_not_waited_for_by_who_has_it(node: Node) -> None:
    keyed = Dense(key="/variables/room")
    node.add("room", calls("lobby", room="17"), profile="dense", dense=keyed)
    node.add("lobby", calls("room", room="17"))
    outcome = await node.work("room", room="17")
    assert isinstance(outcome, Failed)
    assert "would wait for a key's turn that one of its callers has" in outcome.message
    assert ("room", "job-1/1/1") not in node.runs


async def test_what_is_too_large_is_refused_both_ways(node: Node) -> None:
    async def large(asking: Asking) -> Outcome:
        return Completed(Variables({"x": "x" * CALL_BYTES_MAX}))

    node.add("large", large)
    node.add("a", calls("large", x="x" * CALL_BYTES_MAX))
    node.add("b", calls("large"))
    outcome = await node.work("a")
    assert isinstance(outcome, Failed) and outcome.message.startswith("too much: The call of large")
    outcome = await node.work("b")
    assert isinstance(outcome, Failed) and outcome.message.startswith("The outcome has 1,048,")


async def test_all_places_of_services_that_call_each_other(node: Node) -> None:
    """Each of `a` calls `b`, which calls `a`, with one place for each service."""

    async def a(asking: Asking) -> Outcome:
        depth = asking.values["depth"]
        if depth == 0:
            return Completed()
        answer = await asking.call("b", depth=depth)
        return answer if not isinstance(answer, Unanswered) else Failed(answer.sentence)

    async def b(asking: Asking) -> Outcome:
        depth = asking.values["depth"]
        assert isinstance(depth, int)
        answer = await asking.call("a", depth=depth - 1)
        return answer if not isinstance(answer, Unanswered) else Failed(answer.sentence)

    node.add("a", a, concurrency=1)
    node.add("b", b, concurrency=1)
    outcomes = []

    async def one(number: int) -> None:
        outcomes.append(await node.work("a", f"job-{number}", depth=3))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one, number)
    assert outcomes == [Completed()] * 8


async def test_more_callers_than_may_wait_are_refused_and_none_hangs(node: Node) -> None:
    opened = trio.Event()

    async def slow(asking: Asking) -> Outcome:
        await opened.wait()
        return Completed()

    node.add("slow", slow, concurrency=1_000)
    node.add("a", calls("slow"), concurrency=1_000)
    outcomes: list[Outcome] = []

    async def one(number: int) -> None:
        outcomes.append(await node.work("a", f"job-{number}"))
        if len(outcomes) == 3:
            opened.set()

    async with trio.open_nursery() as nursery:
        for number in range(CALLERS_MAX + 3):
            nursery.start_soon(one, number)
    refused = [one for one in outcomes if isinstance(one, Failed)]
    assert len(refused) == 3 and len(outcomes) == CALLERS_MAX + 3
    assert refused[0].message.startswith("unavailable: 64 jobs of this node wait for calls")


async def test_the_time_of_a_call_ends_what_it_called(node: Node) -> None:
    node.add("forever", forever)
    node.add("middle", calls("forever"))
    node.add("a", calls("middle", timeout_ms=300))
    outcome = await node.work("a")
    assert outcome == Failed("late: middle did not end within 300 ms.")
    await until(lambda: not any(node.running.values()))


async def test_a_job_that_is_stopped_stops_what_it_called(node: Node) -> None:
    node.add("forever", forever)
    node.add("middle", calls("forever"))
    node.add("a", calls("middle"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.work, "a")
        await until(lambda: node.running["forever"] == 1)
        nursery.cancel_scope.cancel()
    await until(lambda: not any(node.running.values()))
    assert node.calling.status()["made"]["open"] == 0  # type: ignore[index]


# --- over the mesh


async def test_another_member_answers_what_this_one_has_not(pair: tuple[Node, Node]) -> None:
    one, other = pair
    other.add("price", echo)
    one.add("a", calls("price", nights=3))
    assert await one.work("a") == Completed(Variables({"nights": 3}))
    assert other.runs == [("price", "job-1/1")]
    one.add("price", echo)
    await one.work("a")
    assert len(other.runs) == 1, "who has it calls itself"


async def test_a_busy_node_lets_another_do_it(pair: tuple[Node, Node]) -> None:
    one, other = pair
    opened = trio.Event()

    async def slow(asking: Asking) -> Outcome:
        await opened.wait()
        return Completed()

    for node in pair:
        node.add("slow", slow, concurrency=1)
    one.add("a", calls("slow"))
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(one.work, "a", f"job-{number}")
        # The third waits for its turn where it was asked first.
        await until(lambda: len(one.calling.runs) == 2 and len(other.calling.runs) == 1)
        await until(lambda: one.running["slow"] == other.running["slow"] == 1)
        opened.set()
    assert len(one.runs) == 5 and len(other.runs) == 1


async def test_all_slots_of_two_nodes_that_call_each_others_services(
    pair: tuple[Node, Node],
) -> None:
    one, other = pair
    one.add("a", calls("b"), concurrency=SLOTS)
    other.add("b", calls("c"), concurrency=SLOTS)
    one.add("c", calls("d"), concurrency=SLOTS)
    other.add("d", echo, concurrency=1)
    other.add("e", calls("a"), concurrency=SLOTS)
    outcomes: list[Outcome] = []

    async def work(node: Node, service: str, number: int) -> None:
        outcomes.append(await node.work(service, f"{service}-{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(2 * SLOTS):
            nursery.start_soon(work, one, "a", number)
            nursery.start_soon(work, other, "e", number)
    assert outcomes == [Completed()] * 4 * SLOTS


async def test_a_lost_nodes_calls_go_to_another(tmp_path: Path) -> None:
    async with members(3, tmp_path) as (one, other, third):
        opened = trio.Event()

        async def slow(asking: Asking) -> Outcome:
            await opened.wait()
            return Completed()

        other.add("slow", slow)
        third.add("slow", echo)
        one.add("a", calls("slow", x=1))
        one.offers(other, third)
        outcomes = []

        async def work() -> None:
            outcomes.append(await one.work("a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await until(lambda: other.running["slow"] == 1)
            other.scope.cancel()
        assert outcomes == [Completed(Variables({"x": 1}))]
        assert third.runs == [("slow", "job-1/1")], "under the key that it had"


async def test_what_must_not_run_twice_is_not_given_to_another(tmp_path: Path) -> None:
    async with members(3, tmp_path) as (one, other, third):
        for node in (other, third):
            node.add("once", forever, on_holder_lost="wait")
        one.add("a", calls("once"))
        one.offers(other, third)
        outcomes: list[Outcome] = []

        async def work() -> None:
            outcomes.append(await one.work("a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await until(lambda: other.running["once"] == 1)
            await other.mesh.leave()
        (outcome,) = outcomes
        assert isinstance(outcome, Failed) and "on_holder_lost: wait" in outcome.message
        assert third.runs == []


async def test_what_is_called_ends_with_the_callers_node(pair: tuple[Node, Node]) -> None:
    one, other = pair
    other.add("forever", forever)
    one.add("a", calls("forever"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.work, "a")
        await until(lambda: other.running["forever"] == 1)
        one.scope.cancel()
        await until(lambda: other.running["forever"] == 0)
        nursery.cancel_scope.cancel()


async def test_a_node_that_stops_gives_its_calls_to_another(tmp_path: Path) -> None:
    async with members(3, tmp_path) as (one, other, third):
        other.add("slow", forever)
        third.add("slow", echo)
        one.add("a", calls("slow"))
        one.offers(other, third)
        outcomes: list[Outcome] = []

        async def work() -> None:
            outcomes.append(await one.work("a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await until(lambda: other.running["slow"] == 1)
            await other.leasing.stop(0, 100)
        assert outcomes == [Completed()]
        await until(lambda: other.running["slow"] == 0)
