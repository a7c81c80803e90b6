"""Updates on their way to everyone: a bounded queue that forgets what was said often enough.

One update waits per subject; a newer one on the same subject replaces it. Those sent least go
first, among them the newest, so that fresh news is not held up by old. The queue knows nothing of
what it carries.
"""


class Broadcasts:
    """Updates that ride on frames.

    Args:
        waiting_max: beyond it, the update that was sent most often is dropped.
    """

    def __init__(self, waiting_max: int) -> None:
        self._waiting_max = waiting_max
        self._waiting: dict[str, _Waiting] = {}
        self._serial = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, subject: str, update: bytes) -> None:
        """Queues an update in the place of an earlier one on the same subject."""
        self._serial += 1
        self._waiting[subject] = _Waiting(subject, update, self._serial)
        if len(self._waiting) > self._waiting_max:
            del self._waiting[self._in_order()[-1].subject]
            self.dropped += 1

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
        for waiting in self._in_order() if self._waiting else []:
            cost = len(waiting.update) + header_bytes
            if cost > room_bytes:
                continue
            room_bytes -= cost
            taken.append(waiting.update)
            waiting.transmits += 1
            if waiting.transmits >= transmits_max:
                del self._waiting[waiting.subject]
        return taken

    def _in_order(self) -> "list[_Waiting]":
        return sorted(self._waiting.values(), key=lambda each: (each.transmits, -each.serial))


class _Waiting:
    def __init__(self, subject: str, update: bytes, serial: int) -> None:
        self.subject = subject
        self.update = update
        self.serial = serial
        self.transmits = 0
