"""The messages of `gateway.proto` as REST v2's JSON, and back. Pure.

A message's documents (`variables`, `customHeaders`) are JSON in text. Protobuf has no absent
numbers: a key of 0 is none, and a tenant that is empty is left to the engine.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from gossamer_gateway.camunda8 import operations
from gossamer_gateway.camunda8.fields import Fields, Json
from gossamer_gateway.camunda8.operations import Operation
from gossamer_gateway.camunda8.places import Request
from gossamer_gateway.camunda8.refusals import INVALID_ARGUMENT, Refused
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Form:
    """One method with one answer.

    Attributes:
        operation: what it means.
        request: its message.
        ask: the message as key and body of REST.
        answer: REST's JSON as the message that answers.
    """

    operation: Operation
    request: type[Message]
    ask: Callable[[Any], tuple[int, Json]]
    answer: Callable[[Json], Message]


def read(kind: type[M], data: bytes) -> M:
    """A message. Raises: Refused."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise Refused(INVALID_ARGUMENT, "The request is no message of its method") from None


def request_of(form: Form, message: Message, headers: Mapping[str, str]) -> Request:
    """What a message asks. Raises: Refused."""
    key, body = form.ask(message)
    files = {one.name: one.content for one in getattr(message, "resources", ())}
    files |= {one.name: one.definition for one in getattr(message, "processes", ())}
    return Request(key, Fields(body), headers, files)


def document(text: str) -> Json:
    """The JSON object in a field. Raises: Refused, in Zeebe's words."""
    try:
        value = json.loads(text or "{}", parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refused(INVALID_ARGUMENT, f"Invalid JSON value: {text[:100]}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = _TYPES.get(type(value), "NUMBER")
        raise Refused(
            INVALID_ARGUMENT,
            "Property 'variables' is invalid: Expected document to be a root level object, "
            f"but was '{kind}'",
        )
    return value


_TYPES: Mapping[type, str] = {list: "ARRAY", str: "STRING", bool: "BOOLEAN"}


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def text(value: Any) -> str:
    """JSON for a field."""
    return json.dumps(value, separators=(",", ":"))


def job(told: Json) -> zeebe.ActivatedJob:
    """A job of REST's form."""
    return zeebe.ActivatedJob(
        key=int(told["key"]),
        type=told["type"],
        processInstanceKey=int(told["processInstanceKey"]),
        bpmnProcessId=told["processDefinitionId"],
        processDefinitionVersion=told["processDefinitionVersion"],
        processDefinitionKey=int(told["processDefinitionKey"]),
        elementId=told["elementId"],
        elementInstanceKey=int(told["elementInstanceKey"]),
        customHeaders=text(told["customHeaders"]),
        worker=told["worker"],
        retries=told["retries"],
        deadline=told["deadline"],
        variables=text(told["variables"]),
        tenantId=told["tenantId"],
    )


def message_of(told: object) -> zeebe.ActivatedJob:
    """A job as it came over gRPC, or made of REST's form."""
    if isinstance(told, zeebe.ActivatedJob):
        return told
    assert isinstance(told, dict)
    return job(told)


def _key(value: Any) -> int:
    return int(value or 0)


# --- requests


def _complete(asked: zeebe.CompleteJobRequest) -> tuple[int, Json]:
    return asked.jobKey, {"variables": document(asked.variables)}


def _fail(asked: zeebe.FailJobRequest) -> tuple[int, Json]:
    return asked.jobKey, {
        "retries": asked.retries,
        "errorMessage": asked.errorMessage,
        "retryBackOff": asked.retryBackOff,
        "variables": document(asked.variables),
    }


def _throw(asked: zeebe.ThrowErrorRequest) -> tuple[int, Json]:
    return asked.jobKey, {
        "errorCode": asked.errorCode,
        "errorMessage": asked.errorMessage,
        "variables": document(asked.variables),
    }


def _retries(asked: zeebe.UpdateJobRetriesRequest) -> tuple[int, Json]:
    return asked.jobKey, {"changeset": {"retries": asked.retries}}


def _timeout(asked: zeebe.UpdateJobTimeoutRequest) -> tuple[int, Json]:
    return asked.jobKey, {"changeset": {"timeout": asked.timeout}}


def _create(asked: zeebe.CreateProcessInstanceRequest) -> tuple[int, Json]:
    body: Json = {"variables": document(asked.variables)}
    if asked.bpmnProcessId:
        body["processDefinitionId"] = asked.bpmnProcessId
        body["processDefinitionVersion"] = asked.version
    else:
        body["processDefinitionKey"] = asked.processDefinitionKey
    if asked.startInstructions:
        body["startInstructions"] = [
            {"elementId": one.elementId} for one in asked.startInstructions
        ]
    if asked.tenantId:
        body["tenantId"] = asked.tenantId
    return 0, body


def _create_and_wait(asked: zeebe.CreateProcessInstanceWithResultRequest) -> tuple[int, Json]:
    _, body = _create(asked.request)
    body |= {
        "awaitCompletion": True,
        "requestTimeout": asked.requestTimeout,
        "fetchVariables": list(asked.fetchVariables),
    }
    return 0, body


def _cancel(asked: zeebe.CancelProcessInstanceRequest) -> tuple[int, Json]:
    return asked.processInstanceKey, {}


def _nobody(_asked: Any) -> tuple[int, Json]:
    return 0, {}


def _modify(asked: zeebe.ModifyProcessInstanceRequest) -> tuple[int, Json]:
    return asked.processInstanceKey, {
        "activateInstructions": [
            {
                "elementId": one.elementId,
                "ancestorElementInstanceKey": one.ancestorElementInstanceKey,
                "variableInstructions": [
                    {"variables": document(told.variables), "scopeId": told.scopeId}
                    for told in one.variableInstructions
                ],
            }
            for one in asked.activateInstructions
        ],
        "terminateInstructions": [
            {"elementInstanceKey": one.elementInstanceKey} for one in asked.terminateInstructions
        ],
    }


def _migrate(asked: zeebe.MigrateProcessInstanceRequest) -> tuple[int, Json]:
    plan = asked.migrationPlan
    return asked.processInstanceKey, {
        "targetProcessDefinitionKey": plan.targetProcessDefinitionKey,
        "mappingInstructions": [
            {"sourceElementId": one.sourceElementId, "targetElementId": one.targetElementId}
            for one in plan.mappingInstructions
        ],
    }


def _set_variables(asked: zeebe.SetVariablesRequest) -> tuple[int, Json]:
    return asked.elementInstanceKey, {
        "variables": document(asked.variables),
        "local": asked.local,
    }


def _resolve(asked: zeebe.ResolveIncidentRequest) -> tuple[int, Json]:
    return asked.incidentKey, {}


def _delete(asked: zeebe.DeleteResourceRequest) -> tuple[int, Json]:
    return asked.resourceKey, {}


def _publish(asked: zeebe.PublishMessageRequest) -> tuple[int, Json]:
    body: Json = {
        "name": asked.name,
        "correlationKey": asked.correlationKey,
        "timeToLive": asked.timeToLive,
        "messageId": asked.messageId,
        "variables": document(asked.variables),
    }
    return 0, body | ({"tenantId": asked.tenantId} if asked.tenantId else {})


def _signal(asked: zeebe.BroadcastSignalRequest) -> tuple[int, Json]:
    body: Json = {"signalName": asked.signalName, "variables": document(asked.variables)}
    return 0, body | ({"tenantId": asked.tenantId} if asked.tenantId else {})


# --- answers


def _process(told: Json) -> zeebe.ProcessMetadata:
    return zeebe.ProcessMetadata(
        bpmnProcessId=told["processDefinitionId"],
        version=told["processDefinitionVersion"],
        processDefinitionKey=_key(told["processDefinitionKey"]),
        resourceName=told["resourceName"],
        tenantId=told.get("tenantId") or "",
    )


def _processes(told: Json) -> list[zeebe.ProcessMetadata]:
    found = [one.get("processDefinition") for one in told["deployments"]]
    return [_process(one) for one in found if one]


def _deployed(told: Json) -> zeebe.DeployResourceResponse:
    return zeebe.DeployResourceResponse(
        key=_key(told["deploymentKey"]),
        deployments=[zeebe.Deployment(process=one) for one in _processes(told)],
        tenantId=told.get("tenantId") or "",
    )


def _deployed_processes(told: Json) -> zeebe.DeployProcessResponse:
    return zeebe.DeployProcessResponse(key=_key(told["deploymentKey"]), processes=_processes(told))


def _published(told: Json) -> zeebe.PublishMessageResponse:
    return zeebe.PublishMessageResponse(
        key=_key(told["messageKey"]), tenantId=told.get("tenantId") or ""
    )


def _signalled(told: Json) -> zeebe.BroadcastSignalResponse:
    return zeebe.BroadcastSignalResponse(
        key=_key(told["signalKey"]), tenantId=told.get("tenantId") or ""
    )


def _variables_set(told: Json) -> zeebe.SetVariablesResponse:
    return zeebe.SetVariablesResponse(key=_key(told.get("key")))


def topology(told: Json) -> zeebe.TopologyResponse:
    """A topology of REST's form."""
    return zeebe.TopologyResponse(
        brokers=[
            zeebe.BrokerInfo(
                nodeId=broker["nodeId"],
                host=broker["host"],
                port=broker["port"],
                partitions=[
                    zeebe.Partition(
                        partitionId=one["partitionId"],
                        role=str(one["role"]).upper(),
                        health=str(one["health"]).upper(),
                    )
                    for one in broker["partitions"]
                ],
                version=broker["version"],
            )
            for broker in told["brokers"]
        ],
        clusterSize=told["clusterSize"],
        partitionsCount=told["partitionsCount"],
        replicationFactor=told["replicationFactor"],
        gatewayVersion=told["gatewayVersion"],
    )


def _created(told: Json) -> zeebe.CreateProcessInstanceResponse:
    return zeebe.CreateProcessInstanceResponse(
        processDefinitionKey=_key(told["processDefinitionKey"]),
        bpmnProcessId=told["processDefinitionId"],
        version=told["processDefinitionVersion"],
        processInstanceKey=_key(told["processInstanceKey"]),
        tenantId=told.get("tenantId") or "",
    )


def _created_and_ended(told: Json) -> zeebe.CreateProcessInstanceWithResultResponse:
    return zeebe.CreateProcessInstanceWithResultResponse(
        processDefinitionKey=_key(told["processDefinitionKey"]),
        bpmnProcessId=told["processDefinitionId"],
        version=told["processDefinitionVersion"],
        processInstanceKey=_key(told["processInstanceKey"]),
        variables=text(told.get("variables") or {}),
        tenantId=told.get("tenantId") or "",
    )


def _nothing(kind: type[Message]) -> Callable[[Json], Message]:
    return lambda _told: kind()


FORMS: Mapping[str, Form] = {
    "CompleteJob": Form(
        operations.COMPLETE_JOB,
        zeebe.CompleteJobRequest,
        _complete,
        _nothing(zeebe.CompleteJobResponse),
    ),
    "FailJob": Form(
        operations.FAIL_JOB, zeebe.FailJobRequest, _fail, _nothing(zeebe.FailJobResponse)
    ),
    "ThrowError": Form(
        operations.THROW_ERROR,
        zeebe.ThrowErrorRequest,
        _throw,
        _nothing(zeebe.ThrowErrorResponse),
    ),
    "UpdateJobRetries": Form(
        operations.UPDATE_JOB,
        zeebe.UpdateJobRetriesRequest,
        _retries,
        _nothing(zeebe.UpdateJobRetriesResponse),
    ),
    "UpdateJobTimeout": Form(
        operations.UPDATE_JOB,
        zeebe.UpdateJobTimeoutRequest,
        _timeout,
        _nothing(zeebe.UpdateJobTimeoutResponse),
    ),
    "CreateProcessInstance": Form(
        operations.CREATE_INSTANCE, zeebe.CreateProcessInstanceRequest, _create, _created
    ),
    "CreateProcessInstanceWithResult": Form(
        operations.CREATE_INSTANCE,
        zeebe.CreateProcessInstanceWithResultRequest,
        _create_and_wait,
        _created_and_ended,
    ),
    "CancelProcessInstance": Form(
        operations.CANCEL_INSTANCE,
        zeebe.CancelProcessInstanceRequest,
        _cancel,
        _nothing(zeebe.CancelProcessInstanceResponse),
    ),
    "ModifyProcessInstance": Form(
        operations.MODIFY_INSTANCE,
        zeebe.ModifyProcessInstanceRequest,
        _modify,
        _nothing(zeebe.ModifyProcessInstanceResponse),
    ),
    "MigrateProcessInstance": Form(
        operations.MIGRATE_INSTANCE,
        zeebe.MigrateProcessInstanceRequest,
        _migrate,
        _nothing(zeebe.MigrateProcessInstanceResponse),
    ),
    "SetVariables": Form(
        operations.SET_VARIABLES, zeebe.SetVariablesRequest, _set_variables, _variables_set
    ),
    "ResolveIncident": Form(
        operations.RESOLVE_INCIDENT,
        zeebe.ResolveIncidentRequest,
        _resolve,
        _nothing(zeebe.ResolveIncidentResponse),
    ),
    "DeployResource": Form(operations.DEPLOY, zeebe.DeployResourceRequest, _nobody, _deployed),
    "DeployProcess": Form(
        operations.DEPLOY, zeebe.DeployProcessRequest, _nobody, _deployed_processes
    ),
    "DeleteResource": Form(
        operations.DELETE_RESOURCE,
        zeebe.DeleteResourceRequest,
        _delete,
        _nothing(zeebe.DeleteResourceResponse),
    ),
    "PublishMessage": Form(
        operations.PUBLISH_MESSAGE, zeebe.PublishMessageRequest, _publish, _published
    ),
    "BroadcastSignal": Form(
        operations.BROADCAST_SIGNAL, zeebe.BroadcastSignalRequest, _signal, _signalled
    ),
}
"""The methods with one answer, by their names."""
