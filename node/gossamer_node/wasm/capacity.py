"""How many instances a machine can hold, and which limit says so: arithmetic on measured figures.

A process that reaches a limit of its machine does not get an error, it dies: wasmtime aborts when
a mapping is refused, the kernel kills who takes its last memory. So each limit is compared before
an instance is made, with a margin for everything else that the node does.

*Mappings* (vm.max_map_count). The memories of dense instances lie side by side, and neighbours of
one kind are a single mapping to the kernel: 100,000 of them took 146. But each one let go leaves a
hole, and unmapping may need a mapping more than before, so what counts is the worst order in which
they can go. With S places side by side, the mappings are at most the runs of living ones, and of
those there are never more than S/2: every other one lives. S is the most that ever lived at once.
So twice the mappings that are left is safe in any order; the count that the kernel shows is
compared as well, for what this leaves out (memories that grew leave holes of other sizes).

*Address space* (RLIMIT_AS, `ulimit -v`): counted with the whole memory that a module begins with.
*Memory*: what the machine, or the node's control group, still has; counted with what an instance
takes on average. An instance may grow later, so this is measured again and again, and idle ones
are let go when too little is left (`residents`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Limit = Literal["mappings", "address space", "memory", "bound"]

LIVE_MAX = 1_000_000
"""Instances in one process, whatever the machine: 15 GB of the smallest. Where nothing can be
measured, it is the bound that holds."""

MAPS_MARGIN = 4_096
"""For what else maps: each thread has some 5 (stack, guards, arena), each fast engine some 130 (40
slots), libraries and files some 300; as much again for what the count of mappings lags behind."""

ADDRESS_MARGIN_BYTES = 2**30
"""32 threads with 8 MiB of stack and 64 MiB of arena reserve most of it."""

MEMORY_MARGIN_BYTES_MIN = 64 * 2**20
MEMORY_MARGIN_SHARE = 20
"""A twentieth of what there was at the start, at least the bytes above: for jobs under way,
the system, and the time until the next measurement."""

INSTANCE_BYTES = 10 * 2**10
"""Store, instance and its book-keeping, in wasmtime and here: about 9 KiB, measured."""

TOUCHED_BYTES = 16 * 2**10
"""Of its linear memory, what a small worker writes to: stack, data and arena, four pages. A module
of another language takes more; the memory that is left is measured all the same."""

MEASURE_EVERY = 1_024
"""Instances made between two measurements at most: 60 MiB of them."""

MEASURE_AGAIN_S = 1.0
"""Between two measurements at most: others take memory, too."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the machine says of this process. None: it does not say, or there is no limit.

    Attributes:
        maps, maps_max: mappings of this process, and how many it may have.
        address_bytes, address_bytes_max: its address space.
        memory_bytes: what it may still take, of the machine or its control group.
        memory_of: whose memory that is, for a sentence.
    """

    maps: int | None = None
    maps_max: int | None = None
    address_bytes: int | None = None
    address_bytes_max: int | None = None
    memory_bytes: int | None = None
    memory_of: str = "this machine"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one more live instance takes at most of the address space, and on average of memory."""

    address_bytes: int
    memory_bytes: int


def cost_of(memory_bytes_min: int) -> Cost:
    """Of an instance whose memory begins with so many bytes."""
    return Cost(
        memory_bytes_min + INSTANCE_BYTES, min(memory_bytes_min, TOUCHED_BYTES) + INSTANCE_BYTES
    )


@dataclass(frozen=True, slots=True)
class Room:
    """How many more, the limit that says so, and its figure in words."""

    count: int
    limit: Limit
    why: str


def room(start: Measured, now: Measured, live: int, cost: Cost) -> Room:
    """How many more instances fit.

    Args:
        start: as measured before there were any.
        live: how many there are now.
    """
    rooms = [Room(LIVE_MAX - live, "bound", f"a process has {LIVE_MAX:,} at most")]
    if now.maps_max is not None and start.maps is not None and now.maps is not None:
        # Doubled as the module's text explains; what else has been mapped since is in the margin.
        in_any_order = 2 * (now.maps_max - MAPS_MARGIN - start.maps) - live
        is_free = now.maps < now.maps_max - MAPS_MARGIN
        rooms.append(
            Room(
                in_any_order if is_free else 0,
                "mappings",
                f"vm.max_map_count is {now.maps_max:,}, and the process has {now.maps:,} mappings",
            )
        )
    if now.address_bytes_max is not None and now.address_bytes is not None:
        left = now.address_bytes_max - ADDRESS_MARGIN_BYTES - now.address_bytes
        rooms.append(
            Room(
                left // cost.address_bytes,
                "address space",
                f"its address space is limited to {_mib(now.address_bytes_max)} (RLIMIT_AS), of "
                f"which it uses {_mib(now.address_bytes)}",
            )
        )
    if now.memory_bytes is not None:
        left = now.memory_bytes - memory_margin_bytes(start)
        rooms.append(
            Room(
                left // cost.memory_bytes,
                "memory",
                f"{now.memory_of} has {_mib(now.memory_bytes)} of memory left",
            )
        )
    tightest = min(rooms, key=lambda one: one.count)
    return Room(max(0, tightest.count), tightest.limit, tightest.why)


def memory_margin_bytes(start: Measured) -> int:
    """What is never given to instances."""
    return max(MEMORY_MARGIN_BYTES_MIN, (start.memory_bytes or 0) // MEMORY_MARGIN_SHARE)


_ADVICE: dict[Limit, str] = {
    "mappings": "raise it with `sysctl -w vm.max_map_count=262144`, or start a second node",
    "address space": "raise it with `ulimit -v`, or start a second node",
    "memory": "add memory, raise the group's limit, or lower `dense.live`",
    "bound": "start a second node",
}


def refusal(tight: Room, live: int) -> str:
    """One sentence for the job that gets no instance."""
    return (
        f"The node cannot hold another instance beside the {live:,} that live: {tight.why}; "
        f"{_ADVICE[tight.limit]}."
    )


class Gauge:
    """Tells before each new instance whether there is room, and measures no more than it must.

    Between two measurements the room goes down with each instance; it is measured again after
    `MEASURE_EVERY` of them, after an eighth of the room, and after `MEASURE_AGAIN_S`. Not for
    several threads at once: `residents` calls it under its lock.
    """

    def __init__(self, measure: Callable[[], Measured], now_s: Callable[[], float]) -> None:
        self._measure = measure
        self._now_s = now_s
        self.start = measure()
        self._seen = self.start
        self._seen_s = now_s()
        self._seen_live = 0

    def room(self, live: int, cost: Cost) -> Room:
        """How many more of this cost fit beside the living, at least one or a measured zero."""
        made = live - self._seen_live
        left = self._left(live, cost)
        due = min(MEASURE_EVERY, left.count // 8)
        if made > due or self._now_s() - self._seen_s >= MEASURE_AGAIN_S or left.count <= 0:
            self.look(live)
            left = self._left(live, cost)
        return left

    def look(self, live: int) -> Measured:
        """Measure now."""
        self._seen, self._seen_s, self._seen_live = self._measure(), self._now_s(), live
        return self._seen

    def short_of_memory(self) -> bool:
        """Whether what was measured last is below half of the margin."""
        left = self._seen.memory_bytes
        return left is not None and left < memory_margin_bytes(self.start) // 2

    def _left(self, live: int, cost: Cost) -> Room:
        tight = room(self.start, self._seen, live, cost)
        # The bound and the mappings count `live` themselves; the rest was measured before.
        made = max(0, live - self._seen_live) if tight.limit in ("memory", "address space") else 0
        return Room(max(0, tight.count - made), tight.limit, tight.why)


def _mib(size: int) -> str:
    return f"{size // 2**20:,} MiB"
