"""Streams beside the polls: an engine that can push a job need not be waited for.

A poll that waits is woken late (Camunda 8: some tens of milliseconds); a push comes at once. But a
stream has no limit and knows no backlog, so it is a shortcut for calm times and nothing else.
Polls go on as `lanes` plans them and have the first claim on credits. Rules:

1. Streams are open while there is a credit that no poll was promised, and ended when there is
   none. A topic has none, either, while it has more than an equal part of the slots, or more work
   than the mesh can take: then polls, which are fair, bring it all, the backlog first.
2. An end is an orderly one: what was on its way is taken, too. If no credit is left for it, the
   claimer gives it back at once, as it does with what a poll brings too much.
3. The engine is not worn out: a topic's stream opens again after `REOPEN_MS` at the earliest, and
   ever later while it can't be opened.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

import trio

from gossamer_node import logs
from gossamer_node.engines.port import StreamingEngine, TopicRequest
from gossamer_node.errors import EngineError
from gossamer_node.jobs import Job

log = logs.get("pushing")

REOPEN_MS = 1_000
"""Between two streams of one topic: an engine tells all its brokers of each."""

REOPEN_MS_MAX = 30_000
"""The same, when it failed again and again: streams may be switched off, or REST alone answers."""

ON_THE_WAY_MS = 1_000
"""A pushed job was locked at most so long ago: a stream is read at once and holds little."""

STREAMS_MAX = 64
"""Streams of one claimer; each is a call that stays open at the engine."""


@dataclass(slots=True)
class _Topic:
    request: TopicRequest
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Pushing:
    """The streams of one claim loop.

    Args:
        engine: pushes.
        engine_name: for the log.
        worker_id: under which it locks.
        take: gets the jobs, with a time in trio's milliseconds before which none was locked.
        now_ms: trio's clock.
    """

    def __init__(
        self,
        engine: StreamingEngine,
        engine_name: str,
        worker_id: str,
        take: Callable[[list[Job], int], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._engine_name = engine_name
        self._worker_id = worker_id
        self._take = take
        self._now_ms = now_ms
        self._open: dict[str, _Topic] = {}
        self._after_ms: dict[str, int] = {}
        self._failures = 0
        self.jobs = 0

    def topics(self) -> list[str]:
        """Topics with a stream, open or on its way."""
        return list(self._open)

    def keep(self, wanted: Collection[str]) -> None:
        """Ends the streams of all other topics."""
        for name in [name for name in self._open if name not in wanted]:
            self._open[name].scope.cancel()

    def can_open(self, request: TopicRequest) -> bool:
        """Whether a stream may be opened now. One with other terms is ended first."""
        one = self._open.get(request.name)
        if one is not None and one.request != request:
            one.scope.cancel()
        return (
            one is None
            and len(self._open) < STREAMS_MAX
            and self._after_ms.get(request.name, 0) <= self._now_ms()
        )

    def next_look_ms(self) -> int | None:
        """When a stream may be opened that may not now; None when there is none."""
        now_ms = self._now_ms()
        self._after_ms = {name: at for name, at in self._after_ms.items() if at > now_ms}
        return min(self._after_ms.values(), default=None)

    def begin(self, request: TopicRequest) -> Callable[[], Awaitable[None]]:
        """Counts a stream as open. Returns what runs it, an async function."""
        one = self._open[request.name] = _Topic(request)

        async def run() -> None:
            try:
                await self._run(one)
                self._failures = 0
            except EngineError as error:
                self._failures += 1
                if self._failures == 1:
                    log.info(str(error), engine=self._engine_name, topic=request.name)
            finally:
                del self._open[request.name]
                pause_ms = min(REOPEN_MS_MAX, REOPEN_MS << min(self._failures, 10))
                self._after_ms[request.name] = self._now_ms() + pause_ms

        return run

    async def _run(self, one: _Topic) -> None:
        async with self._engine.stream(one.request, worker_id=self._worker_id) as pushed:
            with one.scope:
                while True:
                    self._hand_on(await pushed.receive())
            self._hand_on(await pushed.cease())

    def _hand_on(self, jobs: list[Job]) -> None:
        self.jobs += len(jobs)
        if jobs:
            self._failures = 0  # What breaks now had worked.
            self._take(jobs, self._now_ms() - ON_THE_WAY_MS)
