"""Runs many worlds on all cores: `python -m gossamer_mesh.testing.sim`, what `make sim` does.

Seeds from a base on: a number of them, or as many as fit a time. A failure prints what broke, the
commit, and the one command that shows it again; the summary says what happened in all the runs,
since worlds in which nothing goes wrong would prove nothing.
"""

import argparse
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context

from gossamer_mesh.testing.commit import commit
from gossamer_mesh.testing.lease_checks import InvariantBroken
from gossamer_mesh.testing.world import World

FAILURES_SHOWN_MAX = 5

WATCHED = (
    "crashes", "vanished", "restarts", "mass restarts", "stalls", "stops", "partitions",
    "one-way cuts", "silences", "weathers", "streams broken", "flaps", "lies", "replays",
    "engine outages", "splits", "poisoned", "deaths seen", "runs", "regranted", "adopted",
    "inherited", "given up", "cancelled", "stale", "released", "reported completed",
    "reported failed", "reported gone", "reported not ours",
)  # fmt: skip
"""Counts of the summary, in its order."""


@dataclass
class Tally:
    """What came of some seeds."""

    first: int
    runs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The summary."""
        yield f"seeds {self.first} to {self.first + self.runs - 1}: {len(self.failures)} failed"
        yield ", ".join(f"{name} {self.counts[name]:,}" for name in WATCHED if self.counts[name])


def run_one(seed: int) -> tuple[int, dict[str, int], str]:
    """One world: its seed, what happened, and what broke, empty for nothing."""
    world = World(seed)
    try:
        world.run()
    except InvariantBroken as broken:
        return seed, world.counts, str(broken)
    except Exception as error:
        replay = f"python -m gossamer_mesh.testing.world {seed}"
        return seed, world.counts, f"seed {seed}: {error!r}; replay: {replay}"
    return seed, world.counts, ""


def run_many(
    first: int, *, seeds: int | None = None, seconds: float | None = None, progress: bool = False
) -> Tally:
    """Runs worlds in processes of their own, one a core, until either bound."""
    began_s = time.monotonic()
    tally = Tally(first)
    cores = len(os.sched_getaffinity(0))

    def wanted() -> Iterator[int]:
        seed = first
        while (seeds is None or seed < first + seeds) and (
            seconds is None or time.monotonic() - began_s < seconds
        ):
            yield seed
            seed += 1

    with get_context("spawn").Pool(cores) as pool:
        queue = wanted()
        running = [pool.apply_async(run_one, (seed,)) for seed in islice(queue, 2 * cores)]
        while running:
            _, counts, broken = running.pop(0).get()
            tally.runs += 1
            tally.counts.update(counts)
            if broken:
                tally.failures.append(broken)
                if len(tally.failures) <= FAILURES_SHOWN_MAX:
                    print(f"\n{broken} (commit {commit()})", flush=True)
            following = next(queue, None)
            if following is not None:
                running.append(pool.apply_async(run_one, (following,)))
            if progress:
                passed_s = time.monotonic() - began_s
                line = f"{tally.runs} worlds in {passed_s:.0f} s, {len(tally.failures)} failed"
                print(f"\r{line}", end="", file=sys.stderr, flush=True)
    if progress:
        print(file=sys.stderr)
    return tally


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gossamer_mesh.testing.sim", description=__doc__
    )
    parser.add_argument("--base", type=int, help="the first seed; drawn when it is not given")
    bound = parser.add_mutually_exclusive_group(required=True)
    bound.add_argument("--seeds", type=int, help="so many")
    bound.add_argument("--hours", type=float, help="as many as fit")
    options = parser.parse_args(arguments)
    base = secrets.randbelow(10**9) if options.base is None else options.base
    print(f"base seed {base}, commit {commit()}", flush=True)
    seconds = None if options.hours is None else options.hours * 3_600
    tally = run_many(base, seeds=options.seeds, seconds=seconds, progress=sys.stderr.isatty())
    print(*tally.lines(), sep="\n")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
