"""What a lost lease waits for in a busy mesh: the next free slot of all, or that of one of two.

A node dies while every slot of the mesh is busy and the engine has more. Its leases either wait at
the claimer for the next credit of any holder (what `leases/granting.py` does), or each goes at once
to the less loaded of two random holders and waits in that one's backlog (Mitzenmacher, 2001). The
second saves the way from a freed slot to the claimer and back, and pays with the choice among all
slots. Prints the time from the loss to the run, for both:

    python -m gossamer_mesh.testing.two_choices [SEED]
"""

import random
import sys
from heapq import heapify, heappop, heappush

HOP_MS = 1.0
"""One way between two nodes of a data centre, with the time that both need to notice."""

SLOTS = 8
RUNS = 400


def waits_ms(
    rng: random.Random, holders: int, work_ms: float, two_choices: bool, varies: bool
) -> list[float]:
    """How long the leases of one dead node wait for their second run.

    Args:
        holders: that are left.
        work_ms: a job's mean time.
        two_choices: the policy.
        varies: times are exponential; otherwise all equal, begun at random moments.
    """

    def duration_ms() -> float:
        return rng.expovariate(1 / work_ms) if varies else work_ms

    # A busy slot seen at a random moment; of an exponential time as much is left as there was.
    free_ms = [
        (rng.expovariate(1 / work_ms) if varies else rng.uniform(0, work_ms), holder)
        for holder in range(holders)
        for _ in range(SLOTS)
    ]
    heapify(free_ms)
    backlogs = [0] * holders
    if two_choices:
        for _ in range(SLOTS):
            one, other = rng.sample(range(holders), 2)
            backlogs[one if backlogs[one] <= backlogs[other] else other] += 1
    waiting = SLOTS
    waits: list[float] = []
    while waiting:
        now_ms, holder = heappop(free_ms)
        begin_ms = now_ms
        if not two_choices:
            begin_ms += 2 * HOP_MS
            waiting -= 1
            waits.append(begin_ms)
        elif backlogs[holder]:
            begin_ms = max(now_ms, HOP_MS)
            backlogs[holder] -= 1
            waiting -= 1
            waits.append(begin_ms)
        heappush(free_ms, (begin_ms + duration_ms(), holder))
    return waits


def percentiles_ms(
    seed: int, holders: int, work_ms: float, two_choices: bool, varies: bool
) -> tuple[float, float]:
    """p50 and p99 over many deaths."""
    rng = random.Random(seed)
    waits = sorted(
        wait_ms
        for _ in range(RUNS)
        for wait_ms in waits_ms(rng, holders, work_ms, two_choices, varies)
    )
    return waits[len(waits) // 2], waits[len(waits) * 99 // 100]


def main() -> None:
    """Prints the table."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print("holders  work ms  times         next credit p50/p99   two choices p50/p99  (ms)")
    for holders in (3, 10, 50):
        for work_ms in (20, 1_000, 10_000):
            for varies in (True, False):
                credit = percentiles_ms(seed, holders, work_ms, False, varies)
                two = percentiles_ms(seed, holders, work_ms, True, varies)
                print(
                    f"{holders:7}  {work_ms:7}  {'exponential' if varies else 'equal':11}"
                    f"  {credit[0]:9.1f} {credit[1]:9.1f}  {two[0]:9.1f} {two[1]:9.1f}"
                )


if __name__ == "__main__":
    main()
