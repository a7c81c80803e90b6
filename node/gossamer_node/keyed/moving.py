"""Drives `core` on trio: streams of the mesh, threads for the disk, jobs that wait for their turn.

One `Moving` belongs to a node's host. The core is touched in the trio thread alone, between awaits,
so nothing locks. Whatever a member sends is read or counted; nothing here raises but for
cancellation. A key that no other node has a say in never comes here: `is_alone` says so without a
thread, a message or a wait.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import trio

from gossamer_mesh.drivers import Member, Mesh
from gossamer_mesh.drivers.links import KEYS
from gossamer_node import logs
from gossamer_node.jobs import Job
from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.circle import FILTER_BYTES, Peer
from gossamer_node.keyed.core import LONELY_MS, TICK_MS, Core
from gossamer_node.keyed.floor import Done, Failure, Forked, Reading, Stored, Writing, Written
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.runs import Told
from gossamer_node.keyed.sweeping import Sweep
from gossamer_node.wasm.living.states import KeptAnswer, StateError, States

log = logs.get("keys")

DISK_THREADS = 8
"""That read and write at once for the mesh; one writer makes one transaction of all that wait."""

SWEEP_S = 0.1
"""Between two looks at a walk through the keys while it lasts."""

SWEEP_AFTER_S = 1.0
"""From a change of the mesh to the walk that it causes, so that a mesh that comes up walks once."""

LOGGED_MAX = 1_000
"""Forks that are told one by one; what a split mesh leaves shall not fill a disk."""

T = TypeVar("T")


class Moving:
    """One node's keys in the mesh.

    Args:
        mesh: the running member.
        open_states: opens this node's states, or gives those that are open.
        is_busy: whether a job of a key runs here without a turn of the mesh.
        may_have_met: whether the node's states may be known to others; they are opened for that.
    """

    def __init__(
        self,
        mesh: Mesh,
        open_states: Callable[[], States],
        is_busy: Callable[[Key], bool],
        may_have_met: bool,
    ) -> None:
        self._mesh = mesh
        self._open_states = open_states
        self._states: States | None = None
        until_ms = 0
        if may_have_met and self._opened().has_met:
            until_ms = _now_ms() + LONELY_MS
        self._core = Core(mesh.node_id, mesh.session, is_busy, until_ms)
        self._waiting: dict[int, _Slot] = {}
        self._threads = trio.CapacityLimiter(DISK_THREADS)
        self._sweep = Sweep()
        self._swept = trio.Event()
        self._is_walking = False
        self._touched = trio.Event()
        self._unreadable: set[str] = set()
        self._logged = 0
        self._names: dict[str, str] = {}
        self._peers: dict[str, Peer] = {}
        self._nursery: trio.Nursery | None = None
        self.counts: Counter[str] = Counter()

    # --- running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._run_messages)
            nursery.start_soon(self._run_timer)
            nursery.start_soon(self._run_sweep)
            self.set_members(self._mesh.members())
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                # Jobs that are cancelled along with this leave their turns to nobody.
                self._nursery = None

    async def _run_messages(self) -> None:
        while True:
            sender, data = await self._mesh.receive(KEYS)
            message = wire.from_bytes(data)
            if message is None:
                self.counts["unreadable"] += 1
                if sender not in self._unreadable and len(self._unreadable) < LOGGED_MAX:
                    self._unreadable.add(sender)
                    log.warning("unreadable messages", member=sender, size_bytes=len(data))
                continue
            self._core.receive(sender, message, _now_ms())
            self._pump()

    async def _run_timer(self) -> None:
        while True:
            touched = self._touched
            due_ms = self._core.get_timer(_now_ms()) - _now_ms()
            if due_ms <= TICK_MS:
                await trio.sleep(due_ms / 1_000)
            else:
                with trio.move_on_after(due_ms / 1_000):
                    await touched.wait()
            self._core.handle_timer(_now_ms())
            self._pump(touch=False)

    async def _run_sweep(self) -> None:
        while True:
            await self._swept.wait()
            self._swept = trio.Event()
            await trio.sleep(SWEEP_AFTER_S)
            self._sweep.begin()
            while not self._sweep.is_over():
                await self._walk()
                await trio.sleep(SWEEP_S)
            self._is_walking = self._swept.is_set()
            log.debug("keys are where they belong", moved=self._sweep.moved)

    async def _walk(self) -> None:
        room = self._sweep.room()
        if room:
            read = partial(self._opened().page, self._sweep.cursor, room)
            try:
                page = await trio.to_thread.run_sync(read, limiter=self._threads)
            except StateError as error:
                log.warning(f"the states {error}")
                page = []
            others = self._core.view.others
            self._sweep.add(page, room, lambda key: bool(others(key.service)))
        for key, version in self._sweep.due(_now_ms()):
            self._core.touch(key, version, _now_ms())
        self._pump()

    # --- membership

    def set_members(self, members: Sequence[Member]) -> None:
        """Who is there, and what they say of themselves."""
        peers = {
            one.id: Peer(one.session, keyed_of(one))
            for one in members
            if one.id != self._mesh.node_id
        }
        if peers == self._peers or self._nursery is None:
            return
        self._peers = peers
        self._names = {one.id: one.name for one in members}
        works_on_some = any(keyed_of(one) for one in members if one.id == self._mesh.node_id)
        if works_on_some and any(one.services for one in peers.values()):
            self._start(self._meet, self._opened())
        self._core.set_members(peers, _now_ms())
        self.walk()
        self._pump()

    def walk(self) -> None:
        """Tells the homes of all keys what is here: the mesh is another, or a job that had begun
        while this node was alone has left something since."""
        if any(one.services for one in self._peers.values()):
            self._is_walking = True
            self._swept.set()

    async def _meet(self, states: States) -> None:
        try:
            await trio.to_thread.run_sync(states.meet, limiter=self._threads)
        except StateError as error:
            log.warning(f"the states {error}")

    # --- jobs

    def is_alone(self, key: Key) -> bool:
        """Whether nobody else has a say in a key."""
        return self._core.is_alone(key, _now_ms())

    async def enter(self, key: Key, job: Job, limit_ms: int, waiting_max: int) -> tuple[int, Told]:
        """Waits for a job's turn.

        Returns: its number, and `Granted`, `Known` or `Lost`. After `Granted`, `keep` or `leave`
        must follow.
        """
        ref = job.ref
        number = self._core.enter(key, ref.engine, ref.key, limit_ms, waiting_max, _now_ms())
        return number, await self._wait(number)

    async def keep(self, number: int, state: bytes, outcome: bytes) -> Told:
        """Hands on what a granted job leaves. Returns `Done` or `Lost`."""
        self._core.keep(number, state, outcome, _now_ms())
        return await self._wait(number)

    def leave(self, number: int) -> None:
        """A granted job leaves nothing."""
        self._core.leave(number, _now_ms())
        self._pump()

    def named(self, members: Sequence[str]) -> list[str]:
        """Members as a person knows them."""
        return sorted(self._names.get(one, one or "any other node") for one in members)

    async def _wait(self, number: int) -> Told:
        slot = self._waiting[number] = _Slot()
        try:
            self._pump()
            await slot.ended.wait()
        except trio.Cancelled:
            self.leave(number)
            raise
        finally:
            del self._waiting[number]
        assert slot.told is not None, "ended by what it was told"
        return slot.told

    # --- the core's wishes

    def _pump(self, *, touch: bool = True) -> None:
        core = self._core
        while True:
            told, asks = core.told(), core.disk_asks()
            if not told and not asks:
                break
            for one in told:
                slot = self._waiting.get(one.run)
                if slot is not None:
                    slot.told = one
                    slot.ended.set()
            for ask in asks:
                self._start(self._ask_disk, ask)
        for member, message in core.messages_to_send():
            data = wire.to_bytes(message)
            # What members sent before may make it too long, in spite of all bounds of its parts.
            fits = len(data) <= wire.MESSAGE_BYTES_MAX
            if not fits or not self._mesh.send_nowait(member, data, KEYS):
                self.counts["not_sent"] += 1
        for fork in core.forks():
            self._say_fork(fork)
        for settled in core.settled():
            if self._sweep.settled(settled) and self._mesh.node_id not in settled.holders:
                self._start(self._drop, settled)
        if touch:
            self._touched.set()
            self._touched = trio.Event()

    def _start(self, work: Callable[[T], Awaitable[None]], about: T) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(work, about)

    async def _ask_disk(self, ask: Reading | Writing) -> None:
        states = self._opened()
        work: Callable[[], Done] = (
            partial(_read, states, ask)
            if isinstance(ask, Reading)
            else partial(_write, states, ask)
        )
        try:
            result = await trio.to_thread.run_sync(work, limiter=self._threads)
        except StateError as error:
            result = Failure(str(error))
        self._core.disk_did(ask.number, result, _now_ms())
        self._pump()

    async def _drop(self, settled: wire.Settled) -> None:
        drop = partial(self._opened().drop, settled.key, settled.version)
        try:
            await trio.to_thread.run_sync(drop, limiter=self._threads)
        except StateError as error:
            log.warning(f"an old copy {error}")

    def _say_fork(self, fork: Forked) -> None:
        self._logged += 1
        if self._logged <= LOGGED_MAX:
            log.warning(
                "two nodes that could not see each other worked one key: one state goes on",
                service=fork.key.service,
                tenant=fork.key.tenant,
                key=fork.key.value,
                kept=fork.kept.number,
                dropped=fork.dropped.number,
                member=fork.member,
            )

    def _opened(self) -> States:
        if self._states is None:
            self._states = self._open_states()
        return self._states

    def statistics(self) -> dict[str, int]:
        """Counters since the start and gauges, by name."""
        return {
            **self._core.statistics(),
            **self.counts,
            "moved": self._sweep.moved,
            "walking": int(self._is_walking),
        }


class _Slot:
    """What one job waits for."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.told: Told | None = None


def keyed_of(member: Member) -> bytes:
    """The filter of the services with a key that a member works on; empty where it says none."""
    said = member.tags.get("keyed")
    return said if isinstance(said, bytes) and len(said) == FILTER_BYTES else b""


def _read(states: States, ask: Reading) -> Stored:
    """On a thread."""
    kept = states.read(ask.key)
    if ask.job is not None:
        found = states.answer(ask.key, *ask.job, kept.version)
        return Stored(kept.version, kept.state, (), found)
    room = wire.CONTENT_BYTES_MAX - wire.STATE_BYTES_MAX
    answers = states.answers(ask.key, kept.version, wire.ANSWERS_MAX, room)
    plain = tuple((one.engine, one.job, one.outcome, one.number) for one in answers)
    return Stored(kept.version, kept.state, plain)


def _write(states: States, ask: Writing) -> Written:
    """On a thread."""
    answers = tuple(KeptAnswer(*one) for one in ask.answers)
    return Written(states.put(ask.key, ask.ballot, ask.version, ask.state, answers))


def _now_ms() -> int:
    return int(trio.current_time() * 1_000)
