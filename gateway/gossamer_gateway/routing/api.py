"""`/v1/routes` and `/v1/messages`: routes and rules for messages, read and changed over HTTP.

    GET    /routes                    all of them, and the engines there are
    GET    /routes/PROCESS
    PUT    /routes/PROCESS            {"shares": {"c8": 25}, "sticky": "business-key"}
    DELETE /routes/PROCESS
    GET    /routes/PROCESS/history    who changed it; /route-history for all of them
    GET    /messages, GET, PUT, DELETE /messages/NAME: {"to": "start", "process": "hotel"}
    GET    /message-history

PROCESS `*` is the route of all processes that have none. Shares are per cent, with two decimals at
most; of two engines one may be left out. Who may ask is the door's matter.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from quart import Blueprint, request
from werkzeug.routing import PathConverter

from gossamer_gateway.errors import BadRequest, UnknownSetting
from gossamer_gateway.routing import messages
from gossamer_gateway.routing.messages import ALL_TO, MessageRule
from gossamer_gateway.routing.router import Router
from gossamer_gateway.routing.routes import BUSINESS_KEY, Route
from gossamer_gateway.settings import http
from gossamer_gateway.settings.describing import (
    PAGE,
    TEXT,
    WHOLE,
    Schema,
    changes,
    in_path,
    listed,
    operation,
    record,
    resource,
)
from gossamer_gateway.settings.http import Who


def create_blueprint(router: Router, who: Who) -> Blueprint:
    """The resources, to be put under `/v1`."""
    blueprint = Blueprint("routes", __name__)
    blueprint.record(lambda state: state.app.url_map.converters.update(text=_Text))
    http.answer_problems(blueprint)
    resources = _Resources(router, who)
    one, message = "/routes/<process>", "/messages/<text:name>"
    for method, rule, view in (
        ("GET", "/routes", resources.list),
        ("GET", one, resources.get),
        ("PUT", one, resources.put),
        ("DELETE", one, resources.delete),
        ("GET", f"{one}/history", resources.history),
        ("GET", "/route-history", resources.history),
        ("GET", "/messages", resources.list_rules),
        ("GET", message, resources.get_rule),
        ("PUT", message, resources.put_rule),
        ("DELETE", message, resources.delete_rule),
        ("GET", "/message-history", resources.rule_history),
    ):
        blueprint.add_url_rule(rule, f"{method} {rule}", view, methods=[method])
    return blueprint


class _Text(PathConverter):
    """Any text, slashes and line breaks among it, as a message's name may be; `path` ends at a
    line break."""

    regex = r"[^/](?s:.*?)"


class _Resources:
    def __init__(self, router: Router, who: Who) -> None:
        self._router = router
        self._who = who

    # --- routes

    async def list(self) -> dict[str, Any]:
        return {
            "routes": [_shown(one) for one in self._router.routes()],
            "engines": self._router.engine_names(),
        }

    async def get(self, process: str) -> dict[str, Any]:
        for one in self._router.routes():
            if one.process == process:
                return _shown(one)
        raise UnknownSetting(f"there is no route {process} here.")

    async def put(self, process: str) -> dict[str, Any]:
        body = await http.read_object()
        _known(body, ("shares", "sticky"))
        shares = read_shares(body.get("shares"))
        sticky = body.get("sticky", BUSINESS_KEY)
        return _shown(await self._router.set(process, shares, self._who(), sticky or ""))

    async def delete(self, process: str) -> tuple[str, int]:
        await self._router.remove(process, self._who())
        return "", 204

    async def history(self, process: str | None = None) -> dict[str, Any]:
        return http.changes(await self._router.audit(process, **http.page()), _shown_value)

    # --- rules for messages

    async def list_rules(self) -> dict[str, Any]:
        return {"messages": [_shown_rule(one) for one in self._router.rules()]}

    async def get_rule(self, name: str) -> dict[str, Any]:
        for one in self._router.rules():
            if one.message == name:
                return _shown_rule(one)
        raise UnknownSetting(f"there is no rule for messages {name} here.")

    async def put_rule(self, name: str) -> dict[str, Any]:
        body = await http.read_object()
        _known(body, ("to", "process"))
        rule = messages.read_value(name, body)
        await self._router.set_rule(rule, self._who())
        return _shown_rule(rule)

    async def delete_rule(self, name: str) -> tuple[str, int]:
        await self._router.remove_rule(name, self._who())
        return "", 204

    async def rule_history(self) -> dict[str, Any]:
        name = request.args.get("name")
        return http.changes(await self._router.audit_rules(name, **http.page()), dict)


def read_shares(value: object) -> dict[str, int]:
    """Shares in hundredths of a per cent out of per cent.

    Raises: BadRequest.
    """
    if not isinstance(value, dict) or not value:
        raise BadRequest('shares is no object of engines with per cent; write {"c8": 25}.')
    shares = {}
    for name, percent in value.items():
        if type(percent) not in (int, float) or not 0 <= percent <= 100:
            raise BadRequest(f"the share of {name} is {percent!r:.64}; write 0 to 100.")
        share = round(percent * 100)
        if abs(share - percent * 100) > 1e-6:
            raise BadRequest(f"the share of {name} is {percent}; write two decimals at most.")
        shares[name] = share
    return shares


def _shown(route: Route) -> dict[str, Any]:
    return {
        "process": route.process,
        **_shown_value({"shares": route.shares, "sticky": route.sticker}),
        "who": route.who,
        "at": http.instant(route.at_ms),
        "gateway": route.version.gateway,
        "version": route.version.clock,
    }


def _shown_value(value: Mapping[str, Any]) -> dict[str, Any]:
    shares = {name: share / 100 for name, share in sorted(value["shares"].items())}
    return {"shares": shares, "sticky": value["sticky"]}


def _shown_rule(rule: MessageRule) -> dict[str, Any]:
    return {"message": rule.message, **messages.value_of(rule)}


def _known(body: Mapping[str, Any], fields: tuple[str, ...]) -> None:
    for name in body:
        if name not in fields:
            raise BadRequest(f"{name[:64]} is no field here; there are {', '.join(fields)}.")


# --- what OpenAPI says of it

_SHARES: Schema = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "number", "minimum": 0, "maximum": 100},
    "description": "Per cent by engine, with two decimals at most; together 100.",
}
_STICKY: Schema = {
    "type": "string",
    "description": "`business-key`, `header:NAME`, or empty: what makes starts stick together.",
}
_VALUE = {"shares": _SHARES, "sticky": _STICKY}
_MADE = {"who": TEXT, "at": TEXT, "gateway": TEXT, "version": WHOLE}
_ROUTE = record({"process": TEXT, **_VALUE, **_MADE})
_TO: Schema = {"type": "string", "enum": list(ALL_TO)}
_RULE = {"to": _TO, "process": TEXT}


def described() -> dict[str, Any]:
    """Path items of the resources, by path."""
    process = in_path("process", "The process's id, or `*` for all that have no route.")
    name = in_path("name", "The message's name.")
    of_name = {"name": "name", "in": "query", "description": "One alone.", "schema": TEXT}
    told = record(_VALUE)
    rule = record({"message": TEXT, **_RULE}, optional=("process",))
    value = record(_RULE, optional=("process",))
    listing = partial(operation, about="routes", may_miss=False)
    routes = resource(
        "route", "routes", "route", process,
        shown=_ROUTE, body=record(_VALUE, optional=("sticky",)), history=told,
    )  # fmt: skip
    rules = resource("message_rule", "routes", "rule", name, shown=rule, body=value)
    return {
        "/v1/routes": {
            "get": listing(
                "routes",
                summary="All routes, and the engines there are.",
                answers=record({"routes": listed(_ROUTE), "engines": listed(TEXT)}),
            )
        },
        **{f"/v1/routes{path}": item for path, item in routes.items()},
        "/v1/route-history": {
            "get": listing(
                "history_of_routes",
                summary="Who changed routes, the newest first.",
                answers=changes(told),
                parameters=PAGE,
            )
        },
        "/v1/messages": {
            "get": listing(
                "message_rules",
                summary="Where messages of each name go.",
                answers=record({"messages": listed(rule)}),
            )
        },
        **{f"/v1/messages{path}": item for path, item in rules.items()},
        "/v1/message-history": {
            "get": listing(
                "history_of_message_rules",
                summary="Who changed rules for messages, the newest first.",
                answers=changes(value),
                parameters=[of_name, *PAGE],
            )
        },
    }
