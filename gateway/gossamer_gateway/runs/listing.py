"""Lists of definitions and runs, a page at a time, from their rows alone: no run is read for them.

A page begins after a place, in an order that never changes for what is there: definitions by id,
versions downwards, runs from the newest. What is added meanwhile is on no page that was asked for
before, and nothing is on two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.storage import Rows, Value

VERSION_END = 2**31
"""Versions are below it."""

AFTER_ALL = chr(0x10FFFF)
"""Both storages order texts by code points, so what begins with a text is before this behind it."""


@dataclass(frozen=True, slots=True)
class Defined:
    """A version of a workflow. `at_ms`: when it was made."""

    definition: Definition
    at_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of runs ends: the last run on it."""

    triggered_ms: int
    id: str


@dataclass(frozen=True, slots=True)
class Found:
    """A run as its row has it."""

    id: str
    workflow: str
    version: int
    executor: str
    status: str
    triggered_ms: int
    ended_ms: int | None
    key: str | None

    @property
    def place(self) -> Place:
        return Place(self.triggered_ms, self.id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs; None: any. `since_ms` is the first moment that counts, `until_ms` none.

    Attributes:
        ids: whose id is one of these, or begins with one; empty: any.
    """

    workflow: str | None = None
    status: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    ids: tuple[str, ...] = ()


def workflows(rows: Rows, after: str | None, limit: int) -> list[Defined]:
    """The newest version of each workflow, by id."""
    return _defined(
        rows,
        "SELECT d.data, d.at_ms FROM workflow_definitions d WHERE d.id > ? AND d.version ="
        " (SELECT MAX(version) FROM workflow_definitions WHERE id = d.id)"
        " ORDER BY d.id LIMIT ?",
        (after or "", limit),
    )


def versions(rows: Rows, id: str, below: int | None, limit: int) -> list[Defined]:
    """The versions of a workflow, the newest first; empty where there is no such workflow."""
    return _defined(
        rows,
        "SELECT data, at_ms FROM workflow_definitions WHERE id = ? AND version < ?"
        " ORDER BY version DESC LIMIT ?",
        (id, VERSION_END if below is None else below, limit),
    )


def version(rows: Rows, id: str, number: int | None) -> Defined | None:
    """A version of a workflow, or its newest."""
    found = versions(rows, id, None if number is None else number + 1, 1)
    return next((one for one in found if number in (None, one.definition.version)), None)


def runs(rows: Rows, wanted: Wanted, after: Place | None, limit: int) -> list[Found]:
    """Runs, the newest first."""
    terms: list[str] = []
    values: list[Value] = []
    for term, value in (
        ("workflow = ?", wanted.workflow),
        ("status = ?", wanted.status),
        ("triggered_ms >= ?", wanted.since_ms),
        ("triggered_ms < ?", wanted.until_ms),
    ):
        if value is not None:
            terms.append(term)
            values.append(value)
    if wanted.ids:
        terms.append(f"({' OR '.join(['(id >= ? AND id < ?)'] * len(wanted.ids))})")
        values += [bound for one in wanted.ids for bound in (one, one + AFTER_ALL)]
    if after is not None:
        terms.append("(triggered_ms < ? OR (triggered_ms = ? AND id < ?))")
        values += [after.triggered_ms, after.triggered_ms, after.id]
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    # A plus keeps a planner from walking the runs by their age for some that their ids tell.
    plus = "+" if wanted.ids else ""
    found = rows.execute(
        "SELECT id, workflow, version, executor, status, triggered_ms, ended_ms, idempotency_key"  # noqa: S608
        f" FROM workflow_runs{where} ORDER BY {plus}triggered_ms DESC, id DESC LIMIT ?",
        (*values, limit),
    )
    return [Found(*one) for one in found]


def _defined(rows: Rows, statement: str, values: Sequence[Value]) -> list[Defined]:
    return [
        Defined(msgspec.json.decode(data, type=Definition), at_ms)
        for data, at_ms in rows.execute(statement, values)
    ]
