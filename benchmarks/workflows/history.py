"""A long history, written without being lived: the events of one run, again and again."""

from uuid import uuid4

import msgspec

from gossamer_gateway.runs import store
from gossamer_gateway.runs.engine import Answer, Engine
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.storage import Rows, Storage

RUNS_AT_ONCE = 1_000


async def fill(storage: Storage, engine: Engine, workflow: str, runs: int) -> int:
    """Adds so many runs that have ended; returns how many events each has."""
    id = (await engine.trigger(workflow, {"order": "o-4711"})).id
    await engine.answer_all([(id, Answer(step, 1, {})) for step in ("one", "two", "three")])
    lived, history = await engine.run(id), await engine.history(id)
    for first in range(0, runs, RUNS_AT_ONCE):
        ids = [str(uuid4()) for _ in range(min(RUNS_AT_ONCE, runs - first))]

        def write(rows: Rows, now_ms: int, ids: list[str] = ids) -> None:
            rows.executemany(
                "INSERT INTO workflow_runs (id, workflow, version, executor, status, seq, shard,"
                " triggered_ms, ended_ms) VALUES (?, ?, ?, 'own', ?, ?, ?, ?, ?)",
                [(one, workflow, lived.version, lived.status.value, lived.seq,
                  store.shard_of(one), now_ms, now_ms) for one in ids],
            )  # fmt: skip
            rows.executemany(
                "INSERT INTO workflow_events (number, run, seq, data)"
                " VALUES (transaction_number(), ?, ?, ?)",
                [
                    (one, event.seq, e.encode(msgspec.structs.replace(event, run=one)))
                    for one in ids
                    for event in history
                ],
            )

        await storage.submit(write)
    return len(history)
