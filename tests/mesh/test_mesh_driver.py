"""Meshes of real sockets on this machine, several members in one process."""

import dataclasses
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
from tests.mesh.mesh_fixture import PATIENT, RING, config_of, count_of
from tests.patience import patience, until

from gossamer_mesh.drivers import Member, Mesh, open_mesh, streams
from gossamer_mesh.drivers.certificates import Certificates
from gossamer_mesh.drivers.config import MemberEventKind
from gossamer_mesh.drivers.links import MESSAGES, VERSION
from gossamer_mesh.drivers.streams import MESSAGE_BYTES_MAX, QUEUE_MESSAGES_MAX
from gossamer_mesh.errors import ForeignMeshError, JoinError, ListenError, MisuseError
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.seal import OVERHEAD_BYTES

OTHER = Keyring((bytes(32),))


@asynccontextmanager
async def meshes(count: int) -> AsyncIterator[list[Mesh]]:
    """Members that all know each other, and have told all that they had to tell of it."""
    async with AsyncExitStack() as stack:
        opened: list[Mesh] = []
        for _ in range(count):
            seeds = [opened[0].address] if opened else []
            opened.append(await stack.enter_async_context(open_mesh(config_of(*seeds))))
        for mesh in opened:
            for _ in range(count - 1):
                await event_of(mesh, "joined")
        yield opened


async def event_of(mesh: Mesh, *kinds: MemberEventKind) -> Member:
    """The member of the next event that is of one of these kinds."""
    with patience():
        while (event := await mesh.next_event()).kind not in kinds:
            pass
        return event.member


async def counted(mesh: Mesh, name: str, least: int = 1, most: int = 2**63) -> None:
    """Until a counter or gauge of the mesh is in a range."""
    await until(lambda: least <= count_of(mesh, name) <= most)


async def test_three_members_know_each_other() -> None:
    async with meshes(3) as opened:
        ids = sorted(mesh.node_id for mesh in opened)
        for mesh in opened:
            assert [member.id for member in mesh.members()] == ids
            own = next(each for each in mesh.members() if each.id == mesh.node_id)
            assert own.address == mesh.address
            assert own.state == "alive"


async def test_tags_spread() -> None:
    async with meshes(2) as (one, other):
        one.set_tags({"free": 3, "engines": ["c7"]})
        changed = await event_of(other, "changed")
        assert (changed.id, changed.tags) == (one.node_id, {"free": 3, "engines": ["c7"]})
        with pytest.raises(MisuseError, match="512 fit"):
            one.set_tags({"long": "x" * 600})


async def test_a_tag_of_its_own_lasts() -> None:
    async with meshes(2) as (one, other):
        one.set_tag("gateway", b"digest")
        assert (await event_of(other, "changed")).tags == {"gateway": b"digest"}
        one.set_tags({"free": 3})
        assert (await event_of(other, "changed")).tags == {"gateway": b"digest", "free": 3}
        with pytest.raises(MisuseError, match="512 fit"):
            one.set_tag("long", "x" * 600)
        one.set_tag("gateway", None)
        assert (await event_of(other, "changed")).tags == {"free": 3}


async def test_an_abrupt_end_is_a_death_and_a_goodbye_is_none() -> None:
    async with meshes(1) as (stays,):
        async with open_mesh(config_of(stays.address)) as crashes:
            assert (await event_of(stays, "joined")).id == crashes.node_id
        assert (await event_of(stays, "died")).state == "dead"
        async with open_mesh(config_of(stays.address)) as leaves:
            await event_of(stays, "joined")
            with patience():
                await leaves.leave()
                await leaves.leave()
                with pytest.raises(MisuseError, match="has left"):
                    await leaves.join([stays.address])
        gone = await event_of(stays, "left", "died")
        assert (gone.state, gone.id) == ("left", leaves.node_id)
        assert [member.id for member in stays.members()] == [stays.node_id]


async def test_a_restart_under_the_same_key_and_port_is_a_new_life() -> None:
    async with meshes(1) as (stays,):
        config = config_of(stays.address)
        async with open_mesh(config) as before:
            first = await event_of(stays, "joined")
        config = dataclasses.replace(config, port=before.address[1])
        async with open_mesh(config):
            assert (await event_of(stays, "died")).session == first.session
            again = await event_of(stays, "joined")
            assert again.id == first.id
            assert again.session != first.session
            assert again.incarnation > first.incarnation


async def test_messages_arrive_in_order_with_their_sender() -> None:
    with patience():
        async with meshes(3) as (one, two, three):
            for number in range(100):
                assert one.send_nowait(three.node_id, b"%d" % number)
            assert two.send_nowait(three.node_id, bytes(MESSAGE_BYTES_MAX))
            received = [await three.receive() for _ in range(101)]
            assert [each for sender, each in received if sender == one.node_id] == [
                b"%d" % number for number in range(100)
            ]
            assert (two.node_id, bytes(MESSAGE_BYTES_MAX)) in received
            assert three.send_nowait(one.node_id, b"back")
            assert await one.receive() == (three.node_id, b"back")


async def test_what_cannot_be_sent_is_said() -> None:
    async with meshes(2) as (one, other):
        assert not one.send_nowait("00" * 16, b"")
        assert not one.send_nowait(one.node_id, b"")
        with pytest.raises(MisuseError, match="too long"):
            one.send_nowait(other.node_id, bytes(MESSAGE_BYTES_MAX + 1))
        sent = 0
        while one.send_nowait(other.node_id, b""):
            sent += 1
        assert sent == QUEUE_MESSAGES_MAX
        with patience():
            for _ in range(sent):
                await other.receive()


async def test_who_reads_slowly_slows_the_sender_down() -> None:
    async with meshes(2) as (one, other):
        message = bytes(2**20)
        sent = 0
        with patience():
            # Until no queue between the two takes more: ours, the sockets', the other's inbox.
            quiet = 0
            while quiet < 20:
                if one.send_nowait(other.node_id, message):
                    sent += 1
                    quiet = 0
                else:
                    quiet += 1
                    await trio.sleep(0.01)
            assert sent < 64
            for _ in range(sent):
                assert await other.receive() == (one.node_id, message)


async def test_an_idle_stream_is_closed_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IDLE_S", 0.1)
    with patience():
        async with meshes(2) as (one, other):
            for _ in range(2):
                assert one.send_nowait(other.node_id, b"now and then")
                assert await other.receive() == (one.node_id, b"now and then")
                await counted(other, "streams_incoming", 0, 0)
                await counted(one, "streams_outgoing", 0, 0)
            assert one.statistics()["streams_opened"] == 2


async def test_what_waits_for_a_dead_member_is_dropped() -> None:
    async with meshes(1) as (stays,):
        async with open_mesh(config_of(stays.address)) as crashes:
            await event_of(stays, "joined")
        assert stays.send_nowait(crashes.node_id, b"too late")
        await event_of(stays, "died")
        assert not stays.send_nowait(crashes.node_id, b"")
        assert stays.statistics()["messages_dropped"] == 1


async def test_another_key_or_name_is_told_apart_from_nobody() -> None:
    async with meshes(1) as (mesh,):
        for wrong in (
            dataclasses.replace(config_of(), keyring=OTHER),
            dataclasses.replace(config_of(), mesh_name="other"),
        ):
            with patience():
                async with open_mesh(wrong) as stranger:
                    with pytest.raises(ForeignMeshError, match="has another mesh key, or another"):
                        await stranger.join([mesh.address])
                    assert len(stranger.members()) == len(mesh.members()) == 1
        assert mesh.statistics()["datagrams_of_another_key"] >= 2
    with patience():
        async with open_mesh(config_of()) as alone:
            await alone.join([alone.address])
            with pytest.raises(JoinError, match=f"nobody answers at 127.0.0.1:{mesh.address[1]}"):
                await alone.join([mesh.address])
            with pytest.raises(JoinError, match="cannot be found"):
                await alone.join([("no-such-host.invalid", 1)])


async def test_joining_what_is_no_node_is_said() -> None:
    async def babble(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with patience():
        async with trio.open_nursery() as nursery, open_mesh(config_of()) as mesh:
            nursery.start_soon(trio.serve_listeners, babble, [listener])
            with pytest.raises(JoinError, match="no node of a mesh"):
                await mesh.join([listener.socket.getsockname()[:2]])
            nursery.cancel_scope.cancel()


async def test_a_member_found_later_by_its_seed_is_joined() -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with datagrams:
        datagrams.bind(("127.0.0.1", 0))
        seed = datagrams.getsockname()
    async with open_mesh(config_of(seed)) as first:
        await trio.testing.wait_all_tasks_blocked()
        async with open_mesh(dataclasses.replace(config_of(), port=seed[1])) as late:
            assert (await event_of(first, "joined")).id == late.node_id


async def test_a_port_in_use_is_named_and_callers_errors_come_through_bare() -> None:
    async with meshes(1) as (mesh,):
        taken = dataclasses.replace(config_of(), port=mesh.address[1])
        with pytest.raises(ListenError, match=f"127.0.0.1:{mesh.address[1]} cannot be listened on"):
            async with open_mesh(taken):
                pass
    with pytest.raises(JoinError, match="mine"):
        async with open_mesh(config_of()):
            raise JoinError("mine")
    with pytest.raises(MisuseError, match="32 bytes"):
        async with open_mesh(dataclasses.replace(config_of(), keyring=Keyring((b"short",)))):
            pass


async def test_junk_datagrams_are_counted_and_harmless() -> None:
    async with meshes(2) as (one, other):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
            for data in (
                b"",
                b"x",
                bytes(OVERHEAD_BYTES),
                b"\1" * 300,
                b"\1" * 1_400,
                bytes(5_000),
            ):
                junk.sendto(data, one.address)
        await counted(one, "datagrams_too_long")
        await counted(one, "datagrams_of_unknown_form", 3)
        await counted(one, "datagrams_of_another_key", 2)
        one.set_tags({"still": "here"})
        assert (await event_of(other, "changed")).tags == {"still": "here"}


# Streams of peers that do not keep to the rules.


async def test_a_peer_of_another_authority_is_refused_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    strangers = Certificates(OTHER, "gossamer", Identity.generate())
    context = strangers.client(strangers.first)
    context.verify_mode = ssl.CERT_NONE
    async with meshes(1) as (mesh,):
        with caplog.at_level(logging.WARNING, "gossamer.mesh"):
            for _ in range(3):
                async with tls(mesh, context) as stream:
                    # TLS 1.3: the client hears of its refusal on the first read, by an alert or, as
                    # the timing falls, by the end of the stream.
                    with suppress(trio.BrokenResourceError):
                        assert await stream.receive_some(1) == b""
            await counted(mesh, "handshakes_failed", 3)
    assert len(caplog.records) == 1
    assert "does not prove the mesh key" in caplog.text


async def test_junk_on_a_stream_ends_it_and_nothing_else() -> None:
    async with meshes(1) as (mesh,):
        for _ in range(3):
            stream = await trio.open_tcp_stream(*mesh.address)
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await stream.aclose()
        await counted(mesh, "handshakes_failed", 3)


@pytest.mark.parametrize(
    ("sent", "counter"),
    [
        (
            bytes((VERSION, MESSAGES)) + (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"),
            "messages_too_long",
        ),
        (bytes((VERSION + 1,)) + b"whatever", "streams_of_unknown_version"),
    ],
)
async def test_frames_against_the_rules_end_the_stream(sent: bytes, counter: str) -> None:
    context = Certificates(RING, "gossamer", Identity.generate()).client("")
    with patience():
        async with meshes(1) as (mesh,), tls(mesh, context) as stream:
            await stream.send_all(sent)
            await counted(mesh, counter)
            # A farewell of TLS or a broken connection, as the timing falls; never more bytes.
            with suppress(trio.BrokenResourceError):
                assert await stream.receive_some(1) == b""
            await counted(mesh, "streams_incoming", 0, 0)
            assert len(mesh._streams.inboxes[MESSAGES]) == 0


async def test_a_frame_that_breaks_off_is_no_message() -> None:
    with patience():
        async with meshes(1) as (mesh,):
            identity = Identity.generate()
            async with tls(mesh, Certificates(RING, "gossamer", identity).client("")) as stream:
                await stream.send_all(bytes((VERSION, MESSAGES)) + (2).to_bytes(4, "big") + b"ok")
                await stream.send_all((100).to_bytes(4, "big") + b"only a part")
            assert await mesh.receive() == (identity.node_id, b"ok")
            await counted(mesh, "streams_incoming", 0, 0)
            assert mesh.statistics()["messages_received"] == 1


async def test_a_member_whose_place_another_took_gets_nothing_meant_for_it() -> None:
    patient = dataclasses.replace(config_of(), tuning=PATIENT)
    async with open_mesh(patient) as mesh:
        async with open_mesh(config_of(mesh.address)) as gone:
            await event_of(mesh, "joined")
        # Another node on the dead one's port, before the death is known.
        taker = dataclasses.replace(config_of(), port=gone.address[1])
        async with open_mesh(taker) as other:
            assert mesh.send_nowait(gone.node_id, b"secret")
            await counted(mesh, "streams_to_another_identity")
            await event_of(mesh, "died")
            assert len(other._streams.inboxes[MESSAGES]) == 0


@asynccontextmanager
async def tls(
    mesh: Mesh, context: ssl.SSLContext
) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """A peer that speaks by hand; it breaks off at the end of the block."""
    stream = await trio.open_ssl_over_tcp_stream(*mesh.address, ssl_context=context)
    try:
        await stream.do_handshake()
        yield stream
    finally:
        await trio.aclose_forcefully(stream)
