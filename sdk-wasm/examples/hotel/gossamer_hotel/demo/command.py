"""See it work: hotel reservations on a mesh of nodes, from a real engine, checked to the last one.

examples:
  gossamer demo
  gossamer demo --engine camunda7 --kill
  gossamer demo --engine camunda8 --reservations 500 --nodes 5
  gossamer demo --engine camunda8 --url http://localhost:8080 --json
  gossamer demo failover --help       other demos have names
"""

import argparse
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import trio

from gossamer_hotel import bpmn_files
from gossamer_hotel.demo.play import Progress, jobs_done, play, regrants
from gossamer_hotel.demo.processes import Node, open_nodes
from gossamer_hotel.demo.show import Show, print_summary
from gossamer_hotel.demo.stage import hotel_settings, open_engine_process
from gossamer_hotel.demo.verdict import Verdict, judge
from gossamer_hotel.effects import read_effects
from gossamer_hotel.microservices import serve_microservices
from gossamer_hotel.reservations import make_reservations
from gossamer_node.cli.helping import describe
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.errors import InputError
from gossamer_node.local_engines.progress import Progress as Report
from gossamer_node.local_engines.progress import printed, silent
from gossamer_node.scratch import play_in_scratch

OTHERS = "gossamer.demos"
"""Entry points of the demos beside this one."""

NODES_MAX = 50
"""Each node is a process of some 60 MB."""

RESERVATIONS_MAX = 100_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds which engine, how many of what, and how to show it."""
    parser.add_argument(
        "--engine",
        choices=("embedded", "camunda7", "camunda8"),
        default="embedded",
        help="which engine holds the processes (default: embedded, which needs no Java)",
    )
    parser.add_argument("--url", help="an engine that runs already (default: one is started)")
    parser.add_argument("--nodes", type=int, default=3, help="node processes (default: 3)")
    parser.add_argument(
        "--reservations", type=int, default=50, help="process instances to start (default: 50)"
    )
    parser.add_argument(
        "--kill", action="store_true", help="kill a node in the middle, with jobs in its hands"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and no progress")
    _configure_others(parser)


def _configure_others(parser: argparse.ArgumentParser) -> None:
    """Adds the demos that have names: modules as those of commands, in a group of their own."""
    others = metadata.entry_points(group=OTHERS)
    if not others:
        return
    named = parser.add_subparsers(metavar="NAME", title="other demos")
    for entry in sorted(others, key=lambda one: one.name):
        module: ModuleType = entry.load()
        first_line = (module.__doc__ or "").partition("\n")[0].rstrip(".")
        other = named.add_parser(entry.name, help=first_line)
        describe(other, module.__doc__ or "")
        other.set_defaults(demo_module=module)
        module.configure(other)


def run(arguments: argparse.Namespace) -> int:
    """Plays and judges. 0: every reservation ended as it must, once; 1: not so."""
    other: ModuleType | None = getattr(arguments, "demo_module", None)
    if other is not None:
        status: int = other.run(arguments)
        return status
    if not 1 <= arguments.nodes <= NODES_MAX:
        raise InputError(f"--nodes {arguments.nodes}: write a number from 1 to {NODES_MAX}.")
    if not 1 <= arguments.reservations <= RESERVATIONS_MAX:
        raise InputError(
            f"--reservations {arguments.reservations}: write a number from 1 to {RESERVATIONS_MAX}."
        )
    if arguments.kill and arguments.nodes < 2:
        raise InputError("--kill with one node leaves nobody to go on; use --nodes 2 or more.")
    good = play_in_scratch(
        "demo", "The logs and databases", lambda folder: trio.run(_run, arguments, folder)
    )
    return 0 if good else 1


async def _run(arguments: argparse.Namespace, folder: Path) -> bool:
    report: Report = silent if arguments.json else printed()
    reservations = make_reservations(arguments.reservations, secrets.randbelow(1_000_000))
    progress = Progress(len(reservations))
    played = trio.Event()
    async with trio.open_nursery() as nursery:
        config = await nursery.start(_hold_engine, arguments, folder, report, played)
        origins = await nursery.start(serve_microservices, folder / "hotel")
        engine = open_engine(config)
        await engine.deploy(bpmn_files("camunda8" if config.kind == "camunda8" else "camunda7"))
        settings = [hotel_settings(config, origins)] * arguments.nodes
        async with open_nodes(settings, folder, report) as nodes:
            async with trio.open_nursery() as stage:
                if not arguments.json:
                    title = f"Hotel reservations on {arguments.engine}, {len(nodes)} nodes"
                    stage.start_soon(Show(title, nodes, progress, sys.stdout).run)
                await play(engine, nodes, reservations, progress, kill=arguments.kill)
                seconds = trio.current_time() - progress.began_ms / 1_000
                stage.cancel_scope.cancel()
            verdict = judge(reservations, progress.endings, read_effects(folder / "hotel"))
            result = _result(arguments.engine, nodes, progress, verdict, seconds)
            good = _is_good(result, len(reservations), arguments.kill)
            if arguments.json:
                print(json.dumps(result), flush=True)
                for one in verdict.complaints:
                    print(one, file=sys.stderr)
            else:
                print_summary(result, verdict.complaints, good)
            report("stopping", None)
            # Nodes never cut a poll off; one whose engine stops has nothing left to wait for.
            played.set()
        await engine.aclose()
        nursery.cancel_scope.cancel()
    return good


async def _hold_engine(
    arguments: argparse.Namespace,
    folder: Path,
    report: Report,
    played: trio.Event,
    *,
    task_status: trio.TaskStatus[EngineConfig],
) -> None:
    """Keeps the engine until the play is over."""
    async with open_engine_process(arguments.engine, arguments.url, folder, report) as config:
        task_status.started(config)
        await played.wait()


def _result(
    engine: str, nodes: Sequence[Node], progress: Progress, verdict: Verdict, seconds: float
) -> dict[str, Any]:
    """What `--json` prints."""
    killed = 1 if progress.victim else 0
    jobs = sum(jobs_done(one) for one in nodes)
    return {
        "engine": engine,
        "nodes": len(nodes),
        "started": progress.started,
        "completed": verdict.completed,
        "rejected": verdict.rejected,
        "invalid": verdict.invalid,
        "lost": verdict.lost,
        "effective_twice": verdict.effective_twice,
        "nodes_killed": killed,
        "recovered_leases": regrants(nodes) - progress.regrants_before if killed else 0,
        "seconds": round(seconds, 1),
        "jobs_per_second": round(jobs / seconds, 1),
    }


def _is_good(result: Mapping[str, Any], wanted: int, kill: bool) -> bool:
    recovered = result["nodes_killed"] == 1 and result["recovered_leases"] >= 1
    return (
        result["started"] == wanted
        and result["lost"] == 0
        and result["effective_twice"] == 0
        and (recovered or not kill)
    )
