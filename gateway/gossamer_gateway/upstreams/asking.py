"""Whereabouts of what Camunda 7 has, over HTTP: what is asked of engines, and what is recalled."""

from urllib.parse import quote

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.index import definitions, instances
from gossamer_gateway.storage.port import Rows, Storage
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.whereabouts import ASK_S, At, Unavailable, Whereabouts
from gossamer_node.errors import EngineUnavailable


def _definition(rows: Rows, id: str) -> str | None:
    found = definitions.definition(rows, id)
    return None if found is None else found.engine


_RECALL = {
    "process-instance": instances.engine_of,
    "process-definition": _definition,
    "deployment": definitions.engine_of_deployment,
}
"""What is on disk, by Camunda 7's words in a path."""


class Asking:
    """See `desk.Whereabouts`."""

    def __init__(self, sevens: tuple[Upstream, ...], storage: Storage) -> None:
        self._sevens = {one.name: one for one in sevens}
        self._storage = storage
        kinds = {name: one.kind for name, one in self._sevens.items()}
        self._whereabouts = Whereabouts(kinds, self._has, self._recall)

    async def seven_of(self, resource: str, id: str) -> Upstream | None:
        found = await self._whereabouts.find(resource, id)
        if isinstance(found, Unavailable):
            raise EngineUnavailable(
                f"No other engine has {resource} {id}, and {' and '.join(found.engines)} gave no "
                "answer."
            )
        return self._sevens[found.engine] if isinstance(found, At) else None

    def seen(self, resource: str, id: str, engine: Upstream) -> None:
        self._whereabouts.seen(resource, id, engine.name)

    async def _has(self, name: str, resource: str, id: str) -> bool:
        engine = self._sevens[name]
        target = f"/{resource}/{quote(id, safe='')}"
        answer = await engine.ask("GET", target, within_ms=round(ASK_S * 1_000))
        doing = f"tell whether it has {resource} {id}"
        if answer.status not in (200, 404):
            raise engine.error(answer, doing)
        if not answer.json_object():
            raise engine.rest.nonsense(doing)  # of something else: it proves nothing
        return answer.status == 200

    async def _recall(self, resource: str, id: str) -> str | None:
        look = _RECALL.get(resource)
        if look is None:
            return None
        try:
            return await self._storage.submit(lambda rows, _: look(rows, id))
        except (StorageFailed, Overloaded):
            return None  # the engines know, too
