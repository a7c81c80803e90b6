"""Jobs over HTTP: who waits gets them, who goes away loses nothing, and each is one worker's."""

import socket
from typing import Any

import pytest
import trio
from tests.runs.worlds import World, completed

from gossamer_gateway.runs import offers
from gossamer_gateway.runs.jobs import polls as polls_module


async def test_a_worker_that_waits_is_woken(world: World) -> None:
    await world.define("flow", {"action": "a"})
    jobs: list[Any] = []

    async def wait() -> None:
        jobs.append(await world.job("a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await world.waits(1)
        id = await world.trigger("flow", {"amount": 1})
    (job,) = jobs
    assert (job["run"], job["workflow"], job["step"], job["attempt"]) == (id, "flow", "a", 1)
    assert (job["payload"], job["key"], job["action"]) == ({"amount": 1}, f"{id}:a", "a")
    assert job["lockedMs"] < job["dueMs"]


async def test_many_that_wait_share_what_comes(world: World) -> None:
    await world.define("flow", {"action": "a"})
    got: list[str] = []

    async def wait(worker: str) -> None:
        job = await world.job("a", worker=worker)
        got.append(job["run"])

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(wait, f"w{number}")
        await world.waits(20)
        runs = [await world.trigger("flow") for _ in range(20)]
    assert sorted(got) == sorted(runs)


async def test_a_poll_ends_with_nothing_in_its_time(world: World) -> None:
    assert await world.fetch("a") == []
    assert await world.fetch("a", waitMs=50) == []


async def test_a_client_that_goes_away_locks_nothing(world: World) -> None:
    await world.define("flow", {"action": "a"})
    host, _, port = world.whole.gateway.url.removeprefix("http://").partition(":")
    body = b'{"actions":["a"],"worker":"gone","waitMs":60000,"lockMs":3600000}'
    head = (
        f"POST /workflow/jobs/fetch HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    stream = await trio.open_tcp_stream(host, int(port))
    await stream.send_all(head.encode() + body)
    await world.waits(1)
    # A reset: the connection is gone at once, as when a process is killed.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()
    await world.waits(0)
    await world.trigger("flow")
    assert (await world.job("a", worker="next"))["attempt"] == 1


async def test_a_lock_that_runs_out_frees_its_job(world: World) -> None:
    await world.define("flow", {"action": "a"})
    await world.trigger("flow")
    first = await world.job("a", worker="slow", lockMs=100)
    second = await world.job("a", worker="quick")
    assert (first["run"], first["attempt"]) == (second["run"], second["attempt"])
    assert await world.complete(second, "quick") == "taken"
    assert await world.complete(first, "slow") == "repeated"
    assert (await world.run(first["run"]))["finalOutput"] == "quick"


async def test_a_lock_is_extended_by_its_worker_alone(world: World) -> None:
    await world.define("flow", {"action": "a"})
    await world.trigger("flow")
    job = await world.job("a", lockMs=100)
    one = {name: job[name] for name in ("run", "step", "attempt")}

    async def extended(worker: str) -> Any:
        told = await world.http.post(
            "/workflow/jobs/extend", json={"worker": worker, "lockMs": 60_000, "jobs": [one]}
        )
        assert told.status_code == 200
        (found,) = told.json()["jobs"]
        return found["lockedMs"]

    assert await extended("other") is None
    assert await extended("w") > job["lockedMs"]
    assert await world.fetch("a", worker="other", waitMs=200) == []
    await world.complete(job)
    assert await extended("w") is None


async def test_each_result_has_its_verdict(world: World) -> None:
    await world.define("flow", {"action": "a", "timeoutMs": 60_000}, {"action": "b"})
    id = await world.trigger("flow")
    job = await world.job("a")
    done = completed(job, 1)
    strange = [done | {"run": "nobody"}, done | {"step": "c"}, done | {"attempt": 2}]
    assert await world.give(*strange) == ["unknown"] * 3
    assert await world.give(done, done) == ["taken", "repeated"]
    await world.step(id, "b", "Running")
    await world.http.post(f"/workflow/run/{id}/cancel")
    late = completed({"run": id, "step": "b", "attempt": 1}, 2)
    assert await world.give(late, late) == ["late", "repeated"]


async def test_an_answer_is_bounded_and_the_rest_is_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "FETCH_BYTES_MAX", 2_500_000)
    await world.define("flow", {"action": "a"})
    for _ in range(3):
        await world.trigger("flow", "x" * 1_000_000)
    assert len(await world.fetch("a", worker="one")) == 2
    monkeypatch.setattr(offers, "FETCH_BYTES_MAX", 1)
    assert len(await world.fetch("a", worker="two")) == 1


async def test_too_many_that_wait_are_told_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls_module, "WAITING_MAX", 0)
    body = {"actions": ["a"], "worker": "w", "waitMs": 1_000}
    told = await world.http.post("/workflow/jobs/fetch", json=body)
    assert (told.status_code, told.headers["retry-after"]) == (503, "1")
    assert told.headers["content-type"] == "application/problem+json"
