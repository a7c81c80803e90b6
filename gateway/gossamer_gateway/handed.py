"""Jobs that clients of another dialect hold: who has which, until when, and how to settle it.

Camunda 7 lets nobody settle a task but the worker that locked it, and Camunda 8 asks nobody who he
is. So a job of Camunda 8 that a client of Camunda 7 took stands here under that client's worker id
before it hears of the job, and every gateway that shares the file or database refuses others as
Camunda 7 would. In one thing this is stricter: Camunda 7 lets a worker settle after its lock ran
out while nobody else has taken the task. Camunda 8 gives the job to somebody else then, without a
word to us, and would take both outcomes; so here the end of the lock is the end.

What was told of such a job stands with it (`task`): Camunda 8 tells nobody of a job twice. A job
that failed, or was given back, stays with no worker until somebody takes it again.

A task of Camunda 7 that a client of Camunda 8 took is locked there under a worker id of the
gateways (`upstream`), and its variables' types are remembered, since that client knows none.

All functions read and write within the caller's transaction.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gossamer_gateway.errors import NotLockedByWorker, UnknownTask
from gossamer_gateway.storage.port import Rows
from gossamer_node.variables import TypeTag

SCHEMA = """
CREATE TABLE handed (
    engine TEXT NOT NULL, job TEXT NOT NULL, worker TEXT NOT NULL, until_ms INTEGER NOT NULL,
    upstream TEXT NOT NULL, types TEXT NOT NULL,
    task TEXT NOT NULL,
    PRIMARY KEY (engine, job)
);
CREATE INDEX handed_until ON handed (until_ms)
"""

KEPT_MS = 24 * 3_600_000
"""How long a lock that ran out is told from a job that nobody ever had."""

SWEPT_MAX = 1_000
"""Rows that one sweep removes: a transaction of some milliseconds."""


@dataclass(frozen=True, slots=True)
class Handed:
    """One job in a client's hands.

    Attributes:
        engine, job: whose job, and its id there.
        worker: as the client calls itself; "" when nobody has it.
        until_ms: the end of its lock, in milliseconds since 1970.
        upstream: the worker id that locked it at the engine.
        types: of the variables that it came with.
        task: what Camunda 7 tells of it, without its variables.
    """

    engine: str
    job: str
    worker: str
    until_ms: int
    upstream: str = ""
    types: Mapping[str, TypeTag] = field(default_factory=dict)
    task: Mapping[str, Any] = field(default_factory=dict)


def hand_out(rows: Rows, jobs: Iterable[Handed]) -> None:
    """Jobs that were just taken; who had one before has it no more."""
    rows.executemany(
        "INSERT INTO handed VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (engine, job) DO UPDATE SET "
        "worker = excluded.worker, until_ms = excluded.until_ms, upstream = excluded.upstream, "
        "types = excluded.types, task = excluded.task",
        [
            (one.engine, one.job, one.worker, one.until_ms, one.upstream,
             json.dumps(one.types), json.dumps(one.task))
            for one in jobs
        ],
    )  # fmt: skip


_COLUMNS = "engine, job, worker, until_ms, upstream, types, task"


def _read(row: Any) -> Handed:
    engine, job, worker, until_ms, upstream, types, task = row
    return Handed(engine, job, worker, until_ms, upstream, json.loads(types), json.loads(task))


def find(rows: Rows, engine: str, job: str) -> Handed | None:
    """Who has a job, or had it last; None for one that nobody took here, or that was settled."""
    row = rows.execute(
        f"SELECT {_COLUMNS} FROM handed WHERE engine = ? AND job = ?",  # noqa: S608 - ours
        (engine, job),
    ).fetchone()
    return None if row is None else _read(row)


def all_of(rows: Rows, engine: str, jobs_max: int) -> list[Handed]:
    """An engine's jobs by their ids, the first `jobs_max` of them."""
    found = rows.execute(
        f"SELECT {_COLUMNS} FROM handed WHERE engine = ? ORDER BY job LIMIT ?",  # noqa: S608 - ours
        (engine, jobs_max),
    )
    return [_read(row) for row in found]


def held(
    rows: Rows,
    engine: str,
    job: str,
    worker: str,
    *,
    told: str,
    now_ms: int,
    doing: str = "External Task {} cannot be worked by",
) -> Handed:
    """The job, if this worker holds it now.

    Args:
        told: the task's id as the client knows it.
        doing: how Camunda 7 begins its sentence on a wrong worker (`wording7`).

    Raises: UnknownTask; NotLockedByWorker.
    """
    found = find(rows, engine, job)
    if found is None:
        raise UnknownTask(told)
    if found.worker != worker:
        raise NotLockedByWorker(
            f"{doing.format(told)} worker '{worker}'. It is locked by worker "
            f"'{found.worker or 'null'}'."
        )
    if found.until_ms <= now_ms:
        raise NotLockedByWorker(
            f"{doing.format(told)} worker '{worker}': its lock has run out, and "
            "Camunda 8 may have given the job to somebody else; fetch it again."
        )
    return found


def prolong(rows: Rows, one: Handed, until_ms: int) -> None:
    """Its lock ends later, or sooner."""
    rows.execute(
        "UPDATE handed SET until_ms = ? WHERE engine = ? AND job = ?",
        (until_ms, one.engine, one.job),
    )


def let_go(rows: Rows, one: Handed, now_ms: int, **told: Any) -> None:
    """Nobody has it any more, unless somebody took it meanwhile.

    Args:
        told: what changed of its `task`.
    """
    task = {**one.task, "workerId": None, "lockExpirationTime": None, **told}
    rows.execute(
        "UPDATE handed SET worker = '', until_ms = ?, task = ? "
        "WHERE engine = ? AND job = ? AND worker = ? AND until_ms = ?",
        (now_ms, json.dumps(task), one.engine, one.job, one.worker, one.until_ms),
    )


def told(rows: Rows, engine: str, job: str, **changes: Any) -> None:
    """Something that is told of a job changed, whoever has it."""
    one = find(rows, engine, job)
    if one is not None:
        rows.execute(
            "UPDATE handed SET task = ? WHERE engine = ? AND job = ?",
            (json.dumps({**one.task, **changes}), engine, job),
        )


def settled(rows: Rows, engine: str, job: str) -> None:
    """The engine took an outcome, or has no such job any more."""
    rows.execute("DELETE FROM handed WHERE engine = ? AND job = ?", (engine, job))


def sweep(rows: Rows, now_ms: int) -> int:
    """Forgets locks that ran out long ago; returns how many, `SWEPT_MAX` at most."""
    return rows.execute(
        "DELETE FROM handed WHERE (engine, job) IN "
        "(SELECT engine, job FROM handed WHERE until_ms < ? ORDER BY until_ms LIMIT ?)",
        (now_ms - KEPT_MS, SWEPT_MAX),
    ).rowcount
