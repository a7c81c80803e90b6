"""A network in virtual time: datagrams are lost, delayed, reordered, doubled and parted.

Streams carry frames whole and in order, later where datagrams are lost, unless their ends are
parted, cut in either direction, or the far end is down: then a frame is lost without a word. They
are of two kinds, as in the driver: one short stream for each frame of the membership, and one long
stream from a member to another for messages. When that breaks, all that is under way is lost, and
the next message takes a new one.

Everything is drawn from one seeded generator, so a seed repeats a run to the byte.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
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

REMEMBERED_EACH = 97
REMEMBERED_MAX = 32
"""One datagram in so many is remembered, the newest of them."""


class Network:
    """Carries datagrams between addresses. Its faults are attributes, changed at any time.

    Attributes:
        loss_percent: of datagrams, each by itself.
        duplicate_percent: of datagrams that arrive twice.
        delay_ms: least and greatest; each datagram draws its own, so they overtake each other.
        carried, lost: datagrams so far; `carried_bytes` their sizes.
        stream_carried, stream_carried_bytes: the same of stream frames.
    """

    def __init__(self, clock: "VirtualClock", rng: "Rng") -> None:
        self._clock = clock
        self._rng = rng
        self._receivers: dict[Address, Receiver] = {}
        self._stream_receivers: dict[Address, StreamReceiver] = {}
        self._stream_ends_ms: dict[tuple[Address, Address], int] = {}
        self._message_receivers: dict[Address, StreamReceiver] = {}
        self._messages_end_ms: dict[tuple[Address, Address], int] = {}
        self._streams_broken: dict[tuple[Address, Address], int] = {}
        self._remembered: list[tuple[bytes, Address]] = []
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

    def attach(
        self,
        address: "Address",
        receiver: "Receiver",
        stream_receiver: "StreamReceiver | None" = None,
        message_receiver: "StreamReceiver | None" = None,
    ) -> None:
        """`receiver(data, source)` is called for a datagram that arrives at `address`,
        `stream_receiver(data, sender_id)` for a frame over a stream, `message_receiver` alike."""
        self._receivers[address] = receiver
        if stream_receiver is not None:
            self._stream_receivers[address] = stream_receiver
        if message_receiver is not None:
            self._message_receivers[address] = message_receiver

    def detach(self, address: "Address") -> None:
        """What arrives there is lost from now on."""
        self._receivers.pop(address, None)
        self._stream_receivers.pop(address, None)
        self._message_receivers.pop(address, None)
        self.break_streams(address)

    def part(self, sides: "Iterable[Iterable[Address]]") -> None:
        """Nothing crosses between sides; addresses on no side form one of their own."""
        self._side_of = {}
        for number, side in enumerate(sides, start=1):
            for address in side:
                self._side_of[address] = number
        self._break_parted()

    def cut(self, source: "Address", destination: "Address") -> None:
        """Nothing goes this one way."""
        self._cut.add((source, destination))
        self._break_parted()

    def break_streams(self, address: "Address", other: "Address | None" = None) -> None:
        """Messages under way from and to `address` are lost: all of them, or those of one other."""
        for pair in self._messages_end_ms:
            if address in pair and (other is None or other in pair):
                self._streams_broken[pair] = self._streams_broken.get(pair, 0) + 1

    def heal(self) -> None:
        """Ends all partitions and cuts."""
        self._side_of = {}
        self._cut = set()

    def send(self, data: bytes, source: "Address", destination: "Address") -> None:
        """One datagram on its way."""
        self.carried += 1
        self.carried_bytes += len(data)
        if self.carried % REMEMBERED_EACH == 0:
            self._remembered = self._remembered[1 - REMEMBERED_MAX :]
            self._remembered.append((data, source))
        copies = 2 if self._rng.below(100) < self.duplicate_percent else 1
        for _ in range(copies):
            if self._rng.below(100) < self.loss_percent or not self._joins(source, destination):
                self.lost += 1
                continue
            least, greatest = self.delay_ms
            at_ms = self._clock.now_ms + least + self._rng.below(greatest - least + 1)
            self._clock.call_at(at_ms, lambda: self._deliver(data, source, destination))

    def remembered(self) -> "list[tuple[bytes, Address]]":
        """Some of the datagrams so far, each with its source: what a listener could send again."""
        return list(self._remembered)

    def send_stream_frame(
        self, data: bytes, source: "Address", destination: "Address", sender_id: str
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
        self, data: bytes, source: "Address", destination: "Address", sender_id: str
    ) -> None:
        receiver = self._stream_receivers.get(destination)
        # A stream needs both directions.
        there, back = self._joins(source, destination), self._joins(destination, source)
        if receiver is not None and there and back:
            receiver(data, sender_id)

    def send_message(
        self, data: bytes, source: "Address", destination: "Address", sender_id: str
    ) -> None:
        """One message on the long stream between two members; lost where there can be none."""
        pair = (source, destination)
        least, greatest = self.delay_ms
        at_ms = self._clock.now_ms + least + self._rng.below(greatest - least + 1)
        if self._rng.below(100) < self.loss_percent:
            at_ms += STREAM_RETRY_MS
        at_ms = max(at_ms, self._messages_end_ms.get(pair, 0))
        self._messages_end_ms[pair] = at_ms
        stream = self._streams_broken.get(pair, 0)
        self._clock.call_at(at_ms, lambda: self._deliver_message(data, pair, stream, sender_id))

    def _deliver_message(
        self, data: bytes, pair: "tuple[Address, Address]", stream: int, sender_id: str
    ) -> None:
        source, destination = pair
        receiver = self._message_receivers.get(destination)
        there, back = self._joins(source, destination), self._joins(destination, source)
        is_whole = stream == self._streams_broken.get(pair, 0)
        if receiver is not None and there and back and is_whole:
            receiver(data, sender_id)

    def _break_parted(self) -> None:
        for source, destination in sorted(self._messages_end_ms):
            if not self._joins(source, destination):
                self.break_streams(source, destination)

    def _joins(self, source: "Address", destination: "Address") -> bool:
        if (source, destination) in self._cut:
            return False
        return self._side_of.get(source, 0) == self._side_of.get(destination, 0)

    def _deliver(self, data: bytes, source: "Address", destination: "Address") -> None:
        receiver = self._receivers.get(destination)
        if receiver is None:
            self.lost += 1
        else:
            receiver(data, source)
