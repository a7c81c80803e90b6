"""A collector of traces: a real server that takes OTLP over HTTP, and keeps what it was told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from quart import Response, request
from quart_trio import QuartTrio


@dataclass(frozen=True)
class Told:
    """A span, as the collector was told of it."""

    service: str
    instance: str
    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, str | int | bool]


@dataclass
class Collector:
    """What it was told.

    Attributes:
        url: without `/v1/traces`.
        spans: in the order in which they came.
        raw: the requests' bodies.
    """

    url: str = ""
    spans: list[Told] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[Told]:
        return [one for one in self.spans if one.name == name]

    def names_in(self, trace: str) -> set[str]:
        return {one.name for one in self.spans if one.trace == trace}

    def take(self, data: bytes) -> None:
        self.raw.append(data)
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            who = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for one in scope.spans:
                    told: dict[str, str | int | bool] = {
                        each.key: getattr(each.value, each.value.WhichOneof("value") or "")
                        for each in one.attributes
                    }
                    self.spans.append(
                        Told(
                            who["service.name"],
                            who["service.instance.id"],
                            one.name,
                            one.trace_id.hex(),
                            one.span_id.hex(),
                            one.parent_span_id.hex(),
                            one.status.code == one.status.STATUS_CODE_ERROR,
                            told,
                        )
                    )


@asynccontextmanager
async def open_collector() -> AsyncIterator[Collector]:
    """Serves on a free port for the length of a block."""
    collector = Collector()
    app = QuartTrio(__name__)

    async def traces() -> Response:
        data = await request.get_data(as_text=False)
        assert isinstance(data, bytes) and request.mimetype == "application/x-protobuf"
        collector.take(data)
        answer = ExportTraceServiceResponse().SerializeToString()
        return Response(answer, content_type="application/x-protobuf")

    app.add_url_rule("/v1/traces", "traces", traces, methods=["POST"])
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 0.1
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        (collector.url,) = await nursery.start(
            partial(serve, app, config, shutdown_trigger=stop.wait)
        )
        yield collector
        stop.set()
