"""Who is probed when, by which way, and who has failed: `probe`'s parts put together.

The prober sends; what a failed probe means for the member is `protocol`'s.
"""

from gossamer_mesh.swim.codec import ACK, PING, PING_REQUEST
from gossamer_mesh.swim.probe import FAILED, INDIRECT, Relays, Ring, Round
from gossamer_mesh.swim.state import ALIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.swim.codec import Frame
    from gossamer_mesh.swim.config import Config
    from gossamer_mesh.swim.members import Member, Members
    from gossamer_mesh.swim.outbox import Outbox
    from gossamer_mesh.swim.rng import Rng

    Address = tuple[str, int]


class Prober:
    """One member's probes of others, and those that it does for others."""

    def __init__(
        self,
        *,
        config: "Config",
        rng: "Rng",
        members: "Members",
        outbox: "Outbox",
        next_sequence: "Callable[[], int]",
        count: "Callable[[str], None]",
        now_ms: int,
    ) -> None:
        self._config = config
        self._rng = rng
        self._members = members
        self._outbox = outbox
        self._next_sequence = next_sequence
        self._count = count
        self._ring = Ring()
        self._round: Round | None = None
        self._relays = Relays(config.relays_max)
        # Members that start together must not speak together.
        self._next_ms = now_ms + rng.below(config.probe_interval_ms)

    @property
    def relay_count(self) -> int:
        return len(self._relays)

    @property
    def timer_ms(self) -> int:
        """When `handle_timer` has something to do."""
        round_ms = None if self._round is None else self._round.timer_ms
        return self._next_ms if round_ms is None else round_ms

    def add(self, id: str) -> None:
        """A new member has its turn too."""
        self._ring.add(id, self._rng)

    def stop(self) -> None:
        """Who leaves judges nobody any more."""
        self._round = None

    def put_off(self, by_ms: int) -> None:
        """We were asleep: the answer may lie unread."""
        if self._round is not None:
            self._round.put_off(by_ms)

    def handle_timer(self, peers: list[str], now_ms: int) -> str | None:
        """Goes on with the running probe, begins the next; returns whose probe has failed."""
        failed = None
        current = self._round
        while current is not None and current.timer_ms is not None:
            if current.timer_ms > now_ms:
                return None
            outcome = current.take("timeout")
            if outcome == INDIRECT:
                self._ask_others(current, peers)
            elif outcome == FAILED:
                failed = current.target
        if self._next_ms > now_ms:
            return failed
        self._next_ms = now_ms + self._config.probe_interval_ms
        target = self._ring.next(peers, self._rng)
        member = None if target is None else self._members.get(target)
        if member is not None:
            sequence = self._next_sequence()
            timeout_ms = now_ms + self._config.probe_timeout_ms
            self._round = Round(member.id, sequence, timeout_ms, self._next_ms)
            self._count("probes")
            self._ping(member, sequence)
        return failed

    def handle_ack(self, frame: "Frame", *, by_stream: bool) -> None:
        """Somebody is alive: whom we probe, or whom another probes through us."""
        if self._round is not None and self._round.is_answered_by(frame.sequence, frame.target):
            self._round.take("ack")
            if by_stream:
                # Datagrams do not pass between us although streams do.
                self._count("probes_by_stream")
            return
        asked = self._relays.answered(frame.sequence, frame.target)
        if asked is not None and frame.sender == frame.target:
            asker, asked_sequence = asked
            self._outbox.send(ACK, asker, "", asked_sequence, target=frame.target)

    def relay(self, frame: "Frame", asker: "Address", now_ms: int) -> None:
        """Pings for another."""
        assert frame.address is not None  # the codec refuses a request without it
        sequence = self._next_sequence()
        if self._relays.start(
            sequence,
            frame.target,
            asker=asker,
            asked_sequence=frame.sequence,
            end_ms=now_ms + self._config.probe_interval_ms,
            now_ms=now_ms,
        ):
            self._outbox.send(PING, frame.address, frame.target, sequence, target=frame.target)
        else:
            self._count("relays_refused")

    def _ask_others(self, current: Round, peers: list[str]) -> None:
        """Through members that are alive, and over a stream."""
        target = self._members.get(current.target)
        if target is None:
            return
        others = [id for id in peers if id != target.id and self._is_alive(id)]
        for id in self._rng.sample(others, self._config.indirect_probes):
            relay = self._members.get(id)
            if relay is not None:
                self._outbox.send(
                    PING_REQUEST,
                    relay.address,
                    id,
                    current.sequence,
                    target=target.id,
                    place=target.address,
                )
        self._ping(target, current.sequence, by_stream=True)

    def _ping(self, member: "Member", sequence: int, *, by_stream: bool = False) -> None:
        self._outbox.send(
            PING, member.address, member.id, sequence, target=member.id, by_stream=by_stream
        )

    def _is_alive(self, id: str) -> bool:
        member = self._members.get(id)
        return member is not None and member.state == ALIVE
