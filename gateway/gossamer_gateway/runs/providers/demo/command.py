"""A payment that goes on while clouds fail: AWS is killed in its middle, then Google.

The functions run on the clouds' own runtimes, on this machine; no cloud is asked, and no account is
needed. Runtimes are installed at first use, each into an environment of its own.

examples:
  gossamer demo failover
  gossamer demo failover --hold       leave it up, to look at the page
  gossamer demo failover --json
"""

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import trio

from gossamer_gateway.runs.providers.demo.play import ORDER, Payment, play
from gossamer_gateway.runs.providers.demo.stage import Stage, open_stage
from gossamer_gateway.runs.providers.demo.telling import Teller
from gossamer_node.local_engines.progress import printed, silent
from gossamer_node.scratch import play_in_scratch

ANSWER_S = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds how to show it."""
    parser.add_argument("--json", action="store_true", help="print one JSON object and no progress")
    parser.add_argument(
        "--hold", action="store_true", help="leave gateway and page up until Ctrl-C"
    )


def run(arguments: argparse.Namespace) -> int:
    """Plays and judges. 0: every payment was completed, its money taken once; 1: not so."""
    good = play_in_scratch(
        "failover", "The logs and the ledger", lambda folder: trio.run(_run, arguments, folder)
    )
    return 0 if good else 1


async def _run(arguments: argparse.Namespace, folder: Path) -> bool:
    teller = Teller(sys.stderr if arguments.json else sys.stdout)
    report = silent if arguments.json else printed()
    async with open_stage(folder, report) as stage:
        page = f"{stage.url}/live/"
        if not arguments.json:
            for one in stage.clouds.values():
                teller.line(f"{one.name:<6} {one.runtime}")
            teller.line(f"Page   {page}\n")
        async with httpx.AsyncClient(
            base_url=stage.url, timeout=ANSWER_S, trust_env=False
        ) as client:
            tell = (lambda _s, _event: None) if arguments.json else teller.tell
            payments = await play(stage, client, tell)
            health = (await client.get("/v1/workflow/providers")).json()["providers"]
        good = is_good(payments)
        if arguments.json:
            print(json.dumps(_result(stage, payments, health, page, good)), flush=True)
        else:
            teller.summary(payments, good)
        if arguments.hold:
            # Not by an exception, which would come out of the sentence itself where it is early.
            with trio.open_signal_receiver(signal.SIGINT) as interrupts:
                teller.line(f"\n{page} stays until Ctrl-C; settings: {stage.config}")
                await anext(aiter(interrupts))
    return good


def is_good(payments: Sequence[Payment]) -> bool:
    """Whether each was completed by the cloud after the one that was killed, and charged once."""
    return len(payments) == 2 and all(
        one.status == "Completed"
        and one.charged == 1
        and one.output.get("chargedBy") == ORDER[ORDER.index(one.killed) + 1]
        for one in payments
    )


def _result(
    stage: Stage, payments: Sequence[Payment], health: Any, page: str, good: bool
) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "good": good,
        "payments": [dataclasses.asdict(one) for one in payments],
        "runtimes": {one.name: one.runtime for one in stage.clouds.values()},
        "providers": health,
        "page": page,
    }
