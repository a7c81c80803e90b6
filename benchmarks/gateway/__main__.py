"""What the gateway adds to a call, and what clients that wait at it cost.

    python -m benchmarks.gateway [--quick] [--json]

Real engines are started. Every table stands in one run: calls to the engine itself, through the
gateway, and to an application on Hypercorn and trio that only answers.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio
from benchmarks.gateway import load, stage, waiting
from benchmarks.gateway.load import Cost

from gossamer_mesh.testing.commit import commit
from gossamer_node.engines.config import EngineConfig
from gossamer_node.local_engines import printed, start_camunda7, start_zeebe

MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:camunda="http://camunda.org/schema/1.0/bpmn" targetNamespace="bench">
  <process id="BenchWait" isExecutable="true" camunda:historyTimeToLive="P1D">
    <startEvent id="start"/>
    <sequenceFlow id="in" sourceRef="start" targetRef="task"/>
    <serviceTask id="task" camunda:type="external" camunda:topic="bench-wait"/>
    <sequenceFlow id="out" sourceRef="task" targetRef="end"/>
    <endEvent id="end"/>
  </process>
</definitions>
"""

AT_ONCE = (1, 16)
"""Connections."""

DIRECT, THROUGH = "the engine itself", "through the gateway"
PEER, FORWARDER = "bare Hypercorn on trio", "the same, asking by httpx"

Table = dict[str, dict[str, dict[str, Cost]]]


def measure_calls(
    engine: str,
    engine_pid: int,
    gateway: stage.Server,
    bare: stage.Server,
    forwarder: stage.Server,
    count: int,
) -> Table:
    """By call, by who answers it, by how many connections ask at once."""
    tasks = _locked_tasks(engine, max(AT_ONCE))
    body = json.dumps({"workerId": "bench", "newDuration": 3_600_000}).encode()
    calls: dict[str, tuple[list[bytes], int]] = {
        "GET count": ([load.request("GET", "/engine-rest/external-task/count")], 200),
        "POST extendLock": (
            [
                load.request("POST", f"/engine-rest/external-task/{one}/extendLock", body)
                for one in tasks
            ],
            204,
        ),
    }
    table: Table = {}
    base = engine.removesuffix("/engine-rest")
    for what, (asked, status) in calls.items():
        who: dict[str, tuple[str, Sequence[int], int]] = {
            DIRECT: (base, [engine_pid], status),
            THROUGH: (gateway.url, [gateway.pid], status),
            FORWARDER: (forwarder.url, [forwarder.pid], status),
            PEER: (bare.url, [bare.pid], 200),
        }
        table[what] = {
            name: {
                f"{connections}": load.measure(
                    url, asked, pids=pids, count=count, connections=connections, status=expected
                )
                for connections in AT_ONCE
            }
            for name, (url, pids, expected) in who.items()
        }
    return table


def print_calls(table: Table) -> None:
    """Ratios of CPU are to the bare application's."""
    print(
        f"\n{'call':<17}{'who':<27}{'at once':>8}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}"
        f"{'ratio':>7}"
    )
    for what, by in table.items():
        for who, costs in by.items():
            for connections, cost in costs.items():
                ratio = cost.cpu_us / by[PEER][connections].cpu_us
                print(
                    f"{what:<17}{who:<27}{connections:>8}{cost.p50_ms:>9.2f}{cost.p99_ms:>9.2f}"
                    f"{cost.cpu_us:>9.0f}{ratio:>7.2f}"
                )


def print_crowd(one: waiting.Crowd) -> None:
    woken = sorted(one.woken_ms)
    print(
        f"\n{one.clients} long polls of {one.workers} workers: {one.mib_before:.0f} MiB before, "
        f"{one.mib_first:.0f} with them, {one.mib_last:.0f} at the end; "
        f"{one.cpu_share * 100:.1f} % of a core while nothing happens; a start wakes one in "
        f"{woken[len(woken) // 2]:.0f} ms (p50), {woken[-1]:.0f} ms (worst of {len(woken)})"
    )


def _locked_tasks(engine: str, count: int) -> list[str]:
    """Ids of tasks of the engine, locked by worker `bench`."""
    with httpx.Client(base_url=engine, timeout=30) as http:
        http.post("/deployment/create", files={"data": ("bench.bpmn", MODEL)}).raise_for_status()
        for _ in range(count):
            http.post("/process-definition/key/BenchWait/start", json={}).raise_for_status()
        topics = [{"topicName": "bench-wait", "lockDuration": 3_600_000}]
        told = http.post(
            "/external-task/fetchAndLock",
            json={"workerId": "bench", "maxTasks": count, "topics": topics},
        )
        return [str(one["id"]) for one in told.json()]


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Starts what is measured and measures."""
    quick: bool = arguments.quick
    async with (
        start_camunda7(progress=printed()) as seven,
        start_zeebe(progress=printed()) as eight,
    ):
        engines = [
            EngineConfig("c7", "camunda7", seven.url),
            EngineConfig("c8", "camunda8", eight.url, grpc=eight.grpc_address),
        ]
        with (
            tempfile.TemporaryDirectory() as folder,
            stage.gateway(engines, Path(folder)) as gateway,
            stage.bare() as bare,
            stage.bare(seven.url.removesuffix("/engine-rest")) as forwarder,
        ):
            calls = await _in_thread(
                lambda: measure_calls(
                    seven.url,
                    stage.child_of(seven.process.guard_pid),
                    gateway,
                    bare,
                    forwarder,
                    300 if quick else 2_000,
                )
            )
            crowds = []
            for workers in (1, 20) if quick else (1, 2_000):
                crowd = partial(
                    waiting.crowd,
                    gateway,
                    seven.url,
                    clients=200 if quick else 2_000,
                    workers=workers,
                    starts=5 if quick else 30,
                    seconds=3 if quick else 30,
                )
                crowds.append(await _in_thread(crowd))
    return {"calls": calls, "crowds": crowds}


async def _in_thread(what: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(what)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found = trio.run(run, arguments)
    if arguments.json:
        plain = {
            "calls": {
                what: {
                    who: {connections: asdict(cost) for connections, cost in costs.items()}
                    for who, costs in by.items()
                }
                for what, by in found["calls"].items()
            },
            "crowds": [asdict(one) for one in found["crowds"]],
        }
        print(json.dumps({"commit": commit(), **plain}))
        return 0
    print(f"commit {commit()}, {platform.machine()}, {os.cpu_count()} cores")
    print_calls(found["calls"])
    for one in found["crowds"]:
        print_crowd(one)
    return 0


if __name__ == "__main__":
    sys.exit(main())
