"""What every conformance test stands on: one engine, and processes of its own to work on.

Each test deploys its processes under names that no other test has, so tests share an engine
without meeting. What became of a job is seen where every engine shows it: in the job that the
engine hands out next. Waiting is done by the engine's own long poll, within `PATIENCE_S`.
"""

import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio
from tests.patience import patience

from gossamer_node.engines.port import Effect, Engine, TopicRequest
from gossamer_node.jobs import Completed, Failed, Job
from gossamer_node.variables import Variables
from gossamer_node.work.claiming import EARLY_MS

BPMN = Path(__file__).parent / "bpmn"

PATIENCE_S = 60.0
"""How long a test waits for what must happen, before it fails. Nothing is measured by it."""

LOCK_LONG_MS = 300_000
"""A lock that no test outlives: a job that is seen again under it was given back."""

LOCK_SHORT_MS = 300
"""A lock that a test waits out."""

EMPTY_MS = 200
"""A poll that is expected to bring nothing."""

WOKEN_MS = 10_000
"""A poll that is expected to be woken."""


@dataclass(frozen=True, slots=True)
class PathProcess:
    """The deployed `path` process: work, then after; or recover, when work throws CAUGHT."""

    process_id: str
    work: str
    after: str
    recover: str


def _prefix() -> str:
    return f"conf{uuid.uuid4().hex[:10]}-"


@dataclass(slots=True)
class Bench:
    """One engine under test, with the few steps that most tests take."""

    name: str
    """Which of the engines of conftest.py this is."""
    engine: Engine
    prefix: str = field(default_factory=_prefix)

    @property
    def holds_polls(self) -> bool:
        """Whether the engine keeps a poll that finds nothing: `held-poll` in DIFFERENCES.md."""
        return self.name != "camunda88"

    async def deploy(self, name: str) -> str:
        """Deploys `bpmn/{name}` in the engine's dialect. Returns its process id."""
        text = (BPMN / f"{name}.{self.engine.kind}.bpmn").read_text()
        content = text.replace("conf-", self.prefix).encode()
        (process_id,) = await self.engine.deploy({f"{self.prefix}{name}.bpmn": content})
        return process_id

    async def deploy_path(self) -> PathProcess:
        process_id = await self.deploy("path")
        return PathProcess(
            process_id, *(f"{process_id}-{task}" for task in ("work", "after", "recover"))
        )

    async def start_path(self, variables: Variables | None = None) -> PathProcess:
        """Deploys `path` and starts one instance of it."""
        path = await self.deploy_path()
        await self.engine.start(path.process_id, variables=variables or Variables())
        return path

    async def poll(
        self,
        topic: str,
        *,
        worker: str = "first",
        wait_ms: int = EMPTY_MS,
        lock_ms: int = LOCK_LONG_MS,
        names: tuple[str, ...] | None = None,
        jobs_max: int = 10,
    ) -> list[Job]:
        request = TopicRequest(topic, lock_ms, names)
        return await self.engine.activate(
            [request], jobs_max=jobs_max, wait_ms=wait_ms, worker_id=worker
        )

    async def job(
        self,
        topic: str,
        *,
        worker: str = "first",
        lock_ms: int = LOCK_LONG_MS,
        names: tuple[str, ...] | None = None,
    ) -> Job:
        """The one job of the topic, as soon as there is one."""
        with patience(PATIENCE_S):
            while True:
                jobs = await self.poll(topic, worker=worker, lock_ms=lock_ms, names=names)
                if jobs:
                    (job,) = jobs
                    return job

    async def wait(
        self, topic: str, *, worker: str = "first", wait_ms: int = WOKEN_MS
    ) -> list[Job]:
        """What one long poll brings, which something should wake. Where the engine holds none, it
        is asked again after as long as a claimer pauses then."""
        while True:
            jobs = await self.poll(topic, worker=worker, wait_ms=wait_ms)
            if jobs or self.holds_polls:
                return jobs
            await trio.sleep(EARLY_MS / 1_000)

    async def back_off(self, job: Job, failed: Failed) -> None:
        """Fails a job with a back-off whose end will be waited for.

        The 8.8 in memory may miss that end until it looks again (DIFFERENCES.md says how), so there
        another job's back-off ends soon afterwards.
        """
        other: Job | None = None
        if self.name == "camunda88":
            other = await self.job((await replace(self, prefix=_prefix()).start_path()).work)
        assert (await self.engine.fail(job.ref, failed)).effect is Effect.APPLIED
        if other is not None:
            later_ms = (failed.backoff_ms or 0) + LOCK_SHORT_MS
            await self.engine.fail(other.ref, replace(failed, backoff_ms=later_ms))

    async def finish_all(self, topic: str) -> None:
        """Completes the jobs of the topic that there are, at least one."""
        jobs: list[Job] = []
        with patience(PATIENCE_S):
            while not jobs:
                jobs = await self.poll(topic)
        for job in jobs:
            assert (await self.engine.complete(job.ref, Completed())).effect is Effect.APPLIED

    async def finish(self, topic: str) -> Job:
        """Completes the one job of the topic. Returns it as it was handed out."""
        job = await self.job(topic)
        assert (await self.engine.complete(job.ref, Completed())).effect is Effect.APPLIED
        return job
