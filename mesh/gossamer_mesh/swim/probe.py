"""The parts of probing: whose turn it is, how one round goes, and how a ping for another does.

    prober ──PING──▶ target          no answer within the probe timeout:
    prober ──PING_REQUEST──▶ k relays ──PING──▶ target ──ACK──▶ relay ──ACK──▶ prober
                                relay ──NACK──▶ prober      the target is silent, our link is not
    prober ──PING over a stream──▶ target ──ACK──▶ prober
                                     half of what remained is over: k other relays, and again
    prober ──PING──▶ target          no answer within the probe interval: suspect

Whatever is lost once is said again by another way or at another moment, for a suspicion of a live
member takes up the whole mesh, and one more datagram nobody. Targets come in a shuffled round, so
each is probed once per N periods at the latest (SWIM §4.3).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.swim.rng import Rng

    Address = tuple[str, int]

DIRECT = "direct"
INDIRECT = "indirect"
ANSWERED = "answered"
FAILED = "failed"

STEPS = {
    (DIRECT, "ack"): ANSWERED,
    (DIRECT, "timeout"): INDIRECT,
    (INDIRECT, "nack"): INDIRECT,
    (INDIRECT, "again"): INDIRECT,
    (INDIRECT, "ack"): ANSWERED,
    (INDIRECT, "timeout"): FAILED,
}
"""(state of a round, what happened) → the next state. A round that is over takes nothing."""

RUNNING = (DIRECT, INDIRECT)

WAITING = "waiting"
REFUSED = "refused"
TOLD = "told"
OVER = "over"

RELAY_STEPS = {
    (WAITING, "ack"): TOLD,
    (WAITING, "timeout"): REFUSED,
    (REFUSED, "ack"): TOLD,
    (REFUSED, "timeout"): OVER,
}
"""(state of a ping for another, what happened) → the next state. Refused: the asker got our nack;
an answer that comes later is still handed on."""


class Round:
    """One probe of one member.

    Args:
        target: member id.
        sequence: which ACK answers it.
        asking_ms: when others are asked, for the first time and again (moments, not lengths).
        end_ms: when all has failed.
    """

    def __init__(self, target: str, sequence: int, asking_ms: list[int], end_ms: int) -> None:
        self.target = target
        self.sequence = sequence
        self.state = DIRECT
        self.asked: list[str] = []
        self.was_put_off = False
        self._unheard: list[str] = []
        self.timeouts = 0
        self._deadlines_ms = asking_ms + [end_ms]

    @property
    def timer_ms(self) -> int | None:
        return self._deadlines_ms[0] if self.state in RUNNING else None

    @property
    def unheard(self) -> list[str]:
        """Relays of which we heard nothing."""
        return self._unheard

    def take(self, happening: str) -> str:
        """Goes on by the table; returns the new state."""
        self.state = STEPS[(self.state, happening)]
        return self.state

    def take_timeout(self) -> str:
        """No answer by `timer_ms`; returns the new state."""
        self.timeouts += 1
        self._deadlines_ms.pop(0)
        is_again = self.state == INDIRECT and len(self._deadlines_ms) > 0
        return self.take("again" if is_again else "timeout")

    def ask(self, relays: list[str]) -> None:
        """These were asked to ping for us, some of them perhaps before."""
        for relay in relays:
            if relay not in self.asked:
                self.asked.append(relay)
                self._unheard.append(relay)

    def take_nack(self, sequence: int, relay: str) -> None:
        """A relay got no answer; each counts once."""
        if self.state == INDIRECT and sequence == self.sequence and relay in self._unheard:
            self._unheard.remove(relay)
            self.take("nack")

    def is_answered_by(self, sequence: int, target: str) -> bool:
        return self.state in RUNNING and sequence == self.sequence and target == self.target

    def put_off(self, by_ms: int) -> None:
        self.was_put_off = True
        self._deadlines_ms = [each + by_ms for each in self._deadlines_ms]


class Ring:
    """The shuffled order of those whose turn is still to come; all of them are present."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._coming: set[str] = set()

    def add(self, id: str, rng: "Rng") -> None:
        """A new member takes a random place in the running round."""
        if id not in self._coming:
            self._coming.add(id)
            self._ids.insert(rng.below(len(self._ids) + 1), id)

    def remove(self, id: str) -> None:
        """A member that is gone loses its turn."""
        if id in self._coming:
            self._coming.discard(id)
            self._ids.remove(id)

    def next(self, present: list[str], own_id: str, rng: "Rng") -> str | None:
        """Whose turn it is; a new round of all who are present begins when none is left."""
        if not self._ids:
            self._ids = [id for id in present if id != own_id]
            self._coming = set(self._ids)
            rng.shuffle(self._ids)
        if not self._ids:
            return None
        id = self._ids.pop()
        self._coming.discard(id)
        return id


class Relay:
    """One ping that we do for another.

    Args:
        target, place: whom we ping, and where.
        asker, asked_sequence: whom to tell, under which number.
        nack_ms: when to say that no answer came (a moment).
        end_ms: when to forget it.
    """

    def __init__(
        self,
        target: str,
        place: "Address",
        *,
        asker: "Address",
        asked_sequence: int,
        nack_ms: int,
        end_ms: int,
    ) -> None:
        self.target = target
        self.place = place
        self.asker = asker
        self.asked_sequence = asked_sequence
        self.state = WAITING
        self.deadline_ms = nack_ms
        self._end_ms = end_ms

    def take(self, happening: str) -> str:
        """Goes on by the table; returns the new state."""
        self.state = RELAY_STEPS[(self.state, happening)]
        self.deadline_ms = self._end_ms
        return self.state


class Relays:
    """Pings that we do for others: our sequence number → who wants to know.

    Args:
        running_max: further ones are refused, and the prober asks somebody else next time.
    """

    def __init__(self, running_max: int) -> None:
        self._running_max = running_max
        self._running: dict[int, Relay] = {}
        self._next_ms: int | None = None

    def __len__(self) -> int:
        return len(self._running)

    def start(self, sequence: int, relay: Relay) -> bool:
        """Remembers a ping for another; False when too many run."""
        if len(self._running) >= self._running_max:
            return False
        self._running[sequence] = relay
        if self._next_ms is None or relay.deadline_ms < self._next_ms:
            self._next_ms = relay.deadline_ms
        return True

    def answered(self, sequence: int, target: str) -> Relay | None:
        """The target answered: whom to tell, under which sequence number."""
        relay = self._running.get(sequence)
        if relay is None or relay.target != target:
            return None
        relay.take("ack")
        del self._running[sequence]
        return relay

    def timer_ms(self) -> int | None:
        """When `refused` has something to do; it may find that it has not."""
        return self._next_ms

    def refused(self, now_ms: int) -> list[tuple[int, Relay]]:
        """Those whose asker must hear now that no answer came, by our number. Forgets those that
        are over."""
        if self._next_ms is None or self._next_ms > now_ms:
            return []
        refused = []
        self._next_ms = None
        for sequence in sorted(self._running):
            relay = self._running[sequence]
            if relay.deadline_ms <= now_ms and relay.take("timeout") == REFUSED:
                refused.append((sequence, relay))
            if relay.state == REFUSED and relay.deadline_ms <= now_ms:
                relay.take("timeout")
            if relay.state == OVER:
                del self._running[sequence]
            elif self._next_ms is None or relay.deadline_ms < self._next_ms:
                self._next_ms = relay.deadline_ms
        return refused
