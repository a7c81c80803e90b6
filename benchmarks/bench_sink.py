"""What the sink costs and how far it lags: a real Zeebe under a load of starts, exporting to it.

Zeebe, who starts instances, and the sink are processes of their own, so that the sink's CPU is its
own; all share this machine. `python benchmarks/bench_sink.py --rate 200 --seconds 20 --size 1000`
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.gateway.sink_world import EXPORTER, driving, sinking, zeebe_exporting

from gossamer_gateway import tables
from gossamer_gateway.sink import bulk, store
from gossamer_gateway.storage import SqlitePlace, open_storage

AT_ONCE = 32


async def drive(url: str, rate: float, seconds: float) -> None:
    """Starts so many instances a second."""
    started = failed = 0
    limit = trio.CapacityLimiter(AT_ONCE)
    async with httpx.AsyncClient(base_url=f"{url}/v2", trust_env=False, timeout=60) as client:

        async def start(number: int) -> None:
            nonlocal started, failed
            async with limit:
                body = {"processDefinitionId": "order", "variables": {"order": str(number)}}
                answer = await client.post("/process-instances", json=body)
                started += answer.is_success
                failed += not answer.is_success

        async with trio.open_nursery() as nursery:
            begin, number = trio.current_time(), 0
            while (now := trio.current_time() - begin) < seconds:
                while number < now * rate and limit.statistics().tasks_waiting < AT_ONCE:
                    nursery.start_soon(start, number)
                    number += 1
                await trio.sleep(0.005)
        elapsed = trio.current_time() - begin
    print(json.dumps({"started": started, "failed": failed, "seconds": elapsed}))


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(options: argparse.Namespace) -> None:
    lags_ms: list[float] = []
    totals = {"seen": 0, "applied": 0, "bulks": 0, "take_s": 0.0}
    reading: list[Any] = []

    def take(rows: Any, engine: str, read: Any, now_ms: int) -> Any:
        begin = time.thread_time()
        result = store.take(rows, engine, read, now_ms)
        totals["take_s"] += time.thread_time() - begin
        reading.append(read)
        return result

    bulk.take = take  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.sqlite"
        exporter = {**EXPORTER, "args.bulk.size": str(options.size),
                    "args.index.jobBatch": "false"}  # fmt: skip
        async with open_storage(SqlitePlace(file), tables.FORM) as storage:
            submit = storage.submit

            async def timed(command: Any) -> Any:
                result = await submit(command)
                now_ms = time.time() * 1_000
                for read in reading:
                    totals["seen"] += read.seen
                    totals["applied"] += len(read.records)
                    totals["bulks"] += 1
                    lags_ms.extend(
                        now_ms - one.at_ms
                        for one in read.records
                        if one.table == "instances" and one.intent == "ELEMENT_ACTIVATING"
                    )
                reading.clear()
                return result

            storage.submit = timed  # type: ignore[method-assign]
            async with (
                sinking(storage) as sink,
                zeebe_exporting(sink, exporter=exporter) as zeebe,
                driving(zeebe) as driver,
            ):
                await driver.deploy()
                for warm in range(50):
                    await driver.start(order=f"w{warm}")
                await trio.sleep(3)
                lags_ms.clear()
                totals.update(seen=0, applied=0, bulks=0, take_s=0.0)
                before_s = cpu_s()
                load = ["--rate", str(options.rate), "--seconds", str(options.seconds)]
                command = [sys.executable, __file__, "--drive", zeebe.url, *load]
                done = await trio.run_process(command, capture_stdout=True)
                await trio.sleep(5)
                used_s = cpu_s() - before_s
            told = json.loads(done.stdout)
            size = file.stat().st_size + Path(f"{file}-wal").stat().st_size
    ordered = sorted(lags_ms)
    seen, started, seconds = totals["seen"], told["started"], told["seconds"]
    p99 = ordered[int(len(ordered) * 0.99)]
    print(
        f"{started} instances in {seconds:.1f} s ({started / seconds:.0f}/s, {told['failed']} "
        f"refused by Zeebe); bulk.size {options.size}\n"
        f"{seen} records in {totals['bulks']} bulks ({seen / seconds:.0f}/s), "
        f"{totals['applied']} of interest\n"
        f"CPU {used_s / seen * 1e6:.0f} us a record, of which rows "
        f"{totals['take_s'] / seen * 1e6:.0f}; {used_s / started * 1e3:.2f} ms an instance; "
        f"{used_s / seconds * 100:.0f} % of a core\n"
        f"lag p50 {statistics.median(ordered):.0f} ms, p99 {p99:.0f} ms, max {ordered[-1]:.0f} ms\n"
        f"file {size / 2**20:.1f} MB; load {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--size", type=int, default=1_000)
    parser.add_argument("--drive")
    options = parser.parse_args()
    if options.drive:
        trio.run(drive, options.drive, options.rate, options.seconds)
    else:
        trio.run(measure, options)


if __name__ == "__main__":
    main()
