"""`grpc.call`: one call to the gRPC server that service.yaml names, JSON both ways.

A status that the server gave is a reply, as an HTTP status is for `http.fetch`; what kept it from
giving one is a refusal of the operation. A stream's messages are gathered up to the bounds that
the worker names, because a guest can't be called again while it waits. Requests and answers
are weighed before they become messages (`proto.messages`), since not even the schema is trusted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from gossamer_node.grpc import Channel, RpcError
from gossamer_node.grpc import Code as Status
from gossamer_node.proto import Method, Schema
from gossamer_node.proto.messages import BadMessage, TooMuch, decode, encode
from gossamer_node.service.spec import Grpc
from gossamer_node.wasm.asking.io_loop import Busy, IoLoop
from gossamer_node.wasm.asking.operations.errors import Code, OperationError, count, text
from gossamer_node.wasm.asking.reaching import Unreachable
from gossamer_node.wasm.envelope import EnvelopeError, check_value
from gossamer_node.wasm.run import Run

REQUEST_BYTES_MAX = 2**20
ANSWER_BYTES_MAX = 2**20
"""Of all messages of an answer together, as protobuf."""

MESSAGES_MAX = 1_000
METADATA_MAX = 64
METADATA_BYTES_MAX = 8_192
"""What servers take by default, names and values together."""

TIMEOUT_MS_MAX = 3_600_000

GRACE_S = 0.5
"""A channel keeps the time of a call itself; past this the loop ends it."""

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_OURS = frozenset({"te", "host", "connection", "content-type", "content-length", "user-agent"})
_METHODS_SHOWN = 3


@dataclass(slots=True)
class _Asked:
    """A call that may be made."""

    server: Grpc
    schema: Schema
    method: Method
    body: bytes
    metadata: list[tuple[bytes, bytes]]
    messages_max: int
    timeout_s: float
    networks: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"{self.server.target}{self.method.path}"


@dataclass(slots=True)
class _Told:
    """What came of it. `error` is the server's status, or None for OK."""

    messages: list[bytes]
    error: RpcError | None = None
    complete: bool = True


def grpc_call(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"method", "request", "metadata", "messages_max", "timeout_ms"}` → `{"status", ...}`."""
    asked = _parse(request, run)
    io = run.around.io

    async def call() -> _Told:
        return await (_gather if asked.method.answers_stream else _ask)(io, asked)

    try:
        told = io.call(call, run, asked.timeout_s + GRACE_S)
    except TimeoutError:
        raise _too_late(asked) from None
    except Unreachable as error:
        raise OperationError(Code.DENIED, str(error)) from None
    except Busy:
        raise OperationError(
            Code.UNAVAILABLE, "Too many operations are under way on this node."
        ) from None
    return _reply(asked, told)


def _parse(request: Mapping[str, Any], run: Run) -> _Asked:
    server, schema = run.around.spec.grpc, run.around.schema
    if server is None or schema is None:
        raise OperationError(
            Code.DENIED,
            "service.yaml names no gRPC server; write `grpc` with host, port and proto-files.",
        )
    if not run.around.grant.grpc:
        raise OperationError(
            Code.DENIED,
            f"The gRPC server {server.target} is not granted; grant it to the service by `grpc` "
            "in the node's configuration.",
        )
    method = _method(request, schema)
    metadata = _metadata(request.get("metadata"))
    messages_max = count(request, "messages_max", MESSAGES_MAX) or MESSAGES_MAX
    timeout_ms = count(request, "timeout_ms", TIMEOUT_MS_MAX)
    body = _body(request, schema, method)
    timeout_s = run.remaining_s()
    if timeout_ms is not None:
        timeout_s = min(timeout_s, timeout_ms / 1000)
    return _Asked(
        server,
        schema,
        method,
        body,
        metadata,
        messages_max,
        max(0.001, timeout_s),
        run.around.grant.networks,
    )


def _method(request: Mapping[str, Any], schema: Schema) -> Method:
    name = text(request, "method")
    if not name:
        raise OperationError(
            Code.BAD_REQUEST, "grpc.call wants a method, such as package.Service/Method."
        )
    path = name if name.startswith("/") else f"/{name}"
    method = schema.methods.get(path)
    if method is None:
        known = [one[1:] for one in schema.methods]
        more = ", ..." if len(known) > _METHODS_SHOWN else ""
        raise OperationError(
            Code.BAD_REQUEST,
            f"The service's proto-files have no method {name[:200]}; they have "
            f"{', '.join(known[:_METHODS_SHOWN])}{more}.",
        )
    if method.asks_stream:
        raise OperationError(
            Code.BAD_REQUEST,
            f"{name} takes a stream of requests; grpc.call sends one. Call another method.",
        )
    return method


def _metadata(given: object) -> list[tuple[bytes, bytes]]:
    if given is None:
        return []
    if not isinstance(given, dict) or len(given) > METADATA_MAX:
        raise OperationError(
            Code.BAD_REQUEST, f"metadata is not a map of at most {METADATA_MAX} names."
        )
    found = []
    for name, value in given.items():
        lower = name.lower()
        if not name or not _NAME.issuperset(lower):
            raise OperationError(Code.BAD_REQUEST, f"{name[:80]!r} is no name of metadata.")
        if lower in _OURS or lower.startswith("grpc-"):
            raise OperationError(Code.BAD_REQUEST, f"The metadata {lower} is the host's to set.")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise OperationError(
                Code.BAD_REQUEST, f"The metadata {lower} is not printable ASCII text."
            )
        found.append((lower.encode(), value.strip().encode()))
    if sum(len(name) + len(value) for name, value in found) > METADATA_BYTES_MAX:
        raise OperationError(Code.TOO_LARGE, f"Metadata has at most {METADATA_BYTES_MAX} bytes.")
    return found


def _body(request: Mapping[str, Any], schema: Schema, method: Method) -> bytes:
    value = request.get("request")
    name = method.request.DESCRIPTOR.full_name
    try:
        body = encode(schema, method, {} if value is None else value)
    except BadMessage as error:
        raise OperationError(Code.BAD_REQUEST, f"The request is no {name}: {error}.") from None
    except TooMuch:
        raise OperationError(
            Code.TOO_LARGE, f"The request holds too many values for {name}."
        ) from None
    if len(body) > REQUEST_BYTES_MAX:
        raise OperationError(Code.TOO_LARGE, f"A request has at most {REQUEST_BYTES_MAX} bytes.")
    return body


def _channel(io: IoLoop, asked: _Asked) -> Channel:
    server = asked.server
    return io.channel(
        server.host, server.port, tls=server.tls, peer=server.target, networks=asked.networks
    )


async def _ask(io: IoLoop, asked: _Asked) -> _Told:
    channel = _channel(io, asked)
    try:
        messages = await channel.call(
            asked.method.path,
            asked.body,
            timeout_ms=_ms(asked.timeout_s),
            metadata=asked.metadata,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
    except RpcError as error:
        if not error.by_server or error.code is Status.DEADLINE_EXCEEDED:
            # Both ends keep the time, and either may be first.
            raise _refusal(asked, error) from None
        return _Told([], error)
    if len(messages) != 1:
        raise OperationError(
            Code.UNAVAILABLE, f"{asked.where} answered {len(messages)} messages instead of one."
        )
    return _Told(messages)


async def _gather(io: IoLoop, asked: _Asked) -> _Told:
    channel = _channel(io, asked)
    told = _Told([], complete=False)
    size = 0
    try:
        with trio.fail_after(asked.timeout_s):
            async with channel.stream(
                asked.method.path,
                asked.body,
                # Ours ends first, so that what came is kept.
                server_ends_ms=_ms(asked.timeout_s + 2 * GRACE_S),
                metadata=asked.metadata,
                message_bytes_max=ANSWER_BYTES_MAX,
            ) as stream:
                while len(told.messages) < asked.messages_max:
                    message = await stream.receive()
                    if message is None:
                        told.complete = True
                        break
                    size += len(message)
                    if size > ANSWER_BYTES_MAX:
                        raise _answered_too_much(asked)
                    told.messages.append(message)
    except trio.TooSlowError:
        if not told.messages:
            raise _too_late(asked) from None
        told.error = RpcError(Status.DEADLINE_EXCEEDED, _too_late_words(asked))
    except RpcError as error:
        if not error.by_server:
            raise _refusal(asked, error) from None
        told.error, told.complete = error, True
    return told


def _reply(asked: _Asked, told: _Told) -> Mapping[str, Any]:
    reply: dict[str, Any] = {"status": "OK"}
    if told.error is not None:
        reply = {"status": told.error.code.name, "message": told.error.said}
    try:
        answers = decode(asked.schema, asked.method, told.messages)
        if asked.method.answers_stream:
            reply |= {"responses": answers, "complete": told.complete}
        elif answers:
            reply["response"] = answers[0]
        check_value(reply, "what", 1)
    except (BadMessage, EnvelopeError) as error:
        raise OperationError(
            Code.UNAVAILABLE,
            f"{asked.where} answered {error}; compare the service's proto-files with the server's.",
        ) from None
    except TooMuch:
        raise _answered_too_much(asked) from None
    return reply


def _refusal(asked: _Asked, error: RpcError) -> OperationError:
    """For a status that the server never gave."""
    if error.code is Status.DEADLINE_EXCEEDED:
        return _too_late(asked)
    if error.code is Status.RESOURCE_EXHAUSTED:
        return _answered_too_much(asked)
    said = error.said
    if "CERTIFICATE_VERIFY_FAILED" in said:
        said = "nothing here vouches for its certificate; let the machine trust its authority"
    return OperationError(Code.UNAVAILABLE, f"{asked.where} gave no answer: {said}.")


def _answered_too_much(asked: _Asked) -> OperationError:
    return OperationError(
        Code.TOO_LARGE,
        f"{asked.where} answered more than {ANSWER_BYTES_MAX} bytes, or more values than a call "
        "may have; ask for less, or for fewer messages by messages_max.",
    )


def _too_late(asked: _Asked) -> OperationError:
    return OperationError(Code.DEADLINE, f"{_too_late_words(asked)}.")


def _too_late_words(asked: _Asked) -> str:
    return f"{asked.where} did not answer within {asked.timeout_s * 1000:.0f} ms"


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
