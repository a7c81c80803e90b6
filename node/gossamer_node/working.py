"""What a node does together with others, wired: leases and calls, keys, services that come and go.

Each part knows the others only by what is handed to it here: a change of the services is told to
who asks for offers, to who waits for them, and to the mesh, in that order; a look at the members
goes on to the keys.
"""

from collections.abc import Mapping

import trio

from gossamer_mesh.drivers import Mesh
from gossamer_node.engines.port import Engine
from gossamer_node.keyed.moving import Moving
from gossamer_node.registry.stock import Stock
from gossamer_node.registry.travel import Travel
from gossamer_node.tracing.jobs import UNTRACED, JobTraces
from gossamer_node.wasm import WasmHost
from gossamer_node.work.calling import finder
from gossamer_node.work.depending import Depending
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing
from gossamer_node.work.offers import Offers


class Working:
    """One node's. Nothing runs, and nothing is announced, before `begin`."""

    def __init__(
        self,
        mesh: Mesh,
        host: WasmHost,
        stock: Stock,
        executor: Executor,
        engines: Mapping[str, Engine],
        *,
        slots: int,
        claims: bool,
        traces: JobTraces = UNTRACED,
    ) -> None:
        self._stock = stock
        self.moving = Moving(mesh, host.open_states, host.is_busy, host.has_states())
        host.moving = self.moving
        self.leasing = Leasing(
            mesh,
            engines,
            executor,
            slots=slots,
            claims=claims,
            traces=traces,
            reviewed=self.moving.set_members,
        )
        self.offers = Offers(mesh, stock)
        self.depending = Depending(executor, self.offers, self._tell)
        self.leasing.calling.find = finder(self.offers, mesh.node_id, self.depending.is_usable)
        self.travel = Travel(mesh, stock)
        self.depending.review()
        stock.changed = self._services_changed

    async def begin(self, nursery: trio.Nursery) -> None:
        """Starts all of it in a nursery; returns when jobs may come."""
        await nursery.start(self._stock.run)
        await nursery.start(self.moving.run)
        await nursery.start(self.leasing.run)
        self._services_changed()
        for part in (self.travel.run, self.offers.run, self.depending.run):
            nursery.start_soon(part)

    def _services_changed(self) -> None:
        self.offers.own_changed()
        self.depending.review()
        self._tell()

    def _tell(self) -> None:
        self.leasing.services_changed(self._stock.registry.digest(), self.offers.stamp())
