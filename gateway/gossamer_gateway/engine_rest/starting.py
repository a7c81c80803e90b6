"""New instances: where the routes say, or where the definition lives.

A start by key goes to the engine that the desk names for the process; by id, to the engine that
has the definition. On Camunda 8 an instance begins at its start, or before named elements; other
start instructions are Camunda 7's alone and refused. Its business key is kept here, for Camunda 8
has none.
"""

import logging
from typing import Any
from urllib.parse import quote

from quart import Response, request

from gossamer_gateway.bridge.jobs import DEFAULT_TENANT
from gossamer_gateway.bridge.variables import to_7
from gossamer_gateway.desk import Desk
from gossamer_gateway.door.asking import check_process, is_limited
from gossamer_gateway.engine_rest import eight as eights
from gossamer_gateway.engine_rest.answers import CannotBe, own_url, passed
from gossamer_gateway.engine_rest.ids import definition_name, definition_of_eight, name_of
from gossamer_gateway.engine_rest.reading import forward
from gossamer_gateway.errors import GatewayError, UnknownDefinition
from gossamer_gateway.fields import Fields
from gossamer_gateway.index import definitions, instances
from gossamer_gateway.index.definitions import Definition
from gossamer_gateway.reading7 import read_body
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.wording7 import Json

log = logging.getLogger("gossamer.gateway")


class Starting:
    """The handlers of starts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Any]]:
        key = "/process-definition/key/<key>"
        return [
            ("POST", f"{key}/start", self.by_key),
            ("POST", f"{key}/tenant-id/<tenant>/start", self.by_key),
            ("POST", "/process-definition/<id>/start", self.by_id),
        ]

    async def by_key(self, key: str, tenant: str | None = None) -> Any:
        fields = await read_body()
        engine = self._desk.starting.engine_for(
            key,
            business_key=fields.maybe_text("businessKey"),
            headers={name.lower(): value for name, value in request.headers.items()},
            dialect="camunda7",
        )
        if engine.kind == "camunda7":
            return await self._forward(engine)
        said: Json = {"processDefinitionId": key}
        if tenant is not None:
            said["tenantId"] = tenant
        elif engine.tenant is not None:
            said["tenantId"] = engine.tenant
        started = await self._start(engine, said, fields)
        if started is None:
            told = "no tenant-id" if tenant is None else f"tenant-id: {tenant}"
            raise UnknownDefinition(f"No matching process definition with key: {key} and {told}")
        return started

    async def by_id(self, id: str) -> Any:
        number = definition_of_eight(self._desk.engines, id)
        if number is None:
            engine = await self._desk.whereabouts.seven_of("process-definition", id)
            if engine is None:
                raise _unknown(id)
            if is_limited():
                check_process(await _process_of(engine, id))
            return await self._forward(engine)
        if is_limited():
            check_process(await self._known(number))
        eight = self._desk.engines.eight
        started = None
        if number >= 0 and eight is not None:
            said: Json = {"processDefinitionKey": str(number)}
            if eight.tenant is not None:
                said["tenantId"] = eight.tenant
            started = await self._start(eight, said, await read_body())
        if started is None:
            raise _unknown(id)
        return started

    async def _known(self, number: int) -> str | None:
        """The process of a definition of Camunda 8; None where nobody here knows it."""
        eight = self._desk.engines.eight
        if eight is None:
            return None
        found = await self._desk.storage.submit(
            lambda rows, _: definitions.definition(rows, str(number))
        )
        return found.process if found is not None and found.engine == eight.name else None

    async def _forward(self, engine: Upstream) -> Response:
        """To an engine of Camunda 7's dialect; what it started is kept in the index."""
        answer = await forward(engine)
        told = answer.json_object() if answer.status == 200 else {}
        id, process = told.get("id"), told.get("definitionKey")
        if isinstance(id, str) and isinstance(process, str):
            key = told.get("businessKey")
            self._desk.whereabouts.seen("process-instance", id, engine)
            await self._keep(engine, id, process, key if isinstance(key, str) else None)
        return passed(answer)

    async def _keep(
        self,
        engine: Upstream,
        id: str,
        process: str,
        business_key: str | None,
        definition: Definition | None = None,
    ) -> None:
        """In the index, if that can be: it runs, and who heard otherwise would start it again."""

        def keep(rows: Rows, now_ms: int) -> None:
            instances.started(rows, engine.name, id, process, business_key, now_ms)
            if definition is not None:
                definitions.deployed(rows, [definition])

        try:
            await self._desk.storage.submit(keep)
        except GatewayError as error:
            log.warning("the index misses instance %s of %s: %s", id, engine.name, error)

    async def _start(self, eight: Upstream, said: Json, fields: Fields) -> Json | None:
        """Starts an instance in Camunda 8; None if it knows no such definition."""
        business_key = fields.maybe_text("businessKey")
        plain = eights.variables(fields)
        said["variables"] = plain
        instructions = _instructions(fields)
        if instructions:
            said["startInstructions"] = instructions
        answer = await eights.ask(eight, "POST", "/v2/process-instances", said, "start a process")
        if answer is None:
            return None
        told = answer.json_object()
        try:
            process, version = (
                str(told["processDefinitionId"]),
                int(told["processDefinitionVersion"]),
            )
            number, definition = int(told["processInstanceKey"]), int(told["processDefinitionKey"])
        except (KeyError, TypeError, ValueError) as error:
            raise eight.rest.nonsense("start a process") from error
        self._desk.noticed(eight, number)
        known = Definition(eight.name, str(definition), process, version, "")
        await self._keep(eight, str(number), process, business_key, known)
        id, tenant = name_of(eight, number), told.get("tenantId")
        href = f"{own_url()}/process-instance/{id}"
        started: Json = {
            "links": [{"method": "GET", "href": href, "rel": "self"}],
            "id": id,
            "definitionId": definition_name(eight, process, version, definition),
            "businessKey": business_key,
            "caseInstanceId": None,
            "ended": False,
            "suspended": False,
            "tenantId": None if tenant in (None, "", DEFAULT_TENANT) else str(tenant),
            "definitionKey": process,
        }
        if fields.flag("withVariablesInReturn"):
            started["variables"] = to_7(plain)
        return started


async def _process_of(engine: Upstream, id: str) -> str | None:
    """As its engine tells; its id tells nothing, for anybody can write one."""
    answer = await engine.ask("GET", f"/process-definition/{quote(id, safe='')}")
    if answer.status == 404:
        raise _unknown(id)
    if answer.status != 200:
        raise engine.error(answer, "tell whose a definition is")
    process = answer.json_object().get("key")
    return process if isinstance(process, str) else None


def _unknown(id: str) -> UnknownDefinition:
    return UnknownDefinition(
        f"Cannot instantiate process definition {id}: no deployed process definition found with "
        f"id '{id}': processDefinition is null"
    )


def _instructions(fields: Fields) -> list[Json]:
    """Raises: BadRequest; CannotBe for what Camunda 8 has no word for."""
    found = []
    for one in fields.objects("startInstructions"):
        if one.maybe_text("type") != "startBeforeActivity" or one.get("variables"):
            raise CannotBe(
                "Camunda 8 begins an instance before elements alone (startBeforeActivity, without "
                "variables of its own)."
            )
        found.append({"elementId": one.text("activityId")})
    return found
