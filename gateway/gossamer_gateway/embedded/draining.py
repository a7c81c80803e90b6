"""Answers leave only when their request has been read.

An early answer (wrong path, no password, too large) can be ready before the request's body has
arrived. Hypercorn 0.18 then leaves an HTTP/1.1 connection open that it no longer reads, and the
client's next request on it is never answered (measured). The application receives a body to its
end whatever it answers, and keeps no more of it than it allows; here the answer waits for that end.
"""

from typing import Any

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

DRAIN_S = 5.0
"""How long an answer waits; whoever sends more slowly loses the connection."""


def answer_when_read(app: ASGIFramework) -> ASGIFramework:
    """Wraps an ASGI application."""

    async def wrapped(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        read = trio.Event()

        async def receive_and_see() -> ASGIReceiveEvent:
            message: Any = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                read.set()
            return message  # type: ignore[no-any-return]

        async def send_when_read(message: ASGISendEvent) -> None:
            if not read.is_set():
                with trio.move_on_after(DRAIN_S):
                    await read.wait()
            await send(message)

        await app(scope, receive_and_see, send_when_read)

    return wrapped
