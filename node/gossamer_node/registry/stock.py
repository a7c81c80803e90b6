"""The services of the registry at work: they come, change their version and go while jobs run.

Whatever changes the registry ends in `_apply`: the version that the registry has chosen for a name
is compiled and tried, and only then takes the place of the one before, which drains. So an
addition, a newer version, a roll-back and a removal are one thing: the chosen version is another.

A member announces `TOPICS_MAX` topics at most. Beyond that, the services that were used last, or
added last, are at work, and the others wait in the registry.

What a node serves is its own to say. A version that requests what the configuration does not grant,
that claims another service's topic, or that cannot be loaded stays in the registry with the
sentence that says so, and the version before it goes on. Each start asks anew.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import trio

from gossamer_mesh.leases.messages import TOPICS_MAX
from gossamer_mesh.orders import operator_in
from gossamer_node import logs
from gossamer_node.config import NodeConfig
from gossamer_node.errors import InputError, NodeError, ServiceError
from gossamer_node.registry import package as packages
from gossamer_node.registry.on_demand import Loader, OnDemand
from gossamer_node.registry.package import Package, Word
from gossamer_node.registry.packed import pack_spec, unpack_spec
from gossamer_node.registry.store import Registry, Row, topics_of
from gossamer_node.service.grants import Grants
from gossamer_node.service.load import FILE_NAME
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.work.executing import Executor, Served, TooMuch

log = logs.get("services")

LOOK_S = 10.0
"""Between two looks for services that nobody uses."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a node's configuration says that a service must fit.

    Attributes:
        grants_of: what is granted to a service of that name.
        engines: names of the configured engines; with none, of any name.
        mesh_name, operators: whose orders count.
    """

    grants_of: Callable[[str], Grants]
    engines: Sequence[str] = ()
    mesh_name: str = ""
    operators: Sequence[str] = ()

    @classmethod
    def of(cls, config: NodeConfig) -> "Terms":
        """What a node's configuration says."""
        engines = [one.name for one in config.engines]
        return cls(config.grants_of, engines, config.mesh.name, config.mesh.operators)

    def grant(self, spec: ServiceSpec) -> Grant:
        """Raises: ServiceError for a request that is not granted, or an engine that is not here."""
        grant, refused = self.grants_of(spec.name).bind(spec)
        if refused:
            raise ServiceError(" ".join(refused))
        for topic in spec.topics:
            strange = [one for one in topic.engines or () if one not in self.engines]
            if self.engines and strange:
                raise ServiceError(
                    f"topic {topic.name} of {spec.name} names the engine {strange[0]}, which this "
                    "node doesn't have; configure it, or take it off the topic."
                )
        return grant


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
        self._configured = {one.name for one in executor.services()}
        self._at_work: dict[str, tuple[Row, OnDemand]] = {}
        self._turn = trio.Lock()
        self._nursery: trio.Nursery | None = None

    # --- a node's life

    def open(self) -> None:
        """Puts the chosen versions to work, the ones that were used last first; loads none."""
        self.registry.ask_anew()
        for row in self.registry.most_used(TOPICS_MAX):
            try:
                one = self._worker(row)
                self._executor.put(one.spec, one)
            except TooMuch as error:
                log.info("more services than are announced at a time", why=str(error))
                break
            except InputError as error:
                log.warning(str(error), service=row.name, version=row.version)
                self.registry.refuse(row, str(error))
                continue
            self._at_work[row.name] = (row, one)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Parks what is idle, and sees drains to their end, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                await trio.sleep(LOOK_S)
                await self._loader.park_idle()

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
            await trio.to_thread.run_sync(self.registry.write_module, package.wasm)
            taken = await trio.to_thread.run_sync(put_own, self.registry, row)
            await self._apply(row.name)
            self._forget([before] if before else [])
        self.changed()
        return {**self.shown(self.registry.get(row.name, row.version) or row), "new": taken}

    async def remove(self, name: str, version: str | None) -> list[dict[str, object]]:
        """Takes versions out, on this node; what runs ends in peace.

        Args:
            version: None for all of the name.

        Raises: InputError when there is none.
        """
        async with self._turn:
            rows = await trio.to_thread.run_sync(remove_own, self.registry, name, version)
            await self._apply(name)
            self._forget(rows)
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

    # --- what other nodes tell

    async def learn(self, words: Iterable[Word]) -> int:
        """Takes operators' words; returns how many were new. What they name has yet to come."""
        rows = [
            Row(
                one.name,
                one.version,
                one.number,
                one.is_there,
                module=one.module.hex(),
                size=one.size,
                word=one.order,
                added_ms=_now_ms(),
            )
            for one in words
        ]
        async with self._turn:
            before = {
                (one.name, one.version): self.registry.get(one.name, one.version) for one in rows
            }
            taken = await trio.to_thread.run_sync(self.registry.put, rows)
            for row in taken:
                old = before[row.name, row.version]
                if row.there and old is not None and old.there and _is_same(old, row):
                    # The same bytes, now under another number, such as a signature that came late.
                    fill = partial(self.registry.fill, here=old.here, refused=old.refused)
                    spec = unpack_spec(old.spec)
                    await trio.to_thread.run_sync(fill, row, spec, old.description)
            for name in {one.name for one in taken}:
                await self._apply(name)
            self._forget([old for old in before.values() if old is not None])
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
        if row.name in self._configured:
            raise ServiceError(
                f"{row.name} is a service of this node's configuration, which counts."
            )
        self.terms.grant(spec)
        self._refuse_rival(spec)
        return spec

    def unpacked(self, row: Row, description: bytes) -> ServiceSpec:
        """Raises: InputError."""
        label = Path(row.label) / FILE_NAME
        return packages.unpack(description, label, self.registry.module_path(row.module))

    # --- what a person sees

    def shown(self, row: Row) -> dict[str, object]:
        """A version as `gossamer service list` shows it."""
        return shown(row, self._state(row))

    def _state(self, row: Row) -> str:
        at_work = self._at_work.get(row.name)
        if at_work is None or not _is_row(at_work[0], row):
            drains = any(
                (one.spec.name, one.spec.version) == (row.name, row.version)
                for one in self._executor.draining()
            )
            return "draining" if drains else state_of(row)
        return "live" if self._loader.is_live(at_work[1]) else "parked"

    def status(self) -> dict[str, int]:
        """How many versions are known; of those at work, how many are loaded or parked."""
        live = sum(1 for _, one in self._at_work.values() if self._loader.is_live(one))
        return {
            "registered": len(self._configured) + self.registry.known(),
            "live": len(self._configured) + live,
            "parked": len(self._at_work) - live,
            "draining": len(self._executor.draining()),
        }

    # --- inside

    async def _apply(self, name: str) -> None:
        """Brings what works in line with what the registry has chosen for a name."""
        while True:
            row = self.registry.chosen(name)
            current = self._at_work.get(name)
            if (row and current and _is_row(row, current[0])) or (row is None and current is None):
                return
            if row is None:
                self._drain(self._executor.remove(name))
                self._at_work.pop(name)
                log.info("removed", service=name)
                break
            try:
                one = self._worker(row)
                await self._loader.live(one)
                before = self._put(one)
            except NodeError as error:
                log.warning(str(error), service=name, version=row.version)
                await trio.to_thread.run_sync(self.registry.refuse, row, str(error))
                continue
            self._at_work[name] = (row, one)
            self._drain(before)
            log.info("at work", service=name, version=row.version)
            break
        self.changed()

    def _put(self, one: OnDemand) -> Served | None:
        """Puts a service to work; where no more can be announced, one that is unused makes room.

        Raises: InputError.
        """
        while True:
            try:
                return self._executor.put(one.spec, one)
            except TooMuch:
                idle = [
                    (each.used_s, name)
                    for name, (_, each) in self._at_work.items()
                    if not each.busy and name != one.spec.name
                ]
                if not idle:
                    raise
                _, name = min(idle)
                self._at_work.pop(name)
                self._drain(self._executor.remove(name))

    def _worker(self, row: Row) -> OnDemand:
        """Raises: InputError for a version that this node does not serve."""
        path = self.registry.module_path(row.module)
        spec = unpack_spec(row.spec)
        spec = self.unpacked(row, row.description) if spec is None else replace(spec, module=path)
        if row.name in self._configured:
            raise ServiceError(
                f"{row.name} is a service of this node's configuration, which counts."
            )
        if row.word is not None:
            # The signature held when it came. Who was trusted then may not be any more.
            operator = operator_in(row.word)
            if operator not in self.terms.operators:
                raise ServiceError(
                    f"{row.label} is not served: {operator[:16]}… is no operator here; name it in "
                    "mesh.operators, or remove the service."
                )
        grant = self.terms.grant(spec)
        self._refuse_rival(spec)
        return self._loader.of(spec, grant, row.module)

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
            self._nursery.start_soon(self._see_off, served)

    async def _see_off(self, served: Served) -> None:
        await self._executor.drained(served)
        log.info("drained", service=served.spec.name, version=served.spec.version)
        if isinstance(served.worker, OnDemand):
            await self._loader.park(served.worker)
            with suppress(NodeError):  # the file stays, and costs no more than its room
                self.registry.forget_module(served.worker.module)
        self.changed()

    def _forget(self, rows: Iterable[Row]) -> None:
        """Deletes modules that no version has any more, nor a job of one that drains."""
        workers = [one.worker for one in self._executor.draining()]
        needed = {one.module for one in workers if isinstance(one, OnDemand)}
        for row in rows:
            if row.module not in needed:
                with suppress(NodeError):
                    self.registry.forget_module(row.module)


# --- without a running node


def entry(registry: Registry, package: Package, terms: Terms) -> Row:
    """The row of a package; `Registry.write_module` puts its module there. Blocks.

    Raises: ServiceError, NodeError.
    """
    word = packages.check(package, terms.mesh_name, terms.operators)
    spec = package.spec
    before = registry.get(spec.name, spec.version)
    now_ms = _now_ms()
    if word is not None:
        number = word.number
        if before is not None and before.word is not None and before.number > number:
            raise ServiceError(
                f"{spec.name}@{spec.version} was decided on by a later order of an operator; sign "
                "it again with `gossamer service sign` to overrule that."
            )
    else:
        number = max(now_ms, before.number + 1 if before else 0)
    return Row(
        spec.name,
        spec.version,
        number,
        there=True,
        description=package.description,
        module=sha256(package.wasm).hexdigest(),
        size=len(package.wasm),
        profile=spec.profile,
        topics=topics_of(spec),
        spec=pack_spec(spec),
        word=word.order if word else None,
        here=True,
        added_ms=now_ms,
        used_ms=now_ms,
    )


def refused(row: Row, why: str) -> Row:
    """The row of a version that this node does not serve."""
    return replace(row, refused=why)


def put_own(registry: Registry, row: Row) -> bool:
    """Takes the decision of a person on this machine; returns whether it changed anything."""
    before = registry.get(row.name, row.version)
    if before is not None and before.there and before.here and _is_same(before, row):
        same_word = row.word in (None, before.word)
        if same_word and before.refused == row.refused:
            return False
    if before is not None and before.there and row.word is not None and before.word == row.word:
        # Known from another node; now its bytes are here, or it is to work here all the same.
        spec = unpack_spec(row.spec)
        registry.fill(before, spec, row.description, here=True, refused=row.refused)
    else:
        registry.put([row], over_own=True)
    return True


def remove_own(registry: Registry, name: str, version: str | None) -> list[Row]:
    """Takes versions out on this machine. Returns them as they were. Raises: InputError."""
    rows = [one for one in registry.versions(name) if version in (None, one.version)]
    if not rows:
        what = name if version is None else f"{name}@{version}"
        raise InputError(f"there is no {what} here; see `gossamer service list`.")
    now_ms = _now_ms()
    registry.put(
        [
            Row(one.name, one.version, max(now_ms, one.number + 1), there=False, added_ms=now_ms)
            for one in rows
        ]
    )
    return rows


def shown(row: Row, state: str) -> dict[str, object]:
    """A version as `gossamer service list` shows it."""
    return {
        "service": row.name,
        "version": row.version,
        "state": state,
        "profile": row.profile,
        "topics": row.topics.split("\n") if row.topics else [],
        "module": row.module,
        "bytes": row.size,
        "signed": row.word is not None,
        "added_ms": row.added_ms,
        "refused": row.refused or None,
    }


def state_of(row: Row) -> str:
    """What the registry alone can say of a version."""
    if row.refused:
        return "refused"
    if not row.here:
        return "coming"
    return "chosen" if row.chosen else "registered"


def _is_row(one: Row, other: Row) -> bool:
    return (one.name, one.version) == (other.name, other.version) and _is_same(one, other)


def _is_same(one: Row, other: Row) -> bool:
    """The same module, and the same description as far as both are here."""
    return one.module == other.module and (
        not one.description or not other.description or one.description == other.description
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
