"""What requests are served with: the engines, who waits for jobs, rows, and where things belong.

All dialects share one desk. Each of its parts is a port with one way to be right; the tests of the
dialects put real ones here.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gossamer_gateway.index.sightings import Sightings
from gossamer_gateway.observing.hand_outs import HandOuts
from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.routing.messages import MessageRule
from gossamer_gateway.sink.freshness import Watch
from gossamer_gateway.storage.port import Storage
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_node.engines.config import Kind

ENGINE_HEADER = "gossamer-engine"
"""Names the engine of a start, a deployment or a message, whatever the routes say."""


class Starting(Protocol):
    """Where new instances go, and messages that may start one."""

    def engine_for(
        self,
        process: str,
        *,
        business_key: str | None,
        headers: Mapping[str, str],
        dialect: Kind,
    ) -> Upstream:
        """The engine that a new instance of a process belongs to.

        Args:
            headers: the request's, in small letters.
            dialect: the client's: without a route the first engine of its own serves it.

        Raises: BadRequest: `ENGINE_HEADER` names none of ours, or there is no engine at all.
        """

    def routed(
        self, process: str, business_key: str | None, headers: Mapping[str, str]
    ) -> Upstream | None:
        """The engine that the route of a process chooses; None without one.

        Raises: EngineUnavailable: it is none of ours.
        """

    def rule_of(self, message: str) -> MessageRule | None:
        """The rule for messages of a name; None where nobody made one."""


class Whereabouts(Protocol):
    """Which engine of Camunda 7's dialect an id of theirs belongs to. Ids that tell it by their
    form (`names`) never come here."""

    async def seven_of(self, resource: str, id: str) -> Upstream | None:
        """The engine that has `/RESOURCE/ID`; None if every one answered that it hasn't.

        Args:
            resource: Camunda 7's word in the path, such as `external-task`.

        Raises: EngineUnavailable: one did not answer, and no other has it.
        """

    def seen(self, resource: str, id: str, engine: Upstream) -> None:
        """An engine showed that it has this: remembered as a hint."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One gateway's.

    Attributes:
        worker: the name under which gateways of this mesh lock tasks of Camunda 7 for clients of
            Camunda 8: the same on all of them, so that any may settle.
        hand_outs: the traces of jobs in clients' hands.
        sightings: the instances of jobs that came by.
        watch: what engines named themselves, by which the sink is judged.
    """

    engines: Upstreams
    polling: Polling
    storage: Storage
    starting: Starting
    whereabouts: Whereabouts
    worker: str
    sightings: Sightings
    watch: Watch = field(default_factory=Watch)
    hand_outs: HandOuts = field(default_factory=HandOuts)

    def noticed(self, engine: Upstream, key: int) -> None:
        """A Camunda 8 named a key of its own: of an instance that it started, of a job."""
        self.watch.noticed(engine.name, key, time.time_ns() // 1_000_000)
