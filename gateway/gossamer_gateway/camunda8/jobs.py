"""What a client of Camunda 8 says of a job that is a task of Camunda 7.

Rules:

1. The task is settled under the worker id that locked it, with the types that its variables came
   with; both stand in `handed`. Whoever took the job last in this dialect may settle it and so may
   who had it before, as with Camunda 8, which asks nobody who he is.
2. A job without a row was failed with a back-off, or is out of retries, or nobody took it here: it
   isn't active, and that is INVALID_STATE, once the engine says that it is there at all.
3. A task that another worker of Camunda 7 has locked meanwhile isn't active here, either.
4. When Camunda 7 fails at the process's next step, the completion did not happen (500), and the
   task stays locked until its time is up. Camunda 8 would go on and leave an incident there.
5. `retries` that a failure leaves out mean 0, an incident, in both.
"""

from typing import Any

from gossamer_gateway import handed
from gossamer_gateway.camunda8 import seven
from gossamer_gateway.camunda8.fields import INT_MAX, Json
from gossamer_gateway.camunda8.places import Place, Request, place_of
from gossamer_gateway.camunda8.refusals import (
    INVALID_ARGUMENT,
    INVALID_STATE,
    NOT_FOUND,
    Refused,
    of_seven,
    rejected,
)
from gossamer_gateway.desk import Desk
from gossamer_gateway.storage.port import Rows

RELEASE_MS = 1
"""Camunda 7's shortest lock."""

MESSAGE_CHARS_MAX = 666
"""What Camunda 7 keeps of an error's message; the details keep all."""

_DOING = {
    "COMPLETE": "complete job",
    "FAIL": "fail job",
    "THROW_ERROR": "throw an error for job",
    "UPDATE": "update job",
}


def _unknown(command: str, key: int) -> Refused:
    return rejected(
        command,
        NOT_FOUND,
        f"Expected to {_DOING[command]} with key '{key}', but no such job was found",
    )


def _not_active(command: str, key: int) -> Refused:
    return rejected(
        command,
        INVALID_STATE,
        f"Expected to {_DOING[command]} with key '{key}', but it is in state 'FAILED'",
    )


async def place_to_complete(desk: Desk, request: Request) -> Place:
    return await place_of(desk, request.key, _unknown("COMPLETE", request.key))


async def place_to_fail(desk: Desk, request: Request) -> Place:
    return await place_of(desk, request.key, _unknown("FAIL", request.key))


async def place_to_throw(desk: Desk, request: Request) -> Place:
    return await place_of(desk, request.key, _unknown("THROW_ERROR", request.key))


async def place_to_update(desk: Desk, request: Request) -> Place:
    return await place_of(desk, request.key, _unknown("UPDATE", request.key))


async def complete(desk: Desk, place: Place, request: Request) -> None:
    variables = request.body.object("variables")
    body: Json = {}
    if variables:
        body["variables"] = seven.typed(variables, place.handed.types if place.handed else None)
    await _settle(desk, place, request.key, "COMPLETE", "complete", body)
    await _forget(desk, place)


async def fail(desk: Desk, place: Place, request: Request) -> None:
    retries = max(0, request.body.number("retries", largest=INT_MAX))
    back_off_ms = max(0, request.body.number("retryBackOff"))
    message = request.body.text("errorMessage")
    body: Json = {"retries": retries, "retryTimeout": back_off_ms}
    if message:
        body["errorMessage"] = message[:MESSAGE_CHARS_MAX]
        if len(message) > MESSAGE_CHARS_MAX:
            body["errorDetails"] = message
    if variables := request.body.object("variables"):
        body["localVariables"] = seven.typed(variables)
    await _settle(desk, place, request.key, "FAIL", "failure", body)
    if back_off_ms or not retries:
        await _forget(desk, place)


async def throw_error(desk: Desk, place: Place, request: Request) -> None:
    body: Json = {"errorCode": request.body.needed("errorCode")}
    if message := request.body.text("errorMessage"):  # Camunda 7 refuses an empty one
        body["errorMessage"] = message
    if variables := request.body.object("variables"):
        body["variables"] = seven.typed(variables, place.handed.types if place.handed else None)
    await _settle(desk, place, request.key, "THROW_ERROR", "bpmnError", body)
    await _forget(desk, place)


async def update(desk: Desk, place: Place, request: Request) -> None:
    """Changes the retries, the end of the lock, or both."""
    change = request.body.object("changeset")
    fields = type(request.body)(change)
    if change.get("retries") is None and change.get("timeout") is None:
        raise Refused(INVALID_ARGUMENT, "At least one of [retries, timeout] is required.")
    key = request.key
    if change.get("timeout") is not None:
        await _update_timeout(desk, place, key, fields.number("timeout"))
    if change.get("retries") is not None:
        await _update_retries(place, key, fields.number("retries", largest=INT_MAX))


async def _update_timeout(desk: Desk, place: Place, key: int, timeout_ms: int) -> None:
    row = place.handed
    timeout_ms = max(RELEASE_MS, timeout_ms)  # Camunda 8 takes 0 and less for an end at once
    inactive = rejected(
        "UPDATE",
        INVALID_ARGUMENT,
        f"Expected to update the timeout of job with key '{key}', but it is not active",
    )
    task = seven.path("external-task", place.id)
    if row is None:
        await _look(place, key, "UPDATE")
        raise inactive
    body = {"workerId": row.upstream, "newDuration": timeout_ms}
    answer = await seven.attempt(place.engine, "POST", f"{task}/extendLock", body)
    if answer.status == 404:
        raise _unknown("UPDATE", key)
    if answer.status == 400:
        raise inactive  # its lock has run out, or another has it
    if answer.status >= 300:
        raise of_seven(answer, place.engine, "UPDATE", f"extend the lock of job {key}")
    await desk.storage.submit(lambda rows, now_ms: handed.prolong(rows, row, now_ms + timeout_ms))


async def _update_retries(place: Place, key: int, retries: int) -> None:
    if retries <= 0:
        raise rejected(
            "UPDATE",
            INVALID_ARGUMENT,
            f"Expected to update retries for job with key '{key}' with a positive amount of "
            f"retries, but the amount given was '{retries}'",
        )
    await seven.ask(
        place.engine,
        "PUT",
        seven.path("external-task", place.id, "retries"),
        {"retries": retries},
        command="UPDATE",
        doing=f"set the retries of job {key}",
        unknown=_unknown("UPDATE", key),
    )


async def _settle(
    desk: Desk, place: Place, key: int, command: str, verb: str, body: dict[str, Any]
) -> None:
    if place.handed is None:
        await _look(place, key, command)
        raise _not_active(command, key)
    target = seven.path("external-task", place.id, verb)
    answer = await seven.attempt(
        place.engine, "POST", target, {"workerId": place.handed.upstream, **body}
    )
    if answer.status < 300:
        return
    if answer.status == 404:
        await _forget(desk, place)
        raise _unknown(command, key)
    if answer.status == 400 and seven.LOCKED_BY.search(answer.sentence()):
        raise _not_active(command, key)
    raise of_seven(answer, place.engine, command, f"{_DOING[command]} {key}")


async def _look(place: Place, key: int, command: str) -> None:
    """Raises Refused for a job that is no more."""
    await seven.ask(
        place.engine,
        "GET",
        seven.path("external-task", place.id),
        command=command,
        doing=f"show job {key}",
        unknown=_unknown(command, key),
    )


async def _forget(desk: Desk, place: Place) -> None:
    def forget(rows: Rows, _now_ms: int) -> None:
        handed.settled(rows, place.engine.name, place.id)

    await desk.storage.submit(forget)
