"""Messages and signals from clients of Camunda 8, to whichever engine waits for them.

Camunda 8's `correlationKey` is Camunda 7's business key. A message is offered to the engines of
Camunda 7's dialect, one after another, and one that correlates it ends the search; what none waits
for is the Camunda 8's, which keeps it for its time to live. Camunda 7 keeps no messages: where it
is the only one to ask, a message with a time to live that nobody waits for now is refused as
NOT_FOUND, so that its sender may publish it again, and without one it is gone at once, as Camunda 8
has it. An engine that does not answer may be the one that waits: nothing is asked of others then.

A message that has a rule goes where the rule says (`routing.delivering`), to that engine alone, or
to all. Of several engines the Camunda 8's answer is the answer, but to a correlation that only
others took.

A signal goes to every engine that knows signals.
"""

import uuid

from gossamer_gateway.bridge.jobs import DEFAULT_TENANT
from gossamer_gateway.camunda8 import seven
from gossamer_gateway.camunda8.fields import Json
from gossamer_gateway.camunda8.places import Place, Request, engine_named
from gossamer_gateway.camunda8.refusals import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    Refused,
    of_seven,
    rejected,
)
from gossamer_gateway.desk import Desk
from gossamer_gateway.routing.delivering import Message, by_rule
from gossamer_gateway.upstreams.upstream import Upstream

UNMATCHED = "No process definition or execution matches the parameters"
"""How Camunda 7 says that nothing waits for a message."""


async def place_to_publish(desk: Desk, request: Request) -> Place:
    return await _place(desk, request, "PUBLISH")


async def place_to_correlate(desk: Desk, request: Request) -> Place:
    return await _place(desk, request, "CORRELATE")


async def _place(desk: Desk, request: Request, command: str) -> Place:
    """The Camunda 8, if no engine of Camunda 7's takes it, or the one that did."""
    name = request.body.needed("name")
    named = engine_named(desk, request)
    rule = None if named is not None else await by_rule(desk, _message(name, request))
    if named is not None:
        engines: tuple[Upstream, ...] = (named,)
    elif rule is not None:
        engines = rule.engines
    else:
        engines = desk.engines.all
    sevens = [one for one in engines if one.kind == "camunda7"]
    eight = next((one for one in engines if one.kind == "camunda8"), None)
    found: Place | None = None
    for engine in sevens:
        instance = await _correlate(desk, engine, request, name, command)
        if instance is not None:
            found = found or Place(engine, id=instance)
            if rule is None or not rule.to_all:
                return found
    if eight is not None:
        if found is None or command == "PUBLISH":
            return Place(eight)
        await _correlate_too(eight, request)
    if found is not None:
        return found
    if command == "PUBLISH" and request.body.number("timeToLive") <= 0 and sevens:
        return Place(sevens[0])
    told = f"message with name '{name}' and correlation key '{request.body.text('correlationKey')}'"
    said = f"Expected to find subscription for {told}, but none was found."
    if command == "PUBLISH":
        said += " Camunda 7 keeps no messages: publish it again later."
    raise rejected(command, NOT_FOUND, said)


def _message(name: str, request: Request) -> Message:
    key = request.body.text("correlationKey")
    return Message(name, key or None, key, "camunda8", request.headers)


async def _correlate_too(eight: Upstream, request: Request) -> None:
    """The Camunda 8 gets a message that others took; it is no matter if nobody waits there."""
    answer = await eight.ask("POST", "/v2/messages/correlation", request.body.all)
    if answer.status not in (200, 404):
        raise eight.error(answer, "correlate a message")


async def _correlate(
    desk: Desk, engine: Upstream, request: Request, name: str, command: str
) -> str | None:
    """The instance that a message found; None for none."""
    body: Json = {
        "messageName": name,
        "processVariables": seven.typed(request.body.object("variables")),
        "resultEnabled": True,
    }
    if key := request.body.text("correlationKey"):
        body["businessKey"] = key
    tenant = request.body.text("tenantId")
    if tenant not in ("", DEFAULT_TENANT):
        body["tenantId"] = tenant
    elif engine.tenant is not None:
        body["tenantId"] = engine.tenant
    answer = await seven.attempt(engine, "POST", "/message", body)
    if answer.status == 404 or (answer.status == 400 and UNMATCHED in answer.sentence()):
        return None  # the embedded engine knows no messages
    if answer.status >= 300:
        raise of_seven(answer, engine, command, f"correlate message {name}")

    def instance_of(results: list[Json]) -> str:
        found = results[0].get("processInstance") or {}
        execution = results[0].get("execution") or {}
        return str(found.get("id") or execution["processInstanceId"])

    found: str = seven.read(engine, answer, f"correlate message {name}", instance_of)
    desk.whereabouts.seen("process-instance", found, engine)
    return found


async def publish(desk: Desk, place: Place, request: Request) -> Json:
    key = await _own_key(desk, place.engine, "message")
    return {"messageKey": key, "tenantId": DEFAULT_TENANT}


async def correlate(desk: Desk, place: Place, request: Request) -> Json:
    key = await _own_key(desk, place.engine, "message")
    numbers = await seven.numbers(desk, place.engine, [place.id])
    return {
        "messageKey": key,
        "processInstanceKey": numbers[place.id],
        "tenantId": DEFAULT_TENANT,
    }


async def _own_key(desk: Desk, engine: Upstream, what: str) -> int:
    """A key for what Camunda 7 has no id for."""
    id = f"{what}:{uuid.uuid4()}"
    return (await seven.numbers(desk, engine, [id]))[id]


async def place_to_signal(desk: Desk, request: Request) -> Place:
    """Tells the engines of Camunda 7's first; the Camunda 8's answer is the answer."""
    name = request.body.needed("signalName")
    named = engine_named(desk, request)
    engines = desk.engines.all if named is None else (named,)
    if not engines:
        raise Refused(INVALID_ARGUMENT, "This gateway has no engine")
    body = {"name": name, "variables": seven.typed(request.body.object("variables"))}
    for engine in engines:
        if engine.kind == "camunda7":
            answer = await seven.attempt(engine, "POST", "/signal", body)
            if answer.status >= 300 and answer.status != 404:  # the embedded engine knows none
                raise of_seven(answer, engine, "BROADCAST", f"send signal {name}")
    eights = [one for one in engines if one.kind == "camunda8"]
    return Place((eights or list(engines))[0])


async def signal(desk: Desk, place: Place, request: Request) -> Json:
    key = await _own_key(desk, place.engine, "signal")
    return {"signalKey": key, "tenantId": DEFAULT_TENANT}
