"""The OpenAPI 3.1 document of our own API, made of its operations. Pure.

quart-schema was looked at first. It describes all routes of an application, dialects included,
takes over how its errors are answered, and its pages load their viewer from other hosts; msgspec
does the part that is wanted, JSON Schema out of dataclasses, and nothing else.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gossamer_gateway.v1.operations import Operation, Parameter
from gossamer_gateway.v1.shapes import Problem

INTRODUCTION = """Gossamer's own API: the mesh, the engines, what runs on them, and who is asked.

`null` stands for *unknown*: who would know could not be asked, or cannot tell. It is never shown as
zero. Times are milliseconds since 1970, lengths of time are in milliseconds, shares in thousandths.
Ids of nodes are 32 hexadecimal digits.

What goes wrong is answered as `application/problem+json` (RFC 9457), with a sentence in `detail`.
Where the gateway asks who you are, send an API key as `X-API-Key`, or as bearer in `Authorization`.
"""

PROBLEM = "application/problem+json"


def document(
    operations: Sequence[Operation],
    version: str,
    others: Mapping[str, Any] | None = None,
    types: Iterable[Any] = (),
) -> dict[str, Any]:
    """The whole document.

    Args:
        others: path items of blueprints that describe themselves, by path.
        types: shapes that no operation answers, and a reader wants all the same.
    """
    wanted = [one for row in operations for one in (row.answers, row.body) if _is_described(one)]
    wanted += [Problem, *types]
    schemas, components = msgspec.json.schema_components(
        wanted, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {}
    at = iter(schemas)
    for row in operations:
        answers = next(at) if _is_described(row.answers) else {"type": "string"}
        body = next(at) if row.body is not None else None
        path = paths.setdefault(f"{row.base}{row.path}", {})
        path[row.method.lower()] = _operation(row, answers, body)
    for path, item in (others or {}).items():
        paths.setdefault(path, {}).update(item)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gossamer",
            "version": version,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": one} for one in dict.fromkeys(row.about for row in operations)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"key": []}, {"bearer": []}],
    }


def _is_described(kind: Any) -> bool:
    return kind is not None and kind is not str


def _operation(
    row: Operation, answers: Mapping[str, Any], body: Mapping[str, Any] | None
) -> dict[str, Any]:
    errors = {400: "The request is wrong by itself.", **row.errors}
    made: dict[str, Any] = {
        "operationId": row.id,
        "summary": row.summary,
        "tags": [row.about],
        "parameters": [_parameter(one) for one in row.parameters],
        "responses": {
            str(row.status): {
                "description": "It is so.",
                "content": {row.media: {"schema": answers}},
            },
            **{
                str(status): {"description": when, "content": {PROBLEM: {"schema": _PROBLEM}}}
                for status, when in sorted(errors.items())
            },
        },
    }
    if row.plainly:
        made["responses"][str(row.status)]["content"]["text/plain"] = {"schema": {"type": "string"}}
    if row.description:
        made["description"] = inspect.cleandoc(row.description)
    if row.takes is not None:
        content = {media: {"schema": row.takes.schema} for media in row.takes.medias}
        made["requestBody"] = {"required": row.takes.required, "content": content}
    elif body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made


_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def _parameter(one: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 256}
    if one.whole is not None:
        schema = {"type": "integer", "minimum": 1, "maximum": one.whole}
    elif one.choices:
        schema = {"type": "string", "enum": list(one.choices)}
    return {
        "name": one.name,
        "in": one.place,
        "required": one.place == "path",
        "description": one.meaning,
        "schema": schema,
    }
