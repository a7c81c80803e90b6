"""What a job in a fresh WebAssembly instance costs, beside Extism and wasmtime's own API.

    python -m benchmarks.runtime [--seconds 3] [--json]

Everything in one run: the ways one after another, the steps of a job's variables between engine and
guest, then many jobs under trio. Ratios carry from one machine to another, absolute figures do not.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import trio
from benchmarks.runtime import crowds, guests, steps, ways
from benchmarks.runtime.ways import Convenient, Cost, Prepared, of_json

from gossamer_mesh.testing.commit import commit
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.wasm import WasmHost

FROM_BYTES = "Extism, loading from bytes"
COMPILED = "Extism, compiled before"
CONVENIENT = "wasmtime's own API"
OURS = "Gossamer"

STORE, EXCHANGE, WHOLE = "store + instantiate", "bytes in, bytes out", "whole job, JSON"

Costs = dict[str, dict[str, Cost]]


def one_by_one(built: guests.Guests, folder: Path, seconds: float) -> Costs:
    """By what is done, and by who does it."""
    data = ways.written_job()
    from_bytes = ways.extism_from_bytes(built.extism)
    compiled = ways.extism_compiled(built.extism)
    convenient, prepared = Convenient(built.short), Prepared(built.short)
    assert from_bytes(data) == compiled(data) == convenient.run(data) == prepared.run(data)
    spec = ServiceSpec(folder / "service.yaml", "bench", "1.0.0", module=built.short)
    with WasmHost(folder / "cache") as host:
        worker = host.load_blocking(spec, Grant())
        table: dict[str, dict[str, ways.Way]] = {
            STORE: {CONVENIENT: convenient.instantiate, OURS: prepared.instantiate},
            EXCHANGE: {
                FROM_BYTES: lambda: from_bytes(data),
                COMPILED: lambda: compiled(data),
                CONVENIENT: lambda: convenient.run(data),
                OURS: lambda: prepared.run(data),
            },
            WHOLE: {
                FROM_BYTES: of_json(from_bytes),
                COMPILED: of_json(compiled),
                CONVENIENT: of_json(convenient.run),
                OURS: ways.whole(worker),
            },
        }
        costs = ways.measure(
            {f"{what}\n{who}": way for what, by in table.items() for who, way in by.items()},
            seconds,
        )
    return {what: {who: costs[f"{what}\n{who}"] for who in by} for what, by in table.items()}


def print_costs(costs: Costs) -> None:
    print(f"\n{'one after another':<21}{'':<28}{'p50 µs':>9}{'p99 µs':>9}{'CPU µs':>9}{'ratio':>8}")
    for what, by in costs.items():
        base_us = next(iter(by.values())).p50_us
        for who, cost in by.items():
            print(
                f"{what:<21}{who:<28}{cost.p50_us:>9.1f}{cost.p99_us:>9.1f}{cost.cpu_us:>9.1f}"
                f"{base_us / cost.p50_us:>8.1f}"
            )


def print_crowds(seen: dict[str, dict[str, dict[str, float]]]) -> None:
    print(
        f"\n{'under trio, jobs from JSON to JSON':<54}{'jobs':>7}{'CPU':>7}{'long':>6}"
        f"{'':>7}{'alone, ms':>15}{'loop, ms':>14}{'machine, ms':>14}"
    )
    print(
        f"{'':<54}{'/s':>7}{'µs/job':>7}{'/s':>6}{'cores':>7}"
        + f"{'p50':>8}{'p99':>7}" * 1
        + f"{'p99':>7}{'worst':>7}" * 2
    )
    for who, scenes in seen.items():
        for name, row in scenes.items():
            cpu = f"{row['cpu_us']:.0f}" if row["jobs_per_s"] and not row["long_per_s"] else "-"
            print(
                f"{who:<26}{name:<28}{row['jobs_per_s']:>7.0f}{cpu:>7}{row['long_per_s']:>6.1f}"
                f"{row['cores']:>7.2f}{row['probe_p50_ms']:>8.2f}{row['probe_p99_ms']:>7.1f}"
                f"{row['loop_p99_ms']:>7.1f}{row['loop_worst_ms']:>7.1f}"
                f"{row['machine_p99_ms']:>7.1f}{row['machine_worst_ms']:>7.1f}"
            )


def print_steps(costs: dict[str, dict[str, float]]) -> None:
    sizes = "".join(f"{size:>19}" for size in steps.PAYLOADS)
    print(f"\n{'a job with variables of, CPU µs':<34}{sizes}")
    for step, by in costs.items():
        print(f"{step:<34}" + "".join(f"{cost:>19.1f}" for cost in by.values()))
    sys.stdout.flush()


def goals(costs: Costs, crowd: dict[str, dict[str, float]]) -> dict[str, dict[str, object]]:
    """What the runtime is to reach, and what it did."""
    faster = costs[WHOLE][FROM_BYTES].p50_us / costs[WHOLE][OURS].p50_us
    worst_ms = max(row["loop_worst_ms"] for row in crowd.values())
    store_us, whole_us = costs[STORE][OURS].p50_us, costs[WHOLE][OURS].p50_us
    return {
        "store + instantiate, p50": {"goal": "15 µs", "is": store_us, "met": store_us <= 15},
        "whole job, p50": {"goal": "100 µs", "is": whole_us, "met": whole_us <= 100},
        "times faster than Extism from bytes": {"goal": "10", "is": faster, "met": faster >= 10},
        "loop's worst lateness": {"goal": "20 ms", "is": worst_ms, "met": worst_ms < 20},
    }


def load() -> float:
    return round(os.getloadavg()[0], 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runtime",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args()
    conditions: dict[str, object] = {
        "commit": commit(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "wasmtime": version("wasmtime"),
        "extism": f"{version('extism')}, libextism {version('extism-sys')}",
        "input_bytes": len(ways.written_job()),
        "load_before": load(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Where Extism's wasmtime keeps compiled code: on, as it is without a word, and not at home.
        os.environ["XDG_CACHE_HOME"] = name
        built = guests.build(folder)
        costs = one_by_one(built, folder, given.seconds)
        if not given.json:
            print(", ".join(f"{key} {value}" for key, value in conditions.items()))
            print_costs(costs)
        stepwise = steps.measure(given.seconds)
        if not given.json:
            print_steps(stepwise)
        seen = {}
        for threads in (1, crowds.THREADS):
            scenes = trio.run(crowds.ours, built, folder, threads, given.seconds)
            seen[f"{OURS}, {threads} thread(s)"] = scenes
        scenes = trio.run(crowds.plain, built, crowds.THREADS, given.seconds)
        seen[f"{CONVENIENT}, {crowds.THREADS}"] = scenes
    rows = {who: {name: crowd.row() for name, crowd in by.items()} for who, by in seen.items()}
    told = goals(costs, rows[f"{OURS}, {crowds.THREADS} thread(s)"])
    conditions["load_after"] = load()
    if given.json:
        one = {what: {who: asdict(cost) for who, cost in by.items()} for what, by in costs.items()}
        print(
            json.dumps(
                {
                    "conditions": conditions,
                    "costs": one,
                    "steps": stepwise,
                    "crowds": rows,
                    "goals": told,
                },
                indent=2,
                ensure_ascii=False,
            )
        )
        return
    print_crowds(rows)
    print(f"\n{'goal':<38}{'at most / least':>16}{'measured':>10}")
    for name, goal in told.items():
        print(f"{name:<38}{goal['goal']:>16}{goal['is']:>10.1f}  {'' if goal['met'] else 'missed'}")
    print(f"load average {conditions['load_after']} at the end")


if __name__ == "__main__":
    main()
