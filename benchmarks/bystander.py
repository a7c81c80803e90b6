"""A process that only sleeps, and how late it was woken: what the machine alone does to anybody.

A benchmark on a shared machine measures its neighbours, too. This process has the priority of the
one that it stands beside, and no work, no lock and no interpreter to share, so what it is late the
other would be as well: what the other is late beyond that is its own.

    with Bystander() as bystander:
        ...
    print(bystander.p99_ms, bystander.worst_ms)
"""

import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

TICK_S = 0.002


class Bystander:
    """The process, while it is entered; afterwards what it saw.

    Attributes:
        p99_ms, worst_ms: late beyond `TICK_S`.
    """

    def __init__(self) -> None:
        self.p99_ms = self.worst_ms = 0.0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The end of its input is its sign to stop.
        told, _ = self._process.communicate()
        if kind is None:
            self.p99_ms, self.worst_ms = map(float, told.split())


def main() -> None:
    print("ready", flush=True)
    late_ms = []
    ended = False
    while not ended:
        began_s = time.perf_counter()
        ended = bool(select.select([sys.stdin], [], [], TICK_S)[0])
        if not ended:
            late_ms.append((time.perf_counter() - began_s - TICK_S) * 1_000)
    late_ms = sorted(late_ms) or [0.0]
    print(late_ms[len(late_ms) * 99 // 100], late_ms[-1])


if __name__ == "__main__":
    main()
