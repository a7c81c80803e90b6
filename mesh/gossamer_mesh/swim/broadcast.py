"""Updates on their way to everyone: a bounded queue that forgets what was said often enough.

One update waits per subject; a newer one on the same subject replaces it. Those sent least go
first, among them the newest, so that fresh news is not held up by old. A heap keeps that order,
for thousands wait when a large mesh starts. The queue knows nothing of what it carries.
"""

from heapq import heapify, heappop, heappush

MISFITS_MAX = 16
"""Updates that are passed over for a frame because they are too long for what is left of it."""

DROPPED_AT_ONCE = 16
"""A full queue drops a 16th of itself, so that finding those to drop is paid for by many."""


class Broadcasts:
    """Updates that ride on frames.

    Args:
        waiting_max: beyond it, the updates that were sent most often are dropped.
    """

    def __init__(self, waiting_max: int) -> None:
        self._waiting_max = waiting_max
        self._waiting: dict[str, _Waiting] = {}
        self._heap: list[tuple[int, int, _Waiting]] = []
        self._serial = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, subject: str, update: bytes) -> None:
        """Queues an update in the place of an earlier one on the same subject."""
        self._serial += 1
        waiting = _Waiting(subject, update, self._serial)
        self._waiting[subject] = waiting
        heappush(self._heap, waiting.entry())
        if len(self._waiting) > self._waiting_max:
            self._drop_some()
        elif len(self._heap) > 2 * len(self._waiting) + DROPPED_AT_ONCE:
            self._rebuild()

    def drop(self, subject: str) -> None:
        """What waits on that subject is no longer true."""
        self._waiting.pop(subject, None)

    def take(self, room_bytes: int, header_bytes: int, transmits_max: int) -> list[bytes]:
        """Updates that fit, each counted as sent once more and dropped after `transmits_max`.

        Args:
            room_bytes: how much they may take together.
            header_bytes: what each takes besides its own length.
            transmits_max: see `config.retransmit_limit`.
        """
        taken: list[bytes] = []
        again: list[_Waiting] = []
        misfits = 0
        while self._heap and misfits < MISFITS_MAX and room_bytes > header_bytes:
            waiting = heappop(self._heap)[2]
            if self._waiting.get(waiting.subject) is not waiting:
                continue  # replaced meanwhile
            cost = len(waiting.update) + header_bytes
            if cost > room_bytes:
                misfits += 1
                again.append(waiting)
                continue
            room_bytes -= cost
            taken.append(waiting.update)
            waiting.transmits += 1
            if waiting.transmits >= transmits_max:
                del self._waiting[waiting.subject]
            else:
                again.append(waiting)
        for waiting in again:
            heappush(self._heap, waiting.entry())
        return taken

    def clear(self) -> None:
        """Nothing waits any more."""
        self._waiting = {}
        self._heap = []

    def _drop_some(self) -> None:
        entries = sorted(waiting.entry() for waiting in self._waiting.values())
        for _, _, waiting in entries[-max(1, self._waiting_max // DROPPED_AT_ONCE) :]:
            del self._waiting[waiting.subject]
            self.dropped += 1
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [waiting.entry() for waiting in self._waiting.values()]
        heapify(self._heap)


class _Waiting:
    __slots__ = ("serial", "subject", "transmits", "update")

    def __init__(self, subject: str, update: bytes, serial: int) -> None:
        self.subject = subject
        self.update = update
        self.serial = serial
        self.transmits = 0

    def entry(self) -> "tuple[int, int, _Waiting]":
        """In the queue's order; serials differ, so the third part is never compared."""
        return (self.transmits, -self.serial, self)
