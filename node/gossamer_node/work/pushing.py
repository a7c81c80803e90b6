"""Streams beside the polls: an engine that can push a job need not be waited for.

A poll that waits is woken late (Camunda 8: some tens of milliseconds); a push comes at once. But a
stream has no limit and knows no backlog, so it is a shortcut for calm times and nothing else.
Polls go on as `lanes` plans them and have the first claim on credits. Rules:

1. Streams are open while there is a credit that no poll was promised, and ended when there is
   none. A topic has none, either, while it has more than an equal part of the slots, or more work
   than the mesh can take: then polls, which are fair, bring it all, the backlog first.
2. An end is an orderly one: what was on its way is taken, too. If no credit is left for it, the
   claimer gives it back at once, as it does with what a poll brings too much.
3. A stream is no older than a long poll may be: what the engine pushes to a claimer that is gone
   with its machine stays locked for nobody. The next one takes over at once; in between a poll
   waits, as always.
4. The engine is not worn out: a topic's stream that was ended opens again after `REOPEN_MS` at the
   earliest, and ever later while it can't be opened.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from gossamer_node import logs
from gossamer_node.engines.port import STREAM_MS_MAX, StreamingEngine, TopicRequest
from gossamer_node.errors import EngineError
from gossamer_node.jobs import Job

log = logs.get("pushing")

REOPEN_MS = 1_000
"""Between two streams of one topic: an engine tells all its brokers of each."""

REOPEN_MS_MAX = 30_000
"""The same, when it failed again and again: streams may be switched off, or REST alone answers."""

STREAMS_MAX = 64
"""Streams of one claimer; each is a call that stays open at the engine."""


@dataclass(slots=True)
class _Open:
    request: TopicRequest
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


@dataclass(slots=True)
class _Rest:
    until_ms: int
    failures: int


class Pushing:
    """The streams of one claim loop.

    Args:
        engine: pushes.
        engine_name: for the log.
        worker_id: under which it locks.
        take: gets the jobs, as soon as they are here.
        now_ms: trio's clock.
    """

    def __init__(
        self,
        engine: StreamingEngine,
        engine_name: str,
        worker_id: str,
        take: Callable[[list[Job]], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._engine_name = engine_name
        self._worker_id = worker_id
        self._take = take
        self._now_ms = now_ms
        self._open: dict[str, _Open] = {}
        self._rests: dict[str, _Rest] = {}

    def topics(self) -> list[str]:
        """Topics with a stream, open or on its way."""
        return list(self._open)

    def turn_to(self, wanted: Sequence[TopicRequest]) -> list[Callable[[], Awaitable[None]]]:
        """Ends the streams of all other topics, and those with other terms. Returns what opens and
        runs those that are missing, async functions: each counts as open from now on."""
        terms = {one.name: one for one in wanted}
        for name, one in self._open.items():
            if terms.get(name) != one.request:
                one.scope.cancel()
        return [self._begin(one) for one in wanted if self._can_open(one.name)]

    def next_look_ms(self) -> int | None:
        """When a stream may be opened that may not now; None when there is none."""
        now_ms = self._now_ms()
        # Failures are forgotten in the end: topics come and go for months.
        self._rests = {
            name: rest
            for name, rest in self._rests.items()
            if rest.until_ms + (REOPEN_MS_MAX if rest.failures else 0) > now_ms
        }
        ends_ms = [rest.until_ms for rest in self._rests.values() if rest.until_ms > now_ms]
        return min(ends_ms, default=None)

    def _can_open(self, name: str) -> bool:
        rest = self._rests.get(name)
        return (
            name not in self._open
            and len(self._open) < STREAMS_MAX
            and (rest is None or rest.until_ms <= self._now_ms())
        )

    def _begin(self, request: TopicRequest) -> Callable[[], Awaitable[None]]:
        one = self._open[request.name] = _Open(request)

        async def run() -> None:
            rest = self._rests.setdefault(request.name, _Rest(0, 0))
            pause_ms = REOPEN_MS
            try:
                await self._run(one, rest)
                rest.failures = 0
                pause_ms = 0 if one.scope.deadline <= trio.current_time() else REOPEN_MS
            except EngineError as error:
                rest.failures += 1
                pause_ms = min(REOPEN_MS_MAX, REOPEN_MS << min(rest.failures, 10))
                if rest.failures == 1:
                    log.info(str(error), engine=self._engine_name, topic=request.name)
            finally:
                del self._open[request.name]
                self._rests[request.name] = _Rest(self._now_ms() + pause_ms, rest.failures)

        return run

    async def _run(self, one: _Open, rest: _Rest) -> None:
        async with self._engine.stream(one.request, worker_id=self._worker_id) as pushed:
            one.scope.deadline = trio.current_time() + STREAM_MS_MAX / 1_000
            with one.scope:
                while True:
                    self._hand_on(await pushed.receive(), rest)
            self._hand_on(await pushed.cease(), rest)

    def _hand_on(self, jobs: list[Job], rest: _Rest) -> None:
        if jobs:
            rest.failures = 0  # What breaks now had worked.
            self._take(jobs)
