"""Workflows of a running gateway: what is opened in which order, and how it goes down.

Each part that stands around the engine has one line here. What a part needs of the network and what
a person may have got wrong in its settings is opened first, so that a gateway that cannot serve
does not begin to. Parts that run are tasks of the gateway's background nursery, which is cancelled
at the very end: by then `wind_up` has answered whoever waited.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from gossamer_gateway.runs import counting, forgetting
from gossamer_gateway.runs.config import WorkflowsConfig
from gossamer_gateway.runs.counting import Counts
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.jobs import asked as asking
from gossamer_gateway.runs.jobs.asked import Asked
from gossamer_gateway.runs.jobs.polls import Polls
from gossamer_gateway.storage import Storage
from gossamer_gateway.sweeping import Sweep
from gossamer_gateway.v1.metrics import Family


@dataclass(frozen=True, slots=True)
class Workflows:
    """What doors to workflows are served with.

    Attributes:
        asked: when workers last asked for jobs of each action.
        polls: workers that wait for jobs.
    """

    config: WorkflowsConfig
    storage: Storage
    engine: Engine
    asked: Asked
    polls: Polls
    counts: Counts

    @property
    def sweeps(self) -> Mapping[Sweep, int]:
        """What is to be forgotten, as `sweeping` takes it."""
        old = partial(forgetting.sweep, retention_ms=self.config.retention_ms)
        return {old: forgetting.SWEPT_MAX, asking.sweep: asking.SWEPT_MAX}

    def wind_up(self) -> None:
        """Answers all who wait, and those to come, at once."""
        self.polls.stop()

    def families(self) -> Iterable[Family]:
        """Counts for Prometheus."""
        return counting.families(self.counts, self.polls)

    async def counted(self) -> Iterable[Family]:
        """Counts of what the rows hold."""
        return await self.storage.submit(lambda rows, now_ms: list(counting.of_rows(rows, now_ms)))


@asynccontextmanager
async def open_workflows(
    config: WorkflowsConfig, storage: Storage, nursery: trio.Nursery
) -> AsyncIterator[Workflows]:
    """Starts the engine and all that is around it; the block's end is their end.

    Raises: InputError for whatever a person must mend.
    """
    engine = Engine(storage, executor=config.execution)
    nursery.start_soon(engine.keep_time)
    asked = Asked(storage)
    polls = Polls(engine, asked)
    counts = Counts()
    engine.listen(counts.happened)
    yield Workflows(config, storage, engine, asked, polls, counts)
    polls.stop()
