"""An engine that is nothing but a source of jobs and a record of what became of them.

For what is between engines and workers: how claimers share the work, and what that costs. How
engines behave is for `tests/conformance`, on real ones.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence

import trio

from gossamer_node.engines.port import (
    Capability,
    Effect,
    EngineInfo,
    ProcessInstance,
    Settlement,
    TopicRequest,
)
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef
from gossamer_node.variables import Variables


class SourceEngine:
    """Hands out what `add` put in, to all who ask; one object for all nodes of a process."""

    kind = "camunda7"
    transport = "REST"
    capabilities: frozenset[Capability] = frozenset((Capability.LIST_LOCKED,))
    topics_per_activation_max: int | None = None

    def __init__(self, name: str = "source", payload: str = "") -> None:
        self.name = name
        self._values = {"payload": payload}
        self._ready: deque[tuple[str, str]] = deque()
        self._came = trio.Event()
        self._number = 0
        self.asked_by: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()
        self.released = 0

    def add(self, topic: str, count: int) -> None:
        """More jobs, each with a key of its own."""
        for _ in range(count):
            self._number += 1
            self._ready.append((f"job-{self._number}", topic))
        self._came.set()
        self._came = trio.Event()

    def waiting(self) -> int:
        """Jobs that nobody has taken."""
        return len(self._ready)

    async def probe(self) -> EngineInfo:
        return EngineInfo("source", "1", "0123456789")

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        locks_ms = {one.name: one.lock_ms for one in topics}
        jobs: list[Job] = []
        with trio.move_on_after(wait_ms / 1_000):
            while True:
                for key, topic in [one for one in self._ready if one[1] in locks_ms][:jobs_max]:
                    self._ready.remove((key, topic))
                    ref = JobRef(self.name, key, topic, worker_id)
                    jobs.append(Job(ref, Variables(dict(self._values)), locks_ms[topic]))
                if jobs or not wait_ms:
                    break
                await self._came.wait()
        await trio.lowlevel.checkpoint()
        self.asked_by[worker_id] += len(jobs)
        return jobs

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        return Settlement(Effect.APPLIED)

    async def release(self, job: JobRef) -> Settlement:
        self.released += 1
        self._ready.append((job.key, job.topic))
        self._came.set()
        self._came = trio.Event()
        return Settlement(Effect.APPLIED)

    async def locked_by(self, worker_id: str) -> list[JobRef] | None:
        return []

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        self.completed[job.key] += 1
        return Settlement(Effect.APPLIED)

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        raise AssertionError(f"{job.key} failed: {outcome.message}")

    async def throw_error(self, job: JobRef, outcome: BpmnError) -> Settlement:
        raise NotImplementedError

    async def deploy(self, resources: Mapping[str, bytes]) -> list[str]:
        raise NotImplementedError

    async def start(
        self, process_id: str, *, variables: Variables, business_key: str | None = None
    ) -> str:
        raise NotImplementedError

    async def start_and_wait(
        self, process_id: str, *, variables: Variables, wait_ms: int
    ) -> Variables | None:
        raise NotImplementedError

    async def read_variables(self, instance_key: str) -> Variables:
        raise NotImplementedError

    async def list_instances(self, process_id: str) -> list[ProcessInstance]:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass
