"""Messages between members over TLS 1.3 streams, one stream per direction, pair and kind.

A member opens the streams that it sends on; what it receives comes on those the others opened. A
stream is a link (`links`) that carries frames: 4 bytes of length, big-endian, and the message. The
sender checks that the key it meets is the one of the member it means; the receiver takes the
sender's id from its key. Messages of one sender arrive in order and at most once: a stream that
breaks loses what it carried, what still waited goes on the next one. Where the mesh key changes,
senders end their streams after what they carry and open them again under the new key, so nothing
is lost; what still comes under a key that was removed is cut off after a while.

Messages of another kind (`links.KEYS`) have queues, streams and an inbox of their own, under the
same bounds: states that move never stand before a lease's heartbeat.
"""

from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

import trio

from gossamer_mesh.drivers.calls import Calls
from gossamer_mesh.drivers.certificates import Certificates
from gossamer_mesh.drivers.config import Address
from gossamer_mesh.drivers.links import (
    BROKEN,
    CHUNK_BYTES,
    CONNECT_TIMEOUT_S,
    KEYS,
    MESSAGES,
    VERSION,
    Admits,
    Link,
    Links,
    Reader,
    log,
    reason,
    refuse_length,
)
from gossamer_mesh.drivers.queues import Inbox

MESSAGE_BYTES_MAX = 4 * 2**20
QUEUE_MESSAGES_MAX = 256
QUEUE_BYTES_MAX = 16 * 2**20
"""What waits for one peer at most."""

IDLE_S = 60.0
"""The sender closes a stream that carried nothing for so long, the receiver after twice that: first
the one who knows that nothing is on its way."""

BACKOFF_FIRST_S, BACKOFF_LAST_S = 0.1, 5.0
"""Waits between attempts to reach a member that is there, doubled each time."""

REPLACE_TIMEOUT_S = 2.0
"""How long a sender's new stream waits for its old one to be read to its end."""

REMOVED_KEY_GRACE_S = 5.0
"""How long a stream under a removed key may still be read: its sender ends it by itself as soon as
it hears of the new key, at its next message."""

INCOMING_MAX = 1_024
"""Links open to us at one time after their handshake; further ones are closed at once."""

_LENGTH_BYTES = 4


class Streams:
    """All streams of one member, and the door for its short links.

    Args:
        certificates: both ends' TLS contexts.
        address_of: where a member is now; None for one that is not there, or for ourselves.
        admits: whether a node may be in the mesh.
    """

    def __init__(
        self,
        certificates: Certificates,
        address_of: Callable[[str], Address | None],
        admits: Admits,
    ) -> None:
        self.links = Links(certificates, admits)
        self.calls = Calls(self.links)
        self._address_of = address_of
        self._outgoing: dict[tuple[int, str], _Outgoing] = {}
        self._incoming: dict[tuple[int, str], _Incoming] = {}
        self._incoming_count = 0
        self._nursery: trio.Nursery | None = None
        self.inboxes = {MESSAGES: Inbox(), KEYS: Inbox()}

    @property
    def counts(self) -> Counter[str]:
        return self.links.counts

    async def run(self, listener: trio.SocketListener) -> None:
        """Accepts and sends until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await trio.serve_listeners(self._accept, [listener], handler_nursery=nursery)

    def send_nowait(self, node_id: str, message: bytes, kind: int = MESSAGES) -> bool:
        """See `Mesh.send_nowait`."""
        refuse_length(message, MESSAGE_BYTES_MAX)
        if self._nursery is None or self._address_of(node_id) is None:
            return False
        outgoing = self._outgoing.get((kind, node_id))
        if outgoing is None:
            outgoing = self._outgoing[kind, node_id] = _Outgoing(node_id, kind)
            self._nursery.start_soon(self._send_all_of, outgoing)
        if not outgoing.put(message):
            self.counts["messages_refused"] += 1
            return False
        return True

    def send_frame_soon(self, kind: int, address: Address, node_id: str, frame: bytes) -> None:
        """See `Calls.send`."""
        if self._nursery is not None:
            self._nursery.start_soon(self.calls.send, kind, address, node_id, frame)

    def drop(self, node_id: str) -> None:
        """A member is gone: so is what waited for it."""
        for kind in self.inboxes:
            outgoing = self._outgoing.pop((kind, node_id), None)
            if outgoing is not None:
                self.counts["messages_dropped"] += len(outgoing)
                outgoing.scope.cancel()

    def set_certificates(self, certificates: Certificates) -> None:
        """Other keys: see the module."""
        self.links.set_certificates(certificates)
        for outgoing in self._outgoing.values():
            outgoing.renew()
        for incoming in self._incoming.values():
            if not certificates.knows(incoming.hint):
                incoming.scope.deadline = trio.current_time() + REMOVED_KEY_GRACE_S

    def drop_not_admitted(self) -> None:
        """The list of members changed: who is not on it any more is cut off."""
        for node_id in {each for _, each in self._outgoing if not self.links.admits(each)}:
            self.drop(node_id)
        for (_, node_id), incoming in self._incoming.items():
            if not self.links.admits(node_id):
                incoming.scope.cancel()

    def statistics(self) -> dict[str, int]:
        return {
            **self.counts,
            "streams_outgoing": len(self._outgoing),
            "streams_incoming": self._incoming_count,
            "messages_waiting": sum(len(one) for one in self.inboxes.values()),
        }

    # Outgoing.

    async def _send_all_of(self, outgoing: "_Outgoing") -> None:
        backoff_s = BACKOFF_FIRST_S
        with outgoing.scope:
            while len(outgoing):
                try:
                    is_renewed = False
                    if await self._send_on_one_stream(outgoing):
                        backoff_s = BACKOFF_FIRST_S
                        is_renewed = outgoing.take_renewal()
                except BROKEN as error:
                    self.counts["streams_failed"] += 1
                    self.links.log_once(outgoing.peer, "stream", f"cannot be kept: {reason(error)}")
                if not is_renewed:
                    await trio.sleep(backoff_s)
                    backoff_s = min(2 * backoff_s, BACKOFF_LAST_S)
        if self._outgoing.get((outgoing.kind, outgoing.peer)) is outgoing:
            del self._outgoing[outgoing.kind, outgoing.peer]

    async def _send_on_one_stream(self, outgoing: "_Outgoing") -> bool:
        """Sends until nothing came for a while or the stream ends; False: it was not the peer."""
        address = self._address_of(outgoing.peer)
        if address is None:
            return False
        outgoing.take_renewal()
        link = await self.links.open(address)
        try:
            if link.peer != outgoing.peer:
                self.counts["streams_to_another_identity"] += 1
                said = f"is not at {address}, {link.peer} is"
                self.links.log_once(outgoing.peer, "identity", said)
                return False
            self.counts["streams_opened"] += 1
            broken: BaseException | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_closed, link, nursery.cancel_scope)
                try:
                    await self._feed(link, outgoing)
                except BROKEN as error:  # outside the nursery it would be a group of one
                    broken = error
                nursery.cancel_scope.cancel()
            if broken is not None:
                raise broken
            return True
        finally:
            await link.close()

    async def _feed(self, link: Link, outgoing: "_Outgoing") -> None:
        await link.stream.send_all(bytes((VERSION, outgoing.kind)))
        while await outgoing.wait(IDLE_S):
            chunk, count = outgoing.take()
            await link.stream.send_all(chunk)
            self.counts["messages_sent"] += count

    # Incoming.

    async def _accept(self, transport: trio.SocketStream) -> None:
        link = await self.links.accept(transport)
        if link is None:
            return
        try:
            if self._incoming_count >= INCOMING_MAX:
                self.counts["streams_refused"] += 1
                return
            self._incoming_count += 1
            try:
                await self._serve(link)
            finally:
                self._incoming_count -= 1
        except BROKEN as error:
            self.counts["streams_broken"] += 1
            log.debug("an incoming stream ended: %s", reason(error))
        finally:
            await link.close()

    async def _serve(self, link: Link) -> None:
        reader = Reader(link, 2 * IDLE_S)
        begin: bytes | None = None
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            begin = await reader.exactly(2)
        if begin is None:
            return
        version, kind = begin
        if version != VERSION:
            self.counts["streams_of_unknown_version"] += 1
            self.links.log_once(link.peer, "version", f"speaks stream version {version}")
        elif kind in self.inboxes:
            await self._take_turn(kind, link, reader)
        elif self.calls.is_kind(kind):
            await self.calls.serve(kind, link, reader)
        else:
            self.counts["streams_of_unknown_kind"] += 1
            self.links.log_once(link.peer, "kind", f"opens links of kind {kind}")

    async def _take_turn(self, kind: int, link: Link, reader: Reader) -> None:
        """Reads a sender's stream once its earlier one is read: messages stay in order."""
        earlier = self._incoming.get((kind, link.peer))
        incoming = self._incoming[kind, link.peer] = _Incoming(link.hint)
        try:
            with incoming.scope:
                if earlier is not None:
                    with trio.move_on_after(REPLACE_TIMEOUT_S):
                        await earlier.done.wait()
                    earlier.scope.cancel()
                await self._read(kind, link.peer, reader)
            if incoming.scope.cancelled_caught:
                self.counts["streams_cut"] += 1
        finally:
            incoming.done.set()
            if self._incoming.get((kind, link.peer)) is incoming:
                del self._incoming[kind, link.peer]

    async def _read(self, kind: int, sender: str, reader: Reader) -> None:
        while (header := await reader.exactly(_LENGTH_BYTES)) is not None:
            length = int.from_bytes(header, "big")
            if length > MESSAGE_BYTES_MAX:
                self.counts["messages_too_long"] += 1
                self.links.log_once(sender, "length", f"sent a frame of {length} bytes")
                return
            message = await reader.exactly(length)
            if message is None:
                return
            self.counts["messages_received"] += 1
            await self.inboxes[kind].put(sender, message)


class _Outgoing:
    """What waits for one peer."""

    def __init__(self, peer: str, kind: int) -> None:
        self.peer = peer
        self.kind = kind
        self.scope = trio.CancelScope()
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._arrived = trio.Event()
        self._is_stale = False

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: bytes) -> bool:
        if len(self._messages) >= QUEUE_MESSAGES_MAX:
            return False
        if self._bytes + len(message) > QUEUE_BYTES_MAX:
            return False
        self._messages.append(message)
        self._bytes += len(message)
        self._arrived.set()
        return True

    def renew(self) -> None:
        """Ends the stream after what it carries; what waits goes on a new one."""
        self._is_stale = True
        self._arrived.set()

    def take_renewal(self) -> bool:
        """Whether `renew` was called since the last time."""
        was_stale, self._is_stale = self._is_stale, False
        return was_stale

    async def wait(self, length_s: float) -> bool:
        """Whether this stream has a message to send, now or within `length_s`."""
        if not self._messages and not self._is_stale:
            self._arrived = trio.Event()
            with trio.move_on_after(length_s):
                await self._arrived.wait()
        return bool(self._messages) and not self._is_stale

    def take(self) -> tuple[bytes, int]:
        """The next frame and more while they are small, and how many; they wait no longer."""
        chunk = bytearray()
        count = 0
        while self._messages and (not chunk or len(chunk) + len(self._messages[0]) <= CHUNK_BYTES):
            message = self._messages.popleft()
            self._bytes -= len(message)
            chunk += len(message).to_bytes(_LENGTH_BYTES, "big")
            chunk += message
            count += 1
        return bytes(chunk), count


class _Incoming:
    """One sender's stream to us."""

    def __init__(self, hint: str) -> None:
        self.hint = hint
        self.scope = trio.CancelScope()
        self.done = trio.Event()


async def _until_closed(link: Link, scope: trio.CancelScope) -> None:
    """A receiver never sends: whatever comes, or the end, ends this stream."""
    with suppress(*BROKEN):
        await link.stream.receive_some(1)
    scope.cancel()
