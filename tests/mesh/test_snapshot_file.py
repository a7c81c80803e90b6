"""The snapshot's file, two processes of one identity, and two nodes of one name."""

import dataclasses
import logging
from pathlib import Path

import pytest
import trio
from tests.mesh.mesh_fixture import config_of, meshes
from tests.patience import until

from gossamer_mesh.drivers import mesh as driver
from gossamer_mesh.drivers import open_mesh, snapshots
from gossamer_mesh.drivers.config import MeshConfig
from gossamer_mesh.errors import IdentityTakenError
from gossamer_mesh.identity import Identity
from gossamer_mesh.swim.snapshot import SNAPSHOT_BYTES_MAX


def kept(path: Path, *seeds: tuple[str, int], identity: Identity | None = None) -> MeshConfig:
    return dataclasses.replace(config_of(*seeds, identity=identity), snapshot_file=path)


async def test_a_mesh_finds_itself_again_without_seeds(tmp_path: Path) -> None:
    identity = Identity.generate()
    file = tmp_path / "mesh.snapshot"
    async with meshes(1) as (stays,):
        async with open_mesh(kept(file, stays.address, identity=identity)) as before:
            await until(lambda: len(before.members()) == 2)
            await before.leave()
            said = before._swim.own.incarnation
        assert file.stat().st_mode & 0o777 == 0o600
        async with open_mesh(kept(file, identity=identity)) as after:
            await until(lambda: len(after.members()) == len(stays.members()) == 2)
            assert after._swim.own.incarnation > said


async def test_it_is_written_while_the_node_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "SNAPSHOT_INTERVAL_S", 0.02)
    file = tmp_path / "mesh.snapshot"
    async with meshes(1) as (stays,), open_mesh(kept(file, stays.address)) as mesh:
        await until(lambda: len(mesh.members()) == 2)
        await until(
            lambda: stays.address[0].encode() in (file.read_bytes() if file.exists() else b"")
        )


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"junk", 0o600, "is broken"),
        (b"", 0o644, "chmod 600"),
        (bytes(SNAPSHOT_BYTES_MAX + 1), 0o600, "longer than"),
    ],
)
async def test_a_broken_one_is_said_and_left_aside(
    tmp_path: Path, content: bytes, mode: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "mesh.snapshot"
    file.write_bytes(content)
    file.chmod(mode)
    async with meshes(1) as (stays,), open_mesh(kept(file, stays.address)) as mesh:
        await until(lambda: len(mesh.members()) == 2)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert said in caplog.text and str(file) in caplog.text


async def test_one_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = snapshots.SnapshotFile(tmp_path / "nowhere" / "mesh.snapshot")
    await keeper.write(b"x")
    await keeper.write(b"x")
    assert len(caplog.records) == 1


async def test_a_second_process_of_one_identity_ends_the_first() -> None:
    identity = Identity.generate()
    async with meshes(1) as (stays,):

        async def run(ended: list[str]) -> None:
            try:
                async with open_mesh(config_of(stays.address, identity=identity)) as mesh:
                    await until(lambda: len(mesh.members()) == 2)
                    await trio.sleep_forever()
            except IdentityTakenError as error:
                ended.append(str(error))
                assert identity.node_id in str(error)

        ended: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, ended)
            await until(lambda: len(stays.members()) == 2)
            nursery.start_soon(run, ended)
            await until(lambda: len(ended) >= 1)
            nursery.cancel_scope.cancel()
        assert "stop one of the two" in ended[0]


async def test_a_name_that_two_have_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with meshes(1) as (stays,):
        twin = dataclasses.replace(config_of(stays.address), name="twin")
        other = dataclasses.replace(config_of(stays.address), name="twin")
        async with open_mesh(twin), open_mesh(other):
            await until(lambda: len(stays.members()) == 3)
            await until(lambda: "has the name 'twin'" in caplog.text)
