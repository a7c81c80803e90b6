"""What runs on a Zeebe that cannot be asked, as its exporter told the gateway's sink.

Some seconds old, and said to be from there (`seen_by`). While the sink never heard of the engine,
or hears no more, everything is unknown but for what the gateways saw themselves: how many instances
of a process were started through them, or had a job that came by. Whether they still run nobody
told. Only an incident's retry goes to the engine itself, by Camunda 8's REST; it is over in the
list once the exporter says so.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from gossamer_gateway.errors import UnknownDefinition
from gossamer_gateway.index import instances as index
from gossamer_gateway.sink.freshness import Watch
from gossamer_gateway.sink.reading import PAGE_MAX, Filter, View, look
from gossamer_gateway.storage.port import Rows, Storage
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.v1.seven import UnknownIncident
from gossamer_gateway.v1.shapes import (
    Diagram,
    Incident,
    Instance,
    Job,
    ProcessOnEngine,
    State,
    Tokens,
)
from gossamer_gateway.v1.work import UnknownHere

T = TypeVar("T")

_STATES: dict[str, State] = {
    "active": "active",
    "completed": "completed",
    "cancelled": "cancelled",
}


class Eight:
    """See `work.EngineWork`.

    Args:
        storage: where the sink keeps its rows.
        watch: what this gateway was told by engines itself; the sink's freshness is judged by it.
    """

    def __init__(self, engine: Upstream, storage: Storage, watch: Watch | None = None) -> None:
        self._engine = engine
        self._storage = storage
        self._watch = watch

    async def progress(self) -> Sequence[tuple[str, str | None, ProcessOnEngine]]:
        def read(view: View) -> list[tuple[str, str | None, ProcessOnEngine]]:
            newest = {one.process: one for one in view.processes()}
            found = []
            for one in view.counts():
                deployed = newest.get(one.process)
                there = ProcessOnEngine(
                    engine=self._engine.name,
                    version=deployed.version if deployed else None,
                    live=one.live,
                    started=one.started,
                    finished=one.completed + one.cancelled,
                    incidents=one.failed,
                    seen_by="exporter",
                )
                found.append((one.process, deployed.name if deployed else None, there))
            return found

        try:
            return await self._look(read)
        except UnknownHere:
            if seen := await self._seen():
                return seen
            raise

    async def _seen(self) -> Sequence[tuple[str, str | None, ProcessOnEngine]]:
        """What went through the gateways."""
        counts = await self._storage.submit(lambda rows, _: index.counts(rows))
        started: dict[str, int] = {}
        for one in counts:
            if one.engine == self._engine.name:
                started[one.process] = started.get(one.process, 0) + one.count
        return [
            (
                process,
                None,
                ProcessOnEngine(
                    self._engine.name, None, None, count, None, None, seen_by="gateway"
                ),
            )
            for process, count in sorted(started.items())
        ]

    async def instances(
        self, process: str | None, state: str | None, limit: int
    ) -> Sequence[Instance]:
        def read(view: View) -> list[Instance]:
            if state is not None and state not in _STATES:
                return []  # no instance of Camunda 8 is suspended
            wanted = Filter(process=process, state=state)
            return [
                Instance(
                    id=str(one.key),
                    engine=self._engine.name,
                    process=one.process,
                    version=one.version,
                    business_key=None,
                    state=_STATES.get(one.state, "unknown"),
                    started_ms=one.started_ms,
                    ended_ms=one.ended_ms,
                    incidents=one.incidents,
                )
                for one in view.instances(wanted, limit=limit, newest_first=True)
            ]

        return await self._look(read)

    async def jobs(self, topic: str | None, limit: int) -> Sequence[Job]:
        def read(view: View) -> list[Job]:
            return [
                Job(
                    id=str(one.key),
                    engine=self._engine.name,
                    topic=one.topic,
                    process=one.process,
                    instance=str(one.instance),
                    element=one.element,
                    worker=one.worker or None,
                    locked_until_ms=one.deadline_ms,
                    retries=one.retries,
                    message=one.error_message or None,
                )
                for one in view.jobs(topic=topic, limit=limit)
            ]

        return await self._look(read)

    async def incidents(self, limit: int) -> Sequence[Incident]:
        def read(view: View) -> list[Incident]:
            return [
                Incident(
                    id=str(one.key),
                    engine=self._engine.name,
                    process=one.process,
                    instance=str(one.instance),
                    element=one.element,
                    kind=one.kind,
                    message=one.message,
                    at_ms=one.since_ms,
                )
                for one in view.incidents(limit=limit)
            ]

        return await self._look(read)

    async def retry(self, incident: str) -> None:
        if not incident.isascii() or not incident.isdecimal() or len(incident) > 19:
            raise UnknownIncident(f"{self._engine.name} has no open incident {incident}")
        key = int(incident)

        def read(view: View) -> int | None:
            found = view.incidents(after=key - 1, limit=1)
            return found[0].job if found and found[0].key == key else None

        job = await self._look(read)
        if job is not None and job > 0:
            # Without a try left the engine would make the same incident again.
            answer = await self._engine.ask(
                "PATCH", f"/v2/jobs/{job}", {"changeset": {"retries": 1}}
            )
            if answer.status >= 400 and answer.status != 404:
                raise self._engine.error(answer, f"give job {job} another try")
        answer = await self._engine.ask("POST", f"/v2/incidents/{key}/resolution", {})
        if answer.status == 404:
            raise UnknownIncident(f"{self._engine.name} has no open incident {incident}")
        if answer.status >= 400:
            raise self._engine.error(answer, f"try incident {incident} again")

    async def diagram(self, process: str) -> Diagram:
        def read(view: View) -> Diagram | None:
            versions = view.processes(process)
            xml = view.xml(versions[-1].key) if versions else None
            if xml is None:
                return None
            stuck: dict[str, int] = {}
            for one in view.incidents(process=process, limit=PAGE_MAX):
                if one.element is not None:
                    stuck[one.element] = stuck.get(one.element, 0) + 1
            tokens = [
                Tokens(element, count, stuck.get(element, 0))
                for element, count in view.tokens(process).items()
                if element != process
            ]
            return Diagram(process, self._engine.name, versions[-1].version, xml, tokens)

        found = await self._look(read)
        if found is None:
            raise UnknownDefinition(f"{self._engine.name} has no process {process}")
        return found

    async def _look(self, read: Callable[[View], T]) -> T:
        def command(rows: Rows, now_ms: int) -> tuple[T] | None:
            view = look(rows, self._engine.name, now_ms, self._watch)
            return None if view is None else (read(view),)

        found = await self._storage.submit(command)
        if found is None:
            name = self._engine.name
            raise UnknownHere(f"the exporter of {name} tells nothing to this gateway")
        return found[0]
