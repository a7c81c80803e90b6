"""Asks everybody who can tell how many instances of a process there are.

A Camunda 7 is asked itself, over whatever the gateway reaches it by; for a Camunda 8 the sink is
asked. A source that cannot answer now says so by None: one engine that is down leaves its own
figures unknown, and all others as they are.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import trio

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.sink.bulk import Submit
from gossamer_gateway.sink.freshness import Watch
from gossamer_gateway.sink.progress import (
    ENGINE,
    EXPORTER,
    Figures,
    Progress,
    Told,
    combine,
)
from gossamer_gateway.sink.reading import look
from gossamer_gateway.storage.port import Rows

PROCESSES_MAX = 200
"""Processes of one answer: a Camunda 7 is asked four questions about each."""

ANSWER_S_MAX = 10.0
"""An engine that does not answer within it is unknown."""


class Source(Protocol):
    """Somebody who can tell of one engine's processes."""

    async def tell(self, process: str) -> Told | None:
        """What is known of a process; None for nothing. Never raises."""


Get = Callable[[str, Mapping[str, str]], Awaitable[int | None]]
"""Gets a count of a Camunda 7: path below its REST API, and parameters. None where it is refused,
or not there."""


class Camunda7Source:
    """A Camunda 7, or the embedded engine, by its own counts.

    What it keeps of ended instances is its own affair: with a history level of `none` it counts
    none of them, and after its cleanup fewer. Where it evidently keeps no history, they are
    unknown.
    """

    def __init__(self, get: Get, clock: Callable[[], int]) -> None:
        self._get = get
        self._clock = clock

    async def tell(self, process: str) -> Told | None:
        now_ms = self._clock()
        one = {"processDefinitionKey": process}
        live = await self._get("/process-instance/count", one)
        if live is None:
            return None
        failed = 0 if live == 0 else await self._get(
            "/process-instance/count", one | {"withIncident": "true"}
        )  # fmt: skip
        started = await self._get("/history/process-instance/count", one)
        finished = None
        if started is not None and (started < live or not await self._has_history(started)):
            started = None
        if started is not None:
            finished = await self._get(
                "/history/process-instance/count", one | {"finished": "true"}
            )
        return Told(ENGINE, Figures(live, started, finished, failed), now_ms)

    async def _has_history(self, started: int) -> bool:
        if started > 0:
            return True
        # None of this process: are there others, and is there anything that it could have kept?
        if await self._get("/history/process-instance/count", {}):
            return True
        return await self._get("/process-instance/count", {}) == 0


class SinkSource:
    """A Camunda 8 by what its exporter told."""

    def __init__(self, submit: Submit, engine: str, watch: Watch) -> None:
        self._submit = submit
        self._engine = engine
        self._watch = watch

    async def tell(self, process: str) -> Told | None:
        def ask(rows: Rows, now_ms: int) -> Told | None:
            view = look(rows, self._engine, now_ms, self._watch)
            counts = view.counts(process) if view is not None else []
            if view is None or not counts:
                return None  # it may have been deployed before the sink was there
            (one,) = counts
            figures = Figures(one.live, one.started, one.completed + one.cancelled, one.failed)
            # It is silent while nothing happens; so it holds until now, but for the delay.
            return Told(EXPORTER, figures, now_ms - view.as_of.behind_ms, view.as_of.since_ms)

        try:
            return await self._submit(ask)
        except (StorageFailed, Overloaded):
            return None


async def gather(
    processes: Sequence[str], sources: Mapping[str, Sequence[Source]]
) -> list[Progress]:
    """Every process in every engine; the engines are asked at the same time.

    Args:
        processes: at most `PROCESSES_MAX` of them are asked about.
        sources: who can tell, by engine.
    """
    told: dict[tuple[str, str], list[Told | None]] = {}

    async def ask(engine: str, source: Source) -> None:
        with trio.move_on_after(ANSWER_S_MAX):
            for process in processes[:PROCESSES_MAX]:
                told[process, engine].append(await source.tell(process))

    async with trio.open_nursery() as nursery:
        for engine, ones in sources.items():
            for process in processes[:PROCESSES_MAX]:
                told[process, engine] = []
            for source in ones:
                nursery.start_soon(ask, engine, source)
    return [combine(process, engine, ones) for (process, engine), ones in told.items()]
