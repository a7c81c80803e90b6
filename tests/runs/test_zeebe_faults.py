"""Zeebe, or a gateway, is killed in the middle of many runs: none is lost, no step takes effect
twice, and each history is whole and in order."""

import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex
from subprocess import PIPE

import pytest
import trio
from tests.downloads import downloads_shown
from tests.patience import patience, seen
from tests.postgres_fixture import Postgres
from tests.runs.durable.flows import BUSY, QUEUES, at_second
from tests.runs.zeebe_world import PATIENCE_S, ZeebeWorld, zeebe_world

from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import StepType
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.model.run import Run, Status
from gossamer_gateway.storage import SqlitePlace
from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines import Progress, RunningZeebe, start_zeebe
from gossamer_node.local_engines.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]

RUNS = 100

TASKS = sorted(one.id for one in BUSY.steps.values() if one.type is StepType.TASK)

LOCK_MS = 2_000


async def are_whole(world: ZeebeWorld, ids: Collection[str]) -> None:
    """Every run has completed, each of its steps once, with nothing missing and nothing over."""
    assert await check(world.storage) == []
    for id in ids:
        run = await world.engine.run(id)
        assert run.status is Status.COMPLETED, (id, run.status, run.failure)
        history = await world.history(id)
        assert [one.seq for one in history] == list(range(1, len(history) + 1)), id
        done = Counter(one.step for one in history if isinstance(one, e.StepCompleted))
        assert done == Counter(TASKS), (id, done)
        started = [one for one in history if isinstance(one, e.RunStarted | e.RunRetried)]
        assert len(started) == 1, (id, started)
        assert run.place is not None

        async def is_gone(instance: int = int(run.place)) -> bool:
            return not await world.zeebe.has(instance)

        await seen(is_gone)


class Killable:
    """A Zeebe whose data and address stay, however often it is killed."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        commands, grpc = free_ports(2)
        self.address = f"127.0.0.1:{grpc}"
        self._progress = progress
        self._properties = {
            "zeebe.broker.cluster.clusterName": folder.name,
            "zeebe.broker.network.commandApi.port": str(commands),
            "zeebe.broker.gateway.network.port": str(grpc),
            "zeebe.broker.data.directory": str(folder / "broker"),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RunningZeebe]:
        """Runs it until the block is left, or it was killed."""
        async with start_zeebe(progress=self._progress, properties=self._properties) as zeebe:
            yield zeebe

    async def kill(self, zeebe: RunningZeebe) -> None:
        """Ends it at once; returns when it is gone."""
        guard = zeebe.process.guard_pid
        children = Path(f"/proc/{guard}/task/{guard}/children").read_text()
        for pid in map(int, children.split()):
            os.kill(pid, signal.SIGKILL)
        with patience():
            await zeebe.process.wait_ended()
        shutil.rmtree(zeebe.process.log_path.parent, ignore_errors=True)


@pytest.mark.zeebe
async def test_a_zeebe_that_is_killed_loses_no_run(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """In the middle of 100 runs, and started again with its data. Triggers go on meanwhile."""
    killable = Killable(tmp_path / "zeebe", downloads_shown(request.config))
    place = SqlitePlace(tmp_path / "rows")
    ids: list[str] = []
    steps = trio.Semaphore(0)

    def count(_run: Run, events: Sequence[Event]) -> None:
        for one in events:
            if isinstance(one, e.StepCompleted):
                steps.release()

    async def half(world: ZeebeWorld, of: int) -> None:
        """Triggers half of the runs; returns when so many steps are done."""
        for number in range(RUNS // 2):
            ids.append((await world.engine.trigger("busy", {"n": number})).id)
        for _ in range(of):
            await steps.acquire()

    async with zeebe_world(place, killable.address, lock_ms=LOCK_MS, pending_ms=1_000) as world:
        world.engine.listen(count)
        world.works(QUEUES, at_second)
        try:
            async with killable.running() as zeebe:
                await world.define(BUSY)
                await half(world, RUNS // 2)
                await killable.kill(zeebe)
        except LocalEngineMissing as error:
            pytest.skip(f"NOT RUN: {error}")
        await half(world, 0)  # nobody keeps their flow now
        async with killable.running():
            for id in ids:
                await world.ended(id)
            await are_whole(world, ids)


class Process:
    """A gateway that runs as `zeebe_gateway`, and what it said."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.taken: list[tuple[str, str]] = []
        self._said = trio.Event()
        self._process: trio.Process | None = None

    async def run(self, *words: str, task_status: trio.TaskStatus[None]) -> None:
        """Runs it until it is killed, and hears all that it says."""
        command = [sys.executable, "-m", "tests.runs.zeebe_gateway", *words]
        async with trio.open_nursery() as nursery:
            self._process = await nursery.start(
                partial(trio.run_process, command, stdout=PIPE, check=False, cwd=ROOT)
            )
            task_status.started()
            assert self._process is not None and self._process.stdout is not None
            left = b""
            async for data in self._process.stdout:
                *lines, left = (left + data).split(b"\n")
                for line in lines:
                    self._hear(*line.decode().split())

    def _hear(self, kind: str, run: str, step: str = "") -> None:
        if kind == "run":
            self.runs.append(run)
        else:
            self.taken.append((run, step))
        self._said.set()
        self._said = trio.Event()

    async def said(self, *, runs: int = 0, taken: int = 0) -> None:
        """Returns when it has told of so many."""
        with patience(PATIENCE_S):
            while len(self.runs) < runs or len(self.taken) < taken:
                await self._said.wait()

    def kill(self) -> None:
        assert self._process is not None and self._process.poll() is None, "it ended by itself"
        self._process.kill()


@pytest.mark.processes
@pytest.mark.zeebe
async def test_gateways_that_are_killed_lose_no_run(
    zeebe_grpc_address: str, postgres: Postgres
) -> None:
    """Two on one PostgreSQL; one is killed in the middle, then the other; a third ends it all."""
    place = postgres.place()
    prefix = f"{token_hex(4)}:"

    words = (place.conninfo, place.schema, zeebe_grpc_address, prefix, str(RUNS // 2))
    one, two = Process(), Process()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(one.run, *words))
        await one.said(runs=1)  # the rows are there
        await nursery.start(partial(two.run, *words))
        await one.said(taken=RUNS // 2)
        await two.said(runs=RUNS // 4)
        one.kill()
        await two.said(runs=RUNS // 2, taken=RUNS)
        two.kill()

    acknowledged = {*one.runs, *two.runs}
    assert len(acknowledged) > RUNS // 2
    async with zeebe_world(
        place, zeebe_grpc_address, lock_ms=LOCK_MS, pending_ms=1_000, job_prefix=prefix
    ) as world:
        world.works(QUEUES, at_second)
        ids = [id for (id,) in await world.storage.submit(
            lambda rows, _: rows.execute("SELECT id FROM workflow_runs").fetchall()
        )]  # fmt: skip
        assert acknowledged <= set(ids)
        for id in ids:
            await world.ended(id)
        await are_whole(world, ids)
        for run, step in {*one.taken, *two.taken}:
            history = await world.history(run)
            assert any(isinstance(each, e.StepCompleted) and each.step == step for each in history)
    twice = Counter([*one.taken, *two.taken])
    assert max(twice.values()) == 1, twice.most_common(3)
