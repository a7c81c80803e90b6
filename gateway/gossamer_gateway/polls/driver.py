"""Drives the hub on trio: a task for each poll at an engine, an event for each client that waits.

A poll is a task of the driver and not of the client that caused it, so no client's going cuts it
off (`hub`, rule 2). A client that went away in the very moment in which it got its jobs hands them
back. On a stop waiting clients get nothing more, the polls under way end by themselves, and what
they bring goes back to its engine.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, cast

import trio

from gossamer_gateway.errors import GatewayError, Overloaded
from gossamer_gateway.polls.hub import Ask, Give, Hub, PutBack, Refuse, engine_of, lane
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.errors import EngineError
from gossamer_node.tracing.port import current, detach

log = logging.getLogger("gossamer.gateway")


TICK_S = 0.01
"""Between two ticks, at least: a lane whose turn came when nobody could wait for it any more stays
due until its waiters are gone."""


class Shape(Hashable, Protocol):
    """What a client asks for: equal shapes share polls. Frozen, and each dialect has its own."""

    async def poll(self, engine: Upstream, *, jobs_max: int, wait_ms: int) -> Sequence[Any]:
        """Asks an engine for jobs and has what they need on the disk.

        Returns: the jobs as the dialect answers them.
        Raises: EngineError.
        """

    async def put_back(self, engine: Upstream, jobs: Sequence[Any]) -> None:
        """Gives jobs back unworked. Raises: EngineError; then their locks end by themselves."""


class Parted(Hashable, Protocol):
    """A shape of which some engines can be asked for parts alone, as for one topic at a time."""

    async def poll_part(
        self, engine: Upstream, part: str, *, jobs_max: int, wait_ms: int
    ) -> Sequence[Any]:
        """As `Shape.poll`, for a part."""


NO_PARTS: Mapping[str, Sequence[str]] = MappingProxyType({})


class NoEngineAnswered(Exception):
    """All engines that may have jobs of a shape failed; `reasons` by engine."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = reasons
        super().__init__(" ".join(reasons.values()))


@dataclass(frozen=True, slots=True)
class _Taken:
    """A job that an engine locked for a client of this shape."""

    shape: Shape
    engine: str
    job: Any


@dataclass(slots=True, eq=False)
class _Waiter:
    answered: trio.Event = field(default_factory=trio.Event)
    jobs: tuple[_Taken, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)


class Polling:
    """All waiting clients of a gateway, and the polls for them.

    Attributes:
        stopping: set when nobody is waited for any more.
        polls, failed, brought: by engine, the polls, those that failed, and the jobs they brought.
    """

    def __init__(self, engines: Mapping[str, Upstream]) -> None:
        self._engines = engines
        self._hub: Hub[_Taken] = Hub()
        self._waiting: dict[int, _Waiter] = {}
        self._tasks: trio.Nursery | None = None
        self._sooner = trio.Event()
        self._open = 0
        self._idle = trio.Event()
        self.stopping = trio.Event()
        self.polls: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.brought: Counter[str] = Counter()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Polls until cancelled; `drain` first."""
        async with trio.open_nursery() as nursery:
            self._tasks = nursery
            task_status.started()
            while True:
                self._sooner = trio.Event()
                due_ms = self._hub.next_ms()
                left_s = float("inf") if due_ms is None else (due_ms - _now_ms()) / 1_000
                with trio.move_on_after(max(TICK_S, left_s)):
                    await self._sooner.wait()
                self._do(self._hub.tick(_now_ms()))

    async def fetch(
        self,
        shape: Shape,
        engines: Sequence[Upstream],
        *,
        wanted: int,
        wait_ms: int,
        parts: Mapping[str, Sequence[str]] = NO_PARTS,
    ) -> list[tuple[Upstream, Any]]:
        """Jobs of a shape, with whose they are, from whichever engine has some first.

        Args:
            engines: where they may be, for one shape always the same.
            wanted: at most so many, at least 1.
            wait_ms: 0 looks once.
            parts: by engine's name, what a `Parted` shape is asked for there, each by itself.

        Returns: none when the time is up.
        Raises: NoEngineAnswered; Overloaded, too many clients wait.
        """
        if self.stopping.is_set() or not engines:
            return []
        now_ms = _now_ms()
        names = [lane(one.name, part) for one in engines for part in parts.get(one.name, ("",))]
        number, actions = self._hub.wait(
            shape, names, wanted=wanted, until_ms=now_ms + wait_ms, now_ms=now_ms
        )
        if number is None:
            raise Overloaded("Too many clients of this gateway wait for jobs; try again in a while")
        waiter = self._waiting[number] = _Waiter()
        self._do(actions)
        try:
            await waiter.answered.wait()
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            if not waiter.answered.is_set():
                self._do(self._hub.leave(number, _now_ms()))
            self._hand_back(waiter.jobs)
            raise
        finally:
            self._waiting.pop(number, None)
        if waiter.reasons:
            raise NoEngineAnswered(waiter.reasons)
        return [(self._engines[one.engine], one.job) for one in waiter.jobs]

    def hand_back(self, shape: Shape, jobs: Sequence[tuple[Upstream, Any]]) -> None:
        """Gives jobs back that were fetched and could not be told to their client."""
        self._hand_back([_Taken(shape, engine.name, job) for engine, job in jobs])

    async def drain(self) -> None:
        """Answers everybody who waits, with nothing; returns when no poll is open any more."""
        self.stopping.set()
        for number, waiter in list(self._waiting.items()):
            if not waiter.answered.is_set():
                waiter.answered.set()
                self._do(self._hub.leave(number, _now_ms()))
        while self._open or self._hub.next_ms() is not None:
            await self._idle.wait()

    def statistics(self) -> Mapping[str, int]:
        """`waiting`: clients; `open`: polls at engines, and jobs on their way back."""
        return {"waiting": len(self._waiting), "open": self._open}

    def waiting(self) -> Mapping[str, int]:
        """Clients that wait for jobs of an engine, by engine; one may wait at several."""
        return self._hub.waiting()

    # --- inside

    def _do(self, actions: Iterable[object]) -> None:
        for action in actions:
            match action:
                case Ask():
                    self._begin(self._poll, action)
                case Give(number, jobs):
                    self._waiting[number].jobs = jobs
                    self._waiting[number].answered.set()
                case Refuse(number, reasons):
                    told = {engine_of(name)[0]: reason for name, reason in reasons}
                    self._waiting[number].reasons = told
                    self._waiting[number].answered.set()
                case PutBack(_, jobs):
                    self._hand_back(jobs)
        self._sooner.set()

    def _begin(self, what: Callable[..., Awaitable[None]], *arguments: object) -> None:
        assert self._tasks is not None, "the polling does not run"
        self._open += 1
        self._tasks.start_soon(self._counted, what, *arguments)

    async def _counted(self, what: Callable[..., Awaitable[None]], *arguments: object) -> None:
        try:
            await what(*arguments)
        finally:
            self._open -= 1
            self._idle.set()
            self._idle = trio.Event()

    async def _poll(self, ask: Ask) -> None:
        shape = cast("Shape", ask.shape)
        name, part = engine_of(ask.engine)
        engine = self._engines[name]
        poll = (
            partial(cast("Parted", shape).poll_part, engine, part)
            if part
            else partial(shape.poll, engine)
        )
        self.polls[name] += 1
        try:
            with current().child(f"poll {name}") as span:
                jobs = await poll(jobs_max=ask.jobs_max, wait_ms=ask.wait_ms)
                span.set("gossamer.jobs", len(jobs))
            self.brought[name] += len(jobs)
        except (EngineError, GatewayError) as error:
            self.failed[name] += 1
            actions = self._hub.failed(ask.engine, shape, str(error), _now_ms())
        except Exception:
            self.failed[name] += 1
            log.exception("a poll at %s failed by our mistake", ask.engine)
            sentence = "the gateway made a mistake; its log says which"
            actions = self._hub.failed(ask.engine, shape, sentence, _now_ms())
        else:
            taken = [_Taken(shape, name, job) for job in jobs]
            actions = self._hub.answered(ask.engine, shape, taken, _now_ms())
        detach()  # what follows is for others than who began this poll
        self._do(actions)

    def _hand_back(self, taken: Iterable[_Taken]) -> None:
        groups: dict[tuple[Shape, str], list[Any]] = {}
        for one in taken:
            groups.setdefault((one.shape, one.engine), []).append(one.job)
        for (shape, engine), jobs in groups.items():
            self._begin(self._put_back, shape, self._engines[engine], jobs)

    async def _put_back(self, shape: Shape, engine: Upstream, jobs: Sequence[Any]) -> None:
        try:
            await shape.put_back(engine, jobs)
        except (EngineError, GatewayError) as error:
            log.warning("jobs stay locked for nobody until their locks end: %s", error)
        except Exception:
            log.exception("jobs could not be given back to %s, by our mistake", engine.name)


def _now_ms() -> int:
    """On trio's clock: nothing here outlives the process."""
    return int(trio.current_time() * 1_000)
