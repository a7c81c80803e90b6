"""Instances seen at their jobs: written once, however many jobs of theirs come by.

An instance of ten jobs would be written ten times for nothing. What is in the table stands in a
bounded memory; the least recently seen goes first, and is written anew when it comes again, which
changes nothing.

Nobody who fetches jobs waits for these rows, or is refused because they can't be written: they are
noted, and a task of their own writes them. What was not written is seen at the next job.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from gossamer_gateway.errors import GatewayError
from gossamer_gateway.index.instances import Instance, Source, State, saw
from gossamer_gateway.storage.port import Rows, Storage

log = logging.getLogger("gossamer.gateway")

KNOWN_MAX = 50_000
"""Instances that are known to be in the table: some 10 MB."""


NOTED_MAX = 10_000
"""Instances that wait to be written. More come only while the storage is slow, and are left out."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a job tells of its instance."""

    engine: str
    id: str
    process: str
    business_key: str | None = None


class Sightings:
    """Keeps what jobs tell. For one trio loop.

    Args:
        known_max: a bound of its own, for tests.
    """

    def __init__(self, storage: Storage, known_max: int = KNOWN_MAX) -> None:
        self._storage = storage
        self._known_max = known_max
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._noted: dict[tuple[str, str], Sighting] = {}
        self._wake = trio.Event()

    def note(self, sightings: Iterable[Sighting]) -> None:
        """Has the instances written soon, if `run` runs."""
        for one in sightings:
            key = (one.engine, one.id)
            if key in self._known:
                self._known.move_to_end(key)
            elif len(self._noted) < NOTED_MAX:
                self._noted[key] = one
        if self._noted:
            self._wake.set()

    async def run(self) -> None:
        """Writes what was noted, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            noted, self._noted = list(self._noted.values()), {}
            try:
                await self.saw(noted)
            except GatewayError as error:  # an engine's junk, too, that no column holds
                log.warning("the index misses %d instances that were seen: %s", len(noted), error)

    async def saw(self, sightings: Iterable[Sighting]) -> None:
        """Has the instances in the table. Those that it knows cost a look into a dictionary.

        Raises: StorageFailed; Overloaded. What of these is in the table is not known then.
        """
        new: dict[tuple[str, str], Sighting] = {}
        for one in sightings:
            key = (one.engine, one.id)
            if key in self._known:
                self._known.move_to_end(key)
            else:
                new[key] = one
        if not new:
            return
        seen = tuple(new.values())

        def keep(rows: Rows, now_ms: int) -> None:
            saw(rows, [Instance(one.engine, one.id, one.process, one.business_key, now_ms,
                                Source.JOB, State.ACTIVE, now_ms) for one in seen])  # fmt: skip

        await self._storage.submit(keep)
        self.know((one.engine, one.id) for one in seen)

    def know(self, keys: Iterable[tuple[str, str]]) -> None:
        """These are in the table, by engine and id, as those that were just started."""
        for key in keys:
            self._known[key] = None
            self._known.move_to_end(key)
        while len(self._known) > self._known_max:
            self._known.popitem(last=False)


def of_tasks(engine: str, tasks: Iterable[Mapping[str, Any]]) -> list[Sighting]:
    """What tasks of Camunda 7 tell, as far as they do."""
    found = []
    for task in tasks:
        id, process = task.get("processInstanceId"), task.get("processDefinitionKey")
        key = task.get("businessKey")
        if isinstance(id, str) and isinstance(process, str):
            found.append(Sighting(engine, id, process, key if isinstance(key, str) else None))
    return found
