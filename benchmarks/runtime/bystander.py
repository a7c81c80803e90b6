"""A process that only sleeps, and says how late it was woken: what the machine alone does to all.

    python -m benchmarks.runtime.bystander SECONDS

Prints p99 and worst, in ms.
"""

import sys
import time

TICK_S = 0.002


def main(seconds: float) -> None:
    late_ms = []
    end_s = time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < end_s:
        time.sleep(TICK_S)
        late_ms.append((time.perf_counter() - began_s - TICK_S) * 1_000)
    late_ms.sort()
    print(late_ms[len(late_ms) * 99 // 100], late_ms[-1])


if __name__ == "__main__":
    main(float(sys.argv[1]))
