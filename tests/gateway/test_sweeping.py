"""What is over is forgotten in every table that grows, some rows at a time."""

import pytest
import trio
from tests.patience import seen

from gossamer_gateway import handed, sweeping
from gossamer_gateway.handed import Handed
from gossamer_gateway.index import instances
from gossamer_gateway.index.instances import Instance, Source, State
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.sweeping import ALL, keep_swept
from gossamer_gateway.tables import FORM

COUNT = instances.SWEPT_MAX + 1


def fill(rows: Rows, now_ms: int) -> None:
    """More old rows than one sweep removes, and one that stays."""
    instances.saw(
        rows,
        [
            Instance("e", f"{n}", "p", None, ms, Source.ENGINE, State.COMPLETED, ms)
            for n, ms in [*((n, 0) for n in range(COUNT)), (COUNT, now_ms)]
        ],
    )
    ends = [*(0 for _ in range(COUNT)), now_ms]
    handed.hand_out(rows, [Handed("e", f"{n}", "w", ms) for n, ms in enumerate(ends)])


def left(rows: Rows, _now_ms: int) -> tuple[int, int]:
    return len(instances.by_process(rows, "p")), len(handed.all_of(rows, "e", 2 * COUNT))


async def test_every_table_that_grows_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is more it looks again soon: else it would never."""
    monkeypatch.setattr(sweeping, "EVERY_S", float("inf"))
    async with open_storage(SqlitePlace(None), FORM) as storage, trio.open_nursery() as nursery:
        await storage.submit(fill)
        nursery.start_soon(keep_swept, storage.submit)

        async def is_clean() -> bool:
            return await storage.submit(left) == (1, 1)

        assert await seen(is_clean)
        nursery.cancel_scope.cancel()
    assert len(ALL) == 3
