"""Polls around a gateway's stop and start, and what is remembered of who asked."""

from pathlib import Path

import httpx
import trio
from tests.runs.worlds import Opens

from gossamer_gateway import tables
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.jobs.asked import QUEUES_MAX, WRITE_MS, Asked
from gossamer_gateway.runs.jobs.polls import Polls
from gossamer_gateway.storage import SqlitePlace, open_storage


async def test_what_was_locked_for_who_left_in_that_moment_is_free(
    opens: Opens, tmp_path: Path
) -> None:
    """The look of a poll is never cut off: it ends, and gives back what it brought."""
    async with opens(tmp_path) as world:
        await world.define("flow", {"action": "a"})
        await world.trigger("flow")
        workflows = Asked(world.whole.gateway.desk.storage)
        engine = Engine(world.whole.gateway.desk.storage)
        polls = Polls(engine, workflows)
        with trio.CancelScope() as scope:
            scope.cancel()
            await polls._look("gone", ["a"], 1, 3_600_000)
        assert scope.cancelled_caught
        (job,) = await world.fetch("a")
        assert job["step"] == "a"


async def test_who_waits_is_answered_when_the_gateway_stops(opens: Opens, tmp_path: Path) -> None:
    answered: list[httpx.Response] = []

    async def wait(http: httpx.AsyncClient) -> None:
        body = {"actions": ["a"], "worker": "w", "waitMs": 60_000}
        answered.append(await http.post("/workflow/jobs/fetch", json=body))

    async with trio.open_nursery() as nursery, opens(tmp_path) as world:
        http = httpx.AsyncClient(base_url=world.whole.gateway.url, timeout=60)
        nursery.start_soon(wait, http)
        await world.waits(1)
    assert [(one.status_code, one.json()) for one in answered] == [(200, {"jobs": []})]
    await http.aclose()


async def test_what_is_asked_for_is_known_after_a_restart(opens: Opens, tmp_path: Path) -> None:
    async with opens(tmp_path) as world:
        await world.define("flow", {"action": "a"}, {"action": "b"})
        await world.fetch("a", "b")
    async with opens(tmp_path) as world:
        run = await world.run(await world.trigger("flow"))
        assert [one["notice"] for one in run["stepResults"]] == [None]


async def test_what_is_asked_for_is_written_now_and_then() -> None:
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        asked = Asked(storage)
        assert asked.note(["a", "b"], WRITE_MS) == ["a", "b"]
        assert asked.note(["a"], 2 * WRITE_MS - 1) == []
        assert asked.note(["a", "b"], 2 * WRITE_MS) == ["a", "b"]
        assert (await asked.last(["a", "c"])) == {"a": 2 * WRITE_MS}
        asked.note((str(number) for number in range(QUEUES_MAX)), 3 * WRITE_MS)
        assert (await asked.last(["a"])) == {}
