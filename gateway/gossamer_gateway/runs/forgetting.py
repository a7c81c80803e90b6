"""Forgets runs that ended long ago, with all their events.

A failed run counts as ended: until it is forgotten it can be retried. Definitions are kept: they
are few, and who reads an old log wants to know what it speaks of. A run whose events are still to
be published waits until they are.
"""

from gossamer_gateway.storage import Rows

SWEPT_MAX = 100
"""Runs that go at once: each has some dozens of events, and others wait for the rows."""

_TABLES = ("workflow_events", "workflow_jobs")


def sweep(rows: Rows, now_ms: int, *, retention_ms: int) -> int:
    """Removes some; returns how many."""
    found = rows.execute(
        "SELECT id FROM workflow_runs WHERE ended_ms < ? AND NOT EXISTS"
        " (SELECT 1 FROM workflow_outbox WHERE run = workflow_runs.id) ORDER BY ended_ms LIMIT ?",
        (now_ms - retention_ms, SWEPT_MAX),
    ).fetchall()
    for table in _TABLES:
        rows.executemany(f"DELETE FROM {table} WHERE run = ?", found)  # noqa: S608
    rows.executemany("DELETE FROM workflow_runs WHERE id = ?", found)
    return len(found)
