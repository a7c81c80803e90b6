"""An engine as claimers meet it: locks that end, and checks as weak as the real ones.

Camunda 7 checks only the worker id: an outcome under the id that locked the job is taken, also
after the lock has ended and the job was fetched again under the same id. Camunda 8 checks nothing:
any outcome of a job that is still there is taken. Both were measured on the real engines. A job is
done when it is completed, or when its retries are used up (an incident, for a person to resolve).
"""

from gossamer_mesh.leases.work import Extend, Release, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.work import EngineWork

COMPLETED = "completed"
FAILED = "failed"
GONE = "gone"
NOT_OURS = "not ours"
RELEASED = "released"
EXTENDED = "extended"


class EngineJob:
    """One job. It can be activated when nobody has a lock on it that lasts and it is not done.

    Attributes:
        free_at_ms: when the lock, or the pause after a failure, ends.
        locked_ms: when it was activated last; None once that was failed or released.
        worker_id: who locked it last.
        completed: how many completions the engine has taken.
    """

    def __init__(self, key: str, topic: str, retries: int) -> None:
        self.key = key
        self.topic = topic
        self.retries = retries
        self.free_at_ms = 0
        self.locked_ms: int | None = None
        self.worker_id = ""
        self.done = False
        self.completed = 0

    def __repr__(self) -> str:
        return f"<job {self.key} {self.topic} retries {self.retries} free at {self.free_at_ms}>"


class EngineModel:
    """The jobs of one engine.

    Args:
        checks_worker_id: True as Camunda 7 does, False as Camunda 8 does.
        backoff_ms: wait after a failure.
    """

    def __init__(self, checks_worker_id: bool, backoff_ms: int) -> None:
        self.jobs: dict[str, EngineJob] = {}
        self._checks_worker_id = checks_worker_id
        self._backoff_ms = backoff_ms

    def add(self, key: str, topic: str, retries: int) -> None:
        """A process instance reaches a task."""
        self.jobs[key] = EngineJob(key, topic, retries)

    def activate(
        self, topics: "set[str]", jobs_max: int, lock_ms: int, worker_id: str, now_ms: int
    ) -> "list[EngineJob]":
        """Locks up to `jobs_max` jobs for a worker."""
        free = [
            job
            for _, job in sorted(self.jobs.items())
            if not job.done and job.topic in topics and job.free_at_ms <= now_ms
        ][:jobs_max]
        for job in free:
            job.worker_id = worker_id
            job.locked_ms = now_ms
            job.free_at_ms = now_ms + lock_ms
        return free

    def locked_by(self, worker_id: str, now_ms: int) -> "list[EngineJob]":
        """Jobs that this worker has a lock on."""
        return [
            job
            for _, job in sorted(self.jobs.items())
            if job.locked_ms is not None
            and not job.done
            and job.worker_id == worker_id
            and job.free_at_ms > now_ms
        ]

    def call(self, work: "EngineWork", now_ms: int) -> str:
        """Does what a claimer asks, if the engine would. The receipt is `key|worker id`.

        An outcome begins with its verb; one that is None is the claimer's own report of a failure.
        """
        key, worker_id = work.receipt.decode().split("|")
        job = self.jobs[key]
        if job.done:
            return GONE
        if self._checks_worker_id and job.worker_id != worker_id:
            return NOT_OURS
        if isinstance(work, Extend):
            job.free_at_ms = now_ms + work.lock_ms
            return EXTENDED
        if isinstance(work, Release):
            job.free_at_ms = now_ms
            job.locked_ms = None
            return RELEASED
        if isinstance(work, Report) and (work.outcome or b"").startswith(COMPLETED.encode()):
            job.done = True
            job.completed += 1
            return COMPLETED
        job.retries -= 1
        job.free_at_ms = now_ms + self._backoff_ms
        job.locked_ms = None
        job.done = job.retries == 0
        return FAILED
