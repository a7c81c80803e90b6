"""Who holds which job, for clients whose dialect asks by more than the engine checks."""

import pytest

from gossamer_gateway import handed
from gossamer_gateway.errors import NotLockedByWorker, UnknownTask
from gossamer_gateway.handed import KEPT_MS, SWEPT_MAX, Handed
from gossamer_gateway.storage import Rows, Storage


async def test_only_who_holds_it_may_work_it(storage: Storage) -> None:
    one = Handed("new", "7", "ada", 1_000, "up", {"when": "Date", "o": {"type": "Object"}})
    await storage.submit(lambda rows, _: handed.hand_out(rows, [one]))

    async def held_by(worker: str, now_ms: int = 0, job: str = "7", engine: str = "new") -> Handed:
        return await storage.submit(
            lambda rows, _: handed.held(rows, engine, job, worker, told="a-uuid", now_ms=now_ms)
        )

    assert await held_by("ada", 999) == one
    with pytest.raises(NotLockedByWorker, match=r"worker 'bob'. It is locked by worker 'ada'"):
        await held_by("bob")
    with pytest.raises(NotLockedByWorker, match=r"a-uuid .* its lock has run out"):
        await held_by("ada", 1_000)
    for job, engine in (("8", "new"), ("7", "old")):
        with pytest.raises(UnknownTask, match="External task with id a-uuid does not exist"):
            await held_by("ada", job=job, engine=engine)
    await storage.submit(lambda rows, _: handed.prolong(rows, one, 2_000))
    assert (await held_by("ada", 1_999)).until_ms == 2_000
    # Taken again, by another: who was late is told so.
    other = Handed("new", "7", "bob", 3_000)
    await storage.submit(lambda rows, _: handed.hand_out(rows, [other]))
    assert await held_by("bob") == other
    with pytest.raises(NotLockedByWorker, match="'bob'"):
        await held_by("ada")
    await storage.submit(lambda rows, _: handed.settled(rows, "new", "7"))
    with pytest.raises(UnknownTask):
        await held_by("bob")


async def test_old_locks_are_forgotten_some_at_a_time(storage: Storage) -> None:
    def fill(rows: Rows, _: int) -> None:
        handed.hand_out(rows, [Handed("e", str(n), "w", n) for n in range(SWEPT_MAX + 10)])

    async def sweep() -> int:
        return await storage.submit(lambda rows, _: handed.sweep(rows, KEPT_MS + SWEPT_MAX + 5))

    await storage.submit(fill)
    assert await sweep() == SWEPT_MAX
    assert await storage.submit(lambda rows, _: handed.find(rows, "e", "0")) is None
    assert await sweep() == 5
    assert await sweep() == 0
    last = str(SWEPT_MAX + 5)
    assert await storage.submit(lambda rows, _: handed.find(rows, "e", last)) is not None
