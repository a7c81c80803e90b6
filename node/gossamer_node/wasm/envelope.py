"""The bytes between host and worker: a job becomes an input envelope, an answer becomes an outcome.

`sdk-wasm/ABI.md` §2 and §3 are the specification. A worker may answer anything at all, so
`decode_outcome` is total: what is not an outcome becomes a `Failed` that says what was wrong with
it. What comes out of it may go on to any engine and through any encoding: numbers are finite and
fit 64 bits, text is Unicode, nesting is bounded, integers that a double would round are Longs.
"""

import base64
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, NoReturn

import msgpack

from gossamer_node.errors import InputError
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef, Outcome
from gossamer_node.variables import SAFE_INTEGER_MAX, JsonValue, TypeTag, Variables

Encoding = Literal["json", "msgpack"]

DEPTH_MAX = 64
"""Levels of nesting (ABI.md §2): what a guest on a small stack can still walk by recursion."""

VALUES_MAX = 50_000
"""Values in one map, at all levels (ABI.md §2). A parser of C lets nobody else run meanwhile: a
MiB of small values would hold up the node's loop for 100 ms and more."""

_PART_BYTES = 64 * 2**10
_FEED_BYTES = 16 * 2**10
_TOO_LONG = re.compile("exceeds max_(array|map)_len")

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_COUNT_MAX = 2**31 - 1
_EXCERPT_BYTES = 200
_TEXT = frozenset({str})
_KINDS = ("completed", "bpmn_error", "failed")
_JOB_TEXTS = (
    *("key", "topic", "engine", "process_id", "process_instance_key"),
    *("element_id", "business_key", "tenant"),
)
_JSON_SPACE = b" \t\r\n"


class EnvelopeError(ValueError):
    """Bytes or values that the ABI has no room for; the message is a clause without its subject."""


def _no_constant(name: str) -> NoReturn:
    raise EnvelopeError(f"{name} is no JSON number")


_to_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_from_json = json.JSONDecoder(parse_constant=_no_constant).decode


def pack(value: Mapping[str, Any], encoding: Encoding) -> bytes:
    """The bytes of a map. Raises EnvelopeError for what the encoding cannot say."""
    try:
        if encoding == "json":
            return _to_json(value).encode()
        packed: bytes = msgpack.packb(value)
        return packed
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise EnvelopeError(f"cannot be written as {encoding}: {error}") from None


def unpack(data: bytes) -> tuple[dict[str, Any], Encoding]:
    """The map that the bytes hold, and their encoding, told apart by the first byte.

    Values are as the parser gives them; `check_value` holds them to the ABI's numbers and depth.

    Raises: EnvelopeError.
    """
    if not data:
        raise EnvelopeError("it is empty")
    first = data[0]
    if first in _JSON_SPACE:
        first = (data.lstrip(_JSON_SPACE) or b"\0")[0]
    if first == 0x7B:
        return _unpack_json(data), "json"
    if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
        return _unpack_msgpack(data), "msgpack"
    raise EnvelopeError("it is neither JSON nor msgpack with a map at the top")


def _too_many() -> EnvelopeError:
    return EnvelopeError(f"it holds more than {VALUES_MAX:,} values")


def _count_values(json_text: bytes) -> int:
    """Every value but the first has a comma or an opening bracket of its own before it."""
    return json_text.count(b",") + json_text.count(b"[") + json_text.count(b"{")


def _check_json_values(data: bytes) -> None:
    if _count_values(data) <= VALUES_MAX:
        return
    # Those within strings don't count. What is no JSON counts wrongly after its first error only,
    # where the parser ends. Part by part, so that one of a million values costs no more than its
    # first ones, and no call holds the others up.
    at = values = quotes = 0
    while at < len(data):
        part = data[at : at + _PART_BYTES]
        if (len(part) - len(part.rstrip(b"\\"))) % 2:
            # It ends within an escape.
            part = data[at : at + _PART_BYTES + 1]
        at += len(part)
        pieces = part.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        values += _count_values(b"".join(pieces[quotes % 2 :: 2]))
        quotes += len(pieces) - 1
        if values > VALUES_MAX or quotes > 4 * VALUES_MAX:
            raise _too_many()


def _unpack_json(data: bytes) -> dict[str, Any]:
    _check_json_values(data)
    try:
        value: dict[str, Any] = _from_json(data.decode())
        if b"\\u" in data:
            # Escapes can spell half a surrogate pair, which no encoder downstream would take.
            _to_json(value).encode()
        return value
    except RecursionError:
        raise EnvelopeError(f"it is nested more than {DEPTH_MAX} levels deep") from None
    except ValueError as error:
        # Encoding again also finds a number past double, which `check_value` names better.
        if "Out of range float" in str(error):
            return value
        raise EnvelopeError(f"it is not valid JSON ({error})") from None


def _unpack_many(data: bytes) -> dict[str, Any]:
    """Counts as it goes, and lets other threads run between its parts."""
    values = 0

    def counted(container: Any) -> Any:
        nonlocal values
        values += 1 + len(container)
        if values > VALUES_MAX:
            raise _too_many()
        return container

    unpacker = msgpack.Unpacker(
        max_buffer_size=len(data),
        max_array_len=VALUES_MAX,
        max_map_len=VALUES_MAX,
        object_hook=counted,
        list_hook=counted,
    )
    for at in range(0, len(data), _FEED_BYTES):
        unpacker.feed(data[at : at + _FEED_BYTES])
        with suppress(msgpack.OutOfData):
            value: dict[str, Any] = unpacker.unpack()
            if unpacker.tell() != len(data):
                raise ValueError("unpack(b) received extra data.")
            return value
    raise ValueError("Unpack failed: incomplete input")


def _unpack_msgpack(data: bytes) -> dict[str, Any]:
    try:
        if len(data) > VALUES_MAX:
            return _unpack_many(data)
        value: dict[str, Any] = msgpack.unpackb(data)
        return value
    except EnvelopeError:
        raise
    except ValueError as error:
        # msgpack's own exceptions are ValueErrors; StackError has no text.
        if len(data) > VALUES_MAX and _TOO_LONG.search(str(error)):
            raise _too_many() from None
        raise EnvelopeError(f"it is not valid msgpack ({error or type(error).__name__})") from None
    except (RecursionError, TypeError, OverflowError) as error:
        raise EnvelopeError(f"it is not valid msgpack ({error or type(error).__name__})") from None


def check_value(value: object, subject: str, depth: int) -> None:
    """Hold a parsed value to the ABI's numbers, types and depth.

    Args:
        subject: what to call it in an error.
        depth: the level it stands at, the outermost map being 1.

    Raises: EnvelopeError.
    """
    level: list[object] = [value]
    while level:
        if depth > DEPTH_MAX and any(isinstance(one, dict | list) for one in level):
            raise EnvelopeError(f"{subject} is nested more than {DEPTH_MAX} levels deep")
        below: list[object] = []
        for one in level:
            kind = type(one)
            if kind is str or kind is bool or one is None:
                continue
            if kind is int:
                if not _INT64_MIN <= one <= _INT64_MAX:  # type: ignore[operator]
                    raise EnvelopeError(f"{subject} holds an integer beyond 64 bits")
            elif kind is float:
                if one - one != 0:  # type: ignore[operator]
                    raise EnvelopeError(f"{subject} holds a number that is not finite")
            elif kind is list:
                below.extend(one)  # type: ignore[arg-type]
            elif kind is dict:
                below.extend(one.values())  # type: ignore[attr-defined]
                _check_names(one, subject)  # type: ignore[arg-type]
            elif kind is bytes:
                raise EnvelopeError(f"{subject} holds bytes; send them as base64 text typed Bytes")
            else:
                raise EnvelopeError(f"{subject} holds a msgpack extension")
        level = below
        depth += 1


def _check_names(value: dict[Any, Any], subject: str) -> None:
    # msgpack can say them as bytes, which nothing downstream would take.
    if not _TEXT.issuperset(map(type, value)):
        raise EnvelopeError(f"{subject} holds a name that is no text")


def input_map(job: Job, *, deadline_ms: int) -> dict[str, Any]:
    """A job's input (ABI.md §3) before it is written."""
    ref = job.ref
    return {
        "job": {
            "key": ref.key,
            "topic": ref.topic,
            "engine": ref.engine,
            "retries": ref.retries,
            "deadline_ms": deadline_ms,
            "business_key": job.business_key,
            "process_id": job.process_id,
            "process_instance_key": job.process_instance_key,
            "element_id": job.element_id,
            "tenant": job.tenant,
            "headers": dict(job.headers),
        },
        "variables": dict(job.variables.values),
        "types": dict(job.variables.types),
    }


def encode_job(
    job: Job, *, deadline_ms: int, encoding: Encoding, state: bytes | None = None
) -> bytes:
    """The input envelope of a job.

    Args:
        deadline_ms: time left for the job from now on.
        state: what is kept for the job's key.

    Raises: EnvelopeError, when the job's own variables cannot be written.
    """
    written = input_map(job, deadline_ms=deadline_ms)
    if state is not None:
        written["state"] = base64.b64encode(state).decode()
    return pack(written, encoding)


def decode_outcome(data: bytes) -> Outcome:
    """What a worker's answer means. Any bytes give an outcome; it never raises."""
    try:
        return _outcome(unpack(data)[0])
    except EnvelopeError as error:
        return _malformed(error, data)


def decode_answer(data: bytes) -> tuple[Outcome, bytes | None]:
    """As `decode_outcome`, and the state that came with it: None keeps what there is.

    A failure changes no state, so none comes with it.
    """
    try:
        answer = unpack(data)[0]
        outcome = _outcome(answer)
        return outcome, None if isinstance(outcome, Failed) else _state(answer)
    except EnvelopeError as error:
        return _malformed(error, data), None


def _malformed(error: EnvelopeError, data: bytes) -> Failed:
    return Failed(
        f"The worker's outcome is malformed: {error}.",
        details=f"It began with {bytes(data[:_EXCERPT_BYTES])!r} and has {len(data)} bytes.",
    )


def _state(answer: dict[str, Any]) -> bytes | None:
    text = answer.get("state")
    if text is None:
        return None
    try:
        if isinstance(text, str):
            return base64.b64decode(text.encode(), validate=True)
    except ValueError:
        pass
    raise EnvelopeError("state is not text in base64")


def _outcome(answer: dict[str, Any]) -> Outcome:
    kinds = [kind for kind in _KINDS if answer.get(kind) is not None]
    if not kinds:
        if "await" in answer:
            raise EnvelopeError("it answers await, which this node does not act on")
        raise EnvelopeError(f"it names none of {', '.join(_KINDS)}")
    if len(kinds) > 1:
        raise EnvelopeError(f"it names {' and '.join(kinds)}; exactly one is wanted")
    kind = kinds[0]
    body = answer[kind]
    if not isinstance(body, dict):
        raise EnvelopeError(f"{kind} is not a map")
    if kind == "completed":
        return Completed(read_variables(body, kind))
    if kind == "bpmn_error":
        return BpmnError(
            _text(body, kind, "code", required=True),
            _text(body, kind, "message"),
            read_variables(body, kind),
        )
    return Failed(
        _text(body, kind, "message", required=True),
        _count(body, kind, "retries"),
        _count(body, kind, "backoff_ms"),
        _text(body, kind, "details"),
    )


def _map(body: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise EnvelopeError(f"{kind}.{name} is not a map")
    _check_names(value, f"{kind}.{name}")
    return value


def read_variables(body: dict[str, Any], kind: str) -> Variables:
    """The variables of a map, with their types; `kind` is what errors call it.

    Raises: EnvelopeError.
    """
    values: dict[str, JsonValue] = _map(body, kind, "variables")
    types: dict[str, TypeTag] = {}
    for name, tag in _map(body, kind, "types").items():
        if name in values:
            types[name] = _tag(name, tag)
    for name, value in values.items():
        check_value(value, f"variable {name}", 4)
        if type(value) is int and not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            values[name] = str(value)
            types[name] = "Long"
    return Variables(values, types)


def _tag(name: str, tag: object) -> TypeTag:
    if isinstance(tag, str) and tag:
        return tag
    if isinstance(tag, dict) and isinstance(tag.get("type"), str) and tag["type"]:
        check_value(tag, f"the type of variable {name}", 4)
        return tag
    raise EnvelopeError(f"the type of variable {name} is neither a name nor a map with a type")


def _text(body: dict[str, Any], kind: str, name: str, *, required: bool = False) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise EnvelopeError(f"{kind}.{name} is not a string")
    if required and not value:
        raise EnvelopeError(f"{kind}.{name} is empty")
    return value


def _count(body: dict[str, Any], kind: str, name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _COUNT_MAX:
        raise EnvelopeError(f"{kind}.{name} is not an integer from 0 to {_COUNT_MAX}")
    return value


def outcome_map(outcome: Outcome) -> dict[str, Any]:
    """An outcome in the ABI's own shape, with every key filled in: for people and tests."""
    if isinstance(outcome, Failed):
        return {
            "failed": {
                "message": outcome.message,
                "retries": outcome.retries,
                "backoff_ms": outcome.backoff_ms,
                "details": outcome.details,
            }
        }
    written = {
        "variables": dict(outcome.variables.values),
        "types": dict(outcome.variables.types),
    }
    if isinstance(outcome, Completed):
        return {"completed": written}
    return {"bpmn_error": {"code": outcome.code, "message": outcome.message, **written}}


def read_job(data: bytes) -> Job:
    """A job from an input envelope that a person wrote, every key of it optional.

    Raises: InputError, a clause without its subject (the caller knows the file's name).
    """
    try:
        asked = unpack(data)[0]
        head = _map(asked, "the input", "job")
        _count(head, "job", "retries")
        variables = read_variables(asked, "the input")
        texts = {name: _text(head, "job", name) for name in _JOB_TEXTS}
        headers = _map(head, "job", "headers")
        if not all(isinstance(value, str) for value in headers.values()):
            raise EnvelopeError("job.headers holds what is not a string")
    except EnvelopeError as error:
        raise InputError(f"is not a job: {error}; sdk-wasm/ABI.md shows its shape") from None
    ref = JobRef(
        texts["engine"],
        texts["key"],
        texts["topic"],
        worker_id="",
        retries=head.get("retries"),
        types=variables.types,
    )
    return Job(
        ref,
        variables,
        lock_ms=0,
        process_id=texts["process_id"],
        process_instance_key=texts["process_instance_key"],
        element_id=texts["element_id"],
        business_key=texts["business_key"] or None,
        tenant=texts["tenant"] or None,
        headers=headers,
    )
