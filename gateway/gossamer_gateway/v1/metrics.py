"""The gateway's counts for Prometheus (its documentation, "Text-based format", version 0.0.4).

Nodes tell their own (`gossamer_node.metrics`), and whoever wants a node's figures asks the node.
Here is what the gateway alone knows, and the mesh as it sees it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from gossamer_gateway.v1.shapes import Engine, Health
from gossamer_gateway.watching.picture import Picture, counters

MEDIA = "text/plain; version=0.0.4; charset=utf-8"

PREFIX = "gossamer_gateway_"


Sample = tuple[Mapping[str, str], float] | tuple[Mapping[str, str], float, str]
"""Labels and value; of a histogram also the end of its name: `_bucket`, `_sum`, `_count`."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with its samples.

    Attributes:
        name: without the prefix.
        kind: `gauge`, `counter` or `histogram`.
    """

    name: str
    kind: str
    meaning: str
    samples: tuple[Sample, ...]


More = Callable[[], Iterable[Family]]
"""Metrics of another part of the gateway."""

Counted = Callable[[], Awaitable[Iterable[Family]]]
"""Metrics for which another part asks, as its rows."""


def text(families: Iterable[Family]) -> str:
    """The exposition format."""
    lines: list[str] = []
    for one in families:
        name = PREFIX + one.name
        lines += [f"# HELP {name} {one.meaning}", f"# TYPE {name} {one.kind}"]
        for labels, value, *ending in one.samples:
            lines.append(f"{name}{''.join(ending)}{_labels(labels)} {value:.15g}")
    return "\n".join(lines) + "\n"


def families(
    health: Health, engines: Iterable[Engine], picture: Picture, counts: Mapping[str, int]
) -> Iterator[Family]:
    """What there is to say.

    Args:
        counts: of `Watching`.
    """
    own = {"name": health.name, "version": health.version}
    yield Family("info", "gauge", "Always 1; says which gateway this is.", ((own, 1),))
    yield _one("up_seconds", "gauge", "Since the gateway started.", health.up_ms / 1_000)
    yield _one("clients_waiting", "gauge", "Clients that wait for jobs.", health.waiting)
    yield _one("watchers", "gauge", "Who follows the events.", health.watchers)
    known = [(one, one.answers) for one in engines]
    yield Family(
        "engine_answers",
        "gauge",
        "Whether an engine answers; missing where it was not asked yet.",
        tuple(({"engine": one.name}, int(yes)) for one, yes in known if yes is not None),
    )
    yield Family(
        "engine_clients_waiting",
        "gauge",
        "Clients that wait for jobs of an engine.",
        tuple(({"engine": one.name}, one.waiting) for one, _ in known),
    )
    nodes = picture.nodes()
    states = Counter(one.state for one in nodes)
    yield Family(
        "members",
        "gauge",
        "Members of the mesh, as this gateway sees them.",
        tuple(({"state": one}, states[one]) for one in ("alive", "suspect", "dead", "left")),
    )
    leases = Counter((one.engine, one.state) for one in picture.leases())
    yield Family(
        "leases",
        "gauge",
        "Leases by engine and state, as their claimers say.",
        tuple(({"engine": e, "state": s}, count) for (e, s), count in sorted(leases.items())),
    )
    totals: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for name, group, value in counters(nodes):
        totals.setdefault(name, []).append(({"group": group}, value))
    for name, samples in sorted(totals.items()):
        if name != "open":
            meaning = f"Leases that claimers of a group, as far as they live, have {name}."
            yield Family(f"leases_{name}", "gauge", meaning, tuple(samples))
    for name in ("questions", "questions_failed", "answers_unreadable"):
        meaning = f"To members, about themselves: {name.replace('_', ' ')}."
        yield _one(f"watching_{name}_total", "counter", meaning, counts.get(name, 0))


def _one(name: str, kind: str, meaning: str, value: float) -> Family:
    return Family(name, kind, meaning, (({}, value),))


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
