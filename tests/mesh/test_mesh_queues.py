"""The driver's queues, tags and bindings, each by itself."""

from socket import AF_INET

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.drivers.config import Member, MemberEvent, MemberEventKind, Plain
from gossamer_mesh.drivers.queues import INBOX_BYTES_MAX, INBOX_MESSAGES_MAX, Inbox, MemberEvents
from gossamer_mesh.drivers.sockets import Datagrams, bind, resolve
from gossamer_mesh.drivers.tags import DEPTH_MAX, pack_tags, printable, unpack_tags
from gossamer_mesh.errors import ListenError, MisuseError
from gossamer_mesh.packing import pack
from gossamer_mesh.swim.codec import DATAGRAM_BYTES_MAX


def event(kind: MemberEventKind, id: str = "a", incarnation: int = 0) -> MemberEvent:
    return MemberEvent(kind, Member(id, id, ("10.0.0.1", 1), "alive", {}, incarnation, 0))


async def drained(events: MemberEvents) -> list[tuple[MemberEventKind, str, int]]:
    found = []
    while events._waiting:
        each = await events.next()
        found.append((each.kind, each.member.id, each.member.incarnation))
    return found


async def test_events_of_a_quick_consumer_come_as_they_are() -> None:
    events = MemberEvents()
    kinds: tuple[MemberEventKind, ...] = ("joined", "changed", "suspected", "cleared", "died")
    for kind in kinds:
        events.put(event(kind))
        assert await drained(events) == [(kind, "a", 0)]


async def test_events_coalesce_to_the_end_of_a_life_and_the_newest_after_it() -> None:
    events = MemberEvents()
    events.put(event("joined", incarnation=1))
    events.put(event("changed", incarnation=2))
    events.put(event("joined", "b"))
    assert await drained(events) == [("joined", "a", 2), ("joined", "b", 0)]
    events.put(event("changed", incarnation=3))
    events.put(event("died", incarnation=3))
    events.put(event("joined", incarnation=4))
    events.put(event("suspected", incarnation=5))
    assert await drained(events) == [("died", "a", 3), ("joined", "a", 5)]
    events.put(event("died", incarnation=5))
    events.put(event("joined", incarnation=6))
    events.put(event("left", incarnation=7))
    assert await drained(events) == [("left", "a", 7)]


async def test_a_waiting_consumer_wakes_up() -> None:
    events, inbox = MemberEvents(), Inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.next)
        nursery.start_soon(inbox.get)
        await trio.testing.wait_all_tasks_blocked()
        events.put(event("joined"))
        await inbox.put("a", b"message")


@pytest.mark.parametrize(
    ("message", "fit"),
    [(b"", INBOX_MESSAGES_MAX), (bytes(INBOX_BYTES_MAX // 4), 4), (bytes(INBOX_BYTES_MAX + 1), 1)],
)
async def test_a_full_inbox_makes_senders_wait(message: bytes, fit: int) -> None:
    inbox = Inbox()

    async def send() -> None:
        for _ in range(fit + 2):
            await inbox.put("a", message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert len(inbox) == fit
        for _ in range(fit + 2):
            assert await inbox.get() == ("a", message)
    assert len(inbox) == 0


def test_tags_come_back_as_they_were_and_equal_ones_pack_equally() -> None:
    tags: dict[str, Plain] = {"b": [1, "x", b"y", None, True], "a": {"k": -(2**63)}}
    assert unpack_tags(pack_tags(tags)) == tags
    assert pack_tags(tags) == pack_tags(dict(sorted(tags.items())))
    assert unpack_tags(b"") == {}


@pytest.mark.parametrize(
    "tags",
    [{"a": 1.5}, {1: 2}, {"a": object()}, {"a": "x" * 520}, {"a": 2**64}, {"a": {2: 3}}],
)
def test_tags_out_of_bounds_are_refused(tags: dict[str, Plain]) -> None:
    with pytest.raises(MisuseError):
        pack_tags(tags)


def test_tags_of_others_are_plain_or_nothing() -> None:
    deep: object = 1
    for _ in range(DEPTH_MAX + 1):
        deep = [deep]
    for junk in (
        b"\xc1",
        pack([1]),
        pack({"a": 1.5}),
        pack({"a": deep}),
        pack({1: 1}),
        b"\x91" * 500,
    ):
        assert unpack_tags(junk) == {}


@given(st.binary(max_size=512))
def test_any_bytes_are_tags(junk: bytes) -> None:
    assert isinstance(unpack_tags(junk), dict)


def test_names_do_nothing_to_a_terminal() -> None:
    assert printable("node-1 é") == "node-1 é"
    assert printable("\x1b[2Jx\n") == "\ufffd[2Jx\ufffd"


async def test_both_protocols_listen_on_one_port_number() -> None:
    datagrams, streams = await bind("127.0.0.1", 0)
    with datagrams, streams:
        host, port = datagrams.getsockname()
        assert streams.getsockname() == (host, port)
        with pytest.raises(
            ListenError, match=f"127.0.0.1:{port} cannot be listened on: Address al"
        ):
            await bind("127.0.0.1", port)
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0 cannot be listened on"):
        await bind("192.0.2.1", 0)
    with pytest.raises(ListenError, match="name an address of this machine"):
        await bind("no-such-host.invalid", 0)


async def test_what_cannot_be_sent_is_counted() -> None:
    ours, streams = await bind("127.0.0.1", 0)
    with ours, streams:
        datagrams = Datagrams(ours)
        for address in [("localhost", 1), ("a\0b", 1), ("::1", 1), ("255.255.255.255", 1)]:
            datagrams.send(b"x", address)
        assert datagrams.counts == {"datagrams_unsendable": 4}


async def test_datagrams_are_read_up_to_a_number_and_a_length() -> None:
    ours, streams = await bind("127.0.0.1", 0)
    with ours, streams:
        datagrams = Datagrams(ours)
        here = ours.getsockname()
        for size in (DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX + 1, 1):
            datagrams.send(bytes(size), here)
        await datagrams.wait()
        assert datagrams.read(2) == [(bytes(DATAGRAM_BYTES_MAX), here)]
        assert datagrams.read(10) == [(bytes(1), here)]
        assert datagrams.counts["datagrams_too_long"] == 1


async def test_names_become_addresses() -> None:
    assert await resolve(("127.0.0.1", 5), AF_INET) == [("127.0.0.1", 5)]
    assert await resolve(("localhost", 5), AF_INET) == [("127.0.0.1", 5)]
    assert await resolve(("no-such-host.invalid", 5), AF_INET) == []
