"""Keys over a real mesh: three nodes, each with a host and a disk of its own, count by key."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import trio
from tests.node.source_engine import SourceEngine
from tests.node.wasm.conftest import assemble
from tests.patience import until

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.drivers.links import KEYS
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.port import Effect, Engine, Settlement, TopicRequest
from gossamer_node.jobs import Completed, Failed, Job, JobRef
from gossamer_node.keyed import messages as wire
from gossamer_node.keyed import runs
from gossamer_node.keyed.circle import filter_of
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.moving import Moving, keyed_of
from gossamer_node.keyed.versions import Version
from gossamer_node.service.spec import Dense, Grant, ServiceSpec, Topic
from gossamer_node.wasm import WasmHost
from gossamer_node.wasm.living.states import States
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

KEYRING = Keyring((bytes(32),))
SLOTS = 4
SERVICE = "keeper"
RETRIES = 3
LOCK_S = 5.0
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Counting(SourceEngine):
    """Gives each job a key, and keeps what the worker had counted to. What fails comes again."""

    def __init__(self, keys: int) -> None:
        super().__init__()
        self._keys = keys
        self.counted: dict[str, str] = {}
        self.failures: list[str] = []
        self.doubled = 0
        self._locked_s: dict[str, float] = {}

    def key_of(self, job: str) -> str:
        return f"key-{int(job.removeprefix('job-')) % self._keys}"

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        self._expire()
        jobs = await super().activate(
            topics, jobs_max=jobs_max, wait_ms=min(wait_ms, 500), worker_id=worker_id
        )
        for one in jobs:
            self._locked_s[one.ref.key] = trio.current_time() + one.lock_ms / 1_000
        return [
            replace(
                job, ref=replace(job.ref, retries=RETRIES), business_key=self.key_of(job.ref.key)
            )
            for job in jobs
        ]

    def _expire(self) -> None:
        """What nobody has renewed is there for anybody, what a killed node's poll took as well."""
        ready = {job for job, _ in self._ready}
        for number in range(1, self._number + 1):
            job = f"job-{number}"
            if job not in ready and not self.completed[job]:
                self._locked_s.setdefault(job, trio.current_time() + LOCK_S)
        for job, until_s in list(self._locked_s.items()):
            if trio.current_time() >= until_s:
                del self._locked_s[job]
                self._ready.append((job, "count"))

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        self._locked_s[job.key] = trio.current_time() + lock_ms / 1_000
        return Settlement(Effect.APPLIED)

    async def release(self, job: JobRef) -> Settlement:
        self._locked_s.pop(job.key, None)
        return await super().release(job)

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        n = str(outcome.variables.values["n"])
        self.doubled += self.counted.get(job.key, n) != n
        self.counted[job.key] = n
        self.completed[job.key] += 1
        self._locked_s.pop(job.key, None)
        return Settlement(Effect.APPLIED)

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        self.failures.append(outcome.message)
        assert outcome.retries == RETRIES, outcome
        await self.release(job)
        return Settlement(Effect.APPLIED)

    def counts(self) -> dict[str, list[str]]:
        """What the jobs of each key were told, in order."""
        told: dict[str, list[str]] = {}
        for job, n in self.counted.items():
            told.setdefault(self.key_of(job), []).append(n)
        return {key: sorted(each) for key, each in told.items()}


def expected(jobs: int, keys: int) -> dict[str, list[str]]:
    """Each key counted each of its jobs, once."""
    per_key = Counter(number % keys for number in range(1, jobs + 1))
    return {
        f"key-{key}": [f"AAA{LETTERS[n]}" for n in range(1, count + 1)]
        for key, count in per_key.items()
    }


class Node:
    """One node's life. Its folder and its identity outlast it."""

    def __init__(
        self, mesh: Mesh, host: WasmHost, moving: Moving, executor: Executor, leasing: Leasing
    ) -> None:
        self.mesh = mesh
        self.host = host
        self.moving = moving
        self.executor = executor
        self.leasing = leasing
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    def __repr__(self) -> str:
        shown = (self.mesh.node_id[:4], self.moving.statistics(), self.executor.outcomes)
        return f"Node{shown}"

    def sees(self, count: int) -> bool:
        keyed = [one for one in self.mesh.members() if keyed_of(one)]
        return len(keyed) == count

    async def kill(self) -> None:
        """From now on it says nothing."""
        self.scope.cancel()
        await self.ended.wait()


class World:
    """A mesh whose nodes come and go."""

    def __init__(self, path: Path, nursery: trio.Nursery, engine: Counting) -> None:
        self._path = path
        self._nursery = nursery
        self._engine = engine
        self._identities: dict[int, Identity] = {}
        self.nodes: dict[int, Node] = {}

    def folder(self, number: int) -> Path:
        folder = self._path / f"node-{number}"
        folder.mkdir(exist_ok=True)
        return folder

    async def start(self, *numbers: int) -> list[Node]:
        for number in numbers:
            self.nodes[number] = await self._nursery.start(self._run, number)
        for node in self.nodes.values():
            await until(lambda node=node: node.sees(len(self.nodes)))  # type: ignore[misc]
        return list(self.nodes.values())

    async def kill(self, number: int) -> None:
        await self.nodes.pop(number).kill()

    async def _run(
        self, number: int, task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED
    ) -> None:
        module = self._path / "keeper.wasm"
        module.write_bytes(assemble("keeper"))
        spec = ServiceSpec(
            self._path / "service.yaml",
            SERVICE,
            "1.0.0",
            module=module,
            topics=(Topic("count", lock_ms=int(LOCK_S * 1_000)),),
            concurrency=SLOTS,
            profile="dense",
            dense=Dense(key="/job/business_key"),
        )
        identity = self._identities.setdefault(number, Identity.generate())
        seeds = tuple(one.mesh.address for one in self.nodes.values())
        settings = MeshConfig(identity=identity, keyring=KEYRING, seeds=seeds)
        folder = self.folder(number)
        engines: Mapping[str, Engine] = {self._engine.name: self._engine}
        async with AsyncExitStack() as stack:
            host = await stack.enter_async_context(
                WasmHost(
                    folder / "cache",
                    threads=2,
                    states_file=folder / "states.sqlite",
                    node_id=identity.node_id,
                )
            )
            mesh = await stack.enter_async_context(open_mesh(settings))
            nursery = await stack.enter_async_context(trio.open_nursery())
            executor = Executor([(spec, await host.load(spec, Grant()))])
            moving = Moving(mesh, host.open_states, host.is_busy, host.has_states())
            await nursery.start(moving.run)
            host.moving = moving
            leasing = Leasing(
                mesh, engines, executor, slots=SLOTS, claims=True, reviewed=moving.set_members
            )
            node = Node(mesh, host, moving, executor, leasing)
            if seeds:
                await mesh.join(seeds)
            await nursery.start(leasing.run)
            task_status.started(node)
            with node.scope:
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()
        node.ended.set()


@asynccontextmanager
async def world_of(path: Path, engine: Counting) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(path, nursery, engine)
        nursery.cancel_scope.cancel()


def on_disk(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What a node's file has, by key: the state's number and the state."""
    states = States(folder / "states.sqlite")
    found = {}
    for key, version in states.page(None, 1_000):
        found[key.value] = (version.number, states.read(key).state)
    states.close()
    return found


async def test_jobs_of_a_key_count_exactly_wherever_they_run(tmp_path: Path) -> None:
    engine = Counting(keys=20)
    async with world_of(tmp_path, engine) as world:
        nodes = await world.start(1, 2, 3)
        engine.add("count", 200)
        await until(lambda: len(engine.counted) == 200)
        assert engine.counts() == expected(200, 20)
        assert all(one.executor.outcomes["completed"] for one in nodes)
        assert engine.doubled == 0
        await until(lambda: not any(one.moving.statistics()["walking"] for one in nodes))
    # Each state is on two disks at least, and the newest on two.
    disks = [on_disk(world.folder(number)) for number in (1, 2, 3)]
    for key in expected(200, 20):
        found = sorted(disk[key] for disk in disks if key in disk)
        assert [number for number, _ in found][-2:] == [10, 10]


@pytest.mark.parametrize("victim", [1, 2, 3])
async def test_a_node_that_dies_takes_no_count_along(victim: int, tmp_path: Path) -> None:
    engine = Counting(keys=20)
    async with world_of(tmp_path, engine) as world:
        await world.start(1, 2, 3)
        engine.add("count", 200)
        await until(lambda: len(engine.counted) >= 80)
        await world.kill(victim)
        await until(lambda: len(engine.counted) == 200)
        assert engine.counts() == expected(200, 20)
        assert engine.doubled == 0


async def test_all_nodes_restart_and_go_on_counting(tmp_path: Path) -> None:
    engine = Counting(keys=5)
    async with world_of(tmp_path, engine) as world:
        await world.start(1, 2, 3)
        engine.add("count", 50)
        await until(lambda: len(engine.counted) == 50)
        for number in (1, 2, 3):
            await world.kill(number)
        await world.start(3, 1, 2)
        engine.add("count", 50)
        await until(lambda: len(engine.counted) == 100)
        assert engine.counts() == expected(100, 5)


async def test_states_of_a_node_alone_move_when_others_come(tmp_path: Path) -> None:
    engine = Counting(keys=5)
    async with world_of(tmp_path, engine) as world:
        (first,) = await world.start(1)
        engine.add("count", 50)
        await until(lambda: len(engine.counted) == 50)
        assert first.moving.statistics()["consultations"] == 0
        await world.start(2, 3)
        await until(lambda: first.moving._sweep.moved >= 5)
        await world.kill(1)
        engine.add("count", 50)
        await until(lambda: len(engine.counted) == 100)
        assert engine.counts() == expected(100, 5)


async def test_junk_about_keys_is_counted_and_the_jobs_go_on(tmp_path: Path) -> None:
    engine = Counting(keys=5)
    chance = Random(5)
    async with world_of(tmp_path, engine) as world:
        first, second = await world.start(1, 2)
        for number in range(100):
            junk = chance.randbytes(chance.randint(0, 200))
            assert first.mesh.send_nowait(second.mesh.node_id, junk, KEYS)
            other = Key(SERVICE, "", f"other-{number}")
            said = wire.to_bytes(wire.Kept(other, number, Version()))
            assert first.mesh.send_nowait(second.mesh.node_id, said, KEYS)
        engine.add("count", 20)
        await until(lambda: len(engine.counted) == 20)
        await until(lambda: second.moving.counts["unreadable"] == 100)
        assert engine.counts() == expected(20, 5)


async def test_a_job_whose_home_is_silent_goes_back_with_all_its_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that says that it works on the service, and answers nothing about keys."""
    monkeypatch.setattr(runs, "UNHEARD_MS", 500)
    engine = Counting(keys=1)
    async with world_of(tmp_path, engine) as world:
        (node,) = await world.start(1)
        settings = MeshConfig(
            identity=Identity.generate(),
            keyring=KEYRING,
            name="silent",
            seeds=(node.mesh.address,),
            tags={"keyed": filter_of([SERVICE])},
        )
        async with open_mesh(settings):
            await until(lambda: node.sees(2))
            engine.add("count", 1)
            await until(lambda: len(engine.failures) >= 1)
            assert "The key key-0 of keeper waits for the word of silent" in engine.failures[0]
            assert engine.counted == {}
        await until(lambda: engine.counted == {"job-1": "AAAB"})
