"""Connections of workers, to addresses that `service.networks` has judged.

A name's DNS may answer otherwise a second after it was looked at (DNS rebinding). So a name is
looked up once, the addresses are judged, and the connection is made to one of *those*, as a number.
Connections that are kept for the next request are kept apart by the networks that their makers were
granted: no service comes by way of another where it may not go.
"""

import math
import ssl
from collections.abc import AsyncIterator, Iterable

import httpcore
import httpx
import trio

from gossamer_node.service.networks import may_lead

ADDRESSES_MAX = 8
"""Of a name that are tried, in the order of the system's resolver."""

ATTEMPT_S = 2.0
"""For an address that does not answer, before the next one is tried; the last has all the time."""

CONNECTIONS_IDLE_MAX = 16
IDLE_S = 15.0


class Unreachable(Exception):
    """A name leads where the node does not let it; the message is a sentence."""


async def addresses(host: str, port: int, networks: tuple[str, ...]) -> list[str]:
    """The addresses of a host that a connection may be made to; one lookup.

    Raises: Unreachable when it has others alone; OSError when it has none.
    """
    answers = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    # Each once, in their order. `sockaddr` begins with the address in every family asked for.
    found = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))[:ADDRESSES_MAX]
    allowed = [one for one in found if may_lead(host, one, networks)]
    if found and not allowed:
        raise Unreachable(
            f"{host} leads to {found[0]}, which is no address of the public internet; to allow it, "
            "the node's configuration grants its network (`networks`)."
        )
    return allowed


async def dial(networks: tuple[str, ...], host: str, port: int) -> trio.SocketStream:
    """A connection to one of a host's addresses. Raises: Unreachable, OSError."""
    error: OSError = OSError("it has no address")
    found = await addresses(host, port, networks)
    for number, address in enumerate(found, 1):
        with trio.move_on_after(ATTEMPT_S if number < len(found) else math.inf):
            try:
                return await trio.open_tcp_stream(address, port)
            except OSError as failed:
                error = failed
    raise error


class Transport(httpx.AsyncBaseTransport):
    """httpx's transport, but for where it connects to: no proxies, no retries, HTTP/1.1."""

    def __init__(self, tls: ssl.SSLContext, networks: tuple[str, ...]) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=CONNECTIONS_IDLE_MAX,
            keepalive_expiry=IDLE_S,
            network_backend=_Backend(networks),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it and return when the answer's head is there."""
        url = request.url
        assert isinstance(request.stream, httpx.AsyncByteStream)
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = networks
        self._trio = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as the base class has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        error: Exception = OSError("it has no address")
        found = await addresses(host, port, self._networks)
        for number, address in enumerate(found, 1):
            with trio.move_on_after(ATTEMPT_S if number < len(found) else timeout or float("inf")):
                try:
                    return await self._trio.connect_tcp(address, port)
                except httpcore.ConnectError as failed:
                    error = failed
        raise error
