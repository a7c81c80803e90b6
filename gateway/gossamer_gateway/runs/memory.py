"""States of runs in memory: the newest used, bounded by their number and their bytes.

A state is worth keeping as long as its number is the newest of its run, which whoever uses it looks
up. A state's size is that of its run's events as JSON, which it is made of.
"""

from collections import OrderedDict

from gossamer_gateway.runs.model.run import Run

RUNS_MAX = 10_000
BYTES_MAX = 64 * 1024 * 1024


class Memory:
    """The states."""

    def __init__(self, runs_max: int = RUNS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._runs_max = runs_max
        self._bytes_max = bytes_max
        self._kept: OrderedDict[str, tuple[Run, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        return self._bytes

    def get(self, id: str) -> tuple[Run, int] | None:
        """A state, and its size."""
        found = self._kept.get(id)
        if found is not None:
            self._kept.move_to_end(id)
        return found

    def put(self, run: Run, size: int) -> None:
        """Keeps a state unless a newer one is kept."""
        known = self._kept.get(run.id)
        if known is not None:
            if known[0].seq > run.seq:
                return
            self._bytes -= known[1]
        self._kept[run.id] = run, size
        self._kept.move_to_end(run.id)
        self._bytes += size
        while len(self._kept) > self._runs_max or self._bytes > self._bytes_max:
            _, (_, size) = self._kept.popitem(last=False)
            self._bytes -= size
