"""All chaos runs, or some, on the real engines: `make chaos ARGS="--engines camunda7"`.

One engine at a time, one line of progress for whatever happens, a table at the end and the same as
JSON. Thirty nodes without an engine come last. The folder with every node's log stays when a run
was not good, and its path is said.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import trio
from tests.integration.chaos_crowd import Measured, measure
from tests.integration.chaos_engines import KINDS, Kind, open_chaos_engine
from tests.integration.chaos_rows import Row, table
from tests.integration.chaos_scenarios import SCENARIOS, Plan, play
from tests.integration.chaos_wire import missing
from tests.integration.compiling import compile_guest

from gossamer_mesh.testing.commit import commit
from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines.progress import silent

JOBS = 2_000
NODES = 5
CROWD = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for. 0: all good; 1: something was lost, doubled or complained of."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--engines", default=",".join(KINDS), help="camunda7, camunda8")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help=", ".join(SCENARIOS))
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--crowd", type=int, default=CROWD, help="nodes without an engine; 0: none")
    parser.add_argument("--seed", type=int, help="of loss, delay and choices; drawn if not given")
    parser.add_argument("--out", type=Path, default=Path("chaos.json"), help="the rows as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the logs of good runs, too")
    asked = parser.parse_args(arguments)
    kinds = _chosen(asked.engines, KINDS)
    scenarios = _chosen(asked.scenarios, tuple(SCENARIOS))
    lacks = missing()
    if lacks:
        print(f"NOT RUN: {lacks}.", file=sys.stderr)
        return 2
    seed = random.SystemRandom().randrange(2**31) if asked.seed is None else asked.seed
    plans = [Plan(one, asked.jobs, asked.nodes, seed, commit()) for one in scenarios]
    folder = Path(tempfile.mkdtemp(prefix="gossamer-chaos-"))
    print(f"seed {seed}, commit {plans[0].commit}, logs in {folder}", flush=True)
    rows: list[Row] = []
    crowds: list[Measured] = []
    try:
        trio.run(_run, kinds, plans, folder, rows)
        if asked.crowd:
            print(f"starting {asked.crowd} nodes", flush=True)
            home, killed = folder / "crowd", asked.crowd // 3
            home.mkdir()
            crowds.append(trio.run(measure, asked.crowd, killed, home, commit()))
    except LocalEngineMissing as error:
        print(f"NOT RUN: {error}", file=sys.stderr)
        return 2
    finally:
        found = {"runs": [asdict(one) for one in rows], "crowds": [asdict(one) for one in crowds]}
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
        print(f"\n{table(rows)}\n")
        for crowd in crowds:
            print(f"{crowd.sentence()}\n")
        print(f"written to {asked.out}")
    bad = [one for one in rows if not one.is_good]
    for one in bad:
        print(f"\n{one.scenario} on {one.engine}:\n  " + "\n  ".join(one.complaints))
    if bad:
        print(f"\nthe logs are in {folder}")
        return 1
    if asked.keep:
        print(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0


def _chosen(asked: str, known: "tuple[Kind, ...] | tuple[str, ...]") -> "list[str]":
    chosen = [one for one in asked.split(",") if one]
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise SystemExit(f"make chaos: no {', '.join(unknown)}; there are {', '.join(known)}.")
    return chosen


async def _run(kinds: Sequence[str], plans: Sequence[Plan], folder: Path, rows: list[Row]) -> None:
    worker = compile_guest("witnessed", folder)
    began_s = time.monotonic()
    for kind in KINDS:
        if kind not in kinds:
            continue
        print(f"starting {kind}", flush=True)
        async with open_chaos_engine(kind, folder / f"engine-{kind}", silent) as engine:
            for plan in plans:

                def tell(said: str, plan: Plan = plan, kind: Kind = kind) -> None:
                    spent_s = time.monotonic() - began_s
                    print(f"{spent_s:6.1f} s  {kind} {plan.scenario}: {said}", flush=True)

                home = folder / f"{kind}-{plan.scenario}"
                rows.append(await play(plan, engine, worker, home, tell))


if __name__ == "__main__":
    sys.exit(main())
