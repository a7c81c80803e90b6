"""Lists answer what was asked for, or refuse."""

from typing import Any

import pytest
from tests.gateway.bpmn_text import one_task
from tests.gateway.world import World

from gossamer_gateway.embedded import queries
from gossamer_gateway.embedded.queries import Listing, Query
from gossamer_gateway.errors import BadRequest


@pytest.fixture
def world() -> World:
    return World()


def test_a_list_is_filtered_sorted_and_paged(world: World) -> None:
    world.deploy(p=one_task())
    ids: list[Any] = []
    for key in ("b", "a", None):
        world.now_ms += 1
        ids.append(world.start(business_key=key).id)
    listing = queries.HISTORIC_INSTANCES
    by_key = Query({}, [("businessKey", True), ("startTime", False)])
    rows = queries.find(world.store, listing, by_key, world.now_ms)
    assert [row["id"] for row in rows] == [ids[2], ids[1], ids[0]]
    page = Query({"unfinished": "true"}, [("startTime", False)], first=1, rows_max=1)
    assert [row["id"] for row in queries.find(world.store, listing, page, 0)] == [ids[1]]
    assert queries.count(world.store, listing, Query({"processInstanceIds": [*ids[:2]]}), 0) == 2
    assert queries.count(world.store, listing, Query({"processInstanceIds": ",".join(ids)}), 0) == 3
    assert queries.count(world.store, listing, Query({"finished": False}), 0) == 3
    assert queries.count(world.store, listing, Query({"processInstanceIds": []}), 0) == 0


@pytest.mark.parametrize(
    "query",
    [
        Query({"nonsense": "x"}),
        Query({"finished": "maybe"}),
        Query({"processInstanceId": 5}),
        Query({"processInstanceIds": [5]}),
        Query({"processInstanceIds": ["x"] * 1_001}),
        Query({}, [("nonsense", True)]),
        Query({}, rows_max=queries.ROWS_MAX + 1),
    ],
)
def test_a_list_that_cannot_be_answered_truly_is_refused(world: World, query: Query) -> None:
    with pytest.raises(BadRequest):
        queries.find(world.store, queries.HISTORIC_INSTANCES, query, 0)


@pytest.mark.parametrize(
    "listing",
    [queries.DEFINITIONS, queries.INSTANCES, queries.HISTORIC_INSTANCES, queries.TASKS,
     queries.INCIDENTS, queries.HISTORIC_ACTIVITIES, queries.HISTORIC_VARIABLES],
)  # fmt: skip
def test_every_filter_and_order_of_the_tables_is_sql(world: World, listing: Listing) -> None:
    samples = {
        queries.Kind.TEXT: "x",
        queries.Kind.TEXTS: ["x", "y"],
        queries.Kind.FLAG: True,
        queries.Kind.NUMBER: 1,
    }
    filters: dict[str, Any] = {name: samples[kind] for name, (kind, _) in listing.filters.items()}
    everything = Query(filters, [(name, True) for name in listing.orders])
    assert queries.find(world.store, listing, everything, 0) == []
    for name, value in filters.items():
        assert queries.count(world.store, listing, Query({name: value}), 0) == 0
