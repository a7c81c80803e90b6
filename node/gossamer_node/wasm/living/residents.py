"""The live instances of dense services: who gets one, who keeps it, who is let go.

An instance is at work or idle. Idle ones stand in the order of their last use; where a bound is
reached, the longest unused goes first: the service's own bound takes one of its own, the machine's
(`capacity`) the longest unused of all services that allow it, more and more of them until there is
room. One is let go as well when it is idle too long, and after a job when it is old, has worked
enough, or has grown: beyond its bound, or beyond what the machine has room for. Whoever takes an
instance has it alone until it is given back; only idle ones are ever let go from here.

All that is decided under one lock, in microseconds; a measurement now and then takes 0.3 ms and
more (`measuring`). Instances are closed outside of it, and count until they are. A service without
keys takes the one used last, so that those beyond its need grow idle and go.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import islice

from gossamer_node.service.spec import Dense
from gossamer_node.wasm.fastcall import Instance, Linked
from gossamer_node.wasm.living.capacity import Cost, Gauge, Room, cost_of_growth, refusal

SWEEP_S = 1.0
"""Between two looks for instances that were idle too long, and at the memory that is left."""

SHORT_EVICTED_SHARE = 8
"""When memory runs short, this part of the idle ones goes at each sweep, the longest unused."""

EXPIRED_MAX = 10_000
"""Of one service at one sweep, so that jobs wait for the lock some 10 ms at most."""

FULL_EVICTED_SHARE = 256
"""When the machine is full, this part of the idle ones goes at once, one at least: to measure after
each would cost more than they do. Twice as many go in each further round."""

FULL_ROUNDS_MAX = 20
"""So often is room made for one instance; 2**20 is more than may live."""


class NoRoom(Exception):
    """No instance may be made now; the message is a sentence for the job that wanted one."""


class Living:
    """A live instance and its history. Made by `Residency.take`.

    Attributes:
        instance: of `fastcall`; begun when `jobs` is more than 0.
        jobs: that it has ended.
        memory_bytes: of its linear memory when it was given back last.
        has_state: whether its key has a state on the disk, to come back with.
        version: of its key's state when it was given back last.
    """

    __slots__ = (
        "began_s",
        "has_state",
        "instance",
        "jobs",
        "key",
        "memory_bytes",
        "of",
        "used_s",
        "version",
    )

    def __init__(self, of: "Residency", key: Hashable, instance: Instance, now_s: float) -> None:
        self.of = of
        self.key = key
        self.instance = instance
        self.began_s = self.used_s = now_s
        self.jobs = 0
        self.memory_bytes = of.shape.memory_bytes_min
        self.has_state = False
        self.version: object = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What a service's instances are made of.

    Attributes:
        cost: of each.
        memory_bytes_min, memory_bytes_max: its linear memory begins with, and may grow to.
        table_elements_max: of a table; tables of live instances don't grow.
    """

    linked: Linked
    cost: Cost
    memory_bytes_min: int
    memory_bytes_max: int
    table_elements_max: int


@dataclass(frozen=True, slots=True)
class Count:
    """Live instances, and how many of their keys have a state."""

    live: int
    with_state: int


class Residents:
    """All live instances of a host. Safe to use from several threads."""

    def __init__(self, gauge: Gauge, now_s: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._gauge = gauge
        self.now_s = now_s
        # Ordered ones, because a plain dict looks for its first item from where it began.
        self._idle: OrderedDict[Living, None] = OrderedDict()
        self._services: list[Residency] = []
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None

    def open(self, name: str, bounds: Dense, shape: Shape) -> "Residency":
        """Begin a service."""
        service = Residency(self, name, bounds, shape)
        with self._lock:
            self._services.append(service)
            if self._sweeper is None:
                self._sweeper = threading.Thread(
                    target=self._sweep_on, name="gossamer-wasm-sweeper", daemon=True
                )
                self._sweeper.start()
        return service

    @property
    def live(self) -> int:
        """Instances of all services, until they are closed."""
        return self._gauge.live

    def room(self, cost: Cost) -> Room:
        """How many more of such a cost the machine holds now."""
        with self._lock:
            return self._gauge.room(cost)

    def end(self, service: "Residency") -> None:
        """Lets go all instances of a service; those at work go with their job."""
        with self._lock:
            service._ended = True
            if service in self._services:
                self._services.remove(service)
            gone = list(service._idle.values())
            for one in gone:
                self._forget(one)
        self._close(gone)

    def sweep(self) -> None:
        """Let go what was idle too long, and more while the machine is short of memory."""
        gone: list[Living] = []
        with self._lock:
            if not self._gauge.live:
                return
            now_s = self.now_s()
            for service in self._services:
                gone += service._expired(now_s)
            self._gauge.look()
            if self._gauge.short_of_memory():
                gone += self._evict(-(-len(self._idle) // SHORT_EVICTED_SHARE))
        self._close(gone)

    def close(self) -> None:
        """Let go all that are idle; nobody is at work any more."""
        self._closed.set()
        if self._sweeper is not None:
            self._sweeper.join()
        with self._lock:
            gone = [one for service in self._services for one in service._idle.values()]
            for one in gone:
                self._forget(one)
        self._close(gone)

    def _sweep_on(self) -> None:
        while not self._closed.wait(SWEEP_S):
            self.sweep()

    def _evict(self, count: int) -> list[Living]:
        """The longest unused of all, so many or as many as there are."""
        gone = list(islice(self._idle, count))
        for one in gone:
            self._forget(one)
        return gone

    def _make_room(self, number: int) -> list[Living]:
        """Whom the machine loses in this round; none when that is no use."""
        if number >= FULL_ROUNDS_MAX:
            return []
        return self._evict(max(2**number, len(self._idle) // FULL_EVICTED_SHARE))

    def _forget(self, one: Living) -> None:
        """An idle one, out of every list."""
        self._idle.pop(one, None)
        del one.of._idle[one.key]
        one.of._uncount(one)

    def _close(self, gone: list[Living]) -> None:
        """Without the lock. Only then is what they took free."""
        for one in gone:
            one.instance.close()
        with self._lock:
            for one in gone:
                self._gauge.release(one.of.shape.cost)


class Residency:
    """One service's live instances. Made by `Residents.open`."""

    def __init__(self, residents: Residents, name: str, bounds: Dense, shape: Shape) -> None:
        self.name = name
        self.shape = shape
        self._residents = residents
        self._bounds = bounds
        self._idle: OrderedDict[Hashable, Living] = OrderedDict()
        self._live = self._with_state = 0
        self._number = 0
        self._ended = False

    def take(self, key: Hashable | None, version: object = None) -> Living:
        """The live instance of a key, or a new one; with no key, any idle one, or a new one.

        It is the caller's until `give_back`. A key is asked for by one caller at a time.

        Args:
            version: of the key's state. An instance that has seen another one is let go: the key
                worked on another node since, and what it remembers is old.

        Raises: NoRoom.
        """
        residents, shape, rounds = self._residents, self.shape, 0
        while True:
            with residents._lock:
                now_s = residents.now_s()
                found = self._found(key)
                if found is not None and found.version == version:
                    return found
                if found is not None:
                    self._uncount(found)
                    gone = [found]
                elif self._live >= self._bounds.live:
                    gone = [self._evict_own()]
                else:
                    tight = residents._gauge.room(shape.cost)
                    if tight.count > 0:
                        return self._begin(key, now_s)
                    gone = residents._make_room(rounds)
                    rounds += 1
                    if not gone:
                        raise NoRoom(refusal(tight, residents.live))
            residents._close(gone)

    def give_back(
        self,
        one: Living,
        *,
        sound: bool,
        memory_bytes: int,
        has_state: bool = False,
        version: object = None,
    ) -> None:
        """After its job.

        Args:
            sound: whether the job ended as the worker meant it; what it left is dropped otherwise.
            memory_bytes: how large its linear memory is now.
            has_state: whether its key has a state now.
            version: of that.
        """
        residents, bounds = self._residents, self._bounds
        one.jobs += 1
        now_s = residents.now_s()
        stays = (
            sound
            and one.jobs < bounds.jobs
            and (now_s - one.began_s) * 1_000 < bounds.age_ms
            and memory_bytes <= bounds.memory_bytes
        )
        with residents._lock:
            self._with_state += has_state - one.has_state
            one.has_state = has_state
            one.version = version
            if stays and not self._ended and self._fits(one, memory_bytes):
                one.used_s = now_s
                self._idle[one.key] = one
                if bounds.when_full == "evict":
                    residents._idle[one] = None
                return
            self._uncount(one)
        residents._close([one])

    def saw(self, key: Hashable, version: object) -> None:
        """What a key's idle instance left is kept as this version."""
        with self._residents._lock:
            one = self._idle.get(key)
            if one is not None:
                one.version = version

    def let_go(self, key: Hashable) -> None:
        """A key's idle instance, if there is one: what it left was not kept."""
        with self._residents._lock:
            gone = [one for one in [self._found(key)] if one is not None]
            for one in gone:
                self._uncount(one)
        self._residents._close(gone)

    def count(self) -> Count:
        with self._residents._lock:
            return Count(self._live, self._with_state)

    def _found(self, key: Hashable | None) -> Living | None:
        if key is None:
            if not self._idle:
                return None
            key = next(reversed(self._idle))
        found = self._idle.pop(key, None)
        if found is not None:
            self._residents._idle.pop(found, None)
        return found

    def _begin(self, key: Hashable | None, now_s: float) -> Living:
        # A store is made in a microsecond; its memory comes later, when the module is instantiated.
        shape = self.shape
        instance = Instance(
            shape.linked,
            memory_bytes_max=shape.memory_bytes_max,
            table_elements_max=shape.table_elements_max,
        )
        self._residents._gauge.take(shape.cost)
        self._live += 1
        if key is None:
            self._number += 1
            key = self._number
        return Living(self, key, instance, now_s)

    def _fits(self, one: Living, memory_bytes: int) -> bool:
        """Whether the machine has room for what it grew by; then it is counted."""
        grown = memory_bytes - one.memory_bytes
        if grown <= 0:
            return True
        cost, gauge = cost_of_growth(grown), self._residents._gauge
        if gauge.room(cost).count <= 0:
            return False
        gauge.grow(cost)
        one.memory_bytes = memory_bytes
        return True

    def _evict_own(self) -> Living:
        if self._bounds.when_full == "evict" and self._idle:
            one = next(iter(self._idle.values()))
            self._residents._forget(one)
            return one
        busy = "refuses to let one go" if self._idle else "all of them are at work"
        raise NoRoom(
            f"The service {self.name} has its {self._bounds.live:,} live instances and "
            f"{busy}; raise `dense.live`, or try again later."
        )

    def _uncount(self, one: Living) -> None:
        self._live -= 1
        self._with_state -= one.has_state

    def _expired(self, now_s: float) -> list[Living]:
        gone: list[Living] = []
        for one in islice(self._idle.values(), EXPIRED_MAX):
            if (now_s - one.used_s) * 1_000 < self._bounds.idle_ms:
                break
            gone.append(one)
        for one in gone:
            self._residents._forget(one)
        return gone
