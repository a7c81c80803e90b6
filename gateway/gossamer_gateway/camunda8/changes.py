"""What changes a running instance of Camunda 7: variables, modification, migration, incidents.

An element instance is Camunda 7's instance itself, or an activity instance, whose execution only
the history tells.
"""

from typing import Any

from gossamer_gateway.camunda8 import seven
from gossamer_gateway.camunda8.fields import Fields, Json
from gossamer_gateway.camunda8.places import Place, Request, place_of
from gossamer_gateway.camunda8.refusals import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    Refused,
    lacks,
    of_seven,
    rejected,
)
from gossamer_gateway.desk import Desk
from gossamer_gateway.names.numbers import Named, named
from gossamer_gateway.storage.port import Rows

# --- variables


def _no_element(key: int) -> Refused:
    return rejected(
        "UPDATE",
        NOT_FOUND,
        f"Expected to update variables for element with key '{key}', but no such element was found",
    )


async def place_of_element(desk: Desk, request: Request) -> Place:
    if request.body.all.get("variables") is None:
        raise Refused(INVALID_ARGUMENT, "No variables provided.")
    return await place_of(desk, request.key, _no_element(request.key))


async def set_variables(desk: Desk, place: Place, request: Request) -> Json:
    """Without `local` they go to the whole instance, which Camunda 8 does but for names that a
    scope between has."""
    unknown = _no_element(request.key)
    body = {"modifications": seven.typed(request.body.object("variables"))}
    target = seven.path("process-instance", place.id, "variables")
    if ":" in place.id:  # an activity instance
        answer = await seven.ask(
            place.engine, "GET", seven.path("history", "activity-instance", place.id),
            command="UPDATE", doing=f"find element {request.key}", unknown=unknown,
        )  # fmt: skip
        row = answer.json_object()
        if row.get("endTime") is not None:
            raise unknown
        target = seven.path("process-instance", str(row.get("processInstanceId")), "variables")
        if request.body.flag("local"):
            target = seven.path("execution", str(row.get("executionId")), "localVariables")
    answer = await seven.attempt(place.engine, "POST", target, body)
    if answer.status == 404 or (answer.status == 500 and "is null" in answer.sentence()):
        raise unknown  # Camunda 7 says 500 of an execution that has ended
    if answer.status >= 300:
        raise of_seven(answer, place.engine, "UPDATE", f"set variables of {request.key}")
    return {"key": request.key}


# --- modification


def _no_instance(key: int) -> Refused:
    return rejected(
        "MODIFY",
        NOT_FOUND,
        f"Expected to modify process instance but no process instance found with key '{key}'",
    )


async def place_to_modify(desk: Desk, request: Request) -> Place:
    return await place_of(desk, request.key, _no_instance(request.key))


async def modify(desk: Desk, place: Place, request: Request) -> None:
    instructions: list[Json] = []
    for one in request.body.objects("activateInstructions"):
        begin: Json = {"type": "startBeforeActivity", "activityId": one.needed("elementId")}
        ancestor = one.key("ancestorElementInstanceKey")
        if ancestor is not None and ancestor > 0:
            begin["ancestorActivityInstanceId"] = await _id_of(desk, place, ancestor)
        variables: Json = {}
        for told in one.objects("variableInstructions"):
            is_local = told.text("scopeId") == one.text("elementId")
            for name, entry in seven.typed(told.object("variables")).items():
                variables[name] = {**entry, "local": is_local}
        if variables:
            begin["variables"] = variables
        instructions.append(begin)
    for one in request.body.objects("terminateInstructions"):
        key = one.key("elementInstanceKey")
        if key is None:
            raise Refused(INVALID_ARGUMENT, "No elementInstanceKey provided.")
        id = await _id_of(desk, place, key)
        instructions.append({"type": "cancel", "activityInstanceId": id})
    if not instructions:
        await seven.ask(
            place.engine, "GET", seven.path("process-instance", place.id),
            command="MODIFY", doing="find an instance", unknown=_no_instance(request.key),
        )  # fmt: skip
        return
    answer = await seven.attempt(
        place.engine,
        "POST",
        seven.path("process-instance", place.id, "modification"),
        {"instructions": instructions},
    )
    gone = answer.status == 404 and not lacks(answer)
    if gone or (answer.status == 400 and "cannot be found" in answer.sentence()):
        raise _no_instance(request.key)
    if answer.status >= 300:
        raise of_seven(answer, place.engine, "MODIFY", f"modify instance {request.key}")


async def _id_of(desk: Desk, place: Place, key: int) -> str:
    def look(rows: Rows, _now_ms: int) -> Named | None:
        return named(rows, key)

    found = await desk.storage.submit(look)
    if found is None or found.engine != place.engine.name:
        raise rejected(
            "MODIFY",
            INVALID_ARGUMENT,
            f"Expected an element instance of the instance, but found none with key '{key}'",
        )
    return found.id


# --- migration


async def place_to_migrate(desk: Desk, request: Request) -> Place:
    return await place_of(
        desk,
        request.key,
        rejected(
            "MIGRATE",
            NOT_FOUND,
            f"Expected to migrate process instance but no process instance found with key "
            f"'{request.key}'",
        ),
    )


async def migrate(desk: Desk, place: Place, request: Request) -> None:
    """To another definition of the same engine."""
    plan: Any = request.body.all.get("migrationPlan") or request.body.all
    fields = Fields(plan if isinstance(plan, dict) else {})
    target = fields.key("targetProcessDefinitionKey")
    mapping = fields.objects("mappingInstructions")
    faults = [] if target else ["No targetProcessDefinitionKey provided."]
    faults += [] if mapping else ["No mappingInstructions provided."]
    if target is None or faults:
        raise Refused(INVALID_ARGUMENT, " ".join(faults))
    unknown = rejected(
        "MIGRATE",
        NOT_FOUND,
        f"Expected to migrate process instance to process definition but no process definition "
        f"found with key '{target}'",
    )
    goal = await place_of(desk, target, unknown)
    if goal.engine is not place.engine:
        raise rejected(
            "MIGRATE",
            INVALID_ARGUMENT,
            f"The definition lives in {goal.engine.name} and the instance in {place.engine.name}; "
            "an instance cannot move between engines",
        )
    answer = await seven.ask(
        place.engine, "GET", seven.path("process-instance", place.id),
        command="MIGRATE", doing="find the instance",
    )  # fmt: skip
    body = {
        "migrationPlan": {
            "sourceProcessDefinitionId": answer.json_object().get("definitionId"),
            "targetProcessDefinitionId": goal.id,
            "instructions": [
                {
                    "sourceActivityIds": [one.needed("sourceElementId")],
                    "targetActivityIds": [one.needed("targetElementId")],
                }
                for one in mapping
            ],
        },
        "processInstanceIds": [place.id],
    }
    await seven.ask(
        place.engine, "POST", "/migration/execute", body,
        command="MIGRATE", doing=f"migrate instance {request.key}",
    )  # fmt: skip


# --- incidents


async def place_of_incident(desk: Desk, request: Request) -> Place:
    return await place_of(
        desk,
        request.key,
        rejected(
            "RESOLVE",
            NOT_FOUND,
            f"Expected to resolve incident with key '{request.key}', but no such incident was "
            "found",
        ),
    )


async def resolve(desk: Desk, place: Place, request: Request) -> None:
    """Gives what failed one retry, unless it has some: then Camunda 7 has ended the incident
    itself, and there is nothing left to do."""
    doing = f"resolve incident {request.key}"
    target = f"/incident?incidentId={seven.path(place.id)[1:]}"
    answer = await seven.ask(place.engine, "GET", target, command="RESOLVE", doing=doing)
    rows = seven.read(place.engine, answer, doing, lambda rows: [dict(row) for row in rows])
    if not rows:
        return
    kind, what = rows[0].get("incidentType"), str(rows[0].get("configuration"))
    resource = {"failedExternalTask": "external-task", "failedJob": "job"}.get(str(kind))
    if resource is None:
        raise rejected(
            "RESOLVE",
            INVALID_ARGUMENT,
            f"{place.engine.name} has an incident of type {kind}, which no retry resolves",
        )
    await seven.ask(
        place.engine, "PUT", seven.path(resource, what, "retries"), {"retries": 1},
        command="RESOLVE", doing=doing,
    )  # fmt: skip
