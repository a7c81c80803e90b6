"""The endpoints of `/v1`, each a row, and what they are served with.

Nothing here knows of HTTP but for `create_blueprint`: it gives each row its route and turns what is
raised into problems.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

from quart import Blueprint
from quart.wrappers import Response
from werkzeug.exceptions import HTTPException

from gossamer_gateway.errors import (
    GatewayError,
    Overloaded,
    RequestError,
    StorageFailed,
    UnknownDefinition,
    UnknownInstance,
)
from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.upstreams.upstream import Upstreams
from gossamer_gateway.v1 import events, metrics
from gossamer_gateway.v1.looking import Looking
from gossamer_gateway.v1.metrics import Counted, More
from gossamer_gateway.v1.openapi import document
from gossamer_gateway.v1.operations import (
    AFTER,
    LIMIT,
    Asked,
    Operation,
    Parameter,
    broken,
    http_error,
    json_response,
    page,
    problem,
)
from gossamer_gateway.v1.seven import FILTERS, UnknownIncident
from gossamer_gateway.v1.shapes import (
    Diagram,
    Engine,
    Health,
    Incident,
    Instance,
    Job,
    Listed,
    Page,
    Progress,
    Resolved,
)
from gossamer_gateway.v1.work import UnknownHere, Work
from gossamer_gateway.watching.shapes import Event, Lease, Node, Service
from gossamer_gateway.watching.watching import Watching
from gossamer_node.errors import EngineError, EngineUnavailable

SNAPSHOT_MAX = 2_000
"""Leases, and services, that who follows the events begins with; the page says how many there are
beyond."""


@dataclass(frozen=True)
class Sources:
    """What `/v1` is served with.

    Attributes:
        name, gateway: this gateway's name and node id.
        work: what runs on the engines.
        metrics: of other parts of the gateway.
        described: OpenAPI path items of other blueprints under `/v1`, by path.
        operations: of other blueprints, whose rows are in the document as well.
        counted: metrics for which something has to be asked.
    """

    name: str
    gateway: str
    engines: Upstreams
    polling: Polling
    watching: Watching
    looking: Looking
    work: Work
    metrics: tuple[More, ...] = ()
    described: Mapping[str, Any] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    counted: tuple[Counted, ...] = ()


_ENGINE = Parameter("engine", "Of this engine alone.")
_UNAVAILABLE = {503: "An engine does not answer, or the gateway is overloaded."}


class _Views:
    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._watching = sources.watching
        self._picture = sources.watching.picture
        self._started_s = time.monotonic()
        self._document: bytes | None = None

    def table(self) -> tuple[Operation, ...]:
        """All endpoints but for the events."""
        process = Parameter("process", "The process's id.", "path")
        return (
            Operation("GET", "/health", "Is this gateway well?", Health, self.health, "gateway"),
            Operation(
                "GET", "/metrics", "Counts for Prometheus", str, self.metrics, "gateway",
                media=metrics.MEDIA,
            ),
            Operation(
                "GET", "/openapi.json", "This document", dict[str, Any], self.document, "gateway"
            ),
            Operation(
                "GET", "/nodes", "Members of the mesh", Page[Node], self.nodes, "mesh",
                "Members that are there, and for ten minutes those that went.",
                (
                    Parameter("state", "In this state.", choices=_STATES),
                    LIMIT,
                    AFTER,
                ),
            ),
            Operation(
                "GET", "/nodes/{node}", "One member", Node, self.node, "mesh",
                parameters=(Parameter("node", "Its id.", "path"),),
                errors={404: "There is no such member."},
            ),
            Operation(
                "GET", "/services", "Services, and where they run", Page[Service], self.services,
                "mesh", parameters=(Parameter("node", "On this node."), LIMIT, AFTER),
            ),
            Operation(
                "GET", "/leases", "Jobs on their way through the mesh", Page[Lease], self.leases,
                "mesh",
                "As their claimers said when they were last asked: once a second while somebody "
                "follows the events, seldom else.",
                (
                    _ENGINE,
                    Parameter("holder", "Held by the node of this id."),
                    LIMIT,
                    AFTER,
                ),
            ),
            Operation(
                "GET", "/engines", "Engines behind this gateway", list[Engine], self.engines,
                "engines",
            ),
            Operation(
                "GET", "/progress", "How far processes are, on each engine", Progress,
                self.progress, "engines", errors=_UNAVAILABLE,
            ),
            Operation(
                "GET", "/instances", "Instances, the newest first", Listed[Instance],
                self.instances, "engines",
                parameters=(
                    Parameter("process", "Of this process."),
                    _ENGINE,
                    Parameter("state", "In this state.", choices=tuple(FILTERS)),
                    LIMIT,
                ),
                errors=_UNAVAILABLE | {404: "There is no such engine."},
            ),
            Operation(
                "GET", "/jobs", "Jobs that wait for a worker, or that one has", Listed[Job],
                self.jobs, "engines",
                "Of all engines, whoever works them: nodes of the mesh, or clients.",
                (Parameter("topic", "Of this topic alone."), _ENGINE, LIMIT),
                errors=_UNAVAILABLE | {404: "There is no such engine."},
            ),
            Operation(
                "GET", "/incidents", "What keeps instances from going on", Listed[Incident],
                self.incidents, "engines", parameters=(_ENGINE, LIMIT),
                errors=_UNAVAILABLE | {404: "There is no such engine."},
            ),
            Operation(
                "POST", "/incidents/{incident}/resolution", "Let the engine try again", Resolved,
                self.resolve, "engines",
                parameters=(
                    Parameter("incident", "`ENGINE:ID` of the incident.", "path"),
                ),
                errors=_UNAVAILABLE | {404: "There is none such.", 409: "The engine says no."},
            ),
            Operation(
                "GET", "/processes/{process}/diagram", "A process, and where its instances are",
                Diagram, self.diagram, "engines",
                parameters=(process, Parameter("engine", "Where it is deployed; the first that "
                                               "has it, unless told.")),
                errors=_UNAVAILABLE | {404: "It is deployed nowhere here."},
            ),
        )  # fmt: skip

    # --- the gateway

    async def health(self, _asked: Asked) -> Health:
        engines = {one.name: one.answers for one in self._sources.looking.all()}
        return Health(
            status="degraded" if False in engines.values() else "serving",
            gateway=self._sources.gateway,
            name=self._sources.name,
            version=version("gossamer"),
            up_ms=round((time.monotonic() - self._started_s) * 1_000),
            members=sum(one.state in ("alive", "suspect") for one in self._picture.nodes()),
            engines=engines,
            waiting=self._sources.polling.statistics()["waiting"],
            watchers=self._watching.watchers,
        )

    async def metrics(self, asked: Asked) -> str:
        engines = self._sources.looking.all()
        own = metrics.families(
            await self.health(asked), engines, self._picture, self._watching.counts
        )
        more = [family for each in self._sources.metrics for family in each()]
        for each in self._sources.counted:
            more += await each()
        return metrics.text([*own, *more])

    async def document(self, _asked: Asked) -> Response:
        if self._document is None:
            made = document(
                (*self.table(), *self._sources.operations),
                version("gossamer"),
                {**self._sources.described, **_EVENTS},
                (Event,),
            )
            self._document = await json_response(made).get_data(as_text=False)
        assert isinstance(self._document, bytes)
        return Response(self._document, content_type="application/json")

    # --- the mesh

    async def nodes(self, asked: Asked) -> Page[Node]:
        state = asked.get("state")
        found = [one for one in self._picture.nodes() if state in (None, one.state)]
        found.sort(key=lambda one: one.id)
        return Page(*page(found, lambda one: one.id, asked))

    async def node(self, asked: Asked) -> Node | Response:
        found = self._picture.node(asked["node"])
        return found or problem(404, "Unknown node", f"there is no member {asked['node']}")

    async def services(self, asked: Asked) -> Page[Service]:
        node = asked.get("node")
        found = [
            one
            for one in self._picture.services()
            if node is None or any(there.node == node for there in one.nodes)
        ]
        return Page(*page(found, lambda one: one.name, asked))

    async def leases(self, asked: Asked) -> Page[Lease]:
        engine, holder = asked.get("engine"), asked.get("holder")
        found = [
            one
            for one in self._picture.leases()
            if engine in (None, one.engine) and holder in (None, one.holder)
        ]
        found.sort(key=lambda one: one.id)
        return Page(*page(found, lambda one: one.id, asked))

    # --- the engines

    async def engines(self, _asked: Asked) -> list[Engine]:
        return self._sources.looking.all()

    async def progress(self, _asked: Asked) -> Progress:
        return await self._sources.work.progress()

    async def instances(self, asked: Asked) -> Listed[Instance] | Response:
        engine = asked.get("engine")
        if engine is not None and self._sources.engines.named(engine) is None:
            return self._no_engine(engine)
        return await self._sources.work.instances(
            asked.get("process"), engine, asked.get("state"), asked.limit
        )

    async def jobs(self, asked: Asked) -> Listed[Job] | Response:
        engine = asked.get("engine")
        if engine is not None and self._sources.engines.named(engine) is None:
            return self._no_engine(engine)
        return await self._sources.work.jobs(asked.get("topic"), engine, asked.limit)

    async def incidents(self, asked: Asked) -> Listed[Incident] | Response:
        engine = asked.get("engine")
        if engine is not None and self._sources.engines.named(engine) is None:
            return self._no_engine(engine)
        return await self._sources.work.incidents(engine, asked.limit)

    async def resolve(self, asked: Asked) -> Resolved | Response:
        engine, _, id = asked["incident"].partition(":")
        work = self._sources.work.of(engine)
        if work is None or not id:
            return self._no_engine(engine)
        await work.retry(id)
        self._sources.work.changed()
        self._watching.tell("incident.resolved", asked["incident"], {"engine": engine, "id": id})
        return Resolved(id, engine)

    async def diagram(self, asked: Asked) -> Diagram | Response:
        process, engine = asked["process"], asked.get("engine")
        if engine is not None:
            work = self._sources.work.of(engine)
            return self._no_engine(engine) if work is None else await work.diagram(process)
        unknown: Exception | None = None
        for one in self._sources.engines.all:
            work = self._sources.work.of(one.name)
            if work is None:
                continue
            try:
                return await work.diagram(process)
            except UnknownDefinition:
                continue
            except (UnknownHere, EngineError) as error:
                unknown = error
        if unknown is not None:
            raise unknown
        return problem(404, "Unknown process", f"process {process} is deployed nowhere here")

    def _no_engine(self, name: str) -> Response:
        known = ", ".join(one.name for one in self._sources.engines.all) or "none"
        return problem(404, "Unknown engine", f"there is no engine {name} here; there are {known}")

    def snapshot(self) -> dict[str, Any]:
        """What who follows the events begins with."""
        services, leases = self._picture.services(), self._picture.leases()
        return {
            "number": self._picture.number,
            "gateway": self._sources.gateway,
            "name": self._sources.name,
            "version": version("gossamer"),
            "nodes": self._picture.nodes(),
            "services": services[:SNAPSHOT_MAX],
            "services_total": len(services),
            "leases": leases[:SNAPSHOT_MAX],
            "leases_total": len(leases),
            "engines": self._sources.looking.all(),
        }


_STATES = ("alive", "suspect", "dead", "left")

_EVENTS: Mapping[str, Any] = {
    "/v1/events": {
        "get": {
            "operationId": "get-events",
            "summary": "What changes, as it happens",
            "tags": ["mesh"],
            "description": (
                "A WebSocket, or server-sent events. First comes the whole picture "
                "(`picture`), then each change, as `Event`: `node.joined`, `node.suspected`, "
                "`node.died`, `node.left`, `lease.granted`, `lease.waiting`, `lease.moved`, "
                "`lease.inherited`, `lease.orphaned`, `lease.ended`, `service.changed`, "
                "`engine.changed`, `incident.resolved`, … Who reads too slowly is cut off, and "
                "begins anew with a new picture."
            ),
            "responses": {
                "200": {
                    "description": "It goes on until one side ends it.",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}},
                },
                **{
                    status: {
                        "description": when,
                        "content": {
                            "application/problem+json": {
                                "schema": {"$ref": "#/components/schemas/Problem"}
                            }
                        },
                    }
                    for status, when in (
                        ("406", "The client wants another form."),
                        ("503", "Too many follow already."),
                    )
                },
            },
        }
    }
}


def create_blueprint(sources: Sources) -> Blueprint:
    """Everything under `/v1` but for routes and overrides."""
    routes = Blueprint("v1", __name__)
    views = _Views(sources)
    for one in views.table():
        rule = one.path.replace("{", "<").replace("}", ">")
        routes.add_url_rule(rule, one.id, partial(one.respond), methods=[one.method])
    events.register(routes, sources.watching, views.snapshot)
    routes.register_error_handler(GatewayError, _refused)
    routes.register_error_handler(EngineError, _engine_failed)
    routes.register_error_handler(HTTPException, http_error)
    routes.register_error_handler(Exception, broken)
    return routes


async def _refused(error: Exception) -> Response:
    if isinstance(error, UnknownIncident | UnknownDefinition | UnknownInstance):
        return problem(404, "Not found", str(error))
    if isinstance(error, RequestError):
        return problem(400, "Bad request", str(error))
    if isinstance(error, UnknownHere):
        return problem(503, "Unknown", str(error))
    if isinstance(error, Overloaded | StorageFailed):
        return problem(503, "Overloaded", str(error))
    return await broken(error)


async def _engine_failed(error: Exception) -> Response:
    if isinstance(error, EngineUnavailable):
        return problem(503, "Engine unavailable", str(error))
    return problem(409, "Engine refused", str(error))
