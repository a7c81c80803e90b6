"""A node from start to stop: what it opens, in which order, and how it goes down.

Up: everything that a person may have got wrong is read and checked first (services, modules, keys),
then the mesh is bound, then engines and workers begin; a node that cannot start leaves nothing
half-started. Down, on SIGTERM or SIGINT: stop claiming, finish the running jobs or hand them back,
get the last outcomes acknowledged, say goodbye to the mesh. A second signal ends it at once, as a
kill would: to cancel would not do, as an open poll must not be cut off and may last for seconds.
SIGHUP reads the mesh's keys and its list of members again; from a closing terminal it stops, too.
"""

import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import trio

from gossamer_mesh.admission import AllowList
from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.drivers.config import anyone
from gossamer_mesh.errors import ForeignMeshError, JoinError, KeyFileError, ListenError
from gossamer_mesh.identity import load_or_create
from gossamer_mesh.keyring import KEY_BYTES, Keyring, read_keyring
from gossamer_node import logs
from gossamer_node.address import Address
from gossamer_node.config import NodeConfig
from gossamer_node.control import Conversation, hold_folder, serve_control, socket_path
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.errors import InputError
from gossamer_node.keeping import Keeping, allow_list
from gossamer_node.metrics import serve_metrics
from gossamer_node.pauses import settle
from gossamer_node.registry import desk
from gossamer_node.registry.decisions import Terms
from gossamer_node.registry.on_demand import Loader
from gossamer_node.registry.stock import Stock
from gossamer_node.registry.store import FOLDER_NAME, Registry
from gossamer_node.service.load import find, load, refuse_conflicts, require_runnable
from gossamer_node.service.spec import ServiceSpec
from gossamer_node.tracing.jobs import JobTraces
from gossamer_node.tracing.opening import open_tracing
from gossamer_node.wasm import WasmHost
from gossamer_node.watching import Told, of_status
from gossamer_node.work.executing import Executor
from gossamer_node.working import Working

log = logs.get("node")

FINISH_MS = 15_000
"""How long running jobs get on a stop: more than a service's default time limit of 10 s."""

ACKNOWLEDGE_MS = 10_000
"""How long the last outcomes get after that. With the farewell to the mesh (2 s) and the last spans
(2 s) the whole stop takes less than the 30 s after which many a process manager kills."""


class Node:
    """A running node, as its status shows it."""

    def __init__(
        self,
        config: NodeConfig,
        mesh: Mesh,
        working: Working,
        executor: Executor,
        keeping: Keeping,
        host: WasmHost,
        stock: Stock,
    ) -> None:
        self._config = config
        self.mesh = mesh
        self._executor = executor
        self._started_s = time.monotonic()
        self.keeping = keeping
        self._host = host
        self._stock = stock
        self.working = working

    def status(self) -> dict[str, object]:
        """What `gossamer status --json` prints."""
        host, port = self.mesh.address
        return {
            "node": {
                "name": self._config.name,
                "id": self.mesh.node_id,
                "pid": os.getpid(),
                "version": version("gossamer"),
                "mesh": self._config.mesh.name,
                "address": f"{host}:{port}",
                "up_seconds": round(time.monotonic() - self._started_s, 1),
            },
            "members": [
                {
                    "name": one.name,
                    "id": one.id,
                    "address": f"{one.address[0]}:{one.address[1]}",
                    "state": one.state,
                }
                for one in self.mesh.members()
            ],
            "services": [_shown(spec, self._executor) for spec in self._executor.services()],
            "registry": self._stock.status(),
            "services_beyond": self._stock.beyond() or None,
            "instances": self._host.statistics(),
            "keyed": self.working.moving.statistics(),
            "worker_lines_dropped": self._host.lines_dropped(),
            **self.working.leasing.status(),
            "network": self.mesh.statistics(),
        }


@asynccontextmanager
async def open_node(
    config: NodeConfig, conversations: Mapping[str, Conversation] = MappingProxyType({})
) -> AsyncIterator[Node]:
    """Starts a node; leaving the block stops it in good order.

    Args:
        conversations: what its control socket answers beside a node's own.

    Raises: InputError for whatever a person must mend; nothing runs then.
    """
    specs = [load(file) for path in config.services for file in find(path)]
    refuse_conflicts(specs, [one.name for one in config.engines])
    for spec in specs:
        require_runnable(spec)
    make_folder(config.data_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(hold_folder(config.data_dir))
        mesh_config, allowed = _mesh_config(config)
        host = await stack.enter_async_context(
            WasmHost(
                config.cache_dir / "modules",
                states_file=config.data_dir / "states.sqlite",
                kv_file=config.data_dir / "kv.sqlite",
                node_id=mesh_config.identity.node_id,
            )
        )
        workers = []
        for spec in specs:
            grant, refused = config.grants_of(spec.name).bind(spec)
            for sentence in refused:
                log.warning(sentence)
            workers.append((spec, await host.load(spec, grant)))
        executor = Executor(workers, topics_max=config.topics_max)
        tracing = await stack.enter_async_context(
            open_tracing(config.tracing, "gossamer-node", config.name, mesh_config.identity.node_id)
        )
        registry = Registry(config.data_dir / FOLDER_NAME)
        stock = Stock(registry, Loader(host), executor, Terms.of(config))
        stack.callback(stock.close)
        stock.open()
        engines: dict[str, Engine] = {}
        for one in config.engines:
            engines[one.name] = open_engine(one)
            stack.push_async_callback(engines[one.name].aclose)
        try:
            mesh = await stack.enter_async_context(open_mesh(mesh_config))
        except ListenError as error:
            raise InputError(str(error)) from None
        nursery = await stack.enter_async_context(trio.open_nursery())
        if config.join:
            await _join(mesh, config)
        traces = JobTraces(tracing, config.tracing.variable, config.name)
        working = Working(
            mesh, host, stock, executor, engines,
            slots=config.slots, claims=config.claim, traces=traces,
        )  # fmt: skip
        keeping = Keeping(mesh, config, allowed)
        node = Node(config, mesh, working, executor, keeping, host, stock)
        Told(mesh, of_status(node.status))
        handlers = {"status": node.status, "keys": keeping.overview, "reload": keeping.reload}
        talks = {**conversations, "order": keeping.carry, **desk.conversations(stock)}
        await nursery.start(serve_control, config.data_dir, handlers, talks)
        nursery.start_soon(keeping.run)
        if config.metrics.listen is not None:
            serve = partial(serve_metrics, config.metrics.listen, node.status)
            address = Address(*await nursery.start(serve))
            log.info("metrics", url=f"http://{address}/metrics")
        await working.begin(nursery)
        log.info("room for instances", **host.capacity())
        yield node
        await working.leasing.stop(FINISH_MS, ACKNOWLEDGE_MS)
        await mesh.leave()
        nursery.cancel_scope.cancel()


def run_node(config: NodeConfig) -> None:
    """Runs a node until SIGTERM or SIGINT, then stops it in good order.

    Raises: InputError as `open_node` does, maybe in a group.
    """
    trio.run(_run_node, config)


async def _run_node(config: NodeConfig) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            asked = trio.Event()
            running: list[Node] = []
            nursery.start_soon(
                _watch_signals, signals, asked, lambda: [one.keeping.reload() for one in running]
            )
            async with open_node(config) as node:
                running.append(node)
                host, port = node.mesh.address
                settle()
                log.info("ready", name=config.name, id=node.mesh.node_id, address=f"{host}:{port}")
                await asked.wait()
                log.info("stopping; a second signal stops at once")
            nursery.cancel_scope.cancel()
    log.info("stopped")


async def _watch_signals(
    signals: AsyncIterator[int], asked: trio.Event, reload: Callable[[], object]
) -> None:
    async for received in signals:
        # A terminal that closes says the same; nobody wants a node to outlive it unseen.
        if received == signal.SIGHUP and not sys.stderr.isatty():
            reload()
        elif asked.is_set():
            signal.signal(received, signal.SIG_DFL)
            signal.raise_signal(received)
        else:
            asked.set()


def make_folder(data_dir: Path) -> None:
    """Makes a node's data folder, for its owner alone. Raises: InputError."""
    socket_path(data_dir)  # one that is too long is refused before anything is made
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir.chmod(0o700)
    except OSError as error:
        raise InputError(
            f"cannot use {data_dir}: {error.strerror}; choose another --data-dir."
        ) from None


def _mesh_config(config: NodeConfig) -> tuple[MeshConfig, AllowList | None]:
    """Keys are read here, so a wrong one is found before anything listens."""
    try:
        identity = load_or_create(config.data_dir / "identity.pem")
        # Without a key file nobody else can have this one: the node works by itself.
        key_file = config.mesh.key_file
        alone = Keyring((secrets.token_bytes(KEY_BYTES),))
        keyring = read_keyring(key_file) if key_file else alone
        allowed = allow_list(config.mesh.members_file, identity.node_id)
    except KeyFileError as error:
        raise InputError(str(error)) from None
    mesh_config = MeshConfig(
        identity=identity,
        keyring=keyring,
        mesh_name=config.mesh.name,
        name=config.name,
        host=config.listen.host,
        port=config.listen.port,
        advertise=_pair(config.advertise) if config.advertise else None,
        seeds=tuple(_pair(one) for one in config.join),
        discovery=config.discovery,
        snapshot_file=config.data_dir / "mesh.snapshot",
        admits=allowed.admits if allowed else anyone,
    )
    return mesh_config, allowed


async def _join(mesh: Mesh, config: NodeConfig) -> None:
    """A seed that does not answer is no reason to stay down: it is asked again. One that answers
    under another key is: it never will be right."""
    try:
        await mesh.join(_pair(one) for one in config.join)
    except ForeignMeshError as error:
        raise InputError(str(error)) from None
    except JoinError as error:
        log.warning(f"{error} This node works alone and keeps asking.")


def _pair(address: Address) -> tuple[str, int]:
    return (address.host, address.port)


def _shown(spec: ServiceSpec, executor: Executor) -> dict[str, object]:
    return {
        "name": spec.name,
        "version": spec.version,
        "topics": [one.name for one in spec.topics],
        "instances": executor.instances(spec),
        "waits": executor.waiting().get(spec.name),
    }
