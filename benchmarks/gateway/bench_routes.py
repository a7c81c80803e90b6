"""How long until a changed route is effective on three gateways.

Three members of a mesh in one process, over TLS on loopback, each with a file of its own that is
flushed before it answers. A route is changed on one of them, in turn; what counts is the time from
the call until the change is answered there, and until a start goes by it on all three. Beside it,
what has no gateway in it: a commit of one row to such a file, twice, since the change is on two
disks before it is effective on a second gateway.

    python benchmarks/gateway/bench_routes.py [--changes 300]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio

from gossamer_gateway import tables
from gossamer_gateway.routing import router, routes
from gossamer_gateway.routing.router import Router
from gossamer_gateway.settings.book import Book
from gossamer_gateway.settings.spreading import TAG, Spreading, digest_of
from gossamer_gateway.storage import SqlitePlace, Storage, open_storage
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node.engines.config import EngineConfig

GATEWAYS = 3
RING = Keyring((bytes(range(32)),))
ENGINES = Upstreams(
    [
        Upstream(EngineConfig("c7", "camunda7", "http://127.0.0.1:1/engine-rest")),
        Upstream(EngineConfig("c8", "camunda8", "http://127.0.0.1:1")),
    ]
)
TIMEOUT_S = 30.0


async def main(changes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            identities = [Identity.generate() for _ in range(GATEWAYS)]
            ids = [one.node_id for one in identities]
            meshes: list[Mesh] = []
            routers: list[Router] = []
            heard = trio.Event()

            def hear(_: object) -> None:
                nonlocal heard
                heard.set()
                heard = trio.Event()

            for number, identity in enumerate(identities):
                place = SqlitePlace(Path(folder) / f"{number}.sqlite")
                storage = await stack.enter_async_context(open_storage(place, tables.FORM))
                seeds = tuple(one.address for one in meshes[:1])
                config = MeshConfig(identity=identity, keyring=RING, seeds=seeds)
                mesh = await stack.enter_async_context(open_mesh(config))
                book = Book(storage, identity, config.mesh_name, router.FORMS)
                spreading = Spreading(mesh, book, ids, partial(_say, mesh))
                nursery = await stack.enter_async_context(trio.open_nursery())
                stack.callback(nursery.cancel_scope.cancel)
                await nursery.start(spreading.run)
                meshes.append(mesh)
                routers.append(Router(book, ENGINES))
                book.listen(hear)
            with trio.fail_after(TIMEOUT_S):
                while not all(_knows_all(one) for one in meshes):  # noqa: ASYNC110 - gossip tells nobody
                    await trio.sleep(0.05)
            answered: list[float] = []
            effective: list[float] = []
            for number in range(changes):
                # Each change turns all starts round, so that one start tells it.
                engine = ("c7", "c8")[number % 2]
                began = time.perf_counter()
                await routers[number % GATEWAYS].set("hotel", {engine: routes.WHOLE}, "bench")
                answered.append(time.perf_counter() - began)
                with trio.fail_after(TIMEOUT_S):
                    while not all(_engine(one) == engine for one in routers):
                        await heard.wait()
                effective.append(time.perf_counter() - began)
            commits = [await _two_commits(storage) for _ in range(changes)]
    print(f"{changes} changes on {GATEWAYS} gateways, in ms        p50      p99      max")
    for name, found in (
        ("answered where it was made", answered),
        ("effective on all three", effective),
        ("two commits of a row, alone", commits),
    ):
        print(f"{name:40} {_row(found)}")
    print(f"ratio of the medians: {_median(effective) / _median(commits):.1f}")


def _say(mesh: Mesh, digest: bytes) -> None:
    mesh.set_tags({TAG: digest})


def _knows_all(mesh: Mesh) -> bool:
    return sum(digest_of(one) is not None for one in mesh.members()) == GATEWAYS


def _engine(one: Router) -> str:
    nothing: Mapping[str, str] = {}
    return one.engine_for("hotel", business_key="k", headers=nothing, dialect="camunda7").name


async def _two_commits(storage: Storage) -> float:
    def command(rows: Rows, now_ms: int) -> None:
        rows.execute("UPDATE setting_counter SET number = number + 1")

    began = time.perf_counter()
    for _ in range(2):
        await storage.submit(command)
    return time.perf_counter() - began


def _row(found: Sequence[float]) -> str:
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return "".join(f"{1_000 * one:9.1f}" for one in (_median(found), p99, ordered[-1]))


def _median(found: Sequence[float]) -> float:
    return statistics.median(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--changes", type=int, default=300)
    trio.run(main, parser.parse_args().changes)
