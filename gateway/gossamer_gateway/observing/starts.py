"""A trace goes into the instance that a request starts: as a process variable, if that is wanted.

The request's body gets one variable more. What is no JSON object (or comes compressed, or has a
number that JSON has not) is passed on as it is: the dialect says what is wrong with it. A variable
of that name that the client brings itself stays; it is his trace.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError

from gossamer_gateway.door.rules import SERVICE
from gossamer_gateway.grpc import Asked, Handler
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.tracing.port import current

Receive = Callable[[], Awaitable[Any]]

_SEVEN = re.compile(
    r"/engine-rest(?:/engine/[^/]+)?/process-definition/(?:key/[^/]+(?:/tenant-id/[^/]+)?|[^/]+)"
    r"/start"
)
_EIGHT = "/v2/process-instances"
_CREATE = f"{SERVICE}CreateProcessInstance"
_CREATE_AND_WAIT = f"{SERVICE}CreateProcessInstanceWithResult"


def is_start(method: str, path: str) -> bool:
    """Whether a request starts an instance."""
    return method == "POST" and (path == _EIGHT or _SEVEN.fullmatch(path) is not None)


def added(path: str, body: bytes, name: str, traceparent: str) -> bytes | None:
    """The body of a start with the variable; None where it stays as it is."""
    is_eight = path == _EIGHT
    if not body and is_eight:
        return None
    value: Any = traceparent if is_eight else {"value": traceparent, "type": "String"}
    try:
        said = json.loads(body or b"{}", parse_constant=_refuse)
        if not isinstance(said, dict):
            return None
        variables = said.get("variables")
        if variables is None:
            variables = said["variables"] = {}
        if not isinstance(variables, dict) or name in variables:
            return None
        variables[name] = value
        return json.dumps(said, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None


async def with_trace(scope: Any, receive: Receive, name: str | None) -> Receive:
    """What an application receives of a request: of a start, with the trace that it is part of.

    Args:
        scope: of the request; its length is corrected.
        name: of the variable; None for none.
    """
    traceparent = None if name is None else current().traceparent
    if name is None or traceparent is None or not is_start(scope["method"], scope["path"]):
        return receive
    if any(one == b"content-encoding" for one, _ in scope["headers"]):
        return receive
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return _first(message, receive)
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    told = added(scope["path"], body, name, traceparent)
    if told is not None:
        kept = [one for one in scope["headers"] if one[0] != b"content-length"]
        if not body:
            kept = [one for one in kept if one[0] != b"content-type"]
            kept.append((b"content-type", b"application/json"))
        scope["headers"] = [*kept, (b"content-length", b"%d" % len(told))]
    whole = {"type": "http.request", "body": body if told is None else told, "more_body": False}
    return _first(whole, receive)


def _first(message: Any, receive: Receive) -> Receive:
    """Gives a message that was received already, and then what comes."""
    waiting = [message]

    async def receive_on() -> Any:
        return waiting.pop() if waiting else await receive()

    return receive_on


def starting(methods: Mapping[str, Handler], name: str | None) -> dict[str, Handler]:
    """gRPC methods; those that start an instance do so with the trace that they are part of."""
    handlers = dict(methods)
    for path in (_CREATE, _CREATE_AND_WAIT):
        if name is not None and path in handlers:
            handlers[path] = partial(_start, handlers[path], name)
    return handlers


async def _start(handler: Handler, name: str, asked: Asked) -> None:
    traceparent = current().traceparent
    if traceparent is not None:
        asked.request = added_to_call(asked.path, asked.request, name, traceparent)
    await handler(asked)


def added_to_call(path: str, request: bytes, name: str, traceparent: str) -> bytes:
    """As `added`, for the message of a start over gRPC; what is none stays as it is."""
    message: Any = (
        zeebe.CreateProcessInstanceRequest()
        if path == _CREATE
        else zeebe.CreateProcessInstanceWithResultRequest()
    )
    try:
        message.ParseFromString(request)
        inner = message if path == _CREATE else message.request
        variables = json.loads(inner.variables or "{}", parse_constant=_refuse)
        if not isinstance(variables, dict) or name in variables:
            return request
        inner.variables = json.dumps({**variables, name: traceparent}, allow_nan=False)
    except (DecodeError, ValueError, RecursionError):
        return request
    whole: bytes = message.SerializeToString()
    return whole


def _refuse(_constant: str) -> Any:
    raise ValueError("NaN and Infinity are no JSON")
