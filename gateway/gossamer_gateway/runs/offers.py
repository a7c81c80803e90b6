"""Jobs that workers take: rows of `workflow_jobs`, each locked by one worker at a time.

A lock that runs out frees its job by itself, for the same attempt; what makes an attempt fail is
its own end (`due_ms`), or an answer. The oldest are taken first. Of gateways that share a storage,
each leaves the jobs of others' shards alone for `STRANGERS_MS`, so that two seldom reach for the
same row; then it takes them as well, for its workers may be the only ones.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from gossamer_gateway.runs.store import Job
from gossamer_gateway.storage import Rows

STRANGERS_MS = 200
"""Less than the time in which a gateway looks whether there is something (`engine.LOOK_MS`)."""

WINDOW = 4
"""Times the jobs that are asked for: how many are looked at, to find those of one's own shards."""


def fetch(
    rows: Rows, now_ms: int, queues: Sequence[str], worker: str,
    *, jobs_max: int, lock_ms: int, own: Collection[int] | None,
) -> list[Job]:  # fmt: skip
    """Locks jobs of these queues for a worker; gives what there is.

    Args:
        own: shards of this gateway; None: all are.
    """
    marks = ", ".join("?" * len(queues))
    found: list[Any] = rows.execute(
        "SELECT run, step, attempt, workflow, queue, due_ms, payload, shard, free_ms"  # noqa: S608
        f" FROM workflow_jobs WHERE queue IN ({marks}) AND free_ms <= ? ORDER BY free_ms LIMIT ?",
        (*queues, now_ms, jobs_max if own is None else WINDOW * jobs_max),
    ).fetchall()
    if own is not None:
        found = [one for one in found if one[7] in own or one[8] <= now_ms - STRANGERS_MS]
    taken = found[:jobs_max]
    locked_ms = now_ms + lock_ms
    if taken:
        rows.executemany(
            "UPDATE workflow_jobs SET free_ms = ?, worker = ? WHERE run = ? AND step = ?",
            [(locked_ms, worker, one[0], one[1]) for one in taken],
        )
    return [
        Job(run, workflow, step, attempt, queue, msgspec.json.decode(payload), due_ms, locked_ms)
        for run, step, attempt, workflow, queue, due_ms, payload, _, _ in taken
    ]


def extend(
    rows: Rows, now_ms: int, run: str, step: str, attempt: int, worker: str, lock_ms: int
) -> int | None:
    """Locks a job for so long from now. Gives until when; None: it is this worker's no more."""
    locked_ms = now_ms + lock_ms
    is_his = _of_worker(rows, locked_ms, run, step, attempt, worker, keep=True)
    return locked_ms if is_his else None


def release(rows: Rows, now_ms: int, run: str, step: str, attempt: int, worker: str) -> bool:
    """Frees a job that a worker took. False: it is this worker's no more."""
    return _of_worker(rows, now_ms, run, step, attempt, worker, keep=False)


def _of_worker(
    rows: Rows, free_ms: int, run: str, step: str, attempt: int, worker: str, *, keep: bool
) -> bool:
    changed = rows.execute(
        "UPDATE workflow_jobs SET free_ms = ?, worker = ?"
        " WHERE run = ? AND step = ? AND attempt = ? AND worker = ?",
        (free_ms, worker if keep else None, run, step, attempt, worker),
    )
    return changed.rowcount > 0


def next_free_ms(rows: Rows, queues: Sequence[str]) -> int | None:
    """When a job of these is free; None: there is none."""
    each = (
        rows.execute(
            "SELECT free_ms FROM workflow_jobs WHERE queue = ? ORDER BY free_ms LIMIT 1", (queue,)
        ).fetchone()
        for queue in queues
    )
    return min((found[0] for found in each if found), default=None)
