"""What runs on engines, asked of each in its own way, and put together.

An engine that cannot be asked is *unknown*, with a sentence that says why; the others' answers
stand. Nothing here decides about a job: people look at it, and some seconds of age do no harm, so
answers are kept for `FRESH_S` and many pages that are open cost an engine as much as one.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import trio

from gossamer_gateway.errors import GatewayError
from gossamer_gateway.v1.shapes import (
    Diagram,
    Incident,
    Instance,
    Job,
    Listed,
    Process,
    ProcessOnEngine,
    Progress,
)
from gossamer_node.errors import EngineError

FRESH_S = 2.0

KEPT_MAX = 256
"""Answers that are kept: there are some for each engine and each filter that somebody looks by."""

T = TypeVar("T")


class EngineWork(Protocol):
    """What can be asked about one engine's work.

    Each raises EngineError (it did not answer, or refused) or GatewayError (`UnknownHere`: it
    cannot tell).
    """

    async def progress(self) -> Sequence[tuple[str, str | None, ProcessOnEngine]]:
        """Processes: id, name, and how far they are."""

    async def instances(
        self, process: str | None, state: str | None, limit: int
    ) -> Sequence[Instance]:
        """The newest instances, at most `limit`."""

    async def jobs(self, topic: str | None, limit: int) -> Sequence[Job]:
        """Jobs that are not done, of a topic or all, at most `limit`."""

    async def incidents(self, limit: int) -> Sequence[Incident]:
        """What is open, at most `limit`."""

    async def retry(self, incident: str) -> None:
        """Lets the engine try again. Raises: UnknownIncident."""

    async def diagram(self, process: str) -> Diagram:
        """The newest version. Raises: UnknownDefinition."""


class UnknownHere(GatewayError):
    """An engine that cannot be asked this."""


class Work:
    """That of all engines.

    Args:
        engines: by name, in the order of the configuration.
    """

    def __init__(self, engines: Mapping[str, EngineWork]) -> None:
        self._engines = engines
        self._kept: dict[tuple[Any, ...], tuple[float, Any]] = {}

    def of(self, engine: str) -> EngineWork | None:
        """One engine's."""
        return self._engines.get(engine)

    async def progress(self) -> Progress:
        """All processes by id, each with its engines."""
        found, unknown = await self._all(("progress",), lambda one: one.progress(), self._engines)
        by_id: dict[str, tuple[str | None, list[ProcessOnEngine]]] = {}
        for name in self._engines:
            for process, title, there in found.get(name, ()):
                title_before, engines = by_id.setdefault(process, (title, []))
                by_id[process] = (title_before or title, engines)
                engines.append(there)
        processes = [Process(one, *by_id[one]) for one in sorted(by_id)]
        return Progress(processes, unknown)

    async def instances(
        self, process: str | None, engine: str | None, state: str | None, limit: int
    ) -> Listed[Instance]:
        """The newest ones of each engine."""
        found, unknown = await self._all(
            ("instances", process, state, limit),
            lambda one: one.instances(process, state, limit + 1),
            self._chosen(engine),
        )
        items = [item for items in found.values() for item in items[:limit]]
        items.sort(key=lambda one: (-(one.started_ms or 0), one.engine, one.id))
        return Listed(items, unknown, any(len(one) > limit for one in found.values()))

    async def jobs(self, topic: str | None, engine: str | None, limit: int) -> Listed[Job]:
        """Those of each engine."""
        found, unknown = await self._all(
            ("jobs", topic, limit), lambda one: one.jobs(topic, limit + 1), self._chosen(engine)
        )
        items = [item for items in found.values() for item in items[:limit]]
        items.sort(key=lambda one: (one.topic, one.engine, one.id))
        return Listed(items, unknown, any(len(one) > limit for one in found.values()))

    async def incidents(self, engine: str | None, limit: int) -> Listed[Incident]:
        """The newest ones of each engine."""
        found, unknown = await self._all(
            ("incidents", limit), lambda one: one.incidents(limit + 1), self._chosen(engine)
        )
        items = [item for items in found.values() for item in items[:limit]]
        items.sort(key=lambda one: (-(one.at_ms or 0), one.engine, one.id))
        return Listed(items, unknown, any(len(one) > limit for one in found.values()))

    def changed(self) -> None:
        """What was kept is over."""
        self._kept.clear()

    def _chosen(self, engine: str | None) -> Mapping[str, EngineWork]:
        if engine is None:
            return self._engines
        return {engine: self._engines[engine]} if engine in self._engines else {}

    async def _all(
        self,
        what: tuple[Any, ...],
        ask: Callable[[EngineWork], Awaitable[Sequence[T]]],
        engines: Mapping[str, EngineWork],
    ) -> tuple[dict[str, Sequence[T]], dict[str, str]]:
        found: dict[str, Sequence[T]] = {}
        unknown: dict[str, str] = {}

        async def one(name: str, work: EngineWork) -> None:
            key = (name, *what)
            kept = self._kept.get(key)
            if kept is not None and trio.current_time() - kept[0] < FRESH_S:
                found[name] = kept[1]
                return
            try:
                found[name] = await ask(work)
            except (EngineError, GatewayError) as error:
                unknown[name] = str(error)
                return
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            self._kept[key] = (trio.current_time(), found[name])

        async with trio.open_nursery() as nursery:
            for name, work in engines.items():
                nursery.start_soon(one, name, work)
        return {name: found[name] for name in engines if name in found}, unknown
