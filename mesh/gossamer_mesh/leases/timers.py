"""Due times by name, the earliest first: what a table of a thousand leases asks each iteration.

A heap with lazy entries. A due time that moves later, as a renewal's does, costs nothing until
its old entry comes up; one that moves earlier adds an entry, and the old one is skipped. So
`next_ms` and `pop` look at the top alone, however many names there are.
"""

from heapq import heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    Name = tuple[str, str]
    """What a timer is for: a kind, and which of that kind."""


class Timers:
    """One due time for each name."""

    __slots__ = ("_due_ms", "_entry_ms", "_heap")

    def __init__(self) -> None:
        self._due_ms: dict[Name, int] = {}
        self._entry_ms: dict[Name, int] = {}
        self._heap: list[tuple[int, Name]] = []

    def set(self, name: "Name", due_ms: "int | None") -> None:
        """Moves the name's due time; None: it is not due any more."""
        if due_ms is None:
            self._due_ms.pop(name, None)
            return
        self._due_ms[name] = due_ms
        entry_ms = self._entry_ms.get(name)
        if entry_ms is None or due_ms < entry_ms:
            self._push(name, due_ms)

    def next_ms(self) -> "int | None":
        """The earliest due time, None when nothing is due ever."""
        while self._heap:
            entry_ms, name = self._heap[0]
            due_ms = self._due_ms.get(name)
            if due_ms == entry_ms:
                return due_ms
            heappop(self._heap)
            if self._entry_ms.get(name) == entry_ms:
                del self._entry_ms[name]
                if due_ms is not None:
                    self._push(name, due_ms)
        return None

    def pop(self, now_ms: int) -> "Name | None":
        """Takes a name that is due, the earliest first; None when none is."""
        due_ms = self.next_ms()
        if due_ms is None or due_ms > now_ms:
            return None
        _, name = heappop(self._heap)
        self._entry_ms.pop(name, None)
        del self._due_ms[name]
        return name

    def _push(self, name: "Name", due_ms: int) -> None:
        self._entry_ms[name] = due_ms
        heappush(self._heap, (due_ms, name))
