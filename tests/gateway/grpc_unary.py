"""Handlers of gRPC methods with one answer."""

from collections.abc import Awaitable, Callable

from gossamer_gateway.grpc import Asked, Handler


def unary(answer: Callable[[Asked], Awaitable[bytes]]) -> Handler:
    """A handler that sends what this gives."""

    async def handle(asked: Asked) -> None:
        await asked.send(await answer(asked))

    return handle
