"""`GET /v1/workflow/providers`, and the same for Prometheus."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gossamer_gateway.observing.families import histogram
from gossamer_gateway.runs.providers.circuit import State
from gossamer_gateway.runs.providers.health import ProviderHealth
from gossamer_gateway.runs.providers.invoker import Invoker
from gossamer_gateway.v1.metrics import Family
from gossamer_gateway.v1.operations import Asked, Operation


@dataclass(frozen=True, slots=True)
class Providers:
    """Those of this gateway, as its own calls went since it started."""

    providers: list[ProviderHealth]


def rows(invoker: Invoker) -> tuple[Operation, ...]:
    """The endpoints."""

    async def health(_asked: Asked) -> Providers:
        return Providers(invoker.health())

    return (
        Operation(
            "GET",
            "/workflow/providers",
            "Providers of functions, and how they are",
            Providers,
            health,
            "workflows",
            "By this gateway's own calls since it started; another gateway may see another state.",
        ),
    )


def families(invoker: Invoker) -> Iterator[Family]:
    """Counts for Prometheus."""
    found: list[tuple[Mapping[str, str], Any]] = [
        ({"provider": name, "region": region}, tally)
        for (name, region), tally in invoker.tallies.all()
    ]
    yield Family(
        "function_calls_total",
        "counter",
        "Calls of functions, by how they ended: well, by the function's own error, by the "
        "provider's failure, or refused by the open circuit.",
        tuple(
            ({**labels, "ended": ended}, count)
            for labels, one in found
            for ended, count in (
                ("well", one.calls - one.failed - one.errors),
                ("error", one.errors),
                ("failed", one.failed),
                ("refused", one.refused),
            )
        ),
    )
    yield Family(
        "function_failures_total",
        "counter",
        "Calls of functions that failed, by code.",
        tuple(
            ({**labels, "code": code}, count)
            for labels, one in found
            for code, count in sorted(one.failures.items())
        ),
    )
    yield Family(
        "function_calls_open",
        "gauge",
        "Calls of functions at work.",
        tuple((labels, one.at_work) for labels, one in found),
    )
    yield Family(
        "function_circuit_open",
        "gauge",
        "1 where the circuit is open, 0.5 half open, 0 closed.",
        tuple((labels, _OPEN[one.circuit.state]) for labels, one in found),
    )
    yield histogram(
        "function_call_seconds",
        "Calls of functions until their end.",
        ((labels, one.times) for labels, one in found),
    )


_OPEN = {State.CLOSED: 0.0, State.HALF_OPEN: 0.5, State.OPEN: 1.0}
