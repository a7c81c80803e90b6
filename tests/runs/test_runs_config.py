"""The section `workflows:` of a gateway's configuration: read, or refused with a sentence."""

from pathlib import Path

import pytest

from gossamer_gateway.config import GATEWAY
from gossamer_gateway.runs.config import WORKFLOWS, WorkflowsConfig
from gossamer_node.schema.source import Invalid, Source, parse


def read(text: str, **variables: str) -> WorkflowsConfig:
    source = Source("gateway.yaml", Path(), environ=variables)
    return WORKFLOWS.read(parse(text.encode(), source), "workflows")


def test_it_is_read_whole() -> None:
    found = read(
        """
        kafka: {servers: ["kafka-1:9092", "kafka-2:9092"]}
        redis: {env: REDIS_URL}
        offered: [mesh-*, "by-hand"]
        retention_days: 365
        """,
        REDIS_URL="redis://:secret@cache:6379/0",
    )
    assert found.kafka is not None and found.kafka.bootstrap == "kafka-1:9092,kafka-2:9092"
    assert found.redis == "redis://:secret@cache:6379/0"
    assert (found.execution, found.engine, found.retention_ms) == ("own", None, 365 * 86_400_000)
    offered = {one: found.is_offered(one) for one in ("mesh-a", "mesh", "by-hand", "provider:AWS")}
    assert offered == {"mesh-a": True, "mesh": False, "by-hand": True, "provider:AWS": True}


def test_a_managed_kafka_is_read_and_its_secrets_are_not_shown() -> None:
    found = read(
        """
        kafka:
          servers: ["pkc-1.confluent.cloud:9092"]
          tls: true
          sasl: {mechanism: PLAIN, username: {env: NAME}, password: {env: WORD}}
          partitions: 6
          copies: 3
        """,
        NAME="key",
        WORD="secret-word",
    ).kafka
    assert found is not None and found.sasl is not None
    assert (found.sasl.mechanism, found.sasl.username) == ("PLAIN", "key")
    assert (found.tls, found.partitions, found.copies) == (True, 6, 3)
    assert found.sasl.password == "secret-word"
    assert "secret-word" not in repr(found)


def test_without_a_kafka_everything_is_offered() -> None:
    assert WorkflowsConfig().is_offered("anything")


PLAIN = "{mechanism: PLAIN, username: {env: PASS}, password: {env: PASS}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("execution: java", "write `own` or `zeebe`"),
        ("engine: c8", "execution: zeebe"),
        ("job_prefix: 'w:'", "execution: zeebe"),
        ("{execution: zeebe, job_prefix: '=w'}", "letters, digits"),
        ("offered: [a]", "there is no kafka"),
        ("kafka: {servers: []}", "at least 1"),
        ("kafka: {servers: [kafka]}", "has no port"),
        ("kafka: {bootstrap: x}", "servers"),
        ("kafka: {servers: ['k:1'], ca_file: ca.pem}", "add `tls: true`"),
        ("kafka: {servers: ['k:1'], tls: true, cert_file: c.pem}", "name both, or neither"),
        ("kafka: {servers: ['k:1'], tls: true, key_file: k.pem}", "name both, or neither"),
        ("kafka: {servers: ['k:1'], tls: true, key_password: {env: PASS}}", "there is no key_file"),
        ("kafka: {servers: ['k:1'], sasl: {mechanism: OAUTHBEARER}}", "none of the choices"),
        ("kafka: {servers: ['k:1'], sasl: {mechanism: PLAIN}}", "`username` is missing"),
        (f"kafka: {{servers: ['k:1'], sasl: {PLAIN}}}", "sends the password as it is"),
        ("kafka: {servers: ['k:1'], partitions: 0}", "1 to 1000"),
        ("kafka: {servers: ['k:1'], copies: 11}", "1 to 10"),
        ("redis: redis://localhost", "{env: NAME}"),
        ("retention_days: 0", "1 to 3650"),
        ("retention: 5", "unknown key"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(f"\n{text}", PASS="secret-word")
    (problem, *_) = caught.value.problems
    assert problem.place.line == 2
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workflows: {execution: zeebe}", "needs a Camunda 8"),
        (
            "engines: [{name: c8, kind: camunda8, url: 'http://a'}]\n"
            "workflows: {execution: zeebe, engine: c9}",
            "c9 is no Camunda 8 among `engines`; there is c8",
        ),
    ],
)
def test_an_engine_must_be_one_of_the_gateways(text: str, said: str) -> None:
    text = f"name: g\ndata_dir: d\ncache_dir: c\n{text}"
    with pytest.raises(Invalid) as caught:
        GATEWAY.read(parse(text.encode(), Source("gateway.yaml", Path())), "")
    assert said in str(caught.value)
