"""Puts `/v1` together for a running gateway: who watches the mesh, who looks at the engines, who is
asked what runs on each."""

from collections.abc import Mapping
from typing import Any

import trio

from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.sink.freshness import Watch
from gossamer_gateway.storage.port import Storage
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_gateway.v1.api import Sources
from gossamer_gateway.v1.eight import Eight
from gossamer_gateway.v1.looking import Looking
from gossamer_gateway.v1.metrics import Counted, More
from gossamer_gateway.v1.operations import Operation
from gossamer_gateway.v1.seven import Seven
from gossamer_gateway.v1.work import EngineWork, Work
from gossamer_gateway.watching.watching import Watching
from gossamer_mesh.drivers import Mesh


async def begin(
    nursery: trio.Nursery,
    name: str,
    mesh: Mesh,
    engines: Upstreams,
    polling: Polling,
    storage: Storage,
    *,
    watch: Watch | None = None,
    metrics: tuple[More, ...] = (),
    described: Mapping[str, Any] | None = None,
    operations: tuple[Operation, ...] = (),
    counted: tuple[Counted, ...] = (),
) -> Sources:
    """Starts what `/v1` needs in a nursery; returns what to give to `create_blueprint`.

    The mesh must be a member already. Cancelling the nursery is a good end.

    Args:
        watch: of the sink: what this gateway was told by engines itself.
        metrics, described, operations, counted: see `Sources`.
    """
    watching = Watching(mesh)
    await nursery.start(watching.run)
    looking = Looking(engines, polling, watching)
    nursery.start_soon(looking.run)

    def work_of(engine: Upstream) -> EngineWork:
        return Seven(engine) if engine.kind == "camunda7" else Eight(engine, storage, watch)

    work = Work({one.name: work_of(one) for one in engines.all})
    return Sources(
        name=name,
        gateway=mesh.node_id,
        engines=engines,
        polling=polling,
        watching=watching,
        looking=looking,
        work=work,
        metrics=metrics,
        described=described or {},
        operations=operations,
        counted=counted,
    )
