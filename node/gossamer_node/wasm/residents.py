"""The live instances of dense services: who gets one, who keeps it, who is let go.

An instance is at work or idle. Idle ones stand in the order of their last use; where a bound is
reached, the longest unused goes first: the service's own bound takes one of its own, the machine's
(`capacity`) the longest unused of all services that allow it. One is let go as well when it is
idle too long, and after a job when it is old, has worked enough, or has grown too large. Whoever
takes an instance has it alone until it is given back; only idle ones are ever let go from here.

All that is decided under one lock, in microseconds; instances are closed outside of it. A service
without keys takes the one used last, so that those beyond its need grow idle and go.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from gossamer_node.service.spec import Dense
from gossamer_node.wasm.capacity import Cost, Gauge, Room, refusal
from gossamer_node.wasm.fastcall import Instance, Linked

SWEEP_S = 1.0
"""Between two looks for instances that were idle too long, and at the memory that is left."""

SHORT_EVICTED_SHARE = 8
"""When memory runs short, this part of the idle ones goes at each sweep, the longest unused."""


class NoRoom(Exception):
    """No instance may be made now; the message is a sentence for the job that wanted one."""


class Living:
    """A live instance and its history. Made by `Residency.take`.

    Attributes:
        instance: of `fastcall`; begun when `jobs` is more than 0.
        jobs: that it has ended.
        has_state: whether its key has a state on the disk, to come back with.
    """

    __slots__ = ("began_s", "has_state", "instance", "jobs", "key", "of", "used_s")

    def __init__(self, of: "Residency", key: Hashable, instance: Instance, now_s: float) -> None:
        self.of = of
        self.key = key
        self.instance = instance
        self.began_s = self.used_s = now_s
        self.jobs = 0
        self.has_state = False


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
        self._live = 0
        # Ordered ones, because a plain dict looks for its first item from where it began.
        self._idle: OrderedDict[Living, None] = OrderedDict()
        self._services: list[Residency] = []
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None

    def open(
        self, name: str, bounds: Dense, linked: Linked, *, cost: Cost, memory_bytes_max: int
    ) -> "Residency":
        """Begin a service."""
        service = Residency(self, name, bounds, linked, cost, memory_bytes_max)
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
        """Instances of all services."""
        return self._live

    def room(self, cost: Cost) -> Room:
        """How many more of such a cost the machine holds now."""
        with self._lock:
            return self._gauge.room(self._live, cost)

    def sweep(self) -> None:
        """Let go what was idle too long, and more while the machine is short of memory."""
        gone: list[Living] = []
        with self._lock:
            if not self._live:
                return
            now_s = self.now_s()
            for service in self._services:
                gone += service._expired(now_s)
            self._gauge.look(self._live)
            if self._gauge.short_of_memory():
                share = -(-len(self._idle) // SHORT_EVICTED_SHARE)
                gone += [self._evict() for _ in range(share)]
        for one in gone:
            one.instance.close()

    def close(self) -> None:
        """Let go all that are idle; nobody is at work any more."""
        self._closed.set()
        if self._sweeper is not None:
            self._sweeper.join()
        with self._lock:
            gone = [one for service in self._services for one in service._idle.values()]
            for one in gone:
                self._forget(one)
        for one in gone:
            one.instance.close()

    def _sweep_on(self) -> None:
        while not self._closed.wait(SWEEP_S):
            self.sweep()

    def _evict(self) -> Living:
        """The longest unused of all, which there is."""
        one = next(iter(self._idle))
        self._forget(one)
        return one

    def _forget(self, one: Living) -> None:
        """An idle one, out of every list and count."""
        self._idle.pop(one, None)
        del one.of._idle[one.key]
        self._uncount(one)

    def _uncount(self, one: Living) -> None:
        one.of._live -= 1
        one.of._with_state -= one.has_state
        self._live -= 1


class Residency:
    """One service's live instances. Made by `Residents.open`."""

    def __init__(
        self,
        residents: Residents,
        name: str,
        bounds: Dense,
        linked: Linked,
        cost: Cost,
        memory_bytes_max: int,
    ) -> None:
        self.name = name
        self._residents = residents
        self._bounds = bounds
        self._linked = linked
        self._cost = cost
        self._memory_bytes_max = memory_bytes_max
        self._idle: OrderedDict[Hashable, Living] = OrderedDict()
        self._live = self._with_state = 0
        self._number = 0

    def take(self, key: Hashable | None) -> Living:
        """The live instance of a key, or a new one; with no key, any idle one, or a new one.

        It is the caller's until `give_back`. A key is asked for by one caller at a time. Raises:
        NoRoom.
        """
        residents, gone = self._residents, None
        with residents._lock:
            now_s = residents.now_s()
            if key is None and self._idle:
                key = next(reversed(self._idle))
            found = self._idle.pop(key, None)
            if found is not None:
                residents._idle.pop(found, None)
                return found
            is_full = self._live >= self._bounds.live
            gone = self._evict_own() if is_full else self._fit_machine()
            self._live += 1
            residents._live += 1
            if key is None:
                self._number += 1
                key = self._number
        if gone is not None:
            gone.instance.close()
        instance = Instance(self._linked, memory_bytes_max=self._memory_bytes_max)
        return Living(self, key, instance, now_s)

    def give_back(
        self, one: Living, *, sound: bool, memory_bytes: int, has_state: bool = False
    ) -> None:
        """After its job.

        Args:
            sound: whether the job ended as the worker meant it; what it left is dropped otherwise.
            memory_bytes: how large its linear memory is now.
            has_state: whether its key has a state now.
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
            if stays:
                one.used_s = now_s
                self._idle[one.key] = one
                if bounds.when_full == "evict":
                    residents._idle[one] = None
                return
            residents._uncount(one)
        one.instance.close()

    def count(self) -> Count:
        with self._residents._lock:
            return Count(self._live, self._with_state)

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

    def _fit_machine(self) -> Living | None:
        residents = self._residents
        tight = residents._gauge.room(residents._live, self._cost)
        if tight.count > 0:
            return None
        if residents._idle:
            return residents._evict()
        raise NoRoom(refusal(tight, residents._live))

    def _expired(self, now_s: float) -> list[Living]:
        gone: list[Living] = []
        for one in self._idle.values():
            if (now_s - one.used_s) * 1_000 < self._bounds.idle_ms:
                break
            gone.append(one)
        for one in gone:
            self._residents._forget(one)
        return gone
