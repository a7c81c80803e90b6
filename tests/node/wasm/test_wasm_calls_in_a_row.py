"""Guests that call guests on one host: more of them at once than it has threads."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from tests.patience import patience, until

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.jobs import Completed, Failed, Job, JobRef, Outcome
from gossamer_node.service.spec import Grant, Limits, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import WasmHost
from gossamer_node.wasm.pool import CALLERS_MAX, THREADS_MAX
from gossamer_node.work.context import LeaseContext, no_lock
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

AT_ONCE = CALLERS_MAX // 2 - 2
assert 2 * AT_ONCE > THREADS_MAX

TIME_MS_MAX = 600_000
"""Nothing here ends by its time."""


class Desk:
    """A node of which only calls are of interest here."""

    def __init__(self, leasing: Leasing, executor: Executor, host: WasmHost, path: Path) -> None:
        self.calling = leasing.calling
        self._executor, self._host, self._path = executor, host, path

    async def add(self, name: str, module: bytes, calls: str = "", **fields: int) -> None:
        file = self._path / f"{name}.wasm"
        file.write_bytes(module)
        spec = ServiceSpec(
            path=self._path / "service.yaml",
            name=name,
            version="1.0.0",
            module=file,
            limits=Limits(time_ms_max=TIME_MS_MAX),
            concurrency=fields.get("concurrency", 100),
        )
        grant = Grant(calls=(calls,) if calls else ())
        self._executor.put(spec, await self._host.load(spec, grant))

    async def work(self, name: str, key: str) -> Outcome:
        served = self._executor.callee(name)
        assert served is not None
        job = Job(JobRef("c7", key, "t", "w"), Variables(), TIME_MS_MAX)
        context = LeaseContext(no_lock, job, self.calling)
        place = served.places.line_up()
        return await self._executor.call(served, place, job, context, TIME_MS_MAX)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    config = MeshConfig(identity=Identity.generate(), keyring=Keyring((bytes(32),)))
    async with (
        WasmHost(tmp_path / "cache", threads=2) as host,
        open_mesh(config) as mesh,
        trio.open_nursery() as nursery,
    ):
        executor = Executor()
        leasing = Leasing(mesh, {}, executor, slots=100, claims=False)
        with patience():
            await nursery.start(leasing.run)
            yield Desk(leasing, executor, host, tmp_path)
        nursery.cancel_scope.cancel()


async def test_as_many_chains_of_calls_as_may_wait(
    desk: Desk, wasm_file: Callable[..., Path]
) -> None:
    for name, other in (("a", "b"), ("b", "c")):
        request = f'{{"service":"{other}"}}'
        module = wasm_file("caller", op="service.call", request=request).read_bytes()
        await desk.add(name, module, other)
    await desk.add("c", wasm_file("any").read_bytes(), concurrency=1)
    outcomes: list[Outcome] = []

    async def one(number: int) -> None:
        outcomes.append(await desk.work("a", f"job-{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(AT_ONCE):
            nursery.start_soon(one, number)
    assert len(outcomes) == AT_ONCE
    for outcome in outcomes:
        assert isinstance(outcome, Completed)
        inner: dict[str, object] = {"completed": {"variables": {}, "types": {}}}
        assert outcome.variables.values["reply"] == {
            "completed": {"variables": {"reply": inner}, "types": {}}
        }


async def test_a_guest_that_calls_itself_ends_with_a_sentence(
    desk: Desk, wasm_file: Callable[..., Path]
) -> None:
    module = wasm_file("caller", op="service.call", request='{"service":"a"}').read_bytes()
    await desk.add("a", module, "a", concurrency=1)
    outcome = await desk.work("a", "job-1")
    # The innermost fails with the refusal, and each that called completes with what it heard.
    told: object = outcome.variables.values if isinstance(outcome, Completed) else None
    depth = 0
    while isinstance(told, dict) and "reply" in told:
        depth += 1
        ended = told["reply"]
        assert isinstance(ended, dict)
        told = ended["completed"]["variables"] if "completed" in ended else ended
    assert depth == 7
    assert isinstance(told, dict)
    assert told["failed"]["message"].startswith("68 services in a row may call each other, no more")


async def test_a_guest_whose_job_is_stopped_stops_the_guest_that_it_called(
    desk: Desk, wasm_file: Callable[..., Path]
) -> None:
    module = wasm_file("caller", op="service.call", request='{"service":"loop"}').read_bytes()
    await desk.add("a", module, "loop")
    loop = wasm_file("any", handle="(loop (br 0)) (i64.const 0)").read_bytes()
    await desk.add("loop", loop)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.work, "a", "job-1")
        await until(lambda: len(desk.calling.runs) == 1)
        nursery.cancel_scope.cancel()
    # Both threads are free again: what comes now is worked.
    await desk.add("c", wasm_file("any").read_bytes())
    for number in range(4):
        assert not isinstance(await desk.work("c", f"job-{number}"), Failed)
    await until(lambda: desk.calling.status()["made"]["open"] == 0)  # type: ignore[index]
