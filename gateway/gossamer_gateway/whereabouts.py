"""Which engine of Camunda 7's dialect an id belongs to: by what was seen, else by asking.

With one such engine every id is its. With several, each is asked whether it has the thing; the
first yes counts. One that does not answer may be the one that has it, so without a yes its silence
is the answer: unavailable, never unknown.
"""

from collections import OrderedDict
from urllib.parse import quote

from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.errors import EngineError

SEEN_MAX = 10_000
"""Ids whose engine is remembered; hints alone, so the oldest may go."""


class Asking:
    """See `desk.Whereabouts`."""

    def __init__(self, sevens: tuple[Upstream, ...]) -> None:
        self._sevens = sevens
        self._seen: OrderedDict[tuple[str, str], Upstream] = OrderedDict()

    async def seven_of(self, resource: str, id: str) -> Upstream | None:
        if len(self._sevens) == 1:
            return self._sevens[0]
        hint = self._seen.get((resource, id))
        if hint is not None:
            return hint
        silent: EngineError | None = None
        for engine in self._sevens:
            try:
                answer = await engine.ask("GET", f"/{resource}/{quote(id, safe='')}")
                if answer.status == 404:
                    continue
                if answer.status >= 400:
                    raise engine.error(answer, f"tell whether it has {resource} {id}")
            except EngineError as error:
                silent = error
                continue
            self.seen(resource, id, engine)
            return engine
        if silent is not None:
            raise silent
        return None

    def seen(self, resource: str, id: str, engine: Upstream) -> None:
        self._seen[resource, id] = engine
        self._seen.move_to_end((resource, id))
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
