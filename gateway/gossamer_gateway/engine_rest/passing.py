"""What the dialect has no handler for: an untouched client may use anything of Camunda 7's API.

With one engine of that dialect the request goes on to it as it is. With several, the path's own id
says which, where the path has one (`/RESOURCE/ID/…`); otherwise nobody can know, and the answer
says so. Resources whose names mean the same in every engine are asked of the first.
"""

from typing import Any
from urllib.parse import unquote

from werkzeug.exceptions import NotFound

from gossamer_gateway.desk import Desk
from gossamer_gateway.door.asking import check_process
from gossamer_gateway.engine_rest.answers import CannotBe, passed
from gossamer_gateway.engine_rest.reading import forward, path
from gossamer_gateway.names.forms import from_uuid
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.errors import EngineRefused

NO_IDS = ("count", "create", "")
"""What may stand in an id's place and is none."""

METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS")


class Passing:
    """The handler of all that is left."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Any]]:
        return [(method, "/<path:rest>", self.anything) for method in METHODS]

    async def anything(self, rest: str) -> Any:
        check_process(None)
        engine = await self._engine()
        return passed(await forward(engine))

    async def _engine(self) -> Upstream:
        parts = [unquote(part) for part in path().split("/")[1:]]
        sevens = self._desk.engines.sevens
        if any(from_uuid(part.rpartition(":")[2]) for part in parts):
            raise CannotBe(
                f"/{'/'.join(parts)} is about something that lives in Camunda 8, which has "
                "nothing like it."
            )
        if not sevens:
            raise NotFound
        if len(sevens) == 1:
            return sevens[0]
        at = 1 if parts[0] == "history" else 0
        if len(parts) > at + 1:
            found = await self._by_id("/".join(parts[: at + 1]), parts[at + 1])
            if found is not None:
                return found
        known = ", ".join(one.name for one in sevens)
        raise CannotBe(
            f"/{'/'.join(parts)} names nothing of one engine, and this gateway has several of "
            f"Camunda 7's dialect ({known}); ask the engine itself."
        )

    async def _by_id(self, resource: str, id: str) -> Upstream | None:
        """The engine that has it; None for what can't be asked for by an id."""
        if id in NO_IDS:
            return None
        try:
            return await self._desk.whereabouts.seven_of(resource, id)
        except EngineRefused:
            return None  # the resource has no GET by an id
