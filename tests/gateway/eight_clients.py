"""Clients of Camunda 8 that know nothing of a gateway: one over REST v2, one over gRPC (grpcio).

Both say the same things, so that a test holds both wires to the same. What is refused is `Refusal`,
with the status of REST and the code of gRPC on one scale.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import httpx
import trio
from google.protobuf.message import Message
from tests.gateway.gate import Gate

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe

PATIENCE_S = 60.0
LOCK_LONG_MS = 300_000

STATUS_OF = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class Refusal(Exception):
    """The gateway said no."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status
        self.said = said


@dataclass(frozen=True)
class WireJob:
    """An activated job, from whichever wire."""

    key: int
    type: str
    process: str
    instance: int
    element: str
    element_instance: int
    definition: int
    retries: int
    deadline: int
    worker: str
    variables: Mapping[str, Any]
    headers: Mapping[str, Any]
    tenant: str


@dataclass(frozen=True)
class Created:
    instance: int
    definition: int
    process: str
    version: int
    variables: Mapping[str, Any] = field(default_factory=dict)


class Client(Protocol):
    """What a client of Camunda 8 may say."""

    async def create(
        self, process: str, variables: Mapping[str, Any] = {}, *, engine: str | None = None,
        definition: int = 0, version: int = -1, wait_ms: int | None = None,
        names: Sequence[str] = (),
    ) -> Created: ...  # fmt: skip

    async def activate(
        self, type: str, *, most: int = 10, wait_ms: int = 10_000, lock_ms: int = LOCK_LONG_MS,
        worker: str = "w", names: Sequence[str] = (),
    ) -> list[WireJob]: ...  # fmt: skip

    async def complete(self, key: int, variables: Mapping[str, Any] = {}) -> None: ...

    async def fail(
        self, key: int, *, retries: int = 0, message: str = "", back_off_ms: int = 0,
        variables: Mapping[str, Any] = {},
    ) -> None: ...  # fmt: skip

    async def throw(
        self, key: int, code: str, *, message: str = "", variables: Mapping[str, Any] = {}
    ) -> None: ...

    async def set_timeout(self, key: int, timeout_ms: int) -> None: ...

    async def set_retries(self, key: int, retries: int) -> None: ...

    async def cancel(self, key: int) -> None: ...


class RestClient:
    """Over REST v2, with numbers for keys, as the client of 8.6."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = await self.http.request(method, f"/v2{path}", json=body, timeout=600, **more)
        if answer.status_code >= 300:
            told = answer.json()
            assert answer.headers["content-type"].startswith("application/problem+json"), told
            assert told["status"] == answer.status_code
            assert told["type"] == "about:blank" and told["title"]
            raise Refusal(answer.status_code, told["detail"])
        return answer.json() if answer.content else None

    async def create(
        self, process: str, variables: Mapping[str, Any] = {}, *, engine: str | None = None,
        definition: int = 0, version: int = -1, wait_ms: int | None = None,
        names: Sequence[str] = (),
    ) -> Created:  # fmt: skip
        body: dict[str, Any] = {"variables": variables}
        body |= (
            {"processDefinitionKey": definition} if definition else {"processDefinitionId": process}
        )
        if version != -1:
            body["processDefinitionVersion"] = version
        if wait_ms is not None:
            body |= {"awaitCompletion": True, "requestTimeout": wait_ms}
            body["fetchVariables"] = list(names)
        headers = {ENGINE_HEADER: engine} if engine else {}
        told = await self.send("POST", "/process-instances", body, headers=headers)
        return Created(
            told["processInstanceKey"], told["processDefinitionKey"], told["processDefinitionId"],
            told["processDefinitionVersion"], told["variables"],
        )  # fmt: skip

    async def activate(
        self, type: str, *, most: int = 10, wait_ms: int = 10_000, lock_ms: int = LOCK_LONG_MS,
        worker: str = "w", names: Sequence[str] = (),
    ) -> list[WireJob]:  # fmt: skip
        body = {
            "type": type, "timeout": lock_ms, "maxJobsToActivate": most, "worker": worker,
            "requestTimeout": wait_ms, "fetchVariable": list(names),
        }  # fmt: skip
        told = await self.send("POST", "/jobs/activation", body)
        for job in told["jobs"]:
            assert job["jobKey"] == str(job["key"])
        return [
            WireJob(
                job["key"], job["type"], job["processDefinitionId"], job["processInstanceKey"],
                job["elementId"], job["elementInstanceKey"], job["processDefinitionKey"],
                job["retries"], job["deadline"], job["worker"], job["variables"],
                job["customHeaders"], job["tenantId"],
            )
            for job in told["jobs"]
        ]  # fmt: skip

    async def complete(self, key: int, variables: Mapping[str, Any] = {}) -> None:
        await self.send("POST", f"/jobs/{key}/completion", {"variables": variables})

    async def fail(
        self, key: int, *, retries: int = 0, message: str = "", back_off_ms: int = 0,
        variables: Mapping[str, Any] = {},
    ) -> None:  # fmt: skip
        body: dict[str, Any] = {"errorMessage": message, "retryBackOff": back_off_ms}
        if retries:  # left out it means 0
            body["retries"] = retries
        if variables:
            body["variables"] = variables
        await self.send("POST", f"/jobs/{key}/failure", body)

    async def throw(
        self, key: int, code: str, *, message: str = "", variables: Mapping[str, Any] = {}
    ) -> None:
        body = {"errorCode": code, "errorMessage": message, "variables": variables}
        await self.send("POST", f"/jobs/{key}/error", body)

    async def set_timeout(self, key: int, timeout_ms: int) -> None:
        await self.send("PATCH", f"/jobs/{key}", {"changeset": {"timeout": timeout_ms}})

    async def set_retries(self, key: int, retries: int) -> None:
        await self.send("PATCH", f"/jobs/{key}", {"changeset": {"retries": retries}})

    async def cancel(self, key: int) -> None:
        await self.send("POST", f"/process-instances/{key}/cancellation", {})


class GrpcClient:
    """Over gRPC, by the library that most clients are made on."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    async def call(
        self, method: str, request: Message, answer: type[Message], *, many: bool = False,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> Any:  # fmt: skip
        make: Callable[..., Any] = self.channel.unary_stream if many else self.channel.unary_unary
        stub = make(
            f"/gateway_protocol.Gateway/{method}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=answer.FromString,
        )

        def ask() -> Any:
            told = stub(request, timeout=600, metadata=metadata)
            return list(told) if many else told

        try:
            return await trio.to_thread.run_sync(ask)
        except grpc.RpcError as error:
            raise Refusal(STATUS_OF[error.code()], error.details() or "") from None

    async def create(
        self, process: str, variables: Mapping[str, Any] = {}, *, engine: str | None = None,
        definition: int = 0, version: int = -1, wait_ms: int | None = None,
        names: Sequence[str] = (),
    ) -> Created:  # fmt: skip
        asked = zeebe.CreateProcessInstanceRequest(variables=json.dumps(variables))
        if definition:
            asked.processDefinitionKey = definition
        else:
            asked.bpmnProcessId, asked.version = process, version
        metadata = [(ENGINE_HEADER, engine)] if engine else []
        if wait_ms is None:
            told = await self.call(
                "CreateProcessInstance", asked, zeebe.CreateProcessInstanceResponse,
                metadata=metadata,
            )  # fmt: skip
            found = {}
        else:
            told = await self.call(
                "CreateProcessInstanceWithResult",
                zeebe.CreateProcessInstanceWithResultRequest(
                    request=asked, requestTimeout=wait_ms, fetchVariables=names
                ),
                zeebe.CreateProcessInstanceWithResultResponse,
                metadata=metadata,
            )
            found = json.loads(told.variables)
        return Created(
            told.processInstanceKey, told.processDefinitionKey, told.bpmnProcessId, told.version,
            found,
        )  # fmt: skip

    async def activate(
        self, type: str, *, most: int = 10, wait_ms: int = 10_000, lock_ms: int = LOCK_LONG_MS,
        worker: str = "w", names: Sequence[str] = (),
    ) -> list[WireJob]:  # fmt: skip
        asked = zeebe.ActivateJobsRequest(
            type=type, timeout=lock_ms, maxJobsToActivate=most, worker=worker,
            requestTimeout=wait_ms, fetchVariable=names,
        )  # fmt: skip
        told = await self.call("ActivateJobs", asked, zeebe.ActivateJobsResponse, many=True)
        return [wire_job(job) for part in told for job in part.jobs]

    async def complete(self, key: int, variables: Mapping[str, Any] = {}) -> None:
        asked = zeebe.CompleteJobRequest(jobKey=key, variables=json.dumps(variables))
        await self.call("CompleteJob", asked, zeebe.CompleteJobResponse)

    async def fail(
        self, key: int, *, retries: int = 0, message: str = "", back_off_ms: int = 0,
        variables: Mapping[str, Any] = {},
    ) -> None:  # fmt: skip
        asked = zeebe.FailJobRequest(
            jobKey=key, retries=retries, errorMessage=message, retryBackOff=back_off_ms,
            variables=json.dumps(variables),
        )  # fmt: skip
        await self.call("FailJob", asked, zeebe.FailJobResponse)

    async def throw(
        self, key: int, code: str, *, message: str = "", variables: Mapping[str, Any] = {}
    ) -> None:
        asked = zeebe.ThrowErrorRequest(
            jobKey=key, errorCode=code, errorMessage=message, variables=json.dumps(variables)
        )
        await self.call("ThrowError", asked, zeebe.ThrowErrorResponse)

    async def set_timeout(self, key: int, timeout_ms: int) -> None:
        asked = zeebe.UpdateJobTimeoutRequest(jobKey=key, timeout=timeout_ms)
        await self.call("UpdateJobTimeout", asked, zeebe.UpdateJobTimeoutResponse)

    async def set_retries(self, key: int, retries: int) -> None:
        asked = zeebe.UpdateJobRetriesRequest(jobKey=key, retries=retries)
        await self.call("UpdateJobRetries", asked, zeebe.UpdateJobRetriesResponse)

    async def cancel(self, key: int) -> None:
        asked = zeebe.CancelProcessInstanceRequest(processInstanceKey=key)
        await self.call("CancelProcessInstance", asked, zeebe.CancelProcessInstanceResponse)


def wire_job(job: Any) -> WireJob:
    return WireJob(
        job.key, job.type, job.bpmnProcessId, job.processInstanceKey, job.elementId,
        job.elementInstanceKey, job.processDefinitionKey, job.retries, job.deadline, job.worker,
        json.loads(job.variables), json.loads(job.customHeaders), job.tenantId,
    )  # fmt: skip


@asynccontextmanager
async def open_client(gate: Gate, wire: str) -> AsyncIterator[Client]:
    """A client over `rest` or `grpc`."""
    if wire == "rest":
        yield RestClient(gate.http)
        return
    channel = grpc.insecure_channel(gate.grpc)
    try:
        yield GrpcClient(channel)
    finally:
        await trio.to_thread.run_sync(channel.close)
