"""The services of the registry at work: they come, change their version and go while jobs run.

Whatever changes the registry ends in `_apply`: the version that the registry has chosen for a name
is compiled and tried, and only then takes the place of the one before, which drains. So an
addition, a newer version, a roll-back and a removal are one thing: the chosen version is another.

A node announces `topics_max` topics at most. Beyond that, the services that were used last, or
added last, are at work, and the others wait in the registry, where `find` brings them to life by
name. What is found broken on the disk is fetched anew, or refused where nobody else has it.

What a node serves is its own to say. A version that requests what the configuration does not grant,
that claims another service's topic, or that cannot be loaded stays in the registry with the
sentence that says so, and the version before it goes on. Each start asks anew.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from gossamer_mesh.orders import operator_in
from gossamer_node import logs
from gossamer_node.errors import InputError, NodeError, ServiceError
from gossamer_node.registry import package as packages
from gossamer_node.registry.by_name import ByName
from gossamer_node.registry.decisions import (
    Terms,
    entry,
    is_row,
    is_same,
    put_own,
    refused,
    remove_own,
    row_of,
    shown,
    state_of,
)
from gossamer_node.registry.on_demand import Loader, OnDemand
from gossamer_node.registry.package import Word
from gossamer_node.registry.packed import unpack_spec
from gossamer_node.registry.rows import Row
from gossamer_node.registry.store import Registry
from gossamer_node.service.host import services_needed
from gossamer_node.service.load import FILE_NAME
from gossamer_node.service.spec import ServiceSpec
from gossamer_node.work.executing import Executor, Served, TooMuch
from gossamer_node.work.offers import Own

log = logs.get("services")

LOOK_S = 10.0
"""Between two looks for services that nobody uses."""

AGAIN_S = 1.0
"""Between two pages of versions that are judged again after a start."""


class Stock:
    """The services that were added to a running node.

    Args:
        registry: where they are kept.
        loader: loads and parks them.
        executor: gives them jobs; what is in it already is of the configuration and stays.
        changed: called when what this node serves, or knows, is another than before.
    """

    def __init__(
        self,
        registry: Registry,
        loader: Loader,
        executor: Executor,
        terms: Terms,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.registry = registry
        self.terms = terms
        self.changed = changed
        self._loader = loader
        self._executor = executor
        self._configured = {
            one.name: Own(one.version, services_needed(one)) for one in executor.services()
        }
        self._at_work: dict[str, tuple[Row, OnDemand]] = {}
        self._by_name = ByName(registry, loader, self._worker)
        self._turn = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._leaving: list[Served] = []
        self._postponed: set[str] = set()
        self._asked_place = 0
        loader.broken = self._note_broken
        executor.beside = self.callee

    # --- a node's life

    def open(self) -> None:
        """Puts the chosen versions to work, the ones that were used last first; loads none."""
        with suppress(NodeError):  # a full disk; what was refused stays so until there is room
            self._asked_place, _ = self.registry.ask_anew()
        self._take_up()
        if beyond := self.beyond():
            log.warning(beyond)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Parks what is idle, and sees drains to their end, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            nursery.start_soon(self._ask_the_rest_anew)
            while True:
                await trio.sleep(LOOK_S)
                await self._loader.park_idle()
                with suppress(NodeError):
                    async with self._turn:
                        for name in sorted(self._postponed):
                            await self._apply(name)
                        self._take_up()

    async def _ask_the_rest_anew(self) -> None:
        """Judges versions that were refused before this start, page by page: `open` took the
        first, so that a start takes the same time whatever was refused."""
        place = self._asked_place
        while place:
            await trio.sleep(AGAIN_S)
            try:
                place, names = await trio.to_thread.run_sync(self.registry.ask_anew, place)
                for name in names:
                    if name in self._at_work or self._executor.has_room():
                        async with self._turn:
                            await self._apply(name)
            except NodeError as error:
                log.warning(str(error))
                return

    def close(self) -> None:
        """Notes what worked, so that it comes first at the next start."""
        with suppress(NodeError):
            self.registry.used([row.name for row, one in self._at_work.values() if one.worker])
        self.registry.close()

    # --- what a person does

    async def add(self, path: Path) -> dict[str, object]:
        """Takes a service in and puts it to work.

        Args:
            path: of its service.yaml.

        Returns: what `gossamer service add` shows. Raises: InputError, NodeError; then nothing was
            changed.
        """
        package = await trio.to_thread.run_sync(packages.read_package, path)
        if package.spec.name in self._configured:
            raise ServiceError(
                f"{package.spec.name} is a service of this node's configuration; take it off "
                "`services` there, or rename this one."
            )
        async with self._turn:
            row = await trio.to_thread.run_sync(entry, self.registry, package, self.terms)
            try:
                grant = self.terms.grant(package.spec)
            except ServiceError as error:
                row = refused(row, str(error))
            else:
                # What cannot be compiled and started is not taken in at all.
                await self._loader.try_out(package.spec, grant)
            before = self.registry.get(row.name, row.version)
            contents = self.registry.contents
            await trio.to_thread.run_sync(contents.keep, package.wasm, package.files)
            try:
                taken = await trio.to_thread.run_sync(put_own, self.registry, row, self.terms)
            except NodeError:
                self._forget([_contents(row)])
                raise
            await self._apply(row.name)
            self._forget([_contents(before)] if before else [])
        self.changed()
        kept = self.registry.get(row.name, row.version) or row
        return {**self.shown(kept), "new": taken, "beyond": self.beyond() or None}

    async def remove(self, name: str, version: str | None) -> list[dict[str, object]]:
        """Takes versions out, on this node; what runs ends in peace.

        Args:
            version: None for all of the name.

        Raises: InputError when there is none.
        """
        async with self._turn:
            rows = await trio.to_thread.run_sync(remove_own, self.registry, name, version)
            await self._apply(name)
            self._take_up()
            self._forget(map(_contents, rows))
        self.changed()
        return [{"service": one.name, "version": one.version} for one in rows]

    async def order(self, data: bytes) -> list[dict[str, object]]:
        """Follows an operator's order of removal, that was given here and goes on from here.

        Raises: OrderError, InputError.
        """
        word = packages.read_word(data, self.terms.mesh_name, self.terms.operators)
        before = self.registry.get(word.name, word.version)
        if word.is_there or before is None or not before.there:
            raise InputError(
                f"there is no {word.name}@{word.version} here; see `gossamer service list`."
            )
        await self.learn([word])
        return [{"service": word.name, "version": word.version}]

    def highest(self, name: str, version: str) -> int:
        """The number of the last decision on a version; 0 for none."""
        row = self.registry.get(name, version)
        return row.number if row else 0

    # --- what this node offers to others (`work.offers`)

    def offered(self, name: str) -> Own | None:
        """The service of a name that this node would run; from any thread. Raises: NodeError."""
        own = self._configured.get(name)
        if own is not None:
            return own
        row = self.registry.chosen(name)
        if row is None:
            return None
        spec = self._spec(row)
        return Own(spec.version, services_needed(spec))

    def callee(self, name: str) -> Served | None:
        """A chosen version that is not at work, since no more are announced; for calls. It is
        loaded by its first job, and parked as any other.

        One with a key is not called so: nobody would keep two of its jobs apart.
        """
        try:
            row = self.registry.chosen(name)
            if row is None or name in self._at_work or name in self._configured:
                return None
            served = self._by_name.served(row)
        except NodeError as error:
            log.warning(str(error), service=name)
            return None
        dense = served.spec.dense
        return served if dense is None or dense.key is None else None

    def stamp(self) -> int | None:
        """Another number whenever `offered` may answer otherwise; None: this node has nothing."""
        if not self._configured and not self.registry.known():
            return None
        return self.registry.choices()

    # --- what other nodes tell

    async def learn(self, words: Iterable[Word]) -> int:
        """Takes operators' words; returns how many were new. What they name has yet to come."""
        rows = [row_of(one) for one in words]
        async with self._turn:
            before = {
                (one.name, one.version): self.registry.get(one.name, one.version) for one in rows
            }
            put = partial(self.registry.put, counts=self.terms.counts)
            taken = await trio.to_thread.run_sync(put, rows)
            for row in taken:
                old = before[row.name, row.version]
                if row.there and old is not None and old.there and is_same(old, row):
                    # The same bytes, now under another number, such as a signature that came late.
                    fill = partial(self.registry.fill, here=old.here, refused=old.refused)
                    spec = unpack_spec(old.spec)
                    await trio.to_thread.run_sync(fill, row, spec, old.description)
            for name in {one.name for one in taken}:
                await self._apply(name)
            self._take_up()
            self._forget(_contents(old) for old in before.values() if old is not None)
        if taken:
            self.changed()
        return len(taken)

    async def arrived(self, row: Row, description: bytes) -> None:
        """What an operator's word named is here, module and all, and was compared with it."""
        spec = self.unpacked(row, description)
        async with self._turn:
            fill = partial(self.registry.fill, here=True, refused="")
            await trio.to_thread.run_sync(fill, row, spec, description)
            await self._apply(row.name)

    def judge(self, row: Row, description: bytes) -> ServiceSpec:
        """Whether this node would serve a version that another one has.

        Raises: InputError: it does not, and why.
        """
        spec = self.unpacked(row, description)
        if (spec.name, spec.version) != (row.name, row.version):
            raise ServiceError(
                f"the service.yaml of {row.label} describes {spec.name}@{spec.version}; sign it "
                "again."
            )
        self._refuse_configured(row)
        self.terms.grant(spec)
        self._refuse_rival(spec)
        return spec

    def unpacked(self, row: Row, description: bytes) -> ServiceSpec:
        """Raises: InputError."""
        contents, label = self.registry.contents, Path(row.label) / FILE_NAME
        files = contents.files(row.files) if row.files else None
        return packages.unpack(description, label, contents.module(row.module), files)

    # --- what a person sees

    def shown(self, row: Row) -> dict[str, object]:
        """A version as `gossamer service list` shows it."""
        state = self._state(row)
        waits = self._executor.waiting().get(row.name) if state == "lacking" else None
        return {**shown(row, state), "waits": waits}

    def _state(self, row: Row) -> str:
        at_work = self._at_work.get(row.name)
        if at_work is not None and is_row(at_work[0], row):
            if row.name in self._executor.waiting():
                return "lacking"
            return "live" if self._loader.is_live(at_work[1]) else "parked"
        if any(
            (one.spec.name, one.spec.version) == (row.name, row.version) for one in self._leaving
        ):
            return "draining"
        if any(is_row(one, row) for one in self._by_name.live()):
            return "live"
        return "waiting" if row.chosen and row.here else state_of(row)

    def status(self) -> dict[str, int]:
        """How many versions are known; of those at work, how many are loaded or parked; how many
        services wait, as the node announces no more topics."""
        live = sum(1 for _, one in self._at_work.values() if self._loader.is_live(one))
        by_name = sum(1 for _ in self._by_name.live())
        return {
            "registered": len(self._configured) + self.registry.known(),
            "live": len(self._configured) + live + by_name,
            "parked": len(self._at_work) - live,
            "waiting": self._beyond(),
            "draining": len(self._leaving),
        }

    def beyond(self) -> str:
        """What a person should know of services that are not at work; empty where all are."""
        count = self._beyond()
        if not count:
            return ""
        verb, topics_max = "is" if count == 1 else "are", self._executor.topics_max
        return (
            f"{count:,} of the added services {verb} beyond the {topics_max:,} topics "
            "that this node announces (`topics_max`): no engine is asked for their jobs from here, "
            "and other services reach them by name; add some to other nodes, or remove some."
        )

    def _beyond(self) -> int:
        return max(0, self.registry.chosen_count() - len(self._at_work))

    # --- inside

    async def _apply(self, name: str) -> None:
        """Brings what works in line with what the registry has chosen for a name."""
        while True:
            row = self.registry.chosen(name)
            current = self._at_work.get(name)
            for served in self._by_name.drop(name):
                self._drain(served)
            self._postponed.discard(name)
            if (row and current and is_row(row, current[0])) or (row is None and current is None):
                return
            if row is None:
                self._drain(self._executor.remove(name))
                self._at_work.pop(name)
                log.info("removed", service=name)
                break
            try:
                one = self._worker(row)
                self._refuse_rival(one.spec)
                await self._loader.live(one)
                before = self._put(one)
            except TooMuch as error:
                # It stays as it is, for as long as the others have jobs.
                await self._loader.park(one)
                self._postponed.add(name)
                log.info("waits", service=name, version=row.version, why=str(error))
                break
            except NodeError as error:
                log.warning(str(error), service=name, version=row.version)
                await trio.to_thread.run_sync(self.registry.refuse, row, str(error))
                continue
            self._at_work[name] = (row, one)
            self._drain(before)
            log.info("at work", service=name, version=row.version)
            break
        self.changed()

    def _take_up(self) -> None:
        """Puts chosen versions to work that wait, the last used ones first, while there is room;
        loads none."""
        if not self._beyond() or not self._executor.has_room():
            return
        for row in self.registry.most_used(self._executor.topics_max):
            if row.name in self._at_work:
                continue
            try:
                one = self._worker(row)
                self._refuse_rival(one.spec)
                self._executor.put(one.spec, one)
            except TooMuch:
                if not self._executor.has_room():
                    break
                continue
            except InputError as error:
                log.warning(str(error), service=row.name, version=row.version)
                with suppress(NodeError):
                    self.registry.refuse(row, str(error))
                continue
            self._at_work[row.name] = (row, one)
        self.changed()

    def _put(self, one: OnDemand) -> Served | None:
        """Puts a service to work; where no more can be announced, one that is unused makes room.

        Raises: TooMuch, nothing changed.
        """
        idle = sorted(
            (each.used_s, name)
            for name, (_, each) in self._at_work.items()
            if not each.busy and name != one.spec.name
        )
        going: list[str] = []
        while (why := self._executor.too_much(one.spec, going)) is not None:
            if len(going) == len(idle):
                raise why
            going.append(idle[len(going)][1])
        for name in going:
            self._at_work.pop(name)
            self._drain(self._executor.remove(name))
        return self._executor.put(one.spec, one)

    def _worker(self, row: Row) -> OnDemand:
        """Raises: InputError for a version that this node does not serve."""
        contents = self.registry.contents
        path, files = contents.module(row.module), contents.files(row.files) if row.files else None
        spec = replace(self._spec(row), module=path, files=files)
        self._refuse_configured(row)
        if row.word is not None:
            # The signature held when it came. Who was trusted then may not be any more.
            operator = operator_in(row.word)
            if operator not in self.terms.operators:
                raise ServiceError(
                    f"{row.label} is not served: {operator[:16]}… is no operator here; name it in "
                    "mesh.operators, or remove the service."
                )
        return self._loader.of(spec, self.terms.grant(spec), row.module, row.files)

    def _spec(self, row: Row) -> ServiceSpec:
        """A version's description, from the short form where that is here. Raises: InputError."""
        spec = unpack_spec(row.spec)
        return self.unpacked(row, row.description) if spec is None else spec

    def _refuse_configured(self, row: Row) -> None:
        if row.name in self._configured:
            raise ServiceError(
                f"{row.name} is a service of this node's configuration, which counts."
            )

    def _refuse_rival(self, spec: ServiceSpec) -> None:
        rival = self._executor.rival(spec)
        if rival is not None:
            other, topic = rival
            raise ServiceError(
                f"{spec.name} and {other.name} both claim topic {topic}; give the topic `engines`, "
                "or take it from one of them."
            )

    def _drain(self, served: Served | None) -> None:
        if served is not None and self._nursery is not None:
            self._leaving.append(served)
            self._nursery.start_soon(self._see_off, served)

    async def _see_off(self, served: Served) -> None:
        try:
            await self._executor.drained(served)
            log.info("drained", service=served.spec.name, version=served.spec.version)
            if isinstance(served.worker, OnDemand):
                await self._loader.park(served.worker)
        finally:
            self._leaving.remove(served)
        if isinstance(served.worker, OnDemand):
            self._forget([(served.worker.module, served.worker.files)])
        self.changed()

    def _note_broken(self, one: OnDemand, why: str) -> None:
        """What a service needs is not on the disk as it was added."""
        if self._nursery is not None:
            self._nursery.start_soon(self._mend, one, why)

    async def _mend(self, one: OnDemand, why: str) -> None:
        """What an operator signed is fetched from another node; the rest is refused. The version
        before takes over meanwhile, and jobs go to nodes that are whole."""
        try:
            async with self._turn:
                row = self.registry.get(one.spec.name, one.spec.version)
                if row is None or not row.here or row.refused or row.module != one.module:
                    return
                log.error(why, service=row.name, version=row.version)
                if row.word is None:
                    await trio.to_thread.run_sync(self.registry.refuse, row, why)
                else:
                    spec, lost = unpack_spec(row.spec), partial(self.registry.fill, here=False)
                    fill = partial(lost, refused="")
                    await trio.to_thread.run_sync(fill, row, spec, row.description)
                await self._apply(row.name)
        except NodeError as error:
            log.warning(str(error))

    def _forget(self, contents: Iterable[tuple[str, str]]) -> None:
        """Deletes modules and files that no version has any more, nor a job of one that drains."""
        workers = [one.worker for one in self._leaving]
        needed = {one.module for one in workers if isinstance(one, OnDemand)}
        for module, files in contents:
            if module not in needed:
                with suppress(NodeError):  # they stay, and cost no more than their room
                    self.registry.forget(module, files)


def _contents(row: Row) -> tuple[str, str]:
    return row.module, row.files
