"""Runs as rows: the statements that read and write the tables of `forms`.

The events are the truth; the rest changes in the transaction that adds the events, so they never
differ. All functions here run within a command of the storage. What changes runs goes through
`write` alone, for many runs at once: one statement of each kind, whatever their number.

A run's row carries the number of its newest event, and `write` changes it only from the number that
was read: together with the unique (run, seq) of the events, two gateways can never both add to the
same end of a history, whatever either believes.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gossamer_gateway.errors import GatewayError, StorageFailed
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import AnyEvent, Event
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import OutOfPlace, Run, StepStatus, fold
from gossamer_gateway.storage import Rows, Write

SHARDS = 16
"""Parts of all runs, by their ids: gateways that share a storage share these out."""

# Nothing is done on conflict: of two gateways that are told the same key, the later one's snapshot
# has not seen the other's run. PostgreSQL has its group run again for that.
_ADD_RUNS = (
    "INSERT INTO workflow_runs (id, workflow, version, executor, status, seq, shard, due_ms,"
    " triggered_ms, ended_ms, idempotency_key)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_CHANGE_RUNS = (
    "UPDATE workflow_runs SET status = ?, seq = ?, due_ms = ?, ended_ms = ?"
    " WHERE id = ? AND seq = ?"
)
_ADD_EVENTS = (
    "INSERT INTO workflow_events (number, run, seq, data) VALUES (transaction_number(), ?, ?, ?)"
)
_ADD_OUTBOX = "INSERT INTO workflow_outbox (shard, run, seq, events, writer) VALUES (?, ?, ?, ?, ?)"
_DELETE_JOBS = "DELETE FROM workflow_jobs WHERE run = ? AND step = ?"
_ADD_JOBS = (
    "INSERT INTO workflow_jobs (run, step, attempt, workflow, queue, due_ms, free_ms, payload,"
    " writer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run, step) DO UPDATE SET"
    " attempt = excluded.attempt, queue = excluded.queue, due_ms = excluded.due_ms,"
    " free_ms = excluded.free_ms, payload = excluded.payload, writer = excluded.writer,"
    " worker = NULL"
)

Offered = Callable[[str], bool]
"""Tells of an action whether its attempts are jobs here; those of functions always are."""


class Damaged(GatewayError):
    """Rows of a run do not agree, or cannot be read: somebody else has changed them."""


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


@dataclass(frozen=True, slots=True)
class Written:
    """Events to add to a run.

    Attributes:
        run: the state after them.
        data: each as it is stored.
    """

    run: Run
    events: Sequence[Event]
    data: Sequence[bytes]


def shard_of(run: str) -> int:
    """Which part of all runs one is in."""
    return zlib.crc32(run.encode()) % SHARDS


def read_run(rows: Rows, id: str) -> tuple[Run, int] | None:
    """A run, from its events, and how many bytes those are.

    Raises: Damaged.
    """
    history = [
        data
        for (data,) in rows.execute(
            "SELECT data FROM workflow_events WHERE run = ? ORDER BY seq", (id,)
        )
    ]
    if not history:
        return None
    try:
        return fold(map(e.decode, history)), sum(map(len, history))
    except (OutOfPlace, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"the history of run {id} cannot be read: {error}") from error


def read_events(rows: Rows, run: str, after: int = 0, limit: int = -1) -> list[AnyEvent]:
    """Events of a run with numbers above `after`."""
    statement = "SELECT data FROM workflow_events WHERE run = ? AND seq > ? ORDER BY seq"
    values: list[Any] = [run, after]
    if limit >= 0:
        statement += " LIMIT ?"
        values.append(limit)
    return [e.decode(data) for (data,) in rows.execute(statement, values)]


def read_seqs(rows: Rows, runs: Iterable[str]) -> dict[str, int]:
    """The numbers of runs' newest events; runs that there are not are left out."""
    wanted = list(dict.fromkeys(runs))
    return dict(rows.lookup("SELECT id, seq FROM workflow_runs WHERE id IN (?)", wanted))


def write(
    rows: Rows, written: Sequence[Written], flow: Callable[[Run], Flow], offered: Offered,
    *, outbox: bool, writer: int,
) -> set[str]:  # fmt: skip
    """Adds events to runs', each run at most once; returns the queues of jobs that began.

    Args:
        writer: which gateway does.

    Raises: StorageFailed when a run has changed meanwhile; nothing may be committed then.
    """
    new = [each.run for each in written if each.events[0].seq == 1]
    old = [each for each in written if each.events[0].seq > 1]
    begun, over = _jobs_of(written, flow, offered)
    # The rows of runs first: whoever is second there runs again, and would fail for good elsewhere.
    added, changed, *_ = rows.together(
        Write(_ADD_RUNS, [
            (run.id, run.workflow, run.version, run.executor, run.status.value, run.seq,
             shard_of(run.id), run.due_ms, run.triggered_ms, run.ended_ms, run.key)
            for run in new
        ]),
        Write(_CHANGE_RUNS, [
            (each.run.status.value, each.run.seq, each.run.due_ms, each.run.ended_ms,
             each.run.id, each.events[0].seq - 1)
            for each in old
        ]),
        Write(_ADD_EVENTS, [
            (one.run, one.seq, data)
            for each in written
            for one, data in zip(each.events, each.data, strict=True)
        ]),
        Write(_ADD_OUTBOX, [
            (shard_of(each.run.id), each.run.id, each.events[0].seq, len(each.events), writer)
            for each in written if outbox
        ]),
        Write(_DELETE_JOBS, over),
        Write(_ADD_JOBS, [(*one, writer) for one in begun]),
    )  # fmt: skip
    if (added, changed) != (len(new), len(old)):
        raise StorageFailed("A run was changed by somebody else meanwhile; try again")
    return {queue for _, _, _, _, queue, *_ in begun}


JobRow = tuple[str, str, int, str, str, int, int, bytes]
"""Of workflow_jobs, without its writer and its worker."""


def _jobs_of(
    written: Sequence[Written], flow: Callable[[Run], Flow], offered: Offered
) -> tuple[list[JobRow], list[tuple[str, str]]]:
    """Jobs that these changes make, and those that they end."""
    begun: list[JobRow] = []
    over: list[tuple[str, str]] = []
    for each in written:
        # Only the last word on each step counts: an attempt may fail and the next begin at once.
        touched: dict[str, int | None] = {}  # when its attempt began, if one did
        for one in each.events:
            step = getattr(one, "step", None)
            if step is not None:
                begun_ms = one.at_ms if isinstance(one, e.AttemptStarted) else touched.get(step)
                touched[step] = begun_ms
        if each.run.status.has_ended:
            left = (id for id, one in each.run.steps.items() if one.status is StepStatus.LEFT)
            touched.update(dict.fromkeys(left))
        for step, begun_ms in touched.items():
            state = each.run.steps.get(step)
            if state is None or state.attempt == 0:
                continue
            of = flow(each.run)
            if state.status is not StepStatus.RUNNING:
                over.append((each.run.id, step))
            elif begun_ms is not None and (row := _job_row(each.run, step, of, offered, begun_ms)):
                begun.append(row)
    return begun, over


def insert_jobs(rows: Rows, jobs: Sequence[JobRow], writer: int) -> None:
    """Adds jobs, in place of those of earlier attempts."""
    rows.together(Write(_ADD_JOBS, [(*one, writer) for one in jobs]))


def standing_jobs(run: Run, flow: Flow, offered: Offered) -> list[JobRow]:
    """The jobs that there are of a run, all free: what `workflow_jobs` holds but for its locks."""
    if run.status.has_ended:
        return []
    at_work = (id for id, one in run.steps.items() if one.status is StepStatus.RUNNING)
    return [row for id in at_work if (row := _job_row(run, id, flow, offered, 0)) is not None]


def _job_row(run: Run, step: str, flow: Flow, offered: Offered, free_ms: int) -> JobRow | None:
    state, of = run.steps[step], flow[step]
    if of.action is not None and not offered(of.action):
        return None
    queue = of.action if of.action is not None else f"provider:{of.places[state.place].provider}"
    assert state.due_ms is not None, "an attempt at work has its end"
    return (
        run.id, step, state.attempt, run.workflow, queue, state.due_ms, free_ms,
        msgspec.json.encode(state.input),
    )  # fmt: skip


def due_runs(rows: Rows, shards: Sequence[int], now_ms: int, limit: int) -> list[str]:
    """Runs in which something is to happen by now, at most so many of each shard."""
    part = "SELECT * FROM (SELECT due_ms, id FROM workflow_runs WHERE shard = ? AND due_ms <= ? ORDER BY due_ms LIMIT ?) AS s{}"  # noqa: E501
    found = of_shards(rows, part, [(shard, now_ms, limit) for shard in shards])
    return [id for _, id in sorted(found)]


def next_due_ms(rows: Rows, shards: Sequence[int]) -> int | None:
    """When something happens by itself next."""
    part = "SELECT * FROM (SELECT due_ms FROM workflow_runs WHERE shard = ? AND due_ms IS NOT NULL ORDER BY due_ms LIMIT 1) AS s{}"  # noqa: E501
    found = of_shards(rows, part, [(shard,) for shard in shards])
    return min((due_ms for (due_ms,) in found), default=None)


def of_shards(rows: Rows, part: str, values: Sequence[tuple[int, ...]]) -> list[Any]:
    """What a statement finds in each shard: each is a short walk along an index."""
    if not values:
        return []
    statement = " UNION ALL ".join(part.format(shard) for shard in range(len(values)))
    return rows.execute(statement, [one for each in values for one in each]).fetchall()


def read_definition(rows: Rows, id: str, version: int | None = None) -> Definition | None:
    """A definition; of no version, the newest."""
    version = newest_version(rows, id) if version is None else version
    found = rows.execute(
        "SELECT data FROM workflow_definitions WHERE id = ? AND version = ?", (id, version)
    ).fetchone()
    return msgspec.json.decode(found[0], type=Definition) if found else None


def newest_version(rows: Rows, id: str) -> int:
    """0 where there is none."""
    found = rows.execute(
        "SELECT version FROM workflow_definitions WHERE id = ? ORDER BY version DESC LIMIT 1",
        (id,),
    ).fetchone()
    return found[0] if found else 0
