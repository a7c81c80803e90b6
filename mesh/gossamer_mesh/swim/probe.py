"""Probing: whose turn it is, how one round goes, and pings done for others.

    prober ──PING──▶ target          no answer within probe_timeout_ms:
    prober ──PING_REQUEST──▶ k relays ──PING──▶ target ──ACK──▶ relay ──ACK──▶ prober
                                      no answer within probe_interval_ms: suspect

Targets come in a shuffled round, so each is probed once per N periods at the latest (SWIM §4.3).
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
    (INDIRECT, "ack"): ANSWERED,
    (INDIRECT, "timeout"): FAILED,
}
"""(state of a round, what happened) → the next state. A round that is over takes nothing."""


class Round:
    """One probe of one member.

    Args:
        target: member id.
        sequence: which ACK answers it.
        timeout_ms: when the direct ping has failed (a moment, not a length).
        end_ms: when all has failed.
    """

    def __init__(self, target: str, sequence: int, timeout_ms: int, end_ms: int) -> None:
        self.target = target
        self.sequence = sequence
        self.state = DIRECT
        self._deadline_ms = timeout_ms
        self._end_ms = end_ms

    @property
    def timer_ms(self) -> int | None:
        return self._deadline_ms if self.state in (DIRECT, INDIRECT) else None

    def take(self, happening: str) -> str:
        """Goes on by the table; returns the new state."""
        self.state = STEPS[(self.state, happening)]
        self._deadline_ms = self._end_ms
        return self.state

    def is_answered_by(self, sequence: int, target: str) -> bool:
        return (
            self.state in (DIRECT, INDIRECT) and sequence == self.sequence and target == self.target
        )

    def put_off(self, by_ms: int) -> None:
        self._deadline_ms += by_ms
        self._end_ms += by_ms


class Ring:
    """The shuffled order of targets."""

    def __init__(self) -> None:
        self._ids: list[str] = []

    def add(self, id: str, rng: "Rng") -> None:
        """A new member takes a random place in the running round."""
        if id not in self._ids:
            self._ids.insert(rng.below(len(self._ids) + 1), id)

    def next(self, candidates: list[str], rng: "Rng") -> str | None:
        """Whose turn it is among `candidates`; None when there are none."""
        while self._ids:
            id = self._ids.pop()
            if id in candidates:
                return id
        self._ids = list(candidates)
        rng.shuffle(self._ids)
        return self._ids.pop() if self._ids else None


class Relays:
    """Pings that we do for others: our sequence number → who wants to know.

    Args:
        running_max: further ones are refused, and the prober asks somebody else next time.
    """

    def __init__(self, running_max: int) -> None:
        self._running_max = running_max
        self._running: dict[int, _Relay] = {}

    def __len__(self) -> int:
        return len(self._running)

    def start(
        self,
        sequence: int,
        target: str,
        *,
        asker: "Address",
        asked_sequence: int,
        end_ms: int,
        now_ms: int,
    ) -> bool:
        """Remembers a ping for `asker`; False when too many run."""
        for old in [key for key in self._running if self._running[key].end_ms <= now_ms]:
            del self._running[old]
        if len(self._running) >= self._running_max:
            return False
        self._running[sequence] = _Relay(target, asker, asked_sequence, end_ms)
        return True

    def answered(self, sequence: int, target: str) -> "tuple[Address, int] | None":
        """The target answered: whom to tell, under which sequence number."""
        relay = self._running.get(sequence)
        if relay is None or relay.target != target:
            return None
        del self._running[sequence]
        return relay.asker, relay.asked_sequence


class _Relay:
    def __init__(self, target: str, asker: "Address", asked_sequence: int, end_ms: int) -> None:
        self.target = target
        self.asker = asker
        self.asked_sequence = asked_sequence
        self.end_ms = end_ms
