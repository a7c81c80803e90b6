"""The compose file, which nothing here can run, agrees with what it is made of."""

import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gossamer_gateway.config import GATEWAY
from gossamer_gateway.runs.kafka.topics import MESSAGE_BYTES_MAX
from gossamer_gateway.runs.stack import broker
from gossamer_gateway.runs.stack import settings as places
from gossamer_gateway.runs.stack.up import POSTGRES_VARIABLE, REDIS_VARIABLE
from gossamer_gateway.runs.stack.workers import EXAMPLES
from gossamer_node import config

ROOT = Path(__file__).parents[3]
INFRA = ROOT / "infra"


@pytest.fixture(scope="module")
def services() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text("utf-8"))
    return found["services"]  # type: ignore[no-any-return]


def ports(service: Mapping[str, Any]) -> dict[int, int]:
    """The container's by this machine's."""
    found = {}
    for one in service["ports"]:
        host, outside, inside = one.split(":")
        assert host == "127.0.0.1", "the gateway lets everybody in"
        found[int(outside)] = int(inside)
    return found


def test_services_are_those_of_the_stack(services: Mapping[str, Any]) -> None:
    workers = {f"worker-{one.name}" for one in EXAMPLES}
    assert set(services) == {"kafka", "postgres", "redis", "gateway"} | workers


def test_ports_are_those_of_the_stack(services: Mapping[str, Any]) -> None:
    assert set(ports(services["gateway"])) == set(places.HTTP_PORTS)
    assert set(ports(services["kafka"])) == {places.KAFKA_PORT}
    assert set(ports(services["postgres"])) == {places.POSTGRES_PORT}
    assert set(ports(services["redis"])) == {places.REDIS_PORT}


def test_kafka_is_the_one_that_is_tested(services: Mapping[str, Any]) -> None:
    kafka = services["kafka"]
    assert kafka["image"] == f"apache/kafka:{broker.VERSION}"
    said = kafka["environment"]
    assert int(said["KAFKA_MESSAGE_MAX_BYTES"]) == MESSAGE_BYTES_MAX
    listeners = dict(one.split("://") for one in said["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert listeners["HOST"] == f"localhost:{places.KAFKA_PORT}"
    for name, value in broker.SETTINGS.items():
        variable = "KAFKA_" + name.replace(".", "_").upper()
        if variable in said and name not in ("listener.security.protocol.map",):
            assert said[variable] == value, name
    for one in EXAMPLES:
        worker = services[f"worker-{one.name}"]
        assert worker["environment"] == {"GOSSAMER_KAFKA": listeners["INNER"]}


def test_the_gateway_reads_its_configuration(services: Mapping[str, Any]) -> None:
    gateway = services["gateway"]
    assert set(gateway["environment"]) == {POSTGRES_VARIABLE, REDIS_VARIABLE}
    flags = Namespace(config=INFRA / "gateway.yaml")
    read = config.load_record(GATEWAY, flags, {"HOME": "/", **gateway["environment"]})
    assert read.storage.postgres == gateway["environment"][POSTGRES_VARIABLE]
    assert read.workflows.redis == gateway["environment"][REDIS_VARIABLE]
    assert read.http.port == set(ports(gateway).values()).pop()
    assert read.workflows.kafka is not None
    listeners = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INNER://{read.workflows.kafka.bootstrap}" in listeners
    account = services["postgres"]["environment"]
    for word in ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"):
        assert account[word] in (read.storage.postgres or "")
    assert any(one.endswith(f":{read.data_dir}") for one in gateway["volumes"])


def test_volumes_are_declared(services: Mapping[str, Any]) -> None:
    declared = set(yaml.safe_load((INFRA / "compose.yaml").read_text("utf-8"))["volumes"])
    used = {one.split(":")[0] for each in services.values() for one in each.get("volumes", ())}
    assert used == declared


@pytest.mark.parametrize("file", sorted(INFRA.glob("*.Dockerfile")), ids=lambda one: one.stem)
def test_what_is_copied_is_there_and_starts_as_the_stack_starts_it(
    file: Path, services: Mapping[str, Any]
) -> None:
    text = file.read_text("utf-8")
    of = services[file.stem]["build"]
    assert (INFRA / of["context"]).resolve() == ROOT
    assert ROOT / of["dockerfile"] == file
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        for one in sources:
            assert (ROOT / one).exists(), one
    assert re.search(r"^USER (?!root)", text, re.MULTILINE), "nothing runs as root"
    command = yaml.safe_load(re.findall(r"^CMD (.*)$", text, re.MULTILINE)[-1])
    example = next((one for one in EXAMPLES if file.stem == f"worker-{one.name}"), None)
    if example is None:
        assert command[:2] == ["gossamer", "gateway"]
    else:
        assert command[1:] == list(example.start[1:])
