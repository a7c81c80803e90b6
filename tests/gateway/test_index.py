"""What the gateway knows of instances and definitions, in both databases."""

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer_gateway import tables
from gossamer_gateway.errors import StorageFailed
from gossamer_gateway.index import definitions, instances
from gossamer_gateway.index.definitions import Definition
from gossamer_gateway.index.instances import KEPT_MS, SWEPT_MAX, Count, Instance, Source, State
from gossamer_gateway.index.sightings import Sighting, Sightings
from gossamer_gateway.storage import Rows, Storage
from gossamer_gateway.storage.file import File
from gossamer_gateway.storage.sqlite import SqliteRows

ONE = Instance("old", "a-uuid", "hotel", "b-1", 1_000, Source.GATEWAY, State.ACTIVE, 1_000)


async def look(storage: Storage, function: Any, *arguments: Any, **named: Any) -> Any:
    return await storage.submit(lambda rows, _: function(rows, *arguments, **named))


async def test_an_instance_from_start_to_sweep(storage: Storage) -> None:
    await look(storage, instances.started, "old", "a-uuid", "hotel", "b-1", 1_000)
    find = partial(look, storage, instances.instance, "old", "a-uuid")
    assert await find() == ONE
    assert await look(storage, instances.engine_of, "a-uuid") == "old"
    change = partial(look, storage, instances.state_changed, "old", "a-uuid")
    assert await change(State.INCIDENT, 2_000)
    assert (await find()).state is State.INCIDENT
    assert await change(State.ACTIVE, 3_000)
    assert await change(State.COMPLETED, 4_000)
    assert not await change(State.ACTIVE, 5_000)
    assert await find() == replace(ONE, state=State.COMPLETED, seen_ms=4_000)
    assert await look(storage, instances.sweep, 4_000 + KEPT_MS) == 0
    assert await look(storage, instances.sweep, 4_001 + KEPT_MS) == 1
    assert await find() is None
    assert not await change(State.ACTIVE, 5_000)
    assert await look(storage, instances.engine_of, "a-uuid") is None


async def test_what_comes_in_any_order_adds_up(storage: Storage) -> None:
    job = Instance("old", "a-uuid", "hotel", None, 1_500, Source.JOB, State.ACTIVE, 1_500)
    find = partial(look, storage, instances.instance, "old", "a-uuid")
    # A job before the start's answer: the start knows more.
    await look(storage, instances.saw, [job, job])
    await look(storage, instances.saw, [replace(ONE, started_ms=1_400, seen_ms=1_400)])
    assert await find() == replace(ONE, started_ms=1_400, seen_ms=1_500)
    # A job tells nothing of an incident, nor another business key.
    await look(storage, instances.state_changed, "old", "a-uuid", State.INCIDENT, 2_000)
    await look(storage, instances.saw, [replace(job, business_key="b-2", seen_ms=3_000)])
    known = replace(ONE, started_ms=1_400, state=State.INCIDENT, seen_ms=2_000)
    assert await find() == known
    # The engine does, unless it is late.
    told = replace(ONE, source=Source.ENGINE, state=State.CANCELLED, seen_ms=1_999)
    await look(storage, instances.saw, [told])
    assert await find() == known
    await look(storage, instances.saw, [replace(told, seen_ms=4_000)])
    await look(storage, instances.saw, [replace(told, seen_ms=5_000, state=State.ACTIVE)])
    assert await find() == replace(known, state=State.CANCELLED, seen_ms=4_000)


async def test_an_id_of_two_engines_belongs_to_neither(storage: Storage) -> None:
    await look(storage, instances.saw, [ONE, replace(ONE, engine="other", business_key="b-2")])
    assert await look(storage, instances.engine_of, "a-uuid") is None
    keys = partial(look, storage, instances.business_keys)
    assert await keys("other", ["a-uuid"]) == {"a-uuid": "b-2"}
    assert await keys("old", ["a-uuid", "nobody", "a-uuid"]) == {"a-uuid": "b-1"}


async def test_business_keys_both_ways(storage: Storage) -> None:
    many = [
        replace(ONE, id=str(n), engine="oe"[n % 2], process="pqr"[n % 3], started_ms=n,
                business_key=None if n % 10 == 0 else f"b-{n % 10}")
        for n in range(250)
    ]  # fmt: skip
    await look(storage, instances.saw, many)
    await look(storage, instances.state_changed, "e", "249", State.CANCELLED, 300_000)
    keys = await look(storage, instances.business_keys, "o", [one.id for one in many])
    assert keys == {one.id: one.business_key for one in many
                    if one.engine == "o" and one.business_key}  # fmt: skip
    find = partial(look, storage, instances.by_business_key, "b-9")
    nines = [one.id for one in reversed(many) if one.business_key == "b-9"]
    assert [one.id for one in await find()] == nines
    assert [one.id for one in await find(living=True)] == nines[1:]
    assert [one.id for one in await find(limit=3)] == nines[:3]
    assert await find(engine="o") == []
    assert {one.process for one in await find(engine="e", process="p")} == {"p"}


async def test_pages_of_a_process(storage: Storage) -> None:
    many = [
        replace(ONE, id=f"{n:03}", engine="oe"[n % 2], started_ms=n // 4, state=list(State)[n % 3])
        for n in range(100)
    ]
    await look(storage, instances.saw, [*many, replace(ONE, id="x", process="other")])
    page = partial(look, storage, instances.by_process, "hotel")
    found: list[Instance] = []
    while rows := await page(before=found[-1] if found else None, limit=7):
        assert len(rows) <= 7
        found += rows
    assert found == sorted(many, key=lambda one: (one.started_ms, one.id), reverse=True)
    some = await page(engine="o", state=State.INCIDENT)
    assert some and {(one.engine, one.state) for one in some} == {("o", State.INCIDENT)}
    assert await page(limit=0) == await page(limit=-1) == []
    counted = Counter((one.engine, one.state) for one in many)
    counts = await look(storage, instances.counts, "hotel")
    assert {(one.engine, one.state): one.count for one in counts} == counted
    everything = await look(storage, instances.counts)
    assert [one for one in everything if one.process == "other"] == [
        Count("other", "old", State.ACTIVE, 1)
    ]


async def test_a_sweep_takes_some_at_a_time(storage: Storage) -> None:
    many = [replace(ONE, id=str(n), state=State.COMPLETED) for n in range(SWEPT_MAX + 5)]
    await look(storage, instances.saw, [*many, replace(ONE, id="living")])
    for count in (SWEPT_MAX, 5, 0):
        assert await look(storage, instances.sweep, 2_000 + KEPT_MS) == count
    assert await look(storage, instances.instance, "old", "living") is not None


async def test_definitions(storage: Storage) -> None:
    first = Definition("old", "hotel:1:x", "hotel", 1, "d1")
    second = Definition("old", "hotel:2:y", "hotel", 2, "d2")
    third = Definition("new", "2251799813685249", "hotel", 1, "2251799813685248")
    await look(storage, definitions.deployed, [first, second, third])
    await look(storage, definitions.deployed, [first])
    assert await look(storage, definitions.definition, third.id) == third
    assert await look(storage, definitions.definition, "nobody") is None
    assert await look(storage, definitions.newest, "old", "hotel") == second
    assert await look(storage, definitions.newest, "old", "motel") is None
    assert await look(storage, definitions.engine_of_deployment, "d2") == "old"
    await look(storage, definitions.deployed, [replace(third, engine="old")])
    assert await look(storage, definitions.definition, third.id) is None


class Counting:
    """A storage that counts, and refuses when told to."""

    shared = False

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.count = 0
        self.refuses = False

    async def submit(self, command: Any) -> Any:
        self.count += 1
        if self.refuses:
            raise StorageFailed("no")
        return await self._storage.submit(command)

    submit_guarded = submit


async def test_jobs_of_a_known_instance_cost_no_write(storage: Storage) -> None:
    counting = Counting(storage)
    sightings = Sightings(counting, known_max=3)
    a, b, c, d = (Sighting("old", id, "hotel", f"b-{id}") for id in "abcd")
    for _ in range(10):
        await sightings.saw([a, b, a])
    assert counting.count == 1
    sightings.know([("old", "c")])
    await sightings.saw([a, c])
    assert counting.count == 1
    assert await look(storage, instances.instance, "old", "c") is None
    await sightings.saw([d])  # b goes
    await sightings.saw([a, c, d])
    assert counting.count == 2
    await sightings.saw([b, a, c, d])
    assert counting.count == 3
    found = await look(storage, instances.instance, "old", "b")
    assert (found.business_key, found.source, found.process) == ("b-b", Source.JOB, "hotel")
    counting.refuses = True
    e = Sighting("old", "e", "hotel")
    with pytest.raises(StorageFailed):
        await sightings.saw([e])
    counting.refuses = False
    await sightings.saw([e])
    assert await look(storage, instances.instance, "old", "e") is not None


NEWS = st.lists(
    st.builds(
        Instance,
        st.sampled_from("xy"), st.sampled_from("ab"), st.just("p"),
        st.none() | st.sampled_from(["k", "l"]), st.integers(0, 9), st.sampled_from(Source),
        st.sampled_from(State), st.integers(0, 9),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=200)
@given(NEWS)
def test_a_row_is_what_its_news_add_up_to(news: list[Instance]) -> None:
    file = File(None, tables.FORM)
    rows: Rows = SqliteRows(file.connection)
    model: dict[tuple[str, str], Instance] = {}
    try:
        for one in news:
            instances.saw(rows, [one])
            had = model.get((one.engine, one.id))
            if had is None:
                model[one.engine, one.id] = one
                continue
            now = replace(had, business_key=had.business_key or one.business_key)
            if one.source is not Source.JOB:
                if had.source is Source.JOB:
                    now = replace(now, source=one.source, started_ms=one.started_ms)
                if had.state in (State.ACTIVE, State.INCIDENT) and one.seen_ms >= had.seen_ms:
                    now = replace(now, state=one.state, seen_ms=one.seen_ms)
            model[one.engine, one.id] = now
        for (engine, id), expected in model.items():
            assert instances.instance(rows, engine, id) == expected
        assert sum(one.count for one in instances.counts(rows)) == len(model)
    finally:
        file.close()
