"""The holder's side: credit out, jobs in; each outcome kept until a claimer has acknowledged it.

Rules:

1. It offers what it can start now, to the claimers of its groups, each slot to one of them
   (`shares`). A grant that finds no slot all the same, as it was on its way while a share became
   smaller, is refused, which costs a message and no run.
2. Each lease has one claimer that answers for it: the one that granted it, while that lives, also
   when another claims by now; then whoever claims for the group, or offers to `Inherit` it. The
   holder decides, and stays with its choice while that one lives. In every heartbeat it names the
   lease to its claimer, until it is settled, revoked or handed back; and to those that answered for
   it before, should they live after all, as moved. A claimer may hand the lease over while it
   lives: its heir says so (`Inherit`), or, should that be lost, it says so itself (`Yield`).
3. An outcome goes to the lease's claimer, or, when that one does not answer, to whoever claims for
   the group now; it is repeated until it is answered.
4. What runs and what is kept are bounded, in number and in bytes: beyond, no credit, and a grant is
   refused. Only an outcome may go over the bytes, as the work is done.
5. Of one claimer, grants are taken in the order of their counters: one that comes late or twice is
   refused, so that nothing runs a second time.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.lease_id import in_order
from gossamer_mesh.leases.messages import (
    PROGRESS_CHARS_MAX,
    PROGRESS_MAX,
    TOPICS_MAX,
    Accept,
    Grant,
    HandBack,
    Heartbeat,
    Inherit,
    Inherited,
    Keep,
    LeaseId,
    Offer,
    OutcomeReport,
    Prolong,
    Refuse,
    Revoke,
    Settled,
    TopicTerms,
    Yield,
)
from gossamer_mesh.leases.shares import Shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import Message


FORMER_MAX = 4
"""Earlier claimers of one lease that are told that it has moved, should they live after all."""

PEERS_KEPT_MAX = 1_024
"""Claimers whose newest grant is remembered; beyond, only those of living members. A member that
was called dead by mistake would otherwise have its late grants taken a second time."""


class Run:
    """Start a worker on `payload`; end by `finish` or `hand_back`."""

    __slots__ = ("lease", "payload", "receipt", "remaining_ms", "topic")

    def __init__(self, grant: Grant) -> None:
        self.lease = grant.lease
        self.topic = grant.topic
        self.receipt = grant.receipt
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
    """A lease on this side.

    Attributes:
        lease, topic, receipt: as granted.
        claimer: the member that answers for it.
        former: those that did before, the newest last.
        bytes_held: of its payload while it runs, of its outcome after.
        outcome: None while the worker has it.
        repeat_at_ms: when to send the outcome again.
        sent_to: whom it was sent to last.
        tries: how often.
        progress: thousandths and a sentence, as its worker said last; None: it said nothing.
    """

    __slots__ = (
        "bytes_held",
        "claimer",
        "former",
        "lease",
        "outcome",
        "progress",
        "receipt",
        "repeat_at_ms",
        "sent_to",
        "topic",
        "tries",
    )

    def __init__(self, grant: Grant) -> None:
        self.lease = grant.lease
        self.topic = grant.topic
        self.receipt = grant.receipt
        self.claimer = grant.lease.claimer
        self.former: list[str] = []
        self.bytes_held = len(grant.payload)
        self.outcome: bytes | None = None
        self.repeat_at_ms = 0
        self.sent_to = ""
        self.tries = 0
        self.progress: tuple[int, str] | None = None


class _Peer:
    """A claimer of one group, as far as credit goes."""

    __slots__ = ("counter_seen", "session")

    def __init__(self) -> None:
        self.session = 0
        self.counter_seen = 0


class Holder:
    """One member's holder, for all claim groups.

    Args:
        session: a number that another run of this process will not have.
        slots: jobs that may run at once.
        payload_bytes_max: bytes that the payloads of running jobs and the kept outcomes may take
            together; at least as much as the largest payload that is let into the mesh, as nobody
            else would take that either.
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
        self._shares = Shares()
        self._topics: dict[str, list[TopicTerms]] = {}
        self._claimers: dict[str, str] = {}
        self._members: set[str] = set()
        self._peers: dict[tuple[str, str], _Peer] = {}
        self._running: dict[LeaseId, _Held] = {}
        self._finished: dict[LeaseId, _Held] = {}
        self._bytes_held = 0
        self._credit_changed = False
        self._heartbeat_at_ms = 0
        self._audience_before: set[tuple[str, str]] = set()
        self._messages: list[tuple[str, Message]] = []
        self._events: list[Run | Cancel | Acknowledged] = []

    # --- commands

    def serve(self, group: str, topics: "list[TopicTerms]") -> None:
        """Says which topics of a group this member works on; an empty list ends it.

        Raises: MisuseError, nothing changed, for more topics than a heartbeat names.
        """
        if len(topics) > TOPICS_MAX:
            raise MisuseError(f"{len(topics)} topics of {group}; at most {TOPICS_MAX}")
        said = [one.to_plain() for one in self._topics.get(group, [])]
        if said == [one.to_plain() for one in sorted(topics, key=_name)]:
            return
        if topics:
            self._topics[group] = sorted(topics, key=_name)
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
        self._reroute()

    def set_members(self, member_ids: "set[str]") -> None:
        """Says who is alive, this member included: outcomes go to nobody else."""
        self._members = set(member_ids)
        if len(self._peers) > PEERS_KEPT_MAX:
            self._peers = {key: peer for key, peer in self._peers.items() if key[0] in member_ids}
        self._reroute()

    def finish(self, lease: LeaseId, outcome: bytes, now_ms: int) -> None:
        """The worker is done. The outcome is sent, and kept until it is acknowledged.

        A lease that was revoked in the meantime is ignored.

        Raises: MisuseError, nothing changed, for an outcome over `outcome_bytes_max`.
        """
        if len(outcome) > self._config.outcome_bytes_max:
            raise MisuseError(
                f"an outcome of {len(outcome)} bytes; at most {self._config.outcome_bytes_max}"
            )
        held = self._drop(self._running, lease)
        if held is None:
            return
        held.outcome = outcome
        held.bytes_held = len(outcome)
        self._bytes_held += held.bytes_held
        self._finished[lease] = held
        self._send_outcome(held, now_ms)

    def hand_back(self, lease: LeaseId) -> None:
        """Gives a job back unworked: this member is stopping. Another may have it at once."""
        held = self._drop(self._running, lease)
        if held is not None:
            self._send(held.claimer, HandBack(lease, "this node is stopping"))

    def prolong(self, lease: LeaseId, lock_ms: int) -> bool:
        """Asks for a longer engine lock. False when the lease is not ours any more."""
        held = self._running.get(lease)
        if held is None:
            return False
        self._send(held.claimer, Prolong(lease, lock_ms))
        return True

    def note_progress(self, lease: LeaseId, thousandths: int, sentence: str) -> None:
        """How far the worker of a lease says that it is: the next heartbeat tells the last word."""
        held = self._running.get(lease)
        if held is not None:
            held.progress = (thousandths, sentence[:PROGRESS_CHARS_MAX])

    def set_slots(self, slots: int) -> None:
        """Says how many jobs may run at once from now; those that run beyond go on."""
        self._credit_changed = self._credit_changed or slots != self._slots
        self._slots = slots

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
            if self._drop(self._finished, message.lease) is not None:
                self._events.append(Acknowledged(message.lease, message.reason))
        elif isinstance(message, Inherit):
            self._receive_inherit(sender, message)
        elif isinstance(message, Yield):
            self._receive_yield(sender, message)
        elif isinstance(message, Revoke) and self._answers_for(sender, message.lease):
            if self._drop(self._running, message.lease) is not None:
                self._events.append(Cancel(message.lease, message.reason))
            elif self._drop(self._finished, message.lease) is not None:
                self._events.append(Acknowledged(message.lease, message.reason))

    # --- time

    def handle_timer(self, now_ms: int) -> None:
        """Sends what is due: credit that changed, heartbeats, outcomes without an answer."""
        heartbeat_due = now_ms >= self._heartbeat_at_ms
        if heartbeat_due or self._credit_changed:
            # The offer first: a heartbeat tells what it must not be spent on.
            self._credit_changed = False
            if heartbeat_due:
                self._shares.note_heartbeat()
            self._send_states(heartbeat_due)
        if heartbeat_due:
            self._heartbeat_at_ms = now_ms + self._config.heartbeat_ms
        for lease in in_order(self._finished):
            held = self._finished[lease]
            if now_ms >= held.repeat_at_ms:
                self._send_outcome(held, now_ms)

    def get_timer(self) -> int:
        """When `handle_timer` is next due: 0 for at once."""
        if self._credit_changed:
            return 0
        due_ms = self._heartbeat_at_ms
        for held in self._finished.values():
            due_ms = min(due_ms, held.repeat_at_ms)
        return due_ms

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
        room = self._config.outcomes_kept_max - len(self._running) - len(self._finished)
        return max(0, min(self._slots - len(self._running), room))

    def leases(self) -> "list[LeaseId]":
        """What runs here, and what has an outcome that nobody acknowledged, in no order."""
        return list(self._running) + list(self._finished)

    def statistics(self) -> dict[str, int]:
        """How many jobs run, and how many outcomes wait for an acknowledgement."""
        return {
            "slots": self._slots,
            "running": len(self._running),
            "unacknowledged": len(self._finished),
        }

    # --- inside

    def _receive_grant(self, sender: str, grant: Grant) -> None:
        lease = grant.lease
        if sender != lease.claimer:
            return
        peer = self._peers.setdefault((sender, lease.group), _Peer())
        if peer.session != lease.session:
            peer.session, peer.counter_seen = lease.session, 0
        refusal = self._refusal(grant, peer)
        peer.counter_seen = max(peer.counter_seen, lease.counter)
        self._credit_changed = True
        if refusal:
            self._send(sender, Refuse(lease, refusal))
            return
        self._send(sender, Accept(lease))
        if lease not in self._running and lease not in self._finished:
            held = self._running[lease] = _Held(grant)
            self._bytes_held += held.bytes_held
            self._shares.note_grant(lease.group)
            self._events.append(Run(grant))

    def _refusal(self, grant: Grant, peer: _Peer) -> str:
        """Why this grant is not taken; empty when it is, or was."""
        if grant.lease in self._running or grant.lease in self._finished:
            return ""
        if grant.lease.counter <= peer.counter_seen:
            return "it came late or twice"
        if self._draining:
            return "this node is stopping"
        if not any(one.name == grant.topic for one in self._topics.get(grant.lease.group, [])):
            return f"no service here works on {grant.topic}"
        if self.slots_free() == 0:
            return "no free slot"
        if self._bytes_held + len(grant.payload) > self._payload_bytes_max:
            return "no room for its payload"
        return ""

    def _find(self, lease: LeaseId) -> "_Held | None":
        return self._running.get(lease) or self._finished.get(lease)

    def _answers_for(self, sender: str, lease: LeaseId) -> bool:
        """Whether this member may end the lease: it granted it, or has taken it over."""
        held = self._find(lease)
        return sender == lease.claimer or (held is not None and sender == held.claimer)

    def _receive_inherit(self, sender: str, inherit: Inherit) -> None:
        """A member wants to answer for a lease: the claimer that did is gone, or handed it over."""
        lease = inherit.lease
        held = self._find(lease)
        if held is None:
            self._send(sender, Refuse(lease, "this node does not have it"))
            return
        if held.claimer not in (sender, inherit.reason) and held.claimer in self._members:
            self._send(sender, Keep(lease, f"{held.claimer} answers for it"))
            return
        self._move(held, sender)
        self._send(sender, Inherited(lease, held.topic, held.receipt))

    def _receive_yield(self, sender: str, message: Yield) -> None:
        """The claimer has handed a lease over. If its heir is gone already, who claims now asks."""
        held = self._find(message.lease)
        if held is None or held.claimer != sender:
            return
        for heir in (message.reason, self._claimers.get(message.lease.group)):
            if heir is not None and heir in self._members:
                self._move(held, heir)
                return

    def _move(self, held: _Held, member_id: str) -> None:
        """Another member answers for this lease from now on, and hears of it at once."""
        if held.claimer == member_id:
            return
        former = [one for one in held.former if one not in (member_id, held.claimer)]
        held.former = (former + [held.claimer])[-FORMER_MAX:]
        held.claimer = member_id
        self._heartbeat_at_ms = 0
        if held.outcome is not None:
            held.tries = 0
            held.repeat_at_ms = 0

    def _drop(self, table: "dict[LeaseId, _Held]", lease: LeaseId) -> "_Held | None":
        """Takes a lease out of one of the two tables, and its bytes off the account."""
        held = table.pop(lease, None)
        if held is not None:
            self._bytes_held -= held.bytes_held
            self._credit_changed = True
        return held

    def _send_outcome(self, held: _Held, now_ms: int) -> None:
        config = self._config
        held.sent_to = self._destination(held)
        pause_ms = min(config.repeat_ms * 2 ** min(held.tries, 10), config.repeat_max_ms)
        held.repeat_at_ms = now_ms + pause_ms
        if held.sent_to and held.outcome is not None:
            held.tries += 1
            report = OutcomeReport(held.lease, held.topic, held.receipt, held.outcome)
            self._send(held.sent_to, report)

    def _destination(self, held: _Held) -> str:
        """Who gets the outcome; empty when there is nobody."""
        claims_now = self._claimers.get(held.lease.group, "")
        patient = held.tries < self._config.reroute_tries or not claims_now
        return held.claimer if held.claimer in self._members and patient else claims_now

    def _reroute(self) -> None:
        """Leases whose claimer is gone move to the one that claims now; outcomes go out at once."""
        for table in (self._running, self._finished):
            for lease in in_order(table):
                held = table[lease]
                claims_now = self._claimers.get(held.lease.group)
                if held.claimer not in self._members and claims_now in self._members:
                    self._move(held, claims_now)
        for held in self._finished.values():
            if self._destination(held) != held.sent_to:
                held.tries = 0
                held.repeat_at_ms = 0

    def _send_states(self, with_heartbeat: bool) -> None:
        """Credit, and with it what we serve and hold, to each claimer that it concerns."""
        offers = self._offers()
        bytes_free = max(0, self._payload_bytes_max - self._bytes_held)
        audience = self._audience()
        # Whom it concerned until now hears once more, that there is nothing for it any more.
        for member_id, group in sorted(audience | self._audience_before):
            peer = self._peers.get((member_id, group)) or _Peer()
            claims = self._claimers.get(group) == member_id and group in self._topics
            self._sequence += 1
            self._send(
                member_id,
                Offer(
                    group,
                    self._session,
                    self._sequence,
                    offers[group] if claims else 0,
                    bytes_free,
                    peer.session,
                    peer.counter_seen,
                ),
            )
            if with_heartbeat:
                leases, moved = self._holdings(member_id, group)
                self._sequence += 1
                topics = self._topics.get(group, [])
                heartbeat = Heartbeat(group, self._session, self._sequence, topics, leases, moved)
                heartbeat.progress = self._progress(leases)
                self._send(member_id, heartbeat)
        self._audience_before = audience

    def _offers(self) -> "dict[str, int]":
        """Our free slots, split among the groups that we serve and that somebody claims for."""
        running: dict[str, int] = {}
        for one in self._running:
            running[one.group] = running.get(one.group, 0) + 1
        groups = [group for group in self._claimers if group in self._topics]
        return self._shares.offers(self.slots_free(), groups, running)

    def _audience(self) -> "set[tuple[str, str]]":
        """(claimer, group) pairs to keep informed: those that claim, and those we hold from."""
        pairs = {
            (member_id, group)
            for group, member_id in self._claimers.items()
            if group in self._topics
        }
        for table in (self._running, self._finished):
            for held in table.values():
                for member_id in held.former + [held.claimer]:
                    if member_id in self._members:
                        pairs.add((member_id, held.lease.group))
        return pairs

    def _holdings(self, member_id: str, group: str) -> "tuple[list[LeaseId], list[LeaseId]]":
        """What a member answers for here, and what it did until another took it over."""
        theirs: list[LeaseId] = []
        moved: list[LeaseId] = []
        for table in (self._running, self._finished):
            for lease in in_order(table):
                held = table[lease]
                if lease.group == group:
                    if held.claimer == member_id:
                        theirs.append(lease)
                    elif member_id in held.former:
                        moved.append(lease)
        return theirs, moved

    def _progress(self, leases: "list[LeaseId]") -> "list[tuple[int, int, str]]":
        """What workers said of these leases, by their places in the list."""
        told: list[tuple[int, int, str]] = []
        for place, lease in enumerate(leases):
            held = self._running.get(lease)
            if held is not None and held.progress is not None and len(told) < PROGRESS_MAX:
                told.append((place, held.progress[0], held.progress[1]))
        return told

    def _send(self, member_id: str, message: "Message") -> None:
        self._messages.append((member_id, message))


def _name(terms: TopicTerms) -> str:
    return terms.name
