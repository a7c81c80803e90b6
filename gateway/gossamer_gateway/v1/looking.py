"""Whether the gateway's engines answer: asked while somebody watches, told when it changes.

An upstream knows of its own last call only. A gateway without clients makes none, and a person who
looks would see an engine that stopped an hour ago as one that answers. So while anybody watches,
each engine is asked for its version, once in `LOOK_S`.
"""

from dataclasses import asdict, dataclass
from typing import Final

import trio

from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_gateway.v1.shapes import Engine
from gossamer_gateway.watching.watching import Watching
from gossamer_node.errors import EngineError

LOOK_S = 2.0
"""Between two questions to an engine."""

ANSWER_MS_MAX = 5_000
"""Longer than that, and it is not what a person calls answering."""


@dataclass(frozen=True, slots=True)
class _Said:
    product: str | None
    version: str | None


class Looking:
    """One gateway's."""

    def __init__(self, engines: Upstreams, polling: Polling, watching: Watching) -> None:
        self.engines: Final = engines
        self._polling = polling
        self._watching = watching
        self._said: dict[str, _Said] = {}
        self._asked: set[str] = set()
        self._told: dict[str, tuple[bool | None, str | None]] = {}

    async def run(self) -> None:
        """Asks until cancelled."""
        while True:
            if self._watching.watchers or len(self._asked) < len(self.engines.all):
                async with trio.open_nursery() as nursery:
                    for one in self.engines.all:
                        nursery.start_soon(self._look, one)
            self._tell()
            await trio.sleep(LOOK_S)

    def all(self) -> list[Engine]:
        """In the order of the configuration."""
        waiting = self._polling.waiting()
        nodes = [one for one in self._watching.picture.nodes() if one.state in ("alive", "suspect")]
        return [
            Engine(
                name=one.name,
                kind=one.kind,
                answers=self._answers(one),
                silent_since_ms=one.failed_ms,
                product=self._of(one).product,
                version=self._of(one).version,
                waiting=waiting.get(one.name, 0),
                polls_open=sum(
                    seen.polls_open + seen.streams_open
                    for node in nodes
                    for seen in node.engines
                    if seen.name == one.name
                ),
                nodes=[
                    node.id
                    for node in nodes
                    if any(seen.name == one.name and seen.reachable for seen in node.engines)
                ],
                claimers={
                    group: node.id
                    for node in nodes
                    for group in node.claims
                    if group.rpartition("/")[0] == one.name
                },
            )
            for one in self.engines.all
        ]

    def _answers(self, engine: Upstream) -> bool | None:
        if engine.failed_ms is not None:
            return False
        return True if engine.name in self._asked else None

    def _of(self, engine: Upstream) -> _Said:
        return self._said.get(engine.name, _Said(None, None))

    async def _look(self, engine: Upstream) -> None:
        target = "/version" if engine.kind == "camunda7" else "/v2/topology"
        try:
            answer = await engine.ask("GET", target, within_ms=ANSWER_MS_MAX)
        except EngineError:
            self._asked.add(engine.name)
            return
        self._asked.add(engine.name)
        told = answer.json_object()
        version = told.get("version") or told.get("gatewayVersion")
        own = {"camunda7": "Camunda 7", "camunda8": "Camunda 8"}[engine.kind]
        product = str(told.get("product", own))[:64]
        if answer.status == 200 and isinstance(version, str):
            self._said[engine.name] = _Said(product, version[:64])

    def _tell(self) -> None:
        for one in self.all():
            now = (one.answers, one.version)
            if self._told.get(one.name) != now:
                self._told[one.name] = now
                self._watching.tell("engine.changed", one.name, asdict(one))
