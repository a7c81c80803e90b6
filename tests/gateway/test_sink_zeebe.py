"""The sink beside a real Zeebe: its exporter, its restarts, and what is seen."""

import base64
import secrets
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests.gateway.sink_world import (
    ENGINE,
    EXPORTER,
    Driver,
    ZeebeWithSink,
    driving,
    play,
    sinking,
    zeebe_exporting,
)
from tests.patience import seen

from gossamer_gateway import tables
from gossamer_gateway.sink.reading import Counts, Filter, View, look
from gossamer_gateway.storage import SqlitePlace, Storage, open_storage
from gossamer_gateway.storage.port import Rows
from gossamer_node.local_engines import processes

pytestmark = pytest.mark.zeebe


@pytest.fixture
async def driver(zeebe_with_sink: ZeebeWithSink) -> AsyncIterator[Driver]:
    async with driving(zeebe_with_sink.zeebe, f"t{secrets.token_hex(4)}-") as opened:
        yield opened


async def counted(world: ZeebeWithSink, process: str) -> Counts | None:
    def ask(view: View) -> Counts | None:
        return next(iter(view.counts(process)), None)

    return await world.view(ask)


async def test_orders_that_go_every_way_are_seen(
    zeebe_with_sink: ZeebeWithSink, driver: Driver
) -> None:
    orders = await play(driver)
    process, paid = f"{driver.mark}order", f"{driver.mark}paid"

    async def told_all() -> Counts | None:
        """What came after the last command, and what a message had go on by itself."""
        in_hand = await zeebe_with_sink.view(lambda view: view.jobs(instance=orders["in hand"]))
        if in_hand is None or all(job.state != "activated" for job in in_hand):
            return None
        for letter in "fh":
            if await zeebe_with_sink.view(partial(View.waiting, message=paid, correlation=letter)):
                return None
        counts = await counted(zeebe_with_sink, process)
        return counts if counts is not None and counts.completed == 1 else None

    counts = await seen(told_all)
    assert (counts.started, counts.live, counts.cancelled, counts.failed) == (9, 5, 3, 2)
    ended = await zeebe_with_sink.view(
        lambda view: {
            name: (view.elements(key), view.jobs(instance=key), view.incidents(instance=key))
            for name, key in orders.items()
            if "cancelled" in name or name == "refused"
        }
    )
    assert ended is not None and len(ended) == 4
    assert all(rows == ([], [], []) for rows in ended.values()), ended
    subscribed = await zeebe_with_sink.view(
        lambda view: [view.waiting(paid, letter) for letter in "afh"]
    )
    assert subscribed is not None
    assert [[one.instance for one in found] for found in subscribed] == [[orders["waits"]], [], []]
    # The exporter made its templates here, as it would in an Elasticsearch.
    asked = {line.partition("_8.6")[0] for line in zeebe_with_sink.sink.asked}
    assert {
        "PUT /_component_template/zeebe-record",
        "PUT /_index_template/zeebe-record_job",
    } <= asked


async def test_an_incident_that_is_resolved_is_open_no_more(
    zeebe_with_sink: ZeebeWithSink, driver: Driver
) -> None:
    await driver.deploy()
    order = await driver.start(order=driver.mark)
    job = await driver.fail("reserve", retries=0, message="nobody there")

    async def opened() -> int | None:
        found = await zeebe_with_sink.view(lambda view: view.incidents(instance=order))
        return found[0].key if found else None

    incident = await seen(opened)
    await driver.set_retries(job, 1)
    await driver.resolve(incident)
    await driver.complete("reserve")

    async def went_on() -> bool:
        found = await zeebe_with_sink.view(lambda view: view.incidents(instance=order))
        children = await zeebe_with_sink.view(lambda view: view.instances(Filter(parent=order)))
        return found == [] and bool(children)

    await seen(went_on)
    instance = await zeebe_with_sink.view(lambda view: view.instance(order))
    assert instance is not None and (instance.incidents, instance.state) == (0, "active")


async def test_what_was_refused_while_the_disk_was_away_comes_again(
    zeebe_with_sink: ZeebeWithSink, driver: Driver
) -> None:
    await driver.deploy()
    sink = zeebe_with_sink.sink
    refused = sink.refused
    sink.away = True
    try:
        started = [await driver.start(order=str(number)) for number in range(20)]

        async def refusing() -> bool:
            return sink.refused >= refused + 2

        await seen(refusing)
        assert await zeebe_with_sink.view(lambda view: view.instance(started[-1])) is None
    finally:
        sink.away = False

    async def there() -> Counts | None:
        counts = await counted(zeebe_with_sink, f"{driver.mark}order")
        return counts if counts is not None and counts.started >= 20 else None

    counts = await seen(there)
    assert (counts.started, counts.live) == (20, 20)


async def test_a_broker_that_starts_again_repeats_and_nothing_is_counted_twice(
    tmp_path: Path,
) -> None:
    (port,) = processes.free_ports(1)
    same = {
        "zeebe.broker.data.directory": str(tmp_path / "broker"),
        "zeebe.broker.cluster.clusterName": secrets.token_hex(16),
        "zeebe.broker.network.commandApi.port": str(port),
    }
    exporter = {
        **EXPORTER,
        "args.index.createTemplate": "false",
        "args.index.prefix": ENGINE,
        "args.authentication.username": "zeebe",
        "args.authentication.password": "secret",
    }

    async def order(storage: Storage) -> Counts | None:
        def read(rows: Rows, now_ms: int) -> Counts | None:
            view = look(rows, ENGINE, now_ms)
            return None if view is None else next(iter(view.counts("order")), None)

        return await storage.submit(read)

    async def started(storage: Storage, number: int) -> Counts:
        async def there() -> Counts | None:
            counts = await order(storage)
            return counts if counts is not None and counts.started >= number else None

        return await seen(there)

    async with (
        open_storage(SqlitePlace(None), tables.FORM) as storage,
        sinking(storage, ENGINE, "another") as sink,
    ):
        async with (
            zeebe_exporting(sink, exporter=exporter, properties=same) as zeebe,
            driving(zeebe) as driver,
        ):
            await driver.deploy()
            for number in range(10):
                await driver.start(order=str(number))
            await started(storage, 10)
        assert set(sink.asked) == {"POST /_bulk", f"PUT /{ENGINE}*/_settings"}  # no templates
        assert sink.authorized == {b"Basic " + base64.b64encode(b"zeebe:secret")}
        async with (
            zeebe_exporting(sink, exporter=exporter, properties=same) as zeebe,
            driving(zeebe) as driver,
        ):
            await driver.start(order="more")
            counts = await started(storage, 11)
            assert (counts.started, counts.live) == (11, 11)
    assert [one.anew for one in sink.taken if one.anew] == []
    assert sum(one.repeated for one in sink.taken) > 0
