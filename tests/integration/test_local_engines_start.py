"""Both engines start here, answer, listen to nobody else, and never outlive who started them."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from tests.patience import PATIENCE_S
from tests.zeebe88.engine import RunningZeebe88

from gossamer_node.errors import LocalEngineError
from gossamer_node.local_engines import RunningCamunda7, RunningZeebe, cache, silent, starting
from gossamer_node.local_engines.lock import Lock, Locked, read_lock

GONE_MS_MAX = 120_000
"""Longer than a guard's whole grace; a process that is still there then was left behind."""

COMMAND = """
import argparse, sys
from gossamer_node.local_engines import command
parser = argparse.ArgumentParser()
command.configure(parser)
sys.exit(command.run(parser.parse_args()))
"""


@pytest.mark.camunda7
async def test_camunda7_answers_with_its_version(camunda7_url: str) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.get(f"{camunda7_url}/version")
    assert answer.json() == {"version": starting.CAMUNDA7_VERSION}


@pytest.mark.zeebe
async def test_zeebe_answers_with_its_version(zeebe: RunningZeebe, zeebe_url: str) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        topology = await client.get(f"{zeebe_url}/v2/topology")
        health = await client.get(f"{zeebe.management_url}/actuator/health")
    assert topology.json()["gatewayVersion"] == starting.ZEEBE_VERSION
    assert health.json()["status"] == "UP"


def listening_addresses(port: int) -> set[str]:
    """The local addresses, as the kernel writes them, on which a TCP port is listened to."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            local, state = row.split()[1], row.split()[3]
            address, _, hex_port = local.partition(":")
            if state == "0A" and int(hex_port, 16) == port:  # TCP_LISTEN
                found.add(address)
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 as IPv4, and as IPv6 writes IPv4."""


@pytest.mark.camunda7
@pytest.mark.zeebe
@pytest.mark.zeebe88
def test_they_listen_on_the_loopback_only(
    camunda7: RunningCamunda7, zeebe: RunningZeebe, zeebe88: RunningZeebe88
) -> None:
    addresses = [camunda7.url, zeebe.url, f"//{zeebe.grpc_address}", zeebe.management_url]
    for address in [*addresses, f"//{zeebe88.grpc_address}"]:
        port = urlsplit(address).port
        assert port is not None
        listening = listening_addresses(port)
        assert listening and listening <= LOOPBACK, address


# The command


def descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return children + [each for child in children for each in descendants(child)]


def gone(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)  # readable once the process has ended: pidfd_open(2)
    try:
        return bool(poll.poll(GONE_MS_MAX))
    finally:
        os.close(pidfd)


@pytest.mark.camunda7
@pytest.mark.zeebe
@pytest.mark.parametrize(
    ("engines", "sign", "status", "kept"),
    [
        (("camunda7", "zeebe"), signal.SIGKILL, -signal.SIGKILL, ["engine.log", "engine.log"]),
        (("camunda7",), signal.SIGTERM, 0, []),
    ],
)
@pytest.mark.usefixtures("camunda7", "zeebe")  # or else it is NOT RUN
def test_no_jvm_is_left_behind(
    engines: tuple[str, ...], sign: signal.Signals, status: int, kept: list[str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--json", *(f"--{engine}" for engine in engines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as starter:
        try:
            assert starter.stdout is not None
            urls = json.loads(starter.stdout.readline())
            below = [os.pidfd_open(pid) for pid in descendants(starter.pid)]
        finally:
            starter.send_signal(sign)
    assert tuple(urls) == engines
    assert starter.returncode == status
    assert len(below) == 2 * len(engines)  # a guard and its JVM each
    assert all(gone(pidfd) for pidfd in below)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == kept


# The download


def smallest(engine: str) -> Locked:
    lock = read_lock(Path(starting.__file__).parent / f"{engine}.lock")
    return min(lock.artifacts, key=lambda artifact: artifact.size_bytes)


@pytest.fixture
def cache_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of engines, on a machine that has Maven."""
    if shutil.which("mvn") is None:
        pytest.skip("NOT RUN: the command mvn is missing; install Maven and try again.")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache.cache_directory()


@pytest.mark.processes
async def test_two_that_want_an_engine_download_it_once(cache_home: Path) -> None:
    artifact = smallest("camunda7")
    kit = cache.Kit("small", "Small 1", Lock((artifact,), "0" * 64))
    said: list[str] = []
    places: list[Path] = []

    async def want() -> None:
        places.append(await cache.provide(kit, lambda text, fraction: said.append(text)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(want)
        nursery.start_soon(want)
    assert places == [cache_home / "small-000000000000"] * 2
    assert cache.intact(places[0])
    assert said.count("verifying Small 1") == 1
    assert "waiting for another process that downloads Small 1" in said


@pytest.mark.processes
def test_a_download_that_differs_from_the_lock_is_refused(cache_home: Path) -> None:
    artifact = smallest("camunda7")
    other = Locked("0" * 64, artifact.size_bytes, artifact.coordinate)
    kit = cache.Kit("small", "Small 1", Lock((other,), "0" * 64))
    with pytest.raises(LocalEngineError, match="is not the file that was locked"):
        trio.run(cache.provide, kit, silent)
    assert [path.name for path in cache_home.iterdir()] == ["small.flock"]
