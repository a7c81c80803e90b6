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
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio
from quart import request
from quart_trio import QuartTrio

from gossamer_gateway import page, tables, v1, zeebe
from gossamer_gateway.app import create_app
from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.desk import Desk
from gossamer_gateway.door.asgi import PRINCIPAL, Door
from gossamer_gateway.door.key_desk import CONVERSATION
from gossamer_gateway.door.opening import open_door
from gossamer_gateway.door.principals import Principal
from gossamer_gateway.door.tls import GRPC_PROTOCOLS, HTTP_PROTOCOLS, server_tls
from gossamer_gateway.observing import families as observed
from gossamer_gateway.observing.observing import Observing
from gossamer_gateway.observing.starts import starting
from gossamer_gateway.opening import begin_desk, begin_polling, open_servers, open_upstreams
from gossamer_gateway.overrides import api as overriding
from gossamer_gateway.overrides.asking import Asking
from gossamer_gateway.overrides.forwarding import open_forwarder
from gossamer_gateway.overrides.hook import install
from gossamer_gateway.overrides.overrides import FORMS as OVERRIDES
from gossamer_gateway.overrides.overrides import Overrides
from gossamer_gateway.routing import api as routing
from gossamer_gateway.routing.router import FORMS as ROUTING
from gossamer_gateway.routing.router import Router
from gossamer_gateway.runs import api as workflows_api
from gossamer_gateway.runs.live import page as live_page
from gossamer_gateway.runs.live import socket as live_socket
from gossamer_gateway.runs.opening import Workflows, open_workflows
from gossamer_gateway.serving import listen, url_of
from gossamer_gateway.settings.book import Book
from gossamer_gateway.settings.spreading import TAG, Spreading
from gossamer_gateway.settings.table import Setting
from gossamer_gateway.sink import bulk as sink
from gossamer_gateway.storage import Storage, open_storage
from gossamer_gateway.sweeping import ALL, keep_swept
from gossamer_gateway.watching.watching import Watching
from gossamer_mesh.identity import load_or_create
from gossamer_node import logs
from gossamer_node.address import Address
from gossamer_node.pauses import settle
from gossamer_node.supervisor import Node, make_folder, open_node
from gossamer_node.tracing.opening import open_tracing

log = logs.get("gateway")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway.

    Attributes:
        url: of its HTTP, without a path.
        grpc: `HOST:PORT`.
        app: what serves HTTP behind the door.
        desk: what requests are served with.
        node: the member of the mesh that it is.
        workflows: what they are served with.
    """

    url: str
    grpc: str
    app: QuartTrio
    desk: Desk
    node: Node
    workflows: Workflows


@asynccontextmanager
async def open_gateway(config: GatewayConfig) -> AsyncIterator[Gateway]:
    """Starts a gateway; leaving the block stops it in good order.

    Raises: InputError for whatever a person must mend; nothing runs then.
    """
    place = config.storage.place(config.data_dir)
    http_tls, grpc_tls = (server_tls(config.tls, one) for one in (HTTP_PROTOCOLS, GRPC_PROTOCOLS))
    make_folder(config.data_dir)
    async with AsyncExitStack() as stack:
        http = stack.enter_context(_listen(config.http, "http"))
        grpc = stack.enter_context(_listen(config.grpc, "grpc"))
        engines = await stack.enter_async_context(open_upstreams(config.engines))
        storage = await stack.enter_async_context(open_storage(place, tables.FORM))
        door = await stack.enter_async_context(open_door(config.door, storage))
        talks = {CONVERSATION: door.keys.converse}
        node = await stack.enter_async_context(open_node(config.node(), talks))
        background = await stack.enter_async_context(trio.open_nursery())
        stack.callback(background.cancel_scope.cancel)
        identity = load_or_create(config.data_dir / "identity.pem")
        tracing = await stack.enter_async_context(
            open_tracing(config.tracing, "gossamer-gateway", config.name, identity.node_id)
        )
        observing = Observing(tracing, config.tracing.variable)
        polling = await begin_polling(engines, background)
        book = await _open_book(config, storage, node, background)
        router = Router(book, engines)
        forwarder = await stack.enter_async_context(open_forwarder(node.mesh.node_id))
        asking = Asking(node.working.leasing.calling, node.working.depending)
        overrides = Overrides(book, engines, forwarder, asking, asking.look_for)
        workflows = await stack.enter_async_context(
            open_workflows(config.workflows, storage, background, engines)
        )
        workflow_rows = workflows_api.operations(workflows, _who)
        desk = begin_desk(
            engines,
            polling,
            storage,
            router,
            f"gossamer-{config.mesh.name}",
            background,
            hand_outs=observing.hand_outs,
        )
        sources = await v1.begin(
            background,
            config.name,
            node.mesh,
            engines,
            polling,
            storage,
            watch=desk.watch,
            metrics=(
                partial(observed.families, observing, engines, polling, door.gate),
                workflows.families,
            ),
            described={**routing.described(), **overriding.described()},
            operations=workflow_rows,
            counted=(workflows.counted,),
        )
        book.listen(partial(_tell_settings, sources.watching))
        app = create_app(
            desk,
            own=[
                v1.create_blueprint(sources),
                routing.create_blueprint(router, _who),
                overriding.create_blueprint(overrides, _who),
            ],
            root=[
                page.create_blueprint(),
                *workflows_api.create_blueprints(workflows, workflow_rows),
                live_socket.create_blueprint(workflows.bridge),
                live_page.create_blueprint(),
                sink.create_blueprint(
                    storage.submit, [one.name for one in config.engines if one.kind == "camunda8"]
                ),
            ],
        )
        install(app, overrides)
        url, grpc_address = (
            url_of(http, tls=http_tls is not None),
            str(Address(*grpc.getsockname()[:2])),
        )
        methods = starting(zeebe.methods(desk), config.tracing.variable)
        background.start_soon(keep_swept, storage.submit, {**ALL, **workflows.sweeps})

        async def wind_up() -> None:
            sources.watching.end()
            workflows.wind_up()
            await polling.drain()

        await stack.enter_async_context(
            open_servers(
                app,
                observing.methods(door.guarded(methods)),
                http,
                grpc,
                polling,
                background,
                wind_up=wind_up,
                http_tls=http_tls,
                grpc_tls=grpc_tls,
                around=lambda app: Door(app, door.gate, observing=observing),
            )
        )
        yield Gateway(url, grpc_address, app, desk, node, workflows)


async def _open_book(
    config: GatewayConfig, storage: Storage, node: Node, background: trio.Nursery
) -> Book:
    """What people change while gateways run, told to and learned from the others."""
    identity = load_or_create(config.data_dir / "identity.pem")
    book = Book(storage, identity, config.mesh.name, {**ROUTING, **OVERRIDES})
    await book.refresh()
    announce = partial(node.mesh.set_tag, TAG)
    await background.start(Spreading(node.mesh, book, config.peers, announce).run)
    return book


def _tell_settings(watching: Watching, settings: Sequence[Setting]) -> None:
    for one in settings:
        watching.tell(f"{one.kind}.changed", one.name, one.value)


def _who() -> str:
    principal = dict(request.scope)[PRINCIPAL]
    assert isinstance(principal, Principal), "the door says who it is"
    return principal.name


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
                settle()
                log.info("ready", http=gateway.url, grpc=gateway.grpc, pid=os.getpid())
                ready(gateway)
                await asked.wait()
                log.info("stopping; a second signal stops at once")
            nursery.cancel_scope.cancel()
    log.info("stopped")


def _listen(address: Address, key: str) -> socket.socket:
    return listen(address.host, address.port, who="The gateway", options=f"--{key}")
