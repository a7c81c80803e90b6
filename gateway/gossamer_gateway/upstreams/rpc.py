"""Calls over an engine's gRPC, in bytes, with the gateway's credentials.

As over REST, an engine's status is an answer; only one that gives none counts as failed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from gossamer_gateway.observing.current import Call
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.rest import ANSWER_MS_MAX
from gossamer_node.errors import EngineRefused
from gossamer_node.grpc import Channel, Code, RpcError
from gossamer_node.grpc.channel import ServerStream

Metadata = list[tuple[bytes, bytes]]


async def call(
    engine: Upstream,
    path: str,
    request: bytes,
    *,
    timeout_ms: int = ANSWER_MS_MAX,
    waits: bool = False,
) -> list[bytes]:
    """One call and all that it answers; a second one with fresh credentials if they are refused.

    Shielded, unless it waits: a client that goes away has asked all the same.

    Raises: RpcError; EngineError, no token is to be had, or it is refused.
    """
    renewed = False
    while True:
        header = await engine.rest.authorization()
        shield = trio.CancelScope(shield=not waits)
        counted = Call(engine.name, engine.calls, path.rpartition("/")[2][:64])
        try:
            with counted, shield:
                answers = await _channel(engine).call(
                    path, request, timeout_ms=timeout_ms, metadata=_metadata(header), waits=waits
                )
        except RpcError as error:
            engine.told_of(error.by_server)
            engine.calls.failed += not error.by_server
            refused = error.code is Code.UNAUTHENTICATED
            if not refused or renewed or not engine.rest.give_up(header):
                raise _of_engine(engine, error, waits=waits) from None
            renewed = True
        else:
            engine.told_of(True)
            return answers


@asynccontextmanager
async def stream(
    engine: Upstream, path: str, request: bytes, *, server_ends_ms: int
) -> AsyncIterator[ServerStream]:
    """A call whose messages are taken one by one. See `Channel.stream`."""
    header = await engine.rest.authorization()
    async with _channel(engine).stream(
        path, request, server_ends_ms=server_ends_ms, metadata=_metadata(header)
    ) as pushed:
        yield pushed


def _of_engine(engine: Upstream, error: RpcError, *, waits: bool) -> Exception:
    """A failed call as its client is to hear of it: an engine that gave no status is unavailable,
    and its refusal of our credentials says nothing of the client's."""
    if error.code is Code.UNAUTHENTICATED:
        return EngineRefused(f"{engine.peer} refuses the credentials; check its auth.")
    ran_out = error.code is Code.DEADLINE_EXCEEDED and waits
    if error.by_server or ran_out or error.code is Code.RESOURCE_EXHAUSTED:
        return error
    return RpcError(Code.UNAVAILABLE, f"{engine.peer}: {error.said}", untouched=error.untouched)


def _channel(engine: Upstream) -> Channel:
    assert engine.channel is not None, f"{engine.name} has no gRPC"
    return engine.channel


def _metadata(header: str | None) -> Metadata:
    return [] if header is None else [(b"authorization", header.encode())]
