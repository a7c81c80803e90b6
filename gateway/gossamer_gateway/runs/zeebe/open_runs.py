"""What the executor asks of the rows: which runs are open, and which workflows there are."""

from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.storage import Rows

PAGE = 200

_OPEN = "executor = 'zeebe' AND ended_ms IS NULL"

SCHEMA = f"""
CREATE INDEX IF NOT EXISTS workflow_runs_zeebe
    ON workflow_runs (status, id, workflow, version, triggered_ms) WHERE {_OPEN};
"""


def pending(rows: Rows, before_ms: int) -> list[str]:
    """Runs that wait to be started since before then."""
    found = rows.execute(
        f"SELECT id FROM workflow_runs WHERE {_OPEN} AND status = ?"  # noqa: S608
        " AND triggered_ms < ? ORDER BY id LIMIT ?",
        (Status.PENDING.value, before_ms, PAGE),
    )
    return [id for (id,) in found]


def running(rows: Rows, after: str) -> list[str]:
    """Runs that run, by id, above one."""
    found = rows.execute(
        f"SELECT id FROM workflow_runs WHERE {_OPEN} AND status = ? AND id > ?"  # noqa: S608
        " ORDER BY id LIMIT ?",
        (Status.RUNNING.value, after, PAGE),
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
