"""Events as they happen, over a WebSocket or as server-sent events, at one address.

Who connects gets the whole picture first and then each change, in order and none left out, so it
never has to ask again. Who reads more slowly than things happen is cut off when its queue is full
(`watching.WAITING_MAX`): it connects anew and gets a new picture. Nobody waits for it, and nothing
is kept for it.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import trio
from quart import Blueprint, websocket

from gossamer_gateway.errors import Overloaded
from gossamer_gateway.v1 import streams
from gossamer_gateway.watching.watching import Subscription, Watching

Snapshot = Callable[[], Any]


def register(routes: Blueprint, watching: Watching, snapshot: Snapshot) -> None:
    """Adds `/events` to a blueprint.

    Args:
        snapshot: what a client begins with, without what is in events after it.
    """

    async def follow() -> Any:
        if (refused := streams.unacceptable()) is not None:
            return refused
        if watching.is_full():
            return streams.full()
        return streams.server_sent(_server_sent(watching, snapshot))

    async def talk() -> None:
        if not await streams.accept():
            return
        try:
            with watching.watch() as subscription:
                await _talk(subscription, snapshot)
        except Overloaded as error:
            await websocket.close(streams.TOO_SLOW, str(error)[:120])

    routes.add_url_rule("/events", "get-events", follow, methods=["GET"])
    routes.add_websocket("/events", "talk-events", talk)


async def _talk(subscription: Subscription, snapshot: Snapshot) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(streams.hear)
        await websocket.send(_text({"kind": "picture", "data": snapshot()}))
        while True:
            events = None
            with trio.move_on_after(streams.QUIET_S):
                events = await subscription.next()
            if subscription.is_cut:
                await websocket.close(streams.TOO_SLOW, "connect again for a new picture")
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
            with trio.move_on_after(streams.QUIET_S):
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
