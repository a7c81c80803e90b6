"""A gateway that is killed at any instruction, again and again, and what it had acknowledged.

    python -m tests.runs.durable.killed sqlite|postgres [--rounds 3000] [--seed N]

Each round forks a process that opens the storage, has runs go on, and writes each acknowledgement
to a pipe as it comes: a run's id, or an answer that was taken. It is killed when so many lines were
read, some microseconds more or less later: so a kill falls everywhere, and nothing is waited for. A
fork costs milliseconds where a start costs a second. At the end of some rounds, and at the last,
all is looked at: what was acknowledged is in the histories, these fold without a gap, the rows
agree with them, and every run comes to its end.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import trio
from tests.postgres_fixture import open_postgres
from tests.runs.durable.flows import BUSY, LINE, QUEUES, at_second

from gossamer_gateway import tables
from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.engine import Engine, Verdict
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.storage import Place, SqlitePlace, Storage, open_storage

RUNS_OPEN_MAX = 30
"""Under way at once: a round goes on with those of the rounds before."""

LINES = (0, 0, 1, 2, 3, 5, 8, 40)
"""Acknowledgements of a round before its kill."""

LOCK_MS = 1
"""Of jobs: what a killed worker had taken is free at once."""


class Acknowledged:
    """What was said to be on disk: lines that a process wrote before it was killed."""

    def __init__(self) -> None:
        self.runs: set[str] = set()
        self.answers: set[tuple[str, str, int]] = set()

    def read(self, line: str) -> None:
        kind, *words = line.split()
        if kind == "run":
            self.runs.add(words[0])
        else:
            run, step, attempt = words
            self.answers.add((run, step, int(attempt)))


async def _serve(place: Place, tell: Callable[[str], int]) -> None:
    """Triggers and works runs until it is killed."""
    async with open_storage(place, tables.FORM) as storage, trio.open_nursery() as nursery:
        engine = Engine(storage)
        await engine.define(LINE)
        await engine.define(BUSY)
        nursery.start_soon(engine.keep_time)

        async def trigger(turn: int) -> None:
            while True:
                workflow = ("line", "busy")[turn % 2]
                tell(f"run {(await engine.trigger(workflow, {'n': turn})).id}")
                turn += 1
                while await _open_runs(storage) > RUNS_OPEN_MAX:
                    await trio.lowlevel.checkpoint()

        async def work() -> None:
            while True:
                jobs = await engine.fetch(QUEUES, "w", jobs_max=4, lock_ms=LOCK_MS)
                said = [(one.run, at_second(one)) for one in jobs]
                for (run, answer), verdict in zip(said, await engine.answer_all(said), strict=True):
                    if verdict in (Verdict.TAKEN, Verdict.REPEATED):
                        tell(f"answer {run} {answer.step} {answer.attempt}")
                if not jobs:
                    await engine.wait_free(QUEUES, trio.current_time() + 1)

        for turn in range(3):
            nursery.start_soon(trigger, turn)
            nursery.start_soon(work)


async def _open_runs(storage: Storage) -> int:
    return await storage.submit(
        lambda rows, _: rows.execute(
            "SELECT count(*) FROM workflow_runs WHERE status IN ('Pending', 'Running')"
        ).fetchone()[0]
    )


def round_of(place: Place, random: Random, acknowledged: Acknowledged) -> None:
    """Has a process begin, and kills it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            trio.run(_serve, place, lambda text: os.write(writing, text.encode() + b"\n"))
        finally:
            os._exit(1)
    os.close(writing)
    lines = random.choice(LINES)
    with os.fdopen(reading) as told:
        for _ in range(lines):
            line = told.readline()
            assert line, "it ended by itself"
            acknowledged.read(line)
        time.sleep(random.choice((0, 0, 0.001, 0.003)) * random.random())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for line in told:  # written before the kill
            if line.endswith("\n"):
                acknowledged.read(line)


async def look(place: Place, acknowledged: Acknowledged, *, to_the_end: bool) -> list[str]:
    """What is wrong after kills: nothing."""
    async with open_storage(place, tables.FORM) as storage:
        wrong = await check(storage)
        engine = Engine(storage)
        if to_the_end:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.keep_time)
                while await _open_runs(storage):
                    jobs = await engine.fetch(QUEUES, "w", jobs_max=100, lock_ms=LOCK_MS)
                    await engine.answer_all([(one.run, at_second(one)) for one in jobs])
                nursery.cancel_scope.cancel()
            wrong += await check(storage)
        histories = await storage.submit(
            lambda rows, _: rows.execute("SELECT data FROM workflow_events").fetchall()
        )
        runs: set[str] = set()
        answers: set[tuple[str, str, int]] = set()
        for (data,) in histories:
            event = e.decode(data)
            if isinstance(event, e.RunTriggered):
                runs.add(event.run)
            if isinstance(event, e.StepCompleted | e.AttemptFailed | e.AttemptLate):
                answers.add((event.run, event.step, event.attempt))
        wrong += [f"run {id} is lost" for id in acknowledged.runs - runs]
        wrong += [f"answer {one} is lost" for one in acknowledged.answers - answers]
        if to_the_end:
            for id in runs:
                if (await engine.run(id)).status is not Status.COMPLETED:
                    wrong.append(f"run {id} did not complete")
        return wrong


def rounds(place: Place, seed: int, count: int, looks: int = 3) -> Acknowledged:
    """Kills so many times; raises AssertionError for what was lost or is wrong."""
    random = Random(seed)
    acknowledged = Acknowledged()
    for number in range(1, count + 1):
        round_of(place, random, acknowledged)
        if number % max(1, count // looks) == 0 or number == count:
            wrong = trio.run(_looked, place, acknowledged, number == count)
            assert not wrong, (seed, number, wrong)
    return acknowledged


async def _looked(place: Place, acknowledged: Acknowledged, to_the_end: bool) -> list[str]:
    return await look(place, acknowledged, to_the_end=to_the_end)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.runs.durable.killed")
    parser.add_argument("where", choices=["sqlite", "postgres"])
    parser.add_argument("--rounds", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=Random().getrandbits(32))
    wanted = parser.parse_args()
    began_s = time.monotonic()
    if wanted.where == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            place = SqlitePlace(Path(folder, "rows.sqlite"))
            found = rounds(place, wanted.seed, wanted.rounds, looks=20)
    else:
        with open_postgres() as server:
            assert server is not None, "there is no PostgreSQL here"
            found = rounds(server.place(), wanted.seed, wanted.rounds, looks=20)
    took_s = time.monotonic() - began_s
    print(
        f"{wanted.where}: killed {wanted.rounds} times in {took_s:.0f} s (seed {wanted.seed}):"
        f" {len(found.runs)} runs and {len(found.answers)} answers acknowledged, none lost"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
