"""Handlers in threads: bounded, ended, left behind, repeated."""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any, Callable

import pytest

from gossamer_worker import Context, Worker, WorkerError
from gossamer_worker.desk import Desk, registered
from gossamer_worker.messages import Job, Outcome

WAIT_S = 60
TAKEN_MAX = 8


def job(name: str = "r", attempt: int = 1, due_s: float = 60) -> Job:
    due_ms = round((time.time() + due_s) * 1000)
    return Job(name, "w", "s", attempt, "a", name, f"{name}:s", due_ms)


class Said:
    """What came of jobs, in order."""

    def __init__(
        self, handler: Callable[..., Any], concurrency: int = 2, taken_max: int = TAKEN_MAX
    ):
        self.queue: queue.Queue[tuple[str, bool, Any]] = queue.Queue()
        self.desk = Desk(
            {"a": registered(handler, (KeyError,))}, "w-1",
            concurrency=concurrency, taken_max=taken_max,
        )  # fmt: skip

    def take(self, one: Job) -> None:
        def say(outcome: Outcome) -> None:
            self.queue.put((one.run, outcome.completed, json.loads(outcome.text)))
            self.desk.sent()

        self.desk.take(one, say)

    def next(self) -> tuple[str, bool, Any]:
        return self.queue.get(timeout=WAIT_S)


def test_a_handler_may_have_a_context() -> None:
    def handler(payload: str, context: Context) -> list[Any]:
        assert 0 < context.remaining_s <= 61 and not context.is_over
        context.extend()
        return [payload, context.key, context.attempt, context.worker, context.action]

    said = Said(handler)
    said.take(job())
    assert said.next() == ("r", True, ["r", "r:s", 1, "w-1", "a"])


@pytest.mark.parametrize("handler", [str, lambda payload: payload, "{}".format])
def test_or_take_the_payload_alone(handler: Callable[[Any], Any]) -> None:
    said = Said(handler)
    said.take(job())
    assert said.next()[1]


def test_no_more_handlers_run_than_are_wanted() -> None:
    go = threading.Semaphore(0)
    began: queue.Queue[str] = queue.Queue()

    def handler(payload: str) -> str:
        began.put(payload)
        assert go.acquire(timeout=WAIT_S)
        return payload

    said = Said(handler, concurrency=2, taken_max=4)
    for number in range(4):
        said.take(job(str(number)))
    assert {began.get(timeout=WAIT_S), began.get(timeout=WAIT_S)} == {"0", "1"}
    assert began.empty()
    assert said.desk.wait_room(0) == 0
    go.release(4)
    assert sorted(said.next()[0] for _ in range(4)) == ["0", "1", "2", "3"]
    assert said.desk.wait_room(WAIT_S) == 4


def test_whatever_a_handler_raises_is_a_failure() -> None:
    def handler(payload: str) -> None:
        if payload == "exit":
            sys.exit(3)
        if payload == "known":
            raise WorkerError("known", "as it says", retryable=False)
        raise {"key": KeyError, "other": OSError}[payload](payload)

    said = Said(handler, concurrency=1)
    for name in ("exit", "known", "key", "other"):
        said.take(job(name))
    seen = {run: (failure["code"], failure["retryable"]) for run, _, failure in
            (said.next() for _ in range(4))}  # fmt: skip
    assert seen == {
        "exit": ("SystemExit", True),
        "known": ("known", False),
        "key": ("KeyError", False),
        "other": ("OSError", True),
    }


def test_a_redelivery_does_not_run_twice() -> None:
    go = threading.Event()
    runs: list[str] = []

    def handler(payload: str) -> int:
        runs.append(payload)
        assert go.wait(WAIT_S)
        return len(runs)

    said = Said(handler)
    said.take(job())
    said.take(job())  # while it is at work
    go.set()
    assert [said.next(), said.next()] == [("r", True, 1)] * 2
    said.take(job(attempt=2))  # and after it
    assert said.next() == ("r", True, 1)
    assert runs == ["r"]


def test_a_handler_that_is_late_is_left_and_its_place_taken() -> None:
    go = threading.Event()

    def handler(payload: str) -> str:
        if payload == "stuck":
            assert go.wait(WAIT_S)
        return payload

    said = Said(handler, concurrency=1)
    said.take(job("stuck", due_s=0.3))
    said.take(job("next"))
    ended = {run: said for run, *said in (said.next(), said.next())}
    assert ended["next"] == [True, "next"]
    completed, failure = ended["stuck"]
    assert (completed, failure["code"], failure["retryable"]) == (False, "Timeout", True)
    go.set()  # what it gives now is nobody's
    said.take(job("last"))
    assert said.next() == ("last", True, "last")
    assert said.queue.empty()


def test_no_more_are_left_than_may_be_at_work() -> None:
    go = threading.Event()
    began: list[str] = []

    def handler(payload: str) -> str:
        if payload.startswith("stuck"):
            began.append(payload)
            assert go.wait(WAIT_S)
        return payload

    said = Said(handler, concurrency=1)
    for number, due_s in enumerate((0.2, 1.0, 1.3)):
        said.take(job(f"stuck-{number}", due_s=due_s))
    assert [said.next()[2]["code"] for _ in range(3)] == ["Timeout"] * 3
    assert began[2:] == []  # one is left, one in its place
    go.set()
    said.take(job("next"))
    assert said.next() == ("next", True, "next")


def test_what_comes_too_late_is_not_run() -> None:
    said = Said(lambda payload: pytest.fail("it ran"))
    said.take(job(due_s=-5))
    _, completed, failure = said.next()
    assert not completed and failure["code"] == "Timeout"


def test_a_stop_finishes_what_has_begun_and_nothing_else() -> None:
    began, go = threading.Event(), threading.Event()

    def handler(payload: str) -> str:
        began.set()
        assert go.wait(WAIT_S)
        return payload

    said = Said(handler, concurrency=1)
    said.take(job("first"))
    said.take(job("second"))
    assert began.wait(WAIT_S)
    threading.Thread(target=open_once_draining, args=(said.desk, go)).start()
    assert said.desk.drain(WAIT_S)
    assert said.next() == ("first", True, "first")
    assert said.queue.empty()


def open_once_draining(desk: Desk, go: threading.Event) -> None:
    """The second of two jobs has gone by then, unanswered."""
    while desk.wait_room(0) < TAKEN_MAX - 1:
        time.sleep(0.001)
    go.set()


def test_a_stop_does_not_wait_for_ever() -> None:
    began, go = threading.Event(), threading.Event()

    def handler(_payload: str) -> None:
        began.set()
        go.wait(WAIT_S)

    said = Said(handler)
    said.take(job())
    assert began.wait(WAIT_S)
    assert not said.desk.drain(0.05)
    go.set()


async def an_async_handler(_payload: object) -> None: ...


def test_a_worker_says_what_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOSSAMER_KAFKA", "localhost:1")
    worker = Worker()
    with pytest.raises(ValueError, match="register a handler first"):
        worker.start()
    worker.register("a", str)
    with pytest.raises(ValueError, match="handler of a already"):
        worker.register("a", str)
    with pytest.raises(TypeError, match="blocking function"):
        worker.register("b", an_async_handler)
    with pytest.raises(TypeError, match="types of exceptions"):
        worker.register("b", str, not_retryable=["ValueError"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="1 or more"):
        Worker(concurrency=0)
    with pytest.raises(ValueError, match="1 to 200"):
        Worker(name="x" * 201)
    monkeypatch.setenv("GOSSAMER_URL", "http://localhost:1")
    with pytest.raises(ValueError, match="name one of them"):
        Worker()


def test_a_failure_is_logged_as_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    def handler(payload: Any) -> None:
        raise ValueError("no\nsuch room")

    caplog.set_level("INFO", "gossamer_worker")
    said = Said(handler)
    said.take(job())
    assert said.next()[1] is False
    assert caplog.messages == ["s of run r failed: ValueError: no such room"]
