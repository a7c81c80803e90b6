"""Live instances: what they keep, when they go, whose turn it is, and what survives a crash."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from tests.patience import PATIENCE_S

from gossamer_node.errors import ServiceError
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef, Outcome
from gossamer_node.keyed.key import Key
from gossamer_node.service.spec import Dense, Grant, Limits, ServiceSpec
from gossamer_node.variables import JsonValue, Variables
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.living.capacity import Gauge, Measured, memory_margin_bytes
from gossamer_node.wasm.living.states import States
from gossamer_node.wasm.run import Run

from .conftest import COMPLETED, assemble

KEYED = Dense(key="/job/business_key")
TIME_MS_MAX = 600_000
"""Of a job that is not to end by its time."""
Start = Callable[..., Worker]


def job(key: str | None, number: int, do: str = "c") -> Job:
    ref = JobRef("camunda7", f"job-{number}", "count", "worker", retries=3)
    return Job(ref, Variables({"do": do}), lock_ms=30_000, business_key=key)


def run(worker: Worker, key: str | None, number: int, do: str = "c") -> Outcome:
    return worker.run_blocking(job(key, number, do), deadline_ms=TIME_MS_MAX, context=Detached())


def told(n: str, jobs: int) -> Completed:
    return Completed(Variables({"n": n, "jobs": str(jobs)}))


@pytest.fixture
def states_file(tmp_path: Path) -> Path:
    return tmp_path / "states.sqlite"


@pytest.fixture
def host(tmp_path: Path, states_file: Path) -> Iterator[WasmHost]:
    with WasmHost(tmp_path / "cache", threads=2, states_file=states_file) as host:
        yield host


@pytest.fixture
def keeper(tmp_path: Path) -> Callable[..., ServiceSpec]:
    def make(dense: Dense = KEYED, name: str = "keeper", **fields: Any) -> ServiceSpec:
        module = tmp_path / "keeper.wasm"
        module.write_bytes(assemble("keeper"))
        path = tmp_path / "service.yaml"
        fields = {"limits": Limits(time_ms_max=TIME_MS_MAX)} | fields
        return ServiceSpec(
            path, name, "1.0.0", module=module, profile="dense", dense=dense, **fields
        )

    return make


@pytest.fixture
def start(host: WasmHost, keeper: Callable[..., ServiceSpec]) -> Start:
    def make(dense: Dense = KEYED, **fields: Any) -> Worker:
        return host.load_blocking(keeper(dense, **fields), Grant())

    return make


def test_each_key_has_an_instance_and_a_state_of_its_own(host: WasmHost, start: Start) -> None:
    worker = start()
    assert run(worker, "a", 1) == told("AAAB", 1)
    assert run(worker, "a", 2) == told("AAAC", 2)
    assert run(worker, "b", 3) == told("AAAB", 1)
    assert run(worker, "a", 4) == told("AAAD", 3)
    assert host.statistics() == {"registered": 1, "live": 2, "parked": 0}


def test_tenants_do_not_share_a_key(start: Start) -> None:
    worker = start()
    run(worker, "a", 1)
    other = Job(job("a", 2).ref, Variables({"do": "c"}), 30_000, business_key="a", tenant="north")
    assert worker.run_blocking(other, deadline_ms=10_000, context=Detached()) == told("AAAB", 1)


def test_without_a_key_the_instance_is_reset_and_used_again(host: WasmHost, start: Start) -> None:
    worker = start(Dense())
    for number in range(3):
        assert run(worker, None, number) == told("AAAB", 1)
    assert host.statistics()["live"] == 1


@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("f", "as asked"),
        ("t", "stopped itself"),
        ("m", "malformed: state is not text in base64"),
        ("l", "a state of 9 bytes for its key, more than its limit of 8 bytes"),
    ],
)
def test_a_job_that_fails_leaves_no_trace(do: str, said: str, host: WasmHost, start: Start) -> None:
    worker = start(Dense(key="/job/business_key", state_bytes_max=8))
    run(worker, "a", 1)
    failed = run(worker, "a", 2, do)
    assert isinstance(failed, Failed) and said in failed.message
    assert host.statistics() == {"registered": 1, "live": 0, "parked": 1}
    assert run(worker, "a", 3) == told("AAAC", 1)


def test_a_job_past_its_time_takes_its_instance_along(host: WasmHost, start: Start) -> None:
    worker = start()
    run(worker, "a", 1)
    failed = worker.run_blocking(job("a", 2, "s"), deadline_ms=50, context=Detached())
    assert isinstance(failed, Failed) and "ran longer" in failed.message
    assert host.statistics()["live"] == 0
    # Its epoch was advanced meanwhile: who lives on is not ended by it.
    assert [run(worker, "b", number) for number in (3, 4)] == [told("AAAB", 1), told("AAAC", 2)]


def test_a_business_error_keeps_its_state(start: Start) -> None:
    worker = start()
    assert run(worker, "a", 1, "b") == BpmnError("NO")
    assert run(worker, "a", 2) == told("AAAC", 2)


def test_a_state_is_kept_until_it_is_emptied(start: Start) -> None:
    worker = start()
    run(worker, "a", 1)
    assert run(worker, "a", 2, "n") == Completed()
    assert run(worker, "a", 3) == told("AAAC", 3)
    run(worker, "a", 4, "e")
    assert run(worker, "a", 5) == told("AAAB", 5)


def test_the_same_job_again_is_answered_and_not_run(start: Start) -> None:
    worker = start()
    first = run(worker, "a", 1)
    run(worker, "a", 2, "b")
    assert run(worker, "a", 1) == first
    assert run(worker, "a", 2, "b") == BpmnError("NO")
    assert run(worker, "a", 3) == told("AAAD", 3)


def test_state_survives_a_restart(
    tmp_path: Path, states_file: Path, keeper: Callable[..., ServiceSpec]
) -> None:
    for number, expected in ((1, "AAAB"), (2, "AAAC")):
        with WasmHost(tmp_path / "cache", states_file=states_file) as host:
            worker = host.load_blocking(keeper(), Grant())
            assert host.statistics()["parked"] == number - 1
            assert run(worker, "a", number) == told(expected, 1)


CRASH = """
    import os, sys
    from pathlib import Path
    from gossamer_node.jobs import Job, JobRef
    from gossamer_node.service.spec import Dense, Grant, ServiceSpec
    from gossamer_node.variables import Variables
    from gossamer_node.wasm import Detached, WasmHost
    from gossamer_node.wasm.living.states import States

    here, when = Path(sys.argv[1]), sys.argv[2]
    step = States._apply if when == "amid" else States.keep

    def dies(*change):
        if when != "before":
            step(*change)
        os._exit(9)

    setattr(States, step.__name__, dies)
    spec = ServiceSpec(
        here / "service.yaml", "keeper", "1.0.0", module=here / "keeper.wasm",
        profile="dense", dense=Dense(key="/job/business_key"),
    )
    ref = JobRef("camunda7", "job-1", "count", "worker", retries=3)
    job = Job(ref, Variables({"do": "c"}), lock_ms=30_000, business_key="a")
    with WasmHost(here / "cache", states_file=here / "states.sqlite") as host:
        host.load_blocking(spec, Grant()).run_blocking(job, deadline_ms=10_000, context=Detached())
"""


@pytest.mark.parametrize(("when", "kept"), [("before", 0), ("amid", 0), ("after", 1)])
def test_a_crash_beside_the_write_of_the_state_counts_the_job_once(
    when: str,
    kept: int,
    tmp_path: Path,
    states_file: Path,
    keeper: Callable[..., ServiceSpec],
) -> None:
    """Before the write, after its rows and before its commit, or after that; the engine gives the
    job again each time."""
    spec = keeper()
    script = [sys.executable, "-c", textwrap.dedent(CRASH), str(tmp_path), when]
    assert subprocess.run(script, check=False).returncode == 9
    with WasmHost(tmp_path / "cache", states_file=states_file) as host:
        worker = host.load_blocking(spec, Grant())
        assert host.statistics()["parked"] == kept
        assert run(worker, "a", 1) == told("AAAB", 1)
        # The answer that was kept ran nothing here, so this is the instance's first job then.
        assert run(worker, "a", 2) == told("AAAC", 2 - kept)


def test_a_full_disk_fails_the_job_and_changes_nothing(host: WasmHost, start: Start) -> None:
    worker = start()
    run(worker, "a", 1)
    states = host._states
    assert states is not None
    states._store.database.execute("PRAGMA max_page_count=1")
    for number in range(2, 400):
        failed = run(worker, f"k{number}" * 20, number)
        if isinstance(failed, Failed):
            break
    assert isinstance(failed, Failed) and "could not be written" in failed.message
    states._store.database.execute("PRAGMA max_page_count=100000")
    assert run(worker, f"k{number}" * 20, number) == told("AAAB", 1)


@pytest.mark.parametrize("where", ["key", "tenant", "job"])
def test_names_that_are_not_unicode_fail_their_job_alone(where: str, start: Start) -> None:
    worker = start()
    bad = "\ud800"
    ref = JobRef("camunda7", bad if where == "job" else "job-1", "count", "worker", retries=3)
    one = Job(
        ref,
        Variables({"do": "c"}),
        lock_ms=30_000,
        business_key=bad if where == "key" else "a",
        tenant=bad if where == "tenant" else None,
    )
    failed = worker.run_blocking(one, deadline_ms=10_000, context=Detached())
    assert isinstance(failed, Failed)
    assert "not Unicode" in failed.message or "could not be read" in failed.message
    assert run(worker, "a", 2) == told("AAAB", 1)


@pytest.mark.parametrize(
    "bounds",
    [{"jobs": 2}, {"age_ms": 0}, {"memory_bytes": 65_536}],
    ids=["jobs", "age", "memory"],
)
def test_an_instance_is_recycled(bounds: dict[str, int], host: WasmHost, start: Start) -> None:
    worker = start(Dense(key="/job/business_key", **bounds))  # type: ignore[arg-type]
    run(worker, "a", 1)
    run(worker, "a", 2, "g")
    assert host.statistics() == {"registered": 1, "live": 0, "parked": 1}
    assert run(worker, "a", 3) == told("AAAD", 1)


def test_the_longest_unused_makes_room(host: WasmHost, start: Start) -> None:
    worker = start(Dense(key="/job/business_key", live=2))
    for number, key in enumerate(("a", "b", "a", "c")):
        run(worker, key, number)
    assert host.statistics() == {"registered": 1, "live": 2, "parked": 1}
    assert run(worker, "a", 10) == told("AAAD", 3)
    assert run(worker, "b", 11) == told("AAAC", 1)


def test_a_service_that_refuses_says_so(start: Start) -> None:
    worker = start(Dense(key="/job/business_key", live=1, when_full="refuse"))
    run(worker, "a", 1)
    failed = run(worker, "b", 2)
    assert isinstance(failed, Failed)
    assert "has its 1 live instances" in failed.message and "dense.live" in failed.message
    assert failed.retries == 3  # it costs no try
    assert run(worker, "a", 3) == told("AAAC", 2)


class Machine:
    """A machine whose figures the test moves: what it has left, and what each instance takes."""

    def __init__(self) -> None:
        self.memory_bytes = 8 * 2**30
        self.each_bytes = 0
        self.host: WasmHost | None = None

    def measure(self) -> Measured:
        live = self.host.residents.live if self.host is not None else 0
        return Measured(memory_bytes=max(0, self.memory_bytes - live * self.each_bytes))

    def holds(self, live: int, worker: Worker) -> None:
        """So many instances of this worker, as the gauge counts them."""
        assert self.host is not None and worker.dense is not None
        gauge = self.host.residents._gauge
        self.each_bytes = worker.dense.residency.shape.cost.memory_bytes
        self.memory_bytes = memory_margin_bytes(gauge.start) + live * self.each_bytes
        gauge.look()


@contextmanager
def host_on(machine: Machine, cache: Path) -> Iterator[WasmHost]:
    with WasmHost(cache, gauge=Gauge(machine.measure, lambda: 0.0)) as host:
        machine.host = host
        yield host


def test_other_services_make_room_when_the_machine_is_full(
    tmp_path: Path, keeper: Callable[..., ServiceSpec]
) -> None:
    machine = Machine()
    with host_on(machine, tmp_path / "cache") as host:
        one = host.load_blocking(keeper(name="one"), Grant())
        other = host.load_blocking(keeper(name="other"), Grant())
        firm = Dense(key="/job/business_key", when_full="refuse")
        third = host.load_blocking(keeper(firm, name="third"), Grant())
        run(one, "a", 1)
        run(third, "a", 2)
        machine.holds(2, one)
        assert run(other, "a", 3) == told("AAAB", 1)  # `one` made room
        assert one.dense and one.dense.residency.count().live == 0
        assert run(third, "a", 4) == told("AAAC", 2)
        assert run(one, "a", 5) == told("AAAC", 1)  # and now `other`
        failed = [run(third, key, n) for n, key in enumerate("bc", 6)][-1]
        assert isinstance(failed, Failed)
        assert "cannot hold another instance beside the 2 that live" in failed.message
        assert "this machine has" in failed.message and "dense.live" in failed.message


def test_a_dear_one_needs_the_room_of_many(
    tmp_path: Path, keeper: Callable[..., ServiceSpec], wasm_file: Callable[..., Path]
) -> None:
    """What goes makes at least the room that comes is counted with."""
    machine = Machine()
    with host_on(machine, tmp_path / "cache") as host:
        small = host.load_blocking(keeper(), Grant())
        module = wasm_file("any", rest="(table 20000 funcref)")
        spec = keeper(Dense(), name="large")
        large = host.load_blocking(replace(spec, module=module), Grant())
        for number in range(20):
            run(small, str(number), number)
        machine.holds(20, small)
        assert run(large, None, 20) == Completed()
        # One has 26 KiB and the large one 160 more, so the seven longest unused go.
        assert host.statistics()["live"] == 20 - 7 + 1
        assert small.dense is not None
        left = [key.value for key in small.dense.residency._idle if isinstance(key, Key)]
        assert left == [str(number) for number in range(7, 20)]


def test_one_that_grew_is_kept_only_where_there_is_room(
    tmp_path: Path, keeper: Callable[..., ServiceSpec]
) -> None:
    machine = Machine()
    with host_on(machine, tmp_path / "cache") as host:
        worker = host.load_blocking(keeper(), Grant())
        run(worker, "a", 1, "g")
        assert host.residents.live == 1
        machine.holds(1, worker)
        run(worker, "a", 2)
        assert host.residents.live == 1
        run(worker, "a", 3, "g")
        assert host.residents.live == 0
        assert run(worker, "a", 4) == told("AAAE", 1)


def test_a_full_service_does_not_pass_the_machines_limit(
    tmp_path: Path, keeper: Callable[..., ServiceSpec]
) -> None:
    machine = Machine()
    with host_on(machine, tmp_path / "cache") as host:
        worker = host.load_blocking(keeper(Dense(key="/job/business_key", live=2)), Grant())
        run(worker, "a", 1)
        run(worker, "b", 2)
        machine.holds(0, worker)
        failed = run(worker, "c", 3)
        assert isinstance(failed, Failed) and "beside the 0 that live" in failed.message


def test_tables_of_live_instances_do_not_grow(
    host: WasmHost, keeper: Callable[..., ServiceSpec], wasm_file: Callable[..., Path]
) -> None:
    grows = "(table.grow 0 (ref.null func) (i32.const 1))"
    handle = (
        f"(if (result i64) (i32.eq {grows} (i32.const -1)) (then {COMPLETED}) (else (i64.const 0)))"
    )
    module = wasm_file("any", rest="(table 4 funcref)", handle=handle)
    dense = replace(keeper(Dense(), name="grows"), module=module)
    fast = replace(dense, profile="fast", dense=None)
    assert run(host.load_blocking(dense, Grant()), None, 1) == Completed()
    assert isinstance(run(host.load_blocking(fast, Grant()), None, 1), Failed)


def test_idle_instances_go_first_when_memory_runs_short(
    tmp_path: Path, keeper: Callable[..., ServiceSpec]
) -> None:
    machine = Machine()
    with host_on(machine, tmp_path / "cache") as host:
        worker = host.load_blocking(keeper(), Grant())
        for number in range(16):
            run(worker, str(number), number)
        host.residents.sweep()
        assert host.residents.live == 16
        machine.memory_bytes = 1
        host.residents.sweep()
        assert host.residents.live == 14
        machine.memory_bytes = 8 * 2**30
        host.residents.sweep()
        assert run(worker, "0", 20) == told("AAAC", 1)
        assert host.residents.live == 15


def test_unused_ones_are_parked(tmp_path: Path, keeper: Callable[..., ServiceSpec]) -> None:
    clock = [0.0]
    with WasmHost(tmp_path / "cache") as host:
        host.residents.now_s = lambda: clock[0]
        worker = host.load_blocking(keeper(Dense(key="/job/business_key", idle_ms=60_000)), Grant())
        run(worker, "a", 1)
        clock[0] = 30.0
        run(worker, "b", 2)
        clock[0] = 60.0
        host.residents.sweep()
        assert host.statistics() == {"registered": 1, "live": 1, "parked": 1}
        assert run(worker, "a", 3) == told("AAAC", 1)


async def test_jobs_of_a_key_run_one_at_a_time_in_order(
    tmp_path: Path, keeper: Callable[..., ServiceSpec]
) -> None:
    async with WasmHost(tmp_path / "cache", threads=4) as host:
        worker = await host.load(keeper(), Grant())
        found: dict[tuple[str, int], Outcome] = {}

        async def one(key: str, number: int) -> None:
            found[key, number] = await worker.run(
                job(key, number), deadline_ms=TIME_MS_MAX, context=Detached()
            )

        async with trio.open_nursery() as nursery:
            for number in range(9):
                for key in "abcdefgh":
                    nursery.start_soon(partial(one, key, number))
                await trio.testing.wait_all_tasks_blocked()
        expected = [told(f"AAA{chr(66 + number)}", 1 + number) for number in range(9)]
        for key in "abcdefgh":
            assert [found[key, number] for number in range(9)] == expected


async def test_jobs_run_while_others_wait_for_the_disk(
    tmp_path: Path, keeper: Callable[..., ServiceSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two jobs on a host with one place, both must be writing before either may go on."""
    together = threading.Barrier(2, timeout=PATIENCE_S)
    keep = States.keep

    def keeps(self: States, key: Key, engine: str, job: str, state: bytes, told: bytes) -> None:
        together.wait()
        keep(self, key, engine, job, state, told)

    monkeypatch.setattr(States, "keep", keeps)
    async with WasmHost(tmp_path / "cache", threads=1) as host:
        worker = await host.load(keeper(), Grant())
        async with trio.open_nursery() as nursery:
            for number, key in enumerate("ab"):
                run = partial(worker.run, deadline_ms=TIME_MS_MAX, context=Detached())
                nursery.start_soon(run, job(key, number))
    assert not together.broken


async def test_what_waits_for_a_key_is_bounded_and_may_be_cancelled(
    tmp_path: Path, keeper: Callable[..., ServiceSpec]
) -> None:
    bounds = Dense(key="/job/business_key", waiting=1)
    async with WasmHost(tmp_path / "cache", threads=2) as host:
        worker = await host.load(keeper(bounds), Grant())
        found: list[Outcome] = []
        spinning, waiting = trio.CancelScope(), trio.CancelScope()

        async def one(scope: trio.CancelScope, number: int, do: str) -> None:
            with scope:
                found.append(
                    await worker.run(
                        job("a", number, do), deadline_ms=TIME_MS_MAX, context=Detached()
                    )
                )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, spinning, 1, "s")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(one, waiting, 2, "c")
            await trio.testing.wait_all_tasks_blocked()
            refused = await worker.run(job("a", 3), deadline_ms=TIME_MS_MAX, context=Detached())
            assert isinstance(refused, Failed)
            assert "1 jobs wait already for the key a of keeper" in refused.message
            waiting.cancel()
            await trio.testing.wait_all_tasks_blocked()
            spinning.cancel()
        assert found == []
        # Both have left the key's queue; nothing of them was kept.
        outcome = await worker.run(job("a", 4), deadline_ms=TIME_MS_MAX, context=Detached())
        while isinstance(outcome, Failed):  # the last of the two may still be leaving
            outcome = await worker.run(job("a", 4), deadline_ms=TIME_MS_MAX, context=Detached())
        assert outcome == told("AAAB", 1)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("/job/business_key", "has nothing at /job/business_key"),
        ("/variables/order/lines", "has a list at /variables/order/lines"),
        ("/variables/order/total", "has a float at"),
        ("/variables/order/none/id", "has nothing at"),
        ("/variables/order/long", "more than 255 characters"),
    ],
)
def test_a_job_without_a_key_fails_at_once(key: str, said: str, start: Start) -> None:
    worker = start(Dense(key=key))
    order: JsonValue = {"lines": [1], "total": 1.5, "long": "x" * 256}
    one = Job(job(None, 1).ref, Variables({"do": "c", "order": order}), lock_ms=30_000)
    failed = worker.run_blocking(one, deadline_ms=10_000, context=Detached())
    assert isinstance(failed, Failed) and failed.retries == 0
    assert said in failed.message and "dense.key" in failed.message


@pytest.mark.parametrize(
    "key",
    ["/variables/order/id", "/variables/order/lines/1", "/variables/a~1b", "/variables/flag"],
)
def test_a_key_may_lie_in_the_variables(key: str, start: Start) -> None:
    worker = start(Dense(key=key))
    values: dict[str, JsonValue] = {
        "do": "c",
        "order": {"id": 7, "lines": ["x", "y"]},
        "a/b": "z",
        "flag": True,
    }
    for number in (1, 2):
        one = Job(job(None, number).ref, Variables(values), lock_ms=30_000)
        outcome = worker.run_blocking(one, deadline_ms=10_000, context=Detached())
    assert outcome == told("AAAC", 2)


def test_what_cannot_be_dense_is_refused_at_load(
    host: WasmHost, tmp_path: Path, start: Start
) -> None:
    with pytest.raises(ServiceError, match="begins with 64 KiB of memory"):
        start(Dense(memory_bytes=1_024))
    (tmp_path / "command.wasm").write_bytes(assemble("command"))
    command = ServiceSpec(
        tmp_path / "service.yaml",
        "command",
        "1.0.0",
        module=tmp_path / "command.wasm",
        profile="dense",
    )
    with pytest.raises(ServiceError, match="is a WASI command, which ends with its job"):
        host.load_blocking(command, Grant())


def test_an_instance_is_used_from_several_threads(
    tmp_path: Path, keeper: Callable[..., ServiceSpec]
) -> None:
    """One after the other: each thread finds what the one before it left."""
    with WasmHost(tmp_path / "cache") as host:
        worker = host.load_blocking(keeper(), Grant())
        found: list[Outcome] = []
        for number in range(5):
            thread = threading.Thread(target=lambda n=number: found.append(run(worker, "a", n)))
            thread.start()
            thread.join()
        assert found == [told(f"AAA{chr(66 + n)}", n + 1) for n in range(5)]


def test_host_operations_answer_live_instances_too(tmp_path: Path) -> None:
    asked: list[Run] = []

    def operation(request: object, run: Run) -> dict[str, object]:
        asked.append(run)
        return {}

    module = tmp_path / "caller.wasm"
    module.write_bytes(assemble("caller", op="note", request="{}"))
    spec = ServiceSpec(
        tmp_path / "service.yaml",
        "caller",
        "1.0.0",
        module=module,
        profile="dense",
        dense=Dense(memory_bytes=2**24),
    )
    with WasmHost(tmp_path / "cache", operations={"note": operation}) as host:
        worker = host.load_blocking(spec, Grant())
        for number in range(3):
            assert isinstance(run(worker, None, number), Completed)
        assert host.residents.live == 1
    assert len({id(one) for one in asked}) == 3
