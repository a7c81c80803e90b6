"""Services to add, and nodes to add them to: real members with a real host, in one process."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.node.source_engine import SourceEngine
from wasmtime import wat2wasm

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.leases.messages import TOPICS_MAX
from gossamer_mesh.orders import next_number
from gossamer_node.engines.port import Effect, Settlement
from gossamer_node.jobs import Completed, JobRef
from gossamer_node.keyed.key import Key
from gossamer_node.registry.decisions import Terms
from gossamer_node.registry.on_demand import LIVE_MAX, Loader
from gossamer_node.registry.package import read_package, sign_addition, write_signature
from gossamer_node.registry.stock import Stock
from gossamer_node.registry.store import Registry
from gossamer_node.service.grants import Grants
from gossamer_node.wasm import WasmHost
from gossamer_node.work.executing import Executor
from gossamer_node.working import Working

MESH = "tests"

SLOTS = 4

_WAT = """(module
  (memory (export "memory") 1)
  (data (i32.const 16) "%(answer)s")
  (func (export "job_abi") (result i32) (i32.const 65536))
  (func (export "alloc") (param $len i32) (result i32) (i32.const 1024))
  (func (export "handle") (param $ptr i32) (param $len i32) (result i64)
    (local $i i32)
    (local.set $i (i32.const %(turns)d))
    (loop $again
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (br_if $again (i32.gt_s (local.get $i) (i32.const 0))))
    (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const %(length)d))))"""


def module(version: str, turns: int = 1) -> bytes:
    """A worker that answers which version it is.

    Args:
        turns: of a loop before, a million of which take a millisecond or so.
    """
    answer = f'{{"completed":{{"variables":{{"version":"{version}"}}}}}}'
    parts = {"answer": answer.replace('"', '\\"'), "length": len(answer), "turns": turns}
    return bytes(wat2wasm(_WAT % parts))


def service(
    folder: Path, name: str = "rate", version: str = "1.0.0", *, turns: int = 1, **fields: Any
) -> Path:
    """A service's folder; returns its service.yaml."""
    home = folder / f"{name}-{version}"
    home.mkdir(parents=True, exist_ok=True)
    (home / "worker.wasm").write_bytes(module(version, turns))
    said: dict[str, Any] = {"name": name, "version": version, "module": "worker.wasm"}
    said |= {"topics": [{"name": name}], **fields}
    file = home / "service.yaml"
    file.write_text(yaml.safe_dump(said))
    return file


def sign(file: Path, key: Ed25519PrivateKey, number: int = 0, mesh: str = MESH) -> Path:
    """As `gossamer service sign`. Returns the service.yaml."""
    package = read_package(file, with_signature=False)
    write_signature(file, sign_addition(key, mesh, next_number(number), package))
    return file


class CountingEngine(SourceEngine):
    """Counts which versions worked; a failed job fails the test."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: Counter[str] = Counter()

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        self.versions[str(outcome.variables.values["version"])] += 1
        self.completed[job.key] += 1
        return Settlement(Effect.APPLIED)


class World:
    """One node, until its block ends."""

    def __init__(
        self,
        mesh: Mesh,
        working: Working,
        executor: Executor,
        stock: Stock,
        loader: Loader,
    ) -> None:
        self.travel = working.travel
        self.offers = working.offers
        self.moving = working.moving
        self.mesh = mesh
        self.leasing = working.leasing
        self.executor = executor
        self.stock = stock
        self.registry = stock.registry
        self.loader = loader

    def __repr__(self) -> str:
        """What a test that waits in vain shows of it."""
        listed = [
            (one.label, self.stock._state(one), one.refused) for one in self.registry.listed()
        ]
        return f"World({self.mesh.node_id[:4]}, {listed}, {self.executor.outcomes})"

    def is_shared(self, name: str) -> bool:
        """Whether this node knows of others that work on a service with a key."""
        return not self.moving.is_alone(Key(name, "", "any"))

    def state(self, name: str, version: str) -> str:
        row = self.registry.get(name, version)
        return self.stock._state(row) if row is not None and row.there else "none"


@asynccontextmanager
async def node(
    folder: Path,
    engines: Sequence[CountingEngine] = (),
    *,
    seeds: Sequence[tuple[str, int]] = (),
    operators: Sequence[str] = (),
    grants: Mapping[str, Grants] | None = None,
    live_max: int = LIVE_MAX,
    topics_max: int = TOPICS_MAX,
) -> AsyncIterator[World]:
    """A member that keeps services in a folder, wired as the supervisor wires one."""
    granted = grants or {}
    folder.mkdir(parents=True, exist_ok=True)
    settings = MeshConfig(
        identity=Identity.generate(),
        keyring=Keyring((bytes(32),)),
        mesh_name=MESH,
        seeds=tuple(seeds),
    )
    async with (
        WasmHost(
            folder / "cache",
            states_file=folder / "states.sqlite",
            node_id=settings.identity.node_id,
        ) as host,
        open_mesh(settings) as mesh,
    ):
        executor = Executor(topics_max=topics_max)
        registry = Registry(folder / "services")
        loader = Loader(host, live_max)
        names = [one.name for one in engines]
        terms = Terms(lambda name: granted.get(name, Grants()), names, MESH, operators)
        stock = Stock(registry, loader, executor, terms)
        with closing(stock):
            stock.open()
            async with trio.open_nursery() as nursery:
                reached = {one.name: one for one in engines}
                working = Working(mesh, host, stock, executor, reached, slots=SLOTS, claims=True)
                await working.begin(nursery)
                yield World(mesh, working, executor, stock, loader)
                nursery.cancel_scope.cancel()
