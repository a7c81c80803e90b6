"""Bodies of requests about workflows, read.

Whatever the network brings ends as a value of the right type or as a refusal that names the field,
and where it can the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs import strict
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.events import MESSAGE_CHARACTERS_MAX
from gossamer_gateway.runs.model.reading import read_definition, read_object
from gossamer_gateway.v1.operations import Body

YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

Schema = Mapping[str, Any]


def _schema(fields: Mapping[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(required),
        "additionalProperties": False,
    }


VERSION_MAX = 2**31 - 1

KEY_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a run is started with. `version` None: the newest."""

    given: Any = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """A workflow as it is, and what to start it with."""

    definition: Definition
    given: Any


def _definition(data: bytes, media: str) -> Definition:
    """A workflow, as JSON or, where the content type says so, as YAML.

    Raises: DefinitionRefused, BadRequest.
    """
    if media not in YAML and not data.lstrip().startswith(b"{"):
        raise BadRequest(
            "the body is no JSON object; write a workflow as one, or send YAML with the content "
            f"type {YAML[0]}"
        )
    return read_definition(data)


def _trigger(data: bytes, _media: str) -> Trigger:
    """Raises: BadRequest."""
    fields = _object(data, "input", "version")
    version = fields.get("version")
    if version is not None and (
        isinstance(version, bool) or not isinstance(version, int) or not 0 < version <= VERSION_MAX
    ):
        raise BadRequest("version must be a whole number from 1")
    given = fields.get("input")
    strict.check_size(given, "the input")
    return Trigger(given, version)


def _reason(data: bytes, _media: str) -> str:
    """Why somebody cancels. Raises: BadRequest."""
    text = _object(data, "reason").get("reason", "")
    if not isinstance(text, str) or len(text) > MESSAGE_CHARACTERS_MAX:
        raise BadRequest(f"reason must be a text of at most {MESSAGE_CHARACTERS_MAX} characters")
    return text


def _nothing(data: bytes, _media: str) -> None:
    """A body that says nothing. Raises: BadRequest."""
    _object(data)


def key(text: str | None) -> str | None:
    """The header Idempotency-Key. Raises: BadRequest."""
    if text is None:
        return None
    if not 0 < len(text) <= KEY_CHARACTERS_MAX or not text.isprintable():
        raise BadRequest(
            f"Idempotency-Key must have 1 to {KEY_CHARACTERS_MAX} characters, all of them printable"
        )
    return text


def _execution(data: bytes, _media: str) -> Executed:
    """A workflow and its input. Raises: DefinitionRefused, BadRequest."""
    fields = _object(data, "workflow", "input")
    if "workflow" not in fields:
        raise BadRequest("there is no workflow here; write it as the field workflow")
    given = fields.get("input")
    strict.check_size(given, "the input")
    return Executed(read_object(fields["workflow"], "workflow", data), given)


def _object(data: bytes, *names: str) -> dict[str, Any]:
    """A JSON object with some of these fields; no body is an empty one."""
    return strict.read_object(data, *names) if data.strip() else {}


_WORKFLOW: Schema = {
    "type": "object",
    "description": "A workflow; its fields have a reference page of their own.",
    "required": ["id", "steps"],
}
_VERSION: Schema = {"type": ["integer", "null"], "minimum": 1, "maximum": VERSION_MAX}
_REASON: Schema = {"type": "string", "maxLength": MESSAGE_CHARACTERS_MAX}

DEFINITION = Body(_definition, _WORKFLOW, medias=("application/json", YAML[0]))
TRIGGER = Body(_trigger, _schema({"input": {}, "version": _VERSION}), required=False)
REASON = Body(_reason, _schema({"reason": _REASON}), required=False)
NOTHING = Body(_nothing, _schema({}), required=False)
EXECUTION = Body(_execution, _schema({"workflow": _WORKFLOW, "input": {}}, "workflow"))
