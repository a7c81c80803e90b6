"""What `/v1` shows of a Zeebe: what its exporter told, and nothing where that is silent."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.gateway.sink_world import ENGINE, Driver, ZeebeWithSink, driving, recorded
from tests.patience import seen

from gossamer_gateway import tables
from gossamer_gateway.errors import UnknownDefinition
from gossamer_gateway.index import instances
from gossamer_gateway.index.instances import State
from gossamer_gateway.sink.records import Bulk
from gossamer_gateway.sink.store import take
from gossamer_gateway.storage import SqlitePlace, Storage, open_storage
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.v1.eight import Eight
from gossamer_gateway.v1.seven import UnknownIncident
from gossamer_gateway.v1.shapes import Incident
from gossamer_gateway.v1.work import UnknownHere, Work
from gossamer_node.engines.config import EngineConfig

ORDERS, LINES = recorded()


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with open_storage(SqlitePlace(None), tables.FORM) as opened:
        yield opened


@asynccontextmanager
async def eight(storage: Storage, url: str = "http://127.0.0.1:9") -> AsyncIterator[Eight]:
    upstream = Upstream(EngineConfig(ENGINE, "camunda8", url))
    try:
        yield Eight(upstream, storage)
    finally:
        await upstream.aclose()


async def test_a_silent_exporter_leaves_all_unknown(storage: Storage) -> None:
    async with eight(storage) as one:
        work = Work({ENGINE: one})
        progress = await work.progress()
        assert progress.processes == [] and ENGINE in progress.unknown
        assert (await work.instances(None, None, None, 10)).unknown.keys() == {ENGINE}
        assert (await work.incidents(None, 10)).unknown.keys() == {ENGINE}
        assert (await work.jobs(None, None, 10)).unknown.keys() == {ENGINE}


async def test_without_an_exporter_it_is_told_what_went_through_the_gateway(
    storage: Storage,
) -> None:
    def see(rows: Rows, now_ms: int) -> None:
        for engine, id in ((ENGINE, "1"), (ENGINE, "2"), ("other", "3")):
            instances.started(rows, engine, id, "order", None, now_ms)
        instances.state_changed(rows, ENGINE, "1", State.CANCELLED, now_ms)

    await storage.submit(see)
    async with eight(storage) as one:
        ((process, name, there),) = await one.progress()
    assert (process, name, there.seen_by) == ("order", None, "gateway")
    # Who told nothing may have ended or have an incident.
    figures = (there.started, there.live, there.finished, there.incidents)
    assert figures == (2, None, None, None)


async def test_what_was_recorded_of_a_real_one(storage: Storage) -> None:
    read = Bulk()
    read.feed(LINES)
    read.finish()
    await storage.submit(lambda rows, now_ms: take(rows, ENGINE, read, now_ms))
    async with eight(storage) as one:
        told = {process: there for process, _name, there in await one.progress()}
        order = told["order"]
        assert (order.live, order.started, order.finished, order.incidents) == (5, 9, 4, 2)
        assert order.seen_by == "exporter"
        instances = await one.instances("order", None, 100)
        assert {int(each.id) for each in instances} == set(ORDERS.values())
        assert {each.state for each in instances} == {"active", "completed", "cancelled"}
        assert len(await one.instances("order", "active", 100)) == 5
        assert await one.instances("order", "suspended", 100) == []
        incidents = await one.incidents(100)
        assert {each.message for each in incidents if each.process == "order"} >= {"no rooms today"}
        jobs = await one.jobs(None, 100)
        assert jobs and {each.process for each in jobs} >= {"order"}
        topic = jobs[0].topic
        of_topic = await one.jobs(topic, 100)
        assert of_topic == [each for each in jobs if each.topic == topic]
        diagram = await one.diagram("order")
        assert diagram.tokens is not None and "bpmn" in diagram.xml
        stuck = [each for each in diagram.tokens if each.incidents]
        assert stuck and all(each.instances >= each.incidents for each in stuck)
        with pytest.raises(UnknownDefinition):
            await one.diagram("nobody")
        for wrong in ("", "x", "9" * 30):
            with pytest.raises(UnknownIncident):
                await one.retry(wrong)


@pytest.mark.zeebe
async def test_an_incident_is_tried_again(zeebe_with_sink: ZeebeWithSink) -> None:
    mark = f"v{secrets.token_hex(4)}-"
    async with driving(zeebe_with_sink.zeebe, mark) as driver:
        await make_stuck(driver)

        async def listed() -> Sequence[Incident] | None:
            async def look() -> list[Incident]:
                async with eight(zeebe_with_sink.sink.storage) as one:
                    try:
                        found = await one.incidents(500)
                    except UnknownHere:  # its exporter has not begun
                        return []
                    return [x for x in found if x.process == f"{mark}order"]

            return await zeebe_with_sink.there(look)

        (incident,) = await seen(listed)
        assert incident.message == "no rooms today" and incident.element == "reserve"

        async def retry() -> None:
            async with eight(zeebe_with_sink.sink.storage, zeebe_with_sink.zeebe.url) as one:
                await one.retry(incident.id)

        await zeebe_with_sink.there(retry)
        await driver.complete("reserve", room=7)  # there is a job again

        async def over() -> bool | None:
            return not await listed() or None

        await seen(over)


async def make_stuck(driver: Driver) -> None:
    await driver.deploy()
    await driver.start(order="stuck")
    await driver.fail("reserve", retries=0, message="no rooms today")
