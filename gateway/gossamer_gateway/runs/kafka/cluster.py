"""Which Kafka is meant and how one signs in there: what every client of it is made with.

librdkafka's words stay in here. What it is told of passwords and keys is in no repr and no log.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.config import KafkaConfig


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kafka.

    Attributes:
        address: `HOST:PORT,HOST:PORT`, some of its brokers.
        security: librdkafka's settings of TLS and SASL; none: plain text, and nobody signs in.
    """

    address: str
    security: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Of any client. librdkafka is silent: what a person should know is said by `bus`."""
        return {"bootstrap.servers": self.address, "log_level": 0, **self.security}

    def check(self) -> None:
        """Raises: InputError, when no client can be made so: a file is missing, or is no key."""
        try:
            AdminClient(self.settings)
        except KafkaException as error:
            raise InputError(
                f"workflows.kafka can't be used: {error.args[0].str()}; see its files."
            ) from None


def cluster_of(config: KafkaConfig) -> Cluster:
    """The Kafka of a configuration."""
    security = {}
    if config.tls:
        security = {
            "ssl.ca.location": config.ca_file,
            "ssl.certificate.location": config.cert_file,
            "ssl.key.location": config.key_file,
            "ssl.key.password": config.key_password,
        }
    if config.sasl is not None:
        security |= {
            "sasl.mechanism": config.sasl.mechanism,
            "sasl.username": config.sasl.username,
            "sasl.password": config.sasl.password,
        }
    given = {name: str(value) for name, value in security.items() if value is not None}
    words = ("SASL_" if config.sasl is not None else "") + ("SSL" if config.tls else "PLAINTEXT")
    return Cluster(config.bootstrap, {"security.protocol": words, **given})
