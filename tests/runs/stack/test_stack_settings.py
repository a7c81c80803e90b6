"""What of a stack can't be is said before anything is started."""

import json
import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.stack import postgres
from gossamer_gateway.runs.stack.settings import Settings, check_ports
from gossamer_gateway.runs.stack.up import Stack, gateway_config
from gossamer_gateway.runs.stack.workers import EXAMPLES, Example, LeftOut, checkout, start_worker


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_taken_port_is_named_at_once(taken: int) -> None:
    settings = Settings(
        Path("x"), http_ports=(0,), kafka_port=taken, postgres_port=0, redis_port=taken
    )
    with pytest.raises(InputError) as caught:
        check_ports(settings)
    said = str(caught.value)
    assert f"port {taken} for Kafka is taken; name another with --kafka-port" in said
    assert f"port {taken} is given to Kafka and to Redis" in said


def test_a_port_of_a_part_that_is_there_already_may_be_taken(taken: int) -> None:
    check_ports(
        Settings(
            Path("x"), http_ports=(0,), kafka="there:9092", kafka_port=taken,
            postgres="host=there", postgres_port=taken, redis="redis://there", redis_port=taken,
        )
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN for want of rights: it is about root")
@pytest.mark.skipif(postgres.binaries() is None, reason="NOT RUN: there is no PostgreSQL")
def test_a_folder_that_its_user_cannot_reach_is_refused(tmp_path: Path) -> None:
    pwd.getpwnam(postgres.USER)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(InputError, match="name another folder with --dir"):
        postgres.check(closed / "postgres")


def test_secrets_of_the_gateway_are_not_in_its_file() -> None:
    stack = Stack(1, kafka="a:1,b:2", postgres="host=x password=SECRET", redis="redis://:SECRET@x")
    config = gateway_config(Settings(Path("/somewhere"), http_ports=(81, 82)), stack)
    assert "SECRET" not in repr(config)
    assert config["http"] == "127.0.0.1:81"
    assert config["workflows"]["kafka"] == {"servers": ["a:1", "b:2"]}


def test_workers_are_found_in_the_clone_that_was_installed_from(tmp_path: Path) -> None:
    site, clone = tmp_path / "lib" / "python3", tmp_path / "a clone"
    (clone / "sdk-wasm" / "python").mkdir(parents=True)
    record = json.dumps({"url": clone.as_uri(), "dir_info": {}})
    assert checkout(clone, None) == clone
    assert checkout(site, record) == clone
    assert checkout(site, None) is None
    assert checkout(site, json.dumps({"url": "https://example.org/gossamer.whl"})) is None
    assert checkout(site, json.dumps({"url": (tmp_path / "gone").as_uri()})) is None


async def test_a_worker_whose_tools_are_missing_is_left_out(tmp_path: Path) -> None:
    example = Example("odd", EXAMPLES[0].folder, ("no-such-program",), (), ("true",))
    with pytest.raises(LeftOut, match="no-such-program"):
        async with start_worker(example, "x:1", tmp_path / "w", tmp_path / "log"):
            pass


async def test_a_worker_that_cannot_be_built_is_left_out_with_its_log(tmp_path: Path) -> None:
    build = ("sh", "-c", "echo it broke; exit 3")
    example = Example("odd", EXAMPLES[0].folder, (), (build,), ("true",))
    with pytest.raises(LeftOut, match="it broke"):
        async with start_worker(example, "x:1", tmp_path / "w", tmp_path / "log"):
            pass
