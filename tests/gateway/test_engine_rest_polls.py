"""Long polls of Camunda 7's clients: who goes away, who is many; junk, and an engine that is not
there."""

import json
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from tests.gateway.ahead import Ahead
from tests.gateway.compatibility import endpoints_of
from tests.gateway.seven_stage import NEW, OLD, SMALL, Stage, new, old, open_stage, small
from tests.patience import patience, until

from gossamer_gateway.engine_rest.ids import name_of

CLIENTS = 300
"""Camunda 7 itself answers 500 past 200."""
REPLICAS = 10
"""Clients that call themselves the same."""
JOBS = 12
END_S = 300.0
"""So many connections at once take a busy machine a minute."""
WAIT_MS = 600_000


@pytest.mark.camunda7
@pytest.mark.zeebe
@pytest.mark.usefixtures("short_polls")
@pytest.mark.parametrize("engine", [OLD, SMALL, NEW])
async def test_a_client_that_goes_leaves_no_job_locked(
    camunda7_url: str, embedded_url: str, zeebe_url: str, engine: str
) -> None:
    async with open_stage(old(camunda7_url), small(embedded_url), new(zeebe_url)) as stage:
        await stage.deploy()
        before = stage.gate.desk.polling.statistics
        await leave(stage, "goes", lambda: before()["waiting"] == 1 and before()["open"] >= 3)
        await until(lambda: before()["waiting"] == 0)
        started = await stage.start(engine)
        with patience():
            (task,) = await stage.fetch("stays")
        assert task["processInstanceId"] == started["id"]
        assert (await stage.settle(task, "complete", "stays")).status_code == 204


async def leave(stage: Stage, worker: str, there: Callable[[], bool]) -> None:
    """Asks for a task as that worker, and closes the connection while it waits."""
    parts = urlsplit(stage.gate.url)
    assert parts.hostname and parts.port
    body = json.dumps(stage.wish(worker, 1, 60_000)).encode()
    stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    head = (
        "POST /engine-rest/external-task/fetchAndLock HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await stream.send_all(head.encode() + body)
    await until(there)
    await stream.aclose()


@pytest.mark.camunda7
@pytest.mark.zeebe
async def test_many_wait_at_once(camunda7_url: str, zeebe_url: str, ahead: Ahead) -> None:
    """Each job goes to one of them, and the others hear in time that there is none."""
    answers: list[httpx.Response] = []
    async with (
        open_stage(old(camunda7_url), new(zeebe_url)) as stage,
        httpx.AsyncClient(
            base_url=f"{stage.gate.url}/engine-rest", timeout=600, limits=httpx.Limits()
        ) as many,
    ):
        await stage.deploy()

        async def ask(number: int) -> None:
            wish = stage.wish(f"w{number // REPLICAS}", 1, WAIT_MS)
            answers.append(await many.post("/external-task/fetchAndLock", json=wish))

        with patience(END_S):
            async with trio.open_nursery() as nursery:
                for number in range(CLIENTS):
                    nursery.start_soon(ask, number)
                waiting = stage.gate.desk.polling.statistics
                await until(lambda: waiting()["waiting"] == CLIENTS, END_S)
                for number in range(JOBS):
                    await stage.start(OLD if number % 2 else NEW)
                await until(lambda: len(answers) == JOBS, END_S)
                ahead(stage.gate.desk.polling, WAIT_MS)
            refused = {a.text[:300]: 1 for a in answers if a.status_code != 200}
            assert not refused, "".join(refused)
            tasks = [task for answer in answers for task in answer.json()]
        assert max(Counter(task["id"] for task in tasks).values()) == 1
        assert len(tasks) == JOBS and len(answers) == CLIENTS


JUNK = (
    b"", b"{", b"[]", b"1", b"null", b'{"workerId": 5}', b'{"workerId":"w","topics":{}}',
    b'{"workerId":"w","maxTasks":1,"topics":[{"topicName":"t","lockDuration":1e99}]}',
    b'{"workerId":"w","variables":[1]}', b'{"workerId":"w","variables":{"a":{"type":"Long",'
    b'"value":"x"}}}', b'{"workerId":"\\ud800"}', b'{"workerId":"\\u0000","newDuration":5}',
    b'{"variables":{"":{"value":1}}}', b'{"workerId":"w","retries":-1,"retryTimeout":-5}',
    b'{"messageName":"m","correlationKeys":{"a":{"value":[]}}}', b'{"a":NaN}', b"[" * 100_000,
    b'{"sorting":[1]}', b'{"processInstanceIds":{}}', b'{"instructions":[{"type":"x"}]}', b"\xff",
)  # fmt: skip


async def test_junk_is_refused_and_a_silent_engine_is_unavailable() -> None:
    """No engine answers here, so what is not refused is unavailable; nothing is our mistake."""
    nowhere = "http://127.0.0.1:9"
    async with open_stage(old(f"{nowhere}/engine-rest"), new(nowhere)) as stage:
        eight = stage.gate.desk.engines.eight
        assert eight is not None
        ours = name_of(eight, 2**51 + 1)
        seen: Counter[int] = Counter()
        for endpoint in endpoints_of("engine_rest"):
            method, path = endpoint.replace("anything else", "POST /some/thing").split()
            for id in (ours, f"p:1:{ours}", "nope"):
                for data in JUNK if id == ours else JUNK[:1]:
                    answer = await stage.http.request(
                        method,
                        path.replace("{id}", id).replace("{key}", "p"),
                        content=data if method in ("POST", "PUT") else None,
                        headers={"content-type": "application/json"},
                    )
                    seen[answer.status_code] += 1
                    told = (endpoint, id, data[:100], answer.text)
                    assert answer.status_code in (200, 204, 400, 404, 415, 501, 503), told
                    if answer.status_code >= 400:
                        assert set(answer.json()) == {"type", "message", "code"}, told
                    assert answer.status_code != 503 or "retry-after" in answer.headers, told
        assert seen[400] and seen[404] and seen[503]
        for params in ({"firstResult": "x"}, {"maxResults": "-1"}, {"locked": "maybe"}):
            answer = await stage.get("/external-task", params=params)
            assert answer.status_code in (400, 503)
        large = await stage.post("/message", content=b" " * (17 * 2**20))
        assert large.status_code == 413
