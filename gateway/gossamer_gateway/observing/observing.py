"""Observes requests over HTTP and gRPC: each is counted and timed, and is a span of a trace.

The door says which endpoint it is (`door.rules` has a row for each), the engines note themselves
(`current`), and the trace begins here or goes on from the client's `traceparent` header.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from gossamer_gateway.door.rules import GRPC, SERVICE
from gossamer_gateway.grpc import Asked, Handler
from gossamer_gateway.observing.current import Reached
from gossamer_gateway.observing.hand_outs import HandOuts
from gossamer_gateway.observing.tally import Times
from gossamer_node.grpc import RpcError
from gossamer_node.tracing import port, traceparent
from gossamer_node.tracing.port import NO_TRACING, Tracing
from gossamer_node.tracing.traceparent import Traceparent

OTHER: Final = "other"
"""The endpoint of a request that no row names."""

HEADER: Final = b"traceparent"


_DIALECTS: Final = ("engine-rest", "v2", "v1", "workflow", "executions")


def dialect_of(path: str) -> str:
    """The first word of the path, if it is one of these; else `other`."""
    first = path[1:].partition("/")[0]
    return first if first in _DIALECTS else OTHER


class Visit:
    """A request that is observed.

    Attributes:
        status: of its answer: HTTP's, or a word of gRPC's; 0 while there is none.
        timed: whether how long it took says anything; not of a WebSocket.
    """

    __slots__ = ("span", "status", "timed")

    def __init__(self, span: port.Span) -> None:
        self.span = span
        self.status: int | str = 0
        self.timed = True


class Observing:
    """What a gateway saw of its requests.

    Args:
        variable: the process variable that carries a trace; None for none.

    Attributes:
        hand_outs: the traces of jobs in clients' hands.
        requests: by dialect, endpoint, engine and status.
        times: by dialect, endpoint and engine.
    """

    def __init__(self, tracing: Tracing = NO_TRACING, variable: str | None = None) -> None:
        self._tracing = tracing
        self.variable = variable
        self.hand_outs = HandOuts(tracing, variable)
        self.requests: dict[tuple[str, str, str, str], int] = {}
        self.times: dict[tuple[str, str, str], Times] = {}

    @contextmanager
    def visit(
        self, dialect: str, endpoint: str, header: bytes | None, job: Traceparent | None = None
    ) -> Iterator[Visit]:
        """Observes a request for the length of a block.

        Args:
            endpoint: a row's, such as `POST /engine-rest/message`; empty for none.
            header: the client's `traceparent`.
            job: without that, the trace of the job that the request is about.
        """
        endpoint = endpoint or OTHER
        parent = job if header is None else traceparent.read(header.decode("latin-1"))
        name = endpoint if endpoint != OTHER else f"{dialect} {OTHER}"
        with Reached() as reached, self._tracing.begin(name, "server", parent) as span:
            visit = Visit(span)
            began_ns = time.perf_counter_ns()
            try:
                yield visit
            finally:
                self._note(visit, dialect, endpoint, reached.engine, began_ns)

    def _note(self, visit: Visit, dialect: str, endpoint: str, engine: str, began_ns: int) -> None:
        status = visit.status
        if isinstance(status, int):
            status = f"{status // 100}xx" if status else "none"
        row = (dialect, endpoint, engine, status)
        self.requests[row] = self.requests.get(row, 0) + 1
        if visit.timed:
            times = self.times.get(row[:3])
            if times is None:
                times = self.times[row[:3]] = Times()
            times.note(time.perf_counter_ns() - began_ns)
        if visit.span.records:
            visit.span.set("gossamer.dialect", dialect)
            visit.span.set("gossamer.engine", engine)
            visit.span.set("http.route", endpoint.rpartition(" ")[2])
            if isinstance(visit.status, int):
                visit.span.set("http.response.status_code", visit.status)
            else:
                visit.span.set("rpc.grpc.status", visit.status)
            if status in ("5xx", "none"):
                visit.span.fail(status)

    def methods(self, methods: Mapping[str, Handler]) -> dict[str, Handler]:
        """gRPC methods, observed."""
        return {path: self._observed(handler) for path, handler in methods.items()}

    def _observed(self, handler: Handler) -> Handler:
        async def observed(asked: Asked) -> None:
            endpoint = asked.path.removeprefix(SERVICE) if asked.path in GRPC else ""
            job = self.hand_outs.of_call(asked.path, asked.request)
            with self.visit("grpc", endpoint, asked.metadata.get(HEADER), job) as visit:
                try:
                    await handler(asked)
                    visit.status = "OK"
                except RpcError as error:
                    visit.status = error.code.name
                    raise

        return observed
