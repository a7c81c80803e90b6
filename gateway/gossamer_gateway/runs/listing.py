"""Lists for people: runs by what they are, definitions, counts.

Pages are stable: a cursor names the last line that was seen, by the time at which its run was
triggered and its id, so what comes or goes meanwhile moves no line from one page to another. The
newest stand first.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from gossamer_gateway.errors import RequestError
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.storage import Rows

LIMIT_MAX = 1_000
"""Lines of a page."""

COUNT_MAX = 10_000
"""Of each status: to count on would take as long as there are runs."""


class BadCursor(RequestError):
    """It was not given by this list."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs. None: whatever it is.

    Attributes:
        since_ms, until_ms: triggered then or later; before then.
        id: how its id begins.
    """

    workflow: str | None = None
    status: Status | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    id: str | None = None


ALL = Wanted()


@dataclass(frozen=True, slots=True)
class Line:
    """A run, as lists show it."""

    id: str
    workflow: str
    version: int
    executor: str
    status: Status
    seq: int
    triggered_ms: int
    ended_ms: int | None
    key: str | None


def read(
    rows: Rows, wanted: Wanted, cursor: str | None, limit: int
) -> tuple[list[Line], str | None]:
    """A page, and the cursor of the next; None: there is none.

    Raises: BadCursor.
    """
    conditions, values = ["1 = 1"], []
    for column, value in (
        ("workflow = ?", wanted.workflow),
        ("status = ?", wanted.status and wanted.status.value),
        ("triggered_ms >= ?", wanted.since_ms),
        ("triggered_ms < ?", wanted.until_ms),
        ("id >= ?", wanted.id),
        ("id < ?", wanted.id and wanted.id + "\U0010ffff"),
    ):
        if value is not None:
            conditions.append(column)
            values.append(value)
    if cursor is not None:
        conditions.append("(triggered_ms, id) < (?, ?)")
        values += _seen(cursor)
    limit = max(1, min(limit, LIMIT_MAX))
    found = rows.execute(
        "SELECT id, workflow, version, executor, status, seq, triggered_ms, ended_ms,"  # noqa: S608
        f" idempotency_key FROM workflow_runs WHERE {' AND '.join(conditions)}"
        " ORDER BY triggered_ms DESC, id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    lines = [
        Line(id, workflow, version, executor, Status(status), seq, triggered_ms, ended_ms, key)
        for id, workflow, version, executor, status, seq, triggered_ms, ended_ms, key
        in found[:limit]
    ]  # fmt: skip
    has_more = len(found) > limit
    return lines, f"{lines[-1].triggered_ms}.{lines[-1].id}" if has_more else None


def _seen(cursor: str) -> list[Any]:
    head, _, id = cursor.partition(".")
    if not (head.isascii() and head.isdigit() and len(head) < 19 and id):
        raise BadCursor(f"{cursor[:100]!r} is no cursor of this list; begin without one")
    return [int(head), id]


def counts(rows: Rows) -> dict[str, int]:
    """How many runs there are of each status; `COUNT_MAX` are that many or more."""
    found = {}
    for status in Status:
        (found[status.value],) = rows.execute(
            "SELECT count(*) FROM (SELECT 1 FROM workflow_runs WHERE status = ? LIMIT ?) AS some",
            (status.value, COUNT_MAX),
        ).fetchone()
    return found


def read_definitions(
    rows: Rows, cursor: str | None, limit: int
) -> tuple[list[Definition], str | None]:
    """The newest version of each workflow, by id, and the cursor of the next page."""
    limit = max(1, min(limit, LIMIT_MAX))
    found = rows.execute(
        "SELECT data FROM workflow_definitions AS one WHERE id > ? AND version ="
        " (SELECT MAX(version) FROM workflow_definitions WHERE id = one.id) ORDER BY id LIMIT ?",
        (cursor or "", limit + 1),
    ).fetchall()
    made = [msgspec.json.decode(data, type=Definition) for (data,) in found[:limit]]
    return made, made[-1].id if len(found) > limit else None
