"""Camunda 8 over gRPC: the Zeebe gateway's own protocol, all calls on one connection.

What `camunda8` says of the engine holds here as well; only the wire is another. A job that isn't
active any more is FAILED_PRECONDITION to an outcome, and to a new lock time, which can have
nothing else wrong with it, INVALID_ARGUMENT. Backpressure is RESOURCE_EXHAUSTED.

Beside the polls there is the stream, `StreamActivatedJobs`: the engine pushes a job the moment it
becomes active. It pushes without a limit and knows no backlog (what was active before the stream
began, or found no stream, waits for a poll), so it is only ever a shortcut for the time in which
polls would wait: `work.pushing` says when. To a stream whose client fell silent it goes on pushing,
again and again as locks end, so a stream has a deadline, which the engine keeps. What was on its
way when a stream was ended is still delivered (`grpc.wire`, rule 4), so that no job stays locked
for nobody.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import trio
from google.protobuf.message import DecodeError, Message

from gossamer_node.engines.camunda8 import (
    MESSAGE_CHARS_MAX,
    NO_VARIABLE,
    RELEASE_MS,
    RESULT_GRACE_MS,
    fingerprint,
    is_too_large,
    no_business_key,
    no_group,
    unreadable,
)
from gossamer_node.engines.camunda8_variables import from_json, to_json
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.polls import POLL_GRACE_MS, Polls
from gossamer_node.engines.port import (
    STREAM_MS_MAX,
    WAIT_MS_MAX,
    Capability,
    Effect,
    EngineInfo,
    JobStream,
    ProcessInstance,
    Settlement,
    TopicRequest,
)
from gossamer_node.engines.rest import ANSWER_MS_MAX, BACKPRESSURE_MS, POLLS_MAX, RestClient, trust
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.errors import EngineError, EngineRefused, EngineUnavailable
from gossamer_node.grpc import Channel, Code, RpcError, ServerStream
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef
from gossamer_node.variables import Variables

STREAM_GRACE_MS = 2_000
"""How long past `STREAM_MS_MAX` the engine keeps a stream that nobody ended. Ending one in good
order takes a round trip."""

AWAITED_MS = 600_000
"""How long the gateway may wait for an awaited result; we wait no longer than we are asked to. When
its own patience ends, 8.6 closes its connection to the broker, and every other call that is under
way there, ours or not, is ABORTED or lost (measured)."""

DEFAULT_TENANT = "<default>"
"""Named wherever jobs are asked for, as the vendor's clients do. A stream that names no tenant gets
no job from the 8.8 of our tests."""

JOBS_TAKEN_MAX = 256
"""Jobs of a stream that are handed on at once; more wait for the next turn."""

_REFUSALS = frozenset(
    (
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.UNIMPLEMENTED,
        Code.UNAUTHENTICATED,
    )
)
"""Statuses with which the same call would be answered again."""

_Answer = TypeVar("_Answer", bound=Message)


class Camunda8Grpc:
    """One Camunda 8. See `port.Engine` for what each method does and raises.

    Args:
        config: its `grpc` says where.
        rest: signs in for both, so that they share a token; closed by whom it belongs to.

    Raises: InputError, a certificate's file can't be used.
    """

    kind: str = "camunda8"
    transport: str = "gRPC"
    topics_per_activation_max: int | None = 1
    capabilities: frozenset[Capability] = frozenset(
        (Capability.DEPLOY, Capability.START, Capability.START_AND_WAIT)
    )

    def __init__(self, config: EngineConfig, rest: RestClient) -> None:
        assert config.grpc is not None
        self.name = config.name
        self._tenant = config.tenant
        self._rest = rest
        self._peer = f"Engine {config.name!r} at {config.grpc} (gRPC)"
        host, port = config.grpc_address()
        tls = None
        if config.url.startswith("https:"):
            tls = trust(config)
            tls.set_alpn_protocols(["h2"])
        self._channel = Channel(host, port, tls=tls, peer=self._peer)
        self._polls = Polls(self._peer, POLLS_MAX)

    async def probe(self) -> EngineInfo:
        told = await self._ask("Topology", zeebe.TopologyRequest(), zeebe.TopologyResponse)
        if not told.gatewayVersion:
            raise self._nonsense("tell its version")
        brokers = [(broker.host, broker.port) for broker in told.brokers]
        identity = fingerprint(None, brokers, self._tenant)
        return EngineInfo(self.kind, told.gatewayVersion, identity)

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        if not topics or jobs_max <= 0:
            return []
        if len(topics) > 1:
            raise no_group(self._peer, len(topics))
        (topic,) = topics
        wait_ms = min(wait_ms, WAIT_MS_MAX)
        request = zeebe.ActivateJobsRequest(
            type=topic.name,
            worker=worker_id,
            timeout=topic.lock_ms,
            maxJobsToActivate=jobs_max,
            # 0 would mean the server's own long poll; negative answers at once.
            requestTimeout=wait_ms if wait_ms > 0 else -1,
            fetchVariable=_names(topic),
            tenantIds=self._tenants(),
        )

        async def poll() -> list[Job]:
            try:
                answers = await self._call(
                    "ActivateJobs", request, wait_ms + POLL_GRACE_MS, waits=True
                )
            except RpcError as error:
                raise self._error(error) from error
            try:
                return [
                    self._job(job, topic.lock_ms, worker_id)
                    for answer in answers
                    for job in zeebe.ActivateJobsResponse.FromString(answer).jobs
                ]
            except (DecodeError, ValueError) as error:
                raise self._nonsense(f"hand out jobs of {topic.name}") from error

        return await self._polls.run(poll, self.release)

    @asynccontextmanager
    async def stream(self, topic: TopicRequest, *, worker_id: str) -> AsyncIterator[JobStream]:
        """See `port.StreamingEngine`."""
        request = zeebe.StreamActivatedJobsRequest(
            type=topic.name,
            worker=worker_id,
            timeout=topic.lock_ms,
            fetchVariable=_names(topic),
            tenantIds=self._tenants(),
        )
        header = await self._rest.authorization()
        try:
            async with self._channel.stream(
                "/gateway_protocol.Gateway/StreamActivatedJobs",
                request.SerializeToString(),
                server_ends_ms=STREAM_MS_MAX + STREAM_GRACE_MS,
                metadata=_metadata(header),
            ) as pushed:
                stream = _Stream(self, pushed, topic, worker_id)
                try:
                    yield stream
                finally:
                    await stream.give_back()
        except RpcError as error:
            if error.code is Code.UNAUTHENTICATED:
                self._rest.give_up(header)
            raise self._error(error) from error

    def _job(self, job: zeebe.ActivatedJob, lock_ms: int, worker_id: str) -> Job:
        if not job.key:
            raise ValueError("a job without a key")
        variables = from_json(_object(job.variables))
        headers = {str(name): str(value) for name, value in _object(job.customHeaders).items()}
        return Job(
            JobRef(self.name, str(job.key), job.type, worker_id, job.retries, variables.types),
            variables,
            lock_ms,
            process_id=job.bpmnProcessId,
            process_instance_key=str(job.processInstanceKey),
            element_id=job.elementId,
            tenant=None if job.tenantId in ("", DEFAULT_TENANT) else job.tenantId,
            headers=headers,
        )

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        return await self._set_timeout(job, lock_ms)

    async def release(self, job: JobRef) -> Settlement:
        return await self._set_timeout(job, RELEASE_MS)

    async def _set_timeout(self, job: JobRef, timeout_ms: int) -> Settlement:
        request = zeebe.UpdateJobTimeoutRequest(jobKey=_key(job), timeout=timeout_ms)
        return await self._settle("UpdateJobTimeout", request)

    async def locked_by(self, worker_id: str) -> list[JobRef] | None:
        return None  # Nothing here lists jobs.

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        variables = self._json(to_json(outcome.variables, job.types))
        request = zeebe.CompleteJobRequest(jobKey=_key(job), variables=variables)
        return await self._settle("CompleteJob", request)

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        retries = (job.retries or 0) - 1 if outcome.retries is None else outcome.retries
        message = f"{outcome.message}\n{outcome.details}" if outcome.details else outcome.message
        request = zeebe.FailJobRequest(
            jobKey=_key(job),
            retries=max(0, retries),
            errorMessage=_unicode(message[:MESSAGE_CHARS_MAX]),
            retryBackOff=max(0, outcome.backoff_ms or 0),
        )
        return await self._settle("FailJob", request)

    async def throw_error(self, job: JobRef, outcome: BpmnError) -> Settlement:
        if not outcome.code:
            # Its REST API refuses this; over gRPC 8.6 takes it and leaves an incident.
            raise EngineRefused(f"{self._peer} can't throw a BPMN error without a code.")
        request = zeebe.ThrowErrorRequest(
            jobKey=_key(job),
            errorCode=_unicode(outcome.code),
            errorMessage=_unicode(outcome.message),
            variables=self._json(to_json(outcome.variables, job.types)),
        )
        return await self._settle("ThrowError", request)

    async def _settle(self, method: str, request: Message) -> Settlement:
        try:
            # All these answers are empty; the status says what there is to say.
            (told,) = await self._call(method, request, ANSWER_MS_MAX)
            zeebe.CompleteJobResponse.FromString(told)
        except (DecodeError, ValueError) as error:
            raise self._nonsense(f"do {method}") from error
        except RpcError as error:
            if error.code is Code.NOT_FOUND:
                return Settlement(Effect.GONE, error.said)
            lock = method == "UpdateJobTimeout"
            if error.code is Code.FAILED_PRECONDITION or (
                lock and error.code is Code.INVALID_ARGUMENT
            ):
                return Settlement(Effect.NOT_OURS, error.said)
            if is_too_large(error.said):
                raise EngineRefused(str(error)) from error
            raise self._error(error) from error
        return Settlement(Effect.APPLIED)

    async def deploy(self, resources: Mapping[str, bytes]) -> list[str]:
        request = zeebe.DeployResourceRequest(
            resources=[
                zeebe.Resource(name=name, content=content) for name, content in resources.items()
            ],
            tenantId=self._tenant,
        )
        told = await self._ask("DeployResource", request, zeebe.DeployResourceResponse)
        return [
            deployed.process.bpmnProcessId
            for deployed in told.deployments
            if deployed.HasField("process")
        ]

    async def start(
        self, process_id: str, *, variables: Variables, business_key: str | None = None
    ) -> str:
        if business_key is not None:
            raise no_business_key(self._peer, process_id)
        request = self._start(process_id, variables)
        told = await self._ask(
            "CreateProcessInstance", request, zeebe.CreateProcessInstanceResponse
        )
        if not told.processInstanceKey:
            raise self._nonsense(f"start {process_id}")
        return str(told.processInstanceKey)

    async def start_and_wait(
        self, process_id: str, *, variables: Variables, wait_ms: int
    ) -> Variables | None:
        request = zeebe.CreateProcessInstanceWithResultRequest(
            request=self._start(process_id, variables), requestTimeout=max(wait_ms, AWAITED_MS)
        )
        method = "CreateProcessInstanceWithResult"
        try:
            (answer,) = await self._call(method, request, wait_ms + RESULT_GRACE_MS, waits=True)
            told = zeebe.CreateProcessInstanceWithResultResponse.FromString(answer)
            if not told.processInstanceKey:
                raise ValueError("an instance without a key")
            return from_json(_object(told.variables))
        except RpcError as error:
            if error.code is Code.DEADLINE_EXCEEDED:
                return None  # It was started, and did not end in time.
            raise self._error(error) from error
        except (DecodeError, ValueError) as error:
            raise self._nonsense(f"start {process_id} and wait for its end") from error

    def _start(self, process_id: str, variables: Variables) -> zeebe.CreateProcessInstanceRequest:
        return zeebe.CreateProcessInstanceRequest(
            bpmnProcessId=process_id,
            version=-1,  # the newest
            variables=self._json(to_json(variables, {})),
            tenantId=self._tenant,
        )

    async def read_variables(self, instance_key: str) -> Variables:
        raise unreadable(self._peer, f"the variables of instance {instance_key}")

    async def list_instances(self, process_id: str) -> list[ProcessInstance]:
        raise unreadable(self._peer, f"the instances of {process_id}")

    async def aclose(self) -> None:
        await self._polls.drain()
        await self._channel.aclose()

    async def _ask(self, method: str, request: Message, answer: type[_Answer]) -> _Answer:
        """A call with one answer. Raises EngineError."""
        try:
            (told,) = await self._call(method, request, ANSWER_MS_MAX)
            return answer.FromString(told)
        except RpcError as error:
            raise self._error(error) from error
        except (DecodeError, ValueError) as error:
            raise self._nonsense(f"do {method}") from error

    async def _call(
        self, method: str, request: Message, within_ms: int, *, waits: bool = False
    ) -> list[bytes]:
        """A second try with fresh credentials if the engine refuses the first. Raises RpcError."""
        path = f"/gateway_protocol.Gateway/{method}"
        renewed = False
        while True:
            header = await self._rest.authorization()
            try:
                return await self._channel.call(
                    path,
                    request.SerializeToString(),
                    timeout_ms=within_ms,
                    metadata=_metadata(header),
                    waits=waits,
                )
            except RpcError as error:
                refused = error.code is Code.UNAUTHENTICATED
                if not refused or renewed or not self._rest.give_up(header):
                    raise
            renewed = True

    def _error(self, error: RpcError) -> EngineError:
        if error.code is Code.UNAUTHENTICATED:
            return EngineRefused(f"{self._peer} refuses the credentials; check its auth.")
        if error.code in _REFUSALS:
            return EngineRefused(str(error))
        wait_ms = BACKPRESSURE_MS if error.code is Code.RESOURCE_EXHAUSTED else None
        return EngineUnavailable(str(error), retry_after_ms=wait_ms)

    def _nonsense(self, doing: str) -> EngineUnavailable:
        return EngineUnavailable(
            f"{self._peer} gave an answer that makes no sense when asked to {doing}; "
            "check that the address and the kind are right."
        )

    def _json(self, values: Mapping[str, Any]) -> str:
        try:
            return json.dumps(values, allow_nan=False, separators=(",", ":"))
        except (ValueError, TypeError, RecursionError) as error:
            raise EngineRefused(
                f"{self._peer} can't be sent these variables, they are no JSON: {error}."
            ) from error

    def _tenants(self) -> list[str]:
        return [DEFAULT_TENANT if self._tenant is None else self._tenant]


class _Stream:
    def __init__(
        self, engine: Camunda8Grpc, pushed: ServerStream, topic: TopicRequest, worker_id: str
    ) -> None:
        self._engine = engine
        self._pushed = pushed
        self._topic = topic
        self._worker_id = worker_id

    async def receive(self) -> list[Job]:
        first = await self._pushed.receive()
        if first is None:
            raise EngineUnavailable(f"{self._engine._peer} ended the stream of {self._topic.name}.")
        messages = [first]
        while len(messages) < JOBS_TAKEN_MAX:
            message = self._pushed.receive_nowait()
            if message is None:
                break
            messages.append(message)
        return self._jobs(messages)

    async def cease(self) -> list[Job]:
        return self._jobs(await self._pushed.cease())

    async def give_back(self) -> None:
        """What nobody asked for any more, as after a cancelled poll; nothing after `cease`."""
        with trio.CancelScope(shield=True), suppress(EngineError):
            for job in await self.cease():
                await self._engine.release(job.ref)

    def _jobs(self, messages: list[bytes]) -> list[Job]:
        try:
            return [
                self._engine._job(
                    zeebe.ActivatedJob.FromString(one), self._topic.lock_ms, self._worker_id
                )
                for one in messages
            ]
        except (DecodeError, ValueError) as error:
            raise self._engine._nonsense(f"push jobs of {self._topic.name}") from error


def _metadata(header: str | None) -> list[tuple[bytes, bytes]]:
    return [] if header is None else [(b"authorization", header.encode())]


def _names(topic: TopicRequest) -> Sequence[str]:
    return () if topic.variables is None else topic.variables or (NO_VARIABLE,)


def _key(job: JobRef) -> int:
    try:
        key = int(job.key)
        assert -(2**63) <= key < 2**63
    except (ValueError, AssertionError) as error:
        raise EngineRefused(f"{job.key!r} is no job key of engine {job.engine!r}.") from error
    return key


def _object(text: str) -> dict[str, Any]:
    """A JSON object. Raises ValueError for anything else."""
    try:
        value = json.loads(text or "{}")
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__} where a JSON object belongs")
    return value


def _unicode(text: str) -> str:
    """`text` as protobuf takes it: half a surrogate pair is no Unicode."""
    return text.encode(errors="replace").decode()
