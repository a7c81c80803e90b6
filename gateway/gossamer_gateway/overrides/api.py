"""`/v1/overrides`: rules, read, changed and tried over HTTP.

    GET    /overrides               all of them, in the order in which they are asked
    GET    /overrides/NAME
    PUT    /overrides/NAME          a rule as `rules` has it
    DELETE /overrides/NAME
    GET    /overrides/NAME/history  who changed it; /override-history for all of them
    POST   /overrides/test          {"method": "POST", "path": "/engine-rest/message",
                                     "headers": {"x-tenant": "acme"}, "body": "{…}"}

A test says which rule would answer, and why each one before it would not; nothing is sent. It takes
`process`, or finds it in path and body as requests do. Who may ask is the door's matter, and
rules send requests anywhere: let it be administrators alone.
"""

import json
from functools import partial
from typing import Any

from quart import Blueprint

from gossamer_gateway.errors import BadRequest, UnknownSetting
from gossamer_gateway.overrides.deciding import Request
from gossamer_gateway.overrides.overrides import Overrides
from gossamer_gateway.overrides.rules import Rule
from gossamer_gateway.overrides.subjects import process_of
from gossamer_gateway.settings import http
from gossamer_gateway.settings.describing import (
    ANYTHING,
    TEXT,
    Schema,
    in_path,
    listed,
    operation,
    record,
    resource,
)
from gossamer_gateway.settings.http import Who


def create_blueprint(overrides: Overrides, who: Who) -> Blueprint:
    """The resources, to be put under `/v1`."""
    blueprint = Blueprint("overrides", __name__)
    http.answer_problems(blueprint)
    resources = _Resources(overrides, who)
    one = "/overrides/<name>"
    for method, rule, view in (
        ("GET", "/overrides", resources.list),
        ("POST", "/overrides/test", resources.test),
        ("GET", one, resources.get),
        ("PUT", one, resources.put),
        ("DELETE", one, resources.delete),
        ("GET", f"{one}/history", resources.history),
        ("GET", "/override-history", resources.history),
    ):
        blueprint.add_url_rule(rule, f"{method} {rule}", view, methods=[method])
    return blueprint


class _Resources:
    def __init__(self, overrides: Overrides, who: Who) -> None:
        self._overrides = overrides
        self._who = who

    async def list(self) -> dict[str, Any]:
        return {"overrides": [_shown(one) for one in self._overrides.rules()]}

    async def get(self, name: str) -> dict[str, Any]:
        for one in self._overrides.rules():
            if one.name == name:
                return _shown(one)
        raise UnknownSetting(f"there is no override {name} here.")

    async def put(self, name: str) -> dict[str, Any]:
        body = await http.read_object()
        return _shown(await self._overrides.set(name, body, self._who()))

    async def delete(self, name: str) -> tuple[str, int]:
        await self._overrides.remove(name, self._who())
        return "", 204

    async def history(self, name: str | None = None) -> dict[str, Any]:
        return http.changes(await self._overrides.audit(name, **http.page()), dict)

    async def test(self) -> dict[str, Any]:
        request = read_test(await http.read_object())
        verdicts = self._overrides.explain(request)
        last = verdicts[-1] if verdicts else None
        found = last if last is not None and last.why_not is None else None
        return {
            "process": request.process,
            "rule": None if found is None else _shown(found.rule),
            "parts": {} if found is None else dict(found.caught),
            "before": [
                {"name": one.rule.name, "why_not": one.why_not}
                for one in verdicts
                if one.why_not is not None
            ],
        }


def read_test(body: dict[str, Any]) -> Request:
    """A request that nobody sends. Raises: BadRequest."""
    for name in body:
        if name not in ("method", "path", "headers", "body", "process"):
            raise BadRequest(
                f"{name[:64]} is no field here; there are method, path, headers, body, process."
            )
    method, path, process = body.get("method", "GET"), body.get("path"), body.get("process")
    headers, text = body.get("headers", {}), body.get("body", "")
    if not isinstance(method, str) or not isinstance(path, str) or not path.startswith("/"):
        raise BadRequest("write a method and a path that begins with a slash.")
    if not isinstance(headers, dict) or not all(isinstance(one, str) for one in headers.values()):
        raise BadRequest("headers is no object of names with texts.")
    if process is not None and not isinstance(process, str):
        raise BadRequest("process is the id of one, as text.")
    path = path.partition("?")[0]
    data = (text if isinstance(text, str) else json.dumps(text)).encode("utf-8", "replace")
    return Request(
        method.upper(),
        path,
        [(name.lower(), value) for name, value in headers.items()],
        process if process is not None else process_of(method.upper(), path, data),
    )


def _shown(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        **rule.value,
        "position": rule.position,
        "who": rule.who,
        "at": http.instant(rule.at_ms),
    }


# --- what OpenAPI says of it


def described() -> dict[str, Any]:
    """Path items of the resources, by path; a rule's fields are in docs/how-to/overrides.md."""
    name = in_path("name", "The rule's name.")
    about = partial(operation, about="overrides")
    rules = resource(
        "override", "overrides", "rule", name, shown=ANYTHING, body=ANYTHING, history=ANYTHING
    )
    tried = record(
        {
            "method": TEXT,
            "path": {"type": "string", "pattern": "^/"},
            "headers": {"type": "object", "additionalProperties": TEXT},
            "body": {},
            "process": {"type": ["string", "null"]},
        },
        optional=("method", "headers", "body", "process"),
    )
    verdict = record({"name": TEXT, "why_not": TEXT})
    found: Schema = {"anyOf": [ANYTHING, {"type": "null"}]}
    process: Schema = {"type": ["string", "null"]}
    tested = record(
        {"process": process, "rule": found, "parts": ANYTHING, "before": listed(verdict)}
    )
    return {
        "/v1/overrides": {
            "get": about(
                "overrides",
                summary="All rules, in the order in which they are asked.",
                answers=record({"overrides": listed(ANYTHING)}),
                may_miss=False,
            )
        },
        "/v1/overrides/test": {
            "post": about(
                "test_overrides",
                summary="Which rule would answer a request, and why those before would not.",
                answers=tested,
                body=tried,
                may_miss=False,
            )
        },
        **{f"/v1/overrides{path}": item for path, item in rules.items()},
    }
