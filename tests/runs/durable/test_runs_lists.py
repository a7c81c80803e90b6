"""What is listed, counted, remembered and forgotten of runs, in a file and on a PostgreSQL."""

from functools import partial

import pytest
import trio
from msgspec.structs import replace
from tests.patience import patience
from tests.runs.durable.flows import LINE, QUEUES, lines, work

from gossamer_gateway.runs import counting, forgetting, listing
from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.engine import Engine, Job, UnknownRun
from gossamer_gateway.runs.jobs import asked as asking
from gossamer_gateway.runs.jobs import holding
from gossamer_gateway.runs.jobs.asked import KEPT_MS, Asked
from gossamer_gateway.runs.listing import Wanted
from gossamer_gateway.storage import Rows, Storage


async def locked(engine: Engine) -> Job:
    """A job, as soon as one is this engine's to take."""
    with patience():
        while not (jobs := await engine.fetch(QUEUES, "me", jobs_max=1, lock_ms=60_000)):
            await engine.wait_free(QUEUES, trio.current_time() + 1)
    return jobs[0]


async def test_definitions_have_pages(storage: Storage) -> None:
    engine = Engine(storage)
    for id in ("b", "a", "c"):
        await engine.define(replace(LINE, id=id))
    await engine.define(replace(LINE, id="b", name="Second"))

    found = await storage.submit(lambda rows, _: listing.workflows(rows, None, 2))
    assert [(one.definition.id, one.definition.version) for one in found] == [("a", 1), ("b", 2)]
    rest = await storage.submit(lambda rows, _: listing.workflows(rows, "b", 2))
    assert [one.definition.id for one in rest] == ["c"]
    versions = await storage.submit(lambda rows, _: listing.versions(rows, "b", None, 9))
    assert [one.definition.name for one in versions] == ["Second", None]
    below = await storage.submit(lambda rows, _: listing.versions(rows, "b", 2, 9))
    assert [one.definition.version for one in below] == [1]
    newest = await storage.submit(lambda rows, _: listing.version(rows, "b", None))
    assert newest is not None and newest.definition.version == 2 and newest.at_ms > 0
    for id, number in (("b", 3), ("b", 0), ("d", None)):
        assert await storage.submit(partial(_version, id, number)) is None


def _version(id: str, number: int | None, rows: Rows, _: int) -> listing.Defined | None:
    return listing.version(rows, id, number)


async def test_runs_have_pages_and_filters(storage: Storage) -> None:
    engine = Engine(storage)
    ids = await lines(engine, 7)
    await engine.cancel(ids[3])

    async def listed(wanted: Wanted, limit: int = 9) -> list[str]:
        found = await storage.submit(lambda rows, _: listing.runs(rows, wanted, None, limit))
        return [one.id for one in found]

    everything = await listed(Wanted())
    assert sorted(everything) == sorted(ids)
    pages: list[str] = []
    after: listing.Place | None = None
    while found := await storage.submit(
        lambda rows, _, after=after: listing.runs(rows, Wanted(), after, 3)  # type: ignore[misc]
    ):
        pages += [one.id for one in found]
        after = found[-1].place
    assert pages == everything
    assert await listed(Wanted(status="Cancelled")) == [ids[3]]
    assert (
        await listed(Wanted(workflow="line", status="Running"), limit=2)
        == [one for one in everything if one != ids[3]][:2]
    )
    assert await listed(Wanted(workflow="other")) == []
    (first,) = await storage.submit(lambda rows, _: listing.runs(rows, Wanted(), None, 1))
    assert first.ended_ms is None and first.key is None and first.executor == "own"
    assert await listed(Wanted(since_ms=first.triggered_ms + 1)) == []
    assert await listed(Wanted(until_ms=first.triggered_ms + 1)) == everything
    assert await listed(Wanted(ids=(ids[2],))) == [ids[2]]
    beginnings = (ids[2][:-1], ids[5][:-1])
    two = [one for one in everything if one.startswith(beginnings)]
    assert {ids[2], ids[5]} == set(two)
    assert await listed(Wanted(ids=beginnings)) == two
    assert await listed(Wanted(ids=(*beginnings, "z"), status="Cancelled")) == []
    assert await listed(Wanted(ids=("", "z"))) == everything
    assert await listed(Wanted(ids=beginnings), limit=1) == two[:1]


async def test_who_has_a_job_is_told(storage: Storage) -> None:
    engine = Engine(storage)
    (id,) = await lines(engine, 1)
    (waits,) = await storage.submit(lambda rows, _: holding.of_run(rows, id))
    assert (waits.run, waits.attempt, waits.worker) == (id, 1, None)
    job = await locked(engine)
    (held,) = await storage.submit(lambda rows, now: holding.of_worker(rows, "me", now, 0, 9))
    assert (held.step, held.worker, held.free_ms) == (job.step, "me", job.locked_ms)
    late = job.locked_ms
    assert await storage.submit(lambda rows, _: holding.of_worker(rows, "me", late, 0, 9)) == []
    assert await storage.submit(lambda rows, now: holding.of_worker(rows, "me", now, 1, 9)) == []


async def test_what_is_open_is_counted(storage: Storage) -> None:
    engine = Engine(storage, outbox=True)
    await lines(engine, 3)
    job = await locked(engine)
    families = await storage.submit(lambda rows, now: list(counting.of_rows(rows, now)))
    found = {one.name: one.samples for one in families}
    assert found["workflow_runs_open"] == (({"status": "Pending"}, 0), ({"status": "Running"}, 3))
    assert found["workflow_jobs_open"] == (
        ({"action": job.queue, "state": "free"}, 2),
        ({"action": job.queue, "state": "locked"}, 1),
    )
    assert found["workflow_outbox_events"][0][1] == 3 * 4


async def test_runs_that_ended_long_ago_are_forgotten(storage: Storage) -> None:
    engine = Engine(storage)
    done, *others = await lines(engine, 3)
    await engine.cancel(done)
    at_once = partial(forgetting.sweep, retention_ms=-1_000)
    assert await storage.submit(partial(forgetting.sweep, retention_ms=60_000)) == 0
    assert await storage.submit(at_once) == 1
    assert await check(storage) == []
    assert await engine.history(done) == []
    with pytest.raises(UnknownRun):
        await engine.run(done)
    await work(engine)
    assert [(await engine.run(id)).status.value for id in others] == ["Completed"] * 2
    assert await storage.submit(at_once) == 2


async def test_a_run_waits_to_be_forgotten_until_it_is_published(storage: Storage) -> None:
    engine = Engine(storage, outbox=True)
    (id,) = await lines(engine, 1)
    await engine.cancel(id)
    at_once = partial(forgetting.sweep, retention_ms=-1_000)
    assert await storage.submit(at_once) == 0
    assert engine.outbox is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.keep_time)  # where rows are shared, it leases the shards
        with patience():
            engine.outbox.done(await engine.outbox.next())
            await engine.outbox.remove()
        nursery.cancel_scope.cancel()
    assert await storage.submit(at_once) == 1


async def test_what_is_asked_for_is_remembered_and_forgotten(storage: Storage) -> None:
    asked = Asked(storage)
    await asked.write(["b", "a"])
    await asked.write(["a"])
    found = await Asked(storage).last(["a", "b", "c"])
    assert set(found) == {"a", "b"}
    assert await storage.submit(asking.sweep) == 0
    assert await storage.submit(lambda rows, now: asking.sweep(rows, now + KEPT_MS + 1_000)) == 2
