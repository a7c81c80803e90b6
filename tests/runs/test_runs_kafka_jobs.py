"""Which jobs the publisher sends: those of attempts at work, whoever began them. No broker."""

import json
from collections.abc import Sequence
from typing import Any, cast

from tests.patience import patience

from gossamer_gateway import tables
from gossamer_gateway.runs.engine import Answer, Engine
from gossamer_gateway.runs.kafka.bus import Message, Sender
from gossamer_gateway.runs.kafka.publisher import Publisher
from gossamer_gateway.runs.kafka.topics import EVENTS, JOBS
from gossamer_gateway.runs.log import Entry
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition, Retry, Step
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.storage import SqlitePlace, open_storage

FLOW = Definition("flow", "a", {"a": Step("a", action="a", retry=Retry(3, 0, jitter=0))})


class Broker:
    """Takes all."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, messages: Sequence[Message]) -> list[None]:
        self.sent += messages
        return [None] * len(messages)

    def jobs(self) -> list[tuple[int, Any]]:
        """Attempt and payload of each."""
        told = [json.loads(one.value or b"") for one in self.sent if one.topic == JOBS]
        return [(one["attempt"], one["payload"]) for one in told]


async def goes_on(engine: Engine, run: str) -> None:
    """The first attempt fails, and the second begins."""
    await engine.answer(run, Answer("a", 1, failure=Failure("F")))
    await engine.change(run, lambda flow, run, now: deciding.due(flow, run, now, lambda: 0.0))


async def publish(engine: Engine, history: Sequence[e.AnyEvent]) -> Broker:
    """What goes to Kafka of these."""
    broker = Broker()
    publisher = Publisher(
        engine, cast("Any", None), cast("Sender", broker), lambda _: False, shared=False
    )
    with patience():
        await publisher._publish([Entry(one.run, one.seq, e.encode(one)) for one in history])
    assert [one.topic for one in broker.sent].count(EVENTS) == len(history)
    return broker


async def test_an_attempt_that_is_over_is_not_sent() -> None:
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        engine = Engine(storage, offered=lambda _: False)
        await engine.define(FLOW)
        run = (await engine.trigger("flow", {"n": 1})).id
        await goes_on(engine, run)
        history = await engine.history(run)
        assert (await publish(engine, history)).jobs() == [(2, {"n": 1})]
        await engine.cancel(run)
        assert (await publish(engine, history)).jobs() == []


async def test_an_attempt_that_another_gateway_began_is_sent() -> None:
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        here, there = (Engine(storage, offered=lambda _: False) for _ in range(2))
        await here.define(FLOW)
        run = (await here.trigger("flow", {"n": 1})).id
        await goes_on(there, run)
        known = here.known(run)
        assert known is not None and known.steps["a"].attempt == 1
        assert (await publish(here, await here.history(run, after=4))).jobs() == [(2, {"n": 1})]


async def test_jobs_that_are_offered_here_or_are_calls_of_functions_stay_here() -> None:
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        engine = Engine(storage)
        await engine.define(FLOW)
        run = (await engine.trigger("flow", 1)).id
        broker = Broker()
        publisher = Publisher(
            engine, cast("Any", None), cast("Sender", broker), lambda _: True, shared=False
        )
        started = e.AttemptStarted(run, 9, 1, "a", 1, 5, provider="AWS", function_id="f")
        history = [*await engine.history(run), started]
        await publisher._publish([Entry(one.run, one.seq, e.encode(one)) for one in history])
        assert broker.jobs() == []
