"""A datagram network in virtual time that loses, delays, reorders, duplicates and parts.

Everything is drawn from one seeded generator, so a seed repeats a run to the byte.
"""

from collections.abc import Callable, Iterable

from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.testing.clock import VirtualClock

Address = tuple[str, int]
Receiver = Callable[[bytes, Address], None]


class Network:
    """Carries datagrams between addresses. Its faults are attributes, changed at any time.

    Attributes:
        loss_percent: of datagrams, each by itself.
        duplicate_percent: of datagrams that arrive twice.
        delay_ms: least and greatest; each datagram draws its own, so they overtake each other.
        carried, lost: datagrams so far; `carried_bytes` their sizes.
    """

    def __init__(self, clock: VirtualClock, rng: Rng) -> None:
        self._clock = clock
        self._rng = rng
        self._receivers: dict[Address, Receiver] = {}
        self._side_of: dict[Address, int] = {}
        self._cut: set[tuple[Address, Address]] = set()
        self.loss_percent = 0
        self.duplicate_percent = 0
        self.delay_ms = (1, 5)
        self.carried = 0
        self.carried_bytes = 0
        self.lost = 0

    def attach(self, address: Address, receiver: Receiver) -> None:
        """`receiver(data, source)` is called for what arrives at `address`."""
        self._receivers[address] = receiver

    def detach(self, address: Address) -> None:
        """What arrives there is lost from now on."""
        self._receivers.pop(address, None)

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
