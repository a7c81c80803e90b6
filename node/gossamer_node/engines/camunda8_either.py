"""Camunda 8 over gRPC while that answers, and over REST while it does not.

The choice is made by the first call and at each `probe`, which the node repeats whenever an engine
stopped answering, so a gateway whose gRPC port is closed by a firewall is worked over REST. While
REST serves, a poll now and then looks first whether gRPC answers by now: gateways that start often
do later than their REST. The other way nothing changes sides by itself: a call that failed may have
been heard. Keys and locks are the engine's, so a job that was activated over one is settled over
the other as well.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from gossamer_node import logs
from gossamer_node.engines.camunda8 import BASE_PATH, Camunda8
from gossamer_node.engines.camunda8_grpc import Camunda8Grpc
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import (
    Capability,
    EngineInfo,
    JobStream,
    ProcessInstance,
    Settlement,
    TopicRequest,
)
from gossamer_node.engines.rest import RestClient
from gossamer_node.errors import EngineError, EngineUnavailable, Unsupported
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef
from gossamer_node.variables import Variables

log = logs.get("engines")

LOOK_MS_MIN = 10_000
"""Between two looks for gRPC while REST serves: soon enough for a gateway that starts."""

LOOK_MS_MAX = 600_000
"""The same after looks in vain, each twice as long: where a firewall swallows the question, a poll
begins five seconds late."""


class Camunda8Either:
    """One Camunda 8. See `port.Engine` for what each method does and raises."""

    kind: str = "camunda8"
    topics_per_activation_max: int | None = 1
    capabilities: frozenset[Capability] = Camunda8.capabilities

    def __init__(self, config: EngineConfig) -> None:
        self.name = config.name
        rest = RestClient(config, base_path=BASE_PATH)
        self._rest = Camunda8(config, rest)
        self._grpc = Camunda8Grpc(config, rest)
        self._chosen: Camunda8 | Camunda8Grpc | None = None
        self._pause_ms = LOOK_MS_MIN
        self._look_at_s = 0.0

    @property
    def transport(self) -> str:
        return (self._chosen or self._grpc).transport

    async def probe(self) -> EngineInfo:
        try:
            info = await self._grpc.probe()
        except EngineUnavailable as grpc_error:
            try:
                info = await self._rest.probe()
            except EngineUnavailable as error:
                raise EngineUnavailable(
                    f"{error} Nor over gRPC: {grpc_error}", retry_after_ms=error.retry_after_ms
                ) from error
            self._choose(self._rest)
        else:
            self._choose(self._grpc)
        return info

    def _choose(self, engine: Camunda8 | Camunda8Grpc) -> None:
        if engine is self._rest:
            self._look_at_s = trio.current_time() + self._pause_ms / 1_000
            self._pause_ms = min(LOOK_MS_MAX, 2 * self._pause_ms)
        else:
            self._pause_ms = LOOK_MS_MIN
        if engine is not self._chosen:
            self._chosen = engine
            log.info("engine is asked", engine=self.name, over=engine.transport)

    async def _look(self) -> None:
        """Whether gRPC answers by now, if it is time for that. One at a time."""
        if self._chosen is self._rest and trio.current_time() >= self._look_at_s:
            self._choose(self._rest)
            with suppress(EngineError):
                await self._grpc.probe()
                self._choose(self._grpc)

    async def _engine(self) -> Camunda8 | Camunda8Grpc:
        if self._chosen is None:
            await self.probe()
            assert self._chosen is not None
        return self._chosen

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        engine = await self._engine()
        if engine is self._rest:
            await self._look()
            engine = await self._engine()
        return await engine.activate(
            topics, jobs_max=jobs_max, wait_ms=wait_ms, worker_id=worker_id
        )

    @asynccontextmanager
    async def stream(self, topic: TopicRequest, *, worker_id: str) -> AsyncIterator[JobStream]:
        """See `port.StreamingEngine`. Raises Unsupported while only REST answers."""
        engine = await self._engine()
        if not isinstance(engine, Camunda8Grpc):
            raise Unsupported(f"Engine {self.name!r} answers over REST alone; poll it.")
        async with engine.stream(topic, worker_id=worker_id) as stream:
            yield stream

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        return await (await self._engine()).extend(job, lock_ms)

    async def release(self, job: JobRef) -> Settlement:
        return await (await self._engine()).release(job)

    async def locked_by(self, worker_id: str) -> list[JobRef] | None:
        return await (await self._engine()).locked_by(worker_id)

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        return await (await self._engine()).complete(job, outcome)

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        return await (await self._engine()).fail(job, outcome)

    async def throw_error(self, job: JobRef, outcome: BpmnError) -> Settlement:
        return await (await self._engine()).throw_error(job, outcome)

    async def deploy(self, resources: Mapping[str, bytes]) -> list[str]:
        return await (await self._engine()).deploy(resources)

    async def start(
        self, process_id: str, *, variables: Variables, business_key: str | None = None
    ) -> str:
        engine = await self._engine()
        return await engine.start(process_id, variables=variables, business_key=business_key)

    async def start_and_wait(
        self, process_id: str, *, variables: Variables, wait_ms: int
    ) -> Variables | None:
        engine = await self._engine()
        return await engine.start_and_wait(process_id, variables=variables, wait_ms=wait_ms)

    async def read_variables(self, instance_key: str) -> Variables:
        return await self._rest.read_variables(instance_key)

    async def list_instances(self, process_id: str) -> list[ProcessInstance]:
        return await self._rest.list_instances(process_id)

    async def aclose(self) -> None:
        await self._grpc.aclose()
        await self._rest.aclose()
