"""What each worker SDK does when something goes wrong around it; as `worker_behaviour`."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.whole_gateway import answer, open_whole, open_wrong_engine
from tests.kafka_fixture import Kafka
from tests.patience import until
from tests.sdk.worker_behaviour import (
    JobsBus,
    a_thread,
    ended,
    failure_of,
    prefix_of,
    run_of,
    started,
)
from tests.sdk.worker_sdks import WAIT_S, Sdk

from gossamer_node.address import Address
from gossamer_node.local_engines.processes import free_ports

__all__ = [
    "test_a_gateway_may_go_and_come_back",
    "test_a_result_that_is_refused_is_a_failure",
    "test_a_stop_does_not_wait_for_ever",
    "test_handlers_fail_in_every_way_and_are_held_to_their_number",
    "test_junk_from_a_gateway_does_no_harm",
]

CONCURRENCY = 4
"""Of the conformance workers."""


@pytest.mark.kafka
def test_handlers_fail_in_every_way_and_are_held_to_their_number(
    sdk: Sdk, kafka: Kafka, jobs_bus: JobsBus
) -> None:
    bus, its = jobs_bus, prefix_of(sdk)
    with sdk.started((*sdk.conformance, its), GOSSAMER_KAFKA=kafka.address) as worker:
        worker.wait_said("ready: ")
        odd = bus.job(its + "odd", "gone")
        derived = bus.job(its + "derived", "no card")
        key = bus.job(its + "key", None)
        assert failure_of(bus.result(odd)) == (sdk.odd, "gone", True)
        assert failure_of(bus.result(derived)) == ("CardStolen", "no card", False)
        assert bus.result(key)["output"] == f"{key}:s"

        # On a busy machine one may end before the next has begun.
        most, work_ms = 0, 100
        while most < CONCURRENCY and work_ms < WAIT_S * 1_000:
            together = [bus.job(its + "together", work_ms) for _ in range(3 * CONCURRENCY)]
            most = max(bus.result(run)["output"] for run in together)
            work_ms *= 2
        assert most == CONCURRENCY

        # As many as may be at work hang for ever: others take their places, and a stop is quick.
        hung, due_s = 0, 1
        while hung < CONCURRENCY:
            hangs = [bus.job(its + "hang", None, due_s=due_s) for _ in range(CONCURRENCY - hung)]
            for run in hangs:
                code, message, retryable = failure_of(bus.result(run))
                assert (code, retryable) == ("Timeout", True)
                hung += "still at work" in message
            due_s *= 2  # for those whose time was over before they came to the worker
        assert bus.result(bus.job(its + "echo", "on"))["output"] == "on"
        assert worker.end() == sdk.ended


async def test_a_gateway_may_go_and_come_back(sdk: Sdk, tmp_path: Path) -> None:
    its = prefix_of(sdk)
    here = Address("127.0.0.1", *free_ports(1))
    with sdk.started((*sdk.conformance, its), GOSSAMER_URL=f"http://{here}") as worker:
        async with open_whole(tmp_path, http=here) as whole:
            await a_thread(partial(worker.wait_said, "ready: "))
            told = len(worker.said)  # it may have been there before the gateway
            slow = await run_of(whole, its, "slow", 1_000)
            once = {"maxAttempts": 1}
            hangs = await run_of(whole, its, "hang", None, timeoutMs=1_000, retry=once)
            await started(whole, slow)
            await started(whole, hangs)
        # Both end while nobody is there to be told.
        await a_thread(partial(worker.wait_said, "waiting"))
        async with open_whole(tmp_path, http=here) as whole:
            await a_thread(partial(worker.wait_said, "back"))
            view = await ended(whole, slow)
            assert (view["finalOutput"], view["stepResults"][0]["attempts"]) == (1_000, 1)
            assert (await ended(whole, hangs))["error"]["code"] == "Timeout"
            after = await run_of(whole, its, "echo", "after")
            assert (await ended(whole, after))["finalOutput"] == "after"
            assert await a_thread(worker.end) == sdk.ended
    assert sum("waiting" in line for line in worker.said[told:]) == 1, worker.said


async def test_a_stop_does_not_wait_for_ever(sdk: Sdk, tmp_path: Path) -> None:
    its = prefix_of(sdk)
    async with open_whole(tmp_path) as whole:
        given = {"GOSSAMER_URL": whole.gateway.url, "CONFORMANCE_GRACE_MS": "200"}
        with sdk.started((*sdk.conformance, its), **given) as worker:
            await a_thread(partial(worker.wait_said, "ready: "))
            hangs = await run_of(whole, its, "hang", None)
            await a_thread(partial(worker.wait_said, "hangs"))
            assert await a_thread(worker.end) == sdk.ended
            await a_thread(partial(worker.wait_said, "stopped with jobs at work"))
        # Its lock was for half a minute; others are given the job at once.
        asked = {"actions": [its + "hang"], "worker": "another", "waitMs": 10_000}
        found = (await whole.http.post("/workflow/jobs/fetch", json=asked)).json()["jobs"]
        assert [(one["run"], one["attempt"]) for one in found] == [(hangs, 1)]


async def test_junk_from_a_gateway_does_no_harm(sdk: Sdk) -> None:
    its = prefix_of(sdk)
    job = {
        "run": "r", "workflow": "w", "step": "s", "attempt": 1, "action": its + "echo",
        "payload": 1, "key": "k", "dueMs": 1,
    }  # fmt: skip
    junk: list[Any] = [7, {"run": ""}, {**job, "attempt": "1"}, {**job, "action": "another's"}]
    async with open_wrong_engine(b"junk\r\n\r\n") as gateway:
        with sdk.started((*sdk.conformance, its), GOSSAMER_URL=gateway.url) as worker:
            await a_thread(partial(worker.wait_said, "waiting"))
            for says in (answer(b"{junk"), answer(b"[]"), answer(b"", status="302 Found")):
                gateway.says, before = says, len(gateway.asked)
                await until(lambda before=before: len(gateway.asked) > before)  # type: ignore[misc]
            gateway.says = answer(json.dumps({"jobs": junk}).encode())
            await a_thread(partial(worker.wait_said, "back"))
            gateway.says = None  # the next question stays open
            for _ in junk:
                await a_thread(partial(worker.wait_said, "gave what is no job"))
            assert await a_thread(worker.end) == sdk.ended


def test_a_result_that_is_refused_is_a_failure(sdk: Sdk) -> None:
    its = prefix_of(sdk)
    with (
        strict_gateway(its + "echo", ["poison", "sound", "sound"]) as gateway,
        sdk.started((*sdk.conformance, its), GOSSAMER_URL=gateway.url) as worker,
    ):
        worker.wait_said("does not take the result of")
        assert gateway.done.wait(WAIT_S)
        assert worker.end() == sdk.ended
    failure = gateway.taken.pop("0")["failure"]
    assert (failure["code"], failure["retryable"]) == ("Refused", False)
    assert "poison, it says" in failure["message"]
    assert [one["output"] for one in gateway.taken.values()] == ["sound", "sound"]


class StrictGateway:
    """One that a gateway of another version might be: it refuses what this one takes.

    Attributes:
        taken: results by their runs.
        done: when all jobs have one.
    """

    def __init__(self, url: str, jobs: int) -> None:
        self.url = url
        self.taken: dict[str, Any] = {}
        self.jobs = jobs
        self.done = threading.Event()
        self.closing = threading.Event()


@contextmanager
def strict_gateway(action: str, payloads: list[str]) -> Iterator[StrictGateway]:
    due_ms = round((time.time() + 120) * 1000)
    waiting = [
        {
            "run": str(number), "workflow": "w", "step": "s", "attempt": 1, "action": action,
            "payload": payload, "key": f"{number}:s", "dueMs": due_ms,
        }
        for number, payload in enumerate(payloads)
    ]  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/fetch"):
                given, waiting[:] = waiting[: body["max"]], waiting[body["max"] :]
                if not given:
                    gateway.closing.wait(body["waitMs"] / 1000)
                self._answer(200, {"jobs": given})
            elif any(one.get("output") == "poison" for one in body["results"]):
                self._answer(400, {"detail": "poison, it says"})
            else:
                gateway.taken |= {one["run"]: one for one in body["results"]}
                if len(gateway.taken) == gateway.jobs:
                    gateway.done.set()
                self._answer(200, {"results": []})

        def _answer(self, status: int, said: Any) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway = StrictGateway(f"http://127.0.0.1:{server.server_port}", len(waiting))
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who goes away may
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield gateway
        finally:
            gateway.closing.set()
            server.shutdown()
            serving.join()
