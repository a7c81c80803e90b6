"""Whether the rows of workflows are true: each derived row is compared with the events.

What is said of runs elsewhere follows from the events alone; this makes sure that it does. For
tests, and for a person who doubts a database.
"""

from collections.abc import Iterator
from typing import Any

from gossamer_gateway.runs import store
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import Run, evolve
from gossamer_gateway.storage import Rows, Storage

PROBLEMS_MAX = 20
"""That are told of."""


async def check(storage: Storage, offered: store.Offered = lambda _: True) -> list[str]:
    """What is wrong with the rows of workflows; nothing, as it should be.

    Reads all of them in one command, so it is not for large ones that are in use.

    Args:
        offered: as the engine has it.
    """
    return await storage.submit(lambda rows, _: list(_problems(rows, offered))[:PROBLEMS_MAX])


def _problems(rows: Rows, offered: store.Offered) -> Iterator[str]:
    runs: dict[str, Run] = {}
    events: set[tuple[str, int]] = set()
    for run, seq, data in rows.execute(
        "SELECT run, seq, data FROM workflow_events ORDER BY run, seq"
    ).fetchall():
        try:
            event = e.decode(data)
            if (event.run, event.seq) != (run, seq):
                yield f"the row of {run} {seq} holds event {event.run} {event.seq}"
            runs[run] = evolve(runs.get(run), event)
        except Exception as error:  # whatever is in it
            yield f"event {seq} of {run} is out of place: {error}"
        events.add((run, seq))
    yield from _different(
        "workflow_runs",
        {one.id: _row(one) for one in runs.values()},
        {
            one[0]: one
            for one in rows.execute(
                "SELECT id, workflow, version, executor, status, seq, shard, due_ms, triggered_ms,"
                " ended_ms, idempotency_key FROM workflow_runs"
            )
        },
    )
    yield from _different(
        "workflow_jobs",
        {
            row[:2]: (*row[:6], row[7])
            for run in runs.values()
            for row in store.standing_jobs(run, _flow(rows, run), offered)
        },
        {
            one[:2]: one
            for one in rows.execute(
                "SELECT run, step, attempt, workflow, queue, due_ms, payload FROM workflow_jobs"
            )
        },
    )
    for shard, run, first, count in rows.execute(
        "SELECT shard, run, seq, events FROM workflow_outbox"
    ).fetchall():
        named = {(run, seq) for seq in range(first, first + count)}
        if not named <= events or shard != store.shard_of(run):
            yield f"workflow_outbox has {count} of {run} from {first} in shard {shard}"


def _row(run: Run) -> tuple[Any, ...]:
    return (
        run.id, run.workflow, run.version, run.executor, run.status.value, run.seq,
        store.shard_of(run.id), run.due_ms, run.triggered_ms, run.ended_ms, run.key,
    )  # fmt: skip


def _flow(rows: Rows, run: Run) -> Flow:
    definition = store.read_definition(rows, run.workflow, run.version)
    assert definition is not None, f"definition {run.workflow} {run.version} is missing"
    return Flow(definition)


def _different(table: str, expected: dict[Any, Any], found: dict[Any, Any]) -> Iterator[str]:
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            yield f"{table}: {name} is {found.get(name)}, and should be {expected.get(name)}"
