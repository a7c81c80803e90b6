"""Real nodes: their mesh key changes by command and by SIGHUP, and who was away is told."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.mesh.mesh_fixture import NEW
from tests.patience import PATIENCE_S, seen

from gossamer_mesh.identity import create_operator_key
from gossamer_mesh.keyring import Keyring, fingerprint, read_keyring, write_keyring
from gossamer_node.control import ask
from gossamer_node.errors import NodeError

pytestmark = pytest.mark.processes

COMMAND = [sys.executable, "-m", "gossamer_node"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=10 * PATIENCE_S, check=False
    )


def configure(folder: Path, name: str, operator: str, join: str | None) -> Path:
    file = folder / f"{name}.yaml"
    (folder / name).mkdir(mode=0o700, exist_ok=True)
    settings = {
        "name": name,
        "data_dir": name,
        "cache_dir": "cache",
        "listen": "127.0.0.1:0",
        "join": [join] if join else [],
        "mesh": {"key_file": f"{name}.key", "operators": [operator]},
    }
    file.write_text(json.dumps(settings))
    return file


@asynccontextmanager
async def node(folder: Path, file: Path, members: int) -> AsyncIterator[trio.Process]:
    """A node that sees so many members, itself among them."""
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                [*COMMAND, "node", "--config", str(file)],
                cwd=folder,
                check=False,
                stderr=subprocess.DEVNULL,
            )
        )
        try:
            await until_members(file, members)
            yield process
        finally:
            process.terminate()
            with trio.move_on_after(PATIENCE_S, shield=True):
                await process.wait()


async def until_members(file: Path, count: int) -> None:
    async def look() -> bool:
        return await trio.to_thread.run_sync(members_of, file) == count

    await seen(look, pause_s=0.1)


async def until_keys(data_dir: Path, ring: Keyring) -> None:
    async def look() -> bool:
        view = await trio.to_thread.run_sync(ask, data_dir, "keys")
        return view["keys"] == list(ring.fingerprints())

    await seen(look, pause_s=0.05)


def members_of(file: Path) -> int:
    try:
        members = ask(file.with_suffix(""), "status")["members"]
    except NodeError:
        return 0
    assert isinstance(members, list)
    return len(members)


async def test_the_key_of_real_nodes_changes(tmp_path: Path) -> None:
    operator_file = tmp_path / "operator.pem"
    operator = create_operator_key(operator_file)
    assert run("key", "new", tmp_path / "one.key").returncode == 0
    old = read_keyring(tmp_path / "one.key")
    for name in ("two", "away"):
        write_keyring(tmp_path / f"{name}.key", old)
    one = configure(tmp_path, "one", operator, None)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(node(tmp_path, one, 1))
        status = await trio.to_thread.run_sync(ask, tmp_path / "one", "status")
        assert isinstance(status["node"], dict)
        address = status["node"]["address"]
        two = configure(tmp_path, "two", operator, address)
        second = await stack.enter_async_context(node(tmp_path, two, 2))
        given = ("key", "rotate", "--config", two, "--operator", operator_file)
        done = await trio.to_thread.run_sync(run, *given)
        assert done.returncode == 0, done.stderr
        ring = read_keyring(tmp_path / "one.key")
        assert ring == read_keyring(tmp_path / "two.key")
        assert ring.keys != old.keys and ring.retired == old.fingerprints()
        assert members_of(one) == members_of(two) == 2
        # Who was away is told what happened, and does not run.
        away = configure(tmp_path, "away", operator, address)
        done = await trio.to_thread.run_sync(run, "node", "--config", away)
        assert done.returncode == 2
        assert "changed its key while this node was away" in done.stderr
        # By hand, with a signal.
        for step in (ring.added(NEW), ring.added(NEW).led_by(fingerprint(NEW))):
            for name, process in (("one", first), ("two", second)):
                write_keyring(tmp_path / f"{name}.key", step)
                process.send_signal(signal.SIGHUP)
                await until_keys(tmp_path / name, step)
        assert members_of(one) == members_of(two) == 2
