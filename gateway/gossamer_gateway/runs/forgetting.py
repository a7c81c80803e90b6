"""Forgets runs that ended long ago, with all their events.

A failed run counts as ended: until it is forgotten it can be retried. Its idempotency key is free
again afterwards. What is still to be published is kept until it is, however long that takes.
Definitions are kept: they are few, and who reads an old log wants to know what it speaks of.
"""

from gossamer_gateway.storage import Rows

SWEPT_MAX = 300
"""Runs that go at once: others wait for the rows."""

EVENTS_MAX = 5_000
"""Events that go at once, unless a single run has more."""

_TABLES = ("workflow_events", "workflow_jobs")


def sweep(rows: Rows, now_ms: int, *, retention_ms: int) -> int:
    """Removes some; returns how many, or `SWEPT_MAX` when there are more."""
    found = rows.execute(
        "SELECT id, seq FROM workflow_runs WHERE ended_ms < ? AND NOT EXISTS"
        " (SELECT 1 FROM workflow_outbox WHERE workflow_outbox.run = workflow_runs.id)"
        " ORDER BY ended_ms LIMIT ?",
        (now_ms - retention_ms, SWEPT_MAX),
    ).fetchall()
    going: list[tuple[str]] = []
    events = 0
    for id, seq in found:
        events += seq
        if going and events > EVENTS_MAX:
            break
        going.append((id,))
    for table in _TABLES:
        rows.executemany(f"DELETE FROM {table} WHERE run = ?", going)  # noqa: S608
    rows.executemany("DELETE FROM workflow_runs WHERE id = ?", going)
    return len(going) if len(going) == len(found) else SWEPT_MAX
