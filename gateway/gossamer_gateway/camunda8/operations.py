"""The table of what is answered here: each operation, where it goes, and what it does at Camunda 7.

A face finds an operation by its own name for it, reads a `Request`, asks `place`, and then either
hands the client's bytes to the Camunda 8 or calls `seven`. That `place` is the one step that all
keyed and started things take is what lets a face ask who may.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gossamer_gateway.camunda8 import instances, jobs
from gossamer_gateway.camunda8.fields import Json
from gossamer_gateway.camunda8.places import Place, Request
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

ALL = (COMPLETE_JOB, FAIL_JOB, THROW_ERROR, UPDATE_JOB, CREATE_INSTANCE, CANCEL_INSTANCE)
