"""A gateway's engine over a real Zeebe, without its doors, and what tests ask of it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from tests.patience import patience

from gossamer_gateway import tables
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.model.deciding import OWN, ZEEBE, Answer
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import AnyEvent, Event
from gossamer_gateway.runs.model.reading import read_object
from gossamer_gateway.runs.model.run import Run
from gossamer_gateway.runs.store import Job
from gossamer_gateway.runs.zeebe.client import Zeebe
from gossamer_gateway.runs.zeebe.executor import Executor
from gossamer_gateway.storage import Place, Storage, open_storage
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.config import EngineConfig

ZEEBES = (
    pytest.param("zeebe", marks=pytest.mark.zeebe),
    pytest.param("zeebe88", marks=pytest.mark.zeebe88),
)
"""Fixtures of engines."""

PATIENCE_S = 120.0
"""For what goes through an engine: others have it work meanwhile."""

WORKER_LOCK_MS = 2_000
"""For how long a job is the worker's who died with a gateway."""

Work = Callable[[Job], Answer | None]
"""What a worker says to a job; None: nothing."""


@dataclass
class ZeebeWorld:
    """An engine at work. `executor`: None in own execution."""

    storage: Storage
    engine: Engine
    executor: Executor | None
    zeebe: Zeebe
    nursery: trio.Nursery

    async def define(self, text: dict[str, Any] | Definition) -> Definition:
        definition = text if isinstance(text, Definition) else read_object(text)
        if self.executor is not None:
            await self.executor.check(definition)
        return await self.engine.define(definition)

    def works(self, actions: Sequence[str], work: Work) -> None:
        """Has a worker of these actions."""
        self.nursery.start_soon(self._work, actions, work)

    async def _work(self, actions: Sequence[str], work: Work) -> None:
        while True:
            jobs = await self.engine.fetch(actions, "w", jobs_max=100, lock_ms=WORKER_LOCK_MS)
            for job in jobs:
                said = work(job)
                if said is not None:
                    await self.engine.answer(job.run, said)
            if not jobs:
                await self.engine.wait_free(actions, trio.current_time() + 60)

    async def ended(self, id: str) -> Run:
        """A run once it has ended."""
        return await self.until(id, lambda run: run.status.has_ended)

    async def until(self, id: str, holds: Callable[[Run], bool]) -> Run:
        news = Bell(self.engine)
        try:
            with patience(PATIENCE_S):
                while not holds(run := await self.engine.run(id)):
                    await news.wait()
        except trio.TooSlowError as error:
            told = "\n".join(map(str, await self.history(id)))
            raise AssertionError(f"{id} did not come so far, {error}:\n{told}") from None
        return run

    async def job(self, action: str) -> Job:
        """The next job of an action, locked."""
        news = Bell(self.engine)
        with patience(PATIENCE_S, lambda: f"a job of {action}"):
            while True:
                for job in await self.engine.fetch([action], "w", jobs_max=1, lock_ms=60_000):
                    return job
                await news.wait()

    async def history(self, id: str) -> list[AnyEvent]:
        return await self.engine.history(id)


class Bell:
    """Rings when anything changed since it was waited for."""

    def __init__(self, engine: Engine) -> None:
        self._rung = trio.Event()
        engine.listen(self._ring)

    def _ring(self, run: Run, events: Sequence[Event]) -> None:
        self._rung.set()

    async def wait(self) -> None:
        await self._rung.wait()
        self._rung = trio.Event()


@pytest.fixture(params=ZEEBES)
def address(request: pytest.FixtureRequest) -> str:
    """The gRPC of an engine, of each release."""
    found: str = request.getfixturevalue(f"{request.param}_grpc_address")
    return found


@asynccontextmanager
async def zeebe_world(
    place: Place,
    grpc: str,
    *,
    execution: str = ZEEBE,
    lock_ms: int = 30_000,
    pending_ms: int = 5_000,
    retention_ms: int = 86_400_000,
    quiet_ms: int = 10_000,
    job_prefix: str = "",
    crashes: bool = False,
    client: Callable[[Upstream], Zeebe] = Zeebe,
) -> AsyncIterator[ZeebeWorld]:
    """Opens one.

    Args:
        crashes: leaving the block is as sudden as a crash is.
        client: what speaks to Zeebe.
    """
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(place, tables.FORM))
        config = EngineConfig("eight", "camunda8", "http://127.0.0.1:9", grpc=grpc)
        upstream = Upstream(config)
        stack.push_async_callback(upstream.aclose)
        engine = Engine(storage, chance=lambda: 0.5, executor=execution)
        zeebe = client(upstream)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        executor = None
        if execution != OWN:
            executor = Executor(
                engine,
                storage,
                zeebe,
                lock_ms=lock_ms,
                pending_ms=pending_ms,
                retention_ms=retention_ms,
                quiet_ms=quiet_ms,
                job_prefix=job_prefix,
            )
            await nursery.start(executor.run)
        nursery.start_soon(engine.keep_time)
        yield ZeebeWorld(storage, engine, executor, zeebe, nursery)
        if executor is not None and not crashes:
            await executor.stop()
