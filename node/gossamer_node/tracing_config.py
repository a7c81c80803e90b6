"""Where traces go: nowhere, or to a collector of OpenTelemetry's; and which variable names one."""

from collections.abc import Iterator
from dataclasses import dataclass

from gossamer_node.engines.config import check_url
from gossamer_node.errors import InputError
from gossamer_node.schema import Field, Form, Record, Text, Whole


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """Traces. `endpoint` None: there are none. `variable` None: processes carry none."""

    endpoint: str | None = None
    percent: int = 100
    variable: str | None = None


def _base(text: str) -> str:
    try:
        check_url(text, "this")
    except InputError as error:
        raise ValueError("is no http(s) URL, or has credentials or a query") from error
    return text.rstrip("/").removesuffix("/v1/traces")


COLLECTOR = Form("a URL such as `http://localhost:4318`", _base, str)


def _check(config: TracingConfig) -> Iterator[tuple[str, str]]:
    if config.endpoint is None and config.variable is not None:
        yield "variable", "nothing is traced without an endpoint; name the collector's"


TRACING = Record(
    "Tracing",
    "OpenTelemetry's traces, sent as OTLP over HTTP; needs the extra `otel`. A span names engines, "
    "topics, ids and outcomes, never a variable's value.",
    TracingConfig,
    (
        Field(
            "endpoint",
            COLLECTOR,
            "endpoint",
            "The collector's URL; spans are posted to `/v1/traces` below it. What it asks for in "
            "headers, such as a token, is named by OpenTelemetry's own variable "
            "`OTEL_EXPORTER_OTLP_HEADERS`.",
            "Nothing is traced, and nothing is spent on it.",
            default_words="nowhere",
        ),
        Field(
            "percent",
            Whole(0, 100),
            "percent",
            "How many of the traces that begin here are kept. One that began elsewhere is kept, or "
            "is not, as it was decided there.",
            "A first look shows everything.",
        ),
        Field(
            "variable",
            Text("a variable's name", 255, pattern=r"[A-Za-z_][A-Za-z0-9_]*"),
            "variable",
            "A process variable, such as `traceparent`, that carries a trace through an engine: a "
            "gateway writes it into the instances that it starts, and nodes and gateways continue "
            "the trace with each job. Workers do not see it. The same everywhere.",
            "It stands in every instance, and a person must want that.",
            default_words="none",
        ),
    ),
    check=_check,
)
