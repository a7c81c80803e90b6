"""The port on OpenTelemetry's SDK, which sends spans to a collector as OTLP over HTTP.

The SDK's batch processor has a thread of its own, which waits, encodes and sends; trio's thread
makes spans and puts them into its queue, and blocks for nobody. What is not configured here follows
the SDK's environment variables, among them `OTEL_EXPORTER_OTLP_HEADERS` for a collector that asks
for a token.

Only this module imports OpenTelemetry, and only `opening` imports this one.
"""

from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from gossamer_node.tracing.port import NOTHING, Kind, Span, Value
from gossamer_node.tracing.traceparent import Traceparent

ATTRIBUTES_MAX = 16
CHARS_MAX = 256
"""Of an attribute's text; what is longer is cut."""

QUEUE_MAX = 4_096
"""Spans that wait for the collector; beyond, the newest are dropped. Some 8 MB."""

BATCH_MAX = 512
SEND_EVERY_MS = 1_000
"""A person who looks for his request finds it soon; the SDK's default is 5 s."""

SEND_S_MAX = 5
"""A collector that is slower gets nothing."""

_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class OtelTracing:
    """Traces of one process.

    Args:
        endpoint: the collector's URL, without `/v1/traces`.
        ratio: of the traces that begin here, 0 to 1.
        resource: who this is, by OpenTelemetry's names.
    """

    def __init__(self, endpoint: str, ratio: float, resource: dict[str, str]) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create(dict(resource)),
            span_limits=SpanLimits(max_span_attributes=ATTRIBUTES_MAX),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=SEND_S_MAX)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=QUEUE_MAX,
                schedule_delay_millis=SEND_EVERY_MS,
                max_export_batch_size=BATCH_MAX,
            )
        )
        self._tracer = self._provider.get_tracer("gossamer")

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: Traceparent | None = None,
        began_ns: int | None = None,
    ) -> Span:
        above = trace.INVALID_SPAN if parent is None else NonRecordingSpan(_context(parent))
        return _begun(self._tracer, above, name, kind, began_ns)

    def close(self) -> None:
        """Sends what is left. Blocks until the collector has answered, or its time is over."""
        self._provider.shutdown()


def _begun(
    tracer: trace.Tracer, above: trace.Span, name: str, kind: Kind, began_ns: int | None
) -> Span:
    one = tracer.start_span(
        name[:CHARS_MAX], set_span_in_context(above), _KINDS[kind], start_time=began_ns
    )
    said = one.get_span_context()
    told = str(Traceparent(said.trace_id, said.span_id, said.trace_flags.sampled))
    return _Recorded(tracer, one, told) if one.is_recording() else _Unsampled(told)


def _context(parent: Traceparent) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)


class _Unsampled(Span):
    """Of a trace that is not kept; other processes are told so."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def child(self, name: str, kind: Kind = "internal", began_ns: int | None = None) -> Span:
        return NOTHING


class _Recorded(Span):
    __slots__ = ("_span", "_tracer", "traceparent")

    records = True

    def __init__(self, tracer: trace.Tracer, span: trace.Span, traceparent: str) -> None:
        self._tracer = tracer
        self._span = span
        self.traceparent = traceparent

    def child(self, name: str, kind: Kind = "internal", began_ns: int | None = None) -> Span:
        return _begun(self._tracer, self._span, name, kind, began_ns)

    def set(self, name: str, value: Value) -> None:
        # The SDK would cut it, too, and write a warning each time.
        self._span.set_attribute(name, value[:CHARS_MAX] if isinstance(value, str) else value)

    def fail(self, why: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, why[:CHARS_MAX]))

    def end(self) -> None:
        self._span.end()
