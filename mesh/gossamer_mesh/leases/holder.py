"""The holder's side: credit out, jobs in; each outcome kept until a claimer has acknowledged it.

Rules:

1. It offers what it can start now, to the claimer of each group. A slot may be offered to several
   groups at once; a grant that finds no slot is refused, which costs a message and no run.
2. Once accepted, a lease is named in every heartbeat until it is settled, revoked or handed back,
   to the claimer that granted it while that one lives, also when another claims by now.
3. An outcome goes to the lease's claimer, or, when that one is gone, to whoever claims for the
   group now; it is repeated until it is answered. Kept outcomes are bounded: beyond, no credit.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.messages import (
    Accept,
    Grant,
    HandBack,
    Heartbeat,
    LeaseId,
    Offer,
    OutcomeReport,
    Prolong,
    Refuse,
    Revoke,
    Settled,
    TopicTerms,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import Message

RUNNING = "running"
"""The worker has it."""
FINISHED = "finished"
"""Its outcome waits for an acknowledgement."""


class Run:
    """Start a worker on `payload`; end by `finish` or `hand_back`."""

    __slots__ = ("lease", "payload", "remaining_ms", "topic")

    def __init__(self, grant: Grant) -> None:
        self.lease = grant.lease
        self.topic = grant.topic
        self.payload = grant.payload
        self.remaining_ms = grant.remaining_ms


class Cancel:
    """Stop the worker of a lease that is void; nothing is to be answered."""

    __slots__ = ("lease", "reason")

    def __init__(self, lease: LeaseId, reason: str) -> None:
        self.lease = lease
        self.reason = reason


class Acknowledged:
    """An outcome has been dealt with; `result` is the claimer's word for how."""

    __slots__ = ("lease", "result")

    def __init__(self, lease: LeaseId, result: str) -> None:
        self.lease = lease
        self.result = result


class _Held:
    """A lease on this side."""

    __slots__ = (
        "claimer_session",
        "lease",
        "outcome",
        "payload_bytes",
        "receipt",
        "repeat_at_ms",
        "state",
        "topic",
    )

    def __init__(self, grant: Grant) -> None:
        self.lease = grant.lease
        self.claimer_session = grant.claimer_session
        self.topic = grant.topic
        self.receipt = grant.receipt
        self.payload_bytes = len(grant.payload)
        self.state = RUNNING
        self.outcome = b""
        self.repeat_at_ms = 0


class _Peer:
    """A claimer of one group, as far as credit goes."""

    __slots__ = ("grants_seen", "session")

    def __init__(self) -> None:
        self.session = 0
        self.grants_seen = 0


class Holder:
    """One member's holder, for all claim groups.

    Args:
        session: a number that another run of this process will not have.
        slots: jobs that may run at once.
        payload_bytes_max: bytes of payload that may be held at once.
        config: bounds and intervals.
    """

    def __init__(
        self, session: int, slots: int, payload_bytes_max: int, config: LeaseConfig
    ) -> None:
        self._session = session
        self._slots = slots
        self._payload_bytes_max = payload_bytes_max
        self._config = config
        self._sequence = 0
        self._draining = False
        self._topics: dict[str, list[TopicTerms]] = {}
        self._claimers: dict[str, str] = {}
        self._members: set[str] = set()
        self._peers: dict[tuple[str, str], _Peer] = {}
        self._held: dict[LeaseId, _Held] = {}
        self._running = 0
        self._payload_bytes = 0
        self._credit_changed = False
        self._heartbeat_at_ms: int | None = None
        self._messages: list[tuple[str, Message]] = []
        self._events: list[Run | Cancel | Acknowledged] = []

    # --- commands

    def serve(self, group: str, topics: "list[TopicTerms]") -> None:
        """Says which topics of a group this member works on; an empty list ends it."""
        if topics:
            self._topics[group] = sorted(topics, key=lambda one: one.name)
        else:
            self._topics.pop(group, None)
        self._heartbeat_at_ms = 0

    def set_claimer(self, group: str, member_id: "str | None") -> None:
        """Says who claims for a group now; None when nobody reaches its engine."""
        if self._claimers.get(group) == member_id:
            return
        if member_id is None:
            del self._claimers[group]
        else:
            self._claimers[group] = member_id
        self._heartbeat_at_ms = 0

    def set_members(self, member_ids: "set[str]") -> None:
        """Says who is alive, this member included: outcomes go to nobody else."""
        self._members = set(member_ids)

    def finish(self, lease: LeaseId, outcome: bytes, now_ms: int) -> None:
        """The worker is done. The outcome is sent, and kept until it is acknowledged.

        A lease that was revoked in the meantime is ignored.

        Raises: MisuseError, nothing changed, for an outcome over `outcome_bytes_max`.
        """
        if len(outcome) > self._config.outcome_bytes_max:
            raise MisuseError(
                f"an outcome of {len(outcome)} bytes; at most {self._config.outcome_bytes_max}"
            )
        held = self._held.get(lease)
        if held is None or held.state != RUNNING:
            return
        held.state = FINISHED
        held.outcome = outcome
        self._free(held)
        self._send_outcome(held, now_ms)

    def hand_back(self, lease: LeaseId) -> None:
        """Gives a job back unworked: this member is stopping. Another may have it at once."""
        held = self._held.get(lease)
        if held is None or held.state != RUNNING:
            return
        del self._held[lease]
        self._free(held)
        self._send(lease.claimer, HandBack(lease, "this node is stopping"))

    def prolong(self, lease: LeaseId, lock_ms: int) -> bool:
        """Asks for a longer engine lock. False when the lease is not ours any more."""
        held = self._held.get(lease)
        if held is None or held.state != RUNNING:
            return False
        self._send(lease.claimer, Prolong(lease, lock_ms))
        return True

    def drain(self) -> None:
        """Takes no more work: every further grant is refused, every offer is of nothing."""
        self._draining = True
        self._credit_changed = True

    # --- what the mesh says

    def receive_message(self, sender: str, message: "Message", now_ms: int) -> None:
        """Takes a claimer's message. One that fits nothing is ignored, never raised."""
        if isinstance(message, Grant):
            self._receive_grant(sender, message)
        elif isinstance(message, Settled):
            held = self._held.get(message.lease)
            if held is not None:
                self._drop(held)
                self._events.append(Acknowledged(message.lease, message.reason))
        elif isinstance(message, Revoke) and sender == message.lease.claimer:
            held = self._held.get(message.lease)
            if held is not None:
                was_running = held.state == RUNNING
                self._drop(held)
                if was_running:
                    self._events.append(Cancel(message.lease, message.reason))

    # --- time

    def handle_timer(self, now_ms: int) -> None:
        """Sends what is due: credit that changed, heartbeats, outcomes without an answer."""
        if self._heartbeat_at_ms is None or now_ms >= self._heartbeat_at_ms:
            self._send_heartbeats()
            self._credit_changed = True
            self._heartbeat_at_ms = now_ms + self._config.heartbeat_ms
        if self._credit_changed:
            self._credit_changed = False
            self._send_offers()
        for held in list(self._held.values()):
            if held.state == FINISHED and now_ms >= held.repeat_at_ms:
                self._send_outcome(held, now_ms)

    def get_timer(self) -> int:
        """When `handle_timer` is next due: 0 for at once."""
        if self._heartbeat_at_ms is None or self._credit_changed:
            return 0
        repeats = [one.repeat_at_ms for one in self._held.values() if one.state == FINISHED]
        return min([self._heartbeat_at_ms, *repeats])

    # --- output

    def messages_to_send(self) -> "list[tuple[str, Message]]":
        """Messages with the member that each is for, in order; taken once."""
        messages, self._messages = self._messages, []
        return messages

    def events(self) -> "list[Run | Cancel | Acknowledged]":
        """What the driver is to do, in order; taken once."""
        events, self._events = self._events, []
        return events

    def slots_free(self) -> int:
        """Jobs that could start now."""
        if self._draining:
            return 0
        room = self._config.outcomes_kept_max - len(self._held)
        return max(0, min(self._slots - self._running, room))

    def statistics(self) -> dict[str, int]:
        """How many jobs run, and how many outcomes wait for an acknowledgement."""
        return {
            "slots": self._slots,
            "running": self._running,
            "unacknowledged": len(self._held) - self._running,
        }

    # --- inside

    def _receive_grant(self, sender: str, grant: Grant) -> None:
        if sender != grant.lease.claimer:
            return
        peer = self._peers.setdefault((sender, grant.lease.group), _Peer())
        if peer.session != grant.claimer_session:
            peer.session, peer.grants_seen = grant.claimer_session, 0
        peer.grants_seen += 1
        self._credit_changed = True
        refusal = self._refusal(grant)
        if refusal:
            self._send(sender, Refuse(grant.lease, refusal))
            return
        self._send(sender, Accept(grant.lease))
        if grant.lease not in self._held:
            held = self._held[grant.lease] = _Held(grant)
            self._running += 1
            self._payload_bytes += held.payload_bytes
            self._events.append(Run(grant))

    def _refusal(self, grant: Grant) -> str:
        if grant.lease in self._held:
            return ""
        if self._draining:
            return "this node is stopping"
        if not any(one.name == grant.topic for one in self._topics.get(grant.lease.group, [])):
            return f"no service here works on {grant.topic}"
        if self.slots_free() == 0:
            return "no free slot"
        return ""

    def _free(self, held: _Held) -> None:
        self._running -= 1
        self._payload_bytes -= held.payload_bytes
        self._credit_changed = True

    def _drop(self, held: _Held) -> None:
        del self._held[held.lease]
        if held.state == RUNNING:
            self._free(held)
        self._credit_changed = True

    def _send_outcome(self, held: _Held, now_ms: int) -> None:
        held.repeat_at_ms = now_ms + self._config.repeat_ms
        to = held.lease.claimer
        if to not in self._members:
            to = self._claimers.get(held.lease.group, "")
        if to:
            self._send(
                to,
                OutcomeReport(
                    held.lease, held.claimer_session, held.topic, held.receipt, held.outcome
                ),
            )

    def _send_heartbeats(self) -> None:
        for member_id, group in self._audience():
            self._sequence += 1
            leases = [one for one in self._held if one.group == group and one.claimer == member_id]
            topics = self._topics.get(group, [])
            self._send(member_id, Heartbeat(group, self._session, self._sequence, topics, leases))

    def _send_offers(self) -> None:
        free = self.slots_free()
        for member_id, group in self._audience():
            peer = self._peers.get((member_id, group)) or _Peer()
            self._sequence += 1
            claims = self._claimers.get(group) == member_id
            self._send(
                member_id,
                Offer(
                    group,
                    self._session,
                    self._sequence,
                    free if claims else 0,
                    max(0, self._payload_bytes_max - self._payload_bytes),
                    peer.session,
                    peer.grants_seen,
                ),
            )

    def _audience(self) -> "list[tuple[str, str]]":
        """(claimer, group) pairs to keep informed: those that claim, and those we hold from."""
        pairs = {
            (member_id, group)
            for group, member_id in self._claimers.items()
            if group in self._topics
        }
        pairs |= {(one.claimer, one.group) for one in self._held if one.claimer in self._members}
        return sorted(pairs)

    def _send(self, member_id: str, message: "Message") -> None:
        self._messages.append((member_id, message))
