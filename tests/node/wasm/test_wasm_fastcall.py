"""What a job costs in foreign calls, which no busy machine can blur."""

from collections import Counter
from collections.abc import Callable

import pytest

from gossamer_node.jobs import Completed, Job, Outcome
from gossamer_node.variables import Variables
from gossamer_node.wasm import Worker, fastcall

Load = Callable[..., Worker]
Run = Callable[[Worker, Job], Outcome]

LETTING_OTHERS_RUN = {"_instantiate": 1, "_call": 2, "_store_delete": 1}
"""What may run the guest, or take long."""

HOLDING = {
    "_store_new": 1,
    "_store_context": 1,
    "_store_limiter": 1,
    "_store_epoch_callback": 1,
    "_set_epoch_deadline": 1,
    "_instance_export_get": 3,
    "_memory_size": 2,
    "_memory_data": 2,
}


def test_a_job_in_a_fresh_instance_makes_so_many_foreign_calls_and_no_more(
    load: Load, run: Run, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = load("echo")
    made: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            made[name] += 1
            return function(*arguments)

        return call

    prepared = {name for name, value in vars(fastcall).items() if hasattr(value, "argtypes")}
    assert prepared >= LETTING_OTHERS_RUN.keys() | HOLDING.keys()
    for name in prepared:
        monkeypatch.setattr(fastcall, name, counted(name, getattr(fastcall, name)))
    given = Variables({"guest": "Ada"})
    assert run(worker, job(given)) == Completed(given)
    assert made == LETTING_OTHERS_RUN | HOLDING


def test_whatever_may_run_a_guest_lets_other_threads_run() -> None:
    held = {name for name in LETTING_OTHERS_RUN if _keeps_the_lock(getattr(fastcall, name))}
    assert not held
    assert all(_keeps_the_lock(getattr(fastcall, name)) for name in HOLDING)


def _keeps_the_lock(function: object) -> bool:
    return isinstance(function, type(fastcall._held_library["wasmtime_store_new"]))
