"""The section `workflows:` of a gateway's configuration: where runs execute, and what is around
them.

A part of the gateway's table, whose rules of reading are those of `gossamer_node.config`. What
needs another section as well (an engine's name) is asked by `misplaced`, for whoever reads both.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gossamer_gateway.door.principals import fits
from gossamer_gateway.runs.model.deciding import OWN, ZEEBE
from gossamer_gateway.runs.providers.config import PROVIDERS, ProviderConfig
from gossamer_node.address import Address, parse_address
from gossamer_node.schema import (
    Choice,
    Field,
    FilePath,
    Flag,
    Form,
    ListOf,
    Record,
    Secret,
    Text,
    Whole,
)

DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class SaslConfig:
    """How a gateway signs in at a Kafka. `mechanism`: in Kafka's words."""

    mechanism: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """A Kafka. `KAFKA` says what each one means.

    Attributes:
        servers: some of its brokers, by which the others are found.
        copies: None: as many as the cluster makes by itself.
    """

    servers: tuple[Address, ...]
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    sasl: SaslConfig | None = None
    partitions: int = 12
    copies: int | None = None

    @property
    def bootstrap(self) -> str:
        """As Kafka's clients want to have it: `HOST:PORT,HOST:PORT`."""
        return ",".join(str(one) for one in self.servers)


@dataclass(frozen=True, slots=True)
class WorkflowsConfig:
    """Settings of workflows, complete and checked. `WORKFLOWS` says what each one means.

    Attributes:
        execution: `own` or `zeebe`.
        engine: the name of the Camunda 8 that keeps the flow; None: the one there is.
        job_prefix: before the names of actions in the types of jobs there.
        kafka: None: all jobs are offered over HTTP and to the mesh.
        redis: a URL; None: states are in memory and in the rows alone.
        offered: actions, in which `*` stands for any characters, that are offered over HTTP and to
            the mesh although there is a Kafka.
    """

    execution: str = OWN
    engine: str | None = None
    job_prefix: str = ""
    kafka: KafkaConfig | None = None
    redis: str | None = None
    offered: tuple[str, ...] = ()
    retention_days: int = 30
    providers: tuple[ProviderConfig, ...] = ()

    def is_offered(self, queue: str) -> bool:
        """Whether jobs of a queue (an action, or `provider:NAME`) are rows that workers fetch."""
        if self.kafka is None or queue.startswith("provider:"):
            return True
        return fits(self.offered, queue)

    @property
    def retention_ms(self) -> int:
        return self.retention_days * DAY_MS


def _check(config: WorkflowsConfig) -> Iterator[tuple[str, str]]:
    """Settings that are right alone and wrong together."""
    if config.offered and config.kafka is None:
        yield "offered", "all actions are offered where there is no kafka; name one, or remove this"
    if config.engine is not None and config.execution != ZEEBE:
        yield "engine", "an engine is for `execution: zeebe` alone; write that, or remove this"
    if config.job_prefix and config.execution != ZEEBE:
        yield (
            "job_prefix",
            "jobs have types at a Zeebe alone; write `execution: zeebe`, or remove this",
        )


def misplaced(config: WorkflowsConfig, engines: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the section beside the others.

    Args:
        engines: kinds of the gateway's engines by name.
    """
    if config.execution != ZEEBE:
        return
    eights: Collection[str] = [name for name, kind in engines.items() if kind == "camunda8"]
    if config.engine is not None and config.engine not in eights:
        known = ", ".join(eights) or "none"
        yield "workflows", f"{config.engine} is no Camunda 8 among `engines`; there is {known}"
    elif not eights:
        yield "workflows", "`execution: zeebe` needs a Camunda 8 among `engines`; name it there"


def _broker(text: str) -> Address:
    if re.search(r":\d+$", text) is None:
        raise ValueError("has no port")  # a bare host would get that of the mesh
    return parse_address(text)


def _check_kafka(config: KafkaConfig) -> Iterator[tuple[str, str]]:
    """Settings that are right alone and wrong together."""
    if not config.tls:
        for name in ("ca_file", "cert_file", "key_file", "key_password"):
            if getattr(config, name) is not None:
                yield name, f"without TLS there is no {name}; add `tls: true`, or remove this"
        if config.sasl is not None and config.sasl.mechanism == PLAIN:
            yield "sasl", "PLAIN sends the password as it is; add `tls: true`, or write a SCRAM"
    if (config.cert_file is None) != (config.key_file is None):
        there = "key_file" if config.cert_file is None else "cert_file"
        yield there, "a certificate and its key belong together; name both, or neither"
    if config.key_password is not None and config.key_file is None:
        yield "key_password", "there is no key_file that it is for; name one, or remove this"


PLAIN = "PLAIN"
BROKER = Form("`HOST:PORT`, Kafka's port is 9092 as a rule", _broker, str)
_PEM = FilePath("the path of a PEM file")

SASL = Record(
    "SASL",
    "How the gateway signs in at a Kafka.",
    SaslConfig,
    (
        Field(
            "mechanism",
            Choice((PLAIN, "SCRAM-SHA-256", "SCRAM-SHA-512")),
            "mechanism",
            "What the cluster asks for. `PLAIN` needs `tls`, as it sends the password as it is; "
            "Confluent Cloud has it, Amazon MSK has SCRAM-SHA-512, Aiven has both.",
        ),
        Field("username", Secret(), "username", "The user, or a cloud's API key."),
        Field("password", Secret(), "password", "The password, or the API key's secret."),
    ),
)

KAFKA = Record(
    "Kafka",
    "Jobs go to workers over a Kafka, and every event of every run is published there. Needs the "
    "extra `kafka`.",
    KafkaConfig,
    (
        Field(
            "servers",
            ListOf(BROKER, "brokers", 20, items_min=1),
            "servers",
            "Some of its brokers, by which the others are found.",
        ),
        Field(
            "tls",
            Flag(),
            "tls",
            "Whether its brokers speak TLS. They then need certificates of an authority that is "
            "believed, for the names by which `servers` and the brokers themselves call them.",
            "A Kafka as it is installed speaks plain text; every managed one speaks TLS.",
        ),
        Field(
            "ca_file",
            _PEM,
            "ca_file",
            "With `tls`: the authorities to believe, instead of the public ones.",
            "Managed Kafkas whose authority is their own give you this file.",
            default_words="the system's authorities",
        ),
        Field(
            "cert_file",
            _PEM,
            "cert_file",
            "With `tls`: the certificate by which the brokers know the gateway. With `key_file`.",
            default_words="none",
        ),
        Field(
            "key_file",
            _PEM,
            "key_file",
            "The key of `cert_file`; readable by the gateway's user alone.",
            default_words="none",
        ),
        Field(
            "key_password",
            Secret(),
            "key_password",
            "What `key_file` is encrypted with.",
            default_words="it is not encrypted",
        ),
        Field(
            "sasl",
            SASL,
            "sasl",
            "How the gateway signs in.",
            default_words="it does not",
        ),
        Field(
            "partitions",
            Whole(1, 1_000),
            "partitions",
            "Of the topics of jobs, results and events, where the gateway makes them: as many "
            "workers of one action, or gateways, share the work at most. Topics that are there are "
            "left as they are.",
            "It divides evenly among 2, 3, 4 and 6. More cost each idle client some bytes.",
        ),
        Field(
            "copies",
            Whole(1, 10),
            "copies",
            "Of each partition of the topics that the gateway makes (Kafka's replication factor), "
            "each on another broker.",
            "What a cluster makes by itself is what it can keep: 3 in managed ones.",
            default_words="the cluster's own",
        ),
    ),
    check=_check_kafka,
)

WORKFLOWS: Record[WorkflowsConfig] = Record(
    "Workflows",
    "How workflows run. Without this section they run on the gateway's own core, their rows are "
    "beside its others, and workers fetch jobs over HTTP or are services on the mesh.",
    WorkflowsConfig,
    (
        Field(
            "execution",
            Choice((OWN, ZEEBE)),
            "execution",
            "Who keeps the flow of new runs: the gateway's own core, or a Zeebe, to which each "
            "workflow is deployed as BPMN. Attempts, retries and failover are the gateway's in "
            "both.",
            "It needs nothing else, and one machine does thousands of steps a second with it.",
        ),
        Field(
            "engine",
            Text("an engine's name", 100),
            "engine",
            "With `zeebe`: which of `engines` it is.",
            "A gateway has one Camunda 8 at most.",
            default_words="the Camunda 8 among `engines`",
        ),
        Field(
            "job_prefix",
            Text("letters, digits, `.`, `_`, `:` and `-`", 100, r"[A-Za-z0-9._:-]+"),
            "job_prefix",
            "With `zeebe`: what stands before an action in the type of its jobs there, as "
            "`workflow:`. It keeps runs apart from processes of others on that engine that have "
            "jobs of the same name, and from their workers. Change it only while no run is open.",
            "The type is the action, so that a process is read as its author wrote it.",
            default_words="nothing",
        ),
        Field(
            "kafka",
            KAFKA,
            "kafka",
            "The Kafka over which workers get jobs and send results.",
            "Workers over HTTP and services on the mesh need none.",
            default_words="none",
        ),
        Field(
            "redis",
            Secret(),
            "redis",
            "A Redis that keeps the states of active runs for several gateways, as a URL: "
            "`redis://user:password@host:6379/0`. It is a cache: what is lost with it is read "
            "from the rows again. Needs the extra `redis`.",
            "One gateway has them in memory.",
            default_words="none",
        ),
        Field(
            "offered",
            ListOf(Text("an action, in which `*` stands for any characters", 200), "actions", 100),
            "offered",
            "With a Kafka: actions whose jobs workers fetch over HTTP or the mesh instead.",
            "Who names a Kafka wants his jobs there.",
        ),
        Field(
            "retention_days",
            Whole(1, 3_650),
            "retention_days",
            "How long a run that has ended is kept with all its events. A failed one counts as "
            "ended, and can be retried for so long.",
            "A month, in which somebody has looked.",
        ),
        Field(
            "providers",
            PROVIDERS,
            "providers",
            "Clouds whose functions tasks with a `provider` call. Gateways that share their rows "
            "need the same ones.",
            "Who may define a workflow should not thereby use what this machine may do in a cloud.",
        ),
    ),
    check=_check,
)
