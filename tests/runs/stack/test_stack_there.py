"""Parts that are there already are read and asked before anything starts, and named where they are
not what they should be."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tests.kafka_fixture import Kafka
from tests.patience import PATIENCE_S
from tests.postgres_fixture import Postgres
from tests.redis_fixture import Redis

from gossamer_gateway.runs.stack import there
from gossamer_gateway.runs.stack.broker import start_kafka
from gossamer_gateway.runs.stack.settings import Settings
from gossamer_node import cli
from gossamer_node.local_engines.processes import free_ports

PARTS = ("kafka", "postgres", "redis")


def naming(name: str, address: str) -> Settings:
    return Settings(Path("x"), **{name: address})  # type: ignore[arg-type]


def address_of(name: str, port: int) -> str:
    return {
        "kafka": f"127.0.0.1:{port}",
        "postgres": f"host=127.0.0.1 port={port} user=me dbname=flows",
        "redis": f"redis://127.0.0.1:{port}/0",
    }[name]


@contextlib.contextmanager
def listening(says: bytes | None) -> Iterator[int]:
    """The port of somebody who answers everything with the same words, or with none."""
    kept: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                kept.append(connection)
                if says is not None:
                    connection.recv(1)
                    connection.sendall(says)
                    connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for one in kept:
        one.close()


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("kafka", "nonsense", "'nonsense' has no port; write HOST:PORT"),
        ("kafka", "a:1,,b:2", "'' has no port"),
        ("kafka", "localhost:99999", "has no port that exists"),
        ("kafka", "http://localhost:9092", "is not an address"),
        ("kafka", "", "has no port"),
        ("postgres", "nonsense", 'missing "=" after "nonsense"'),
        ("postgres", "localhost:5432", "write it as 'host=localhost user=me dbname=flows'"),
        ("postgres", "hots=localhost", 'invalid connection option "hots"'),
        ("postgres", "", "it says nothing"),
        ("redis", "nonsense", "write one such as redis://localhost:6379/0"),
        ("redis", "localhost:6379", "redis://"),
        ("redis", "redis://localhost:x", "Port could not be cast"),
        ("redis", "redis://[::1", "Invalid IPv6 URL"),
    ],
)
def test_an_address_that_is_none(name: str, address: str, said: str) -> None:
    (problem,) = there.unreadable(naming(name, address))
    assert problem.startswith(f"--{name} ")
    assert said in problem


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("kafka", "localhost:9092, [::1]:9093"),
        ("postgres", "host=x"),
        ("postgres", "postgresql://u:p@h:5432/d?sslmode=require"),
        ("redis", "redis://u:p@h:6379/0"),
        ("redis", "unix:///tmp/s"),
    ],
)
def test_an_address_that_is_one(name: str, address: str) -> None:
    assert list(there.unreadable(naming(name, address))) == []


@pytest.mark.parametrize("name", PARTS)
async def test_nobody_answers(name: str) -> None:
    (port,) = free_ports(1)
    (problem,) = await there.unfit(naming(name, address_of(name, port)))
    assert "refused" in problem
    assert f"leave out --{name} to have one started" in problem


async def test_a_host_that_nobody_knows() -> None:
    (problem,) = await there.unfit(naming("kafka", "no.such.host.invalid:9092"))
    assert problem.startswith(
        "no Kafka answers at no.such.host.invalid:9092 (there is no host of that name)"
    )


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR what?\r\n", None])
@pytest.mark.parametrize("name", PARTS)
async def test_somebody_else_answers(
    name: str, says: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(there, "ANSWER_S", 2.0)  # the least that libpq waits
    with listening(says) as port:
        (problem,) = await there.unfit(naming(name, address_of(name, port)))
    assert f"leave out --{name}" in problem


async def test_all_are_asked_and_told_of_together() -> None:
    kafka, postgres, redis = (
        address_of(name, port) for name, port in zip(PARTS, free_ports(3), strict=True)
    )
    found = await there.unfit(Settings(Path("x"), kafka=kafka, postgres=postgres, redis=redis))
    assert [one.partition("leave out --")[2].split()[0] for one in found] == list(PARTS)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there may take long to answer where there is much to do."""
    monkeypatch.setattr(there, "CONNECT_S", PATIENCE_S)
    monkeypatch.setattr(there, "ANSWER_S", PATIENCE_S)


@pytest.mark.usefixtures("patient")
async def test_those_that_are_there_will_do(postgres: Postgres, redis: Redis) -> None:
    settings = Settings(Path("x"), postgres=postgres.conninfo, redis=redis.url)
    assert await there.unfit(settings) == []


@pytest.mark.usefixtures("patient")
async def test_a_database_in_which_nothing_can_be_made(postgres: Postgres) -> None:
    name = f"poor_{uuid4().hex[:12]}"
    dsn = postgres.conninfo.replace("user=app", f"user={name}")
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{name}" LOGIN')
        try:
            (problem,) = await there.unfit(naming("postgres", dsn))
        finally:
            connection.execute(f'DROP ROLE "{name}"')
    assert f"GRANT CREATE ON DATABASE postgres TO {name}" in problem


@pytest.mark.usefixtures("patient")
async def test_a_database_that_has_not_all_characters(postgres: Postgres) -> None:
    name = f"latin_{uuid4().hex[:12]}"
    dsn = postgres.conninfo.replace("dbname=postgres", f"dbname={name}")
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
        try:
            (problem,) = await there.unfit(naming("postgres", dsn))
        finally:
            connection.execute(f"DROP DATABASE {name}")
    assert f"the database {name} has the encoding LATIN1; make one with UTF8" in problem


@pytest.mark.kafka
@pytest.mark.usefixtures("patient")
async def test_a_kafka_that_is_there_will_do(kafka: Kafka) -> None:
    (port,) = free_ports(1)
    several = f"127.0.0.1:{port}, {kafka.address}"
    assert await there.unfit(naming("kafka", several)) == []


@pytest.mark.kafka
@pytest.mark.usefixtures("patient")
async def test_a_kafka_that_sends_its_clients_elsewhere(kafka: Kafka) -> None:
    """Its own fixture is asked for so that what it downloads is shown, and missing tools skip."""
    own, nowhere = free_ports(2)
    told = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{nowhere}"}
    async with start_kafka(port=own, settings=told):
        (problem,) = await there.unfit(naming("kafka", f"127.0.0.1:{own}"))
    assert f"sends its clients to 127.0.0.1:{nowhere}" in problem
    assert "Connection refused" in problem


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("host=h user=u password=SECRET dbname=d", "user=u dbname=d host=h"),
        ("host=h user=u dbname=d", "host=h user=u dbname=d"),
        ("postgresql://u:SECRET@h:1/d?sslmode=require", "postgresql://u@h:1/d?sslmode=require"),
        ("postgresql://h/d?password=SECRET", "postgresql://h/d"),
        ("redis://:SECRET@h:6379/0", "redis://h:6379/0"),
        ("redis://u:SE@CRET@h:6379/0", "redis://u@h:6379/0"),
        ("redis://h?password=SECRET", "redis://h"),
        ("unix:///tmp/s?db=1", "unix:///tmp/s?db=1"),
    ],
)
def test_passwords_are_not_shown(address: str, seen: str) -> None:
    assert there.shown(address) == seen or sorted(there.shown(address).split()) == sorted(
        seen.split()
    )


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = cli.main(["stack", *words])
    out, error = capsys.readouterr()
    return status, out + error


def test_the_command_names_all_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    status, said = told(
        capsys, "up", "--dir", str(tmp_path / "file"), "--kafka", "nonsense", "--redis", "nonsense",
        "--postgres", "nonsense",
    )  # fmt: skip
    assert status == 2
    assert [word in said for word in ("--kafka", "--redis", "--postgres", "--dir")] == [True] * 4
    assert said.count("\n") == 1 and "starting" not in said


def test_the_command_asks_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka, postgres, redis = free_ports(3)
    folder = tmp_path / "stack"
    status, said = told(
        capsys, "up", "--dir", str(folder), "--http", "0", "--workers", "none",
        "--kafka", address_of("kafka", kafka), "--redis", address_of("redis", redis),
        "--postgres", address_of("postgres", postgres),
    )  # fmt: skip
    assert status == 2
    assert f"no Kafka answers at 127.0.0.1:{kafka} (Connection refused)" in said
    assert "starting" not in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("status",), 1, "no stack runs in {}"),
        (("status", "--json"), 1, "null"),
        (("down",), 0, "no stack runs in {}"),
    ],
)
def test_where_no_stack_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Any, status: int, said: str
) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        found = told(capsys, *words, "--dir", str(folder))
        assert found == (status, said.format(folder) + "\n")


@pytest.mark.parametrize("word", ["status", "down"])
def test_a_file_is_no_folder_of_a_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    (tmp_path / "file").write_text("")
    status, said = told(capsys, word, "--dir", str(tmp_path / "file"))
    assert status == 2
    assert "file can't be looked into (Not a directory); name the folder of a stack" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--http", "x"), "'x' is no port; name one below 65536, 0 for any"),
        (("--http", "8080,"), "'' is no port"),
        (("--kafka-port", "65536"), "'65536' is no port"),
        (("--kafka-port", "²"), "'²' is no port"),
        (("--dir", ""), "it is empty; name a folder"),
        (("--offered", ""), "'' is no action"),
        (("--offered", "a,,b"), "'' is no action"),
        (("--offered", ",".join(["a"] * 101)), "101 actions are more than 100"),
        (("--workers", "ruby"), "there is no worker 'ruby'; name some of python, node, java"),
        (("--kafka", "a:1", "--kafka-port", "1"), "not allowed with"),
    ],
)
def test_an_argument_that_will_not_do(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["stack", "up", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
