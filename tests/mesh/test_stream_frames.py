"""Frames of the membership protocol over links of their own, beside messages."""

import dataclasses
import socket

import pytest
import trio
from tests.mesh.mesh_fixture import PATIENT, config_of, count_of, meshes
from tests.patience import PATIENCE_S, patience, until
from trio.socket import SocketType

from gossamer_mesh.drivers import Mesh, open_mesh
from gossamer_mesh.drivers import links as links_module
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import ORDER, REPEAT_MS_MAX, Link
from gossamer_mesh.errors import PeerError


def parted_for_datagrams(mesh: Mesh) -> None:
    mesh._datagrams.send = lambda data, address: None  # type: ignore[method-assign]


async def test_members_live_on_where_datagrams_do_not_pass() -> None:
    first = dataclasses.replace(config_of(), tuning=PATIENT)
    async with open_mesh(first) as one:
        second = dataclasses.replace(config_of(one.address), tuning=PATIENT)
        async with open_mesh(second) as other:
            await until(lambda: len(one.members()) == len(other.members()) == 2)
            parted_for_datagrams(one)
            parted_for_datagrams(other)
            # Lease payloads fill their stream meanwhile: frames do not wait behind them.
            while one.send_nowait(other.node_id, bytes(2**20)):
                pass
            await until(lambda: count_of(one, "probes_by_stream") >= 3)
            await until(lambda: count_of(other, "probes_by_stream") >= 3)
            assert len(one.members()) == len(other.members()) == 2
            assert count_of(one, "stream_frames_sent") >= 3


async def test_a_request_does_not_wait_behind_messages() -> None:
    async with meshes(2) as (one, other):

        async def answer(sender: str, request: bytes) -> bytes:
            return sender.encode() + b" said " + request

        other.handle(ORDER, Handler(answer, 100, 5))
        while one.send_nowait(other.node_id, bytes(2**20)):  # nobody reads them
            pass
        said = await one.ask(other.node_id, ORDER, b"hello", timeout_s=PATIENCE_S)
        assert said == one.node_id.encode() + b" said hello"


TCP_RTO_MAX_MS = 44  # linux/tcp.h, from 6.15 on
UNKNOWN = 9_999
"""What no kernel has an option for, as an older one has none for the above."""


def pause_ms_max(kernel: SocketType, option: int) -> int | None:
    """After how long TCP repeats what was lost, at most; None where it has no such bound."""
    try:
        return kernel.getsockopt(socket.IPPROTO_TCP, option)
    except OSError:
        return None


@pytest.mark.parametrize("option", [TCP_RTO_MAX_MS, UNKNOWN])
async def test_both_ends_of_a_link_bound_the_pauses_of_tcp_where_the_kernel_can(
    option: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a link on which a fifth is lost falls silent for longer than a grant may take. Under an
    older kernel it does, and nothing else is wrong."""
    assert links_module._TCP_RTO_MAX_MS == TCP_RTO_MAX_MS
    monkeypatch.setattr(links_module, "_TCP_RTO_MAX_MS", option)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with meshes(2) as (one, other), listener, trio.open_nursery() as nursery:
        unbounded = pause_ms_max(listener.socket, option)
        assert unbounded != REPEAT_MS_MAX
        links: list[Link | None] = []

        async def accept() -> None:
            links.append(await one._streams.links.accept(await listener.accept()))

        nursery.start_soon(accept)
        links.append(await other._streams.links.open(listener.socket.getsockname()))
        await until(lambda: len(links) == 2)
        for link in links:
            assert link is not None
            bounded = pause_ms_max(link.stream.transport_stream.socket, option)
            assert bounded == (None if unbounded is None else REPEAT_MS_MAX)
            await trio.aclose_forcefully(link.stream)
        assert one.send_nowait(other.node_id, b"hello")
        with patience():
            assert await other.receive() == (one.node_id, b"hello")
    assert caplog.messages == []


async def test_requests_that_fail_are_said() -> None:
    async with meshes(2) as (one, other):

        async def hang(sender: str, request: bytes) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

        for id, handler, timeout_s, said in (
            ("0" * 32, None, PATIENCE_S, "is not in the mesh now"),
            (other.node_id, None, PATIENCE_S, "without an answer"),
            (other.node_id, Handler(hang, 1, 5), PATIENCE_S, "without an answer"),
            (other.node_id, Handler(hang, 100, PATIENCE_S), 0.5, "did not answer within"),
        ):
            if handler is not None:
                other.handle(ORDER, handler)
            try:
                await one.ask(id, ORDER, b"hello", timeout_s=timeout_s)
            except PeerError as error:
                assert said in str(error)
            else:
                raise AssertionError(said)
