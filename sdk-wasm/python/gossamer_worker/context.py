"""What a handler may know of its job beside the payload."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable

from gossamer_worker.messages import Job


@dataclass(frozen=True)
class Context:
    """Handed to handlers that take a second argument.

    Attributes:
        key: the idempotency key: the same for all attempts of the step in its run. Send it with
            everything that has an effect.
        attempt: counted from 1.
        due_ms: when the attempt counts as failed, in ms since 1970.
        worker: this worker's name.
    """

    run: str
    workflow: str
    step: str
    attempt: int
    action: str
    key: str
    due_ms: int
    worker: str
    _extend: Callable[[Job, int], None] = field(repr=False, compare=False)
    _job: Job = field(repr=False, compare=False)

    @property
    def remaining_s(self) -> float:
        """Until the attempt counts as failed, in seconds; never below 0."""
        return max(0.0, self.due_ms / 1000 - time.time())

    @property
    def is_over(self) -> bool:
        """Nobody waits for this attempt any more: a long handler should look, and give up."""
        return self.remaining_s <= 0

    def extend(self, lock_ms: int = 60_000) -> None:
        """Keeps the job this worker's for so long from now.

        It is seldom needed: a job at work is extended by itself. Over Kafka there is no lock, and
        this does nothing. The time until `due_ms` is not made longer.

        Raises: OSError: the gateway could not be asked.
        """
        self._extend(self._job, lock_ms)


def context_of(job: Job, worker: str, extend: Callable[[Job, int], None]) -> Context:
    """The context of a job."""
    return Context(
        job.run, job.workflow, job.step, job.attempt, job.action, job.key, job.due_ms,
        worker, extend, job,
    )  # fmt: skip
