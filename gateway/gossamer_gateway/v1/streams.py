"""What all streams of events share: a WebSocket and server-sent events, at one address.

A browser can give a WebSocket no header, so a page brings its key as a second subprotocol, as
Kubernetes' clients do (`base64url.bearer.authorization.k8s.io.…`); the door takes it from there.
"""

from collections.abc import AsyncIterator
from typing import Any

import h11
from quart import request, websocket
from quart.wrappers import Response

from gossamer_gateway.v1.operations import problem

PROTOCOL = "gossamer"
"""The subprotocol that is answered, where a client names any."""

QUIET_S = 15.0
"""After so long without an event something is sent all the same, so that both ends notice when the
other has gone, and nobody between them closes what looks idle."""

TOO_SLOW = 1013
"""WebSocket: "try again later" (IANA's registry of close codes)."""


def unacceptable() -> Any:
    """What to answer to who wants something else; None: it wants server-sent events."""
    media = request.accept_mimetypes
    if media and media.best_match(["text/event-stream"]) is None:
        return problem(406, "Not acceptable", "Events are a WebSocket or text/event-stream")
    return None


def full() -> Any:
    """What to answer where too many follow."""
    return problem(503, "Overloaded", "Too many follow the events of this gateway already")


def server_sent(events: AsyncIterator[bytes]) -> Response:
    """The answer that lasts as long as somebody listens."""
    response = Response(events, content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.timeout = None
    return response


async def accept() -> bool:
    """Lets a WebSocket in. False: its client broke the connection, as it did not wait for that."""
    offered = websocket.requested_subprotocols
    try:
        await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
    except h11.LocalProtocolError:
        return False  # it sent something before it was let in
    return True


async def hear() -> None:
    """Hears a WebSocket's client out: nothing is asked for there; it ends when the client goes."""
    while True:
        await websocket.receive()
