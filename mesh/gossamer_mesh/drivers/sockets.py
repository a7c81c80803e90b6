"""One port number for both protocols: binding it, and reading and sending datagrams.

The datagram socket is the system's own, without waiting: the core wants to read all that waits
before it looks at its timers, and a datagram that the system cannot take now is a lost datagram.
"""

import errno
import socket
from collections import Counter

import trio

from gossamer_mesh.drivers.config import Address
from gossamer_mesh.errors import ListenError
from gossamer_mesh.swim.codec import DATAGRAM_BYTES_MAX

PORT_PAIR_ATTEMPTS = 32
"""Tries for a port that is free for both protocols, where any will do."""

RECEIVE_BUFFER_BYTES = 2**20
"""Asked of the system, which may give less: some thousand datagrams while the process stalls."""


class Datagrams:
    """A bound UDP socket."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        self.family = bound.family
        self.counts: Counter[str] = Counter()

    async def wait(self) -> None:
        """Until there is something to read."""
        await trio.lowlevel.wait_readable(self._socket)

    def read(self, count_max: int) -> list[tuple[bytes, Address]]:
        """All that waits, up to `count_max` datagrams; longer ones than ours can be are dropped."""
        datagrams: list[tuple[bytes, Address]] = []
        for _ in range(count_max):
            try:
                data, source = self._socket.recvfrom(DATAGRAM_BYTES_MAX + 1)
            except BlockingIOError:
                break
            except OSError:  # a report on an earlier datagram of ours; its loss is no news to us
                self.counts["datagrams_receive_errors"] += 1
                continue
            self.counts["datagrams_received"] += 1
            if len(data) > DATAGRAM_BYTES_MAX:
                self.counts["datagrams_too_long"] += 1
            else:
                datagrams.append((data, (source[0], source[1])))
        return datagrams

    def send(self, data: bytes, address: Address) -> None:
        """One datagram to an address in digits; what cannot be sent is counted."""
        try:
            # A name would be looked up by the system right here, and everything would wait for it.
            socket.inet_pton(self.family, address[0].partition("%")[0])
            self._socket.sendto(data, address)
            self.counts["datagrams_sent"] += 1
        except (OSError, ValueError):
            self.counts["datagrams_unsendable"] += 1


async def bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one port number; port 0 takes any.

    Raises:
        ListenError: the address cannot be bound; nothing is.
    """
    where = f"{host}:{port}"
    try:
        family, *_, resolved = (
            await trio.socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        )[0]
    except OSError as error:
        raise ListenError(
            f"{where} cannot be listened on: {error.strerror}; name an address of this machine."
        ) from error
    for _ in range(PORT_PAIR_ATTEMPTS):
        try:
            return _bind_pair(family, str(resolved[0]), port)
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE:
                continue
            hint = (
                "choose another port or stop what uses it"
                if error.errno == errno.EADDRINUSE
                else "name an address of this machine and a port that you may use"
            )
            raise ListenError(
                f"{where} cannot be listened on: {error.strerror}; {hint}."
            ) from error
    raise ListenError(f"no port of {host} is free for UDP and TCP alike; name one that is.")


def _bind_pair(family: int, host: str, port: int) -> tuple[socket.socket, socket.socket]:
    streams = socket.socket(family, socket.SOCK_STREAM)
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    try:
        for each in (streams, datagrams):
            each.setblocking(False)
        # A restarted node takes its port back although old connections still linger on it.
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        streams.bind((host, port))
        streams.listen(128)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        datagrams.bind((host, streams.getsockname()[1]))
    except BaseException:
        streams.close()
        datagrams.close()
        raise
    return datagrams, streams


async def resolve(address: Address, family: int) -> list[Address]:
    """The addresses in digits behind a host name that a socket of this family can reach."""
    try:
        found = await trio.socket.getaddrinfo(*address, family=family, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    return sorted({(str(each[4][0]), address[1]) for each in found})


def outward_host(family: int, seeds: list[Address]) -> str:
    """This machine's address on the way to the first seed, or to the internet. Sends nothing."""
    anywhere = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"  # RFC 5737, RFC 3849
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        for host, port in [*seeds, (anywhere, 9)]:
            try:
                probe.connect((host, port))
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return "127.0.0.1" if family == socket.AF_INET else "::1"
