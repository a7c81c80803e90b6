"""Who has which job: rows of `workflow_jobs`, looked at. Runs change them; nothing here does."""

from dataclasses import dataclass

from gossamer_gateway.storage import Rows

_COLUMNS = "run, step, attempt, queue, free_ms, worker"


@dataclass(frozen=True, slots=True)
class Held:
    """A job that waits for a worker, or that one has.

    Attributes:
        free_ms: until when it is its worker's, or since when it is free.
        worker: who has it, or had it until its lock ran out; None: nobody had.
    """

    run: str
    step: str
    attempt: int
    queue: str
    free_ms: int
    worker: str | None


def of_run(rows: Rows, run: str) -> list[Held]:
    """The jobs of a run."""
    found = rows.execute(f"SELECT {_COLUMNS} FROM workflow_jobs WHERE run = ?", (run,))  # noqa: S608
    return [Held(*one) for one in found]


def of_worker(rows: Rows, worker: str, now_ms: int, skip: int, limit: int) -> list[Held]:
    """The jobs that a worker has locked, in the order of their names."""
    found = rows.execute(
        f"SELECT {_COLUMNS} FROM workflow_jobs WHERE worker = ? AND free_ms > ?"  # noqa: S608
        " ORDER BY run, step LIMIT ? OFFSET ?",
        (worker, now_ms, limit, skip),
    )
    return [Held(*one) for one in found]
