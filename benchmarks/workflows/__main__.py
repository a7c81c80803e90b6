"""What runs of three steps cost.

    python -m benchmarks.workflows store [--runs 3000] [--history] [--json]

`store`: the engine on a SQLite file and on PostgreSQL, with jobs fetched and answered by workers in
the same process, so nothing of a network is in it; and beside it the same rows written by hand with
psycopg, one step at a time and in batches, which is what any engine on that database pays.
`--history`: the same with up to a million events of other runs beside it. Processor time is the
figure to trust: rates swing with whatever else the machine does.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import trio
from benchmarks.workflows import by_hand, engine_load, history, postgres
from benchmarks.workflows.measured import Measured, line, table

from gossamer_gateway import tables
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.storage import Place, PostgresPlace, SqlitePlace, open_storage

UNDER_WAY = (16, 256)
HISTORY = (100_000, 300_000, 1_000_000)
"""Events that are there before."""


async def on(place: Place, runs: int, under_way: int, database: int | None = None) -> Measured:
    async with open_storage(place, tables.FORM) as storage:
        await engine_load.measure([Engine(storage)], 100, under_way)
        return await engine_load.measure([Engine(storage)], runs, under_way, database)


async def on_two(place: Place, runs: int, under_way: int, database: int) -> Measured:
    async with (
        open_storage(place, tables.FORM) as one,
        open_storage(place, tables.FORM) as two,
    ):
        engines = [Engine(one), Engine(two)]
        await engine_load.measure(engines, 100, under_way)
        return await engine_load.measure([Engine(one), Engine(two)], runs, under_way, database)


class Shown(dict[str, Measured]):
    """Tells of each measurement when it is done, for the next may take a while."""

    def __setitem__(self, name: str, one: Measured) -> None:
        super().__setitem__(name, one)
        print(line(name, one), file=sys.stderr, flush=True)


def measure_store(runs: int) -> dict[str, Measured]:
    found = Shown()
    with tempfile.TemporaryDirectory() as folder:
        for under_way in UNDER_WAY:
            place = SqlitePlace(Path(folder, f"{under_way}.sqlite"))
            found[f"SQLite, {under_way} under way"] = trio.run(on, place, runs, under_way)
    with postgres.started() as server:
        if server is None:
            return found
        for under_way in UNDER_WAY:
            name = f"PostgreSQL, {under_way} under way"
            found[name] = trio.run(on, server.place(), runs, under_way, server.pid)
        name = f"PostgreSQL, two gateways, {UNDER_WAY[-1]} under way"
        found[name] = trio.run(on_two, server.place(), runs, UNDER_WAY[-1], server.pid)
        for batch in (1, 64):
            name = f"by hand with psycopg, {batch} in a transaction"
            found[name] = by_hand.measure(server.place(), server.pid, runs, batch)
    return found


def measure_history(runs: int) -> dict[str, Measured]:
    """The same again while the history grows."""
    found = Shown()

    async def grow(name: str, place: Place) -> None:
        async with open_storage(place, tables.FORM) as storage:
            await engine_load.measure([Engine(storage)], 200, 256)
            events = 0
            for mark in (0, *HISTORY):
                filling = Engine(storage)
                each = await history.fill(storage, filling, engine_load.LINE.id, 0)
                await history.fill(storage, filling, engine_load.LINE.id, (mark - events) // each)
                events = mark
                found[f"{name}, {mark:,} events before"] = await engine_load.measure(
                    [Engine(storage)], runs, 256
                )

    with tempfile.TemporaryDirectory() as folder:
        trio.run(grow, "SQLite", SqlitePlace(Path(folder, "history.sqlite")))
    with postgres.started() as server:
        if server is not None:
            place: PostgresPlace = server.place()
            trio.run(grow, "PostgreSQL", place)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.workflows")
    parser.add_argument("what", choices=["store"])
    parser.add_argument("--runs", type=int, default=3_000)
    parser.add_argument("--history", action="store_true")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    found = measure_history(wanted.runs) if wanted.history else measure_store(wanted.runs)
    if wanted.json:
        print(json.dumps({name: asdict(one) for name, one in found.items()}, indent=1))
    else:
        print(table("runs of three steps", found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
