"""How many instances a machine can hold, and which limit says so: arithmetic on measured figures.

A process that reaches a limit of its machine does not get an error, it dies: wasmtime aborts when
a mapping is refused, the kernel kills who takes its last memory. So each limit is compared before
an instance is made, with a margin for everything else that the node does.

*Mappings* (vm.max_map_count). The memories of dense instances lie side by side, and neighbours of
one kind are a single mapping to the kernel: 100,000 of them took 146. But each one let go may leave
a hole, and so cut a mapping in two, and wasmtime aborts when that is refused. So what counts is the
worst order in which they can go. With M mappings, M0 of them there before any instance was, and L
places where a living one has something mapped (its memory, and what else is large), look at

    P = (M + M0 + L) / 2

Every run of neighbours holds a place at least, so M - M0 <= L, and so M <= P. To let a place go
adds one to M at most and takes one from L: P does not rise, in whatever order. A new place adds one
to either at most, memory that moves because it grew adds two to M at most: P rises by one. So while
P is compared with the limit before an instance is made, and before one that grew is kept, M never
reaches it; and side by side there is room for twice as many as there are mappings.

*Address space* (RLIMIT_AS, `ulimit -v`): counted with the whole memory that a module begins with.
*Memory*: what the machine, or the node's control group, still has; counted with what an instance
takes on average. An instance may grow later: one that grew in its job is kept only if there is room
for that, memory is measured again and again, and idle ones are let go when too little is left
(`residents`). What a job grows to while it runs is bounded by its memory limit alone, in either
profile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Limit = Literal["mappings", "address space", "memory", "bound"]

LIVE_MAX = 1_000_000
"""Instances in one process, whatever the machine: 15 GB of the smallest. Where nothing can be
measured, it is the bound that holds."""

MAPS_MARGIN = 4_096
"""For what else maps: each thread has some 5 (stack, guards, arena), each fast engine some 130 (40
slots; `engine.STACKS_MAX`), libraries and files some 300; the rest for instances that are being
made, or whose memory moves, while the mappings are counted."""

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

ENTITY_BYTES = 48
"""For each function, global and import, at most: wasmtime keeps up to 32 for one."""

TABLE_ELEMENT_BYTES = 8

MAPPED_BYTES = 128 * 2**10
"""The C library may give an allocation of this size a mapping of its own (mallopt(3),
M_MMAP_THRESHOLD: its least value)."""

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
    """What one more live instance takes: of the address space and of places (the module's text) at
    most, of memory on average."""

    address_bytes: int
    memory_bytes: int
    places: int


def cost_of(memory_bytes_min: int, table_elements: Sequence[int] = (), entities: int = 0) -> Cost:
    """Of an instance.

    Args:
        memory_bytes_min: what its memory begins with.
        table_elements: of each of its tables.
        entities: its functions, globals and imports.
    """
    own = INSTANCE_BYTES + entities * ENTITY_BYTES
    tables = [one * TABLE_ELEMENT_BYTES for one in table_elements]
    beside = own + sum(tables)
    return Cost(
        memory_bytes_min + beside,
        min(memory_bytes_min, TOUCHED_BYTES) + beside,
        1 + sum(size >= MAPPED_BYTES for size in (own, *tables)),
    )


def cost_of_growth(grown_bytes: int) -> Cost:
    """Of an instance that is kept with more memory than it had."""
    return Cost(grown_bytes, grown_bytes, 1)


@dataclass(frozen=True, slots=True)
class Held:
    """What there is of instances.

    Attributes:
        live: so many.
        places: that those had who lived when the machine was measured.
        since: what was made since.
    """

    live: int = 0
    places: int = 0
    since: Cost = Cost(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Room:
    """How many more, the limit that says so, and its figure in words."""

    count: int
    limit: Limit
    why: str


def room(start: Measured, now: Measured, held: Held, cost: Cost) -> Room:
    """How many more instances fit.

    Args:
        start: as measured before there were any.
        now: as measured last.
        held: what there is of them.
        cost: of each further one.
    """
    since = held.since
    rooms = [Room(LIVE_MAX - held.live, "bound", f"a process has {LIVE_MAX:,} at most")]
    if now.maps_max is not None and start.maps is not None and now.maps is not None:
        most = now.maps_max - MAPS_MARGIN
        # Twice P, as the module's text has it; what else was mapped since is in the margin.
        worst = now.maps + start.maps + held.places + 2 * since.places
        is_free = now.maps + since.places < most
        rooms.append(
            Room(
                (2 * most - worst) // cost.places if is_free else 0,
                "mappings",
                f"vm.max_map_count is {now.maps_max:,}, and the process has {now.maps:,} mappings",
            )
        )
    if now.address_bytes_max is not None and now.address_bytes is not None:
        left = now.address_bytes_max - ADDRESS_MARGIN_BYTES - now.address_bytes
        rooms.append(
            Room(
                (left - since.address_bytes) // cost.address_bytes,
                "address space",
                f"its address space is limited to {_mib(now.address_bytes_max)} (RLIMIT_AS), of "
                f"which it uses {_mib(now.address_bytes)}",
            )
        )
    if now.memory_bytes is not None:
        left = now.memory_bytes - memory_margin_bytes(start)
        rooms.append(
            Room(
                (left - since.memory_bytes) // cost.memory_bytes,
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

    Between two measurements it counts what was made, as dear as it can be; it measures again after
    `MEASURE_EVERY` instances, after an eighth of the room, after `MEASURE_AGAIN_S`, and at the end
    of the room when anything has changed. Not for several threads at once: `residents` calls it
    under its lock.
    """

    def __init__(self, measure: Callable[[], Measured], now_s: Callable[[], float]) -> None:
        self._measure = measure
        self._now_s = now_s
        self.start = measure()
        self._seen = self.start
        self._seen_s = now_s()
        self._held = Held()
        self._places = self._made = self._changes = 0

    @property
    def live(self) -> int:
        """Instances that were taken and not released."""
        return self._held.live

    def room(self, cost: Cost) -> Room:
        """How many more of this cost fit beside the living, at least one or a measured zero."""
        left = self._left(cost)
        is_old = self._now_s() - self._seen_s >= MEASURE_AGAIN_S
        due = min(MEASURE_EVERY, left.count // 8)
        if is_old or self._made > due or (self._changes and left.count == 0):
            self.look()
            left = self._left(cost)
        return left

    def take(self, cost: Cost) -> None:
        """One is about to be made."""
        self._made += 1
        self._places += cost.places
        self._hold(self._held.live + 1, cost)

    def grow(self, cost: Cost) -> None:
        """One has grown by this and is kept."""
        self._hold(self._held.live, cost)

    def release(self, cost: Cost) -> None:
        """One of this cost has been closed. What it had counts until it is measured again."""
        self._changes += 1
        self._places -= cost.places
        self._held = replace(self._held, live=self._held.live - 1)

    def look(self) -> None:
        """Measure now."""
        self._seen, self._seen_s = self._measure(), self._now_s()
        self._held = Held(self._held.live, self._places)
        self._made = self._changes = 0

    def short_of_memory(self) -> bool:
        """Whether what was measured last is below half of the margin."""
        left = self._seen.memory_bytes
        return left is not None and left < memory_margin_bytes(self.start) // 2

    def _hold(self, live: int, more: Cost) -> None:
        self._changes += 1
        since = self._held.since
        self._held = replace(
            self._held,
            live=live,
            since=Cost(
                since.address_bytes + more.address_bytes,
                since.memory_bytes + more.memory_bytes,
                since.places + more.places,
            ),
        )

    def _left(self, cost: Cost) -> Room:
        return room(self.start, self._seen, self._held, cost)


def _mib(size: int) -> str:
    return f"{size // 2**20:,} MiB"
