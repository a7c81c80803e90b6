"""Where a node shows its metrics: nowhere, to its own machine, or to a network if told so twice."""

from collections.abc import Iterator
from dataclasses import dataclass

from gossamer_node.address import ADDRESS, Address
from gossamer_node.schema import Field, Flag, Record


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """The metrics' door. `listen` None: there is none."""

    listen: Address | None = None
    network: bool = False


def _check(config: MetricsConfig) -> Iterator[tuple[str, str]]:
    if config.listen and not config.listen.is_loopback and not config.network:
        yield (
            "listen",
            f"whoever reaches {config.listen} may read the metrics; say `network: true` if that "
            f"is meant, or listen on 127.0.0.1:{config.listen.port}",
        )


METRICS = Record(
    "Metrics",
    "Prometheus's text format over HTTP, `GET /metrics` and nothing else; `gossamer metrics` shows "
    "the same on the node's own machine. They name engines, services and topics, and hold counts.",
    MetricsConfig,
    (
        Field(
            "listen",
            ADDRESS,
            "listen",
            "Where it listens, over TCP; write the port.",
            "Nobody reads them unless it is written down.",
            default_words="nowhere",
        ),
        Field(
            "network",
            Flag(),
            "network",
            "Whether `listen` may be an address that other machines reach. There is no password: "
            "let your network's rules decide who does.",
            "Only Prometheus on the same machine, or a proxy there, gets in.",
        ),
    ),
    check=_check,
)
