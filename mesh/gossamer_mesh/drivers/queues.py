"""Two bounded queues between the driver's tasks and its owner's.

Membership events coalesce: a slow consumer sees fewer of them, and still each end of a life.
Messages do not: a slow consumer makes the streams wait, and with them the senders.
"""

from collections import deque

import trio

from gossamer_mesh.drivers.config import MemberEvent

INBOX_MESSAGES_MAX = 1_024
INBOX_BYTES_MAX = 16 * 2**20
"""What waits for `Mesh.receive` at most; each stream holds one frame more."""


class MemberEvents:
    """At most two events wait per member: the end of a life, and the newest after it."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[MemberEvent]] = {}
        self._arrived = trio.lowlevel.ParkingLot()

    def put(self, event: MemberEvent) -> None:
        waiting = self._waiting.setdefault(event.member.id, [])
        if _ends(event):
            # Whatever was to be told of that life is over with it.
            waiting.clear()
        elif waiting and not _ends(waiting[-1]):
            earlier = waiting.pop()
            if earlier.kind == "joined":
                event = MemberEvent("joined", event.member)
        waiting.append(event)
        self._arrived.unpark()

    async def next(self) -> MemberEvent:
        """Waits for the oldest."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            await self._arrived.park()
        id = next(iter(self._waiting))
        event = self._waiting[id].pop(0)
        if not self._waiting[id]:
            del self._waiting[id]
        return event


class Inbox:
    """Messages from streams, in the order in which they were put."""

    def __init__(self) -> None:
        self._messages: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._taken = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._messages)

    async def put(self, sender: str, message: bytes) -> None:
        """Waits for room. An empty inbox has room for any message."""
        while self._messages and (
            len(self._messages) >= INBOX_MESSAGES_MAX
            or self._bytes + len(message) > INBOX_BYTES_MAX
        ):
            await self._taken.park()
        self._messages.append((sender, message))
        self._bytes += len(message)
        self._arrived.unpark()

    async def get(self) -> tuple[str, bytes]:
        """Waits for the next (sender, message)."""
        await trio.lowlevel.checkpoint()
        while not self._messages:
            await self._arrived.park()
        sender, message = self._messages.popleft()
        self._bytes -= len(message)
        self._taken.unpark_all()
        return sender, message


def _ends(event: MemberEvent) -> bool:
    return event.kind in ("died", "left")
