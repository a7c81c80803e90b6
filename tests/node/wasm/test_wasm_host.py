"""The host under trio: many jobs at once, cancellation, and that nothing wears out."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.patience import PATIENCE_S

from gossamer_node.jobs import Completed, Failed, Job, Outcome
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.variables import JsonValue, TypeTag, Variables
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.asking.operations import Code, OperationError
from gossamer_node.wasm.run import Run

Make = Callable[..., Job]
Load = Callable[..., Worker]
File = Callable[..., Path]
Spec = Callable[..., ServiceSpec]

LONG = Variables({"n": "9007199254740993"}, {"n": "Long"})
SPIN = "(loop (br 0)) unreachable"
LONG_MS = 600_000
"""Of a job that is not to end by its time."""

values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
typed: st.SearchStrategy[tuple[JsonValue, TypeTag]] = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda n: (str(n), "Long")),
    st.binary(max_size=20).map(lambda data: (data.hex(), "Bytes")),
    values.map(lambda value: (value, "Json")),
    st.text(max_size=20).map(lambda text: (text, {"type": "Object", "objectTypeName": text})),
)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_variables_go_through_a_worker_unchanged(
    encoding: str, load: Load, run: Callable[..., Outcome], job: Make
) -> None:
    worker = load("echo", encoding=encoding)
    assert run(worker, job(LONG)) == Completed(LONG)

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.dictionaries(st.text(max_size=8), values), st.dictionaries(st.text(), typed))
    def check(plain: dict[str, JsonValue], tagged: dict[str, tuple[JsonValue, TypeTag]]) -> None:
        variables = Variables(
            plain | {name: value for name, (value, _) in tagged.items()},
            {name: tag for name, (_, tag) in tagged.items()},
        )
        outcome = run(worker, job(variables))
        # As text, since 3 == 3.0 and True == 1.
        assert repr(outcome) == repr(Completed(variables))

    check()


async def test_many_jobs_at_once(
    trio_host: WasmHost, wasm_file: File, spec: Spec, job: Make
) -> None:
    worker = await trio_host.load(spec(wasm_file("echo")), Grant())
    outcomes: dict[int, Outcome] = {}

    async def one(number: int) -> None:
        outcomes[number] = await worker.run(
            job(Variables({"number": number})), deadline_ms=LONG_MS, context=Detached()
        )

    async with trio.open_nursery() as nursery:
        for number in range(500):
            nursery.start_soon(one, number)
    assert outcomes == {n: Completed(Variables({"number": n})) for n in range(500)}


async def test_a_long_job_does_not_hold_up_short_ones(
    trio_host: WasmHost, wasm_file: File, spec: Spec, job: Make
) -> None:
    short = await trio_host.load(spec(wasm_file("echo")), Grant())
    long = await trio_host.load(
        spec(wasm_file("any", handle=SPIN), limits={"time_ms_max": LONG_MS}),
        Grant(),
    )
    async with trio.open_nursery() as nursery:
        # More than there are threads to begin with.
        for _ in range(6):
            nursery.start_soon(lambda: long.run(job(), deadline_ms=LONG_MS, context=Detached()))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(50):
            outcome = await short.run(job(), deadline_ms=LONG_MS, context=Detached())
            assert isinstance(outcome, Completed)
        # The long ones still run: cancelled, they let their threads go, or nothing would close.
        nursery.cancel_scope.cancel()


async def test_the_loop_never_waits_for_a_guest(
    trio_host: WasmHost, wasm_file: File, spec: Spec, job: Make
) -> None:
    worker = await trio_host.load(
        spec(wasm_file("any", handle=SPIN), limits={"time_ms_max": LONG_MS}), Grant()
    )
    ended: list[Outcome] = []

    async def run() -> None:
        ended.append(await worker.run(job(), deadline_ms=LONG_MS, context=Detached()))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(run)
        for _ in range(1_000):
            await trio.lowlevel.checkpoint()
        # A loop that had waited would have waited for the end of a guest's time.
        assert not ended
        nursery.cancel_scope.cancel()


async def test_cancelled_jobs_free_their_threads(
    trio_host: WasmHost, wasm_file: File, spec: Spec, job: Make
) -> None:
    spin = await trio_host.load(
        spec(wasm_file("any", handle=SPIN), limits={"time_ms_max": LONG_MS}), Grant()
    )
    echo = await trio_host.load(spec(wasm_file("echo")), Grant())
    for _ in range(5):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(lambda: spin.run(job(), deadline_ms=LONG_MS, context=Detached()))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    outcome = await echo.run(job(LONG), deadline_ms=LONG_MS, context=Detached())
    assert outcome == Completed(LONG)


async def test_a_cancelled_job_leaves_its_host_operation(
    tmp_path: Path, wasm_file: File, spec: Spec, job: Make
) -> None:
    began, left = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def sleep(_request: Any, run: Run) -> dict[str, Any]:
        async def in_loop() -> None:
            try:
                await trio.sleep_forever()
            finally:
                left.set()

        token.run_sync_soon(began.set)
        run.around.io.call(in_loop, run, run.remaining_s())
        return {}

    async with WasmHost(tmp_path / "cache", threads=1, operations={"sleep": sleep}) as host:
        worker = await host.load(
            spec(wasm_file("caller", op="sleep", request="{}"), limits={"time_ms_max": LONG_MS}),
            Grant(),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: worker.run(job(), deadline_ms=LONG_MS, context=Detached()))
            await began.wait()
            nursery.cancel_scope.cancel()
        assert await trio.to_thread.run_sync(left.wait, PATIENCE_S)


async def test_jobs_that_wait_give_their_place_to_others(
    tmp_path: Path, wasm_file: File, spec: Spec, job: Make
) -> None:
    # One running thread, and eight jobs that can only end when all of them wait.
    together = threading.Barrier(8)

    def meet(_request: Any, run: Run) -> dict[str, Any]:
        async def in_loop() -> None:
            await trio.to_thread.run_sync(together.wait, PATIENCE_S)

        run.around.io.call(in_loop, run, run.remaining_s())
        return {}

    async with WasmHost(tmp_path / "cache", threads=1, operations={"meet": meet}) as host:
        worker = await host.load(
            spec(wasm_file("caller", op="meet", request="{}"), limits={"time_ms_max": LONG_MS}),
            Grant(),
        )
        outcomes: list[Outcome] = []

        async def one() -> None:
            outcomes.append(await worker.run(job(), deadline_ms=LONG_MS, context=Detached()))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one)
        assert outcomes == [Completed(Variables({"reply": {}}))] * 8


async def test_an_operation_that_breaks_costs_its_job_alone(
    tmp_path: Path, wasm_file: File, spec: Spec, job: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_request: Any, _run: Run) -> dict[str, Any]:
        raise KeyError("bug")

    def refusing(_request: Any, _run: Run) -> dict[str, Any]:
        raise OperationError(Code.UNAVAILABLE, "ü" * 2_000)

    async with WasmHost(
        tmp_path / "cache", operations={"broken": broken, "refusing": refusing}
    ) as host:
        for op, message in (
            ("broken", "7The host failed in broken; its log says why."),
            ("refusing", "5" + "ü" * 512),
        ):
            worker = await host.load(spec(wasm_file("caller", op=op, request="{}")), Grant())
            outcome = await worker.run(job(), deadline_ms=9_000, context=Detached())
            assert outcome == Failed(message)
    assert "operation broken failed" in caplog.text


@pytest.mark.parametrize("deadline_ms", [0, -5])
async def test_a_job_whose_time_is_over_is_not_begun(
    deadline_ms: int, trio_host: WasmHost, wasm_file: File, spec: Spec, job: Make
) -> None:
    worker = await trio_host.load(spec(wasm_file("echo")), Grant())
    outcome = await worker.run(job(), deadline_ms=deadline_ms, context=Detached())
    assert outcome == Failed(
        "The job's time was over before a thread of this node was free for it."
    )


async def test_the_jobs_deadline_counts_as_well_as_the_services_limit(
    trio_host: WasmHost, wasm_file: File, spec: Spec, job: Make
) -> None:
    worker = await trio_host.load(spec(wasm_file("any", handle=SPIN)), Grant())
    outcome = await worker.run(job(), deadline_ms=500, context=Detached())
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("The worker ran longer than its limit of ")


async def test_variables_that_cannot_be_written_fail_their_job(
    trio_host: WasmHost, wasm_file: File, spec: Spec, job: Make
) -> None:
    worker = await trio_host.load(spec(wasm_file("echo")), Grant())
    outcome = await worker.run(
        job(Variables({"x": float("nan")})), deadline_ms=9_000, context=Detached()
    )
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith(
        "The job's variables could not be given to the worker: they cannot be written as json"
    )


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_thousands_of_traps_leave_nothing_behind(
    load: Load, run: Callable[..., Outcome], job: Make
) -> None:
    trap, echo = load("any", handle="unreachable"), load("echo")
    one = job()
    for _ in range(500):
        run(trap, one)
    before = resident_bytes()
    for _ in range(4_000):
        assert isinstance(run(trap, one), Failed)
    # A leaked store would be 64 KiB and more for each, 250 MiB in all.
    assert resident_bytes() - before < 32 * 2**20
    assert run(echo, job(LONG)) == Completed(LONG)


async def test_a_host_that_closes_stops_what_runs(
    tmp_path: Path, wasm_file: File, spec: Spec, job: Make
) -> None:
    ended: list[Outcome] = []
    async with trio.open_nursery() as nursery, WasmHost(tmp_path / "cache", threads=1) as host:
        worker = await host.load(
            spec(wasm_file("any", handle=SPIN), limits={"time_ms_max": LONG_MS}), Grant()
        )

        async def one() -> None:
            ended.append(await worker.run(job(), deadline_ms=LONG_MS, context=Detached()))

        for _ in range(3):
            nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
    assert {type(outcome) for outcome in ended} == {Failed}
    assert len(ended) == 3
