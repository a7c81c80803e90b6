"""A Kafka that wants TLS, and a password or a certificate: as a configuration says, or refused."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from tests.gateway.door_world import LOCAL, Authority
from tests.gateway.places import place, storage
from tests.kafka_fixture import Kafka, broker_of
from tests.patience import PATIENCE_S, until
from tests.runs.kafka_world import definition, fresh_topic, open_world, working

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.config import WORKFLOWS, KafkaConfig
from gossamer_gateway.runs.kafka.bus import Message, open_receiver, open_sender
from gossamer_gateway.runs.kafka.cluster import Cluster, cluster_of
from gossamer_gateway.runs.kafka.topics import EVENTS, brokers, make_topics, topics
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.storage import Storage
from gossamer_node.local_engines.processes import free_ports
from gossamer_node.schema.source import Source, parse

__all__ = ["place", "storage"]

pytestmark = pytest.mark.kafka

PASSWORD = "correct-horse-battery"
LOGIN = "org.apache.kafka.common.security"


@dataclass
class Secure:
    """A broker with two doors: by certificate, and by password."""

    signed: str
    mutual: str
    folder: Path
    pair: tuple[Path, Path]

    def read(self, text: str, password: str = PASSWORD) -> KafkaConfig:
        """`workflows.kafka` as a gateway reads it."""
        source = Source("gateway.yaml", self.folder, environ={"USER": "gateway", "PASS": password})
        found = WORKFLOWS.read(parse(f"kafka: {{{text}}}".encode(), source), "workflows").kafka
        assert found is not None
        return found

    def by_password(self, mechanism: str, password: str = PASSWORD) -> Cluster:
        sasl = f"{{mechanism: {mechanism}, username: {{env: USER}}, password: {{env: PASS}}}}"
        text = f"servers: ['{self.signed}'], tls: true, ca_file: authority.pem, sasl: {sasl}"
        return cluster_of(self.read(text, password))

    def by_certificate(self) -> Cluster:
        files = ", ".join(
            f"{name}: {path.name}"
            for name, path in zip(("cert_file", "key_file"), self.pair, strict=True)
        )
        return cluster_of(
            self.read(f"servers: ['{self.mutual}'], tls: true, ca_file: authority.pem, {files}")
        )


@pytest.fixture(scope="module")
def secure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure-kafka")
    authority = Authority(folder)
    certificate, key = authority.issue("broker", LOCAL)
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    plain, signed, mutual, controller = free_ports(4)
    doors = f"PLAINTEXT://127.0.0.1:{plain},SIGNED://127.0.0.1:{signed},MUTUAL://127.0.0.1:{mutual}"
    scram = f"{LOGIN}.scram.ScramLoginModule required;"
    settings = {
        "listeners": f"{doors},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": doors,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
        "SIGNED:SASL_SSL,MUTUAL:SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.signed.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.signed.plain.sasl.jaas.config": f"{LOGIN}.plain.PlainLoginModule required"
        f' user_gateway="{PASSWORD}";',
        "listener.name.signed.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.signed.scram-sha-512.sasl.jaas.config": scram,
    }
    with broker_of(
        lambda data, progress: Kafka(data, progress, plain, settings), request.config
    ) as broker:
        admin = AdminClient({"bootstrap.servers": broker.address})
        for one in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            kept = ScramCredentialInfo(one, 4096)
            user = UserScramCredentialUpsertion("gateway", kept, PASSWORD.encode())
            for future in admin.alter_user_scram_credentials([user]).values():
                future.result(PATIENCE_S)
        yield Secure(
            f"127.0.0.1:{signed}", f"127.0.0.1:{mutual}", folder, authority.issue("gateway")
        )


WAYS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "certificate"]


@pytest.mark.parametrize("way", WAYS)
async def test_messages_go_and_come(secure: Secure, way: str) -> None:
    cluster = secure.by_certificate() if way == "certificate" else secure.by_password(way)
    cluster.check()
    topic = await fresh_topic(cluster)

    def begin(consumer: Consumer) -> None:
        consumer.subscribe([topic])

    async with (
        open_sender(cluster, "sender") as sender,
        open_receiver(cluster, topic, begin) as receiver,
    ):
        assert await sender.send([Message(topic, b"k", b"v")]) == [None]
        (came,) = await receiver.next_batch()
    assert came.value == b"v"
    assert PASSWORD not in repr(cluster)


async def test_runs_end_over_it_and_topics_are_as_they_were_asked_for(
    secure: Secure, storage: Storage
) -> None:
    cluster = secure.by_password("SCRAM-SHA-512")
    await make_topics(cluster, topics(3_600_000, partitions=2, copies=1))
    told = AdminClient(cluster.settings).list_topics(timeout=PATIENCE_S)
    made = told.topics[EVENTS].partitions
    assert [len(one.replicas) for one in made.values()] == [1, 1]
    async with (
        open_world(cluster, storage) as world,
        open_sender(cluster, "worker") as sender,
        working(cluster, sender),
    ):
        await world.engine.define(definition())
        run = await world.engine.trigger("kafka-test", [])
        await until(lambda: run.id in world.ended)
        assert world.ended[run.id].status is Status.COMPLETED


async def said_of(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> str:
    """What is logged of a cluster that lets nobody in."""
    caplog.set_level(logging.DEBUG)
    async with open_sender(cluster, "sender") as sender, trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, [Message("any", b"k", b"v")])
        nursery.start_soon(partial(make_topics, cluster, topics()))
        await until(lambda: {"Kafka is away", "waiting for the topics"} <= set(caplog.messages))
        nursery.cancel_scope.cancel()
    assert await brokers(cluster) == 0
    lines = [f"{one.getMessage()} {one.__dict__}" for one in caplog.records]
    assert not [one for one in lines if PASSWORD in one or "wrong-" in one]
    return "\n".join(lines)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_a_wrong_password_is_said_and_shown_to_nobody(
    secure: Secure, caplog: pytest.LogCaptureFixture, mechanism: str
) -> None:
    said = await said_of(secure.by_password(mechanism, "wrong-password"), caplog)
    assert said.count("_AUTHENTICATION") >= 2


async def test_a_broker_of_another_authority_is_not_believed(
    secure: Secure, caplog: pytest.LogCaptureFixture
) -> None:
    Authority(secure.folder, "another")
    config = secure.read(f"servers: ['{secure.signed}'], tls: true, ca_file: another.pem")
    assert (await said_of(cluster_of(config), caplog)).count("_SSL") >= 2


async def test_one_without_a_certificate_is_not_let_in(
    secure: Secure, caplog: pytest.LogCaptureFixture
) -> None:
    config = secure.read(f"servers: ['{secure.mutual}'], tls: true, ca_file: authority.pem")
    await said_of(cluster_of(config), caplog)


async def test_a_file_that_is_none_is_said_at_the_start(secure: Secure) -> None:
    config = secure.read("servers: ['127.0.0.1:1'], tls: true, ca_file: nowhere.pem")
    with pytest.raises(InputError, match=r"workflows.kafka can't be used: .*ssl.ca.location"):
        cluster_of(config).check()
