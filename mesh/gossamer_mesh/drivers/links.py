"""Connections between members: TLS handshakes, who the far end is, and whether it is let in.

Both ends of a link know each other's node id and the mesh key that proved it. A link begins with
two bytes: the version, and what it is for (`MESSAGES`, `FRAME`, `ORDER`, `SERVICES`, `KEYS`,
`OFFERS`, `SETTINGS`, `WATCH`). Every fault of a peer is counted, logged once per peer, and ends
its link; none is raised. Handshakes are bounded by host, so that one who opens connections and says
nothing leaves room for others.
"""

import logging
import socket
import ssl
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import trio

from gossamer_mesh.drivers.certificates import (
    RETIRED_RECORD,
    Certificates,
    is_of_retired_key,
    peer_hint,
    peer_id,
)
from gossamer_mesh.drivers.config import Address
from gossamer_mesh.errors import MisuseError

VERSION = 1

MESSAGES = 0
"""A sender's messages, one after another (`streams`)."""

FRAME = 1
"""One frame of the membership protocol, no answer (`calls`)."""

ORDER = 2
"""One signed order and its answer (`calls`)."""

SERVICES = 3
"""A question about services that travel, and its answer (`calls`)."""

KEYS = 4
"""A sender's messages about keys and their states, one after another (`streams`)."""

OFFERS = 5
"""A question about services that a member would run, and its answer (`calls`)."""

SETTINGS = 6
"""What a gateway tells or asks another about settings, and its answer (`calls`)."""

WATCH = 7
"""What who watches the mesh asks a member about itself, and its answer (`calls`)."""

CHUNK_BYTES = 64 * 2**10
"""Read, and small messages sent together, up to this size: one TLS record for many."""

CONNECT_TIMEOUT_S = 5.0
"""For the connection and the handshake, each side."""

CLOSE_TIMEOUT_S = 1.0
"""For the farewell to a peer that may not read any more."""

REPEAT_MS_MAX = 1_000
"""Longest pause before TCP sends again what was not acknowledged; Linux takes no shorter one."""

HANDSHAKES_MAX = 512
HANDSHAKES_PER_HOST_MAX = 128
"""Handshakes that others began and have not finished; further ones are closed at once. A mesh of
a thousand that restarts comes from many hosts, or takes some turns."""

SHOWN_MAX = 4_096
"""Addresses for which we remember that they took another key than our first."""

LOGGED_ONCE_MAX = 256
"""Peers that are spoken of, by topic; who can invent addresses shall not fill a disk."""

log = logging.getLogger("gossamer.mesh")

BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""What a connection may end with."""

_ADMISSION = "admission"

_TCP_RTO_MAX_MS = 44  # linux/tcp.h

Admits = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Link:
    """One connection after its handshake.

    Attributes:
        stream: encrypted both ways.
        peer: the far end's node id, as its key proved it.
        hint: the mesh key (hex) that the far end showed.
    """

    stream: trio.SSLStream[trio.SocketStream]
    peer: str
    hint: str

    async def close(self) -> None:
        """Says farewell, and breaks off if nobody listens."""
        with trio.move_on_after(CLOSE_TIMEOUT_S), suppress(*BROKEN):
            await self.stream.aclose()


class Links:
    """Makes and takes the connections of one member.

    Args:
        certificates: both ends' TLS contexts.
        admits: whether a node may be in the mesh.
    """

    def __init__(self, certificates: Certificates, admits: Admits) -> None:
        self.certificates = certificates
        self.admits = admits
        self.counts: Counter[str] = Counter()
        self._shown: OrderedDict[Address, str] = OrderedDict()
        self._handshakes: Counter[str] = Counter()
        self._logged: dict[str, set[str]] = {}

    def set_certificates(self, certificates: Certificates) -> None:
        """Other keys, from the next handshake on."""
        self.certificates = certificates
        self._shown.clear()

    async def open(self, address: Address) -> Link:
        """A link to whoever is at `address` and has a mesh key.

        Raises:
            OSError, trio.BrokenResourceError, trio.TooSlowError: no connection or no handshake.
        """
        with trio.fail_after(CONNECT_TIMEOUT_S):
            certificates = self.certificates
            shown = self._shown.get(address, certificates.first)
            link = await self._connect(address, shown)
            if link.hint != shown:
                # It may not know the key that we showed, and it would tell us only later; the one
                # that it showed we both know.
                self.counts["links_opened_again_for_a_key"] += 1
                await trio.aclose_forcefully(link.stream)
                shown = link.hint
                link = await self._connect(address, shown)
            if certificates is self.certificates and shown != certificates.first:
                self._shown[address] = shown
                if len(self._shown) > SHOWN_MAX:
                    self._shown.popitem(last=False)
            else:
                self._shown.pop(address, None)
            return link

    async def _connect(self, address: Address, shown: str) -> Link:
        transport = await trio.open_tcp_stream(*address)
        _repeat_soon(transport)
        try:
            context = self.certificates.client(shown)
            return await _shake_hands(transport, context, name=self.certificates.server_name)
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise

    async def accept(self, transport: trio.SocketStream) -> Link | None:
        """The link that a peer asked for; None for one that proved nothing, or is not let in."""
        _repeat_soon(transport)
        try:
            host = str(transport.socket.getpeername()[0])
        except OSError:  # gone already
            await trio.aclose_forcefully(transport)
            return None
        if (
            self._handshakes.total() >= HANDSHAKES_MAX
            or self._handshakes[host] >= HANDSHAKES_PER_HOST_MAX
        ):
            self.counts["handshakes_refused"] += 1
            self.log_once(host, "handshakes", "opens more connections than it finishes")
            await trio.aclose_forcefully(transport)
            return None
        self._handshakes[host] += 1
        link: Link | None = None
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                link = await _shake_hands(transport, self.certificates.server, name=None)
        except BROKEN as error:
            self.counts["handshakes_failed"] += 1
            if is_of_retired_key(error):
                with suppress(*BROKEN):
                    await transport.send_all(RETIRED_RECORD)
                self.log_once(host, "handshake", "has only mesh keys that were removed here")
                return None
            self.log_once(host, "handshake", f"does not prove the mesh key: {reason(error)}")
            return None
        finally:
            self._handshakes[host] -= 1
            if not self._handshakes[host]:
                del self._handshakes[host]
            if link is None:
                await trio.aclose_forcefully(transport)
        if not self.certificates.knows(link.hint):  # removed while the handshake went on
            self.counts["handshakes_failed"] += 1
            await link.close()
            return None
        if not self.admits(link.peer):
            self.counts["links_not_admitted"] += 1
            self.log_once(
                link.peer,
                _ADMISSION,
                f"at {host} has the mesh key and is not on the list of members; if it belongs "
                f"here, run: gossamer key trust {link.peer}",
            )
            await link.close()
            return None
        return link

    def refused(self) -> list[str]:
        """Ids of those that were not let in, sorted."""
        return sorted(self._logged.get(_ADMISSION, ()))

    def log_once(self, peer: str, topic: str, text: str) -> None:
        """A warning, the first time for this peer and topic."""
        logged = self._logged.setdefault(topic, set())
        if peer not in logged and len(logged) < LOGGED_ONCE_MAX:
            logged.add(peer)
            log.warning("%s %s", peer, text)


class Reader:
    """A link's bytes by number.

    Args:
        patience_s: how long the far end may be silent.
    """

    def __init__(self, link: Link, patience_s: float) -> None:
        self._link = link
        self._patience_s = patience_s
        self._buffer = bytearray()

    async def exactly(self, count: int) -> bytes | None:
        """`count` bytes, or None when the link ends before, or is silent for too long."""
        while len(self._buffer) < count:
            with trio.move_on_after(self._patience_s) as patience:
                received = await self._link.stream.receive_some(CHUNK_BYTES)
            if patience.cancelled_caught or not received:
                return None
            self._buffer += received
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def reason(error: BaseException) -> str:
    """What ended a connection, in words."""
    return str(error.__cause__ or error) or type(error).__name__


def refuse_length(message: bytes, bytes_max: int) -> None:
    """Raises: MisuseError for a message that is too long."""
    if len(message) > bytes_max:
        raise MisuseError(
            f"a message of {len(message)} bytes is too long; send {bytes_max} at most."
        )


def _repeat_soon(transport: trio.SocketStream) -> None:
    """Bounds the pauses between a lost packet's repetitions, which the kernel doubles each time.

    Linux has that from 6.15 on. Doubled pauses soon are longer than leases wait for an answer:
    with a fifth of all packets lost, a tenth of the messages took more than 3 s, now a hundredth.
    A stream whose far end is silent ends after some 15 repetitions, so in a quarter of a minute.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # an older kernel
            transport.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, REPEAT_MS_MAX)


async def _shake_hands(
    transport: trio.SocketStream, context: ssl.SSLContext, *, name: str | None
) -> Link:
    """Fails with one of `BROKEN`, for a far end without a key of ours too; the caller closes."""
    # "https_compatible": a peer may close without waiting for our farewell, as crashed ones do.
    stream = trio.SSLStream(
        transport, context, server_hostname=name, server_side=name is None, https_compatible=True
    )
    await stream.do_handshake()
    certificate = stream.getpeercert(binary_form=True)
    peer, hint = peer_id(certificate), peer_hint(certificate)
    if peer is None or hint is None:
        raise trio.BrokenResourceError("it shows a certificate without an Ed25519 key")
    return Link(stream, peer, hint)
