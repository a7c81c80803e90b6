"""The control socket: asked, not there, taken, or full of junk."""

import os
import socket
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.patience import until

from gossamer_node.control import Tell, ask, converse, hold_folder, serve_control, socket_path
from gossamer_node.errors import InputError, NodeError


async def _ask(folder: Path, request: str) -> dict[str, object]:
    return await trio.to_thread.run_sync(ask, folder, request)


async def test_a_node_answers_and_its_socket_is_its_owners_alone(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, tmp_path, {"status": lambda: {"a": [1, "ü"]}}))
        assert await _ask(tmp_path, "status") == {"a": [1, "ü"]}
        assert await _ask(tmp_path, "nonsense") == {"error": "unknown request"}
        assert socket_path(tmp_path).stat().st_mode & 0o777 == 0o600
        nursery.cancel_scope.cancel()
    assert not socket_path(tmp_path).exists()


async def test_junk_and_a_hasty_client_do_not_end_it(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, tmp_path, {"status": lambda: {"a": 1}}))
        for junk in (b"", b"\xff\xfe\n", os.urandom(10_000)):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(socket_path(tmp_path)))
                client.send(junk)
        assert await _ask(tmp_path, "status") == {"a": 1}
        nursery.cancel_scope.cancel()


async def test_a_conversation_is_several_lines_and_outlives_who_began_it(tmp_path: Path) -> None:
    told: list[str] = []
    may_end = trio.Event()

    async def count(argument: str, tell: Tell) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(tell, {"number": number, "of": argument})
        await may_end.wait()
        for _ in range(3):
            await tell({"to": "nobody"})
        told.append(argument)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, tmp_path, {}, {"count": count}))

        def first_three() -> list[object]:
            lines = converse(tmp_path, "count all that is said")
            return [next(lines) for _ in range(3)]

        lines = await trio.to_thread.run_sync(first_three)
        assert sorted(str(line) for line in lines) == [
            str({"number": number, "of": "all that is said"}) for number in range(3)
        ]
        may_end.set()
        await until(lambda: bool(told))
        nursery.cancel_scope.cancel()


def test_two_nodes_cannot_share_a_folder(tmp_path: Path) -> None:
    sentence = "a node already runs in"
    with hold_folder(tmp_path), pytest.raises(InputError, match=sentence), hold_folder(tmp_path):
        pass
    with hold_folder(tmp_path):
        pass


async def test_a_socket_that_a_killed_node_left_is_no_hindrance(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path(tmp_path)))
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, tmp_path, {"status": lambda: {}}))
        assert await _ask(tmp_path, "status") == {}
        nursery.cancel_scope.cancel()


def test_asking_where_no_node_runs_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"no node runs in .* --data-dir"):
        ask(tmp_path, "status")


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too long for a Unix socket"):
        socket_path(tmp_path / ("x" * 120))
