"""Messages and signals: to the engine that waits for them.

`where_to` says which engines may. A message for one instance goes to its engine, and one that has a
rule goes where the rule says (`routing.delivering`). Any other is offered to each in turn until one
correlates it, and the next is asked only when the last said that nothing there matches: one that
found several, or did not answer, ends the search. With `all`, or by a rule, every engine gets it.
Camunda 8 correlates by a key alone: the one value of `correlationKeys`, else the business key, else
the empty one of messages that start a process.
"""

import json
from typing import Any

from quart import Response, request

from gossamer_gateway.bridge.variables import to_8
from gossamer_gateway.desk import ENGINE_HEADER, Desk
from gossamer_gateway.embedded.values import read_variables
from gossamer_gateway.engine_rest import eight as eights
from gossamer_gateway.engine_rest.answers import NOTHING, CannotBe, passed
from gossamer_gateway.engine_rest.ids import name_of, of_eight
from gossamer_gateway.engine_rest.reading import forward
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.fields import Fields
from gossamer_gateway.index import instances
from gossamer_gateway.reading7 import read_body
from gossamer_gateway.routing.delivering import Delivery, Message, by_rule
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.wording7 import Json
from gossamer_node.engines.exchange import Answer

UNMATCHED = "No process definition or execution matches the parameters"
"""How Camunda 7 says that nothing waits for a message."""


class Messages:
    """The handlers of `/message` and `/signal`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Any]]:
        return [("POST", "/message", self.correlate), ("POST", "/signal", self.signal)]

    async def correlate(self) -> Any:
        fields = await read_body()
        name = fields.maybe_text("messageName")
        if not name:
            raise BadRequest("No message name supplied")
        delivery = await where_to(self._desk, name, fields)
        wants_result, broadcast = fields.flag("resultEnabled"), fields.flag("all")
        everywhere, matched = broadcast or delivery.to_all, False
        results: list[Any] = []
        unmatched: Answer | None = None
        for engine in delivery.engines:
            if engine.kind == "camunda8":
                found = await self._correlate_in_eight(engine, name, fields, delivery.starts)
                if found is None:
                    continue
                results.append(found)
            else:
                answer = await forward(engine)
                if answer.status == 404 and len(delivery.engines) > 1:
                    continue  # the embedded engine knows no messages
                if answer.status == 400 and UNMATCHED in answer.sentence():
                    unmatched = answer
                    continue
                if answer.status not in (200, 204):
                    return passed(answer)
                if not everywhere:
                    return passed(answer)
                told = answer.json() if answer.body else []
                results += told if isinstance(told, list) else []
            matched = True
            if not everywhere:
                break
        if not matched and not broadcast:
            if unmatched is not None:
                return passed(unmatched)
            raise BadRequest(
                "org.camunda.bpm.engine.MismatchingMessageCorrelationException: Cannot "
                f"correlate message '{name}': {UNMATCHED}"
            )
        if not wants_result:
            return NOTHING
        results = [one for one in results if one]
        return Response(json.dumps(results), content_type="application/json")

    async def _correlate_in_eight(
        self, eight: Upstream, name: str, fields: Fields, starts: str
    ) -> Json | None:
        """What a message found there, as Camunda 7 tells it; None for nothing.

        Args:
            starts: the process of which it starts an instance; "" where it may find one.
        """
        if fields.get("processVariablesLocal") or fields.get("localCorrelationKeys"):
            raise CannotBe("Camunda 8 has no local variables of a message and no local keys.")
        said: Json = {
            "name": name,
            "correlationKey": _key(fields),
            "variables": eights.variables(fields, "processVariables"),
        }
        tenant = fields.maybe_text("tenantId") or eight.tenant
        if tenant is not None:
            said["tenantId"] = tenant
        if fields.flag("all"):
            path, said["timeToLive"] = "/v2/messages/publication", 0
            await eights.ask(eight, "POST", path, said, f"publish message {name}")
            return {}
        path = "/v2/messages/correlation"
        answer = await eights.ask(eight, "POST", path, said, f"correlate message {name}")
        if answer is None:
            return None
        try:
            number = int(answer.json_object()["processInstanceKey"])
        except (KeyError, TypeError, ValueError) as error:
            raise eight.rest.nonsense("correlate a message") from error
        self._desk.noticed(eight, number)
        if starts:
            key = fields.maybe_text("businessKey")
            await self._desk.storage.submit(
                lambda rows, now: instances.started(rows, eight.name, str(number), starts, key, now)
            )
        id = name_of(eight, number)
        execution = {"id": id, "processInstanceId": id, "ended": False, "tenantId": None}
        return {"resultType": "Execution", "execution": execution, "processInstance": None}

    async def signal(self) -> Any:
        fields = await read_body()
        name = fields.maybe_text("name")
        if not name:
            raise BadRequest("No signal name given")
        execution = fields.maybe_text("executionId")
        if execution is not None:
            if of_eight(self._desk.engines, execution) is not None:
                raise CannotBe("Camunda 8 sends a signal to all that wait, not to one execution.")
            engine = await self._desk.whereabouts.seven_of("execution", execution)
            if engine is None:
                raise BadRequest(f"Cannot signal execution {execution}: it does not exist")
            return passed(await forward(engine))
        plain, _ = to_8(read_variables(fields.get("variables")))
        for engine in _named(self._desk) or self._desk.engines.all:
            if engine.kind == "camunda7":
                answer = await forward(engine)
                if answer.status == 404 and len(self._desk.engines.all) > 1:
                    continue  # the embedded engine knows no signals
                if answer.status not in (200, 204):
                    return passed(answer)
            else:
                said: Json = {"signalName": name, "variables": plain}
                tenant = fields.maybe_text("tenantId") or engine.tenant
                if tenant is not None:
                    said["tenantId"] = tenant
                path = "/v2/signals/broadcast"
                await eights.ask(engine, "POST", path, said, f"broadcast signal {name}")
        return NOTHING


async def where_to(desk: Desk, name: str, message: Fields) -> Delivery:
    """The engines that a message is offered to, in this order.

    Raises: BadRequest; CannotBe; EngineUnavailable, one that may have its instance is silent.
    """
    named = _named(desk)
    if named:
        return Delivery(named)
    instance = message.maybe_text("processInstanceId")
    if instance is None:
        eight = () if desk.engines.eight is None else (desk.engines.eight,)
        found = await by_rule(desk, _message(name, message))
        return found or Delivery(desk.engines.sevens + eight)
    if of_eight(desk.engines, instance) is not None:
        raise CannotBe(
            f"Process instance {instance} lives in Camunda 8, which correlates a message by its "
            "key and not by an instance; send correlationKeys or a businessKey instead."
        )
    engine = await desk.whereabouts.seven_of("process-instance", instance)
    return Delivery(() if engine is None else (engine,))


def _message(name: str, fields: Fields) -> Message:
    """What tells whom a message is for. A key of another type than these is left out: who waits is
    asked of more instances then, and the engine looks closer."""
    typed = fields.get("correlationKeys")
    keys = typed if isinstance(typed, dict) else {}
    variables = {
        key: one["value"]
        for key, one in keys.items()
        if isinstance(one, dict)
        and isinstance(one.get("value"), str)
        and one.get("type") in (None, "String", "string")
    }
    plain = eights.variables(fields, "correlationKeys")
    business_key = fields.maybe_text("businessKey")
    return Message(
        name,
        business_key,
        next((str(value) for value in plain.values()), business_key or ""),
        "camunda7",
        {name.lower(): value for name, value in request.headers.items()},
        variables,
    )


def _named(desk: Desk) -> tuple[Upstream, ...]:
    named = request.headers.get(ENGINE_HEADER)
    if named is None:
        return ()
    found = desk.engines.named(named)
    if found is None:
        known = ", ".join(one.name for one in desk.engines.all) or "none"
        raise BadRequest(f"There is no engine {named} here; there are {known}")
    return (found,)


def _key(fields: Fields) -> str:
    """Camunda 8's correlation key. Raises: BadRequest; CannotBe."""
    plain = eights.variables(fields, "correlationKeys")
    if len(plain) > 1:
        raise CannotBe("Camunda 8 correlates a message by one key; send one of correlationKeys.")
    for value in plain.values():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadRequest("A correlation key must be a text or a whole number")
        return str(value)
    return fields.maybe_text("businessKey") or ""
