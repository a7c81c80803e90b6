"""The topics of workflows: their names, how they are made, and whether a broker is there.

Partitions go by run: the key of every message is the run's id, so what is said of one run is in
order. Nothing is ever compacted: each message is a fact of its own. A topic that exists is left as
it is: its partitions and its retention are its owner's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_node import logs

JOBS = "workflow-jobs"
RESULTS = "workflow-results"
EVENTS = "workflow-events"
JOBS_DEAD = "workflow-jobs-dead-letters"
RESULTS_DEAD = "workflow-results-dead-letters"

PARTITIONS = 12
"""Of each topic of work: as many workers of one action, or gateways, share it at most. It divides
evenly among 2, 3, 4 and 6; more can be added by hand, and then a run's later events may be in
another partition than its first ones."""

MESSAGE_BYTES_MAX = 8 << 20
"""Of one message: a payload of 1 MiB in its envelope, and a join of some of them."""

DAY_MS = 24 * 3_600_000

WORK_RETENTION_MS = 7 * DAY_MS
"""Of jobs and results: nobody waits longer for one. Kafka's own default."""

RETENTION_MS = 30 * DAY_MS
"""Of events and dead letters, where nothing else is said: a month, in which somebody has looked."""

NOT_LET_IN = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})
"""A wrong password, a certificate of an authority that is not believed: a person has to mend it."""

_ASK_TIMEOUT_S = 1.0
_MAKE_TIMEOUT_S = 15.0
_AGAIN_S = 2.0

log = logs.get("kafka")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, as it is made where it is missing.

    Attributes:
        copies: of each partition, on as many brokers; None: as many as the cluster makes by itself.
    """

    name: str
    partitions: int
    retention_ms: int
    copies: int | None = None

    @property
    def settings(self) -> dict[str, str]:
        """In Kafka's words."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(MESSAGE_BYTES_MAX),
            "message.timestamp.type": "CreateTime",
        }


def topics(
    retention_ms: int = RETENTION_MS, partitions: int = PARTITIONS, copies: int | None = None
) -> tuple[Topic, ...]:
    """All topics. `retention_ms`: of events and dead letters."""
    return (
        Topic(JOBS, partitions, WORK_RETENTION_MS, copies),
        Topic(RESULTS, partitions, WORK_RETENTION_MS, copies),
        Topic(EVENTS, partitions, retention_ms, copies),
        Topic(JOBS_DEAD, 1, retention_ms, copies),
        Topic(RESULTS_DEAD, 1, retention_ms, copies),
    )


async def make_topics(cluster: Cluster, wanted: Sequence[Topic]) -> None:
    """Returns when all are there, however long brokers are away; says so once, when they are."""
    said = ""
    while True:
        problem = await trio.to_thread.run_sync(_make, cluster, wanted, abandon_on_cancel=True)
        if not problem:
            break
        if problem != said:
            log.warning("waiting for the topics", servers=cluster.address, reason=problem)
            said = problem
        await trio.sleep(_AGAIN_S)
    if said:
        log.info("the topics are there", servers=cluster.address)


async def brokers(cluster: Cluster) -> int:
    """How many brokers serve; 0 where nobody answers."""
    return await trio.to_thread.run_sync(_ask, cluster, abandon_on_cancel=True)


def _ask(cluster: Cluster) -> int:
    client = AdminClient(cluster.settings)
    try:
        return len(client.list_topics(timeout=_ASK_TIMEOUT_S).brokers)
    except KafkaException:
        return 0


async def is_missing(cluster: Cluster, topic: str) -> bool:
    """Whether a broker answers, and knows no such topic."""
    return await trio.to_thread.run_sync(_misses, cluster, topic, abandon_on_cancel=True)


def _misses(cluster: Cluster, topic: str) -> bool:
    try:
        return topic not in AdminClient(cluster.settings).list_topics(timeout=_ASK_TIMEOUT_S).topics
    except KafkaException:
        return False


def _make(cluster: Cluster, wanted: Sequence[Topic]) -> str:
    """Gives what is in the way."""
    heard: list[KafkaError] = []
    # Kept until its futures are done: without it they fail.
    settings: dict[str, Any] = {**cluster.settings, "error_cb": heard.append}
    client = AdminClient(settings)
    try:
        there = client.list_topics(timeout=_ASK_TIMEOUT_S).topics
    except KafkaException as error:
        client.poll(0)
        why = [one for one in heard if one.code() in NOT_LET_IN]
        return reason_of(why[0] if why else error.args[0])
    missing = [one for one in wanted if one.name not in there]
    if not missing:
        return ""
    new = [
        NewTopic(one.name, one.partitions, one.copies or -1, config=one.settings) for one in missing
    ]
    for name, future in client.create_topics(new, operation_timeout=_MAKE_TIMEOUT_S).items():
        try:
            future.result(_MAKE_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                return f"{name}: {reason_of(error.args[0])}"
        except TimeoutError:
            return f"{name}: not made within {_MAKE_TIMEOUT_S:g} s"
    return ""


def reason_of(error: Any) -> str:
    """A KafkaError in words."""
    return f"{error.str()} ({error.name()})"
