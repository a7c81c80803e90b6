"""Where the host's I/O for guests happens: a trio loop on one thread of its own.

A guest's thread hands over an async function and waits. The loop gives each a total time, name
resolution and a server's dripping headers included, and a cancellation that closes the socket at
once; threads that block in `recv` could have neither. It is not the node's own loop, so that a
guest's traffic never delays claims and gossip, and so that a host without a loop can run workers.
"""

import logging
import math
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import trio

from gossamer_node.grpc import Channel
from gossamer_node.wasm.asking.reaching import Transport, dial

IN_FLIGHT_MAX = 64
"""Operations at once; the next is refused as UNAVAILABLE."""

_CLOSE_S = 5.0
"""Cancelled operations end at once; this bounds a close on one that does not."""

T = TypeVar("T")

_log = logging.getLogger("gossamer.wasm")


class Waiter(Protocol):
    """A run, as far as it waits."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for the event. Raises to give up."""


class Busy(Exception):
    """`IN_FLIGHT_MAX` operations are under way, or the loop is closed."""


class _Call:
    def __init__(self) -> None:
        self.event = threading.Event()
        self.scope = trio.CancelScope()
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = Busy()


class IoLoop:
    """Runs async functions for threads that wait. Starts with its first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._in_flight = 0
        self._closed = False
        self._transports: dict[tuple[str, tuple[str, ...]], Transport] = {}
        self._channels: dict[tuple[str, int, bool, tuple[str, ...]], Channel] = {}

    def call(self, function: Callable[[], Awaitable[T]], waiter: Waiter, timeout_s: float) -> T:
        """Run it in the loop and wait for its end.

        Raises: what it raises; TimeoutError when its time is over; Busy; what `waiter.wait`
        raises. In every case the function has ended or is being cancelled.
        """
        token = self._enter()
        call = _Call()
        try:
            token.run_sync_soon(self._spawn, call, function, timeout_s)
            # The loop keeps the time; waiting without a bound would trust it blindly.
            waiter.wait(call.event, timeout_s + 1.0)
        except trio.RunFinishedError:
            raise Busy from None
        finally:
            if not call.done:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(call.scope.cancel)
        if not call.done:
            raise TimeoutError
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    def post(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run it in the loop soon, within `_CLOSE_S`; nobody waits for it. For what lets go."""
        token = self._token
        if token is not None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._spawn_quietly, function)

    def transport(self, scheme: str, networks: tuple[str, ...]) -> Transport:
        """The connections of this loop, for `http` or `https`; to be used inside it only.

        Args:
            networks: where names may lead beyond the public internet. Connections that others
                may not make are not theirs to use.
        """
        transport = self._transports.get((scheme, networks))
        if transport is None:
            if scheme == "https":
                # The system's authorities: a company's own is trusted where it is installed.
                tls = ssl.create_default_context()
            else:
                # Reading them all takes long; without TLS, none is needed.
                tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            transport = self._transports[scheme, networks] = Transport(tls, networks)
        return transport

    def channel(
        self, host: str, port: int, *, tls: bool, peer: str, networks: tuple[str, ...]
    ) -> Channel:
        """This loop's gRPC connection to a server, which services share; used inside it only.

        Args:
            peer: how messages name the server.
            networks: as for `transport`. What is not reached by them raises `Unreachable`.
        """
        channel = self._channels.get((host, port, tls, networks))
        if channel is None:
            context = ssl.create_default_context() if tls else None
            if context is not None:
                context.set_alpn_protocols(["h2"])
            channel = Channel(host, port, tls=context, peer=peer, dial=partial(dial, networks))
            self._channels[host, port, tls, networks] = channel
        return channel

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        with self._lock:
            self._closed = True
            thread, token, nursery = self._thread, self._token, self._nursery
        if thread is not None and token is not None and nursery is not None:
            token.run_sync_soon(nursery.cancel_scope.cancel)
            thread.join(_CLOSE_S)

    def _enter(self) -> trio.lowlevel.TrioToken:
        with self._lock:
            if self._closed or self._in_flight >= IN_FLIGHT_MAX:
                raise Busy
            if self._thread is None:
                ready = threading.Event()
                self._thread = threading.Thread(
                    target=trio.run, args=(self._main, ready), name="gossamer-wasm-io", daemon=True
                )
                self._thread.start()
                ready.wait()
            if self._token is None or self._nursery is None:
                raise Busy
            self._in_flight += 1
            return self._token

    async def _main(self, ready: threading.Event) -> None:
        try:
            await self._serve_all(ready)
        finally:
            ready.set()

    async def _serve_all(self, ready: threading.Event) -> None:
        self._token = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as self._nursery:
                ready.set()
                await trio.sleep(math.inf)
        finally:
            with trio.CancelScope(shield=True):
                for transport in self._transports.values():
                    await transport.aclose()
                for channel in self._channels.values():
                    await channel.aclose()

    def _spawn(self, call: _Call, function: Callable[[], Awaitable[T]], timeout_s: float) -> None:
        assert self._nursery is not None
        if self._closed:
            # The nursery may be closed as well, and would answer with a crash of the loop.
            call.done = True
            call.event.set()
            return
        self._nursery.start_soon(self._serve, call, function, timeout_s)

    def _spawn_quietly(self, function: Callable[[], Awaitable[None]]) -> None:
        if not self._closed and self._nursery is not None:
            self._nursery.start_soon(self._serve_quietly, function)

    async def _serve_quietly(self, function: Callable[[], Awaitable[None]]) -> None:
        with trio.move_on_after(_CLOSE_S):
            try:
                await function()
            except Exception:
                _log.exception("what a worker held open could not be let go")

    async def _serve(
        self, call: _Call, function: Callable[[], Awaitable[T]], timeout_s: float
    ) -> None:
        try:
            with call.scope:
                call.scope.deadline = trio.current_time() + max(0.0, timeout_s)
                try:
                    call.result = await function()
                    call.error = None
                except Exception as error:
                    call.error = error
            if call.scope.cancelled_caught:
                call.error = TimeoutError()
        finally:
            with self._lock:
                self._in_flight -= 1
            call.done = True
            call.event.set()
