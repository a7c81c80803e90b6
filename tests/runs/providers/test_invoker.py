"""The worker that calls functions, on a real engine, beside servers that do as they are told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from tests.patience import patience, seen, until
from tests.postgres_fixture import Postgres
from tests.runs.providers.clouds import NO_NETWORK
from tests.runs.providers.scripted import SILENCE, Asked, Scripted, open_scripted, reply

from gossamer_gateway import tables
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition, Place, Retry, Step
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.run import Run
from gossamer_gateway.runs.providers import circuit, invoker
from gossamer_gateway.runs.providers.config import AzureConfig, GcpConfig, ProviderConfig
from gossamer_gateway.runs.providers.health import RegionHealth
from gossamer_gateway.runs.providers.invoker import Invoker
from gossamer_gateway.runs.providers.opening import open_invoker
from gossamer_gateway.storage import Place as StoragePlace
from gossamer_gateway.storage import SqlitePlace, Storage, open_storage

ONCE = Retry(max_attempts=1)
DOWN = reply({"message": "down"}, "503 Service Unavailable")


@dataclass
class World:
    """An engine and its worker."""

    engine: Engine
    storage: Storage
    invoker: Invoker

    async def trigger(self, *providers: str, given: Any = None, **step: Any) -> str:
        """Starts a run of one task, first at the first of these."""
        places = tuple(Place(one, "pay") for one in providers)
        made = Step("pay", places=places, **({"retry": ONCE} | step))
        await self.engine.define(Definition("payment", "pay", {"pay": made}))
        return (await self.engine.trigger("payment", given)).id

    async def ended(self, id: str) -> Run:
        async def look() -> Run | None:
            run = await self.engine.run(id)
            return run if run.status.has_ended else None

        return await seen(look)

    async def do(self, *providers: str, **step: Any) -> Run:
        return await self.ended(await self.trigger(*providers, **step))

    async def failed(self, id: str, blame: str | None = None) -> Failure:
        """Why an attempt of it failed, once one has; of which that is to blame."""

        async def look() -> Failure | None:
            found = [
                one.failure
                for one in await self.engine.history(id)
                if isinstance(one, e.AttemptFailed) and blame in (None, one.failure.blame)
            ]
            return found[0] if found else None

        return await seen(look)

    async def kinds(self, run: str) -> list[str]:
        """What happened, but for the run's own beginning and end."""
        history = await self.engine.history(run)
        return [str(type(one).__struct_config__.tag) for one in history][3:-1]

    def region(self, provider: str) -> RegionHealth:
        (found,) = [one for one in self.invoker.health() if one.name == provider]
        (region,) = found.regions
        return region


@asynccontextmanager
async def open_world(
    *configs: ProviderConfig, place: StoragePlace | None = None
) -> AsyncIterator[World]:
    async with (
        open_storage(place or SqlitePlace(None), tables.FORM) as storage,
        trio.open_nursery() as own,
    ):
        engine = Engine(storage, chance=lambda: 0.5)
        own.start_soon(engine.keep_time)
        async with open_invoker(configs, engine, storage, environ=NO_NETWORK) as made:
            yield World(engine, storage, made)
        own.cancel_scope.cancel()


@asynccontextmanager
async def two_clouds(
    first: bytes | Callable[[Asked], bytes], second: bytes = b"", **config: Any
) -> AsyncIterator[tuple[World, Scripted, Scripted]]:
    """AZURE, then GCP."""
    async with open_scripted(first) as azure, open_scripted(second or reply('"on GCP"')) as gcp:
        configs = (
            AzureConfig(base_url=azure.url, key="the key of a function", **config),
            GcpConfig(base_url=gcp.url, authentication="none"),
        )
        async with open_world(*configs) as world:
            yield world, azure, gcp


async def test_a_function_is_called_with_the_key_of_its_step() -> None:
    async with two_clouds(reply({"receipt": 7})) as (world, azure, _):
        run = await world.do("AZURE", given={"amount": 5})
    assert run.output == {"receipt": 7}
    (asked,) = azure.asked
    assert (asked.body, asked.headers["idempotency-key"]) == (b'{"amount":5}', f"{run.id}:pay")


async def test_another_provider_takes_over_with_the_same_key() -> None:
    async with two_clouds(DOWN, reply(1)) as (world, azure, gcp):
        run = await world.do("AZURE", "GCP", retry=Retry(2, 1))
        assert await world.kinds(run.id) == [
            "attempt.started", "attempt.failed", "retry.scheduled",
            "attempt.started", "attempt.failed", "step.failover",
            "attempt.started", "step.completed",
        ]  # fmt: skip
    assert run.output == 1 and len(azure.asked) == 2
    assert {one.headers["idempotency-key"] for one in (*azure.asked, *gcp.asked)} == {
        f"{run.id}:pay"
    }


async def test_a_closed_circuit_does_not_say_that_calls_come_through() -> None:
    async with two_clouds(DOWN, reply(1)) as (world, azure, _):
        await world.do("AZURE", "GCP", retry=Retry(2, 1))
        down, well = world.region("AZURE"), world.region("GCP")
        assert (down.circuit, down.failed_in_row, down.answered_at_ms) == ("closed", 2, None)
        assert (well.circuit, well.failed_in_row) == ("closed", 0)
        assert well.answered_at_ms is not None
        azure.says[:] = [reply({"code": "CardDeclined"}, "422 No")]
        await world.do("AZURE")
        again = world.region("AZURE")
        assert again.failed_in_row == 0, "an error of the function's own is an answer"
        assert again.answered_at_ms is not None


async def test_the_functions_own_error_stays_where_it_is() -> None:
    said = reply({"code": "CardDeclined", "message": "no money"}, "422 No")
    async with two_clouds(said) as (world, _, gcp):
        run = await world.do("AZURE", "GCP")
    assert run.failure is not None and gcp.asked == []
    assert (run.failure.code, run.failure.blame) == ("CardDeclined", "function")


@pytest.mark.parametrize("name", ["AWS", "aws", "IBM", "../x", "Ü" * 80])
async def test_a_provider_that_is_not_configured_is_said_at_once(name: str) -> None:
    async with two_clouds(b"") as (world, _, _gcp):
        run = await world.do(name)
        assert run.failure is not None and run.failure.code == "NotConfigured"
        assert run.failure.message.startswith(f"{name} is not configured: pay ")
        assert "there is AZURE, GCP" in run.failure.message
        (shown,) = [one for one in world.invoker.health() if not one.configured]
    assert shown.name == name and shown.regions[0].failures == {"NotConfigured": 1}


async def test_one_that_is_configured_takes_over_from_one_that_is_not() -> None:
    async with two_clouds(b"") as (world, _, _gcp):
        assert (await world.do("AWS", "GCP")).output == "on GCP"


@pytest.mark.parametrize("name", ["azure", "Azure", "aZuRe"])
async def test_letters_count_alike(name: str) -> None:
    async with two_clouds(reply(1)) as (world, _, _gcp):
        assert (await world.do(name)).output == 1
        assert [one.name for one in world.invoker.health()] == ["AZURE", "GCP"]


async def test_jobs_of_before_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_storage(SqlitePlace(None), tables.FORM) as storage, trio.open_nursery() as own:
        engine = Engine(storage)
        own.start_soon(engine.keep_time)
        made = Step("pay", places=(Place("IBM", "pay"),), retry=ONCE)
        await engine.define(Definition("payment", "pay", {"pay": made}))
        id = (await engine.trigger("payment", None)).id
        after = Engine(storage)
        async with open_invoker((), after, storage, environ={}) as invoker:
            run = await World(after, storage, invoker).ended(id)
        own.cancel_scope.cancel()
    assert run.failure is not None and run.failure.code == "NotConfigured"


async def test_a_circuit_that_is_open_sends_what_comes_elsewhere_at_once() -> None:
    async with two_clouds(DOWN) as (world, azure, gcp):
        for _ in range(circuit.FAILURES_MIN + 2):
            assert (await world.do("AZURE", "GCP")).output == "on GCP"
        assert len(azure.asked) == circuit.FAILURES_MIN
        shown = world.region("AZURE")
        assert (shown.circuit, shown.failed, shown.refused) == ("open", circuit.FAILURES_MIN, 2)
        assert 0 < shown.open_ms <= circuit.OPEN_MS and shown.failures == {"Unavailable": 5}
        assert shown.last_error is not None and "503" in shown.last_error.message
        assert world.region("GCP").circuit == "closed" and len(gcp.asked) == 7


async def test_a_circuit_that_is_half_open_lets_one_try_and_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(circuit, "OPEN_MS", 0)
    async with two_clouds(DOWN) as (world, azure, _):
        tally = world.invoker.tallies.of("AZURE", "")
        tally.circuit._open_ms = 0
        for _ in range(circuit.FAILURES_MIN):
            await world.do("AZURE", "GCP")
        azure.says = [reply('"well again"')]
        assert (await world.do("AZURE", "GCP")).output == "well again"
        assert world.region("AZURE").circuit == "closed"


async def test_of_many_that_come_to_a_half_open_circuit_one_tries_and_another_region_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probing = trio.Event()

    def silent(asked: Asked) -> bytes:
        probing.set()
        return SILENCE

    async with two_clouds(DOWN) as (world, azure, gcp):
        here = Place("AZURE", "pay", "west")
        step = Step("pay", places=(here, Place("GCP", "pay")), retry=ONCE)
        await world.engine.define(Definition("payment", "pay", {"pay": step}))
        for _ in range(circuit.FAILURES_MIN):
            await world.ended((await world.engine.trigger("payment", None)).id)
        found = world.invoker.tallies.of("AZURE", "west").circuit
        assert found.state is circuit.State.OPEN
        found._until_ms = 0  # it was open for as long as it was to be
        azure.says = [silent]
        ids = [(await world.engine.trigger("payment", None)).id for _ in range(8)]
        await probing.wait()
        await until(lambda: len(gcp.asked) == circuit.FAILURES_MIN + 7)
        assert len(azure.asked) == circuit.FAILURES_MIN + 1
        elsewhere = Step("pay", places=(Place("AZURE", "pay", "east"),), retry=ONCE)
        await world.engine.define(Definition("other", "pay", {"pay": elsewhere}))
        azure.says = [reply(1)]
        other = await world.ended((await world.engine.trigger("other", None)).id)
        assert other.output == 1
        await world.engine.cancel(ids[0])


@pytest.mark.parametrize("id", ["../admin", "no such name"])
async def test_what_never_came_to_a_provider_says_nothing_of_its_health(id: str) -> None:
    """A functionId that leads nowhere closed the circuit of a cloud that was down."""
    async with two_clouds(DOWN) as (world, azure, _gcp):
        for _ in range(circuit.FAILURES_MIN):
            await world.do("AZURE", "GCP")
        found = world.invoker.tallies.of("AZURE", "").circuit
        found._until_ms = 0
        wrong = Step("pay", places=(Place("AZURE", id), Place("GCP", "pay")), retry=ONCE)
        await world.engine.define(Definition("wrong", "pay", {"pay": wrong}))
        run = await world.ended((await world.engine.trigger("wrong", None)).id)
        assert run.output == "on GCP" and len(azure.asked) == circuit.FAILURES_MIN
        assert circuit.State(world.region("AZURE").circuit) is circuit.State.HALF_OPEN
        azure.says = [reply('"well again"')]
        assert (await world.do("AZURE")).output == "well again", "its place was left to the next"


async def test_what_is_too_large_for_one_cloud_goes_to_the_next() -> None:
    no = reply({"message": "too large"}, "413 Payload Too Large")
    async with two_clouds(no) as (world, _, _gcp):
        assert (await world.do("AZURE", "GCP")).output == "on GCP"


async def test_a_call_that_may_take_hardly_any_time_is_made_all_the_same() -> None:
    """All of it was kept for telling its end, so nobody was called, and nobody said so."""
    async with two_clouds(SILENCE) as (world, azure, _gcp):
        # On a busy machine an attempt's time may be over before anybody takes it; not of each.
        id = await world.trigger("AZURE", timeout_ms=100, retry=Retry(100, 1, max_delay_ms=10))
        await until(lambda: azure.asked != [])
        failure = await world.failed(id)
        assert failure.code == "Timeout"
        await world.engine.cancel(id)


async def test_all_attempts_at_all_places_have_the_deadline_together() -> None:
    async with two_clouds(DOWN) as (world, _, gcp):
        gcp.says = [SILENCE]
        with patience():
            while not gcp.asked:  # on a busy machine the time may be over before that
                run = await world.do("AZURE", "GCP", retry=Retry(2, 1), deadline_ms=1_000)
                assert run.failure is not None
                assert run.failure.code in ("Timeout", "DeadlineExceeded")
                history = await world.engine.history(run.id)
                (step,) = [one for one in history if isinstance(one, e.StepStarted)]
                attempts = [one for one in history if isinstance(one, e.AttemptStarted)]
                assert {one.due_ms for one in attempts} == {step.at_ms + 1_000}


async def test_a_provider_that_says_when_is_waited_for() -> None:
    said = reply({}, "429 Too Many Requests", retry_after="2000")
    async with two_clouds(said) as (world, azure, _):
        id = await world.trigger("AZURE", retry=Retry(3, 1, max_delay_ms=5_000_000))

        async def look() -> e.RetryScheduled | None:
            history = await world.engine.history(id)
            return next((one for one in history if isinstance(one, e.RetryScheduled)), None)

        assert (await seen(look)).delay_ms == 2_000_000
    assert len(azure.asked) == 1


async def test_a_call_has_no_more_than_its_attempt_has() -> None:
    """The call says so before the time does; on a busy machine not at the first attempt."""
    async with two_clouds(SILENCE) as (world, _, _gcp):
        id = await world.trigger("AZURE", timeout_ms=400, retry=Retry(50, 1, max_delay_ms=10))
        failure = await world.failed(id, blame="provider")
        assert failure.code == "Timeout"
        await world.engine.cancel(id)


async def test_who_had_no_time_is_not_unwell_for_being_too_slow() -> None:
    async with two_clouds(SILENCE) as (world, _, _gcp):
        for _ in range(circuit.FAILURES_MIN + 1):
            run = await world.do("AZURE", timeout_ms=200)
            assert run.failure is not None and run.failure.code == "Timeout"
        assert world.region("AZURE").circuit == "closed"


async def test_so_many_calls_at_a_time_and_no_more() -> None:
    async with two_clouds(SILENCE, concurrency=3) as (world, azure, _):
        await world.trigger("AZURE")
        for _ in range(5):
            await world.engine.trigger("payment", None)
        await until(lambda: len(azure.asked) == 3)
        assert world.region("AZURE").at_work == 3
        invoker.STOP_S, kept = 0.05, invoker.STOP_S
        try:
            world.invoker.stop()
            await until(lambda: world.region("AZURE").at_work == 0)
        finally:
            invoker.STOP_S = kept
    assert len(azure.asked) == 3


async def test_a_gateway_that_stops_finishes_what_is_quick_and_gives_back_what_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(invoker, "STOP_S", 2.0)
    asked_for: list[bytes] = []

    def slow(asked: Asked) -> bytes:
        asked_for.append(asked.body)
        return SILENCE if asked.body == b'"slow"' else reply('"done"')

    async with two_clouds(slow) as (world, _, _gcp):
        slow_one = await world.trigger("AZURE", given="slow")
        await until(lambda: asked_for == [b'"slow"'])
        quick = await world.trigger("AZURE", given="quick")
        await until(lambda: len(asked_for) == 2)
        world.invoker.stop()
        assert (await world.ended(quick)).output == "done"
        await until(lambda: world.region("AZURE").at_work == 0)

        def command(rows: Any, now_ms: int) -> list[tuple[str, bool]]:
            found = rows.execute("SELECT run, free_ms FROM workflow_jobs").fetchall()
            return [(run, free_ms <= now_ms) for run, free_ms in found]

        async def given_back() -> list[tuple[str, bool]] | None:
            found = await world.storage.submit(command)
            return found if found == [(slow_one, True)] else None

        await seen(given_back)
        health = world.region("AZURE")
    assert (health.calls, health.circuit) == (1, "closed")


async def test_a_run_that_is_ended_is_called_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoker, "LOCK_MS", 120)
    async with two_clouds(SILENCE) as (world, azure, _):
        id = await world.trigger("AZURE")
        await until(lambda: len(azure.asked) == 1)
        await world.engine.cancel(id)
        await until(lambda: world.region("AZURE").at_work == 0)


async def test_a_long_call_keeps_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoker, "LOCK_MS", 90)
    async with two_clouds(SILENCE) as (world, azure, _):
        id = await world.trigger("AZURE", timeout_ms=1_500)
        run = await world.ended(id)
    assert len(azure.asked) == 1, "nobody took it again meanwhile"
    assert run.failure is not None and run.failure.code == "Timeout"


async def test_another_gateway_makes_the_call_that_one_gives_back(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invoker, "STOP_S", 0.1)
    monkeypatch.setattr(invoker, "LOOK_S", 0.2)
    place = postgres.place()
    async with open_scripted(SILENCE, reply({"by": "the second"})) as server:
        config = AzureConfig(base_url=server.url, key="the key of a function")
        async with open_world(config, place=place) as first:
            id = await first.trigger("AZURE")
            await until(lambda: len(server.asked) == 1)
            async with open_world(config, place=place) as second:
                first.invoker.stop()
                run = await second.ended(id)
    assert run.output == {"by": "the second"}
    assert [one.headers["idempotency-key"] for one in server.asked] == [f"{id}:pay"] * 2
    assert run.steps["pay"].attempt == 1, "it is the same attempt"
