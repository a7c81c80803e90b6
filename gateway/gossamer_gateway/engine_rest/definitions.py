"""Definitions and deployments by their ids, and what the gateway says of itself.

By key a definition is looked up where a start by that key would go, so that a client which looks
before it starts sees what it will get.
"""

from typing import Any

from quart import Response, request

from gossamer_gateway.desk import Desk
from gossamer_gateway.engine_rest.answers import CannotBe, passed
from gossamer_gateway.engine_rest.deploying import definition_row
from gossamer_gateway.engine_rest.ids import definition_name, definition_of_eight, name_of, of_eight
from gossamer_gateway.engine_rest.own import historic_row
from gossamer_gateway.engine_rest.reading import forward
from gossamer_gateway.errors import UnknownDefinition, UnknownInstance
from gossamer_gateway.index import definitions, instances
from gossamer_gateway.index.definitions import Definition
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.wording7 import Json

DIALECT_VERSION = "7.24.0"
"""Of the Camunda 7 whose API this is."""


class Definitions:
    """The handlers of `/process-definition/…`, `/version` and `/engine`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Any]]:
        key, one = "/process-definition/key/<key>", "/process-definition/<id>"
        return [
            ("GET", key, self.by_key),
            ("GET", f"{key}/tenant-id/<tenant>", self.by_key),
            ("GET", f"{key}/xml", self.xml_by_key),
            ("GET", one, self.get),
            ("GET", f"{one}/xml", self.xml),
            ("GET", "/deployment/<id>", self.deployment),
            ("GET", "/history/process-instance/<id>", self.historic),
            ("GET", "/version", self.version),
            ("GET", "/engine", self.engines),
        ]

    async def version(self) -> Json:
        return {"version": DIALECT_VERSION, "product": "gossamer"}

    async def engines(self) -> list[Json]:
        return [{"name": "default"}]

    async def by_key(self, key: str, tenant: str | None = None) -> Any:
        engine = self._engine_for(key)
        if engine.kind == "camunda7":
            return passed(await forward(engine))
        found = await self._desk.storage.submit(
            lambda rows, _: definitions.newest(rows, engine.name, key)
        )
        if found is None:
            told = "no tenant-id" if tenant is None else f"tenant-id: {tenant}"
            raise UnknownDefinition(f"No matching process definition with key: {key} and {told}")
        return _row(engine, found)

    async def xml_by_key(self, key: str) -> Any:
        engine = self._engine_for(key)
        if engine.kind == "camunda7":
            return passed(await forward(engine))
        raise _no_model(key)

    async def get(self, id: str) -> Any:
        number = definition_of_eight(self._desk.engines, id)
        if number is None:
            return await self._forward("process-definition", id)
        return _row(self._eight(), await self._known(id, number))

    async def xml(self, id: str) -> Any:
        number = definition_of_eight(self._desk.engines, id)
        if number is None:
            return await self._forward("process-definition", id)
        await self._known(id, number)
        raise _no_model(id)

    async def deployment(self, id: str) -> Any:
        number = of_eight(self._desk.engines, id)
        missing = f"Deployment with id '{id}' does not exist"
        if number is None:
            engine = await self._desk.whereabouts.seven_of("deployment", id)
            if engine is None:
                raise UnknownInstance(missing)
            return passed(await forward(engine))
        found = await self._desk.storage.submit(
            lambda rows, _: definitions.engine_of_deployment(rows, str(number))
        )
        if found is None:
            raise UnknownInstance(missing)
        return {"links": [], "id": id, "name": None, "source": None, "deploymentTime": None,
                "tenantId": None}  # fmt: skip

    async def historic(self, id: str) -> Any:
        number = of_eight(self._desk.engines, id)
        missing = f"Historic process instance with id {id} does not exist"
        if number is None:
            engine = await self._desk.whereabouts.seven_of("history/process-instance", id)
            if engine is None:
                raise UnknownInstance(missing)
            return passed(await forward(engine))
        eight = self._desk.engines.eight
        found = None
        if eight is not None and number >= 0:
            name = eight.name
            found = await self._desk.storage.submit(
                lambda rows, _: instances.instance(rows, name, str(number))
            )
        if eight is None or found is None:
            raise UnknownInstance(missing)
        return historic_row(eight, found)

    # --- inside

    def _engine_for(self, key: str) -> Upstream:
        return self._desk.starting.engine_for(
            key,
            business_key=None,
            headers={name.lower(): value for name, value in request.headers.items()},
            dialect="camunda7",
        )

    def _eight(self) -> Upstream:
        eight = self._desk.engines.eight
        assert eight is not None, "a number of an engine that is not here"
        return eight

    async def _known(self, id: str, number: int) -> Definition:
        found = await self._desk.storage.submit(
            lambda rows, _: definitions.definition(rows, str(number))
        )
        if found is None:
            raise UnknownInstance(f"No matching definition with id {id}")
        return found

    async def _forward(self, resource: str, id: str) -> Response:
        engine = await self._desk.whereabouts.seven_of(resource, id)
        if engine is None:
            raise UnknownInstance(f"No matching definition with id {id}")
        return passed(await forward(engine))


def _row(eight: Upstream, one: Definition) -> Json:
    deployment = name_of(eight, int(one.deployment)) if one.deployment else None
    id = definition_name(eight, one.process, one.version, int(one.id))
    return definition_row(id, one.process, one.version, deployment, None)


def _no_model(what: str) -> CannotBe:
    return CannotBe(
        f"Process definition {what} lives in Camunda 8, which does not tell its model; "
        "look in Operate."
    )
