"""Show what a running node on this machine knows: members, engines, claimers, leases, services.

examples:
  gossamer status
  gossamer status --watch
  gossamer status --data-dir /var/lib/gossamer --json
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gossamer_node import config
from gossamer_node.control import ask

WATCH_S = 1.0
"""Between two looks."""

SERVICES_SHOWN_MAX = 40

WAITING_SHOWN_MAX = 20

LEASES_SHOWN_MAX = 20
"""More scroll off a screen; `--json` has them all."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds which node to ask, and how to show it."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="the node's configuration file")
    parser.add_argument("--name", help="the node's name, if it has another than this machine")
    parser.add_argument("--data-dir", metavar="DIR", help="the node's data folder")
    parser.add_argument("--watch", action="store_true", help="look again every second")
    parser.add_argument("--json", action="store_true", help="one JSON object (a line each look)")


def run(arguments: argparse.Namespace) -> int:
    """Asks the node and prints its answer."""
    data_dir = config.load(arguments).data_dir
    before: dict[str, Any] | None = None
    while True:
        status: dict[str, Any] = ask(data_dir, "status")
        if arguments.json:
            print(json.dumps(status), flush=True)
        else:
            clear = "\x1b[H\x1b[2J" if arguments.watch and sys.stdout.isatty() else ""
            print(clear + "\n".join(lines(status, before)), flush=True)
        if not arguments.watch:
            return 0
        before = status
        time.sleep(WATCH_S)


def lines(status: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Iterator[str]:
    """The status for a person.

    Args:
        status: as `ask` gave it.
        before: an earlier one, from which the rate is told; without it, the rate since the start.
    """
    node, holding, outcomes = status["node"], status["holding"], status["outcomes"]
    yield f"node {node['name']} ({node['id'][:8]}) at {node['address']}, mesh {node['mesh']}"
    yield (
        f"  up {_duration(node['up_seconds'])}, {holding['running']} of {holding['slots']} slots "
        f"busy, {holding['unacknowledged']} outcomes on their way, "
        f"{_rate(status, before):.1f} jobs/s"
    )
    yield (
        f"  jobs here: {outcomes['completed']} completed, {outcomes['bpmn_error']} BPMN errors, "
        f"{outcomes['failed']} failed"
    )
    made, taken = status["calls"]["made"], status["calls"]["taken"]
    if made["called"] or taken["answered"]:
        yield (
            f"  calls of services: {made['called']} made here, {made['open']} of them open, "
            f"{made['unanswered']} without an outcome; {taken['answered']} answered here"
        )
    services, instances = status["registry"], status["instances"]
    yield (
        f"  services: {services['registered']:,} registered, {services['live']} live, "
        f"{services['parked']} parked, {services['waiting']:,} waiting; dense instances: "
        f"{instances['live']} live, {instances['parked']} parked"
    )
    if status["services_beyond"]:
        yield f"  {status['services_beyond']}"
    claimers: dict[str, list[str]] = {}
    for one in status["claimers"]:
        claimers.setdefault(one["engine"], []).append(one["member"])
    yield ""
    yield from table(
        ("MEMBER", "ID", "ADDRESS", "STATE", "CLAIMS FROM"),
        [
            (
                one["name"],
                one["id"][:8],
                one["address"],
                one["state"],
                ", ".join(sorted(name for name, by in claimers.items() if one["name"] in by)),
            )
            for one in status["members"]
        ],
    )
    yield ""
    yield from table(
        ("ENGINE", "ANSWERS", "CLAIMER", "POLLS", "JOBS TAKEN"),
        [
            (
                one["name"],
                f"{one['product']} {one['version']}, {one['transport']}"
                if one["reachable"]
                else "no",
                ", ".join(claimers.get(one["name"], ["nobody"])),
                str(one["polls"]),
                str(one["jobs_activated"]),
            )
            for one in status["engines"]
        ],
    )
    yield ""
    yield from table(
        ("DEMAND", "JOBS", "SLOTS", "DESIRED"),
        [
            (one["engine"], str(one["demand"]), str(one["capacity"]), str(one["desired"]))
            for one in status["demand"]
        ],
    )
    yield ""
    yield from table(
        ("SERVICE", "VERSION", "INSTANCES", "TOPICS"),
        [
            (one["name"], one["version"], str(one["instances"]), ", ".join(one["topics"]))
            for one in status["services"][:SERVICES_SHOWN_MAX]
        ],
    )
    if len(status["services"]) > SERVICES_SHOWN_MAX:
        more = len(status["services"]) - SERVICES_SHOWN_MAX
        yield f"… and {more} more; `gossamer service list` has those that were added"
    waiting = [f"{one['name']} {one['waits']}" for one in status["services"] if one["waits"]]
    yield from waiting[:WAITING_SHOWN_MAX]
    if len(waiting) > WAITING_SHOWN_MAX:
        yield f"… and {len(waiting) - WAITING_SHOWN_MAX} more wait"
    jobs = [one for one in status["jobs"] if one["done"] is not None]
    if jobs:
        yield ""
        yield from table(
            ("JOB HERE", "TOPIC", "CALLED BY", "DONE", "DOING"),
            [
                (
                    one["job"],
                    one["topic"],
                    one["called_by"] or "",
                    f"{one['done']:.0%}",
                    one["doing"],
                )
                for one in jobs[:LEASES_SHOWN_MAX]
            ],
        )
    leases = status["leases"]
    if leases:
        yield ""
        yield from table(
            ("LEASE", "TOPIC", "EPOCH", "STATE", "HOLDER", "DONE"),
            [
                (
                    one["job"],
                    one["topic"],
                    one["epoch"],
                    one["state"],
                    one["holder"] or "",
                    "" if one["done"] is None else f"{one['done']:.0%}",
                )
                for one in leases[:LEASES_SHOWN_MAX]
            ],
        )
        if len(leases) > LEASES_SHOWN_MAX:
            yield f"… and {len(leases) - LEASES_SHOWN_MAX} more"


def _rate(status: Mapping[str, Any], before: Mapping[str, Any] | None) -> float:
    done = sum(status["outcomes"].values())
    seconds = status["node"]["up_seconds"]
    if before is not None and before["node"]["id"] == status["node"]["id"]:
        done -= sum(before["outcomes"].values())
        seconds -= before["node"]["up_seconds"]
    return float(done / seconds) if seconds > 0 else 0.0


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        yield f"{head[0]}: none"
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
