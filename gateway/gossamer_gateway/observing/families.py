"""The gateway's work as metrics of Prometheus."""

from collections.abc import Iterator, Mapping

from gossamer_gateway.door.gate import Gate
from gossamer_gateway.observing.observing import Observing
from gossamer_gateway.observing.tally import BOUNDS_S, Times
from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.upstreams.upstream import Upstreams
from gossamer_gateway.v1.metrics import Family, Sample


def families(
    observing: Observing, engines: Upstreams, polling: Polling, gate: Gate
) -> Iterator[Family]:
    """What the gateway counted since it started."""
    names = ("dialect", "endpoint", "engine")
    yield Family(
        "requests_total",
        "counter",
        "Requests, by the endpoint's row, by the engine that they reached, and by how they ended.",
        tuple(
            ({**dict(zip(names, row[:3], strict=True)), "status": row[3]}, count)
            for row, count in sorted(observing.requests.items())
        ),
    )
    yield histogram(
        "request_seconds",
        "From a request's beginning to the end of its answer; long polls have rows of their own.",
        ((dict(zip(names, row, strict=True)), one) for row, one in sorted(observing.times.items())),
    )
    yield histogram(
        "upstream_seconds",
        "Calls at engines, until their answer.",
        (({"engine": one.name}, one.calls.times) for one in engines.all),
    )
    yield Family(
        "upstream_failures_total",
        "counter",
        "Calls at engines that had no answer.",
        tuple(({"engine": one.name}, one.calls.failed) for one in engines.all),
    )
    for name, meaning, counted in (
        ("polls", "Polls at engines for clients that wait.", polling.polls),
        ("polls_failed", "Of those, how many failed.", polling.failed),
        ("polls_jobs", "Jobs that they brought.", polling.brought),
    ):
        samples = tuple(({"engine": one.name}, counted[one.name]) for one in engines.all)
        yield Family(f"{name}_total", "counter", meaning, samples)
    yield Family(
        "door_refusals_total",
        "counter",
        "Requests that the door refused, by the status of HTTP.",
        tuple(({"status": str(one)}, count) for one, count in sorted(gate.refused.items())),
    )
    yield Family(
        "door_limits_hit_total",
        "counter",
        "Requests that found a limit's bucket empty.",
        tuple(({"limit": one}, count) for one, count in sorted(gate.limits_hit().items())),
    )


def histogram(name: str, meaning: str, rows: Iterator[tuple[Mapping[str, str], Times]]) -> Family:
    """Times by labels, as Prometheus takes them."""
    samples: list[Sample] = []
    for labels, times in rows:
        total = 0
        for bound, count in zip((*BOUNDS_S, None), times.buckets, strict=True):
            total += count
            le = "+Inf" if bound is None else f"{bound:g}"
            samples.append(({**labels, "le": le}, total, "_bucket"))
        samples += [(labels, times.sum_s, "_sum"), (labels, total, "_count")]
    return Family(name, "histogram", meaning, tuple(samples))
