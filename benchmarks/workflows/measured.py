"""What one measurement found, and how processor time is read."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STEPS = 3
"""Of each run."""


@dataclass(frozen=True)
class Measured:
    """Runs of three steps that do nothing.

    Attributes:
        under_way: runs at any time; None where nothing bounds them.
        cpu_us: of this process for each step; the workers are in it unless they are among others.
        others_us: of other processes for each step, by what they are.
        p50_ms, p99_ms: from the trigger to the completion.
    """

    runs: int
    under_way: int | None
    seconds: float
    cpu_us: float
    others_us: Mapping[str, float]
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
    return time.process_time()


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


class Meter:
    """Processor time from its making on.

    Args:
        others: what is measured beside this process, each by the first of its processes.
        under_way: runs at any time.
    """

    def __init__(self, others: Mapping[str, int], under_way: int | None) -> None:
        self._under_way = under_way
        self._others = others
        self._others_s = self._read()
        self._own_s = own_cpu_s()
        self._began_s = time.perf_counter()

    def measured(self, began: Mapping[str, float], ended: Mapping[str, float]) -> Measured:
        """What became of runs whose beginnings and ends these are."""
        seconds = time.perf_counter() - self._began_s
        own_s, others_s = own_cpu_s() - self._own_s, self._read()
        steps = len(ended) * STEPS
        took_ms = [(at_s - began[id]) * 1_000 for id, at_s in ended.items()]
        return Measured(
            len(ended),
            self._under_way,
            seconds,
            own_s / steps * 1e6,
            {who: (at_s - self._others_s[who]) / steps * 1e6 for who, at_s in others_s.items()},
            percentile(took_ms, 0.5),
            percentile(took_ms, 0.99),
        )

    def _read(self) -> dict[str, float]:
        return {who: cpu_s(with_children(pid)) for who, pid in self._others.items()}


Yardsticks = Mapping[int | None, Sequence[Measured]]
"""By the runs under way."""


def heads(title: str) -> str:
    """Above `line`."""
    return f"{title:56} runs/s  steps/s  µs/step  {'ratios':16}   p50 ms   p99 ms  others' µs/step"


def line(name: str, one: Measured, yardsticks: Yardsticks) -> str:
    """As people read it. The ratios are of this process's µs to the yardsticks'."""
    ratios = " / ".join(
        f"{one.cpu_us / each.cpu_us:.1f}" for each in yardsticks.get(one.under_way, ())
    )
    others = ", ".join(f"{who} {used_us:.0f}" for who, used_us in one.others_us.items())
    return (
        f"{name:54} {one.runs_s:8,.0f} {one.steps_s:8,.0f} {one.cpu_us:8.0f}  {ratios:16}"
        f" {one.p50_ms:8.1f} {one.p99_ms:8.1f}  {others}"
    )


def table(title: str, found: Mapping[str, Measured], yardsticks: Yardsticks) -> str:
    """All of them, beneath their heads."""
    return "\n".join([heads(title), *(line(name, one, yardsticks) for name, one in found.items())])
