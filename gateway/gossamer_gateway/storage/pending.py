"""Commands that wait for their transaction, and what became of each.

One bounded queue, however many work it off. Who submits waits until his command is settled: its
transaction is on disk, or it was refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import trio

from gossamer_gateway.errors import Overloaded, StorageFailed

PENDING_MAX = 1_000
"""Commands that may wait for their transaction; a thousand are a second of work."""

C = TypeVar("C", bound=Callable[..., Any])


@dataclass(slots=True, eq=False)
class Entry(Generic[C]):
    """One command.

    Attributes:
        since_s: when it was submitted, by trio's clock.
        result, error: of its last run; they count once it is settled.
    """

    command: C
    since_s: float
    settled: trio.Event = field(default_factory=trio.Event)
    result: object = None
    error: Exception | None = None


class Pending(Generic[C]):
    """The queue. For one trio loop.

    Args:
        busy: what is waited for, as a sentence's end: `the disk`.
    """

    def __init__(self, busy: str) -> None:
        self._busy = busy
        self._closed = False
        self._submit, self._arrivals = trio.open_memory_channel["Entry[C]"](PENDING_MAX)

    async def submit(self, command: C) -> object:
        """Waits until a command is settled, and returns what it returned.

        A caller that is cancelled leaves the command in the queue: it takes effect unanswered.

        Raises: what the command raised; StorageFailed; Overloaded.
        """
        entry = Entry(command, trio.current_time())
        if self._closed:
            raise StorageFailed("The gateway is stopping")
        try:
            self._submit.send_nowait(entry)
        except trio.WouldBlock:
            raise Overloaded(
                f"{PENDING_MAX} requests wait for {self._busy}; try again in a moment"
            ) from None
        await entry.settled.wait()
        if entry.error is not None:
            raise entry.error
        return entry.result

    async def receive(self) -> Entry[C]:
        """The next one, waited for."""
        return await self._arrivals.receive()

    def gather(self, batch: "list[Entry[C]]", count_max: int) -> None:
        """Adds what has come in the meantime, up to so many in all."""
        while len(batch) < count_max:
            try:
                batch.append(self._arrivals.receive_nowait())
            except trio.WouldBlock:
                return

    def close(self) -> None:
        """Refuses those that still wait, and all that come. Nobody works them off any more."""
        self._closed = True
        left: list[Entry[C]] = []
        self.gather(left, PENDING_MAX)
        for entry in left:
            entry.error = StorageFailed("The gateway is stopping")
            entry.settled.set()
        self._submit.close()
        self._arrivals.close()
