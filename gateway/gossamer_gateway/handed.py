"""Jobs that clients of another dialect hold: who has which, until when, and how to settle it.

Camunda 7 lets nobody settle a task but the worker that locked it, and Camunda 8 asks nobody who he
is. So a job of Camunda 8 that a client of Camunda 7 took stands here under that client's worker id
before it hears of the job, and every gateway that shares the file or database refuses others as
Camunda 7 would. In one thing this is stricter: Camunda 7 lets a worker settle after its lock ran
out while nobody else has taken the task. Camunda 8 gives the job to somebody else then, without a
word to us, and would take both outcomes; so here the end of the lock is the end.

A task of Camunda 7 that a client of Camunda 8 took is locked there under a worker id of the
gateways (`upstream`), and its variables' types are remembered, since that client knows none.

All functions read and write within the caller's transaction.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gossamer_gateway.errors import NotLockedByWorker, UnknownTask
from gossamer_gateway.storage.port import Rows
from gossamer_node.variables import TypeTag

SCHEMA = """
CREATE TABLE handed (
    engine TEXT NOT NULL, job TEXT NOT NULL, worker TEXT NOT NULL, until_ms INTEGER NOT NULL,
    upstream TEXT NOT NULL, types TEXT NOT NULL,
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
        worker: as the client calls itself.
        until_ms: the end of its lock, in milliseconds since 1970.
        upstream: the worker id that locked it at the engine.
        types: of the variables that it came with.
    """

    engine: str
    job: str
    worker: str
    until_ms: int
    upstream: str = ""
    types: Mapping[str, TypeTag] = field(default_factory=dict)


def hand_out(rows: Rows, jobs: Iterable[Handed]) -> None:
    """Jobs that were just taken; who had one before has it no more."""
    rows.executemany(
        "INSERT INTO handed VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (engine, job) DO UPDATE SET "
        "worker = excluded.worker, until_ms = excluded.until_ms, upstream = excluded.upstream, "
        "types = excluded.types",
        [
            (one.engine, one.job, one.worker, one.until_ms, one.upstream, json.dumps(one.types))
            for one in jobs
        ],
    )


def find(rows: Rows, engine: str, job: str) -> Handed | None:
    """Who has a job, or had it last; None for one that nobody took here, or that was settled."""
    row = rows.execute(
        "SELECT worker, until_ms, upstream, types FROM handed WHERE engine = ? AND job = ?",
        (engine, job),
    ).fetchone()
    if row is None:
        return None
    worker, until_ms, upstream, types = row
    return Handed(engine, job, worker, until_ms, upstream, json.loads(types))


def held(rows: Rows, engine: str, job: str, worker: str, *, told: str, now_ms: int) -> Handed:
    """The job, if this worker holds it now.

    Args:
        told: the task's id as the client knows it.

    Raises: UnknownTask; NotLockedByWorker.
    """
    found = find(rows, engine, job)
    if found is None:
        raise UnknownTask(told)
    if found.worker != worker:
        raise NotLockedByWorker(
            f"External Task {told} cannot be worked by worker '{worker}'. It is locked by worker "
            f"'{found.worker}'."
        )
    if found.until_ms <= now_ms:
        raise NotLockedByWorker(
            f"External Task {told} cannot be worked by worker '{worker}': its lock has run out, "
            "and Camunda 8 may have given the job to somebody else; fetch it again."
        )
    return found


def prolong(rows: Rows, one: Handed, until_ms: int) -> None:
    """Its lock ends later, or sooner."""
    rows.execute(
        "UPDATE handed SET until_ms = ? WHERE engine = ? AND job = ?",
        (until_ms, one.engine, one.job),
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
