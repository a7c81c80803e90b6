"""Rows that somebody else has changed: what is said of them, and that they hold up nobody else."""

import json
from collections.abc import Sequence
from typing import cast

import pytest
import trio
from tests.patience import patience, until
from tests.runs.durable.flows import lines

from gossamer_gateway.runs.engine import Answer, Engine, Verdict
from gossamer_gateway.runs.kafka.bus import Message, Received, Sender
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.results import Results
from gossamer_gateway.runs.store import Damaged
from gossamer_gateway.storage import Rows, Storage


async def damage(storage: Storage, run: str) -> None:
    """Spoils a run: an event of it is no JSON, and its time has come."""

    def command(rows: Rows, _: int) -> None:
        rows.execute("UPDATE workflow_events SET data = ? WHERE run = ? AND seq = 2", (b"?", run))
        rows.execute("UPDATE workflow_runs SET due_ms = 1 WHERE id = ?", (run,))

    await storage.submit(command)


async def test_an_event_that_cannot_be_read_harms_no_other_run(
    storage: Storage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossamer_gateway.runs.engine.AWAY_S", 0.001)
    bad, good = await lines(Engine(storage), 2)
    await damage(storage, bad)
    engine = Engine(storage)
    told: dict[str, object] = {}

    async def answer(id: str) -> None:
        try:
            told[id] = await engine.answer(id, Answer("one", 1))
        except Damaged as error:
            told[id] = str(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, bad)
        nursery.start_soon(answer, good)
    assert told[good] is Verdict.TAKEN
    assert f"the history of run {bad} cannot be read" in str(told[bad])
    with pytest.raises(Damaged, match=bad):
        await engine.run(bad)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.keep_time)
        await until(lambda: any("cannot go on" in one.message for one in caplog.records))
        assert await engine.answer(good, Answer("two", 1)) is Verdict.TAKEN
        nursery.cancel_scope.cancel()


class Letters:
    """A broker for dead letters."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, messages: Sequence[Message]) -> list[None]:
        self.sent += messages
        return [None] * len(messages)


async def test_a_result_of_a_run_that_cannot_be_read_is_a_dead_letter(storage: Storage) -> None:
    """Waiting for it would hold up all that comes behind it, for ever."""
    bad, good = await lines(Engine(storage), 2)
    await storage.submit(
        lambda rows, _: (
            rows.execute("DELETE FROM workflow_events WHERE run = ? AND seq > 2", (bad,)).rowcount
        )
    )
    letters = Letters()
    results = Results(Engine(storage), Cluster(""), cast("Sender", letters))
    said = [
        json.dumps({"run": run, "step": "one", "attempt": 1, "status": "completed"}).encode()
        for run in (bad, good)
    ]
    with patience():
        await results._take_all(
            [Received("t", 0, n, None, one, (), 0) for n, one in enumerate(said)]
        )
    assert [one.value for one in letters.sent] == said[:1]
    assert results.counts == {"repeated": 1, "dead": 1}  # it was taken beside the bad one
