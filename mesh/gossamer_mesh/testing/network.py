"""A network in virtual time: datagrams are lost, delayed, reordered, doubled and parted.

Streams carry frames whole and in order, later where datagrams are lost, unless their ends are
parted, cut in either direction, or the far end is down: then a frame is lost without a word.

Everything is drawn from one seeded generator, so a seed repeats a run to the byte.
"""

from collections.abc import Callable, Iterable

from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.testing.clock import VirtualClock

Address = tuple[str, int]
Receiver = Callable[[bytes, Address], None]
StreamReceiver = Callable[[bytes, str], None]

STREAM_ROUND_TRIPS = 3
"""TCP's and TLS 1.3's handshakes, and the frame itself."""

STREAM_FIRST_RETRY_MS = 1_000
STREAM_RETRY_MS = 200
"""What a round trip takes longer when TCP must send again, at first and later (Linux)."""


class Network:
    """Carries datagrams between addresses. Its faults are attributes, changed at any time.

    Attributes:
        loss_percent: of datagrams, each by itself.
        duplicate_percent: of datagrams that arrive twice.
        delay_ms: least and greatest; each datagram draws its own, so they overtake each other.
        carried, lost: datagrams so far; `carried_bytes` their sizes.
        stream_carried, stream_lost, stream_carried_bytes: the same of stream frames.
    """

    def __init__(self, clock: VirtualClock, rng: Rng) -> None:
        self._clock = clock
        self._rng = rng
        self._receivers: dict[Address, Receiver] = {}
        self._stream_receivers: dict[Address, StreamReceiver] = {}
        self._stream_ends_ms: dict[tuple[Address, Address], int] = {}
        self._side_of: dict[Address, int] = {}
        self._cut: set[tuple[Address, Address]] = set()
        self.loss_percent = 0
        self.duplicate_percent = 0
        self.delay_ms = (1, 5)
        self.carried = 0
        self.carried_bytes = 0
        self.lost = 0
        self.stream_carried = 0
        self.stream_carried_bytes = 0
        self.stream_lost = 0

    def attach(
        self, address: Address, receiver: Receiver, stream_receiver: StreamReceiver | None = None
    ) -> None:
        """`receiver(data, source)` is called for a datagram that arrives at `address`,
        `stream_receiver(data, sender_id)` for a frame over a stream."""
        self._receivers[address] = receiver
        if stream_receiver is not None:
            self._stream_receivers[address] = stream_receiver

    def detach(self, address: Address) -> None:
        """What arrives there is lost from now on."""
        self._receivers.pop(address, None)
        self._stream_receivers.pop(address, None)

    def part(self, sides: Iterable[Iterable[Address]]) -> None:
        """Nothing crosses between sides; addresses on no side form one of their own."""
        self._side_of = {
            address: number for number, side in enumerate(sides, start=1) for address in side
        }

    def cut(self, source: Address, destination: Address) -> None:
        """Nothing goes this one way."""
        self._cut.add((source, destination))

    def heal(self) -> None:
        """Ends all partitions and cuts."""
        self._side_of = {}
        self._cut = set()

    def send(self, data: bytes, source: Address, destination: Address) -> None:
        """One datagram on its way."""
        self.carried += 1
        self.carried_bytes += len(data)
        copies = 2 if self._rng.below(100) < self.duplicate_percent else 1
        for _ in range(copies):
            if self._rng.below(100) < self.loss_percent or not self._joins(source, destination):
                self.lost += 1
                continue
            least, greatest = self.delay_ms
            at_ms = self._clock.now_ms + least + self._rng.below(greatest - least + 1)
            self._clock.call_at(at_ms, lambda: self._deliver(data, source, destination))

    def send_stream_frame(
        self, data: bytes, source: Address, destination: Address, sender_id: str
    ) -> None:
        """One frame over a stream, whose far end sees that `sender_id` sent it."""
        self.stream_carried += 1
        self.stream_carried_bytes += len(data)
        at_ms = self._clock.now_ms
        least, greatest = self.delay_ms
        retry_ms = STREAM_FIRST_RETRY_MS
        for _ in range(2 * STREAM_ROUND_TRIPS):
            at_ms += least + self._rng.below(greatest - least + 1)
            if self._rng.below(100) < self.loss_percent:
                at_ms += retry_ms
            retry_ms = STREAM_RETRY_MS
        at_ms = max(at_ms, self._stream_ends_ms.get((source, destination), 0))
        self._stream_ends_ms[(source, destination)] = at_ms
        self._clock.call_at(
            at_ms, lambda: self._deliver_stream_frame(data, source, destination, sender_id)
        )

    def _deliver_stream_frame(
        self, data: bytes, source: Address, destination: Address, sender_id: str
    ) -> None:
        receiver = self._stream_receivers.get(destination)
        # A stream needs both directions.
        there, back = self._joins(source, destination), self._joins(destination, source)
        if receiver is None or not there or not back:
            self.stream_lost += 1
        else:
            receiver(data, sender_id)

    def _joins(self, source: Address, destination: Address) -> bool:
        if (source, destination) in self._cut:
            return False
        return self._side_of.get(source, 0) == self._side_of.get(destination, 0)

    def _deliver(self, data: bytes, source: Address, destination: Address) -> None:
        receiver = self._receivers.get(destination)
        if receiver is None:
            self.lost += 1
        else:
            receiver(data, source)
