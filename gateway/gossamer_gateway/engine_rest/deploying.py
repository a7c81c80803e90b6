"""Deployments: each goes to one engine, whole, whose processes it then has.

The header that names an engine decides; without it the files do (`models`): made for Camunda 8 they
go there, else to the first engine of Camunda 7's dialect. Files for both in one deployment are
refused, for neither engine could take them all. A deployment to Camunda 7 goes on as it came.
"""

import io
from collections.abc import Mapping
from typing import Any

import httpx
from quart import request
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.formparser import FormDataParser

from gossamer_gateway.bridge.jobs import DEFAULT_TENANT
from gossamer_gateway.desk import ENGINE_HEADER, Desk
from gossamer_gateway.engine_rest import eight as eights
from gossamer_gateway.engine_rest.answers import own_url, passed
from gossamer_gateway.engine_rest.ids import definition_name, name_of
from gossamer_gateway.engine_rest.models import Kind, drawn_for
from gossamer_gateway.engine_rest.reading import forward
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.index import definitions
from gossamer_gateway.index.definitions import Definition
from gossamer_gateway.reading7 import read_content
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.wording7 import Json, stamp
from gossamer_node.engines.exchange import Answer

FILES_MAX = 100
"""Files of one deployment."""

EXTENSIONS: Mapping[Kind, str] = {"camunda7": "camunda", "camunda8": "zeebe"}


class Deploying:
    """The handlers of `/deployment/create`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Any]]:
        return [("POST", "/deployment/create", self.create)]

    async def create(self) -> Any:
        if request.mimetype != "multipart/form-data":
            raise UnsupportedMediaType
        form, files = _read(await read_content())
        engine = self._engine(files)
        if engine.kind == "camunda7":
            answer = await forward(engine)
            if answer.status == 200:
                await self._keep(engine, _definitions_of_seven(engine, answer))
            return passed(answer)
        return await self._deploy(engine, form, files)

    def _engine(self, files: Mapping[str, bytes]) -> Upstream:
        engines = self._desk.engines
        named = request.headers.get(ENGINE_HEADER)
        if named is not None:
            found = engines.named(named)
            if found is None:
                known = ", ".join(one.name for one in engines.all) or "none"
                raise BadRequest(f"There is no engine {named} here; there are {known}")
            return found
        kinds: set[Kind] = set()
        for data in files.values():
            kinds |= drawn_for(data)
        if len(kinds) > 1:
            raise BadRequest(
                "These files have extensions of Camunda 7 (camunda) and of Camunda 8 (zeebe); "
                f"deploy each kind by itself, or name an engine in the header {ENGINE_HEADER}"
            )
        kind = kinds.pop() if kinds else "camunda7"
        fitting = [one for one in engines.all if one.kind == kind] or engines.all
        if kinds and fitting[0].kind != kind:
            raise BadRequest(f"No engine here takes files with extensions of {EXTENSIONS[kind]}")
        if not fitting:
            raise BadRequest("This gateway has no engine; name one under engines in its file")
        return fitting[0]

    async def _deploy(
        self, eight: Upstream, form: Mapping[str, str], files: Mapping[str, bytes]
    ) -> Json:
        tenant = form.get("tenant-id") or eight.tenant
        encoded = httpx.Request(
            "POST",
            "http://engine/",
            data=None if tenant is None else {"tenantId": tenant},
            files=[("resources", (name, data)) for name, data in files.items()],
        )
        headers = {"content-type": encoded.headers["content-type"], "accept": "application/json"}
        answer = await eight.forward(
            "POST", "/v2/deployments", content=encoded.read(), headers=headers
        )
        doing = f"deploy {', '.join(files)}"
        if eights.checked(eight, answer, doing) is None:
            raise BadRequest(f"{eight.peer} did not {doing}: {answer.sentence()}")
        told = answer.json_object()
        try:
            deployment, made = int(told["deploymentKey"]), _definitions_of_eight(told)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise eight.rest.nonsense(doing) from error
        rows = [
            Definition(eight.name, str(one["number"]), one["key"], one["version"], str(deployment))
            for one in made
        ]
        now_ms = await self._keep(eight, rows)
        id = name_of(eight, deployment)
        deployed: Json = {}
        for one in made:
            name = definition_name(eight, one["key"], one["version"], one["number"])
            deployed[name] = definition_row(
                name, one["key"], one["version"], id, one["resource"], one["tenant"]
            )
        return {
            "links": [{"method": "GET", "href": f"{own_url()}/deployment/{id}", "rel": "self"}],
            "id": id,
            "name": form.get("deployment-name"),
            "source": form.get("deployment-source"),
            "deploymentTime": stamp(now_ms),
            "tenantId": tenant,
            "deployedProcessDefinitions": deployed or None,
            "deployedCaseDefinitions": None,
            "deployedDecisionDefinitions": None,
            "deployedDecisionRequirementsDefinitions": None,
        }

    async def _keep(self, engine: Upstream, rows: list[Definition]) -> int:
        def keep(tables: Any, now_ms: int) -> int:
            definitions.deployed(tables, rows)
            return now_ms

        for one in rows if engine.kind == "camunda7" else ():
            self._desk.whereabouts.seen("process-definition", one.id, engine)
            self._desk.whereabouts.seen("deployment", one.deployment, engine)
        return await self._desk.storage.submit(keep)


def definition_row(
    id: str, key: str, version: int, deployment: str | None, resource: str | None,
    tenant: str | None = None,
) -> Json:  # fmt: skip
    """A definition of Camunda 8 as Camunda 7 answers one."""
    return {
        "id": id,
        "key": key,
        "category": None,
        "description": None,
        "name": None,
        "version": version,
        "resource": resource,
        "deploymentId": deployment,
        "diagram": None,
        "suspended": False,
        "tenantId": tenant,
        "versionTag": None,
        "historyTimeToLive": None,
        "startableInTasklist": True,
    }


def _read(data: bytes) -> tuple[Mapping[str, str], Mapping[str, bytes]]:
    """The fields of a deployment, and its files by name. Raises: BadRequest."""
    kind = request.content_type or ""
    parser = FormDataParser(stream_factory=_memory, silent=False, max_form_parts=FILES_MAX + 20)
    try:
        _, form, uploads = parser.parse(
            io.BytesIO(data), request.mimetype, len(data), dict(request.mimetype_params)
        )
    except ValueError as error:
        raise BadRequest(f"The body is no {kind.partition(';')[0]}: {error}") from None
    files = {
        entry.filename or field: entry.read() for field, entry in uploads.items(multi=True)
    }  # fmt: skip
    if not 0 < len(files) <= FILES_MAX:
        raise BadRequest(f"A deployment has 1 to {FILES_MAX} files, not {len(files)}")
    return form.to_dict(), files


def _memory(
    total_content_length: int | None,
    content_type: str | None,
    filename: str | None,
    content_length: int | None = None,
) -> io.BytesIO:
    """Where a file of a form goes: its bytes are in memory already."""
    return io.BytesIO()


def _definitions_of_seven(engine: Upstream, answer: Answer) -> list[Definition]:
    told = answer.json_object().get("deployedProcessDefinitions")
    found = []
    for one in told.values() if isinstance(told, dict) else ():
        try:
            found.append(
                Definition(
                    engine.name,
                    str(one["id"]),
                    str(one["key"]),
                    int(one["version"]),
                    str(one["deploymentId"]),
                )
            )
        except (KeyError, TypeError, ValueError):
            continue  # what an engine tells beside its yes is a hint alone
    return found


def _definitions_of_eight(told: Mapping[str, Any]) -> list[Json]:
    found: list[Json] = []
    for one in told["deployments"]:
        definition = one.get("processDefinition")
        if definition:
            tenant = definition.get("tenantId")
            found.append(
                {
                    "number": int(definition["processDefinitionKey"]),
                    "key": str(definition["processDefinitionId"]),
                    "version": int(definition["processDefinitionVersion"]),
                    "resource": definition.get("resourceName"),
                    "tenant": None if tenant in (None, "", DEFAULT_TENANT) else str(tenant),
                }
            )
    return found
