"""A gateway from start to stop: what it opens, in which order, and how it goes down.

Up: what a person may have got wrong is read and checked first (engines, storage, sockets), then the
gateway becomes a member of the mesh, then it serves. Down, on SIGTERM or SIGINT: clients that wait
for jobs are answered, requests at hand are finished, polls at engines run to their end (one that is
cut off leaves a job locked for nobody), then it says goodbye to the mesh. A second signal ends it
at once, as a kill would.
"""

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from gossamer_gateway import tables, zeebe
from gossamer_gateway.app import create_app
from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.desk import Desk
from gossamer_gateway.grpc import GrpcServer
from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.routing.unrouted import Unrouted
from gossamer_gateway.serving import listen, serve_http, url_of
from gossamer_gateway.storage import open_storage
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_gateway.whereabouts import Asking
from gossamer_node import logs
from gossamer_node.address import Address
from gossamer_node.supervisor import Node, open_node

log = logs.get("gateway")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway.

    Attributes:
        url: of its HTTP, without a path.
        grpc: `HOST:PORT`.
        desk: what requests are served with.
        node: the member of the mesh that it is.
    """

    url: str
    grpc: str
    desk: Desk
    node: Node


@asynccontextmanager
async def open_gateway(config: GatewayConfig) -> AsyncIterator[Gateway]:
    """Starts a gateway; leaving the block stops it in good order.

    Raises: InputError for whatever a person must mend; nothing runs then.
    """
    place = config.storage.place(config.data_dir)
    async with AsyncExitStack() as stack:
        http = stack.enter_context(_listen(config.http, "http"))
        grpc = stack.enter_context(_listen(config.grpc, "grpc"))
        engines = Upstreams([Upstream(one) for one in config.engines])
        for one in engines.all:
            stack.push_async_callback(one.aclose)
        node = await stack.enter_async_context(open_node(config.node()))
        storage = await stack.enter_async_context(open_storage(place, tables.FORM))
        background = await stack.enter_async_context(trio.open_nursery())
        stack.callback(background.cancel_scope.cancel)
        polling = Polling({one.name: one for one in engines.all})
        await background.start(polling.run)
        desk = Desk(
            engines,
            polling,
            storage,
            Unrouted(engines),
            Asking(engines.sevens),
            f"gossamer-{config.mesh.name}",
        )
        url, grpc_address = url_of(http), str(Address(*grpc.getsockname()[:2]))
        grpc_server = GrpcServer(zeebe.methods(desk))
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(grpc))
        await background.start(grpc_server.serve, listener)
        serving = await stack.enter_async_context(trio.open_nursery())
        stopping = trio.Event()

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await serve_http(
                create_app(desk),
                http,
                stop=stopping.wait,
                wind_up=polling.drain,
                task_status=task_status,
            )

        await serving.start(serve)
        yield Gateway(url, grpc_address, desk, node)
        stopping.set()
        await grpc_server.stop()


def run_gateway(config: GatewayConfig, ready: Callable[[Gateway], None]) -> None:
    """Runs a gateway until SIGTERM or SIGINT, then stops it in good order.

    Args:
        ready: called once it serves.

    Raises: InputError as `open_gateway` does, maybe in a group.
    """
    trio.run(_run, config, ready)


async def _run(config: GatewayConfig, ready: Callable[[Gateway], None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            asked = trio.Event()
            running: list[Gateway] = []

            async def watch() -> None:
                async for received in signals:
                    if received == signal.SIGHUP and running:
                        running[0].node.keeping.reload()
                    elif asked.is_set():
                        signal.signal(received, signal.SIG_DFL)
                        signal.raise_signal(received)
                    elif received != signal.SIGHUP:
                        asked.set()

            nursery.start_soon(watch)
            async with open_gateway(config) as gateway:
                running.append(gateway)
                log.info("ready", http=gateway.url, grpc=gateway.grpc, pid=os.getpid())
                ready(gateway)
                await asked.wait()
                log.info("stopping; a second signal stops at once")
            nursery.cancel_scope.cancel()
    log.info("stopped")


def _listen(address: Address, key: str) -> socket.socket:
    return listen(address.host, address.port, who="The gateway", options=f"--{key}")
