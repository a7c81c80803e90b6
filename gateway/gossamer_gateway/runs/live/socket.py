"""The door to the bridge: `/workflow/events`, as a WebSocket or as server-sent events.

Both send the same frames. A client of server-sent events has a frame's cursor as its id, so that a
browser's `EventSource` comes back with it by itself. A page cannot read why a WebSocket was not let
in; so it is let in, told in a frame, and closed: 1008 where it has to ask for something else, 1013
where it comes again.
"""

from collections.abc import AsyncIterator
from typing import Any

import trio
from quart import Blueprint, request, websocket

from gossamer_gateway.door.asking import check_process, is_limited
from gossamer_gateway.errors import Forbidden, GatewayError, Overloaded, RequestError
from gossamer_gateway.runs.live import frames
from gossamer_gateway.runs.live.asked import Wanted, read
from gossamer_gateway.runs.live.bridge import Behind, Bridge, Ended, Following, UnknownRun
from gossamer_gateway.v1 import streams
from gossamer_gateway.v1.operations import problem

GOING_AWAY = 1001
POLICY = 1008
BROKEN = 1011
"""Close codes of RFC 6455, §7.4.1."""


def create_blueprint(bridge: Bridge) -> Blueprint:
    """`/workflow/events`."""
    routes = Blueprint("live-events", __name__)

    async def follow() -> Any:
        if (refused := streams.unacceptable()) is not None:
            return refused
        try:
            wanted = read(
                list(request.args.items(multi=True)), request.headers.get("Last-Event-ID")
            )
            _check(wanted)
        except Forbidden as error:
            return problem(403, "Forbidden", str(error))
        except RequestError as error:
            return problem(400, "Bad request", str(error))
        if bridge.is_full():
            return streams.full()
        return streams.server_sent(_server_sent(bridge, wanted))

    async def talk() -> None:
        if not await streams.accept():
            return
        last, code = "", GOING_AWAY
        try:
            wanted = read(list(websocket.args.items(multi=True)))
            _check(wanted)
            with bridge.follow(wanted) as following:
                await _talk(following)
        except BaseExceptionGroup as group:
            said, others = group.split(GatewayError)
            if others is not None or said is None:
                raise
            last, code = _told(_first(said))
        except GatewayError as error:
            last, code = _told(error)
        if last:
            await websocket.send(last)
        await websocket.close(code, "")

    routes.add_url_rule("/workflow/events", "follow", follow, methods=["GET"])
    routes.add_websocket("/workflow/events", "talk", talk)
    return routes


def _check(wanted: Wanted) -> None:
    """Who may see some workflows alone has to name them. Raises: Forbidden."""
    if not is_limited():
        return
    named = wanted.filter.workflows
    for one in named or (None,):
        check_process(None if one is None or set(one) & set("*?[") else one)


async def _talk(following: Following) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(streams.hear)
        while True:
            frame = None
            with trio.move_on_after(streams.QUIET_S):
                frame = await following.next()
            await websocket.send(frame or frames.quiet(following.cursor))


async def _server_sent(bridge: Bridge, wanted: Wanted) -> AsyncIterator[bytes]:
    try:
        with bridge.follow(wanted) as following:
            while True:
                frame = None
                with trio.move_on_after(streams.QUIET_S):
                    frame = await following.next()
                yield _sent(frame or frames.quiet(following.cursor), following.cursor)
    except GatewayError as error:
        last, _ = _told(error)
        if last:
            yield _sent(last, None)


def _sent(frame: str, cursor: str | None) -> bytes:
    """A frame as an event. It has no line breaks, as it is JSON."""
    id = f"id: {cursor}\n" if cursor and cursor.isprintable() else ""
    return f"{id}data: {frame}\n\n".encode()


def _told(error: BaseException) -> tuple[str, int]:
    """The last frame, and the code to close with."""
    if isinstance(error, Behind):
        return frames.behind(error.cursor), streams.TOO_SLOW
    if isinstance(error, Ended):
        return "", GOING_AWAY
    if isinstance(error, Overloaded):
        return frames.refused(503, str(error)), streams.TOO_SLOW
    if isinstance(error, Forbidden):
        return frames.refused(403, str(error)), POLICY
    if isinstance(error, UnknownRun):
        return frames.refused(404, str(error)), POLICY
    if isinstance(error, RequestError):
        return frames.refused(400, str(error)), POLICY
    return frames.refused(503, "the log of events cannot be read now; come again"), BROKEN


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
