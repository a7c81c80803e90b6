"""Variables of an instance in Camunda 8, out of what its exporter told the gateway's sink.

They are some seconds old. Where the sink never heard of the engine, or hears no more, they are
refused; so is a value of which the sink keeps a part.
"""

import json
from typing import Any

from gossamer_gateway.bridge.variables import to_7
from gossamer_gateway.desk import Desk
from gossamer_gateway.engine_rest.answers import CannotBe
from gossamer_gateway.errors import UnknownInstance
from gossamer_gateway.sink.reading import Variable, look
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream


async def variables_of(
    desk: Desk, eight: Upstream, id: str, number: int, name: str = ""
) -> dict[str, Any]:
    """An instance's variables, those of its elements not among them.

    Args:
        id: its name here.
        name: of the only one that is wanted; "" for all.

    Raises: UnknownInstance; CannotBe, the sink is not to be believed, or kept a part of a value.
    """

    def ask(rows: Rows, now_ms: int) -> tuple[bool, list[Variable]] | None:
        view = look(rows, eight.name, now_ms, desk.watch)
        if view is None:
            return None
        one = view.instance(number)
        lives = one is not None and one.state == "active"
        return lives, view.variables(number) if lives else []

    told = await desk.storage.submit(ask)
    if told is None:
        raise CannotBe(
            f"Process instance {id} lives in Camunda 8, which does not tell an instance's "
            "variables, and its exporter tells this gateway nothing; its jobs carry them."
        )
    lives, found = told
    if not lives:
        raise UnknownInstance(f"Process instance with id {id} does not exist")
    own = [one for one in found if one.scope == number and name in ("", one.name)]
    for one in own:
        if one.truncated:
            raise CannotBe(
                f"Variable {one.name} of process instance {id} has {one.characters} characters, of "
                "which the gateway keeps the first alone; its jobs carry it."
            )
    return to_7({one.name: json.loads(one.value) for one in own})
