"""Process instances: looked at, ended, changed, whichever engine has them.

Those of Camunda 7 go on to their engine. Of those in Camunda 8 the engine (8.6) tells nothing back
but whether one lives: a modification that changes nothing is taken of one that does. Ending it,
setting its variables and moving its tokens it can do. Its variables are told by its exporter, if by
anybody (`variables`); its tree is told by nobody.
"""

from typing import Any

from quart import Response

from gossamer_gateway import handed
from gossamer_gateway.bridge.variables import to_8
from gossamer_gateway.desk import Desk
from gossamer_gateway.embedded.values import read_variable, read_variables
from gossamer_gateway.engine_rest import eight as eights
from gossamer_gateway.engine_rest.answers import NOTHING, CannotBe, passed
from gossamer_gateway.engine_rest.ids import of_eight
from gossamer_gateway.engine_rest.reading import forward
from gossamer_gateway.engine_rest.variables import variables_of
from gossamer_gateway.errors import UnknownInstance
from gossamer_gateway.fields import Fields
from gossamer_gateway.index import instances
from gossamer_gateway.index.instances import Instance, State
from gossamer_gateway.reading7 import read_body
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.wording7 import Json

RESOURCE = "process-instance"

HANDED_MAX = 20_000
"""Jobs that are looked through for those of an instance that was ended."""


class Instances:
    """The handlers of `/process-instance/ID`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Any]]:
        one = "/process-instance/<id>"
        variable = f"{one}/variables/<path:name>"
        return [
            ("GET", one, self.get),
            ("DELETE", one, self.delete),
            ("GET", f"{one}/activity-instances", self.tree),
            ("GET", f"{one}/variables", self.variables),
            ("POST", f"{one}/variables", self.modify_variables),
            ("GET", variable, self.variables),
            ("PUT", variable, self.put_variable),
            ("DELETE", variable, self.delete_variable),
            ("POST", f"{one}/modification", self.modify),
        ]

    async def get(self, id: str) -> Any:
        number = of_eight(self._desk.engines, id)
        if number is None:
            return await self._forward(id)
        await self._change(id, number, {}, f"Process instance with id {id} does not exist")
        eight = self._eight()
        found = await self._desk.storage.submit(
            lambda rows, _: instances.instance(rows, eight.name, str(number))
        )
        return instance_row(id, found)

    async def delete(self, id: str) -> Any:
        number = of_eight(self._desk.engines, id)
        if number is None:
            return await self._forward(id)
        missing = f"No process instance found for id '{id}': processInstance is null"
        if number < 0:
            raise UnknownInstance(missing)
        eight = self._eight()
        path = f"/v2/process-instances/{number}/cancellation"
        answer = await eights.ask(eight, "POST", path, {}, "cancel an instance")
        await self._desk.storage.submit(lambda rows, now: _ended(rows, eight, number, id, now))
        if answer is None:
            raise UnknownInstance(missing)
        return NOTHING

    async def modify(self, id: str) -> Any:
        number = of_eight(self._desk.engines, id)
        if number is None:
            return await self._forward(id)
        changes = _instructions(await read_body(), self._desk)
        await self._change(id, number, changes, f"Process instance with id {id} does not exist")
        return NOTHING

    async def modify_variables(self, id: str) -> Any:
        number = of_eight(self._desk.engines, id)
        if number is None:
            return await self._forward(id)
        fields = await read_body()
        if fields.maybe_texts("deletions"):
            raise _no_variable_goes(id)
        plain, _ = to_8(read_variables(fields.get("modifications"), "modifications"))
        return await self._set(id, number, plain)

    async def put_variable(self, id: str, name: str) -> Any:
        number = of_eight(self._desk.engines, id)
        if number is None:
            return await self._forward(id)
        plain, _ = to_8({name: read_variable(name, (await read_body()).without())})
        return await self._set(id, number, plain)

    async def delete_variable(self, id: str, name: str) -> Any:
        if of_eight(self._desk.engines, id) is None:
            return await self._forward(id)
        raise _no_variable_goes(id)

    async def variables(self, id: str, name: str = "") -> Any:
        number = of_eight(self._desk.engines, id)
        if number is None:
            return await self._forward(id)
        if number < 0:
            raise UnknownInstance(f"Process instance with id {id} does not exist")
        found = await variables_of(self._desk, self._eight(), id, number, name)
        if not name:
            return found
        if name not in found:
            raise UnknownInstance(f"variable with name {name} does not exist")
        return found[name]

    async def tree(self, id: str) -> Any:
        if of_eight(self._desk.engines, id) is None:
            return await self._forward(id)
        raise CannotBe(
            f"Process instance {id} lives in Camunda 8, which does not tell where its tokens are; "
            "look in Operate."
        )

    # --- inside

    def _eight(self) -> Upstream:
        eight = self._desk.engines.eight
        assert eight is not None, "a number of an engine that is not here"
        return eight

    async def _forward(self, id: str) -> Response:
        engine = await self._desk.whereabouts.seven_of(RESOURCE, id)
        if engine is None:
            raise UnknownInstance(f"Process instance with id {id} does not exist")
        return passed(await forward(engine))

    async def _change(self, id: str, number: int, changes: Json, missing: str) -> None:
        """Modifies an instance; without changes, sees whether it lives. Raises: UnknownInstance."""
        if number < 0:
            raise UnknownInstance(missing)
        path = f"/v2/process-instances/{number}/modification"
        if await eights.ask(self._eight(), "POST", path, changes, "modify an instance") is None:
            raise UnknownInstance(missing)

    async def _set(self, id: str, number: int, plain: eights.Plain) -> tuple[str, int]:
        missing = f"Cannot set variables: execution {id} doesn't exist: execution is null"
        if number < 0:
            raise UnknownInstance(missing)
        if plain:
            path = f"/v2/element-instances/{number}/variables"
            said = {"variables": plain, "local": False}
            if await eights.ask(self._eight(), "PUT", path, said, "set variables") is None:
                raise UnknownInstance(missing)
        return NOTHING


def instance_row(id: str, found: Instance | None, definition: str | None = None) -> Json:
    """An instance of Camunda 8 as Camunda 7 answers one; what nobody told is null.

    Args:
        definition: its definition's id.
    """
    return {
        "links": [],
        "id": id,
        "definitionId": definition,
        "businessKey": None if found is None else found.business_key,
        "caseInstanceId": None,
        "ended": False,
        "suspended": False,
        "tenantId": None,
        "definitionKey": None if found is None else found.process,
    }


def _ended(rows: Rows, eight: Upstream, number: int, id: str, now_ms: int) -> None:
    """An instance is cancelled, and with it the jobs that clients hold."""
    instances.state_changed(rows, eight.name, str(number), State.CANCELLED, now_ms)
    for one in handed.all_of(rows, eight.name, HANDED_MAX):
        if one.task.get("processInstanceId") == id:
            handed.settled(rows, one.engine, one.job)


def _no_variable_goes(id: str) -> CannotBe:
    return CannotBe(
        f"Process instance {id} lives in Camunda 8, where a variable can't be removed; "
        "set it to null."
    )


def _instructions(fields: Fields, desk: Desk) -> Json:
    """Camunda 7's instructions as Camunda 8's. Raises: BadRequest; CannotBe."""
    begin, end = [], []
    for one in fields.objects("instructions"):
        kind = one.text("type")
        variables = one.get("variables")
        if kind == "startBeforeActivity":
            said: Json = {"elementId": one.text("activityId")}
            if variables:
                plain, _ = to_8(read_variables(variables))
                said["variableInstructions"] = [{"variables": plain, "scopeId": ""}]
            begin.append(said)
        elif kind == "cancel" and one.get("activityInstanceId"):
            number = of_eight(desk.engines, one.text("activityInstanceId").rpartition(":")[2])
            if number is None or number < 0:
                raise UnknownInstance(
                    f"There is no activity instance {one.text('activityInstanceId')}"
                )
            end.append({"elementInstanceKey": str(number)})
        else:
            raise CannotBe(
                "Camunda 8 begins before an element (startBeforeActivity) and ends one by its "
                "activityInstanceId (cancel); it has no other instruction."
            )
    return {"activateInstructions": begin, "terminateInstructions": end}
