"""Answers leave when their request has been read, and a stop waits for the requests at hand.

An early answer (wrong path, no password, too large) can be ready before the request's body has
arrived. Hypercorn 0.18 then leaves an HTTP/1.1 connection open that it no longer reads, and the
client's next request on it is never answered (measured). The application receives a body to its
end whatever it answers, and keeps no more of it than it allows; here the answer waits for that end.
And where Hypercorn, when it stops, waits for idle connections, too, this one knows the requests.
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


class Draining:
    """An ASGI application around another."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app
        self._at_hand = 0
        self._idle = trio.Event()

    async def wait_idle(self) -> None:
        """Waits until no request is at hand."""
        while self._at_hand:
            self._idle = trio.Event()
            await self._idle.wait()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._at_hand += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self._at_hand -= 1
            self._idle.set()

    async def _serve(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
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

        await self._app(scope, receive_and_see, send_when_read)
