"""What runs of three steps cost, and how soon pages see their events.

    python -m benchmarks.workflows [store] [kafka] [zeebe] [pages] [history] [--quick] [--out FILE]

All but `history` where nothing is named. `store`: the engine on a SQLite file and on PostgreSQL,
with jobs fetched and answered by workers in the same process, so nothing of a network is in it; and
beside it the same rows written by hand with psycopg, which is what any engine on that database
pays. `kafka`: the engine on PostgreSQL, Redis and Kafka, and the yardstick of its processor time,
the same steps through confluent-kafka and psycopg. `zeebe`: runs that a real Zeebe executes.
`pages`: 100 pages that follow, and a browser. `history`: the first again with up to a million
events of other runs beside it. Processor time is the figure to trust: rates swing with whatever
else the machine does.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import trio
from benchmarks.workflows import by_hand, engine_load, history, pages, stack
from benchmarks.workflows.measured import Measured, heads, line, table
from tests.postgres_fixture import open_postgres

from gossamer_gateway import tables
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.storage import Place, PostgresPlace, SqlitePlace, open_storage
from gossamer_mesh.testing.commit import commit

PARTS = ("store", "kafka", "zeebe", "pages", "history")
UNDER_WAY = (16, 256)
PAGES = 100
PAGES_RATES = (5, 20)
"""Runs in a second, of six events each."""
HISTORY = (100_000, 300_000, 1_000_000)
"""Events that are there before."""


async def on(place: Place, runs: int, under_way: int, others: Mapping[str, int]) -> Measured:
    async with open_storage(place, tables.FORM) as storage:
        await engine_load.measure([Engine(storage)], 100, under_way)
        return await engine_load.measure([Engine(storage)], runs, under_way, others)


async def on_two(place: Place, runs: int, under_way: int, others: Mapping[str, int]) -> Measured:
    async with (
        open_storage(place, tables.FORM) as one,
        open_storage(place, tables.FORM) as two,
    ):
        engines = [Engine(one), Engine(two)]
        await engine_load.measure(engines, 100, under_way)
        return await engine_load.measure([Engine(one), Engine(two)], runs, under_way, others)


class Shown(dict[str, Measured]):
    """Tells of each measurement when it is done, for the next may take a while."""

    def __setitem__(self, name: str, one: Measured) -> None:
        super().__setitem__(name, one)
        print(line(name, one, {}), file=sys.stderr, flush=True)


def measure_store(found: Shown, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for under_way in UNDER_WAY:
            place = SqlitePlace(Path(folder, f"{under_way}.sqlite"))
            found[f"SQLite, {under_way} under way"] = trio.run(on, place, runs, under_way, {})
    with open_postgres() as server:
        if server is None:
            return
        others = {"PostgreSQL": server.pid}
        for under_way in UNDER_WAY:
            name = f"PostgreSQL, {under_way} under way"
            found[name] = trio.run(on, server.place(), runs, under_way, others)
        name = f"PostgreSQL, two gateways, {UNDER_WAY[-1]} under way"
        found[name] = trio.run(on_two, server.place(), runs, UNDER_WAY[-1], others)
        for batch in (1, 64):
            name = f"by hand with psycopg, {batch} in a transaction"
            found[name] = by_hand.measure(server.place(), server.pid, runs, batch)


def measure_history(found: Shown, runs: int, marks: Sequence[int]) -> None:
    """The same again while the history grows."""

    async def grow(name: str, place: Place) -> None:
        async with open_storage(place, tables.FORM) as storage:
            await engine_load.measure([Engine(storage)], 200, 256)
            events = 0
            for mark in (0, *marks):
                filling = Engine(storage)
                each = await history.fill(storage, filling, engine_load.LINE.id, 0)
                await history.fill(storage, filling, engine_load.LINE.id, (mark - events) // each)
                events = mark
                found[f"{name}, {mark:,} events before"] = await engine_load.measure(
                    [Engine(storage)], runs, 256
                )

    with tempfile.TemporaryDirectory() as folder:
        trio.run(grow, "SQLite", SqlitePlace(Path(folder, "history.sqlite")))
    with open_postgres() as server:
        if server is not None:
            place: PostgresPlace = server.place()
            trio.run(grow, "PostgreSQL", place)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workflows", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--runs", type=int, default=3_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--out", type=Path, help="writes the figures there as JSON")
    wanted = parser.parse_args()
    # Not argparse's `choices`: with those, naming none is an error.
    for each in wanted.parts:
        if each not in PARTS:
            parser.error(f"there is no part {each!r}, only {', '.join(PARTS)}")
    parts = wanted.parts or PARTS[:-1]
    part = 0.1 if wanted.quick else 1
    runs = round(wanted.runs * part)
    found, grown = Shown(), Shown()
    followed: list[pages.Followed] = []
    print(heads("runs of three steps"), file=sys.stderr)
    if "store" in parts:
        measure_store(found, runs)
    if "kafka" in parts:
        trio.run(stack.measure_kafka, found, runs, UNDER_WAY)
    if "zeebe" in parts:
        trio.run(stack.measure_zeebe, found, runs // 10, UNDER_WAY)
    if "pages" in parts:
        has_browser = shutil.which("chromium") is not None
        for one in pages.over(round(PAGES * part), PAGES_RATES, 20 * part, has_browser):
            followed.append(one)
            print(one, file=sys.stderr, flush=True)
    if "history" in parts:
        measure_history(grown, runs, [round(mark * part) for mark in HISTORY])
    about = {
        "commit": commit(), "machine": platform.machine(), "cores": os.cpu_count(),
        "python": platform.python_version(), "runs": runs,
    }  # fmt: skip
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    if found:
        print(table("runs of three steps", found, stack.yardsticks(found)))
    if grown:
        print(table("as the history grows", grown, {}))
    for one in followed:
        print(one)
    if wanted.out is not None:
        plain = {
            **about,
            "runs of three steps": {name: asdict(one) for name, one in found.items()},
            "as the history grows": {name: asdict(one) for name, one in grown.items()},
            "pages": [asdict(one) for one in followed],
        }
        wanted.out.write_text(json.dumps(plain, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
