"""Instances of Camunda 7, started, awaited, canceled, modified and migrated in Camunda 8's words.

Where a start goes is the route's to say, unless it names a definition by its key. Camunda 7 cannot
be asked to answer when an instance ends, so an awaited one is looked at with a growing pause until
the running instance is gone, and its variables come out of the history; without a history they
cannot be told, which is said.
"""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import trio

from gossamer_gateway.bridge.jobs import DEFAULT_TENANT
from gossamer_gateway.bridge.variables import to_8
from gossamer_gateway.camunda8 import seven
from gossamer_gateway.camunda8.fields import INT_MAX, Json
from gossamer_gateway.camunda8.places import Place, Request, place_of
from gossamer_gateway.camunda8.refusals import (
    INVALID_ARGUMENT,
    INVALID_STATE,
    NOT_FOUND,
    TIMEOUT,
    UNSUPPORTED,
    Refused,
    of_seven,
    rejected,
)
from gossamer_gateway.desk import Desk
from gossamer_gateway.errors import GatewayError
from gossamer_gateway.index import instances as index
from gossamer_gateway.names.numbers import numbers_of
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.exchange import text

log = logging.getLogger("gossamer.gateway")

RESULT_MS_DEFAULT = 15_000
"""How long an awaited instance may take (Zeebe: the gateway's `requestTimeout`)."""

LOOK_MS_MIN = 20
LOOK_MS_MAX = 1_000
"""Between two looks whether an instance has ended: each a quarter longer than the last."""


_GONE = "processDefinition is null"
"""How Camunda 7 ends its sentence (500) on a definition that was deleted."""


def _no_definition(what: str) -> Refused:
    return rejected(
        "CREATE", NOT_FOUND, f"Expected to find process definition with {what}, but none found"
    )


async def place_to_create(desk: Desk, request: Request) -> Place:
    key, process = (
        request.body.key("processDefinitionKey"),
        request.body.text("processDefinitionId"),
    )
    if key is None and not process:
        raise Refused(
            INVALID_ARGUMENT,
            "At least one of [processDefinitionId, processDefinitionKey] is required.",
        )
    if key is not None and process:
        raise Refused(
            INVALID_ARGUMENT,
            "Only one of [processDefinitionId, processDefinitionKey] is allowed.",
        )
    if key is not None:
        return await place_of(desk, key, _no_definition(f"key '{key}'"))
    engine = desk.starting.engine_for(
        process, business_key=None, headers=request.headers, dialect="camunda8"
    )
    return Place(engine, process=process)


async def create(desk: Desk, place: Place, request: Request) -> Json:
    engine = place.engine
    body: Json = {"variables": seven.typed(request.body.object("variables"))}
    if begin := request.body.objects("startInstructions"):
        body["startInstructions"] = [
            {"type": "startBeforeActivity", "activityId": one.needed("elementId")} for one in begin
        ]
    target, unknown = await _definition(place, request)
    answer = await seven.attempt(engine, "POST", f"{target}/start", body)
    if answer.status == 404 or (answer.status == 500 and _GONE in answer.sentence()):
        raise unknown
    if answer.status >= 300:
        raise of_seven(answer, engine, "CREATE", f"start {place.process or 'the process'}")
    started = seven.read(engine, answer, "start an instance", _started)
    instance, definition = started["id"], started["definitionId"]
    desk.whereabouts.seen("process-instance", instance, engine)
    process, version = _process_of(definition)

    def keep(rows: Rows, now_ms: int) -> Mapping[str, int]:
        index.started(rows, engine.name, instance, place.process or process, None, now_ms)
        return numbers_of(rows, engine.name, (instance, definition))

    numbers = await desk.storage.submit(keep)
    told: Json = {
        "processDefinitionKey": numbers[definition],
        "processDefinitionId": place.process or process,
        "processDefinitionVersion": version,
        "processInstanceKey": numbers[instance],
        "tenantId": _tenant(engine, started.get("tenantId")),
        "variables": {},
    }
    if request.body.flag("awaitCompletion"):
        wait_ms = request.body.number("requestTimeout")
        names = request.body.texts("fetchVariables")
        told["variables"] = await _result(
            engine,
            instance,
            numbers[instance],
            names,
            wait_ms if wait_ms > 0 else RESULT_MS_DEFAULT,
        )
    return told


async def started_in_eight(desk: Desk, engine: Upstream, key: int, process: str) -> None:
    """An instance that a Camunda 8 started itself, kept in the index if that can be: it runs, and
    its client hears so."""
    if key <= 0 or not process:
        return
    desk.noticed(engine, key)
    try:
        await desk.storage.submit(
            lambda rows, now_ms: index.started(rows, engine.name, str(key), process, None, now_ms)
        )
    except GatewayError as error:
        log.warning("the index misses instance %s of %s: %s", key, engine.name, error)


def _started(answer: Any) -> Json:
    return {**answer, "id": text(answer["id"]), "definitionId": text(answer["definitionId"])}


def _process_of(definition: str) -> tuple[str, int]:
    """The key and version in `key:version:id`."""
    parts = definition.split(":")
    return (parts[0], int(parts[1])) if len(parts) == 3 and parts[1].isdecimal() else ("", 1)


def _tenant(engine: Upstream, tenant: object) -> str:
    return DEFAULT_TENANT if tenant in (None, "", engine.tenant) else str(tenant)


async def _definition(place: Place, request: Request) -> tuple[str, Refused]:
    """Where its definition is, and what to say if it isn't there."""
    if place.id:
        key = request.body.key("processDefinitionKey")
        return seven.path("process-definition", place.id), _no_definition(f"key '{key}'")
    process = place.process or ""
    version = request.body.number("processDefinitionVersion", -1, INT_MAX)
    tenant = request.body.text("tenantId")
    tenant = "" if tenant == DEFAULT_TENANT else tenant
    tenant = tenant or place.engine.tenant or ""
    unknown = _no_definition(f"process ID '{process}'")
    if version == -1:
        target = seven.path("process-definition", "key", process)
        return (target + seven.path("tenant-id", tenant) if tenant else target), unknown
    unknown = _no_definition(f"process ID '{process}' and version '{version}'")
    query = {"key": process, "version": version} | ({"tenantIdIn": tenant} if tenant else {})
    answer = await seven.ask(
        place.engine, "GET", f"/process-definition?{urlencode(query)}",
        command="CREATE", doing=f"find version {version} of {process}",
    )  # fmt: skip
    found = seven.read(
        place.engine, answer, "find a definition", lambda rows: [str(row["id"]) for row in rows]
    )
    if not found:
        raise unknown
    return seven.path("process-definition", found[0]), unknown


async def _result(
    engine: Upstream, instance: str, key: int, names: tuple[str, ...], wait_ms: int
) -> Json:
    """The variables of an instance once it has ended. Raises: Refused, it did not in time."""
    with trio.move_on_after(wait_ms / 1_000):
        pause_ms = float(LOOK_MS_MIN)
        while True:
            answer = await engine.ask("GET", seven.path("process-instance", instance))
            if answer.status == 404:
                return await _ended(engine, instance, key, names)
            if answer.status != 200:
                raise of_seven(answer, engine, "CREATE", f"show instance {key}")
            await trio.sleep(pause_ms / 1_000)
            pause_ms = min(LOOK_MS_MAX, pause_ms * 1.25)
    raise Refused(
        TIMEOUT, f"The process instance {key} was started, and did not end within {wait_ms} ms"
    )


async def _ended(engine: Upstream, instance: str, key: int, names: tuple[str, ...]) -> Json:
    answer = await engine.ask("GET", seven.path("history", "process-instance", instance))
    if answer.status == 404:
        raise Refused(
            UNSUPPORTED,
            f"The process instance {key} has ended; {engine.peer} keeps no history to read its "
            "variables from",
        )
    state = answer.json_object().get("state") if answer.status == 200 else None
    if state in ("EXTERNALLY_TERMINATED", "INTERNALLY_TERMINATED"):
        raise rejected(
            "CREATE_WITH_AWAITING_RESULT",
            INVALID_STATE,
            f"Expected the process instance with key '{key}' to complete, but it was canceled",
        )
    target = f"/history/variable-instance?processInstanceId={instance}&deserializeValues=false"
    answer = await seven.ask(
        engine, "GET", target, command="CREATE", doing=f"tell the variables of instance {key}"
    )

    def own(rows: Any) -> Json:
        # Only the instance's scope: a task's local variables ended with the task.
        typed = {
            row["name"]: row
            for row in rows
            if row["activityInstanceId"] == instance and (not names or row["name"] in names)
        }
        variables, _ = to_8(typed)
        return variables

    found: Json = seven.read(engine, answer, "tell an instance's variables", own)
    return found


# --- running ones


async def place_to_cancel(desk: Desk, request: Request) -> Place:
    return await place_of(desk, request.key, _no_instance_to_cancel(request.key))


def _no_instance_to_cancel(key: int) -> Refused:
    return rejected(
        "CANCEL",
        NOT_FOUND,
        f"Expected to cancel a process instance with key '{key}', but no such process was found",
    )


async def cancel(desk: Desk, place: Place, request: Request) -> None:
    await seven.ask(
        place.engine,
        "DELETE",
        # Listeners and output mappings are not run when Camunda 8 cancels, either.
        seven.path("process-instance", place.id) + "?skipCustomListeners=true&skipIoMappings=true",
        command="CANCEL",
        doing=f"cancel instance {request.key}",
        unknown=_no_instance_to_cancel(request.key),
    )
