"""Asks a broker for its cluster: whether somebody is there who would take messages."""

import trio
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_TIMEOUT_S = 1.0


async def brokers(address: str) -> int:
    """How many brokers serve; 0 where nobody answers."""
    return await trio.to_thread.run_sync(_ask, address, abandon_on_cancel=True)


def _ask(address: str) -> int:
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    try:
        return len(client.list_topics(timeout=_TIMEOUT_S).brokers)
    except KafkaException:
        return 0
