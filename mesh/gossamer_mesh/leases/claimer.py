"""The claimer's side: credits in, grants out; the engine's lock kept; outcomes fenced by epoch.

Rules:

1. It asks the engine for no more than its credits, and grants no more than a holder offered. What
   no holder takes within `waiting_ms` goes back to the engine.
2. Every grant has a counter that never repeats within the term. An outcome counts only under the
   lease id that is current; an older one is answered `stale` and changes nothing.
3. A holder is lost when membership says so, when its session changes, when a heartbeat leaves the
   lease out, or when it is silent. Its leases are granted again at once, at most `regrants_max`
   times for one activation; then the claimer gives up and reports a failure itself.
4. A claimer that is no longer elected keeps its leases until they settle.
5. An outcome of a lease that another claimer granted, and that is not in our table, is reported to
   the engine: it alone can say whether the job is still there.

Calls to the engine are events (`Extend`, `Report`, `Release`); their ends come back through
`handle_extended` and `handle_settled`. What the engine is, this module does not know.
"""

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.lease import Lease
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


class EngineWork:
    """A call to make at the engine. Its end comes back with the same object.

    Attributes:
        lease: under which id, as of now.
        activation: which activation of the job, as the id changes with every grant.
        topic, receipt: as activated.
    """

    __slots__ = ("activation", "lease", "receipt", "topic")

    def __init__(self, one: Lease) -> None:
        self.lease = one.id
        self.activation = one.activation
        self.topic = one.topic
        self.receipt = one.receipt


class Extend(EngineWork):
    """Renew the engine's lock to `lock_ms` from now; answer by `handle_extended`."""

    __slots__ = ("lock_ms",)

    def __init__(self, one: Lease) -> None:
        super().__init__(one)
        self.lock_ms = one.lock_ms


class Report(EngineWork):
    """Give the outcome to the engine; answer by `handle_settled`.

    Attributes:
        outcome: as the holder gave it. None: the claimer gave the job up for `reason`, and the
            engine is to be told of a failure that says so.
        terms: what the mesh's holders say of the topic, None when none serves it any more.
    """

    __slots__ = ("outcome", "reason", "terms")

    def __init__(self, one: Lease, terms: "TopicTerms | None") -> None:
        super().__init__(one)
        self.outcome = one.outcome
        self.reason = one.reason
        self.terms = terms


class Release(EngineWork):
    """Give the job back to the engine, unworked; answer by `handle_settled`."""

    __slots__ = ("reason",)

    def __init__(self, one: Lease) -> None:
        super().__init__(one)
        self.reason = one.reason


class _HolderView:
    """What the claimer knows of one holder."""

    __slots__ = (
        "bytes_free",
        "bytes_sent",
        "grants_seen",
        "grants_sent",
        "heard_ms",
        "sequence",
        "session",
        "slots_free",
        "topics",
    )

    def __init__(self, session: int, now_ms: int) -> None:
        self.session = session
        self.sequence = -1
        self.slots_free = 0
        self.bytes_free = 0
        self.grants_sent = 0
        self.grants_seen = 0
        self.bytes_sent = 0
        self.heard_ms = now_ms
        self.topics: "dict[str, TopicTerms]" = {}  # noqa: UP037

    def credit(self) -> int:
        """Jobs that it takes beyond what is already on its way."""
        if self.bytes_sent >= self.bytes_free:
            return 0
        return max(0, self.slots_free - (self.grants_sent - self.grants_seen))


class Claimer:
    """One member's claimer of one claim group.

    Args:
        group: the claim group, `engine/name`.
        member_id: this member.
        session: a number that another run of this process will not have.
        config: bounds and intervals.
    """

    def __init__(self, group: str, member_id: str, session: int, config: LeaseConfig) -> None:
        self.group = group
        self.elected = False
        self.term = 0
        self._member_id = member_id
        self._session = session
        self._config = config
        self._counter = 0
        self._holders: dict[str, _HolderView] = {}
        self._leases: dict[str, Lease] = {}
        self._waiting: dict[str, Lease] = {}
        self._settled: dict[tuple[str, str, int, int], str] = {}
        self._messages: list[tuple[str, Message]] = []
        self._events: list[EngineWork] = []
        self._counts = {
            name: 0
            for name in ("activated", "granted", "regranted", "settled", "released", "stale")
        }

    # --- commands

    def elect(self, elected: bool, term_seen_max: int) -> None:
        """Says whether this member claims for the group now.

        A newly elected claimer opens a term above every term that any member has announced.
        """
        if elected and not self.elected:
            self.term = max(self.term, term_seen_max) + 1
            self._counter = 0
        self.elected = elected

    def credit(self, topic: str | None = None) -> int:
        """Jobs that may be activated now: of one topic, or of all topics together."""
        if not self.elected:
            return 0
        waiting = sum(1 for one in self._waiting.values() if topic in (None, one.topic))
        offered = sum(
            holder.credit()
            for holder in self._holders.values()
            if topic is None or topic in holder.topics
        )
        return max(0, offered - waiting)

    def topics(self) -> list[TopicTerms]:
        """What the mesh's holders serve, one entry a topic, sorted by name.

        Where holders differ, the longest lock and the union of the variables hold.
        """
        merged: dict[str, TopicTerms] = {}
        for _, holder in sorted(self._holders.items()):
            for name, terms in holder.topics.items():
                merged[name] = _merge(merged[name], terms) if name in merged else terms
        return [merged[name] for name in sorted(merged)]

    def handle_activated(
        self,
        key: str,
        topic: str,
        lock_ms: int,
        lock_end_ms: int,
        receipt: bytes,
        payload: bytes,
        now_ms: int,
    ) -> None:
        """Takes a job that the engine has locked for us, and grants it if there is credit.

        The same key again means that its lock had ended: the older activation is void.
        """
        terms = self._terms(topic)
        new = Lease(
            self._next_id(key),
            topic,
            receipt,
            payload,
            lock_ms,
            lock_end_ms,
            terms.on_lost if terms else "regrant",
            now_ms,
        )
        new.renew_at_ms = lock_end_ms - lock_ms + lock_ms // self._config.renew_fraction
        self._counts["activated"] += 1
        older = self._leases.get(key)
        self._waiting.pop(key, None)
        self._leases[key] = new
        if older is not None and older.outcome is not None:
            # The engine gave out again what it had not yet taken: the work is done, not to be
            # done again, and the new lock lets us say so.
            new.id, new.holder, new.outcome = older.id, older.holder, older.outcome
            new.state = states.REPORTING
            self._report(new)
            return
        if older is not None and older.holder is not None:
            self._send(older.holder, Revoke(older.id, "its lock ended and the engine gave it anew"))
        self._waiting[key] = new
        self._grant(new, now_ms)

    def release_waiting(self, now_ms: int) -> None:
        """Gives back what no holder has: the member is stopping."""
        for one in list(self._waiting.values()):
            self._release(one, "the claimer is stopping", now_ms)

    # --- answers of the engine

    def handle_extended(self, work: Extend, ours: "bool | None", now_ms: int) -> None:
        """Ends an `Extend`.

        Args:
            work: as `events` gave it.
            ours: True, renewed; False, the engine says it is not ours; None, no answer.
        """
        one = self._worked(work)
        if one is None:
            return
        one.renewing = False
        if ours:
            one.lock_end_ms = now_ms + work.lock_ms
            one.renew_at_ms = now_ms + work.lock_ms // self._config.renew_fraction
        elif ours is None:
            one.renew_at_ms = now_ms + min(self._config.retry_max_ms, one.lock_ms // 10)
        elif one.state != states.REPORTING:
            if one.holder is not None:
                self._send(one.holder, Revoke(one.id, "the engine took the job away"))
            self._forget(one, "revoked")

    def handle_settled(
        self, work: EngineWork, result: "str | None", now_ms: int, retry_after_ms: int = 0
    ) -> None:
        """Ends a `Report` or `Release`.

        Args:
            work: as `events` gave it.
            result: how it ended, for the holder and the logs; None, no answer: tried again.
            retry_after_ms: the engine's wish for the next try, 0 for none.
        """
        one = self._worked(work)
        if one is None or one.retry_at_ms is not None:
            return
        if result is None and one.state == states.REPORTING:
            one.tries += 1
            pause_ms = min(self._config.retry_max_ms, 100 * 2 ** min(one.tries, 10))
            one.retry_at_ms = now_ms + max(pause_ms, retry_after_ms)
            return
        # A release that nobody answered needs no second try: the lock ends by itself.
        self._counts["settled" if one.state == states.REPORTING else "released"] += 1
        self._step(one, "settle", now_ms)
        if one.holder is not None:
            self._send(one.holder, Settled(one.id, result or ""))
        self._forget(one, result or "released")

    # --- what the mesh says

    def receive_message(self, sender: str, message: "Message", now_ms: int) -> None:
        """Takes a holder's message. What does not fit the table is ignored, never raised."""
        if isinstance(message, Offer):
            self._receive_offer(sender, message, now_ms)
        elif isinstance(message, Heartbeat):
            self._receive_heartbeat(sender, message, now_ms)
        elif isinstance(message, OutcomeReport):
            self._receive_outcome(sender, message, now_ms)
        elif isinstance(message, Accept):
            one = self._current(sender, message.lease)
            if one is not None and one.may("accept"):
                self._step(one, "accept", now_ms)
        elif isinstance(message, (Refuse, HandBack)):
            self._receive_back(sender, message, now_ms)
        elif isinstance(message, Prolong):
            one = self._current(sender, message.lease)
            if one is not None and self._renewable(one):
                one.lock_ms = message.lock_ms
                one.renew_at_ms = now_ms

    def handle_member_lost(self, member_id: str, now_ms: int) -> None:
        """Membership calls the member dead, or it left: its credit and its leases are void."""
        if self._holders.pop(member_id, None) is not None:
            self._lose_all(member_id, now_ms)

    # --- time

    def handle_timer(self, now_ms: int) -> None:
        """Does what is due: renewals, retries, grants that nobody answered, silent holders."""
        for member_id, holder in sorted(self._holders.items()):
            if now_ms - holder.heard_ms >= self._config.silence_ms:
                del self._holders[member_id]
                self._lose_all(member_id, now_ms)
        for one in list(self._leases.values()):
            self._handle_lease_timer(one, now_ms)

    def get_timer(self) -> "int | None":
        """When `handle_timer` is next due, in the caller's milliseconds; None for never."""
        due = [one.heard_ms + self._config.silence_ms for one in self._holders.values()]
        for one in self._leases.values():
            due.extend(self._due(one))
        return min(due) if due else None

    # --- output

    def messages_to_send(self) -> "list[tuple[str, Message]]":
        """Messages with the member that each is for, in order; taken once."""
        messages, self._messages = self._messages, []
        return messages

    def events(self) -> "list[EngineWork]":
        """Work at the engine, in order; taken once."""
        events, self._events = self._events, []
        return events

    def leases(self) -> list[Lease]:
        """The open leases, by key. To read, not to change."""
        return [self._leases[key] for key in sorted(self._leases)]

    def statistics(self) -> dict[str, int]:
        """Counts since the start, and how many leases and holders there are now."""
        return dict(self._counts, open=len(self._leases), holders=len(self._holders))

    # --- inside

    def _receive_offer(self, sender: str, offer: Offer, now_ms: int) -> None:
        holder = self._holder(sender, offer.session, offer.sequence, now_ms)
        if holder is None:
            return
        holder.slots_free = offer.slots_free
        holder.bytes_free = offer.bytes_free
        seen = offer.grants_seen if offer.claimer_session == self._session else 0
        if seen == holder.grants_sent:
            holder.bytes_sent = 0
        holder.grants_seen = min(seen, holder.grants_sent)
        self._grant_waiting(now_ms)

    def _receive_heartbeat(self, sender: str, heartbeat: Heartbeat, now_ms: int) -> None:
        holder = self._holder(sender, heartbeat.session, heartbeat.sequence, now_ms)
        if holder is None:
            return
        holder.topics = {one.name: one for one in heartbeat.topics}
        held = set(heartbeat.leases)
        for one in list(self._leases.values()):
            if one.holder != sender:
                continue
            if one.id in held:
                if one.may("accept"):
                    self._step(one, "accept", now_ms)
            elif one.state == states.HELD:
                self._lose(one, now_ms)
        self._grant_waiting(now_ms)

    def _receive_back(self, sender: str, message: "Refuse | HandBack", now_ms: int) -> None:
        """The holder gives a job back in good order: another may have it, without counting."""
        one = self._current(sender, message.lease)
        step = "refuse" if isinstance(message, Refuse) else "lose"
        if one is None or not one.may(step):
            return
        holder = self._holders.get(sender)
        if holder is not None:
            holder.slots_free = 0  # until its next offer: it has just said that it takes no more
        self._step(one, step, now_ms)
        one.holder = None
        self._grant(one, now_ms)

    def _receive_outcome(self, sender: str, report: OutcomeReport, now_ms: int) -> None:
        lease_id = report.lease
        one = self._leases.get(lease_id.key)
        if one is not None and one.id == lease_id:
            if one.holder == sender and one.may("outcome"):
                self._step(one, "outcome", now_ms)
                one.outcome = report.outcome
                one.payload = b""
                self._report(one)
            return
        known = self._settled.get(_tombstone(lease_id))
        if known is None and one is None and report.claimer_session != self._session:
            self._adopt(sender, report, now_ms)
            return
        if known is None:
            self._counts["stale"] += 1
        self._send(sender, Settled(lease_id, known or "stale"))

    def _adopt(self, sender: str, report: OutcomeReport, now_ms: int) -> None:
        """Rule 5: the claimer that granted it is gone; the engine says whether it still counts."""
        one = Lease(report.lease, report.topic, report.receipt, b"", 0, now_ms, "regrant", now_ms)
        one.holder = sender
        one.step("grant", now_ms)
        one.step("outcome", now_ms)
        one.outcome = report.outcome
        self._leases[report.lease.key] = one
        self._report(one)

    def _holder(
        self, sender: str, session: int, sequence: int, now_ms: int
    ) -> "_HolderView | None":
        """The sender's view, made or renewed; None when the message is older than the last."""
        holder = self._holders.get(sender)
        if holder is not None and holder.session != session:
            # Another run of the process: whatever the older one held is lost.
            self._lose_all(sender, now_ms)
            holder = None
        if holder is None:
            holder = self._holders[sender] = _HolderView(session, now_ms)
        if sequence <= holder.sequence:
            return None
        holder.sequence = sequence
        holder.heard_ms = now_ms
        return holder

    def _lose_all(self, member_id: str, now_ms: int) -> None:
        for one in list(self._leases.values()):
            if one.holder == member_id:
                if one.may("lose"):
                    self._lose(one, now_ms)
                elif one.state == states.REPORTING:
                    one.holder = None  # nobody is left to tell

    def _lose(self, one: Lease, now_ms: int) -> None:
        self._step(one, "lose", now_ms)
        lost_by, one.holder = one.holder, None
        if one.on_lost == "wait":
            self._step(one, "abandon", now_ms)
            one.holder = lost_by
            return
        one.regrants += 1
        if one.regrants > self._config.regrants_max:
            self._step(one, "give_up", now_ms)
            one.reason = f"{one.regrants} nodes were lost while they worked on this job"
            one.payload = b""
            self._report(one)
            return
        self._counts["regranted"] += 1
        self._grant(one, now_ms)

    def _grant_waiting(self, now_ms: int) -> None:
        for one in list(self._waiting.values()):
            self._grant(one, now_ms)

    def _grant(self, one: Lease, now_ms: int) -> None:
        """Gives a waiting lease to the holder with the most credit, if there is any."""
        best: str | None = None
        best_credit = 0
        for member_id in sorted(self._holders):
            holder = self._holders[member_id]
            if one.topic in holder.topics and holder.credit() > best_credit:
                best, best_credit = member_id, holder.credit()
        if best is None:
            return
        one.id = self._next_id(one.id.key)
        self._step(one, "grant", now_ms)
        one.holder = best
        holder = self._holders[best]
        holder.grants_sent += 1
        holder.bytes_sent += len(one.payload)
        self._counts["granted"] += 1
        self._send(
            best,
            Grant(
                one.id,
                self._session,
                one.topic,
                max(0, one.lock_end_ms - now_ms),
                one.receipt,
                one.payload,
            ),
        )

    def _handle_lease_timer(self, one: Lease, now_ms: int) -> None:
        config = self._config
        if one.state == states.GRANTED and now_ms - one.since_ms >= config.accept_ms:
            self._lose(one, now_ms)
        elif one.state == states.WAITING and now_ms - one.since_ms >= config.waiting_ms:
            self._release(one, "no node had room for it", now_ms)
        elif one.state == states.ABANDONED and now_ms >= one.lock_end_ms:
            self._step(one, "settle", now_ms)
            self._forget(one, "its lock ended")
            return
        if one.retry_at_ms is not None and now_ms >= one.retry_at_ms:
            self._report(one)
        if self._renewable(one) and now_ms >= one.renew_at_ms:
            one.renewing = True
            self._events.append(Extend(one))

    def _due(self, one: Lease) -> list[int]:
        due = []
        if one.state == states.GRANTED:
            due.append(one.since_ms + self._config.accept_ms)
        elif one.state == states.WAITING:
            due.append(one.since_ms + self._config.waiting_ms)
        elif one.state == states.ABANDONED:
            due.append(one.lock_end_ms)
        if one.retry_at_ms is not None:
            due.append(one.retry_at_ms)
        if self._renewable(one):
            due.append(one.renew_at_ms)
        return due

    def _renewable(self, one: Lease) -> bool:
        """A lock is kept for whoever works or is about to; an adopted lease has none to keep."""
        if one.renewing or one.lock_ms == 0:
            return False
        return one.state in (states.WAITING, states.GRANTED, states.HELD) or (
            one.state == states.REPORTING and one.retry_at_ms is not None
        )

    def _release(self, one: Lease, reason: str, now_ms: int) -> None:
        self._step(one, "release", now_ms)
        one.reason = reason
        self._events.append(Release(one))

    def _report(self, one: Lease) -> None:
        one.retry_at_ms = None
        self._events.append(Report(one, self._terms(one.topic)))

    def _step(self, one: Lease, step: str, now_ms: int) -> None:
        """Every step goes through here, so that `_waiting` names just the waiting ones."""
        one.step(step, now_ms)
        if one.state == states.WAITING:
            self._waiting[one.id.key] = one
        else:
            self._waiting.pop(one.id.key, None)

    def _terms(self, topic: str) -> "TopicTerms | None":
        for _, holder in sorted(self._holders.items()):
            if topic in holder.topics:
                return holder.topics[topic]
        return None

    def _current(self, sender: str, lease_id: LeaseId) -> "Lease | None":
        """The lease that the sender speaks of, if it is still the sender's."""
        one = self._leases.get(lease_id.key)
        return one if one is not None and one.id == lease_id and one.holder == sender else None

    def _worked(self, work: EngineWork) -> "Lease | None":
        """The lease that a call to the engine was for, if it is still the same activation."""
        one = self._leases.get(work.lease.key)
        return one if one is not None and one.activation == work.activation else None

    def _forget(self, one: Lease, result: str) -> None:
        del self._leases[one.id.key]
        self._waiting.pop(one.id.key, None)
        self._settled[_tombstone(one.id)] = result
        if len(self._settled) > self._config.settled_kept_max:
            # The oldest goes first where dicts keep their order, an arbitrary one elsewhere; a
            # forgotten tombstone costs one more question to the engine, never a second effect.
            del self._settled[next(iter(self._settled))]

    def _next_id(self, key: str) -> LeaseId:
        self._counter += 1
        return LeaseId(self.group, key, self._member_id, self.term, self._counter)

    def _send(self, member_id: str, message: "Message") -> None:
        self._messages.append((member_id, message))


def _tombstone(lease_id: LeaseId) -> "tuple[str, str, int, int]":
    return (lease_id.key, lease_id.claimer, lease_id.term, lease_id.counter)


def _merge(one: TopicTerms, other: TopicTerms) -> TopicTerms:
    variables = None
    if one.variables is not None and other.variables is not None:
        variables = sorted(set(one.variables) | set(other.variables))
    return TopicTerms(
        one.name,
        max(one.lock_ms, other.lock_ms),
        variables,
        one.on_lost,
        max(one.retries, other.retries),
        max(one.backoff_ms, other.backoff_ms),
    )
