"""Runs on a real Zeebe, and what may happen to them there."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import trio
from tests.gateway.relay import Relay
from tests.patience import seen, until
from tests.runs.zeebe_world import ZeebeWorld, address, zeebe_world

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.reading import read_object
from gossamer_gateway.runs.model.run import Run, Status
from gossamer_gateway.runs.store import Job
from gossamer_gateway.runs.zeebe.client import DeploymentRefused, Effect, Zeebe
from gossamer_gateway.runs.zeebe.compiling import compile_definition
from gossamer_gateway.storage import Rows, SqlitePlace
from gossamer_gateway.upstreams.upstream import Upstream

__all__ = ["address"]

LOCK_MS = 1_000
"""Of jobs, where a test waits for the end of locks."""


@pytest.fixture
def mark() -> str:
    """Makes names of this test its own, on an engine that all share."""
    return token_hex(4)


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path / "gateway.sqlite")


def listed(mark: str, *actions: str) -> dict[str, Any]:
    return {"id": f"list-{mark}", "steps": [{"action": f"{mark}-{one}"} for one in actions]}


def done(job: Job) -> Answer:
    return Answer(job.step, job.attempt, [job.step, job.payload])


def instance(run: Run) -> int:
    assert run.place is not None
    return int(run.place)


async def ends(zeebe: Zeebe, key: int) -> None:
    """Returns once Zeebe has no such instance."""

    async def is_gone() -> bool:
        return not await zeebe.has(key)

    await seen(is_gone)


async def test_a_run_cancelled_here_ends_there(address: str, place: SqlitePlace, mark: str) -> None:
    async with zeebe_world(place, address) as world:
        await world.define(listed(mark, "a"))
        run = await world.engine.trigger(f"list-{mark}", 7)
        job = await world.job(f"{mark}-a")
        run = await world.engine.cancel(run.id, reason="enough")
        await ends(world.zeebe, instance(run))
        await world.engine.answer(job.run, done(job))
        assert (await world.engine.run(run.id)).status is Status.CANCELLED


async def test_an_instance_that_somebody_ends_fails_its_run(
    address: str, place: SqlitePlace, mark: str
) -> None:
    async with zeebe_world(place, address) as world:
        await world.define(listed(mark, "a", "b"))
        run = await world.engine.trigger(f"list-{mark}", 7)
        job = await world.job(f"{mark}-a")
        run = await world.engine.run(run.id)
        assert await world.zeebe.cancel(instance(run)) is Effect.DONE
        await world.engine.answer(job.run, done(job))
        run = await world.ended(run.id)
        assert run.failure is not None
        assert (run.status, run.failure.code) == (Status.FAILED, "InstanceGone")
        assert run.failure.blame == "engine" and str(run.place) in run.failure.message


async def test_a_second_instance_of_a_run_is_cancelled(
    address: str, place: SqlitePlace, mark: str
) -> None:
    async with zeebe_world(place, address) as world:
        text = listed(mark, "a")
        await world.define(text)
        run = await world.engine.trigger(f"list-{mark}", 7)
        job = await world.job(f"{mark}-a")
        compiled = compile_definition(Flow(read_object(text)))
        key = await world.zeebe.deploy(compiled.resource, compiled.xml)
        assert key is not None
        second = await world.zeebe.create(key, {"run": run.id})
        assert second is not None
        await ends(world.zeebe, second)
        await world.engine.answer(job.run, done(job))
        run = await world.ended(run.id)
        assert run.status is Status.COMPLETED and run.place != str(second)
        await ends(world.zeebe, instance(run))


async def test_an_engine_that_is_away_is_waited_for(
    address: str, place: SqlitePlace, mark: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gossamer")
    relay = Relay(address)
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        async with zeebe_world(place, relay.address) as world:
            await world.define(listed(mark, "a", "b"))
            first = await world.engine.trigger(f"list-{mark}", 1)
            job = await world.job(f"{mark}-a")
            relay.cut()
            await world.engine.answer(job.run, done(job))
            second = await world.engine.trigger(f"list-{mark}", 2)
            await until(lambda: world.zeebe.is_away)
            await trio.sleep(1)
            assert (await world.engine.run(second.id)).status is Status.PENDING
            relay.mend()
            world.works([f"{mark}-a", f"{mark}-b"], done)
            for run in (first, second):
                assert (await world.ended(run.id)).status is Status.COMPLETED
        nursery.cancel_scope.cancel()
    said = Counter(one for one in caplog.messages if one.startswith("Zeebe "))
    assert said["Zeebe answers again"] == 1 and sum(said.values()) == 2, said


async def test_what_zeebe_refuses_is_not_defined(
    zeebe_grpc_address: str, place: SqlitePlace
) -> None:
    async with zeebe_world(place, zeebe_grpc_address) as world:
        with pytest.raises(DeploymentRefused, match=r"eight refuses x\.bpmn: .*"):
            await world.zeebe.deploy("x.bpmn", b"<no/>", patiently=False)


class Crashing(Zeebe):
    """Ends its world before or after a call of a number, as a kill of the gateway would."""

    def __init__(self, upstream: Upstream, number: int, *, after: bool) -> None:
        super().__init__(upstream)
        self.world: ZeebeWorld | None = None
        self.calls: list[str] = []
        self._number = number
        self._after = after

    async def _ask(self, method: str, *rest: Any, **more: Any) -> Any:
        self.calls.append(method)
        is_last = len(self.calls) == self._number
        if is_last and not self._after:
            await self._crash()
        answer = await super()._ask(method, *rest, **more)
        if is_last:
            await self._crash()
        return answer

    async def _crash(self) -> None:
        assert self.world is not None
        self.world.nursery.cancel_scope.cancel()
        await trio.sleep_forever()


async def test_a_gateway_may_die_before_and_after_each_call(
    zeebe_grpc_address: str, tmp_path: Path, mark: str
) -> None:
    async def crash(number: int, after: bool) -> None:
        case = f"{mark}-{number}{after}"
        actions = [f"{case}-{one}" for one in "abc"]
        text = {
            "id": f"crash-{case}",
            "startAt": "fork",
            "steps": [
                {"id": "fork", "type": "PARALLEL", "branches": ["a", "b"], "next": "join"},
                {"id": "a", "type": "TASK", "action": actions[0], "next": "join"},
                {"id": "b", "type": "TASK", "action": actions[1], "next": "join"},
                {"id": "join", "type": "JOIN", "next": "c"},
                {"id": "c", "type": "TASK", "action": actions[2]},
            ],
        }
        place = SqlitePlace(tmp_path / f"{case}.sqlite")
        clients: list[Crashing] = []

        def client(upstream: Upstream) -> Zeebe:
            clients.append(Crashing(upstream, number, after=after))
            return clients[-1]

        ids: list[str] = []
        async with zeebe_world(
            place, zeebe_grpc_address, lock_ms=LOCK_MS, crashes=True, client=client
        ) as world:
            clients[0].world = world
            await world.engine.define(read_object(text))
            world.works(actions, done)
            ids.append((await world.engine.trigger(f"crash-{case}", 7)).id)
            await trio.sleep_forever()
        assert len(clients[0].calls) >= number
        async with zeebe_world(place, zeebe_grpc_address, lock_ms=LOCK_MS, pending_ms=0) as world:
            world.works(actions, done)
            if not ids:  # it was killed before the trigger was answered
                ids += [one for (one,) in await world.storage.submit(every_run)]
            run = await world.ended(ids[0])
            assert run.status is Status.COMPLETED, (number, after, run)
            history = await world.history(run.id)
            completed = [one.step for one in history if isinstance(one, e.StepCompleted)]
            assert sorted(completed) == ["a", "b", "c"], (number, after, history)
            assert [one.seq for one in history] == list(range(1, len(history) + 1))
            await ends(world.zeebe, instance(run))

    async with trio.open_nursery() as nursery:
        for number in range(1, 6):  # deploy, create, complete, complete, complete
            for after in (False, True):
                nursery.start_soon(crash, number, after)


def every_run(rows: Rows, _now_ms: int) -> list[Any]:
    return rows.execute("SELECT id FROM workflow_runs").fetchall()


async def test_a_long_step_keeps_its_job(address: str, place: SqlitePlace, mark: str) -> None:
    """Its lock runs out, and it is locked anew; it stays one attempt."""
    async with zeebe_world(place, address, lock_ms=200) as world:
        await world.define(listed(mark, "a"))
        run = await world.engine.trigger(f"list-{mark}", 7)
        job = await world.job(f"{mark}-a")
        await trio.sleep(2)
        await world.engine.answer(job.run, done(job))
        run = await world.ended(run.id)
        assert run.status is Status.COMPLETED and run.steps[job.step].attempt == 1
        await ends(world.zeebe, instance(run))


async def test_a_failed_run_is_gone_on_with_where_it_is(
    address: str, place: SqlitePlace, mark: str
) -> None:
    """Also after its jobs' locks have run out, and by another gateway."""
    text = listed(mark, "a", "b")
    async with zeebe_world(place, address, lock_ms=200) as world:
        await world.define(text)
        run = await world.engine.trigger(f"list-{mark}", 7)
        job = await world.job(f"{mark}-a")
        broken = Failure("Broken", retryable=False)
        await world.engine.answer(job.run, Answer(job.step, job.attempt, failure=broken))
        assert (await world.ended(run.id)).status is Status.FAILED
        await trio.sleep(1)
    async with zeebe_world(place, address, lock_ms=200) as world:
        await world.engine.retry(run.id)
        world.works([f"{mark}-a", f"{mark}-b"], done)
        run = await world.ended(run.id)
        assert run.status is Status.COMPLETED
        await ends(world.zeebe, instance(run))


async def test_a_failed_run_that_is_forgotten_ends_there(
    address: str, place: SqlitePlace, mark: str
) -> None:
    async with zeebe_world(place, address) as world:
        await world.define(listed(mark, "a"))
        run = await world.engine.trigger(f"list-{mark}", 7)
        job = await world.job(f"{mark}-a")
        broken = Failure("Broken", retryable=False)
        await world.engine.answer(job.run, Answer(job.step, job.attempt, failure=broken))
        run = await world.ended(run.id)
    async with zeebe_world(place, address, retention_ms=0) as world:
        await ends(world.zeebe, instance(run))
        await gone(lambda: world.engine.history(run.id))


async def gone(look: Callable[[], Awaitable[Any]]) -> None:

    async def is_gone() -> bool:
        return not await look()

    await seen(is_gone)


def test_variables_are_only_where_choices_led() -> None:
    """No payload leaves for Zeebe."""
    text = {
        "id": "w", "startAt": "c",
        "steps": [
            {"id": "c", "type": "CHOICE", "default": "a",
             "choices": [{"when": {"path": "$.input.x", "greaterThan": 1}, "next": "b"}]},
            {"id": "a", "type": "TASK", "action": "a"},
            {"id": "b", "type": "TASK", "action": "b"},
        ],
    }  # fmt: skip
    xml = compile_definition(Flow(read_object(text))).xml.decode()
    assert '= choice_1 = "b"' in xml and "$.input.x &gt; 1" in xml
