"""`gossamer key ...` against running meshes: orders, files, and what stops a rotation."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.mesh.mesh_fixture import NEW, OLD, config_of
from tests.patience import until

from gossamer_mesh.drivers import Mesh, open_mesh
from gossamer_mesh.drivers.config import anyone
from gossamer_mesh.drivers.links import ORDER
from gossamer_mesh.identity import create_operator_key, load_operator_key, load_or_create
from gossamer_mesh.keyring import Keyring, fingerprint, read_keyring, write_keyring
from gossamer_mesh.orders import sign
from gossamer_mesh.packing import unpack
from gossamer_node import config, keeping
from gossamer_node.cli import ExitStatus, main
from gossamer_node.config import NodeConfig
from gossamer_node.control import serve_control
from gossamer_node.keeping import (
    Keeping,
    allow_list,
    order_to_add,
    order_to_remove,
    order_to_use,
)


@dataclass
class Peer:
    """One node's part that keeps keys: the rest of a node is not needed here."""

    mesh: Mesh
    keeping: Keeping
    settings: NodeConfig
    file: Path

    @property
    def ring(self) -> Keyring:
        assert self.settings.mesh.key_file is not None
        ring = read_keyring(self.settings.mesh.key_file)
        assert ring.keys == self.mesh.keyring.keys
        return ring


@asynccontextmanager
async def peer_at(
    folder: Path, operators: list[str], *seeds: tuple[str, int], listed: bool = False
) -> AsyncIterator[Peer]:
    folder.mkdir(exist_ok=True)
    key_file, members, file = folder / "mesh.key", folder / "members", folder / "gossamer.yaml"
    if not key_file.exists():
        write_keyring(key_file, Keyring((OLD,)))
    file.write_text(
        json.dumps(
            {
                "name": folder.name,
                "data_dir": str(folder),
                "mesh": {
                    "key_file": str(key_file),
                    "operators": operators,
                    **({"members_file": str(members)} if listed else {}),
                },
            }
        )
    )
    identity = load_or_create(folder / "identity.pem")
    if listed and not members.exists():
        members.write_text("")
        members.chmod(0o600)
    settings = config.load(environ={"GOSSAMER_CONFIG": str(file), "HOME": str(folder)})
    allowed = allow_list(settings.mesh.members_file, identity.node_id)
    mesh_config = config_of(
        *seeds,
        ring=read_keyring(key_file),
        identity=identity,
        admits=allowed.admits if allowed else anyone,
    )
    async with open_mesh(mesh_config) as mesh, trio.open_nursery() as nursery:
        keeps = Keeping(mesh, settings, allowed)
        handlers = {"keys": keeps.overview, "reload": keeps.reload}
        await nursery.start(
            partial(serve_control, settings.data_dir, handlers, {"order": keeps.carry})
        )
        nursery.start_soon(keeps.run)
        yield Peer(mesh, keeps, settings, file)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def peers(folder: Path, count: int, operators: list[str]) -> AsyncIterator[list[Peer]]:
    async with AsyncExitStack() as stack:
        opened: list[Peer] = []
        for number in range(count):
            seeds = [opened[0].mesh.address] if opened else []
            entered = peer_at(folder / f"node-{number}", operators, *seeds)
            opened.append(await stack.enter_async_context(entered))
        for each in opened:
            await until(lambda each=each: len(each.mesh.members()) == count)  # type: ignore[misc]
        yield opened


async def run(*arguments: object) -> int:
    return await trio.to_thread.run_sync(main, [str(each) for each in arguments])


@pytest.fixture
def operator(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "operator.pem"
    return path, create_operator_key(path)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_a_command_changes_the_key_of_a_running_mesh(
    tmp_path: Path, operator: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    file, public = operator
    async with peers(tmp_path, 3, [public]) as (one, two, three):
        given = ("--operator", file, "--config", one.file, "--json")
        assert await run("key", "rotate", *given) == 0
        said = lines_of(capsys)
        [mark] = one.ring.fingerprints()
        assert said[-1] == {"rotated": mark}
        assert [line["step"] for line in said[:-1]] == ["add"] * 3 + ["use"] * 3 + ["remove"] * 3
        assert all(line["done"] for line in said[:-1])
        # Adding begins here, removing ends here.
        assert said[0]["member"] == said[8]["member"] == one.mesh.node_id
        for each in (one, two, three):
            assert each.ring == Keyring(one.ring.keys, (fingerprint(OLD),))
            assert (each.settings.data_dir / "mesh.key").stat().st_mode & 0o777 == 0o600
            assert len(each.mesh.members()) == 3
        # Another one, later, from another node.
        assert await run("key", "rotate", "--operator", file, "--config", two.file) == 0
        assert "the mesh uses the key" in capsys.readouterr().out
        assert one.ring.retired == (fingerprint(OLD), mark)


async def test_a_member_that_does_not_confirm_stops_it_and_it_goes_on_later(
    tmp_path: Path,
    operator: tuple[Path, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "RETRY_S", 0.01)
    file, public = operator
    async with peers(tmp_path, 3, [public]) as (one, two, three):
        # Its disk does not take the file.
        broken = three.settings.data_dir / "mesh.key"
        text = broken.read_bytes()
        broken.write_bytes(b"broken\n")
        given = ("--operator", file, "--config", one.file, "--json")
        assert await run("key", "rotate", *given) == ExitStatus.FAILED
        captured = capsys.readouterr()
        assert f"({three.mesh.node_id}) did not confirm" in captured.err
        assert "stopped at the step `add`" in captured.err
        assert "run the same command again" in captured.err
        assert [len(each.mesh.keyring.keys) for each in (one, two, three)] == [2, 2, 1]
        added = one.ring.fingerprints()[1]
        broken.write_bytes(text)
        assert await run("key", "rotate", *given) == 0
        said = lines_of(capsys)
        assert said[0] == {"resumed": added} and said[-1] == {"rotated": added}
        assert {each.ring.fingerprints() for each in (one, two, three)} == {(added,)}


async def test_without_operators_it_is_refused_with_the_way_by_hand(
    tmp_path: Path, operator: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    file, public = operator
    async with peers(tmp_path, 1, []) as (one,):
        assert await run("key", "rotate", "--config", one.file) == ExitStatus.WRONG_INPUT
        assert "by hand: add a new key as a second line" in capsys.readouterr().err
        given = ("--operator", file, "--config", one.file)
        assert await run("key", "rotate", *given) == ExitStatus.WRONG_INPUT
        said = capsys.readouterr().err
        assert "mesh.operators is empty" in said and public in said
        assert one.ring == Keyring((OLD,))
    async with (
        peers(tmp_path / "..", 1, ["0" * 64])
        if False
        else peer_at(tmp_path / "other", ["0" * 64]) as other
    ):
        given = ("--operator", file, "--config", other.file)
        assert await run("key", "rotate", *given) == ExitStatus.WRONG_INPUT
        assert "does not follow this operator" in capsys.readouterr().err


async def test_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [Keyring((OLD, NEW)), Keyring((NEW, OLD)), Keyring((NEW,))]
    async with peers(tmp_path, 2, []) as both:
        for ring in steps:
            for each in both:
                assert each.settings.mesh.key_file is not None
                write_keyring(each.settings.mesh.key_file, ring)
                assert await run("key", "reload", "--config", each.file) == 0
                assert each.mesh.keyring.keys == ring.keys
        for each in both:
            assert each.mesh.keyring.retired == (fingerprint(OLD),)
            assert len(each.mesh.members()) == 2
            (each.settings.data_dir / "mesh.key").write_bytes(b"junk\n")
            given = ("key", "reload", "--config", each.file)
            assert await run(*given) == ExitStatus.WRONG_INPUT
            assert "the keys stay as they were: line 1" in capsys.readouterr().err
            assert each.mesh.keyring.keys == (NEW,)


async def test_old_foreign_and_broken_orders_change_nothing(
    tmp_path: Path, operator: tuple[Path, str]
) -> None:
    file, public = operator
    key, mark = load_operator_key(file), fingerprint(OLD)
    async with peers(tmp_path, 2, [public]) as (thief, mesh):

        async def give(order: bytes) -> tuple[bool, str]:
            answer = await thief.mesh.ask(mesh.mesh.node_id, ORDER, order, timeout_s=10)
            done, said, _ = unpack(answer)
            return done, said

        thief.mesh.set_keyring(Keyring((OLD, NEW)))
        add = sign(key, "gossamer", 1_000, *order_to_add(NEW, mark))
        assert await give(add) == (True, "")
        assert await give(add) == (True, "")
        assert mesh.ring.keys == (OLD, NEW)
        use = sign(key, "gossamer", 1_001, *order_to_use(NEW, mark))
        remove = sign(key, "gossamer", 1_002, *order_to_remove(NEW))
        done, said = await give(remove)
        assert not done and "use it first" in said
        assert (await give(use), await give(remove)) == ((True, ""), (True, ""))
        after = mesh.ring
        assert after.keys == (NEW,)
        stolen = create_operator_key(tmp_path / "stolen.pem")
        other = load_operator_key(tmp_path / "stolen.pem")
        for order, why in (
            (add, "number 1002 was followed here"),
            (sign(key, "gossamer", 1_003, *order_to_add(bytes(32), mark)), "is to replace the key"),
            (sign(other, "gossamer", 9_000, *order_to_add(bytes(32), mark)), stolen[:16]),
            (sign(key, "another", 9_000, *order_to_add(bytes(32), mark)), "for the mesh 'another'"),
            (sign(key, "gossamer", 9_000, "key.burn", {}), "knows no order"),
            (sign(key, "gossamer", 9_000, "key.add", {"key": "text"}), "knows no order"),
            (add[:-1] + bytes([add[-1] ^ 1]), "signature does not hold"),
            (b"junk", "no order that this version can read"),
            (b"", "no order that this version can read"),
        ):
            done, said = await give(order)
            assert not done and why in said, (why, said)
            assert mesh.ring == after


async def test_numbers_survive_a_restart(tmp_path: Path, operator: tuple[Path, str]) -> None:
    file, public = operator
    add = sign(load_operator_key(file), "gossamer", 7, *order_to_add(NEW, fingerprint(OLD)))
    for expected in ((OLD, NEW), (OLD,)):
        async with peers(tmp_path, 1, [public]) as (one,):
            one.keeping._follow(add)
            assert one.ring.keys == expected
            assert one.keeping._numbers.highest(public) == 7
            write_keyring(tmp_path / "node-0" / "mesh.key", Keyring((OLD,)))
            assert one.keeping.reload() == {"problems": []}
            newer = sign(load_operator_key(file), "gossamer", 8, "key.burn", {})
            assert not one.keeping._follow(newer)[0]


async def test_a_clock_that_is_ahead_elsewhere_costs_one_more_order(
    tmp_path: Path, operator: tuple[Path, str]
) -> None:
    file, public = operator
    async with peers(tmp_path, 2, [public]) as (one, two):
        ahead = 2**52
        order = sign(
            load_operator_key(file), "gossamer", ahead, *order_to_use(OLD, fingerprint(OLD))
        )
        assert two.keeping._follow(order)[0]
        assert await run("key", "rotate", "--operator", file, "--config", one.file) == 0
        assert one.ring == two.ring
        assert one.keeping._numbers.highest(public) > ahead


async def test_the_list_of_members_is_followed_while_the_node_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LOOK_INTERVAL_S", 0.05)
    async with (
        peer_at(tmp_path / "strict", [], listed=True) as strict,
        peer_at(tmp_path / "guest", [], strict.mesh.address) as guest,
    ):
        id = guest.mesh.node_id
        assert not guest.mesh.send_nowait(strict.mesh.node_id, b"not yet a member")
        with pytest.raises(Exception, match="closes this node's connections"):
            await guest.mesh.join([strict.mesh.address])
        assert strict.mesh.refused() == [id]
        assert len(strict.mesh.members()) == 1
        assert await run("key", "trust", id, "--config", strict.file) == 0
        assert "is on the list" in capsys.readouterr().out
        await until(lambda: len(strict.mesh.members()) == len(guest.mesh.members()) == 2)
        assert await run("key", "list", "--config", strict.file, "--json") == 0
        [shown] = lines_of(capsys)
        assert shown["allowed"] == [id] and shown["refused"] == []
        assert guest.mesh.send_nowait(strict.mesh.node_id, b"hello")
        assert await strict.mesh.receive() == (id, b"hello")
        # An error in the file keeps the list, however it came there.
        members = strict.settings.data_dir / "members"
        members.write_text("nonsense\n")
        assert await run("key", "reload", "--config", strict.file) == ExitStatus.WRONG_INPUT
        assert "stays as it was" in capsys.readouterr().err
        assert len(strict.mesh.members()) == 2
        # By an editor: seen by its times.
        members.write_text("# nobody\n")
        await until(lambda: len(strict.mesh.members()) == 1)
        await until(lambda: strict.mesh.statistics()["streams_incoming"] == 0)


async def test_what_is_shown_has_no_key(
    tmp_path: Path, operator: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    async with peers(tmp_path, 2, [operator[1]]) as (one, two):
        one.keeping.reload()
        assert await run("key", "list", "--config", one.file) == 0
        shown = capsys.readouterr().out
        assert f"{fingerprint(OLD)}  seals and opens" in shown
        assert one.mesh.node_id in shown and two.mesh.node_id in shown
        assert operator[1] in shown
        assert (tmp_path / "node-0" / "mesh.key").read_text().strip() not in shown
    # Without a node, from the files.
    assert await run("key", "list", "--config", tmp_path / "node-0" / "gossamer.yaml") == 0
    assert fingerprint(OLD) in capsys.readouterr().out


async def test_trust_needs_a_list_and_an_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with peer_at(tmp_path / "node", []) as node:
        given = ("key", "trust", "0" * 32, "--config", node.file)
        assert await run(*given) == ExitStatus.WRONG_INPUT
        assert "mesh.members_file" in capsys.readouterr().err
    async with peer_at(tmp_path / "strict", [], listed=True) as strict:
        given = ("key", "trust", "nobody", "--config", strict.file)
        assert await run(*given) == ExitStatus.WRONG_INPUT
        assert "is no node id" in capsys.readouterr().err
