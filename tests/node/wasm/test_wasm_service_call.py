"""`service.call` and `job.progress`, asked by a real guest: granted, refused, late, given up."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gossamer_node.calls import Call, Told, Unanswered
from gossamer_node.jobs import BpmnError, Completed, Failed, Outcome
from gossamer_node.service.secrets import SecretSource
from gossamer_node.service.spec import Dependency, Grant, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.asking.operations import Code
from gossamer_node.wasm.pool import CALLERS_MAX, THREADS_MAX, WorkerThreads

Ask = Callable[..., Any]
Load = Callable[..., Worker]
RunJob = Callable[..., Outcome]

GRANTED = Grant(calls=("price",))


class Desk(Detached):
    """Answers calls, on another thread as a node does; or never."""

    def __init__(self, answer: Outcome | Unanswered | None) -> None:
        super().__init__()
        self.answer = answer
        self.calls: list[Call] = []
        self.callers: list[str] = []
        self.given_up = 0
        self.words: list[tuple[int, str]] = []

    def call(self, spec: ServiceSpec, call: Call, told: Told) -> Callable[[], None]:
        self.calls.append(call)
        self.callers.append(spec.name)
        if self.answer is not None:
            threading.Thread(target=told, args=(self.answer,)).start()

        def give_up() -> None:
            self.given_up += 1

        return give_up

    def progress(self, thousandths: int, sentence: str) -> None:
        self.words.append((thousandths, sentence))


# --- service.call


def test_an_outcome_is_the_reply_whatever_it_is(ask: Ask) -> None:
    variables = Variables({"left": 0, "total": "9007199254740993"}, {"total": "Long"})
    desk = Desk(Completed(variables))
    request = {
        "service": "price",
        "version": "^1.2",
        "variables": {"nights": 3, "big": 9007199254740993},
        "types": {"nights": "Long"},
        "timeout_ms": 700,
    }
    reply = ask("service.call", request, GRANTED, context=desk)
    assert reply == {"completed": {"variables": dict(variables.values), "types": {"total": "Long"}}}
    given = Variables({"nights": 3, "big": "9007199254740993"}, {"nights": "Long", "big": "Long"})
    assert desk.calls == [Call("price", 1, given, "^1.2", 700)]
    assert desk.callers == ["rooms"] and desk.given_up == 0
    reply = ask(
        "service.call", {"service": "price"}, GRANTED, context=Desk(BpmnError("NO", "None."))
    )
    assert reply == {"bpmn_error": {"code": "NO", "message": "None.", "variables": {}, "types": {}}}
    reply = ask("service.call", {"service": "price"}, GRANTED, context=Desk(Failed("No.", 2)))
    assert reply == {"failed": {"message": "No.", "retries": 2, "backoff_ms": None, "details": ""}}


@pytest.mark.parametrize(
    ("why", "code"),
    [
        ("unavailable", Code.UNAVAILABLE),
        ("late", Code.DEADLINE),
        ("too much", Code.TOO_LARGE),
    ],
)
def test_no_outcome_is_a_refusal(why: Any, code: Code, ask: Ask) -> None:
    desk = Desk(Unanswered(why, "Said why."))
    assert ask("service.call", {"service": "price"}, GRANTED, context=desk) == (code, "Said why.")


def test_only_what_is_granted_is_called(ask: Ask) -> None:
    desk = Desk(Completed())
    code, sentence = ask("service.call", {"service": "prices"}, GRANTED, context=desk)
    assert code is Code.DENIED and sentence.startswith("Calls of prices are not granted; ")
    assert ask("service.call", {"service": "price"}, context=desk)[0] is Code.DENIED
    assert desk.calls == []


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"service": 1},
        {"service": "price", "version": "newest"},
        {"service": "price", "version": 1},
        {"service": "price", "variables": []},
        {"service": "price", "variables": {"a": 1}, "types": {"a": 1}},
        {"service": "price", "timeout_ms": 0},
        {"service": "price", "timeout_ms": 3_600_001},
    ],
)
def test_a_request_that_makes_no_sense(request_: dict[str, object], ask: Ask) -> None:
    assert ask("service.call", request_, GRANTED, context=Desk(Completed()))[0] is Code.BAD_REQUEST


def test_a_dependencys_range_holds_where_the_call_names_none(
    wasm_host: WasmHost,
    wasm_file: Callable[..., Any],
    spec: Callable[..., ServiceSpec],
    run: RunJob,
) -> None:
    module = wasm_file("caller", op="service.call", request='{"service":"price"}')
    one = spec(module, dependencies=(Dependency("price", "~2.1"),))
    desk = Desk(Completed())
    run(wasm_host.load_blocking(one, GRANTED), context=desk)
    assert desk.calls[0].version == "~2.1"


def test_the_job_bounds_the_call_and_gives_it_up(load: Load, run: RunJob) -> None:
    worker = load(
        "caller",
        op="service.call",
        request='{"service":"price"}',
        grant=GRANTED,
        limits={"time_ms_max": 1_000},
    )
    desk = Desk(None)
    outcome = run(worker, context=desk)
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker ran longer than its limit of 1000 ms and was stopped."
    assert desk.given_up == 1 and 0 < desk.calls[0].timeout_ms <= 1_000


def test_outside_a_node_there_is_nobody_to_call(ask: Ask) -> None:
    code, sentence = ask("service.call", {"service": "price"}, GRANTED)
    assert (code, sentence) == (
        Code.UNAVAILABLE,
        "price cannot be called outside a running node.",
    )


# --- job.progress


def test_progress_needs_no_grant_and_is_cut_to_a_line(ask: Ask) -> None:
    desk = Desk(None)
    request = {"done": 0.4567, "sentence": " rows\x1b[2J\nread " + "x" * 200}
    assert ask("job.progress", request, context=desk) == {}
    assert ask("job.progress", {"done": 1}, context=desk) == {}
    assert desk.words == [(456, ("rows [2J read " + "x" * 200)[:119]), (1_000, "")]


@pytest.mark.parametrize(
    "request_",
    [{}, {"done": -0.1}, {"done": 1.1}, {"done": True}, {"done": "1"}, {"done": 1, "sentence": 1}],
)
def test_progress_that_is_none(request_: dict[str, object], ask: Ask) -> None:
    desk = Desk(None)
    assert ask("job.progress", request_, context=desk)[0] is Code.BAD_REQUEST
    assert desk.words == []


def test_a_secret_is_not_shown_as_progress(tmp_path: Any, load: Load, run: RunJob) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret-value")
    file.chmod(0o600)
    grant = Grant(secrets={"token": SecretSource(file)})
    worker = load(
        "caller",
        op="job.progress",
        request='{"done":0.5,"sentence":"with s3cret-value"}',
        grant=grant,
    )
    worker._alone.secrets.add("token", grant.secrets["token"].read())
    desk = Desk(None)
    run(worker, context=desk)
    ((done, sentence),) = desk.words
    assert done == 500 and "s3cret" not in sentence and sentence.startswith("with ")


# --- threads


def test_threads_that_wait_for_calls_leave_room_for_what_they_call() -> None:
    """As many callers as may wait hold a thread each, and others still find all of theirs."""
    threads = WorkerThreads(2)
    release = threading.Event()
    waiting = threading.Semaphore(0)
    running: list[int] = []
    ended = threading.Semaphore(0)

    def caller() -> None:
        with threads.calling():
            waiting.release()
            release.wait()
        ended.release()

    def callee() -> None:
        running.append(1)
        ended.release()

    for _ in range(CALLERS_MAX):
        threads.submit(caller)
    for _ in range(CALLERS_MAX):
        assert waiting.acquire(timeout=30)
    for _ in range(THREADS_MAX):
        threads.submit(callee)
    for _ in range(THREADS_MAX):
        assert ended.acquire(timeout=30)
    assert len(running) == THREADS_MAX
    release.set()
    for _ in range(CALLERS_MAX):
        assert ended.acquire(timeout=30)
    threads.close()


def test_a_wait_for_io_counts_against_the_threads_as_before() -> None:
    threads = WorkerThreads(1)
    release = threading.Event()
    began: list[float] = []

    def waits() -> None:
        began.append(time.monotonic())
        with threads.blocked():
            release.wait()

    for _ in range(THREADS_MAX + 8):
        threads.submit(waits)
    while len(began) < THREADS_MAX:
        release.wait(0.01)
    release.wait(0.1)
    assert len(began) == THREADS_MAX
    release.set()
    threads.close()
