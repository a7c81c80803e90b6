"""A gateway that is killed again and again loses nothing that it acknowledged: see `killed`.

The thousands are run by hand: `python -m tests.runs.durable.killed sqlite --rounds 3000`.
"""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import trio
from tests.patience import seen
from tests.postgres_fixture import Postgres
from tests.runs.durable import killed
from tests.runs.durable.flows import BUSY, QUEUES, at_second

from gossamer_gateway import tables
from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.engine import Engine, Verdict
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.storage import open_storage

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.processes
@pytest.mark.parametrize(("where", "rounds"), [("sqlite", 120), ("postgres", 8)])
def test_nothing_acknowledged_is_lost_by_kills(
    where: str, rounds: int, request: pytest.FixtureRequest
) -> None:
    if where == "postgres":
        request.getfixturevalue("postgres")  # or it is not run
    # A process of its own: forks of this one would have what all other tests left in it.
    done = subprocess.run(
        [sys.executable, "-m", "tests.runs.durable.killed", where, "--rounds", str(rounds)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "none lost" in done.stdout


async def test_what_is_missing_is_told(tmp_path: Path) -> None:
    """The kill test itself can fail."""
    from gossamer_gateway.storage import SqlitePlace

    acknowledged = killed.Acknowledged()
    acknowledged.read("run nobody")
    acknowledged.read("answer nobody one 1")
    wrong = await killed.look(SqlitePlace(tmp_path / "x"), acknowledged, to_the_end=True)
    assert wrong == ["run nobody is lost", "answer ('nobody', 'one', 1) is lost"]


CRASHES = 3


async def test_a_postgres_that_crashes_loses_no_run(postgres: Postgres) -> None:
    """It is stopped at once in the middle, three times; gateways wait, and go on by themselves."""
    place = postgres.place()
    random = Random(7)
    acknowledged = killed.Acknowledged()
    news = trio.Semaphore(0)

    async with open_storage(place, tables.FORM) as here, open_storage(place, tables.FORM) as there:
        engines = Engine(here), Engine(there)
        await engines[0].define(BUSY)

        async def trigger(engine: Engine) -> None:
            while True:
                try:
                    acknowledged.runs.add((await engine.trigger("busy", {"n": 1})).id)
                except (StorageFailed, Overloaded):
                    continue
                news.release()
                await trio.sleep(random.random() / 100)

        async def work(engine: Engine) -> None:
            while True:
                try:
                    jobs = await engine.fetch(QUEUES, "w", jobs_max=8, lock_ms=100)
                    said = [(one.run, at_second(one)) for one in jobs]
                    verdicts = await engine.answer_all(said)
                    for (run, answer), verdict in zip(said, verdicts, strict=True):
                        if verdict in (Verdict.TAKEN, Verdict.REPEATED):
                            acknowledged.answers.add((run, answer.step, answer.attempt))
                    if not jobs:
                        await engine.wait_free(QUEUES, trio.current_time() + 1)
                except (StorageFailed, Overloaded):
                    continue

        async with trio.open_nursery() as serving:
            async with trio.open_nursery() as triggers:
                for engine in engines:
                    serving.start_soon(engine.keep_time)
                    serving.start_soon(work, engine)
                    triggers.start_soon(trigger, engine)
                for _ in range(CRASHES):
                    for _ in range(20):
                        await news.acquire()
                    await trio.to_thread.run_sync(postgres.crash)
                    await trio.to_thread.run_sync(postgres.start)
                triggers.cancel_scope.cancel()

            async def are_over() -> bool:
                states = [(await engines[0].run(id)).status for id in acknowledged.runs]
                return all(one is Status.COMPLETED for one in states)

            await seen(are_over)
            serving.cancel_scope.cancel()
        assert await check(here) == []
    assert await killed.look(place, acknowledged, to_the_end=False) == []
