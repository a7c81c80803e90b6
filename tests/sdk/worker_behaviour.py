"""What every worker SDK does, on a real Kafka and with a real gateway. Modules of tests import it.

Each test has actions of its own (a prefix), and so groups of its own: what one leaves in the topic
is passed over by the others.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
import trio
from confluent_kafka import Consumer, Producer
from tests.gateway.whole_gateway import Whole, open_whole
from tests.kafka_fixture import Kafka
from tests.patience import TICK_S, seen
from tests.sdk.worker_sdks import WAIT_S, Sdk, looks_of

from gossamer_gateway.runs.config import KafkaConfig, WorkflowsConfig
from gossamer_gateway.runs.kafka.bus import headers_of
from gossamer_gateway.runs.kafka.topics import JOBS, JOBS_DEAD, RESULTS, make_topics, topics
from gossamer_node.address import Address

__all__ = [
    "jobs_bus",
    "test_a_broker_may_go_and_come_back",
    "test_a_stop_ends_what_has_begun_and_leaves_the_rest",
    "test_its_licence_is_that_of_all",
    "test_its_own_tests",
    "test_the_guide_shows_the_secured_example",
    "test_the_readme_shows_the_example",
    "test_the_seed_s_workflow_over_http",
    "test_the_seed_s_workflow_over_kafka",
    "test_what_becomes_of_jobs_over_http",
    "test_what_becomes_of_jobs_over_kafka",
    "test_without_a_gateway_it_waits",
]

OUTPUT_BYTES_MAX = 1_048_576

T = TypeVar("T")


class JobsBus:
    """The gateway's side of the topics, by hand."""

    def __init__(self, address: str) -> None:
        settings = {"bootstrap.servers": address, "message.max.bytes": 8 << 20, "log_level": 0}
        self._producer = Producer(settings)
        settings = {
            "bootstrap.servers": address,
            "group.id": uuid4().hex,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
        self._consumer = Consumer(settings)
        self._consumer.subscribe([RESULTS, JOBS_DEAD])
        self.results: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.dead: list[tuple[bytes | None, dict[str, bytes]]] = []

    def job(
        self, action: str, payload: Any, *, run: str = "", attempt: int = 1, due_s: float = 120
    ) -> str:
        """Sends a job; gives its run."""
        run = run or uuid4().hex
        value = {
            "form": 1, "run": run, "workflow": "w", "step": "s", "attempt": attempt,
            "action": action, "payload": payload, "key": f"{run}:s",
            "dueMs": round((time.time() + due_s) * 1000),
        }  # fmt: skip
        self.message(action, run, json.dumps(value).encode())
        return run

    def message(self, action: str, key: str, *values: bytes) -> None:
        for value in values:
            self._producer.produce(JOBS, value, key, headers={"action": action.encode()})
        assert self._producer.flush(WAIT_S) == 0

    def wait(self, is_so: Callable[[], bool]) -> None:
        """Reads what comes until something is so."""
        looks = looks_of(WAIT_S)
        while not is_so():
            message = self._consumer.poll(TICK_S)
            if message is None or message.error() is not None:
                assert next(looks, None) is not None, dict(self.results)
                continue
            if message.topic() == RESULTS:
                try:
                    said = json.loads(message.value() or b"")
                    run = str(said["run"])
                except (ValueError, TypeError, LookupError):  # other tests' junk, on the same topic
                    continue
                self.results[run].append(said)
            else:
                headers = {name: value or b"" for name, value in headers_of(message.headers())}
                self.dead.append((message.value(), headers))

    def result(self, run: str) -> dict[str, Any]:
        """The first result of a run."""
        self.wait(lambda: run in self.results)
        return self.results[run][0]

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def jobs_bus(kafka: Kafka) -> Any:
    """The topics, and what a gateway does with them."""
    trio.run(make_topics, kafka.cluster, topics())
    bus = JobsBus(kafka.address)
    yield bus
    bus.close()


def prefix_of(sdk: Sdk) -> str:
    return f"{sdk.name}-{uuid4().hex[:8]}-"


def failure_of(said: dict[str, Any]) -> tuple[str, str, bool]:
    assert said["status"] == "failed", said
    failure = said["failure"]
    return failure["code"], failure["message"], failure["retryable"]


def test_its_own_tests(sdk: Sdk) -> None:
    sdk.run(sdk.units)


def test_the_readme_shows_the_example(sdk: Sdk) -> None:
    text = (sdk.folder / "README.md").read_text(encoding="utf-8")
    shown, *_ = re.findall(r"```(?:python|typescript|java)\n(.*?)```", text, flags=re.S)
    (example,) = (
        one
        for one in (sdk.folder / "examples").iterdir()
        if one.is_file() and "secured" not in one.name.lower()
    )
    lines = iter(example.read_text(encoding="utf-8").replace("() -> None:", "():").splitlines())
    assert [one for one in shown.splitlines() if one.strip() and one not in lines] == []


def test_the_guide_shows_the_secured_example(sdk: Sdk) -> None:
    guide = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-worker.md"
    blocks = re.findall(r"```\w+\n(.*?)```", guide.read_text(encoding="utf-8"), flags=re.S)
    (example,) = (one for one in (sdk.folder / "examples").iterdir() if "ecured" in one.name)
    text = example.read_text(encoding="utf-8")
    assert [one for one in blocks if one in text], f"nothing of {example.name} is in {guide.name}"


def test_its_licence_is_that_of_all(sdk: Sdk) -> None:
    # A package has one with it, and packers follow no links.
    whole = Path(__file__).parents[2] / "LICENSE"
    assert (sdk.folder / "LICENSE").read_bytes() == whole.read_bytes()


@pytest.mark.kafka
def test_what_becomes_of_jobs_over_kafka(sdk: Sdk, kafka: Kafka, jobs_bus: JobsBus) -> None:
    bus, its = jobs_bus, prefix_of(sdk)
    with sdk.started((*sdk.conformance, its), GOSSAMER_KAFKA=kafka.address) as worker:
        # The jobs were there before the worker: a group begins at the beginning.
        payload = {"a": [1, 2.5, None, True, "€😀"], "b": {}}
        echo = bus.job(its + "echo", payload)
        nothing = bus.job(its + "echo", None)
        declined = bus.job(its + "declined", "no money")
        fatal = bus.job(its + "fatal", "no card")
        coded = bus.job(its + "coded", "none left")
        full = bus.job(its + "large", OUTPUT_BYTES_MAX - 2)
        large = bus.job(its + "large", OUTPUT_BYTES_MAX - 1)
        wrong = bus.job(its + "wrong", None)
        kept = bus.job(its + "kept", 7)
        overdue = bus.job(its + "echo", None, due_s=-10)
        late = bus.job(its + "slow", 5_000, due_s=0.5)
        count = bus.job(its + "count", None)
        bus.job(its + "count", None, run=count)
        # More than may be on its way to the dead letters at once.
        junk = b"{junk" + its.encode()
        bus.message(its + "echo", "junk", *[junk] * 300)
        worker.wait_said("ready: ")

        said = bus.result(echo)
        name = said.pop("worker")
        assert isinstance(name, str)
        assert said == {
            "form": 1, "run": echo, "step": "s", "attempt": 1, "status": "completed",
            "output": payload,
        }  # fmt: skip
        assert bus.result(nothing)["output"] is None
        assert failure_of(bus.result(declined)) == ("CardDeclined", "no money", True)
        assert "CardDeclined" in bus.result(declined)["failure"]["details"] or sdk.name == "node"
        assert failure_of(bus.result(fatal)) == ("CardDeclined", "no card", False)
        assert failure_of(bus.result(coded)) == ("out-of-stock", "none left", False)
        assert len(bus.result(full)["output"]) == OUTPUT_BYTES_MAX - 2
        code, message, retryable = failure_of(bus.result(large))
        assert (code, retryable) == ("TooLarge", False) and "1048577 bytes" in message
        assert failure_of(bus.result(wrong))[::2] == ("Unserialisable", False)
        assert bus.result(kept)["output"] == 7
        assert failure_of(bus.result(overdue))[::2] == ("Timeout", True)
        assert failure_of(bus.result(late))[::2] == ("Timeout", True)

        bus.wait(lambda: len(bus.results[count]) == 2)
        bus.job(its + "count", None, run=count, attempt=2)
        bus.wait(lambda: len(bus.results[count]) == 3)
        assert [(one["attempt"], one["output"]) for one in bus.results[count]] == [
            (1, [1, 1, True]), (1, [1, 1, True]), (2, [1, 1, True]),
        ]  # fmt: skip

        bus.wait(lambda: [value for value, _ in bus.dead].count(junk) == 300)
        places = [(one["partition"], one["offset"]) for value, one in bus.dead if value == junk]
        assert len(set(places)) == 300
        headers = next(headers for value, headers in bus.dead if value == junk)
        assert headers["reason"] == b"it is not JSON" and headers["topic"] == JOBS.encode()
        assert headers["action"] == (its + "echo").encode()
        assert worker.end() == sdk.ended

    # All was answered, so all was committed: the next one begins behind it.
    with sdk.started((*sdk.conformance, its), GOSSAMER_KAFKA=kafka.address) as worker:
        worker.wait_said("ready: ")
        last = bus.job(its + "echo", "last")
        assert bus.result(last)["output"] == "last"
        assert worker.end() == sdk.ended
    before = {run: len(said) for run, said in bus.results.items()}
    assert before[count] == 3
    assert {before[run] for run in (echo, declined, full, large, wrong, overdue, late)} == {1}


@pytest.mark.kafka
def test_a_stop_ends_what_has_begun_and_leaves_the_rest(
    sdk: Sdk, kafka: Kafka, jobs_bus: JobsBus
) -> None:
    bus, its = jobs_bus, prefix_of(sdk)
    with sdk.started((*sdk.conformance, its), GOSSAMER_KAFKA=kafka.address) as worker:
        worker.wait_said("ready: ")
        # From now on results are read as they come, so that the stop finds the worker at work.
        bus.result(bus.job(its + "echo", None))
        runs = [bus.job(its + "slow", 700) for _ in range(12)]
        bus.wait(lambda: any(run in bus.results for run in runs))
        assert worker.end() == sdk.ended
    done = sum(run in bus.results for run in runs)
    assert done < len(runs)
    with sdk.started((*sdk.conformance, its), GOSSAMER_KAFKA=kafka.address) as worker:
        worker.wait_said("ready: ")
        bus.wait(lambda: all(run in bus.results for run in runs))
        assert worker.end() == sdk.ended
    assert {len(bus.results[run]) for run in runs} == {1}, "what was answered was done again"


@pytest.mark.kafka
def test_a_broker_may_go_and_come_back(sdk: Sdk, kafka: Kafka, jobs_bus: JobsBus) -> None:
    bus, its = jobs_bus, prefix_of(sdk)
    with sdk.started((*sdk.conformance, its), GOSSAMER_KAFKA=kafka.address) as worker:
        worker.wait_said("ready: ")
        before = bus.job(its + "slow", 3_000)
        first = bus.job(its + "echo", 1)
        assert bus.result(first)["output"] == 1
        told = len(worker.said)  # a new broker may let wait for its first groups
        kafka.kill()
        try:
            worker.wait_said("waiting")
        finally:
            kafka.start()
        worker.wait_said("back")
        after = bus.job(its + "echo", 2)
        assert bus.result(after)["output"] == 2
        assert bus.result(before)["output"] == 3_000
        assert worker.end() == sdk.ended
    assert sum("waiting" in line for line in worker.said[told:]) == 1, worker.said


async def a_thread(call: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(call)


async def seed_s_workflow(whole: Whole, sdk: Sdk) -> None:
    """The seed's own requests."""
    steps = [{"action": "step1", "stepIndex": 0}, {"action": "step2", "stepIndex": 1}]
    made = await whole.http.post("/workflow/", json={"id": "my-first-workflow", "steps": steps})
    assert made.status_code == 201, made.text
    begun = await whole.http.post(
        "/workflow/my-first-workflow/trigger", json={"input": "Hello World"}
    )
    view = await ended(whole, begun.text)
    first, second = sdk.says
    assert view["finalOutput"] == second.format(first.format("Hello World"))


async def run_of(whole: Whole, its: str, action: str, payload: Any, **step: Any) -> str:
    """Begins a run of one step of the conformance worker's; gives its id."""
    steps = [{"action": its + action, "stepIndex": 0, **step}]
    made = await whole.http.post("/workflow/", json={"id": its + action, "steps": steps})
    assert made.status_code in {200, 201}, made.text
    begun = await whole.http.post(f"/workflow/{its}{action}/trigger", json={"input": payload})
    assert begun.status_code == 200, begun.text
    return begun.text


async def ended(whole: Whole, run: str) -> dict[str, Any]:
    """The view of a run that is over."""

    async def look() -> dict[str, Any] | None:
        answer = await whole.http.get(f"/workflow/run/{run}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view if view["status"] in {"Completed", "Failed", "Cancelled"} else None

    return await seen(look, WAIT_S)


@pytest.mark.kafka
async def test_the_seed_s_workflow_over_kafka(sdk: Sdk, kafka: Kafka, tmp_path: Path) -> None:
    host, _, port = kafka.address.rpartition(":")
    workflows = WorkflowsConfig(kafka=KafkaConfig((Address(host, int(port)),)))
    with sdk.started(sdk.example, GOSSAMER_KAFKA=kafka.address) as worker:
        async with open_whole(tmp_path, workflows=workflows) as whole:
            await a_thread(partial(worker.wait_said, "ready: step1, step2 from Kafka"))
            await seed_s_workflow(whole, sdk)
        assert await a_thread(worker.end) == sdk.ended


async def test_the_seed_s_workflow_over_http(sdk: Sdk, tmp_path: Path) -> None:
    async with open_whole(tmp_path) as whole:
        with sdk.started(sdk.example, GOSSAMER_URL=whole.gateway.url) as worker:
            await a_thread(partial(worker.wait_said, "ready: step1, step2 from the gateway"))
            await seed_s_workflow(whole, sdk)
            assert await a_thread(worker.end) == sdk.ended


async def test_what_becomes_of_jobs_over_http(sdk: Sdk, tmp_path: Path) -> None:
    its = prefix_of(sdk)
    async with open_whole(tmp_path) as whole:

        async def failed(run: str) -> tuple[str, bool, int]:
            view = await ended(whole, run)
            (step,) = view["stepResults"]
            error = step["error"]
            return error["code"], error.get("retryable", True), step["attempts"]

        with sdk.started((*sdk.conformance, its), GOSSAMER_URL=whole.gateway.url) as worker:
            await a_thread(partial(worker.wait_said, "ready: "))
            payload = {"a": [1, 2.5, None, True, "€😀"], "b": {}}
            quick = {"maxAttempts": 2, "initialDelayMs": 1}
            echo = await run_of(whole, its, "echo", payload)
            declined = await run_of(whole, its, "declined", "no", retry=quick)
            fatal = await run_of(whole, its, "fatal", "no", retry=quick)
            coded = await run_of(whole, its, "coded", "none left", retry=quick)
            full = await run_of(whole, its, "large", OUTPUT_BYTES_MAX - 2)
            wrong = await run_of(whole, its, "wrong", None, retry=quick)
            kept = await run_of(whole, its, "kept", 7)
            late = await run_of(whole, its, "slow", 5_000, retry={"maxAttempts": 1}, timeoutMs=500)
            assert (await ended(whole, echo))["finalOutput"] == payload
            assert await failed(declined) == ("CardDeclined", True, 2)
            assert await failed(fatal) == ("CardDeclined", False, 1)
            assert await failed(coded) == ("out-of-stock", False, 1)
            assert len((await ended(whole, full))["finalOutput"]) == OUTPUT_BYTES_MAX - 2
            large = await run_of(whole, its, "large", OUTPUT_BYTES_MAX - 1)
            assert await failed(large) == ("TooLarge", False, 1)
            assert await failed(wrong) == ("Unserialisable", False, 1)
            assert (await ended(whole, kept))["finalOutput"] == 7
            assert (await failed(late))[0] == "Timeout"
            # One that is at work is ended, and its result arrives.
            slow = await run_of(whole, its, "slow", 1_500)
            await started(whole, slow)
            assert await a_thread(worker.end) == sdk.ended
            assert (await ended(whole, slow))["finalOutput"] == 1_500


async def started(whole: Whole, run: str) -> None:
    """Returns when a worker has the run's job: nobody else is given it."""
    action = (await whole.http.get(f"/workflow/run/{run}")).json()["stepResults"][0]["action"]
    asked = {"actions": [action], "worker": "nobody", "waitMs": 0, "lockMs": 100}

    async def look() -> bool:
        answer = await whole.http.post("/workflow/jobs/fetch", json=asked)
        return bool(answer.json()["jobs"] == [])

    await seen(look)


def test_without_a_gateway_it_waits(sdk: Sdk) -> None:
    command = (*sdk.conformance, prefix_of(sdk))
    with sdk.started(command, GOSSAMER_URL="http://127.0.0.1:9") as worker:
        worker.wait_said("it cannot be reached")
        assert worker.end() == sdk.ended
    assert len(worker.said) == 1
