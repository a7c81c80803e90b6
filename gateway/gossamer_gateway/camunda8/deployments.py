"""Deployments: each goes to one engine, whole.

The engine that the request names, else the one that the files are drawn for (`models`): Camunda 8's
extensions go there, all other processes to the first engine of Camunda 7's dialect. Files that are
no BPMN (forms, decisions) and stand alone go to the client's own dialect. Camunda 7 makes a new
version of what did not change unless it is asked not to, as Camunda 8 never does; so it is asked.
"""

from typing import Any
from urllib.parse import quote

import httpx

from gossamer_gateway.bridge.jobs import DEFAULT_TENANT
from gossamer_gateway.camunda8 import seven
from gossamer_gateway.camunda8.fields import Json
from gossamer_gateway.camunda8.places import Place, Request, engine_named, place_of
from gossamer_gateway.camunda8.refusals import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    Refused,
    of_seven,
    rejected,
)
from gossamer_gateway.desk import ENGINE_HEADER, Desk
from gossamer_gateway.engine_rest.models import drawn_for
from gossamer_gateway.index import definitions
from gossamer_gateway.index.definitions import Definition
from gossamer_gateway.names.numbers import numbers_of
from gossamer_gateway.storage.port import Rows

FILES_MAX = 100
"""Of one deployment."""

_EXTENSIONS = {"camunda7": "camunda", "camunda8": "zeebe"}


async def place_to_deploy(desk: Desk, request: Request) -> Place:
    files = request.files
    if not files:
        raise rejected(
            "CREATE",
            INVALID_ARGUMENT,
            "Expected to deploy at least one resource, but none given",
        )
    if len(files) > FILES_MAX:
        raise Refused(INVALID_ARGUMENT, f"A deployment has at most {FILES_MAX} files")
    named = engine_named(desk, request)
    if named is not None:
        return Place(named)
    kinds = {kind for data in files.values() for kind in drawn_for(data)}
    if len(kinds) > 1:
        raise Refused(
            INVALID_ARGUMENT,
            "These files have extensions of Camunda 7 (camunda) and of Camunda 8 (zeebe); deploy "
            f"each kind by itself, or name an engine as {ENGINE_HEADER}",
        )
    if not desk.engines.all:
        raise Refused(INVALID_ARGUMENT, "This gateway has no engine")
    kind = kinds.pop() if kinds else None
    if kind is None:
        is_bpmn = any(name.endswith((".bpmn", ".bpmn20.xml")) for name in files)
        kind = "camunda7" if is_bpmn and desk.engines.sevens else "camunda8"
        fitting = [one for one in desk.engines.all if one.kind == kind] or desk.engines.all
    else:
        fitting = [one for one in desk.engines.all if one.kind == kind]
    if not fitting:
        said = f"No engine here takes files with extensions of {_EXTENSIONS[kind]}"
        raise Refused(INVALID_ARGUMENT, said)
    return Place(fitting[0])


async def deploy(desk: Desk, place: Place, request: Request) -> Json:
    engine, files = place.engine, request.files
    tenant = request.body.text("tenantId")
    tenant = (engine.tenant or "") if tenant in ("", DEFAULT_TENANT) else tenant
    form = {
        "deployment-name": ", ".join(sorted(files))[:200],
        "deployment-source": "gossamer",
        "enable-duplicate-filtering": "true",
        **({"tenant-id": tenant} if tenant else {}),
    }
    encoded = httpx.Request(
        "POST", "http://engine/", data=form, files=[(name, (name, files[name])) for name in files]
    )
    answer = await engine.forward(
        "POST",
        "/deployment/create",
        content=encoded.read(),
        headers={"content-type": encoded.headers["content-type"], "accept": "application/json"},
    )
    doing = f"deploy {', '.join(files)}"
    if answer.status == 500 and answer.json_object().get("type"):
        # Its own exception: the files can't be read as what they are called.
        said = f"Expected to deploy new resources, but {engine.name} says: {answer.sentence()}"
        raise rejected("CREATE", INVALID_ARGUMENT, said)
    if answer.status >= 300:
        raise of_seven(answer, engine, "CREATE", doing)
    deployment, made = seven.read(engine, answer, doing, _deployed)
    if not made:  # nothing had changed: what it was is still deployed
        target = f"/process-definition?deploymentId={quote(deployment, safe='')}"
        listed = await seven.ask(engine, "GET", target, command="CREATE", doing=doing)
        made = seven.read(engine, listed, doing, lambda rows: [_definition(row) for row in rows])

    def keep(rows: Rows, _now_ms: int) -> Any:
        ids = [one["id"] for one in made]
        definitions.deployed(
            rows,
            [
                Definition(engine.name, one["id"], one["key"], one["version"], deployment)
                for one in made
            ],
        )
        return numbers_of(rows, engine.name, [deployment, *ids])

    numbers = await desk.storage.submit(keep)
    for one in made:
        desk.whereabouts.seen("process-definition", one["id"], engine)
    told_tenant = tenant if tenant and tenant != engine.tenant else DEFAULT_TENANT
    return {
        "deploymentKey": numbers[deployment],
        "deployments": [
            {
                "processDefinition": {
                    "processDefinitionId": one["key"],
                    "processDefinitionVersion": one["version"],
                    "processDefinitionKey": numbers[one["id"]],
                    "resourceName": one["resource"],
                    "tenantId": told_tenant,
                }
            }
            for one in sorted(made, key=lambda one: (one["resource"], one["key"]))
        ],
        "tenantId": told_tenant,
    }


def _deployed(told: Any) -> tuple[str, list[Json]]:
    made = told.get("deployedProcessDefinitions") or {}
    return str(told["id"]), [_definition(one) for one in made.values()]


def _definition(row: Any) -> Json:
    return {
        "id": str(row["id"]),
        "key": str(row["key"]),
        "version": int(row["version"]),
        "resource": str(row.get("resource") or ""),
    }


async def place_to_delete(desk: Desk, request: Request) -> Place:
    return await place_of(desk, request.key, _no_resource(request.key))


def _no_resource(key: int) -> Refused:
    return rejected(
        "DELETE",
        NOT_FOUND,
        f"Expected to delete resource but no resource found with key `{key}`",
    )


async def delete(desk: Desk, place: Place, request: Request) -> None:
    """Deletes a definition that no instance runs of, as Camunda 7 insists."""
    await seven.ask(
        place.engine,
        "DELETE",
        seven.path("process-definition", place.id),
        command="DELETE",
        doing=f"delete resource {request.key}",
        unknown=_no_resource(request.key),
    )
