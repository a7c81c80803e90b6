"""The bridge from the log of events to pages: where one begins and what it is sent; and nothing is
missed or given twice, however often it comes again."""

import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
from tests.patience import patience, until
from tests.runs.live_world import LiveWorld, open_live
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.runs.live import bridge, frames, socket
from gossamer_gateway.runs.live.asked import Filter, Wanted
from gossamer_gateway.runs.live.frames import Batch, Seen
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.storage import Rows
from gossamer_gateway.v1 import streams

MESSAGE_BYTES_MAX = 16 * 2**20


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LiveWorld]:
    async with open_live(tmp_path) as made:
        yield made


@asynccontextmanager
async def following(
    world: LiveWorld, query: str = "", key: str = "", **more: Any
) -> AsyncIterator[WebSocketConnection]:
    url = world.url.replace("http", "ws") + f"/workflow/events?{query}"
    offered = ["gossamer", *([f"gossamer.bearer.{key}"] if key else [])]
    async with open_websocket_url(
        url, subprotocols=offered, max_message_size=MESSAGE_BYTES_MAX, **more
    ) as connection:
        assert connection.subprotocol == "gossamer"
        yield connection
    await connection._stream.aclose()  # trio-websocket forgets it where the server closes


async def frame(connection: WebSocketConnection) -> Any:
    with patience():
        return json.loads(await connection.get_message())


async def until_live(connection: WebSocketConnection) -> tuple[list[Any], str]:
    """Events up to now, and the cursor from which they go on."""
    events: list[Any] = []
    while True:
        told = await frame(connection)
        if told["kind"] == "live":
            return events, told["cursor"]
        assert told["kind"] == "events", told
        events += told["events"]


async def some(connection: WebSocketConnection, count: int) -> tuple[list[Any], str]:
    """So many events at least, and the cursor behind them."""
    events: list[Any] = []
    cursor = ""
    while len(events) < count:
        told = await frame(connection)
        if told["kind"] == "events":
            events += told["events"]
            cursor = told["cursor"]
    return events, cursor


def names(events: list[Any]) -> list[tuple[str, int]]:
    return [(one["run"], one["seq"]) for one in events]


JUNK = (
    b"junk",
    b"",
    b"[]",
    b'{"kind": "\xff"}',
    b'{"kind": 5}',
    b'{"kind":\n"run.started"}',
    b"{" * 999,
)


async def test_what_is_no_event_is_passed_over(world: LiveWorld) -> None:
    def write(rows: Rows, _: int) -> None:
        rows.executemany(
            "INSERT INTO workflow_events (run, seq, data) VALUES ('junk', ?, ?)",
            list(enumerate(JUNK)),
        )

    async with following(world) as page:
        await until_live(page)
        await world.engine._storage.submit(write)
        run = await world.trigger("hello")
        assert names((await some(page, 4))[0]) == [(run, seq) for seq in range(1, 5)]
    async with following(world, "from=start") as page:
        assert names((await until_live(page))[0]) == [(run, seq) for seq in range(1, 5)]


async def test_a_page_begins_now_or_at_a_runs_beginning_or_at_the_start(world: LiveWorld) -> None:
    before = await world.an_order({"amount": 3})
    history = [json.loads(e.encode(one)) for one in await world.engine.history(before)]
    async with (
        following(world) as now,
        following(world, f"from=run:{before}&run={before}") as of_run,
        following(world, "from=start") as start,
    ):
        assert (await until_live(now))[0] == []
        assert (await until_live(of_run))[0] == history
        assert (await until_live(start))[0] == history
        other = await world.trigger("hello", "you")
        await world.done(before, "ship")
        for connection, runs in (
            (now, {before, other}),
            (start, {before, other}),
            (of_run, {before}),
        ):
            events, cursor = await some(connection, 5 if len(runs) > 1 else 2)
            assert {one["run"] for one in events} == runs and cursor
        assert names(events) == [(before, len(history) + 1), (before, len(history) + 2)]


async def test_frames_name_the_workflow_of_each_run(world: LiveWorld) -> None:
    run = await world.trigger("hello")
    world.bridge._known.clear()  # as on another gateway, or after a restart
    async with following(world) as connection:
        await until_live(connection)
        await world.done(run, "greet")
        told = await frame(connection)
        assert told["workflows"] == {run: "hello"} and told["events"][0]["kind"] == "step.completed"


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("kind=attempt.*", {"attempt.started", "attempt.failed"}),
        ("kind=step.failover&kind=retry.*", {"step.failover", "retry.scheduled"}),
        ("status=Completed&status=Pending", {"run.triggered", "run.completed"}),
        ("workflow=ord*&kind=run.*", {"run.triggered", "run.started", "run.completed"}),
        ("workflow=other", set()),
    ],
)
async def test_filters_are_the_servers_and_the_cursor_goes_on(
    world: LiveWorld, query: str, kinds: set[str]
) -> None:
    async with following(world, query) as connection, following(world) as all_of_it:
        _, began = await until_live(connection)
        await until_live(all_of_it)
        run = await world.an_order()
        await world.done(run, "ship")
        everything: list[Any] = []
        while not everything or everything[-1]["kind"] != "run.completed":
            events, ended = await some(all_of_it, 1)
            everything += events
        wanted = [one for one in everything if one["kind"] in kinds]
        events = (await some(connection, len(wanted)))[0] if wanted else []
        assert events == wanted and {one["kind"] for one in events} == kinds
        # What was filtered is not read again by who comes back.
        page = next(one for one in world.bridge._pages if one._filter != Filter())
        await until(lambda: page.cursor == ended)
        assert ended != began


async def test_coming_again_misses_nothing_and_doubles_nothing(world: LiveWorld) -> None:
    """Cut at random, from each kind of beginning, while runs go on."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    written = 60
    got: dict[str, list[tuple[str, int]]] = {}
    is_written = False

    async def write() -> None:
        nonlocal is_written
        for _ in range(written):
            await world.done(await world.trigger("hello", "x"), "greet")
        is_written = True

    async def read(name: str, query: str) -> None:
        events = got[name] = []
        cursor = ""
        while len(events) < written * 6:
            begin = f"from={cursor}" if cursor else "from=start"
            async with following(world, f"{begin}&{query}") as connection:
                for _ in range(chance.randrange(1, 8)):
                    told = await frame(connection)
                    cursor = told["cursor"]
                    events += names(told.get("events", []))
                    if len(events) >= written * 6:
                        break

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        for index in range(4):
            nursery.start_soon(read, f"page {index}", "workflow=h*" if index % 2 else "")
    assert is_written
    stored = {(one, seq) for one in {run for run, _ in got["page 0"]} for seq in range(1, 7)}
    assert len(stored) == written * 6
    for events in got.values():
        assert len(events) == len(set(events)) and set(events) == stored
        for run in {one for one, _ in events}:
            numbers = [seq for one, seq in events if one == run]
            assert numbers == sorted(numbers)


async def test_a_runs_history_and_what_happens_meanwhile_are_one(world: LiveWorld) -> None:
    """Whoever begins at a run's beginning while it goes on is given each event once, in order."""
    run = await world.trigger("order")

    async def go_on() -> None:
        await world.done(run, "reserve")
        await world.done(run, "pack")
        await world.done(run, "pay")
        await world.done(run, "label")
        await world.done(run, "ship")

    async with following(world) as other:
        await until_live(other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            for _ in range(10):
                async with following(world, f"from=run:{run}&run={run}") as connection:
                    events, _ = await until_live(connection)
                    while events[-1]["kind"] != "run.completed":
                        events += (await some(connection, 1))[0]
                    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize(
    ("query", "status", "about"),
    [
        ("from=yesterday", 400, "no cursor"),
        ("from=run:none", 404, "no run none"),
        ("from=run:", 400, "needs a run's id"),
        ("what=1", 400, "no parameter 'what'"),
        ("status=Done", 400, "Pending, Running"),
        ("kind=", 400, "1 to 256"),
        ("&".join(["run=x"] * 101), 400, "more than 100"),
        ("from=now&from=start", 400, "twice"),
    ],
)
async def test_what_cannot_be_is_refused_in_a_sentence(
    world: LiveWorld, query: str, status: int, about: str
) -> None:
    async with following(world, query) as connection:
        told = await frame(connection)
        assert (told["kind"], told["status"]) == ("refused", status) and about in told["detail"]
        with pytest.raises(ConnectionClosed) as closed:
            await connection.get_message()
        assert closed.value.reason and closed.value.reason.code == socket.POLICY


async def server_sent(
    world: LiveWorld, last: str | None = None
) -> AsyncGenerator[dict[str, str], None]:
    """Fields of each event, up to the one that says that it is live."""
    host, port = world.url.removeprefix("http://").split(":")
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", f"{host}:{port}"), ("Accept", "text/event-stream")]
    headers += [("Last-Event-ID", last)] if last else []
    request = h11.Request(method="GET", target="/workflow/events?from=start", headers=headers)
    text = ""
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(connection.send(request) or b"")
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Response):
                assert (b"content-type", b"text/event-stream") in event.headers
            elif isinstance(event, h11.Data):
                *whole, text = (text + bytes(event.data).decode()).split("\n\n")
                for one in whole:
                    fields = dict(line.split(": ", 1) for line in one.split("\n"))
                    yield fields
                    if json.loads(fields["data"])["kind"] == "live":
                        return


async def test_server_sent_events_have_the_same_frames(world: LiveWorld) -> None:
    """Also for who comes back as a browser's EventSource does."""
    first = await world.trigger("hello")
    with patience():
        async with aclosing(server_sent(world)) as told:
            events, live = [one async for one in told]
        assert names(json.loads(events["data"])["events"]) == [(first, n) for n in (1, 2, 3, 4)]
        assert live["id"] == json.loads(live["data"])["cursor"] == events["id"]
        async with aclosing(server_sent(world, events["id"])) as told:
            assert [json.loads(one["data"])["kind"] async for one in told] == ["live"]
    refused = await world.whole.http.get("/workflow/events?from=run:")
    assert refused.status_code == 400 and "needs a run's id" in refused.json()["detail"]
    plain = await world.whole.http.get("/workflow/events", headers={"Accept": "text/html"})
    assert plain.status_code == 406


async def test_who_reads_too_slowly_is_told_and_comes_again_from_there(
    world: LiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "WAITING_BYTES_MAX", 200_000)
    events: list[Any] = []
    async with following(world, message_queue_size=1) as slow:
        _, cursor = await until_live(slow)
        async with trio.open_nursery() as nursery:
            # All at once: who reads nothing for long is cut off without a word.
            for _ in range(600):
                nursery.start_soon(world.trigger, "hello", "x" * 10_000)
        written, _ = await world.engine.log.read(await world.engine.log.start(), 10_000)
        assert len(written) == 4 * 600
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                told = await frame(slow)
                if told["kind"] == "events":
                    cursor = told["cursor"]
                    events += names(told["events"])
                elif told["kind"] == "behind":
                    assert told["cursor"] == cursor
        assert closed.value.reason and closed.value.reason.code == 1013 and told["kind"] == "behind"
    assert len(events) < len(written)
    async with following(world, f"from={cursor}") as again:
        events += names((await until_live(again))[0])
    assert events == [(one.run, one.seq) for one in written]


async def test_an_event_with_a_large_value_goes_without_it(world: LiveWorld) -> None:
    async with following(world) as connection:
        await until_live(connection)
        await world.trigger("hello", "x" * frames.EVENT_BYTES_MAX)
        (triggered, *_), _ = await some(connection, 1)
        assert triggered["cut"] == ["input"] and "input" not in triggered
        assert triggered["workflow"] == "hello"


async def test_a_quiet_log_is_heard_of(world: LiveWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "QUIET_S", 0.05)
    async with following(world, "kind=none") as connection:
        await until_live(connection)
        told = await frame(connection)
        assert told["kind"] == "quiet" and told["cursor"]


async def test_the_door_asks_who_it_is_and_for_which_workflows(tmp_path: Path) -> None:
    keys = {
        "reader": [Grant(Role.READ)],
        "clerk": [Grant(Role.READ, processes=("order",))],
        "worker": [Grant(Role.WORK)],
    }
    async with open_live(tmp_path, keys=keys) as world:
        known = world.whole.keys
        assert (await world.whole.http.get("/workflow/events")).status_code == 401
        assert (await world.whole.http.get("/live/")).status_code == 200
        for name in ("clerk", "worker"):
            headers = {"X-API-Key": known[name]}
            told = await world.whole.http.get("/workflow/events", headers=headers)
            assert told.status_code == 403, name
        async with following(world, "", known["reader"]) as connection:
            await until_live(connection)
        async with following(world, "workflow=order", known["clerk"]) as connection:
            await until_live(connection)
            await world.trigger("hello")
            run = await world.trigger("order")
            (first, *_), _ = await some(connection, 1)
            assert first["run"] == run
        for query in ("", "workflow=hello", "workflow=o*", "workflow=order&workflow=hello"):
            async with following(world, query, known["clerk"]) as connection:
                assert (await frame(connection))["status"] == 403


async def test_pages_of_one_filter_share_their_frames() -> None:
    """A hundred pages cost the writing of one frame."""
    made = 0

    class Counting(list[Seen]):
        def __iter__(self) -> Any:
            nonlocal made
            made += 1
            return super().__iter__()

    data = e.encode(e.RunStarted("r", 2, 1))
    batch = Batch(Counting([Seen("r", 2, "run.started", "w", "Running", data)]), "c")
    pages = [bridge.Queue(Filter()) for _ in range(100)]
    for one in pages:
        one.begin("b", {}, "b")
        one.put(batch)
    texts = [await one.next(None) for one in pages]  # type: ignore[arg-type]
    assert all(one is texts[0] for one in texts) and made == 2  # the workflows, and the events


async def test_only_so_many_follow(world: LiveWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "PAGES_MAX", 1)
    async with following(world) as first:
        await until_live(first)
        async with following(world) as second:
            told = await frame(second)
            assert told["status"] == 503 and "come later" in told["detail"]
    await until(lambda: not world.bridge.is_full())  # that the first has left is heard of later
    async with following(world) as third:
        await until_live(third)


async def test_nobody_reads_the_log_while_nobody_follows(world: LiveWorld) -> None:
    async with following(world) as connection:
        await until_live(connection)
    await until(lambda: not world.bridge.pages)
    await world.trigger("hello")
    # What was read when the last one left is given up with the next event.
    await until(lambda: not world.bridge._ready.is_set())
    async with following(world) as connection:
        assert (await until_live(connection))[0] == []
        run = await world.trigger("hello")
        assert (await some(connection, 4))[0][0]["run"] == run
    assert Wanted("now", Filter()).run is None
