"""The table of what is answered here: each operation, where it goes, and what it does at Camunda 7.

A face finds an operation by its own name for it, reads a `Request`, asks `place`, and then either
hands the client's bytes to the Camunda 8 or calls `seven`. That `place` is the one step that all
keyed and started things take is what lets a face ask who may.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gossamer_gateway.camunda8 import changes, deployments, instances, jobs, messages, search
from gossamer_gateway.camunda8.fields import Json
from gossamer_gateway.camunda8.places import Place, Request, place_of
from gossamer_gateway.camunda8.refusals import NOT_FOUND, UNSUPPORTED, Refused
from gossamer_gateway.desk import Desk


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that clients ask.

    Attributes:
        method, path: REST's, with `{key}` where the key stands.
        key: what REST calls the key.
        place: finds the engine. Raises: Refused, GatewayError.
        seven: does it at an engine of Camunda 7's; answers in REST's form. Raises: Refused,
            EngineError, GatewayError.
    """

    method: str
    path: str
    key: str
    place: Callable[[Desk, Request], Awaitable[Place]]
    seven: Callable[[Desk, Place, Request], Awaitable[Json | None]]


COMPLETE_JOB = Operation(
    "POST", "/jobs/{key}/completion", "jobKey", jobs.place_to_complete, jobs.complete
)
FAIL_JOB = Operation("POST", "/jobs/{key}/failure", "jobKey", jobs.place_to_fail, jobs.fail)
THROW_ERROR = Operation(
    "POST", "/jobs/{key}/error", "jobKey", jobs.place_to_throw, jobs.throw_error
)
UPDATE_JOB = Operation("PATCH", "/jobs/{key}", "jobKey", jobs.place_to_update, jobs.update)
CREATE_INSTANCE = Operation(
    "POST", "/process-instances", "", instances.place_to_create, instances.create
)
CANCEL_INSTANCE = Operation(
    "POST",
    "/process-instances/{key}/cancellation",
    "processInstanceKey",
    instances.place_to_cancel,
    instances.cancel,
)

MODIFY_INSTANCE = Operation(
    "POST",
    "/process-instances/{key}/modification",
    "processInstanceKey",
    changes.place_to_modify,
    changes.modify,
)
MIGRATE_INSTANCE = Operation(
    "POST",
    "/process-instances/{key}/migration",
    "processInstanceKey",
    changes.place_to_migrate,
    changes.migrate,
)
SET_VARIABLES = Operation(
    "PUT",
    "/element-instances/{key}/variables",
    "elementInstanceKey",
    changes.place_of_element,
    changes.set_variables,
)
RESOLVE_INCIDENT = Operation(
    "POST",
    "/incidents/{key}/resolution",
    "incidentKey",
    changes.place_of_incident,
    changes.resolve,
)
DEPLOY = Operation("POST", "/deployments", "", deployments.place_to_deploy, deployments.deploy)
DELETE_RESOURCE = Operation(
    "POST",
    "/resources/{key}/deletion",
    "resourceKey",
    deployments.place_to_delete,
    deployments.delete,
)
PUBLISH_MESSAGE = Operation(
    "POST", "/messages/publication", "", messages.place_to_publish, messages.publish
)
CORRELATE_MESSAGE = Operation(
    "POST", "/messages/correlation", "", messages.place_to_correlate, messages.correlate
)
BROADCAST_SIGNAL = Operation(
    "POST", "/signals/broadcast", "", messages.place_to_signal, messages.signal
)
SEARCHES = tuple(
    Operation("POST", f"/{word}/search", "", search.place_to_search, searching)
    for word, searching in search.ALL.items()
)


async def _place_of_user_task(desk: Desk, request: Request) -> Place:
    said = f"Expected to find user task with key '{request.key}', but no such user task was found"
    return await place_of(desk, request.key, Refused(NOT_FOUND, said))


async def _no_user_tasks(_desk: Desk, place: Place, request: Request) -> None:
    raise Refused(
        UNSUPPORTED,
        f"The key {request.key} belongs to {place.engine.name}, a Camunda 7, whose user tasks are "
        "not reached by this API",
    )


USER_TASKS = tuple(
    Operation(
        method, f"/user-tasks/{{key}}{verb}", "userTaskKey", _place_of_user_task, _no_user_tasks
    )
    for method, verb in (
        ("POST", "/completion"),
        ("POST", "/assignment"),
        ("DELETE", "/assignee"),
        ("PATCH", ""),
    )
)

ALL = (
    *(COMPLETE_JOB, FAIL_JOB, THROW_ERROR, UPDATE_JOB),
    *(CREATE_INSTANCE, CANCEL_INSTANCE, MODIFY_INSTANCE, MIGRATE_INSTANCE),
    *(SET_VARIABLES, RESOLVE_INCIDENT, DEPLOY, DELETE_RESOURCE),
    *(PUBLISH_MESSAGE, CORRELATE_MESSAGE, BROADCAST_SIGNAL),
    *SEARCHES,
    *USER_TASKS,
)
