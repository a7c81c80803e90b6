"""What `gossamer service add`, `list` and `rm` ask of a running node through its control socket."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio

from gossamer_mesh.errors import MeshError
from gossamer_node.control import Conversation
from gossamer_node.errors import NodeError
from gossamer_node.registry.stock import Stock
from gossamer_node.service.load import find

ADD, REMOVE, ORDER, LIST = "service-add", "service-remove", "service-order", "service-list"

Tell = Callable[[Mapping[str, object]], Awaitable[None]]


def conversations(stock: Stock) -> dict[str, Conversation]:
    """Each answers with lines about services; one with `error` is the last."""

    async def add(argument: str, tell: Tell) -> None:
        for file in await trio.to_thread.run_sync(find, Path(argument)):
            await tell(await stock.add(file))

    async def remove(argument: str, tell: Tell) -> None:
        name, _, version = argument.partition("@")
        for one in await stock.remove(name, version or None):
            await tell(one)

    async def order(argument: str, tell: Tell) -> None:
        for one in await stock.order(base64.b64decode(argument, validate=True)):
            await tell(one)

    async def show(argument: str, tell: Tell) -> None:
        for row in stock.registry.listed():
            if argument in ("", row.name):
                await tell({**stock.shown(row), "number": row.number})

    return {
        ADD: _told(add),
        REMOVE: _told(remove),
        ORDER: _told(order),
        LIST: _told(show),
    }


def _told(conversation: Conversation) -> Conversation:
    """Errors as a line, with the exit status that they mean."""

    async def converse(argument: str, tell: Tell) -> None:
        try:
            await conversation(argument, tell)
        except (NodeError, MeshError, binascii.Error) as error:
            await tell({"error": str(error), "status": getattr(error, "exit_status", 1)})

    return converse
