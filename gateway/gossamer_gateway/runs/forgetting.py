"""Forgets runs that ended long ago, with all their events.

A failed run counts as ended: until it is forgotten it can be retried. Its idempotency key is free
again afterwards. Definitions are kept: they are few, and who reads an old log wants to know what it
speaks of. A run whose events are still to be published waits until they are.

A failed run of Zeebe's has an instance there, which goes first: its executor forgets such runs.
"""

from collections.abc import Sequence

from gossamer_gateway.storage import Rows

SWEPT_MAX = 300
"""Runs that go at once: others wait for the rows."""

EVENTS_MAX = 5_000
"""Events that go at once, unless a single run has more."""

_TABLES = ("workflow_events", "workflow_jobs")


def sweep(rows: Rows, now_ms: int, *, retention_ms: int, spares_zeebe: bool = False) -> int:
    """Removes some; returns how many, or `SWEPT_MAX` when there are more.

    Args:
        spares_zeebe: failed runs of Zeebe's are forgotten by their executor.
    """
    spared = "AND NOT (executor = 'zeebe' AND status = 'Failed')" if spares_zeebe else ""
    found = rows.execute(
        f"SELECT id, seq FROM workflow_runs WHERE ended_ms < ? {spared} AND NOT EXISTS"  # noqa: S608
        " (SELECT 1 FROM workflow_outbox WHERE run = workflow_runs.id) ORDER BY ended_ms LIMIT ?",
        (now_ms - retention_ms, SWEPT_MAX),
    ).fetchall()
    going: list[str] = []
    events = 0
    for id, seq in found:
        events += seq
        if going and events > EVENTS_MAX:
            break
        going.append(id)
    forget(rows, going)
    return len(going) if len(going) == len(found) else SWEPT_MAX


def forget(rows: Rows, runs: Sequence[str]) -> None:
    """Removes these, with their events."""
    found = [(one,) for one in runs]
    for table in _TABLES:
        rows.executemany(f"DELETE FROM {table} WHERE run = ?", found)  # noqa: S608
    rows.executemany("DELETE FROM workflow_runs WHERE id = ?", found)
