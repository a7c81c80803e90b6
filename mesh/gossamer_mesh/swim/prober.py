"""Who is probed when, by which way, and who has failed: `probe`'s parts put together.

How long a member may take to answer, and how often we ask, grows with what speaks against our
own health (`awareness`). The prober sends; what a failed probe means is `protocol`'s.
"""

from gossamer_mesh.swim import awareness
from gossamer_mesh.swim.codec import ACK, NACK, PING, PING_REQUEST
from gossamer_mesh.swim.config import asking_ms as asking_ms_of
from gossamer_mesh.swim.config import nack_after_ms
from gossamer_mesh.swim.probe import FAILED, INDIRECT, Relay, Relays, Ring, Round
from gossamer_mesh.swim.state import ALIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.swim.awareness import Awareness
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
        node_id: str,
        config: "Config",
        rng: "Rng",
        members: "Members",
        outbox: "Outbox",
        health: "Awareness",
        next_sequence: "Callable[[], int]",
        count: "Callable[[str], None]",
        now_ms: int,
    ) -> None:
        self._node_id = node_id
        self._config = config
        self._rng = rng
        self._members = members
        self._outbox = outbox
        self._health = health
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
        next_ms = self._next_ms if round_ms is None else round_ms
        relays_ms = self._relays.timer_ms()
        return next_ms if relays_ms is None else min(next_ms, relays_ms)

    def add(self, id: str) -> None:
        """A new member has its turn too."""
        self._ring.add(id, self._rng)

    def remove(self, id: str) -> None:
        """A member that is gone has none any more."""
        self._ring.remove(id)

    def stop(self) -> None:
        """Who leaves judges nobody any more."""
        self._round = None

    def put_off(self, by_ms: int) -> None:
        """We were asleep: the answer may lie unread."""
        if self._round is not None:
            self._round.put_off(by_ms)

    def handle_timer(self, now_ms: int) -> str | None:
        """Goes on with the running probe, begins the next; returns whose probe has failed."""
        for sequence, relay in self._relays.refused(now_ms):
            self._outbox.send(NACK, relay.asker, "", relay.asked_sequence, target=relay.target)
            if self._config.indirect_rounds > 1:
                self._outbox.send(PING, relay.place, relay.target, sequence, target=relay.target)
        failed = None
        current = self._round
        while current is not None and current.timer_ms is not None:
            if current.timer_ms > now_ms:
                return None
            outcome = current.take_timeout()
            if outcome == INDIRECT:
                self._ask_others(current)
            elif outcome == FAILED:
                failed = current.target
                self._take_failure(current)
        if self._next_ms <= now_ms:
            self._begin(now_ms)
        return failed

    def answer(self, frame: "Frame", address: "Address", *, by_stream: bool) -> None:
        """We are alive: said the way the ping came."""
        sequence = frame.sequence
        self._outbox.send(
            ACK, address, frame.sender, sequence, target=self._node_id, by_stream=by_stream
        )

    def handle_ack(self, frame: "Frame", *, by_stream: bool) -> None:
        """Somebody is alive: whom we probe, or whom another probes through us."""
        current = self._round
        if current is not None and current.is_answered_by(frame.sequence, frame.target):
            current.take("ack")
            if not current.was_put_off:
                # Otherwise it says nothing of how quick we are.
                self._health.take(awareness.ANSWERED)
            if by_stream:
                # Datagrams do not pass between us although streams do.
                self._count("probes_by_stream")
        elif frame.sender == frame.target:
            relay = self._relays.answered(frame.sequence, frame.target)
            if relay is not None:
                sequence = relay.asked_sequence
                self._outbox.send(ACK, relay.asker, "", sequence, target=frame.target)

    def handle_nack(self, frame: "Frame") -> None:
        """A relay got no answer; but it heard us, and we hear it."""
        if self._round is not None:
            self._round.take_nack(frame.sequence, frame.sender)

    def relay(self, frame: "Frame", asker: "Address", now_ms: int) -> None:
        """Pings for another."""
        assert frame.address is not None  # the codec refuses a request without it
        sequence = self._next_sequence()
        relay = Relay(
            frame.target,
            frame.address,
            asker=asker,
            asked_sequence=frame.sequence,
            nack_ms=now_ms + nack_after_ms(self._config),
            end_ms=now_ms + self._config.probe_interval_ms,
        )
        if self._relays.start(sequence, relay):
            self._outbox.send(PING, frame.address, frame.target, sequence, target=frame.target)
        else:
            self._count("relays_refused")

    def _begin(self, now_ms: int) -> None:
        self._next_ms = now_ms + self._health.scale(self._config.probe_interval_ms)
        target = self._ring.next(self._members.present(), self._node_id, self._rng)
        member = None if target is None else self._members.get(target)
        if member is None:
            return
        asking_ms = [now_ms + self._health.scale(each) for each in asking_ms_of(self._config)]
        self._round = Round(member.id, self._next_sequence(), asking_ms, self._next_ms)
        self._count("probes")
        self._ping(member, self._round.sequence)

    def _ask_others(self, current: Round) -> None:
        """Through members that are alive, the first time over a stream too, then directly again."""
        target = self._members.get(current.target)
        if target is None or not target.is_present:
            return
        target_id = target.id
        wanted = self._config.indirect_probes
        relays = self._members.draw(
            self._rng,
            wanted,
            is_wanted=lambda member: (
                member.state == ALIVE and member.id != target_id and member.id not in current.asked
            ),
        )
        for id in current.asked:
            # In a small mesh there are no others.
            again = self._members.get(id)
            if len(relays) < wanted and again is not None and again.state == ALIVE:
                relays.append(again)
        current.ask([relay.id for relay in relays])
        for relay in relays:
            self._outbox.send(
                PING_REQUEST,
                relay.address,
                relay.id,
                current.sequence,
                target=target_id,
                place=target.address,
            )
        if self._config.indirect_rounds > 1:
            self._ping(target, current.sequence)
        if current.timeouts == 1:
            self._ping(target, current.sequence, by_stream=True)

    def _take_failure(self, current: Round) -> None:
        """With relays that answered nothing came of it by the target's fault, not by ours."""
        self._count("probes_failed")
        if not current.asked:
            self._health.take(awareness.FAILED)
            return
        for id in current.unheard:
            relay = self._members.get(id)
            if relay is not None and relay.state == ALIVE:
                # One that is dead itself says nothing either.
                self._health.take(awareness.NACK_MISSING)

    def _ping(self, member: "Member", sequence: int, *, by_stream: bool = False) -> None:
        self._outbox.send(
            PING, member.address, member.id, sequence, target=member.id, by_stream=by_stream
        )
