"""Keeps the leases of a gateway's shards (`sharing` decides, the rows say who has what).

What is believed of a lease ends by this process's own clock, counted from before the row was
written: so a gateway stops believing before another may begin, unless it stands still just then.
"""

from collections.abc import Callable, Collection
from contextlib import suppress

import trio

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.runs import sharing
from gossamer_gateway.runs.sharing import LEASE_MS, RENEW_MS, Lease
from gossamer_gateway.runs.store import SHARDS
from gossamer_gateway.storage import Rows, Storage

GIVE_BACK_S = 2.0
"""How long a gateway that stops tries to give its shards back; they run out anyway."""


class Leases:
    """The shards of one gateway.

    Args:
        id: the gateway's.
        taken: called when there are more shards than before.
    """

    def __init__(self, storage: Storage, id: str, taken: Callable[[], None]) -> None:
        self._storage = storage
        self._id = id
        self._taken = taken
        self._shards: Collection[int] = frozenset()
        self._until_s = -float("inf")

    @property
    def shards(self) -> Collection[int]:
        """Those that are this gateway's, as far as it knows."""
        return self._shards if trio.current_time() < self._until_s else frozenset()

    async def renew(self) -> float:
        """Renews, takes and gives back; returns after how many seconds to come again.

        Raises: StorageFailed; Overloaded.
        """
        began_s = trio.current_time()
        before = self.shards
        shards = await self._storage.submit_guarded(self._change)
        self._shards, self._until_s = shards, began_s + LEASE_MS / 1_000
        if not shards <= frozenset(before):
            self._taken()
        return RENEW_MS / 1_000

    async def give_back(self) -> None:
        """Leaves the shards to others, if the storage is there."""
        self._shards = frozenset()
        with trio.move_on_after(GIVE_BACK_S) as scope:
            scope.shield = True
            with suppress(StorageFailed, Overloaded):  # they run out
                await self._storage.submit_guarded(self._leave)

    def _change(self, rows: Rows, now_ms: int) -> frozenset[int]:
        rows.execute(
            "INSERT INTO workflow_gateways (id, until_ms) VALUES (?, ?)"
            " ON CONFLICT (id) DO UPDATE SET until_ms = excluded.until_ms",
            (self._id, now_ms + LEASE_MS),
        )
        heard = rows.execute("SELECT id, until_ms FROM workflow_gateways ORDER BY id").fetchall()
        living = [id for id, until_ms in heard if sharing.lasts(until_ms, now_ms)]
        rows.executemany(
            "DELETE FROM workflow_gateways WHERE id = ?",
            [(id,) for id, _ in heard if id not in living],
        )
        known = {
            one[0]: Lease(*one)
            for one in rows.execute("SELECT shard, owner, epoch, until_ms FROM workflow_shards")
        }
        leases = [known.get(shard, Lease(shard, None, 0, 0)) for shard in range(SHARDS)]
        changed = sharing.plan(self._id, now_ms, leases, living)
        rows.executemany(
            "INSERT INTO workflow_shards (shard, owner, epoch, until_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (shard) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch,"
            " until_ms = excluded.until_ms",
            [(one.shard, one.owner, one.epoch, one.until_ms) for one in changed],
        )
        return frozenset(one.shard for one in changed if one.owner == self._id)

    def _leave(self, rows: Rows, now_ms: int) -> None:
        rows.execute(
            "UPDATE workflow_shards SET owner = NULL, until_ms = ? WHERE owner = ?",
            (now_ms, self._id),
        )
        rows.execute("DELETE FROM workflow_gateways WHERE id = ?", (self._id,))
