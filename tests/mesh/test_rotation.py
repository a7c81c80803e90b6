"""The mesh key changes while members talk: nobody dies, no message is lost, nobody is refused."""

import itertools
import logging

import pytest
import trio
from tests.mesh.mesh_fixture import NEW, OLD, RING, config_of, count_of, meshes
from tests.patience import until

from gossamer_mesh.drivers import Mesh, open_mesh, streams
from gossamer_mesh.errors import ForeignMeshError
from gossamer_mesh.keyring import Keyring, fingerprint

ADDED = Keyring((OLD, NEW))
USED = Keyring((NEW, OLD))
DONE = USED.kept_only(fingerprint(NEW))


class Talk:
    """Everyone tells everyone the next number, again and again."""

    def __init__(self, members: list[Mesh]) -> None:
        self.members = members
        self.sent: dict[tuple[str, str], int] = {}
        self.heard: dict[tuple[str, str], list[int]] = {}

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for each in self.members:
                nursery.start_soon(self._listen, each)
            while True:
                self.speak()
                await trio.sleep(0.01)  # the pace of the talk

    def speak(self) -> None:
        for one, other in itertools.permutations(self.members, 2):
            pair = (one.node_id, other.node_id)
            number = self.sent.get(pair, 0)
            if one.send_nowait(other.node_id, b"%d" % number):
                self.sent[pair] = number + 1

    async def _listen(self, mesh: Mesh) -> None:
        while True:
            sender, message = await mesh.receive()
            self.heard.setdefault((sender, mesh.node_id), []).append(int(message))

    async def rounds(self, count: int) -> None:
        """Until each pair has heard so many more."""
        before = {pair: len(numbers) for pair, numbers in self.heard.items()}
        pairs = len(self.members) * (len(self.members) - 1)
        await until(
            lambda: (
                len(self.heard) == pairs
                and all(
                    len(each) >= before.get(pair, 0) + count for pair, each in self.heard.items()
                )
            )
        )


async def test_three_members_change_the_key_while_they_talk(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with meshes(3) as members, trio.open_nursery() as nursery:
        talk = Talk(members)
        nursery.start_soon(talk.run)
        await talk.rounds(5)
        for ring in (ADDED, USED, DONE):
            for mesh in members:
                mesh.set_keyring(ring)
                # Between any two changes each one still talks with each.
                await talk.rounds(5)
        # Long enough to be suspected and called dead, were anybody not heard.
        await talk.rounds(100)
        for mesh in members:
            assert len(mesh.members()) == 3
            assert mesh.keyring == DONE
            for name in (
                "datagrams_of_another_key",
                "handshakes_failed",
                "streams_failed",
                "streams_cut",
                "messages_dropped",
                "messages_refused",
            ):
                assert count_of(mesh, name) == 0, (name, mesh.statistics())
        for pair, numbers in talk.heard.items():
            assert numbers == list(range(len(numbers))), pair
        nursery.cancel_scope.cancel()
    assert caplog.records == []


async def test_nobody_was_suspected_for_its_key() -> None:
    async with meshes(3) as members:
        for mesh in members:
            while mesh._events._waiting:
                await mesh.next_event()
        for ring in (ADDED, USED, DONE):
            for mesh in members:
                mesh.set_keyring(ring)
            acked = [count_of(mesh, "datagrams_received") for mesh in members]
            await until(
                lambda acked=acked: all(  # type: ignore[misc]
                    count_of(mesh, "datagrams_received") > before + 10
                    for mesh, before in zip(members, acked, strict=True)
                )
            )
        for mesh in members:
            kinds = [event.kind for each in mesh._events._waiting.values() for event in each]
            assert not {"died", "left"} & set(kinds), kinds


@pytest.mark.parametrize("rings", [(RING, ADDED), (RING, USED), (ADDED, USED), (USED, DONE)])
async def test_any_two_neighbouring_steps_talk_both_ways(
    rings: tuple[Keyring, Keyring],
) -> None:
    """By hand nobody is quick: members stay at different steps for as long as they like. One that
    has only the old key hears no datagram under the new one, but streams find the common key."""
    async with meshes(2) as (one, other), trio.open_nursery() as nursery:
        one.set_keyring(rings[0])
        other.set_keyring(rings[1])
        talk = Talk([one, other])
        nursery.start_soon(talk.run)
        await talk.rounds(3)
        nursery.cancel_scope.cancel()


async def test_a_stream_under_a_removed_key_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "REMOVED_KEY_GRACE_S", 0.02)
    async with meshes(2) as (one, other):
        assert one.send_nowait(other.node_id, b"before")
        assert await other.receive() == (one.node_id, b"before")
        # The thief of the old key keeps its stream open and never hears of the new one.
        other.set_keyring(DONE)
        await until(lambda: count_of(other, "streams_cut") == 1)
        await until(lambda: count_of(other, "streams_incoming") == 0)


async def test_who_was_away_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    async with meshes(1) as (mesh,):
        mesh.set_keyring(DONE)
        async with open_mesh(config_of()) as away:
            with pytest.raises(ForeignMeshError, match="changed its key while this node was away"):
                await away.join([mesh.address])
        await until(lambda: count_of(mesh, "datagrams_of_a_retired_key") > 0)
    said = [record.message for record in caplog.records if "was removed here" in record.message]
    assert len(said) == 1


async def test_who_was_away_and_still_runs_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "gossamer.mesh"):
        async with meshes(2) as (mesh, away):
            mesh.set_keyring(DONE)
            await until(lambda: any("while this node was away" in each for each in caplog.messages))
            away.set_keyring(DONE)
            await until(lambda: len(mesh.members()) == len(away.members()) == 2)
