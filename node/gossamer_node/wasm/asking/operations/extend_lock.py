"""`job.extend_lock`: keep the engine's lock for work that takes long."""

from collections.abc import Mapping
from typing import Any

import trio

from gossamer_node.wasm.asking.io_loop import Busy
from gossamer_node.wasm.asking.operations.errors import Code, OperationError, count
from gossamer_node.wasm.run import Run

LOCK_MS_MAX = 3_600_000


def extend_lock(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"lock_ms"}` → `{"extended"}`."""
    if not run.around.grant.extend_lock:
        raise OperationError(
            Code.DENIED,
            "job.extend_lock is not granted; request it in the service's capabilities and grant "
            "it in the node's configuration.",
        )
    lock_ms = count(request, "lock_ms", LOCK_MS_MAX)
    if lock_ms is None:
        raise OperationError(Code.BAD_REQUEST, "job.extend_lock wants lock_ms.")

    async def extend() -> bool:
        # The context may block for as long as an engine takes to answer.
        return await trio.to_thread.run_sync(
            run.context.extend_lock, lock_ms, abandon_on_cancel=True
        )

    try:
        extended = run.around.io.call(extend, run, run.remaining_s())
    except TimeoutError:
        raise OperationError(Code.DEADLINE, "The engine's answer came too late.") from None
    except Busy:
        raise OperationError(
            Code.UNAVAILABLE, "Too many operations are under way on this node."
        ) from None
    return {"extended": extended}
