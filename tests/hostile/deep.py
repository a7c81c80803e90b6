"""Guests that exhaust the largest stack there is, in a process whose own threads have little.

    sh -c "ulimit -s 1024; python -m tests.hostile.deep"

Prints what was said of each: of one that does so at its start, and of a job.
"""

import tempfile
from pathlib import Path

import trio
from tests.hostile.attacks import STACKS, Attack
from tests.hostile.services import DEADLINE_MS, JOB, run, service

from gossamer_node.errors import ServiceError
from gossamer_node.jobs import Failed
from gossamer_node.service.spec import Grant, Limits
from gossamer_node.wasm import Detached, WasmHost
from gossamer_node.wasm.engine import STACK_BYTES_MAX

LIMITS = Limits(stack_bytes_max=STACK_BYTES_MAX)

AT_START = Attack(
    None,
    rest="(func $deep (param i64) (result i64) (i64.add (call $deep (local.get 0)) (i64.const 1)))"
    "(func $first (drop (call $deep (i64.const 1)))) (start $first)",
)


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "m.wasm"
        async with WasmHost(Path(name) / "cache", threads=1) as host:
            path.write_bytes(AT_START.module())
            try:
                await host.load(service(path, "fast", LIMITS), Grant())
            except ServiceError as error:
                print(error)
            path.write_bytes(STACKS["exhausts its stack"].module())
            worker = await host.load(service(path, "fast", LIMITS), Grant())
            for outcome in (
                await worker.run(JOB, deadline_ms=DEADLINE_MS, context=Detached()),
                run(worker),
            ):
                assert isinstance(outcome, Failed)
                print(outcome.message)


if __name__ == "__main__":
    trio.run(main)
