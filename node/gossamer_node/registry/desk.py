"""What `gossamer service add`, `list` and `rm` ask of a running node through its control socket."""

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio

from gossamer_mesh.errors import MeshError
from gossamer_node.control import Conversation
from gossamer_node.errors import InputError, NodeError
from gossamer_node.registry.stock import Stock
from gossamer_node.service.load import NAME, VERSION, find

ADD, REMOVE, ORDER, LIST = "service-add", "service-remove", "service-order", "service-list"

_LABEL = re.compile(rf"({NAME.pattern})(?:@({VERSION.pattern}))?")

Tell = Callable[[Mapping[str, object]], Awaitable[None]]


def conversations(stock: Stock) -> dict[str, Conversation]:
    """Each answers with lines about services; one with `error` is the last."""

    async def add(argument: str, tell: Tell) -> None:
        for file in await trio.to_thread.run_sync(find, Path(read_argument(argument))):
            await tell(await stock.add(file))

    async def remove(argument: str, tell: Tell) -> None:
        name, version = read_label(argument)
        for one in await stock.remove(name, version):
            await tell(one)

    async def order(argument: str, tell: Tell) -> None:
        for one in await stock.order(base64.b64decode(argument, validate=True)):
            await tell(one)

    async def show(argument: str, tell: Tell) -> None:
        for row in stock.registry.listed(argument):
            await tell({**stock.shown(row), "number": row.number})

    return {
        ADD: _told(add),
        REMOVE: _told(remove),
        ORDER: _told(order),
        LIST: _told(show),
    }


def write_argument(path: Path) -> str:
    """A path as one word of a request, whatever characters are in it."""
    return json.dumps(str(path))


def read_argument(argument: str) -> str:
    """The path again. Raises: ValueError."""
    return str(json.loads(argument))


def read_label(label: str) -> tuple[str, str | None]:
    """The name and the version of NAME or NAME@VERSION. Raises: InputError."""
    name, at, version = label.partition("@")
    if not _LABEL.fullmatch(label):
        wrong = f"{version!r} is no version" if at else f"{name!r} is no service's name"
        raise InputError(f"{wrong}; write NAME or NAME@VERSION, such as greeter@1.0.0.")
    return name, version or None


def _told(conversation: Conversation) -> Conversation:
    """Errors as a line, with the exit status that they mean."""

    async def converse(argument: str, tell: Tell) -> None:
        try:
            await conversation(argument, tell)
        except (NodeError, MeshError) as error:
            await tell({"error": str(error), "status": getattr(error, "exit_status", 1)})
        except (OSError, ValueError) as error:
            # A path that the node may not look into, or no request of ours. Nothing was changed.
            what = f"the node was refused it by the system ({error}); mend that and run it again."
            await tell({"error": what, "status": 1})

    return converse
