"""How many instances live in one process, each of which answers a job, and what one costs.

    python benchmarks/bench_density.py [--live 100000] [--guests "C, small;C, SDK"]

For each guest, in a process of its own: a dense service with a key for each instance. One job for
each key makes its instance, a second round of jobs finds all of them alive. Prints KiB of resident
memory each, µs for a first and for a further job (encoding, instance and decoding included), and
the mappings of the process. Then the bounds, by what they say: one instance more than the service
may have; and one more than the machine holds, told for this of so few mappings that half fit.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from gossamer_node.jobs import Completed, Failed, Job, JobRef, Outcome
from gossamer_node.service.spec import Dense, Grant, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.living.capacity import MAPS_MARGIN, Gauge, Measured, cost_of
from gossamer_node.wasm.living.measuring import measure
from gossamer_node.wasm.loading.module import PAGE_BYTES

ROOT = Path(__file__).parents[1]
GUESTS = {
    "C, small": ROOT / "benchmarks" / "density" / "small.wasm",
    "C, SDK": ROOT / "sdk-wasm" / "c" / "conformance" / "worker.wasm",
    "AssemblyScript, SDK": ROOT / "sdk-wasm" / "assemblyscript" / "conformance" / "worker.wasm",
}


def job(number: int, round_: int) -> Job:
    """One for each key and round."""
    return Job(
        JobRef("camunda8", f"{round_}-{number}", "count", "bench", retries=3),
        Variables({"do": "sum", "a": 17, "b": 25, "name": "world"}),
        lock_ms=30_000,
        business_key=f"order-{number}",
    )


def resident_bytes() -> int:
    """Of this process, now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1_024
    raise OSError("/proc/self/status has no VmRSS")


def run(worker: Worker, number: int, round_: int) -> Outcome:
    return worker.run_blocking(job(number, round_), deadline_ms=60_000, context=Detached())


def rounds(worker: Worker, live: int) -> dict[str, float]:
    """Bring so many instances to life, use each again, and say what it cost."""
    figures: dict[str, float] = {}
    before = resident_bytes()
    for round_, name in enumerate(("first_us", "again_us")):
        began_s = time.perf_counter()
        for number in range(live):
            outcome = run(worker, number, round_)
            if not isinstance(outcome, Completed):
                raise SystemExit(f"instance {number + 1:,}: {outcome}")
        figures[name] = (time.perf_counter() - began_s) / live * 1e6
    figures["kib"] = (resident_bytes() - before) / live / 1_024
    figures["maps"] = measure().maps or 0
    return figures


def spec(module: Path, live: int) -> ServiceSpec:
    return ServiceSpec(
        ROOT / "service.yaml",
        "density",
        "1.0.0",
        module=module,
        profile="dense",
        dense=Dense(key="/job/business_key", live=live, when_full="refuse", idle_ms=3_600_000),
    )


def child(module: Path, live: int) -> dict[str, object]:
    """One guest's row, and the two refusals."""
    with tempfile.TemporaryDirectory() as folder:
        with WasmHost(Path(folder) / "cache", threads=1) as host:
            worker = host.load_blocking(spec(module, live), Grant())
            row: dict[str, object] = {**rounds(worker, live)}
            assert host.statistics()["live"] == live
            row["refused"] = refused(run(worker, live, 0))
        maps_max = (measure().maps or 0) + MAPS_MARGIN + live // 4
        told = Gauge(partial(with_mappings, maps_max), time.monotonic)
        with WasmHost(Path(folder) / "cache", threads=1, gauge=told) as host:
            worker = host.load_blocking(spec(module, 1_000_000), Grant())
            most = host.residents.room(cost_of(PAGE_BYTES)).count
            for number in range(most):
                run(worker, number, 0)
            row["machine"] = refused(run(worker, most, 0))
    return row


def with_mappings(most: int) -> Measured:
    return dataclasses.replace(measure(), maps_max=most)


def refused(outcome: Outcome) -> str:
    if not isinstance(outcome, Failed):
        raise SystemExit(f"one more than fits was not refused: {outcome}")
    return outcome.message


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--live", type=int, default=100_000, help="instances (default 100000)")
    parser.add_argument("--guests", default=";".join(GUESTS), metavar="A;B", help="default: all")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(child(Path(arguments.child), arguments.live)))
        return
    print(f"{arguments.live:,} live instances in one process, each of which answers two jobs")
    print(f"{'guest':<22}{'KiB each':>10}{'µs first':>10}{'µs again':>10}{'mappings':>10}")
    sentences: list[str] = []
    for name in filter(None, (one.strip() for one in arguments.guests.split(";"))):
        command = [sys.executable, __file__, "--child", str(GUESTS[name])]
        done = subprocess.run(
            [*command, "--live", str(arguments.live)], check=True, stdout=subprocess.PIPE
        )
        row = json.loads(done.stdout)
        print(
            f"{name:<22}{row['kib']:>10.1f}{row['first_us']:>10.0f}{row['again_us']:>10.0f}"
            f"{row['maps']:>10.0f}"
        )
        sentences = [row["refused"], row["machine"]]
    print(*sentences, sep="\n")


if __name__ == "__main__":
    main()
