"""Messages between members over TLS 1.3 streams, one stream per direction and pair.

A member opens the streams that it sends on; what it receives comes on those the others opened. A
stream carries a version byte, then frames: 4 bytes of length, big-endian, and the message. The
sender checks that the key it meets is the one of the member it means; the receiver takes the
sender's id from its key. Messages of one sender arrive in order and at most once: a stream that
breaks loses what it carried, what still waited goes on the next one. Every fault of a peer is
counted, logged once per peer, and ends its stream; none is raised.
"""

import logging
import ssl
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

import trio

from gossamer_mesh.drivers.certificates import Certificates, peer_id
from gossamer_mesh.drivers.config import Address
from gossamer_mesh.drivers.queues import Inbox
from gossamer_mesh.errors import MisuseError

VERSION = 1

MESSAGE_BYTES_MAX = 4 * 2**20
QUEUE_MESSAGES_MAX = 256
QUEUE_BYTES_MAX = 16 * 2**20
"""What waits for one peer at most."""

CHUNK_BYTES = 64 * 2**10
"""Small messages are sent together up to this size: one TLS record and one system call for many."""

CONNECT_TIMEOUT_S = 5.0
"""For the connection and the handshake, each side."""

IDLE_S = 60.0
"""The sender closes a stream that carried nothing for so long, the receiver after twice that: first
the one who knows that nothing is on its way."""

BACKOFF_FIRST_S, BACKOFF_LAST_S = 0.1, 5.0
"""Waits between attempts to reach a member that is there, doubled each time."""

CLOSE_TIMEOUT_S = 1.0
"""For the farewell to a peer that may not read any more."""

REPLACE_TIMEOUT_S = 2.0
"""How long a sender's new stream waits for its old one to be read to its end."""

INCOMING_MAX = 1_024
"""Streams open to us at one time; further ones are closed at once."""

LOGGED_ONCE_MAX = 1_024

_LENGTH_BYTES = 4

_log = logging.getLogger("gossamer.mesh")

_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


class Streams:
    """All streams of one member.

    Args:
        certificates: both ends' TLS contexts.
        address_of: where a member is now; None for one that is not there, or for ourselves.
    """

    def __init__(
        self, certificates: Certificates, address_of: Callable[[str], Address | None]
    ) -> None:
        self._certificates = certificates
        self._address_of = address_of
        self._outgoing: dict[str, _Outgoing] = {}
        self._incoming: dict[str, _Incoming] = {}
        self._incoming_count = 0
        self._logged: set[tuple[str, str]] = set()
        self._nursery: trio.Nursery | None = None
        self.inbox = Inbox()
        self.counts: Counter[str] = Counter()

    async def run(self, listener: trio.SocketListener) -> None:
        """Accepts and sends until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await trio.serve_listeners(self._accept, [listener], handler_nursery=nursery)

    def send_nowait(self, node_id: str, message: bytes) -> bool:
        """See `Mesh.send_nowait`."""
        if len(message) > MESSAGE_BYTES_MAX:
            raise MisuseError(
                f"a message of {len(message)} bytes is too long; send {MESSAGE_BYTES_MAX} at most."
            )
        if self._nursery is None or self._address_of(node_id) is None:
            return False
        outgoing = self._outgoing.get(node_id)
        if outgoing is None:
            outgoing = self._outgoing[node_id] = _Outgoing(node_id)
            self._nursery.start_soon(self._send_all_of, outgoing)
        if not outgoing.put(message):
            self.counts["messages_refused"] += 1
            return False
        return True

    def drop(self, node_id: str) -> None:
        """A member is gone: so is what waited for it."""
        outgoing = self._outgoing.pop(node_id, None)
        if outgoing is not None:
            self.counts["messages_dropped"] += len(outgoing)
            outgoing.scope.cancel()

    def statistics(self) -> dict[str, int]:
        return {
            **self.counts,
            "streams_outgoing": len(self._outgoing),
            "streams_incoming": self._incoming_count,
            "messages_waiting": len(self.inbox),
        }

    async def open(self, address: Address) -> trio.SSLStream[trio.SocketStream]:
        """A stream to whoever is at `address` and has the mesh key.

        Raises:
            OSError, trio.BrokenResourceError, trio.TooSlowError: no connection or no handshake.
        """
        with trio.fail_after(CONNECT_TIMEOUT_S):
            transport = await trio.open_tcp_stream(*address)
            return await _shake_hands(transport, self._certificates.client, is_server=False)

    # Outgoing.

    async def _send_all_of(self, outgoing: "_Outgoing") -> None:
        backoff_s = BACKOFF_FIRST_S
        with outgoing.scope:
            while len(outgoing):
                try:
                    if await self._send_on_one_stream(outgoing):
                        backoff_s = BACKOFF_FIRST_S
                except _BROKEN as error:
                    self.counts["streams_failed"] += 1
                    self._log_once(outgoing.peer, "stream", f"cannot be kept: {_reason(error)}")
                await trio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, BACKOFF_LAST_S)
        if self._outgoing.get(outgoing.peer) is outgoing:
            del self._outgoing[outgoing.peer]

    async def _send_on_one_stream(self, outgoing: "_Outgoing") -> bool:
        """Sends until nothing came for a while or the stream ends; False: it was not the peer."""
        address = self._address_of(outgoing.peer)
        if address is None:
            return False
        stream = await self.open(address)
        try:
            met = peer_id(stream.getpeercert(binary_form=True))
            if met != outgoing.peer:
                self.counts["streams_to_another_identity"] += 1
                self._log_once(outgoing.peer, "identity", f"is not at {address}, {met} is")
                return False
            self.counts["streams_opened"] += 1
            broken: BaseException | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_closed, stream, nursery.cancel_scope)
                try:
                    await self._feed(stream, outgoing)
                except _BROKEN as error:  # outside the nursery it would be a group of one
                    broken = error
                nursery.cancel_scope.cancel()
            if broken is not None:
                raise broken
            return True
        finally:
            await _close(stream)

    async def _feed(self, stream: trio.SSLStream[trio.SocketStream], outgoing: "_Outgoing") -> None:
        await stream.send_all(bytes((VERSION,)))
        while await outgoing.wait(IDLE_S):
            chunk, count = outgoing.take()
            await stream.send_all(chunk)
            self.counts["messages_sent"] += count

    # Incoming.

    async def _accept(self, transport: trio.SocketStream) -> None:
        if self._incoming_count >= INCOMING_MAX:
            self.counts["streams_refused"] += 1
            await trio.aclose_forcefully(transport)
            return
        self._incoming_count += 1
        try:
            await self._serve(transport)
        except _BROKEN as error:
            self.counts["streams_broken"] += 1
            _log.debug("an incoming stream ended: %s", _reason(error))
        finally:
            self._incoming_count -= 1

    async def _serve(self, transport: trio.SocketStream) -> None:
        host = str(transport.socket.getpeername()[0])
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                stream = await _shake_hands(transport, self._certificates.server, is_server=True)
        except _BROKEN as error:
            self.counts["handshakes_failed"] += 1
            self._log_once(host, "handshake", f"does not prove the mesh key: {_reason(error)}")
            return
        try:
            sender = peer_id(stream.getpeercert(binary_form=True))
            if sender is None:
                self.counts["handshakes_failed"] += 1
                self._log_once(host, "handshake", "shows a certificate without an Ed25519 key")
                return
            await self._take_turn(sender, stream)
        finally:
            await _close(stream)

    async def _take_turn(self, sender: str, stream: trio.SSLStream[trio.SocketStream]) -> None:
        """Reads a sender's stream once its earlier one is read: messages stay in order."""
        earlier = self._incoming.get(sender)
        incoming = self._incoming[sender] = _Incoming()
        try:
            with incoming.scope:
                if earlier is not None:
                    with trio.move_on_after(REPLACE_TIMEOUT_S):
                        await earlier.done.wait()
                    earlier.scope.cancel()
                await self._read(sender, _Reader(stream))
        finally:
            incoming.done.set()
            if self._incoming.get(sender) is incoming:
                del self._incoming[sender]

    async def _read(self, sender: str, reader: "_Reader") -> None:
        version = await reader.exactly(1)
        if version != bytes((VERSION,)):
            if version is not None:
                self.counts["streams_of_unknown_version"] += 1
                self._log_once(sender, "version", f"speaks stream version {version[0]}")
            return
        while (header := await reader.exactly(_LENGTH_BYTES)) is not None:
            length = int.from_bytes(header, "big")
            if length > MESSAGE_BYTES_MAX:
                self.counts["messages_too_long"] += 1
                self._log_once(sender, "length", f"sent a frame of {length} bytes")
                return
            message = await reader.exactly(length)
            if message is None:
                return
            self.counts["messages_received"] += 1
            await self.inbox.put(sender, message)

    def _log_once(self, peer: str, topic: str, text: str) -> None:
        if (peer, topic) not in self._logged and len(self._logged) < LOGGED_ONCE_MAX:
            self._logged.add((peer, topic))
            _log.warning("%s %s", peer, text)


class _Outgoing:
    """What waits for one peer."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.scope = trio.CancelScope()
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._arrived = trio.Event()

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

    async def wait(self, length_s: float) -> bool:
        """Whether there is a message, now or within `length_s`."""
        if not self._messages:
            self._arrived = trio.Event()
            with trio.move_on_after(length_s):
                await self._arrived.wait()
        return bool(self._messages)

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

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.done = trio.Event()


class _Reader:
    """A stream's bytes by number."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def exactly(self, count: int) -> bytes | None:
        """`count` bytes, or None when the stream ends before, or is idle for too long."""
        while len(self._buffer) < count:
            with trio.move_on_after(2 * IDLE_S) as patience:
                received = await self._stream.receive_some(CHUNK_BYTES)
            if patience.cancelled_caught or not received:
                return None
            self._buffer += received
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


async def _shake_hands(
    transport: trio.SocketStream, context: ssl.SSLContext, *, is_server: bool
) -> trio.SSLStream[trio.SocketStream]:
    # "https_compatible": a peer may close without waiting for our farewell, as crashed ones do.
    stream = trio.SSLStream(transport, context, server_side=is_server, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise
    return stream


async def _until_closed(stream: trio.SSLStream[trio.SocketStream], scope: trio.CancelScope) -> None:
    """A receiver never sends: whatever comes, or the end, ends this stream."""
    with suppress(*_BROKEN):
        await stream.receive_some(1)
    scope.cancel()


async def _close(stream: trio.SSLStream[trio.SocketStream]) -> None:
    with trio.move_on_after(CLOSE_TIMEOUT_S), suppress(*_BROKEN):
        await stream.aclose()


def _reason(error: BaseException) -> str:
    return str(error.__cause__ or error) or type(error).__name__
