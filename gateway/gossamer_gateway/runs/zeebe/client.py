"""What the executor asks of a Zeebe, over its gRPC, and whether it answers.

A call whose answer is certain gives it. One that the engine did not answer, or answered with "not
now", is made again, ever more slowly, until it is answered: who calls waits. So every call here may
take effect twice, and is one for which that is harmless or is cared for by who calls. That an
engine is away is said once, and that it is back.
"""

import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import TypeVar

import trio
from google.protobuf.message import DecodeError, Message

from gossamer_gateway.errors import InputError, RequestError
from gossamer_gateway.runs.zeebe.steering import RUN
from gossamer_gateway.upstreams import rpc
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node import logs
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.engines.zeebe.gateway_pb2 import ActivatedJob
from gossamer_node.errors import EngineError
from gossamer_node.grpc import Code, RpcError, ServerStream

log = logs.get("workflows")

WORKER = "gossamer-workflows"
"""What Zeebe is told of who works its jobs."""

DEFAULT_TENANT = "<default>"

WAIT_S, WAIT_S_MAX = 0.1, 5.0
"""Before a call is made again: the first time, and at most."""

STREAM_AGAIN_S = 0.5
"""Between streams of which one failed."""

STREAM_MS_MAX = 630_000
"""When the engine ends a stream by itself. What it pushes until then to a gateway that is gone, and
whose connection is not, stays locked for nobody."""

MESSAGE_CHARACTERS_MAX = 1_000
"""Of an engine's refusal; that of a process repeats what was sent."""

_CERTAIN = frozenset(
    (
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.UNIMPLEMENTED,
    )
)
"""Statuses with which the same call would be answered again."""

_Answer = TypeVar("_Answer", bound=Message)


class DeploymentRefused(RequestError):
    """Zeebe does not take a process that we made."""


class Effect(Enum):
    """What became of a job's settlement."""

    DONE = auto()
    GONE = auto()
    """There is no such job: it was completed, or its instance has ended."""
    STUCK = auto()
    """Somebody failed it, so that it has an incident."""


class Zeebe:
    """One Zeebe. Safe to use from several tasks at once."""

    def __init__(self, upstream: Upstream) -> None:
        """Raises: InputError, no gRPC is configured."""
        if upstream.channel is None:
            raise InputError(
                f"workflows run on engine {upstream.name} over its gRPC; write its address, "
                "`grpc: HOST:PORT`, beside its url"
            )
        self._upstream = upstream
        self.name = upstream.name
        self.is_away = False
        self._answered_s = -math.inf

    async def deploy(self, resource: str, xml: bytes, *, patiently: bool = True) -> int | None:
        """Deploys a process; gives its definition's key, the known one if nothing changed.

        Args:
            patiently: wait for an engine that is away; False: give None.

        Raises: DeploymentRefused.
        """
        request = zeebe.DeployResourceRequest(
            resources=[zeebe.Resource(name=resource, content=xml)], tenantId=self._tenant()
        )
        try:
            told = await self._ask(
                "DeployResource", request, zeebe.DeployResourceResponse, patiently=patiently
            )
        except RpcError as error:
            said = error.said[:MESSAGE_CHARACTERS_MAX]
            raise DeploymentRefused(f"{self.name} refuses {resource}: {said}") from None
        return None if told is None else told.deployments[0].process.processDefinitionKey

    async def create(self, definition: int, variables: Mapping[str, str]) -> int | None:
        """Starts an instance, maybe two. Gives its key; None: there is no such definition."""
        request = zeebe.CreateProcessInstanceRequest(
            processDefinitionKey=definition, variables=_json(variables), tenantId=self._tenant()
        )
        try:
            told = await self._ask(
                "CreateProcessInstance", request, zeebe.CreateProcessInstanceResponse
            )
        except RpcError as error:
            if error.code is Code.NOT_FOUND:
                return None
            raise DeploymentRefused(f"{self.name} starts no instance: {error.said}") from None
        assert told is not None, "it was asked for patiently"
        return told.processInstanceKey

    async def activate(self, type: str, *, jobs_max: int, lock_ms: int) -> list[ActivatedJob]:
        """Jobs of a type that are free now; none, where it failed.

        Shielded: what an engine has handed out is not thrown away.
        """
        request = zeebe.ActivateJobsRequest(
            type=type,
            worker=WORKER,
            timeout=lock_ms,
            maxJobsToActivate=jobs_max,
            requestTimeout=-1,  # it does not wait
            fetchVariable=[RUN],
            tenantIds=[self._tenant() or DEFAULT_TENANT],
        )
        data = request.SerializeToString()
        asked_s = trio.current_time()
        try:
            answers = await rpc.call(self._upstream, _path("ActivateJobs"), data)
            jobs = [
                job
                for answer in answers
                for job in zeebe.ActivateJobsResponse.FromString(answer).jobs
            ]
        except (RpcError, EngineError, DecodeError) as error:
            self._failed(error, asked_s)
            return []
        self._answered()
        return jobs

    @asynccontextmanager
    async def stream(self, type: str, *, lock_ms: int) -> AsyncIterator["Stream"]:
        """Has jobs of a type pushed here as they come. What was there before is not.

        Raises: RpcError, EngineError.
        """
        request = zeebe.StreamActivatedJobsRequest(
            type=type,
            worker=WORKER,
            timeout=lock_ms,
            fetchVariable=[RUN],
            tenantIds=[self._tenant() or DEFAULT_TENANT],
        )
        path = _path("StreamActivatedJobs")
        data = request.SerializeToString()
        async with rpc.stream(self._upstream, path, data, server_ends_ms=STREAM_MS_MAX) as pushed:
            self._answered()
            yield Stream(pushed)

    async def failed(self, error: Exception, asked_s: float) -> None:
        """A stream failed that was asked for then; returns when another may be opened."""
        self._failed(error, asked_s)
        await trio.sleep(STREAM_AGAIN_S)

    async def complete(self, job: int, variables: Mapping[str, str]) -> Effect:
        """Completes a job."""
        request = zeebe.CompleteJobRequest(jobKey=job, variables=_json(variables))
        return await self._settle("CompleteJob", request)

    async def lock(self, job: int, for_ms: int) -> Effect:
        """Has a job be ours for so long from now."""
        request = zeebe.UpdateJobTimeoutRequest(jobKey=job, timeout=for_ms)
        return await self._settle("UpdateJobTimeout", request)

    async def cancel(self, instance: int) -> Effect:
        """Ends an instance."""
        request = zeebe.CancelProcessInstanceRequest(processInstanceKey=instance)
        return await self._settle("CancelProcessInstance", request)

    async def has(self, instance: int) -> bool:
        """Whether an instance is there and has not ended. (8.6 tells nothing; it may be asked to
        set no variables.)"""
        request = zeebe.SetVariablesRequest(elementInstanceKey=instance, variables="{}", local=True)
        return await self._settle("SetVariables", request) is not Effect.GONE

    async def _settle(self, method: str, request: Message) -> Effect:
        try:
            await self._ask(method, request, zeebe.CompleteJobResponse)
        except RpcError as error:
            return Effect.GONE if error.code is Code.NOT_FOUND else Effect.STUCK
        return Effect.DONE

    async def _ask(
        self, method: str, request: Message, kind: type[_Answer], *, patiently: bool = True
    ) -> _Answer | None:
        """Raises: RpcError with a status that is certain."""
        wait_s = WAIT_S
        data = request.SerializeToString()
        while True:
            asked_s = trio.current_time()
            try:
                (told,) = await rpc.call(self._upstream, _path(method), data)
                answer = kind.FromString(told)
            except RpcError as error:
                if error.by_server and error.code in _CERTAIN:
                    self._answered()
                    raise
                self._failed(error, asked_s)
            except (EngineError, DecodeError, ValueError) as error:
                self._failed(error, asked_s)
            else:
                self._answered()
                return answer
            if not patiently:
                return None
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, WAIT_S_MAX)

    def _failed(self, error: Exception, asked_s: float) -> None:
        # Backpressure is an answer; and what was asked before the last answer came says nothing.
        is_busy = isinstance(error, RpcError) and error.code is Code.RESOURCE_EXHAUSTED
        if not self.is_away and not is_busy and asked_s > self._answered_s:
            self.is_away = True
            log.warning(
                "Zeebe does not answer; runs that it has to go on with wait for it",
                engine=self.name,
                error=str(error),
            )

    def _answered(self) -> None:
        self._answered_s = trio.current_time()
        if self.is_away:
            self.is_away = False
            log.info("Zeebe answers again", engine=self.name)

    def _tenant(self) -> str:
        return self._upstream.tenant or ""


class Stream:
    """Jobs that an engine pushes."""

    def __init__(self, pushed: ServerStream) -> None:
        self._pushed = pushed

    async def receive(self) -> ActivatedJob | None:
        """The next job; None when the engine has ended the stream.

        Raises: RpcError; DecodeError.
        """
        message = await self._pushed.receive()
        return None if message is None else ActivatedJob.FromString(message)

    async def cease(self) -> list[ActivatedJob]:
        """Ends the stream; gives what was on its way."""
        return [ActivatedJob.FromString(one) for one in await self._pushed.cease()]


def _path(method: str) -> str:
    return f"/gateway_protocol.Gateway/{method}"


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(values, separators=(",", ":"))
