"""`job.progress`: how far a job is, for people who look on.

No grant is asked for, as for `log`: it reaches nobody but who runs the node, and is bounded. A word
costs a worker's own time and the room of one word, as only the last one is kept; what other nodes
hear of it goes with the heartbeats that they hear anyway. So more words than that are never sent,
and need no refusal.
"""

from collections.abc import Mapping
from typing import Any

from gossamer_mesh.leases.messages import PROGRESS_CHARS_MAX
from gossamer_node.service.secrets import blacked_out
from gossamer_node.wasm.asking.operations.errors import Code, OperationError, text
from gossamer_node.wasm.run import Run


def job_progress(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"done", "sentence"}` → `{}`."""
    done = request.get("done")
    if isinstance(done, bool) or not isinstance(done, int | float) or not 0 <= done <= 1:
        raise OperationError(Code.BAD_REQUEST, "done is not a number from 0 to 1.")
    sentence = text(request, "sentence") or ""
    secrets = run.around.secrets
    # As with lines of a log: no secret may escape by standing across the end.
    sentence = sentence[: PROGRESS_CHARS_MAX + secrets.bytes_max]
    if secrets.values:
        sentence = blacked_out(sentence, secrets.values)
    # It is shown on terminals: what could move their cursor, or break a line, becomes a space.
    shown = "".join(one if one.isprintable() else " " for one in sentence)
    run.context.progress(int(done * 1_000), shown[:PROGRESS_CHARS_MAX].strip())
    return {}
