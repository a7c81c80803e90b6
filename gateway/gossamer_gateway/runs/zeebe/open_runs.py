"""What the executor asks of the rows: which runs are open, and which workflows there are."""

from collections.abc import Sequence

from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.storage import Rows

PAGE = 200

_OPEN = "executor = 'zeebe' AND status IN ('Pending', 'Running')"


def pending(rows: Rows, before_ms: int, shards: Sequence[int]) -> list[str]:
    """Runs of these parts that wait to be started since before then."""
    if not shards:
        return []
    marks = ", ".join("?" * len(shards))
    found = rows.execute(
        "SELECT id FROM workflow_runs WHERE executor = 'zeebe' AND status = ?"  # noqa: S608
        f" AND triggered_ms < ? AND shard IN ({marks})"
        " ORDER BY triggered_ms, id LIMIT ?",
        (Status.PENDING.value, before_ms, *shards, PAGE),
    )
    return [id for (id,) in found]


def running(rows: Rows, after: tuple[int, str]) -> list[tuple[int, str]]:
    """Runs that run, by when they were triggered and id, above one."""
    found = rows.execute(
        "SELECT triggered_ms, id FROM workflow_runs WHERE executor = 'zeebe' AND status = ?"
        " AND (triggered_ms, id) > (?, ?) ORDER BY triggered_ms, id LIMIT ?",
        (Status.RUNNING.value, *after, PAGE),
    )
    return [(at_ms, id) for at_ms, id in found]


def quiet(rows: Rows, after: tuple[int, str], shards: Sequence[int]) -> list[tuple[int, str, int]]:
    """Runs of these parts that run and wait for nothing but Zeebe: when each was triggered, its id,
    and the number of its newest event. In pages, above one."""
    if not shards:
        return []
    marks = ", ".join("?" * len(shards))
    found = rows.execute(
        "SELECT triggered_ms, id, seq FROM workflow_runs WHERE status = ?"  # noqa: S608
        " AND executor = 'zeebe' AND due_ms IS NULL AND (triggered_ms, id) > (?, ?)"
        f" AND shard IN ({marks}) ORDER BY triggered_ms, id LIMIT ?",
        (Status.RUNNING.value, *after, *shards, PAGE),
    )
    return [(at_ms, id, seq) for at_ms, id, seq in found]


def old(rows: Rows, before_ms: int) -> list[str]:
    """Runs that failed before then, and nobody retried."""
    found = rows.execute(
        "SELECT id FROM workflow_runs WHERE ended_ms < ? AND executor = 'zeebe' AND status = ?"
        " ORDER BY ended_ms LIMIT ?",
        (before_ms, Status.FAILED.value, PAGE),
    )
    return [id for (id,) in found]


def versions(rows: Rows) -> list[tuple[str, int]]:
    """Workflows in their newest version, and those that have open runs."""
    newest = rows.execute(
        "SELECT id, MAX(version) FROM workflow_definitions GROUP BY id"
    ).fetchall()
    running = rows.execute(
        f"SELECT DISTINCT workflow, version FROM workflow_runs WHERE {_OPEN}"  # noqa: S608
    ).fetchall()
    return sorted({(id, version) for id, version in [*newest, *running]})
