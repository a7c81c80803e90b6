"""What one measurement found, and how processor time is read."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

STEPS = 3
"""Of each run."""


@dataclass(frozen=True)
class Measured:
    """Runs of three steps that do nothing.

    Attributes:
        cpu_us: of this process for each step, with its workers.
        database_us: of the database's processes for each step.
        p50_ms, p99_ms: from the trigger to the completion.
    """

    runs: int
    seconds: float
    cpu_us: float
    database_us: float
    p50_ms: float
    p99_ms: float

    @property
    def runs_s(self) -> float:
        return self.runs / self.seconds

    @property
    def steps_s(self) -> float:
        return self.runs_s * STEPS


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of all is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def own_cpu_s() -> float:
    """Of this process, all threads."""
    times = os.times()
    return times.user + times.system


def cpu_s(pids: Iterable[int]) -> float:
    """Of other processes, with their children that are over."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it is over
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def with_children(pid: int) -> list[int]:
    """A process and those that it started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [pid, *map(int, path.read_text().split())]


def line(name: str, one: Measured) -> str:
    """As people read it."""
    return (
        f"{name:44} {one.runs_s:8,.0f} {one.steps_s:8,.0f} {one.cpu_us:8.0f}"
        f" {one.database_us:10.0f} {one.p50_ms:7.1f} {one.p99_ms:7.1f}"
    )


def table(title: str, found: dict[str, Measured]) -> str:
    """All of them, beneath their heads."""
    heads = f"{title:44}   runs/s  steps/s  µs/step  +database  p50 ms  p99 ms"
    return "\n".join([heads, *(line(name, one) for name, one in found.items())])
