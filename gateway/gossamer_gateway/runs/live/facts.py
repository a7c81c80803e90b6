"""What the bridge asks the rows: whose runs events are, where the log does not say it.

Only the first event of a run names its workflow. One that a page sees without having seen that is
looked up, once.
"""

from collections.abc import Mapping, Sequence

from gossamer_gateway.runs.live.bridge import Lookup
from gossamer_gateway.storage import Rows, Storage


def lookup(storage: Storage) -> Lookup:
    """Workflow and status of runs, from the rows of a storage."""

    async def look(runs: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        def command(rows: Rows, _now_ms: int) -> dict[str, tuple[str, str]]:
            marks = ", ".join("?" * len(runs))
            found = rows.execute(
                f"SELECT id, workflow, status FROM workflow_runs WHERE id IN ({marks})",  # noqa: S608
                tuple(runs),
            )
            return {id: (workflow, status) for id, workflow, status in found}

        return await storage.submit(command)

    return look
