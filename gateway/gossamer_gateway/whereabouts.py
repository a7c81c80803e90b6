"""Which engine an id belongs to: by its form, by what was seen, by asking.

**By form**: a UUID of ours (`names.forms`) has its engine's tag in it, and Zeebe's numbers begin
where nobody else's get to. Where one engine alone can have an id it is not asked: it will say
itself what it knows of it. **By what was seen**: a bounded memory, then what is on disk (`index`).
Ids don't move from engine to engine, so what was seen once stays so. **By asking** all that are
left, at the same time; the first yes counts.

An engine that gave no answer may be the one that has it. So without a yes its silence is the answer
to the whole question: *unavailable*, never *unknown*, and nothing is remembered of it. Nobody is
asked twice: a connection that broke before the question was heard is the caller's affair
(`upstreams.http1`), and an engine that is down or starts again is so for longer than a client
should be held. VanillaBP tries thrice, 500 ms apart, but within the application; here the client
gets its 503 and tries again by itself, as clients of both dialects do, and no engine that is too
busy is asked three times for each.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import trio

from gossamer_gateway.names import forms
from gossamer_gateway.names.numbers import NUMBER_END
from gossamer_node.engines.config import Kind
from gossamer_node.errors import EngineError

SEEN_MAX = 10_000
"""Ids whose engine is in memory, some 2 MB; the least recently used goes first."""

ASK_S = 5.0
"""For an engine to say whether it has an id: clients of HTTP wait for 10 s and more."""

Ask = Callable[[str, str, str], Awaitable[bool]]
"""Whether an engine has a thing, by the names of both and its id: `ask("old", "task", ID)`.
Raises: EngineError, it can't be told."""

Recall = Callable[[str, str], Awaitable[str | None]]
"""The engine that is known to have a thing, by the thing's name and id; None for none."""


@dataclass(frozen=True, slots=True)
class At:
    """An engine has it, or is the only one that can.

    Attributes:
        id: as that engine says it.
    """

    engine: str
    id: str


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Every engine that might have it answered that it hasn't."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nobody said yes, and these gave no answer, in the order of the configuration."""

    engines: tuple[str, ...]


Found = At | Nowhere | Unavailable


def candidates(id: str, kinds: Mapping[str, Kind]) -> tuple[At, ...]:
    """The engines that can have an id, by its form, and the id as they say it.

    Args:
        kinds: the engines' dialects by their names, in the order of the configuration.
    """
    told = forms.from_uuid(id)
    if told is not None:
        tag, number = told
        return tuple(At(name, str(number)) for name in kinds if forms.tag_of(name) == tag)
    # Camunda 7 may count its ids, too, from 1; it gets no further than Zeebe begins.
    kind: Kind = "camunda8" if _is_zeebes(id) else "camunda7"
    return tuple(At(name, id) for name in kinds if kinds[name] == kind)


def _is_zeebes(id: str) -> bool:
    is_number = id.isascii() and id.isdecimal() and len(id) <= 19 and id[0] != "0"
    return is_number and NUMBER_END <= int(id) <= forms.NUMBER_MAX


class Whereabouts:
    """Finds engines. For one trio loop.

    Args:
        kinds: as in `candidates`.
        recall: looks on disk; what it raises of storage is its own to catch.
    """

    def __init__(self, kinds: Mapping[str, Kind], ask: Ask, recall: Recall) -> None:
        self._kinds = dict(kinds)
        self._ask = ask
        self._recall = recall
        self._seen: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def find(self, thing: str, id: str) -> Found:
        """Where a thing is.

        Args:
            thing: what the id is of; equal ids of different things are different.

        Raises: what `ask` raises beside EngineError.
        """
        possible = candidates(id, self._kinds)
        if not possible:
            return Nowhere()
        if len(possible) == 1:
            return possible[0]
        engine = self._seen.get((thing, id)) or await self._recall(thing, id)
        for one in possible:
            if one.engine == engine:
                self.seen(thing, id, one.engine)
                return one
        found = await self._ask_all(thing, possible)
        if isinstance(found, At):
            self.seen(thing, id, found.engine)
        return found

    def seen(self, thing: str, id: str, engine: str) -> None:
        """An engine showed that it has a thing."""
        self._seen[thing, id] = engine
        self._seen.move_to_end((thing, id))
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)

    async def _ask_all(self, thing: str, possible: Sequence[At]) -> Found:
        answers: dict[str, bool] = {}
        broken: list[Exception] = []
        async with trio.open_nursery() as nursery:

            async def ask(one: At) -> None:
                try:
                    with trio.fail_after(ASK_S):
                        answers[one.engine] = await self._ask(one.engine, thing, one.id)
                except (EngineError, trio.TooSlowError):
                    return
                except Exception as error:  # a mistake of ours: not to come out in a group
                    broken.append(error)
                if broken or answers[one.engine]:
                    nursery.cancel_scope.cancel()

            for one in possible:
                nursery.start_soon(ask, one)
        if broken:
            raise broken[0]
        for one in possible:
            if answers.get(one.engine):
                return one
        silent = tuple(one.engine for one in possible if one.engine not in answers)
        return Unavailable(silent) if silent else Nowhere()
