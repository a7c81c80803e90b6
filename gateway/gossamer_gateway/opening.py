"""A gateway's engines, its desk and its two servers, put together: whatever else it has around it.

Servers are begun together and ended in order. HTTP ends as `serving` says; gRPC's streams are told
and given a while; what they gave back is polled to its end before anything behind them is closed.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio
from hypercorn.typing import ASGIFramework

from gossamer_gateway.desk import Desk
from gossamer_gateway.grpc import GrpcServer, Handler
from gossamer_gateway.index.sightings import Sightings
from gossamer_gateway.observing.hand_outs import HandOuts
from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.routing.router import Router
from gossamer_gateway.serving import STOP_S, serve_http
from gossamer_gateway.storage import Storage
from gossamer_gateway.upstreams.asking import Asking
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_node.engines.config import EngineConfig


@asynccontextmanager
async def open_upstreams(configs: Iterable[EngineConfig]) -> AsyncIterator[Upstreams]:
    """The engines behind it, until the block is left."""
    engines = Upstreams([Upstream(one) for one in configs])
    async with AsyncExitStack() as stack:
        for one in engines.all:
            stack.push_async_callback(one.aclose)
        yield engines


async def begin_polling(engines: Upstreams, background: trio.Nursery) -> Polling:
    """Polls them for whoever waits, until the nursery ends."""
    polling = Polling({one.name: one for one in engines.all})
    await background.start(polling.run)
    return polling


def begin_desk(
    engines: Upstreams,
    polling: Polling,
    storage: Storage,
    router: Router,
    worker: str,
    background: trio.Nursery,
    *,
    hand_outs: HandOuts | None = None,
) -> Desk:
    """What requests are served with, until the nursery ends. See `Desk` for the arguments."""
    desk = Desk(
        engines,
        polling,
        storage,
        router,
        Asking(engines.sevens, storage),
        worker,
        Sightings(storage),
        hand_outs=hand_outs or HandOuts(),
    )
    background.start_soon(desk.sightings.run)
    return desk


@asynccontextmanager
async def open_servers(
    app: ASGIFramework,
    methods: Mapping[str, Handler],
    http: socket.socket,
    grpc: socket.socket,
    polling: Polling,
    background: trio.Nursery,
    *,
    wind_up: Callable[[], Awaitable[None]],
    http_tls: ssl.SSLContext | None = None,
    grpc_tls: ssl.SSLContext | None = None,
    around: Callable[[ASGIFramework], ASGIFramework] = lambda app: app,
) -> AsyncIterator[None]:
    """Serves until the block is left. The sockets belong to the servers from now.

    Args:
        app, wind_up, around: as `serve_http` has them.
        methods: of gRPC, by path.
        background: outlives the block, and is cancelled by its owner.
    """
    server = GrpcServer(methods)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(grpc))
    await background.start(server.serve, listener, grpc_tls)
    stopping = trio.Event()
    async with trio.open_nursery() as serving:
        await serving.start(
            partial(
                serve_http,
                app,
                http,
                stop=stopping.wait,
                wind_up=wind_up,
                tls=http_tls,
                around=around,
            )
        )
        yield
        stopping.set()
        with trio.move_on_after(STOP_S):
            await server.stop()
        await polling.drain()  # what streams gave back
