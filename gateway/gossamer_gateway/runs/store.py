"""Runs as rows: definitions, events, one row of each run to find it by, and jobs that wait.

The events are the truth; `workflow_runs` is what lists and clocks ask, and `workflow_jobs` what
workers are given: both change in the transaction that adds the events, so they never differ. All
functions here run within a command of the storage.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import AnyEvent, Event
from gossamer_gateway.runs.model.run import Run, Status, StepStatus, fold
from gossamer_gateway.storage import Rows

SHARDS = 16
"""Parts of all runs, by their ids: gateways that share a storage share these out."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS workflow_definitions (
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    digest TEXT NOT NULL,  -- of what was sent, to know it again
    data BLOB NOT NULL,    -- a Definition as JSON
    PRIMARY KEY (id, version)
);
CREATE TABLE IF NOT EXISTS workflow_runs (
    id TEXT NOT NULL PRIMARY KEY,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    executor TEXT NOT NULL,
    status TEXT NOT NULL,
    seq INTEGER NOT NULL,        -- of its newest event
    shard INTEGER NOT NULL,
    due_ms INTEGER,              -- when something happens by itself
    triggered_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    idempotency_key TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS workflow_runs_key ON workflow_runs (workflow, idempotency_key);
CREATE INDEX IF NOT EXISTS workflow_runs_due ON workflow_runs (shard, due_ms);
CREATE INDEX IF NOT EXISTS workflow_runs_newest ON workflow_runs (triggered_ms, id);
CREATE INDEX IF NOT EXISTS workflow_runs_ended ON workflow_runs (ended_ms);
CREATE TABLE IF NOT EXISTS workflow_events (
    position INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL           -- an event as JSON
);
CREATE UNIQUE INDEX IF NOT EXISTS workflow_events_run ON workflow_events (run, seq);
CREATE TABLE IF NOT EXISTS workflow_jobs (
    run TEXT NOT NULL,
    step TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    queue TEXT NOT NULL,         -- an action, or `provider:NAME`
    due_ms INTEGER NOT NULL,
    free_ms INTEGER NOT NULL,    -- when it may be taken (again)
    worker TEXT,
    PRIMARY KEY (run, step)
);
CREATE INDEX IF NOT EXISTS workflow_jobs_free ON workflow_jobs (queue, free_ms);
"""


@dataclass(frozen=True, slots=True)
class Job:
    """An attempt that somebody is to make.

    Attributes:
        queue: an action, or `provider:NAME`.
        payload: what the step gets.
        due_ms: when the attempt counts as failed, in ms since 1970.
        locked_ms: until when it is its worker's alone.
    """

    run: str
    workflow: str
    step: str
    attempt: int
    queue: str
    payload: Any
    due_ms: int
    locked_ms: int

    @property
    def key(self) -> str:
        """The same for all attempts of a step: a worker that remembers it does things once."""
        return f"{self.run}:{self.step}"


def shard_of(run: str) -> int:
    """Which part of all runs one is in."""
    return zlib.crc32(run.encode()) % SHARDS


def read_run(rows: Rows, id: str) -> Run | None:
    """A run, from its events."""
    history = read_events(rows, id)
    return fold(history) if history else None


def read_events(rows: Rows, run: str, after: int = 0, limit: int = -1) -> list[AnyEvent]:
    """Events of a run with numbers above `after`."""
    statement = "SELECT data FROM workflow_events WHERE run = ? AND seq > ? ORDER BY seq"
    values: list[Any] = [run, after]
    if limit >= 0:
        statement += " LIMIT ?"
        values.append(limit)
    return [e.decode(data) for (data,) in rows.execute(statement, values)]


def read_seq(rows: Rows, run: str) -> int:
    """The number of a run's newest event; 0 where there is no such run."""
    found = rows.execute("SELECT seq FROM workflow_runs WHERE id = ?", (run,)).fetchone()
    return found[0] if found else 0


def write(rows: Rows, run: Run, events: Sequence[Event]) -> None:
    """Adds events to a run's; `run` is the state after them."""
    rows.executemany(
        "INSERT INTO workflow_events (run, seq, data) VALUES (?, ?, ?)",
        [(one.run, one.seq, e.encode(one)) for one in events],
    )
    if events[0].seq == 1:
        rows.execute(
            "INSERT INTO workflow_runs (id, workflow, version, executor, status, seq, shard,"
            " due_ms, triggered_ms, ended_ms, idempotency_key)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (run.id, run.workflow, run.version, run.executor, run.status.value, run.seq,
             shard_of(run.id), run.due_ms, run.triggered_ms, run.ended_ms, run.key),
        )  # fmt: skip
    else:
        rows.execute(
            "UPDATE workflow_runs SET status = ?, seq = ?, due_ms = ?, ended_ms = ? WHERE id = ?",
            (run.status.value, run.seq, run.due_ms, run.ended_ms, run.id),
        )
    _write_jobs(rows, run, events)


def _write_jobs(rows: Rows, run: Run, events: Sequence[Event]) -> None:
    if run.status.has_ended:
        rows.execute("DELETE FROM workflow_jobs WHERE run = ?", (run.id,))
        return
    # Only the last word on each step counts: an attempt may fail and the next begin at once.
    for step in {one.step: None for one in events if hasattr(one, "step")}:
        state = run.steps.get(step)
        begun = [
            one
            for one in events
            if isinstance(one, e.AttemptStarted) and one.step == step
        ]  # fmt: skip
        if begun and state is not None and state.status is StepStatus.RUNNING:
            new = begun[-1]
            queue = new.action if new.action is not None else f"provider:{new.provider}"
            rows.execute(
                "INSERT INTO workflow_jobs (run, step, attempt, queue, due_ms, free_ms, worker)"
                " VALUES (?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (run, step) DO UPDATE SET"
                " attempt = excluded.attempt, queue = excluded.queue, due_ms = excluded.due_ms,"
                " free_ms = excluded.free_ms, worker = NULL",
                (run.id, step, new.attempt, queue, new.due_ms, new.at_ms),
            )
        elif state is None or state.status is not StepStatus.RUNNING:
            rows.execute("DELETE FROM workflow_jobs WHERE run = ? AND step = ?", (run.id, step))


def due_runs(rows: Rows, shards: Sequence[int], now_ms: int, limit: int) -> list[str]:
    """Runs in which something is to happen by now."""
    marks = ", ".join("?" * len(shards))
    found = rows.execute(
        f"SELECT id FROM workflow_runs WHERE shard IN ({marks}) AND due_ms <= ?"  # noqa: S608
        " ORDER BY due_ms LIMIT ?",
        (*shards, now_ms, limit),
    )
    return [id for (id,) in found]


def next_due_ms(rows: Rows, shards: Sequence[int]) -> int | None:
    """When something happens by itself next."""
    marks = ", ".join("?" * len(shards))
    (found,) = rows.execute(
        f"SELECT MIN(due_ms) FROM workflow_runs WHERE shard IN ({marks})",  # noqa: S608
        tuple(shards),
    ).fetchone()
    assert found is None or isinstance(found, int), "it is a column of whole numbers"
    return found


def read_definition(rows: Rows, id: str, version: int | None = None) -> Definition | None:
    """A definition; of no version, the newest."""
    found = rows.execute(
        "SELECT data FROM workflow_definitions WHERE id = ? AND (version = ? OR ? IS NULL)"
        " ORDER BY version DESC LIMIT 1",
        (id, version, version),
    ).fetchone()
    return msgspec.json.decode(found[0], type=Definition) if found else None


def end_statuses() -> tuple[str, ...]:
    """Those of runs that are over."""
    return tuple(one.value for one in Status if one.has_ended)
