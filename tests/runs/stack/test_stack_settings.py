"""What of a stack can't be is said before anything is started."""

import json
import os
import pwd
import socket
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
import yaml
from tests.patience import until

from gossamer_gateway.config import GATEWAY
from gossamer_gateway.runs.stack import parts, postgres
from gossamer_gateway.runs.stack.settings import Settings, taken, unfit_folder
from gossamer_gateway.runs.stack.up import OVERRULED, POSTGRES_VARIABLE, Stack, gateway_config
from gossamer_gateway.runs.stack.workers import EXAMPLES, Example, LeftOut, checkout, start_worker
from gossamer_node import config
from gossamer_node.local_engines.processes import free_ports


@pytest.fixture
def others() -> Iterator[int]:
    """A port that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_taken_port_is_named_at_once(others: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        also = server.getsockname()[1]
        settings = Settings(
            Path("x"), (0, others, also), kafka_port=others, postgres_port=0, redis_port=others
        )
        assert list(taken(settings)) == [
            f"ports {others} and {also} for the gateway are taken; name others with --http",
            f"port {others} for Kafka is given to the gateway already; name others with "
            "--kafka-port, or use what is there with --kafka",
            f"port {others} for Redis is given to Kafka already; name others with --redis-port, "
            "or use what is there with --redis",
        ]


def test_a_port_that_is_given_twice_is_refused() -> None:
    (port,) = free_ports(1)
    settings = Settings(Path("x"), (port, port), kafka_port=0, postgres_port=0, redis_port=0)
    (problem,) = taken(settings)
    assert problem.startswith(f"port {port} for the gateway is given to the gateway already")


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT RUN as root, who may have any port")
def test_a_port_of_root_is_named(tmp_path: Path) -> None:
    settings = Settings(tmp_path, (81,), kafka_port=0, postgres_port=0, redis_port=0)
    assert list(taken(settings)) == [
        "port 81 for the gateway is for root alone; name others with --http"
    ]


def test_a_port_of_a_part_that_is_there_already_may_be_taken(others: int) -> None:
    settings = Settings(
        Path("x"), http_ports=(0,), kafka="there:9092", kafka_port=others,
        postgres="host=there", postgres_port=others, redis="redis://there", redis_port=others,
    )  # fmt: skip
    assert list(taken(settings)) == []


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's, which pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix="gossamer-") as folder:
        yield Path(folder)


def test_a_folder_that_can_be_used_is_made(short: Path) -> None:
    folder = short / "a b" / "ümlaut \\ back"
    assert list(unfit_folder(folder)) == []
    assert folder.is_dir() and list(folder.iterdir()) == []
    assert list(unfit_folder(folder)) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/proc/gossamer", "/proc/gossamer can't be made (No such file or directory)"),
        ("/proc", "/proc can't be written to"),
        ("file", "/file is no folder"),
        ("file/below", "/file/below can't be made, for a part of its path is no folder"),
        ("a,b", "/a,b has a comma in its name"),
        ("x" * 300, "is longer by"),
        ("/" + "y/" * 45, "is longer by 4 bytes than the path of a Unix socket in it may be"),
        ("\udcff", "no text"),
    ],
)
def test_a_folder_that_will_not_do_is_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").write_text("")
    (problem,) = unfit_folder(tmp_path / name)
    assert said in problem
    assert "--dir" in problem


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT RUN as root, who may write anywhere")
def test_a_folder_that_others_own_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "can't be made (Permission denied)" in next(unfit_folder(closed / "x"))
    assert "can't be written to (Permission denied)" in next(unfit_folder(closed))


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN for want of rights: it is about root")
@pytest.mark.skipif(postgres.binaries() is None, reason="NOT RUN: there is no PostgreSQL")
def test_a_folder_that_its_user_cannot_reach_is_refused(tmp_path: Path) -> None:
    pwd.getpwnam(postgres.USER)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert any(
        f"can't pass through {closed}; name another folder with --dir" in one
        for one in postgres.unfit(closed / "postgres")
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN for want of rights: it is about root")
def test_whatever_the_umask_its_user_can_reach_what_is_made_for_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert list(unfit_folder(tmp_path / "made" / "here")) == []
    finally:
        os.umask(before)
    assert [oct((tmp_path / one).stat().st_mode)[-3:] for one in ("made", "made/here")] == [
        "755", "755"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["room for instances", "gossamer: it is Tuesday."], "it is Tuesday"),
        (["LOG: begin", "FATAL:  no room", "LOG: end"], "FATAL:  no room"),
        (["[ERROR] No goal", "[ERROR] Re-run Maven with -X"], "[ERROR] No goal"),
        (["one", "two", ""], "two"),
        (["x" * 1_000], "x" * 400),
    ],
)
def test_of_a_log_the_line_is_told_that_says_why(
    tmp_path: Path, lines: Sequence[str], said: str
) -> None:
    log = tmp_path / "log"
    log.write_text("FATAL: the time before\n")
    begin = parts.log_bytes(log)
    with log.open("a") as file:
        file.writelines(f"{one}\n" for one in lines)
    assert parts.last_words(log, begin) == f"it said: {said}; its log is {log}"


def test_a_log_without_a_word_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("the time before\n")
    told = parts.last_words(log, parts.log_bytes(log))
    assert told == f"it said nothing, not even in its log, {log}"


async def test_what_builds_ends_with_all_that_it_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "sleep 1000 & echo $! >child; echo begun; wait"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(parts.done, ("sh", "-c", script), log, cwd=tmp_path))
        await until(lambda: log.exists() and "begun" in log.read_text())
        nursery.cancel_scope.cancel()
    child = Path("/proc") / (tmp_path / "child").read_text().strip()
    await until(lambda: not child.exists())


async def test_variables_for_other_programs_do_not_reach_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOSSAMER_HTTP", "elsewhere")
    monkeypatch.setenv("GOSSAMER_WORKFLOWS_RETENTION_DAYS", "7")
    log = tmp_path / "log"

    async def ready() -> bool:
        return "begun" in log.read_text()

    script = "echo [$GOSSAMER_HTTP][$GOSSAMER_WORKFLOWS_RETENTION_DAYS][$MINE] begun; exec sleep 99"
    command = ("sh", "-c", script)
    async with parts.running("It", command, log, ready, env={"MINE": "x"}, without=OVERRULED):
        assert log.read_text() == "[][7][x] begun\n"


async def test_a_part_that_does_not_start_tells_why(tmp_path: Path) -> None:
    async def ready() -> bool:
        return False

    command = ("sh", "-c", "echo room for instances; echo gossamer: it is Tuesday.; exit 2")
    with pytest.raises(parts.StackError) as told:
        async with parts.running("It", command, tmp_path / "log", ready):
            pass
    assert str(told.value) == (
        "It did not start: its process ended with status 2; it said: it is Tuesday; its log is "
        f"{tmp_path / 'log'}."
    )


def test_offered_actions_reach_the_gateway(tmp_path: Path) -> None:
    settings = Settings(tmp_path, offered=("mesh-*", "charge"))
    written = gateway_config(settings, Stack(1, kafka="a:1", redis=None))
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(written))
    environment = {"HOME": "/", POSTGRES_VARIABLE: "host=x"}
    read = config.load_record(GATEWAY, Namespace(config=file), environment).workflows
    assert read.is_offered("mesh-hello") and read.is_offered("charge")
    assert not read.is_offered("step1")


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
