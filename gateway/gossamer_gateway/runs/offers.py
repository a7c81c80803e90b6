"""Jobs that workers take: rows of `workflow_jobs`, each locked by one worker at a time.

A lock that runs out frees its job by itself, for the same attempt; what makes an attempt fail is
its own end (`due_ms`), or an answer. Those are taken first that have been free for longest. Of
gateways that share a storage, each leaves jobs that another wrote alone for `STRANGERS_MS`, so that
two seldom reach for the same row; then it takes them as well, for its workers may be the only ones.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from gossamer_gateway.runs.store import Job
from gossamer_gateway.storage import Rows

STRANGERS_MS = 200
"""Less than the time in which a gateway looks whether there is something (`news.LOOK_S`)."""

FETCH_BYTES_MAX = 16 * 2**20
"""Of payloads that one fetch takes, where it takes more than one; the next has the rest."""

LOOKED_AT_MAX = 32
"""Of each queue, to tell when one is free."""


def fetch(
    rows: Rows, now_ms: int, queues: Sequence[str], worker: str,
    *, jobs_max: int, lock_ms: int, writer: int | None,
) -> list[Job]:  # fmt: skip
    """Locks jobs of these queues for a worker, and gives them in the order in which they end.

    Args:
        jobs_max: as many at most; fewer where their payloads are large.
        writer: this gateway; None: it is the only one.
    """
    locked_ms = now_ms + lock_ms
    values: list[str | int] = [locked_ms, worker]
    for queue in queues:
        if writer is None:
            values += [queue, now_ms, jobs_max]
        else:
            values += [queue, now_ms, writer, now_ms - STRANGERS_MS, jobs_max]
    found: list[Any] = rows.execute(
        _fetch(len(queues), whoever=writer is None), (*values, jobs_max, FETCH_BYTES_MAX)
    ).fetchall()
    jobs = [
        Job(run, workflow, step, attempt, queue, msgspec.json.decode(payload), due_ms, locked_ms)
        for run, step, attempt, workflow, queue, due_ms, payload in found
    ]
    return sorted(jobs, key=lambda one: one.due_ms)


@lru_cache(100)
def _fetch(queues: int, *, whoever: bool) -> str:
    """The statement for so many queues: of each a short walk along its index, then of all those
    that have been free for longest, as far as their payloads are few bytes. `so_far` has each
    job's own as well; no payload is read for that."""
    mine = "" if whoever else " AND (writer = ? OR free_ms <= ?)"
    parts = " UNION ALL ".join(
        "SELECT * FROM (SELECT run, step, free_ms, length(payload) AS size"  # noqa: S608
        f" FROM workflow_jobs WHERE queue = ?"
        f" AND free_ms <= ?{mine} ORDER BY free_ms LIMIT ?) AS q{place}"
        for place in range(queues)
    )
    return (
        "UPDATE workflow_jobs SET free_ms = ?, worker = ? WHERE (run, step) IN"  # noqa: S608
        " (SELECT run, step FROM (SELECT run, step, size, SUM(size) OVER"
        " (ORDER BY free_ms, run, step) AS so_far"
        f" FROM ({parts}) AS free ORDER BY free_ms, run, step LIMIT ?) AS nearest"
        " WHERE so_far = size OR so_far <= ?)"
        " RETURNING run, step, attempt, workflow, queue, due_ms, payload"
    )


def extend(
    rows: Rows, now_ms: int, run: str, step: str, attempt: int, worker: str, lock_ms: int
) -> int | None:
    """Locks a job for so long from now. Gives until when; None: it is this worker's no more."""
    locked_ms = now_ms + lock_ms
    queue = _of_worker(rows, locked_ms, run, step, attempt, worker, keep=True)
    return None if queue is None else locked_ms


def release(rows: Rows, now_ms: int, run: str, step: str, attempt: int, worker: str) -> str | None:
    """Frees a job that a worker took. Gives its queue; None: it is this worker's no more."""
    return _of_worker(rows, now_ms, run, step, attempt, worker, keep=False)


def _of_worker(
    rows: Rows, free_ms: int, run: str, step: str, attempt: int, worker: str, *, keep: bool
) -> str | None:
    changed = rows.execute(
        "UPDATE workflow_jobs SET free_ms = ?, worker = ?"
        " WHERE run = ? AND step = ? AND attempt = ? AND worker = ? RETURNING queue",
        (free_ms, worker if keep else None, run, step, attempt, worker),
    ).fetchone()
    return changed[0] if changed else None


def next_free_ms(rows: Rows, queues: Sequence[str], writer: int | None) -> int | None:
    """When a job of these is free for this gateway's workers; None: there is none."""
    return min(
        (
            free_ms if writer in (None, by) else free_ms + STRANGERS_MS
            for queue in queues
            for free_ms, by in rows.execute(
                "SELECT free_ms, writer FROM workflow_jobs WHERE queue = ? ORDER BY free_ms"
                " LIMIT ?",
                (queue, 1 if writer is None else LOOKED_AT_MAX),
            )
        ),
        default=None,
    )
