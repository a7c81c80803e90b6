"""Finds out what is known of a message that somebody made a rule for; `messages.where` decides.

A Camunda 7 is asked which of its instances wait. A Camunda 8 cannot be asked: its exporter tells,
where the sink is to be believed. Else our index knows which instances have the business key, and
those that live are taken for waiting, unless an engine that could be asked has one that does wait.
So an instance that was started past the gateways in a Camunda 8 without a sink is not seen here.

Without a rule nobody is asked, and nothing here decides: the dialects offer a message to the
engines in their own order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from gossamer_gateway.desk import Desk
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.index import instances
from gossamer_gateway.routing.messages import Deliver, Facts, MessageRule, NotNow, where
from gossamer_gateway.sink.reading import look
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.config import Kind
from gossamer_node.errors import EngineError, EngineUnavailable

ASK_MS = 5_000
"""How long an engine may take to tell who waits."""

LIVING_MAX = 20
"""Instances of one business key that a Camunda 8 is asked about; the newest."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a client said, as far as it tells whom it is for.

    Attributes:
        name: of the message.
        business_key: Camunda 7's; None for whichever.
        correlation: Camunda 8's key, "" for none.
        variables: of an instance in Camunda 7, which must be equal.
        headers: the request's, in small letters.
        dialect: the client's.
    """

    name: str
    business_key: str | None
    correlation: str
    dialect: Kind
    headers: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a rule sends a message.

    Attributes:
        to_all: each engine gets it; else the one gets it.
        starts: the process that it is to start there; "" where an instance waits, or may.
    """

    engines: tuple[Upstream, ...]
    to_all: bool = False
    starts: str = ""


async def by_rule(desk: Desk, message: Message) -> Delivery | None:
    """Where the rule for a message sends it; None without a rule.

    Raises:
        BadRequest: several engines have an instance for it.
        EngineUnavailable: one that may have it does not answer.
    """
    rule = desk.starting.rule_of(message.name)
    if rule is None:
        return None
    known = await _ask_all(desk, rule, message)
    takes = [one for one in desk.engines.all if one.name not in known.deaf]
    if not takes:
        return Delivery(desk.engines.all[:1])
    routed = None
    if rule.to == "start" and not known.holders and not known.silent:
        routed = desk.starting.routed(rule.process, message.business_key, message.headers)
    facts = Facts(
        tuple(one.name for one in takes),
        next((one for one in takes if one.kind == message.dialect), takes[0]).name,
        holders=frozenset(known.holders),
        silent=frozenset(known.silent),
        routed=None if routed is None else routed.name,
    )
    match where(rule, facts):
        case Deliver(names):
            starts = rule.process if routed is not None else ""
            engines = [engine for name in names if (engine := desk.engines.named(name))]
            return Delivery(tuple(engines), rule.to == "all", starts)
        case NotNow(sentence):
            raise EngineUnavailable(f"Message {message.name} was not sent: {sentence}")
        case not_one:
            raise BadRequest(f"Message {message.name} was not sent: {not_one.sentence}")


@dataclass(slots=True)
class _Known:
    """What engines told.

    Attributes:
        holders: engines where an instance waits, or, of those that tell nothing, may wait.
        silent: engines that did not answer.
        deaf: engines that know no messages.
    """

    holders: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    deaf: set[str] = field(default_factory=set)


async def _ask_all(desk: Desk, rule: MessageRule, message: Message) -> _Known:
    known, broken = _Known(), list[Exception]()
    living, told = await _recall(desk, message)

    async def ask(engine: Upstream) -> None:
        try:
            waits = await _waits_in_seven(engine, message)
        except EngineError:
            known.silent.add(engine.name)
            if engine.name in living:
                known.holders.add(engine.name)
        except Exception as error:  # a mistake of ours: not to come out in a group
            broken.append(error)
        else:
            if waits is None:
                known.deaf.add(engine.name)
            elif waits:
                known.holders.add(engine.name)

    async with trio.open_nursery() as nursery:
        for engine in desk.engines.sevens:
            nursery.start_soon(ask, engine)
    if broken:
        raise broken[0]
    if desk.engines.eight is not None:
        await _ask_eight(
            desk.engines.eight, rule, known, living.get(desk.engines.eight.name, ()), told
        )
    return known


async def _ask_eight(
    eight: Upstream, rule: MessageRule, known: _Known, living: Sequence[str], told: bool | None
) -> None:
    if rule.to == "all":
        try:
            answer = await eight.ask("GET", "/v2/topology", within_ms=ASK_MS)
            if answer.status >= 500:
                known.silent.add(eight.name)
        except EngineError:
            known.silent.add(eight.name)
    elif told is not None:
        if told:
            known.holders.add(eight.name)
    elif not known.holders:
        for id in living:
            # A change that changes nothing is taken of an instance that lives.
            path = f"/v2/process-instances/{id}/modification"
            try:
                answer = await eight.ask("POST", path, {}, within_ms=ASK_MS)
            except EngineError:
                known.silent.add(eight.name)
                known.holders.add(eight.name)
                return
            if answer.status in (200, 204):
                known.holders.add(eight.name)
                return


async def _waits_in_seven(engine: Upstream, message: Message) -> bool | None:
    """Whether an instance waits there; None where no messages are known. Raises: EngineError."""
    asked: dict[str, Any] = {"messageEventSubscriptionName": message.name}
    if message.business_key is not None:
        asked["businessKey"] = message.business_key
    if message.variables:
        asked["processVariables"] = [
            {"name": name, "operator": "eq", "value": value}
            for name, value in message.variables.items()
        ]
    if engine.tenant is not None:
        asked["tenantIdIn"] = [engine.tenant]
    answer = await engine.ask("POST", "/execution/count", asked, within_ms=ASK_MS)
    if answer.status in (404, 405):
        return None  # the embedded engine
    doing = f"tell who waits for message {message.name}"
    if answer.status != 200:
        raise engine.error(answer, doing)
    try:
        return int(answer.json_object()["count"]) > 0
    except (KeyError, TypeError, ValueError) as error:
        raise engine.rest.nonsense(doing) from error


async def _recall(desk: Desk, message: Message) -> tuple[Mapping[str, Sequence[str]], bool | None]:
    """Living instances of the business key, as far as we know them, by engine; and whether one
    waits in the Camunda 8, None where the sink is not to be believed."""
    eight = desk.engines.eight

    def recall(rows: Rows, now_ms: int) -> tuple[Mapping[str, Sequence[str]], bool | None]:
        living: dict[str, list[str]] = {}
        if message.business_key is not None:
            for one in instances.by_business_key(
                rows, message.business_key, living=True, limit=LIVING_MAX
            ):
                living.setdefault(one.engine, []).append(one.id)
        view = None if eight is None else look(rows, eight.name, now_ms, desk.watch)
        if view is None:
            return living, None
        waiting = view.waiting(message.name, message.correlation)
        return living, any(one.instance is not None for one in waiting)

    return await desk.storage.submit(recall)
