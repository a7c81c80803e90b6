"""How the APIs of settings describe themselves for OpenAPI: path items, of a few words each."""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
WHOLE: Schema = {"type": "integer"}
ANYTHING: Schema = {"type": "object"}

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

_STATUSES = {
    400: "The request is wrong by itself.",
    404: "There is no such thing here.",
    503: "The rows can't be written or read now.",
}

PAGE = (
    {
        "name": "before",
        "in": "query",
        "description": "Changes older than this number.",
        "schema": {"type": "integer", "minimum": 1},
    },
    {
        "name": "limit",
        "in": "query",
        "description": "How many changes.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 200},
    },
)
"""Parameters of a history."""


def record(properties: Mapping[str, Schema], *, optional: Sequence[str] = ()) -> Schema:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def listed(schema: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": schema}


def changes(value: Schema) -> Schema:
    """A page of a history whose values are these."""
    maybe = {"anyOf": [value, {"type": "null"}]}
    change = {
        "number": WHOLE, "name": TEXT, "was": maybe, "is": maybe, "who": TEXT, "at": TEXT,
        "gateway": TEXT, "version": WHOLE, "here_at": TEXT,
    }  # fmt: skip
    return record({"changes": listed(record(change))})


def in_path(name: str, meaning: str) -> Schema:
    """A parameter of the path."""
    return {
        "name": name, "in": "path", "required": True, "description": meaning, "schema": NAME,
    }  # fmt: skip


def operation(
    id: str,
    about: str,
    summary: str,
    answers: Schema | None,
    *,
    body: Schema | None = None,
    parameters: Sequence[Schema] = (),
    may_miss: bool = True,
) -> dict[str, Any]:
    """One method of a path.

    Args:
        answers: of 200; None: 204, without a body.
        may_miss: whether 404 is one of its answers.
    """
    good = {"description": "It is so."}
    if answers is not None:
        good["content"] = {"application/json": {"schema": answers}}  # type: ignore[assignment]
    missed = _STATUSES if may_miss else {key: one for key, one in _STATUSES.items() if key != 404}
    made: dict[str, Any] = {
        "operationId": id,
        "summary": summary,
        "tags": [about],
        "parameters": list(parameters),
        "responses": {
            "204" if answers is None else "200": good,
            **{
                str(status): {"description": when, "content": _PROBLEM}
                for status, when in missed.items()
            },
        },
    }
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made


def resource(
    id: str,
    about: str,
    what: str,
    parameter: Schema,
    *,
    shown: Schema,
    body: Schema,
    history: Schema | None = None,
) -> dict[str, dict[str, Any]]:
    """A setting that is read, set and removed by its name, and the history of it.

    Args:
        what: as sentences call it: `route`.
        history: what its changes are of; None: they have no path of their own.
    """
    one = "/{" + str(parameter["name"]) + "}"
    items = {
        one: {
            "get": operation(id, about, f"One {what}.", shown, parameters=[parameter]),
            "put": operation(
                f"set_{id}",
                about,
                f"Sets a {what}; it counts on every gateway at once.",
                shown,
                body=body,
                parameters=[parameter],
                may_miss=False,
            ),
            "delete": operation(
                f"remove_{id}", about, f"Removes a {what}.", None, parameters=[parameter]
            ),
        }
    }
    if history is not None:
        said = f"Who changed a {what}, the newest first."
        items[f"{one}/history"] = {
            "get": operation(
                f"history_of_{id}",
                about,
                said,
                changes(history),
                parameters=[parameter, *PAGE],
                may_miss=False,
            )
        }
    return items
