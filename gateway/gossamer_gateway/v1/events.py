"""Events as they happen, over a WebSocket or as server-sent events, at one address.

Who connects gets the whole picture first and then each change, in order and none left out, so it
never has to ask again. Who reads more slowly than things happen is cut off when its queue is full
(`watching.WAITING_MAX`): it connects anew and gets a new picture. Nobody waits for it, and nothing
is kept for it.

A browser can give a WebSocket no header, so a page brings its key as a second subprotocol, as
Kubernetes' clients do (`base64url.bearer.authorization.k8s.io.…`); the door takes it from there.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import h11
import msgspec
import trio
from quart import Blueprint, request, websocket
from quart.wrappers import Response

from gossamer_gateway.errors import Overloaded
from gossamer_gateway.v1.operations import problem
from gossamer_gateway.watching.watching import Subscription, Watching

PROTOCOL = "gossamer"
"""The subprotocol that is answered, where a client names any."""

QUIET_S = 15.0
"""After so long without an event something is sent all the same, so that both ends notice when the
other has gone, and nobody between them closes what looks idle."""

TOO_SLOW = 1013
"""WebSocket: "try again later" (IANA's registry of close codes)."""

Snapshot = Callable[[], Any]


def register(routes: Blueprint, watching: Watching, snapshot: Snapshot) -> None:
    """Adds `/events` to a blueprint.

    Args:
        snapshot: what a client begins with, without what is in events after it.
    """

    async def follow() -> Any:
        wanted = request.accept_mimetypes
        if wanted and wanted.best_match(["text/event-stream"]) is None:
            return problem(406, "Not acceptable", "Events are a WebSocket or text/event-stream")
        if watching.is_full():
            return problem(503, "Overloaded", "Too many follow the events of this gateway already")
        response = Response(_server_sent(watching, snapshot), content_type="text/event-stream")
        response.headers["Cache-Control"] = "no-store"
        response.timeout = None  # it lasts as long as somebody listens
        return response

    async def talk() -> None:
        offered = websocket.requested_subprotocols
        try:
            await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        except h11.LocalProtocolError:
            return  # the client sent something before it was let in, which breaks the connection
        try:
            with watching.watch() as subscription:
                await _talk(subscription, snapshot)
        except Overloaded as error:
            await websocket.close(TOO_SLOW, str(error)[:120])

    routes.add_url_rule("/events", "get-events", follow, methods=["GET"])
    routes.add_websocket("/events", "talk-events", talk)


async def _talk(subscription: Subscription, snapshot: Snapshot) -> None:
    async with trio.open_nursery() as nursery:

        async def hear() -> None:
            while True:  # nothing is asked for here; it ends when the client goes
                await websocket.receive()

        nursery.start_soon(hear)
        await websocket.send(_text({"kind": "picture", "data": snapshot()}))
        while True:
            events = None
            with trio.move_on_after(QUIET_S):
                events = await subscription.next()
            if subscription.is_cut:
                await websocket.close(TOO_SLOW, "connect again for a new picture")
                break
            if events is None:
                await websocket.send(_text({"kind": "quiet"}))
            elif events:
                await websocket.send(_text({"kind": "events", "events": events}))
        nursery.cancel_scope.cancel()


async def _server_sent(watching: Watching, snapshot: Snapshot) -> AsyncIterator[bytes]:
    with watching.watch() as subscription:
        yield _sent("picture", snapshot(), None)
        while not subscription.is_cut:
            events = None
            with trio.move_on_after(QUIET_S):
                events = await subscription.next()
            if events is None:
                yield b": quiet\n\n"
            for one in events or ():
                yield _sent(one.kind, one, one.number)


def _sent(kind: str, data: Any, number: int | None) -> bytes:
    id = f"id: {number}\n" if number is not None else ""
    return f"{id}event: {kind}\ndata: {_text(data)}\n\n".encode()


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
