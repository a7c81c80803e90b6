"""Records of a real Zeebe become rows, each once, however they come."""

import json
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import trio
from tests.gateway.sink_world import ENGINE, recorded

from gossamer_gateway.errors import StorageFailed
from gossamer_gateway.sink import records, store
from gossamer_gateway.sink.reading import Filter, View, look
from gossamer_gateway.sink.records import Bulk, process_name
from gossamer_gateway.sink.store import Taken, sweep, take
from gossamer_gateway.storage import Storage
from gossamer_gateway.storage.port import Command, Rows
from gossamer_gateway.sweeping import EVERY_S, Sweep, keep_swept

ORDERS, LINES = recorded()
LATER_MS = 10**15


def bulk(*data: bytes) -> Bulk:
    read = Bulk()
    for piece in data:
        read.feed(piece)
    read.finish()
    return read


async def taken(storage: Storage, *data: bytes) -> Taken:
    read = bulk(*data)
    return await storage.submit(lambda rows, now_ms: take(rows, ENGINE, read, now_ms))


async def asked(storage: Storage, question: Callable[[View], Any]) -> Any:
    def ask(rows: Rows, now_ms: int) -> Any:
        view = look(rows, ENGINE, now_ms)
        assert view is not None
        return question(view)

    return await storage.submit(ask)


def pairs() -> list[bytes]:
    """Action and record, of each record."""
    lines = LINES.splitlines(keepends=True)
    return [b"".join(lines[at : at + 2]) for at in range(0, len(lines), 2)]


def altered(pair: bytes, **changed: Any) -> bytes:
    action, _, record = pair.partition(b"\n")
    return action + b"\n" + json.dumps(json.loads(record) | changed).encode() + b"\n"


async def dump(storage: Storage) -> dict[str, list[Any]]:
    """All rows but when they came, and how often."""

    def read(rows: Rows, _now_ms: int) -> dict[str, list[Any]]:
        tables = ["instance", "tally", *(columns[0] for columns in store.TABLES.values())]
        found = {
            name: sorted(rows.execute(f"SELECT * FROM sink_{name}").fetchall(), key=repr)
            for name in tables
        }
        return found | {"log": sorted(store.marks(rows, ENGINE).items())}

    return await storage.submit(read)


async def test_what_a_real_engine_told_is_known(storage: Storage) -> None:
    told = await taken(storage, LINES)
    assert (told.junk, told.repeated, told.anew) == (0, 0, ())
    assert told.applied > 100

    def view(view: View) -> None:
        named = {i.key: i for i in view.instances(Filter(process="order"))}
        assert sorted(named) == sorted(ORDERS.values())
        states = {name: named[key].state for name, key in ORDERS.items()}
        assert states == {
            "waits": "active",
            "stuck": "active",
            "refused": "completed",
            "thrown": "active",
            "cancelled": "cancelled",
            "waited and cancelled": "cancelled",
            "stuck and cancelled": "cancelled",
            "paid": "active",
            "in hand": "active",
        }
        for instance in named.values():
            assert instance.started_ms is not None
            assert (instance.ended_ms is None) == (instance.state == "active")
            assert instance.incidents == (instance.key in (ORDERS["stuck"], ORDERS["thrown"]))
        places = {
            name: [element.element for element in view.elements(key)]
            for name, key in ORDERS.items()
        }
        assert {name: place for name, place in places.items() if place} == {
            "waits": ["await-paid"],
            "stuck": ["reserve"],
            "thrown": ["reserve"],
            "paid": ["check"],
            "in hand": ["reserve"],
        }
        assert view.tokens("order") == {"await-paid": 1, "check": 1, "reserve": 3}

    await asked(storage, view)


async def test_variables_are_kept_as_json_and_long_ones_cut(storage: Storage) -> None:
    await taken(storage, LINES)
    found = await asked(storage, lambda view: view.variables(ORDERS["waits"]))
    values = {variable.name: variable for variable in found}
    assert {name: one.value for name, one in values.items() if name != "note"} == {
        "order": '"a"', "room": "7", "charged": "true",
    }  # fmt: skip
    note = values["note"]
    assert note.truncated and note.characters == 20_002
    assert note.value == '"' + "ö" * (records.VALUE_CHARACTERS_MAX - 1)
    (changed,) = await asked(storage, lambda view: view.variables(ORDERS["in hand"]))
    assert (changed.value, changed.truncated) == ('"changed"', False)


async def test_jobs_and_incidents_that_are_open_are_known(storage: Storage) -> None:
    await taken(storage, LINES)
    jobs = {job.instance: job for job in await asked(storage, lambda view: view.jobs())}
    assert {name: jobs[key].state for name, key in ORDERS.items() if key in jobs} == {
        "stuck": "failed",
        "thrown": "error thrown",
        "in hand": "activated",
    }
    assert jobs[ORDERS["stuck"]].error_message == "no rooms today"
    assert jobs[ORDERS["in hand"]].worker == "ada"
    # The engine itself doesn't name the element of an error that nobody caught.
    assert jobs[ORDERS["thrown"]].element == "reserve"
    incidents = {one.instance: one for one in await asked(storage, lambda view: view.incidents())}
    assert set(incidents) == {ORDERS["stuck"], ORDERS["thrown"]}
    assert incidents[ORDERS["stuck"]].kind == "JOB_NO_RETRIES"
    assert incidents[ORDERS["stuck"]].job == jobs[ORDERS["stuck"]].key
    thrown = incidents[ORDERS["thrown"]]
    assert (thrown.kind, thrown.element) == ("UNHANDLED_ERROR_EVENT", "reserve")
    reserved = await asked(storage, lambda view: view.jobs(topic="reserve", state="activated"))
    assert [job.instance for job in reserved] == [ORDERS["in hand"]]


async def test_a_message_is_known_to_those_that_wait_for_it(storage: Storage) -> None:
    await taken(storage, LINES)

    async def waiting(message: str, correlation: str) -> list[tuple[int | None, str]]:
        found = await asked(storage, lambda view: view.waiting(message, correlation))
        return [(one.instance, one.element) for one in found]

    assert await waiting("paid", "a") == [(ORDERS["waits"], "await-paid")]
    assert await waiting("paid", "f") == []  # cancelled
    assert await waiting("paid", "h") == []  # correlated
    assert await waiting("inquiry", "whatever") == [(None, "i-start")]


async def test_who_called_whom_is_known(storage: Storage) -> None:
    await taken(storage, LINES)
    top = await asked(storage, lambda view: view.instances(Filter(process="order", parent=0)))
    assert len(top) == len(ORDERS)
    (child,) = await asked(storage, lambda view: view.instances(Filter(parent=ORDERS["waits"])))
    assert (child.process, child.root) == ("payment", ORDERS["waits"])
    family = await asked(storage, lambda view: view.instances(Filter(root=ORDERS["waits"])))
    assert [one.key for one in family] == [ORDERS["waits"], child.key]


async def test_definitions_come_with_their_name_and_model(storage: Storage) -> None:
    await taken(storage, LINES)
    found = await asked(storage, lambda view: view.processes())
    assert [(one.process, one.name, one.version) for one in found] == [
        ("inquiry", "An inquiry", 1), ("order", "An order", 1), ("payment", "A payment", 1),
    ]  # fmt: skip
    xml = await asked(storage, lambda view: view.xml(found[1].key))
    assert xml.startswith("<?xml") and 'id="await-paid"' in xml
    assert await asked(storage, lambda view: view.xml(7)) is None


async def test_pages_and_filters_of_instances(storage: Storage) -> None:
    await taken(storage, LINES)
    keys = sorted(ORDERS.values())

    async def found(wanted: Filter, **page: Any) -> list[int]:
        return [one.key for one in await asked(storage, lambda v: v.instances(wanted, **page))]

    orders = Filter(process="order")
    first = await found(orders, limit=4)
    second = await found(orders, limit=4, after=first[-1])
    assert [*first, *second, *await found(orders, limit=4, after=second[-1])] == keys
    assert await found(orders, newest_first=True, limit=2) == keys[:-3:-1]
    assert await found(orders, newest_first=True, limit=2, after=keys[-2]) == keys[-3:-5:-1]
    stuck = [ORDERS["stuck"], ORDERS["thrown"]]
    assert await found(Filter(incident=True)) == stuck
    assert await found(Filter(process="order", state="active", incident=False)) == [
        ORDERS["waits"], ORDERS["paid"], ORDERS["in hand"],
    ]  # fmt: skip
    assert await found(Filter(keys=(1, *stuck))) == stuck
    assert await found(Filter(keys=())) == []
    assert await found(Filter(variable=("order", '"b"'))) == [ORDERS["stuck"]]
    assert await asked(storage, lambda view: view.count(orders)) == len(keys)
    assert await found(Filter(process="order", version=2)) == []
    assert await found(orders, limit=-1) == []
    assert await asked(storage, lambda view: view.instance(7)) is None


async def test_counts_are_those_of_the_play(storage: Storage) -> None:
    await taken(storage, LINES)
    counts = {one.process: one for one in await asked(storage, lambda view: view.counts())}
    order = counts["order"]
    assert (order.live, order.started, order.completed, order.cancelled, order.failed) == (
        5, 9, 1, 3, 2,
    )  # fmt: skip
    payment = counts["payment"]
    assert (payment.live, payment.started, payment.completed) == (0, 3, 3)
    (only,) = await asked(storage, lambda view: view.counts("inquiry"))
    assert (only.live, only.started) == (1, 1)


@pytest.mark.parametrize("seed", range(8))
async def test_each_record_takes_effect_once_however_bulks_are_cut_and_repeated(
    storage: Storage, seed: int
) -> None:
    await taken(storage, LINES)
    wanted = await dump(storage)
    # The same again: nothing changes.
    assert (await taken(storage, LINES)).applied == 0
    assert await dump(storage) == wanted

    def forget(rows: Rows, _now_ms: int) -> None:
        for name in wanted:
            rows.execute(f"DELETE FROM sink_{name}")

    await storage.submit(forget)
    chance = random.Random(seed)
    told, done = pairs(), 0
    while done < len(told):
        begin = chance.randint(max(0, done - 40), done)  # what was not acknowledged comes again
        end = min(len(told), done + chance.randint(0, 60))
        await taken(storage, *chunks(b"".join(told[begin:end]), chance))
        done = end
        if chance.random() < 0.3:  # and one that was under way comes late
            await taken(storage, b"".join(told[:begin]))
    assert await dump(storage) == wanted, f"seed {seed}"


def chunks(data: bytes, chance: random.Random) -> Iterable[bytes]:
    while data:
        size = chance.choice((1, 7, 100, 5_000))
        yield data[:size]
        data = data[size:]


async def test_a_bulk_that_fails_leaves_nothing(storage: Storage) -> None:
    read = bulk(LINES)

    def fail(rows: Rows, now_ms: int) -> None:
        take(rows, ENGINE, read, now_ms)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await storage.submit(fail)
    assert not any((await dump(storage)).values())
    assert (await taken(storage, LINES)).repeated == 0


async def test_a_log_that_begins_anew_is_told_from_one_that_is_repeated(storage: Storage) -> None:
    await taken(storage, LINES)
    before = await dump(storage)
    # A broker with new data gives the same positions and keys again, at a later time.
    fresh = [altered(pair, timestamp=LATER_MS) for pair in pairs()]
    said = await taken(storage, *fresh[:60])
    assert said.anew == (1,)
    found = await asked(storage, lambda view: view.instances(Filter()))
    assert 0 < len(found) < len(ORDERS)
    assert {one.started_ms for one in found} == {LATER_MS}
    assert (await taken(storage, *fresh)).anew == ()
    after = await dump(storage)
    assert [row[1] for row in after["instance"]] == [row[1] for row in before["instance"]]
    # Those that the old log told of did begin, and end.
    (order,) = await asked(storage, lambda view: view.counts("order"))
    assert (order.started, order.completed, order.live) == (18, 2, 5)
    # What the old one had still under way is passed over.
    assert (await taken(storage, LINES)).applied == 0


async def test_an_engine_that_is_heard_of_late_is_known_from_there_on(storage: Storage) -> None:
    told = pairs()
    first = next(at for at, pair in enumerate(told) if b'"INCIDENT"' in pair)
    await taken(storage, *told[first:])
    stuck = await asked(storage, lambda view: view.instance(ORDERS["stuck"]))
    assert (stuck.process, stuck.state, stuck.started_ms) == ("order", "active", None)
    as_of = await asked(storage, lambda view: view.as_of)
    assert as_of.since_ms == json.loads(told[first].splitlines()[1])["timestamp"]


async def test_old_and_surplus_instances_are_swept_with_all_that_is_theirs(
    storage: Storage,
) -> None:
    await taken(storage, LINES)
    all_rows = await dump(storage)
    ended = [row for row in all_rows["instance"] if row[-1] is not None]
    assert len(ended) == 7

    async def swept(now_ms: int, **bounds: int) -> int:
        return await storage.submit(lambda rows, _now: sweep(rows, now_ms, **bounds))

    newest_ms = max(row[-1] for row in ended)
    assert await swept(newest_ms) == 0
    assert await swept(newest_ms, ended_max=5) == 2
    oldest = sorted(ended, key=lambda row: row[-1])[2:]
    assert await swept(oldest[0][-1] + 11, kept_ms=10) == 1
    left = {row[1] for row in (await dump(storage))["instance"] if row[-1] is not None}
    assert left == {row[1] for row in oldest[1:]}
    assert await swept(LATER_MS) == 4
    after = await dump(storage)
    assert all(row[-1] is None for row in after["instance"])
    assert {row[2] for row in after["variable"]} <= {row[1] for row in after["instance"]}
    assert after["tally"] == all_rows["tally"]
    assert await swept(LATER_MS) == 0
    # They are not met again when the exporter repeats itself.
    await taken(storage, LINES)
    assert await dump(storage) == after


async def test_one_sweep_removes_so_many_and_no_more(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SWEPT_MAX", 3)
    await taken(storage, LINES)
    removed = [await storage.submit(lambda rows, _now: sweep(rows, LATER_MS)) for _ in range(4)]
    assert removed == [3, 3, 1, 0]


JUNK = [
    b"\n", b"x\n", b"\xff\xfe\n", b"{}\n", b"[]\n", b"null\n", b"1e999\n", b"[" * 100_000 + b"\n",
    b'{"index":{}}\n', b'{"index":7}\n', b'{"valueType":"JOB"}\n', b'{"valueType":["JOB"]}\n',
    b'{"index":' + b"9" * 10_000 + b"}\n",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
async def test_junk_is_counted_and_passed_over(storage: Storage, seed: int) -> None:
    chance = random.Random(seed)
    told: list[bytes] = []
    for pair in pairs():
        action, _, record = pair.partition(b"\n")
        if chance.random() < 0.2:
            told.append(chance.choice(JUNK))
        if chance.random() < 0.2:
            value = json.loads(record)
            spoil(value if chance.random() < 0.3 else value["value"], chance)
            record = json.dumps(value).encode() + b"\n"
        if chance.random() < 0.05:
            at = chance.randrange(len(record))
            record = record[:at] + chance.choice((b"\n", b"\0", b"\xff", b"{")) + record[at + 1 :]
        told.append(action + b"\n" + record)
    said = await taken(storage, *chunks(b"".join(told), chance))
    assert said.junk > 0, f"seed {seed}"
    assert said.applied > 0, f"seed {seed}"
    await asked(storage, lambda view: (view.counts(), view.incidents(), view.jobs()))


def spoil(value: dict[str, Any], chance: random.Random) -> None:
    name = chance.choice(sorted(value))
    value[name] = chance.choice(
        [None, -1, 2**63, 2**64, -(2**70), 1.5, True, "", "\0", "\ud800", "x" * 9_000, [], {}, [{}]]
    )
    if chance.random() < 0.3:
        del value[name]


async def test_texts_that_no_database_keeps_are_mended(storage: Storage) -> None:
    pair = next(pair for pair in pairs() if b'"valueType":"VARIABLE"' in pair)
    value = json.loads(pair.splitlines()[1])["value"]
    value |= {"name": "a\0b\ud800c", "value": '"\ud83d\ude00"'}
    await taken(storage, altered(pair, value=value))
    (found,) = await asked(storage, lambda view: view.variables(value["processInstanceKey"]))
    assert found.name == "a\ufffdb?c"
    assert found.value == '"\U0001f600"'


def test_names_are_found_in_models() -> None:
    xml = '<d xmlns:b="x"><b:process id="a" name="A"/><b:process id="b" name="B &amp; C"/></d>'
    assert process_name(xml, "b") == "B & C"
    assert process_name(xml, "c") is None
    assert process_name(xml[:-9], "a") == "A"
    assert process_name("", "a") is None
    assert process_name("\ud800", "a") is None
    bomb = '<!DOCTYPE d [<!ENTITY e "' + "x" * 10_000 + '">]>' + xml
    assert process_name(bomb, "a") is None
    assert process_name('<process id="a"/>', "a") is None


async def test_sweeping_goes_on_when_the_storage_was_away(
    storage: Storage, autojump_clock: trio.testing.MockClock
) -> None:
    await taken(storage, LINES)
    failures = 2

    async def submit(command: Command[Any], /) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise StorageFailed("it is away")
        return await storage.submit(command)

    async with trio.open_nursery() as nursery:
        every: dict[Sweep, int] = {partial(sweep, kept_ms=0): store.SWEPT_MAX}
        nursery.start_soon(partial(keep_swept, submit, every))
        began_s = trio.current_time()
        while any(row[-1] is not None for row in (await dump(storage))["instance"]):  # noqa: ASYNC110 - nobody is told
            await trio.sleep(EVERY_S / 4)
        nursery.cancel_scope.cancel()
    assert failures == 0
    assert trio.current_time() - began_s >= 2 * EVERY_S
