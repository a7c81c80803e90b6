"""An engine as claimers meet it: locks that end, and checks as weak as the real ones.

Camunda 7 checks only the worker id: an outcome under the id that locked the job is taken, also
after the lock has ended and the job was fetched again under the same id. Camunda 8 checks nothing:
any outcome of a job that is still there is taken. Both were measured on the real engines. A job is
done when it is completed, or when its retries are used up (an incident, for a person to resolve).
"""

from dataclasses import dataclass

COMPLETED = "completed"
FAILED = "failed"
GONE = "gone"
NOT_OURS = "not ours"
RELEASED = "released"


@dataclass
class EngineJob:
    """One job. It can be activated when nobody has a lock on it that lasts and it is not done."""

    key: str
    topic: str
    retries: int
    free_at_ms: int = 0
    worker_id: str = ""
    activations: int = 0
    completions: int = 0
    done: bool = False
    done_by: str = ""


class EngineModel:
    """The jobs of one engine.

    Args:
        checks_worker_id: True as Camunda 7 does, False as Camunda 8 does.
    """

    def __init__(self, checks_worker_id: bool) -> None:
        self.jobs: dict[str, EngineJob] = {}
        self._checks_worker_id = checks_worker_id

    def add(self, key: str, topic: str, retries: int) -> None:
        """A process instance reaches a task."""
        self.jobs[key] = EngineJob(key, topic, retries)

    def activate(
        self, topics: set[str], jobs_max: int, lock_ms: int, worker_id: str, now_ms: int
    ) -> list[EngineJob]:
        """Locks up to `jobs_max` jobs for a worker."""
        free = [
            job
            for job in self.jobs.values()
            if not job.done and job.topic in topics and job.free_at_ms <= now_ms
        ][:jobs_max]
        for job in free:
            job.worker_id = worker_id
            job.free_at_ms = now_ms + lock_ms
            job.activations += 1
        return free

    def extend(self, key: str, worker_id: str, lock_ms: int, now_ms: int) -> bool:
        """Renews a lock; False when it is not this worker's, or the job is done."""
        job = self._find(key, worker_id)
        if isinstance(job, str):
            return False
        job.free_at_ms = now_ms + lock_ms
        return True

    def release(self, key: str, worker_id: str, now_ms: int) -> str:
        """Ends a lock at once."""
        job = self._find(key, worker_id)
        if isinstance(job, str):
            return job
        job.free_at_ms = now_ms
        return RELEASED

    def complete(self, key: str, worker_id: str, by: str) -> str:
        """Takes an outcome; `by` says whose, for the invariants."""
        job = self._find(key, worker_id)
        if isinstance(job, str):
            return job
        job.completions += 1
        job.done, job.done_by = True, by
        return COMPLETED

    def fail(self, key: str, worker_id: str, backoff_ms: int, now_ms: int) -> str:
        """Takes a failure: one retry fewer, and free again after the back-off."""
        job = self._find(key, worker_id)
        if isinstance(job, str):
            return job
        job.retries -= 1
        job.free_at_ms = now_ms + backoff_ms
        job.done = job.retries == 0
        return FAILED

    def _find(self, key: str, worker_id: str) -> EngineJob | str:
        job = self.jobs[key]
        if job.done:
            return GONE
        if self._checks_worker_id and job.worker_id != worker_id:
            return NOT_OURS
        return job
