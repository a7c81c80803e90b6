"""Workflows of a running gateway: what is opened in which order, and how it goes down.

Each part that stands around the engine has one line here. What a part needs of the network and what
a person may have got wrong in its settings is opened first, so that a gateway that cannot serve
does not begin to. Parts that run are tasks of the gateway's background nursery, which is cancelled
at the very end: by then `wind_up` has answered whoever waited.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs import counting, forgetting
from gossamer_gateway.runs.cache import RedisCache
from gossamer_gateway.runs.config import WorkflowsConfig
from gossamer_gateway.runs.counting import Counts
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.jobs import asked as asking
from gossamer_gateway.runs.jobs.asked import Asked
from gossamer_gateway.runs.jobs.polls import Polls
from gossamer_gateway.runs.live.bridge import Bridge
from gossamer_gateway.runs.live.facts import lookup
from gossamer_gateway.runs.log import Log
from gossamer_gateway.runs.model.deciding import ZEEBE
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.run import Run
from gossamer_gateway.runs.providers import api as providing
from gossamer_gateway.runs.providers.invoker import Invoker
from gossamer_gateway.runs.providers.opening import open_invoker
from gossamer_gateway.runs.zeebe.executor import Executor
from gossamer_gateway.runs.zeebe.opening import open_executor
from gossamer_gateway.storage import Storage
from gossamer_gateway.sweeping import Sweep
from gossamer_gateway.upstreams.upstream import Upstreams
from gossamer_gateway.v1.metrics import Family

if TYPE_CHECKING:
    from gossamer_gateway.runs.kafka.opening import Kafka


@dataclass(frozen=True, slots=True)
class Workflows:
    """What doors to workflows are served with.

    Attributes:
        asked: when workers last asked for jobs of each action.
        polls: workers that wait for jobs.
        invoker: calls functions of clouds.
        bridge: pages that follow the events.
        kafka: what goes over Kafka, where there is one.
        executor: what keeps the flow of runs in the engine's stead; None: nothing.
    """

    config: WorkflowsConfig
    storage: Storage
    engine: Engine
    asked: Asked
    polls: Polls
    counts: Counts
    invoker: Invoker
    bridge: Bridge
    kafka: "Kafka | None" = None
    executor: Executor | None = None

    async def define(self, definition: Definition) -> Definition:
        """Keeps a definition, if who executes it takes it. See `Engine.define`.

        Raises: DeploymentRefused.
        """
        if self.executor is not None:
            await self.executor.check(definition)
        return await self.engine.define(definition)

    async def begun(self, run: Run) -> Run:
        """A run that was just triggered, once it has begun, if that is soon."""
        return run if self.executor is None else await self.executor.begun(run)

    @property
    def sweeps(self) -> Mapping[Sweep, int]:
        """What is to be forgotten, as `sweeping` takes it."""
        old = partial(
            forgetting.sweep,
            retention_ms=self.config.retention_ms,
            spares_zeebe=self.executor is not None,
        )
        return {old: forgetting.SWEPT_MAX, asking.sweep: asking.SWEPT_MAX}

    def wind_up(self) -> None:
        """Answers all who wait, and those to come, at once."""
        self.polls.stop()
        self.invoker.stop()
        self.bridge.end()

    def families(self) -> Iterable[Family]:
        """Counts for Prometheus."""
        yield from counting.families(self.counts, self.polls)
        yield from providing.families(self.invoker)
        if self.kafka is not None:
            yield from self.kafka.families()

    async def counted(self) -> Iterable[Family]:
        """Counts of what the rows hold."""
        return await self.storage.submit(lambda rows, now_ms: list(counting.of_rows(rows, now_ms)))


@asynccontextmanager
async def open_workflows(
    config: WorkflowsConfig, storage: Storage, nursery: trio.Nursery, engines: Upstreams
) -> AsyncIterator[Workflows]:
    """Starts the engine and all that is around it; the block's end is their end.

    Raises: InputError for whatever a person must mend.
    """
    engine = Engine(
        storage,
        executor=config.execution,
        offered=config.is_offered,
        outbox=config.kafka is not None,
        cache=None if config.redis is None else RedisCache(config.redis),
    )
    nursery.start_soon(engine.keep_time)
    asked = Asked(storage)
    polls = Polls(engine, asked)
    counts = Counts()
    engine.listen(counts.happened)
    async with AsyncExitStack() as stack:
        executor = None
        if config.execution == ZEEBE:
            executor = await open_executor(config, engine, storage, engines, nursery)
        kafka: Kafka | None = None
        log: Log = engine.log
        if config.kafka is not None:
            kafka, log = await stack.enter_async_context(_open_kafka(config, engine, storage))
        bridge = Bridge(log, lookup(storage), engine.history)
        nursery.start_soon(bridge.run)
        invoker = await stack.enter_async_context(open_invoker(config.providers, engine, storage))
        yield Workflows(
            config, storage, engine, asked, polls, counts, invoker, bridge, kafka, executor
        )
        polls.stop()
        if executor is not None:
            await executor.stop()


def _open_kafka(
    config: WorkflowsConfig, engine: Engine, storage: Storage
) -> AbstractAsyncContextManager["tuple[Kafka, Log]"]:
    # Imported here: librdkafka is an extra, and who has no Kafka needs none of it.
    try:
        from gossamer_gateway.runs.kafka.cluster import cluster_of  # noqa: PLC0415
        from gossamer_gateway.runs.kafka.opening import open_kafka  # noqa: PLC0415
        from gossamer_gateway.runs.kafka.topics import topics  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            f"Kafka needs a library that is not here ({error}); install it with: "
            "pip install 'gossamer[kafka]'."
        ) from None
    kafka = config.kafka
    assert kafka is not None, "it was asked for"
    return open_kafka(
        engine,
        cluster_of(kafka),
        config.is_offered,
        topics(config.retention_ms, kafka.partitions, kafka.copies),
        shared=storage.shared,
    )
