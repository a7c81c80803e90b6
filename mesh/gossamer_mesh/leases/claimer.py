"""The claimer's side: credits in, grants out; the engine's lock kept; outcomes fenced by epoch.

Rules:

1. It asks the engine for no more than its credits, and grants no more than a holder offered. What
   no holder takes within `waiting_ms` goes back to the engine.
2. Every grant has an id that never comes again. An outcome counts only under the lease id that is
   current; an older one is answered `stale` and changes nothing.
3. A holder is lost when membership says so, when its session changes, when a heartbeat leaves the
   lease out, or when it is silent. Its leases are granted again at once, at most `regrants_max`
   times for one activation; then the claimer gives up and reports a failure itself. Where nobody
   else can take a lease, a holder that speaks again goes on with it. What a holder still runs
   although another has it by now is revoked when its heartbeat names it.
4. A claimer that is no longer elected keeps its leases until they settle.
5. An outcome of a lease that another claimer granted, and that is not in our table, is reported to
   the engine: it alone can say whether the job is still there.
6. After a pause of our own we listen before we judge anybody's silence.

Calls to the engine are events (`Extend`, `Report`, `Release`); their ends come back through
`handle_extended` and `handle_settled`. What the engine is, this module does not know.
"""

from gossamer_mesh.leases import granting
from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.credit import HolderView
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
from gossamer_mesh.leases.timers import Timers
from gossamer_mesh.leases.tombstones import Tombstones
from gossamer_mesh.leases.work import NO_ROOM, EngineWork, Extend, Release, Report
from gossamer_mesh.swim.rng import Rng

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import Message

_HOLDER = "holder"
_LEASE = "lease"
"""What a timer is for."""


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
        self._rng = Rng(session)
        self._grace_end_ms: int | None = None
        self._holders: dict[str, HolderView] = {}
        self._leases: dict[str, Lease] = {}
        self._waiting: dict[str, Lease] = {}
        self._leases_of: dict[str, dict[str, Lease]] = {}
        self._settled = Tombstones(config.settled_kept_max)
        self._timers = Timers()
        self._messages: list[tuple[str, Message]] = []
        self._events: list[EngineWork] = []
        self._counts = dict.fromkeys(
            ("activated", "granted", "regranted", "settled", "released", "stale"), 0
        )

    # --- commands

    def elect(self, elected: bool, term_seen_max: int) -> None:
        """Says whether this member claims for the group now.

        A newly elected claimer opens a term above every term that any member has announced.
        """
        if elected and not self.elected:
            self.term = max(self.term, term_seen_max) + 1
        self.elected = elected

    def credit(self, topic: str | None = None) -> int:
        """Jobs that may be activated now: of one topic, or of all topics together.

        Polls that are under way are the caller's to subtract.
        """
        if not self.elected:
            return 0
        free = granting.room(self._holders, self._waiting, None)
        if topic is None:
            return free
        return min(free, granting.room(self._holders, self._waiting, topic))

    def topics(self) -> list[TopicTerms]:
        """What the mesh's holders serve, one entry a topic, sorted by name.

        Where holders differ, the longest lock and the union of the variables hold, and `wait` wins.
        """
        names = {name for holder in self._holders.values() for name in holder.topics}
        merged = [self._terms(name) for name in sorted(names)]
        return [terms for terms in merged if terms is not None]

    def handle_activated(
        self,
        key: str,
        topic: str,
        lock_ms: int,
        lock_end_ms: int,
        receipt: bytes,
        payload: bytes,
        now_ms: int,
        priority: int = 0,
    ) -> None:
        """Takes a job that the engine has locked for us, and grants it if there is credit.

        The same key again means that the older activation is void, as its lock had ended or the
        engine has taken its outcome. A worker that still runs is stopped. An outcome that waits
        for another try is reported under the new lock; if a report is under way, its answer tells
        whether the job is to be worked again.
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
        new.priority = priority
        new.renew_at_ms = lock_end_ms - lock_ms + lock_ms // self._config.renew_fraction
        self._counts["activated"] += 1
        older = self._leases.get(key)
        if older is not None and older.state == states.REPORTING:
            older.successor = new
            if older.retry_at_ms is not None:
                self._carry_over(older)
            return
        if older is not None:
            if older.holder is not None:
                self._send(older.holder, Revoke(older.id, "the engine gave the job out anew"))
            self._forget(older, "the engine gave the job out anew")
        self._enter(new, now_ms)
        if new.state == states.WAITING:
            # More than was asked for, or its credit went while the poll was open: not ours to keep.
            self._release(new, NO_ROOM, now_ms)

    def release_waiting(self, now_ms: int) -> None:
        """Gives back what no holder has: credit goes to another claimer now, or there is none."""
        for one in [self._waiting[key] for key in sorted(self._waiting)]:
            self._release(one, "this claimer claims no more", now_ms)

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
        if ours is None:
            one.renew_at_ms = now_ms + min(self._config.retry_max_ms, one.lock_ms // 10)
        elif ours and one.lock_ms != work.lock_ms:
            one.renew_at_ms = now_ms  # the worker asked for another length meanwhile
        else:
            one.renew_at_ms = now_ms + one.lock_ms // self._config.renew_fraction
        if ours is False and one.state not in (states.REPORTING, states.RELEASING):
            if one.holder is not None:
                self._send(one.holder, Revoke(one.id, "the engine took the job away"))
            self._forget(one, "the engine took the job away")
            return
        self._arm(one)

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
            if one.successor is not None:
                self._carry_over(one)
                return
            one.tries += 1
            pause_ms = min(self._config.retry_max_ms, 100 * 2 ** min(one.tries, 10))
            one.retry_at_ms = now_ms + max(pause_ms, retry_after_ms)
            self._arm(one)
            return
        # A release that nobody answered needs no second try: the lock ends by itself.
        if one.state == states.REPORTING:
            self._counts["settled"] += 1
            if one.holder is not None:
                self._send(one.holder, Settled(one.id, result or ""))
        else:
            self._counts["released"] += 1
        self._step(one, "settle", now_ms)
        self._forget(one, result or "released")
        if one.successor is not None:
            self._enter(one.successor, now_ms)

    # --- what the mesh says

    def receive_message(self, sender: str, message: "Message", now_ms: int) -> None:
        """Takes a holder's message. What does not fit the table is ignored, never raised."""
        if isinstance(message, (Offer, Heartbeat)):
            if message.group == self.group:
                self._receive_state(sender, message, now_ms)
            return
        if message.lease.group != self.group:
            return
        if isinstance(message, OutcomeReport):
            self._receive_outcome(sender, message, now_ms)
            return
        one = self._leases.get(message.lease.key)
        if one is None or one.id != message.lease or one.holder != sender:
            return
        if isinstance(message, Accept):
            # Only with a view of the holder is there a silence that could end the lease again.
            if one.may("accept") and sender in self._holders:
                self._step(one, "accept", now_ms)
        elif isinstance(message, (Refuse, HandBack)):
            self._receive_back(one, sender, message, now_ms)
        elif isinstance(message, Prolong) and one.state in (states.GRANTED, states.HELD):
            config = self._config
            one.lock_ms = min(max(message.lock_ms, config.lock_ms_min), config.lock_ms_max)
            one.renew_at_ms = now_ms
            self._arm(one)

    def handle_member_lost(self, member_id: str, now_ms: int) -> None:
        """Membership calls the member dead, or it left: its credit and its leases are void."""
        self._lose_all([member_id], now_ms)

    # --- time

    def handle_timer(self, now_ms: int) -> None:
        """Does what is due: renewals, retries, grants that nobody answered, silent holders."""
        due_ms = self._timers.next_ms()
        if due_ms is None or due_ms > now_ms:
            return
        if now_ms - due_ms > self._config.heartbeat_ms:
            # We did not run for a while. What others said meanwhile lies unread, so that they
            # seem silent proves nothing yet.
            self._grace_end_ms = now_ms + self._config.accept_ms
        silent: list[str] = []
        leases: list[Lease] = []
        name = self._timers.pop(now_ms)
        while name is not None:
            if name[0] == _HOLDER:
                if self._silence_ms(self._holders[name[1]]) <= now_ms:
                    silent.append(name[1])
                else:
                    self._timers.set(name, self._silence_ms(self._holders[name[1]]))
            else:
                leases.append(self._leases[name[1]])
            name = self._timers.pop(now_ms)
        self._lose_all(silent, now_ms)
        for one in leases:
            if self._leases.get(one.id.key) is one:
                self._handle_lease_timer(one, now_ms)

    def get_timer(self) -> "int | None":
        """When `handle_timer` is next due, in the caller's milliseconds; None for never."""
        return self._timers.next_ms()

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

    # --- holders

    def _receive_state(self, sender: str, message: "Offer | Heartbeat", now_ms: int) -> None:
        holder = self._holders.get(sender)
        if holder is not None and holder.session != message.session:
            # Another run of the process: whatever the older one held is lost.
            self._lose_all([sender], now_ms)
            holder = None
        if holder is None:
            holder = self._holders[sender] = HolderView(message.session, now_ms)
        if message.sequence <= holder.sequence:
            return
        holder.sequence = message.sequence
        holder.heard_ms = now_ms
        self._timers.set((_HOLDER, sender), self._silence_ms(holder))
        if isinstance(message, Offer):
            ours = message.claimer_session == self._session
            counter_seen = message.counter_seen if ours else 0
            lost_ms = now_ms - self._config.accept_ms
            holder.offer(message.slots_free, message.bytes_free, counter_seen, lost_ms)
        else:
            holder.topics = {one.name: one for one in message.topics}
            self._compare_holdings(sender, message.leases, now_ms)
        self._grant_waiting(sender, isinstance(message, Heartbeat), now_ms)

    def _compare_holdings(self, sender: str, leases: "list[LeaseId]", now_ms: int) -> None:
        """What the holder says it has, against what we believe it has."""
        held = set(leases)
        for one in self._leases_with(sender):
            if one.id in held:
                if one.may("accept"):
                    self._step(one, "accept", now_ms)
            elif one.state == states.HELD:
                self._lose(one, now_ms)
        for lease_id in leases:
            one_now = self._leases.get(lease_id.key)
            if (
                lease_id.claimer == self._member_id
                and lease_id.session == self._session
                and (one_now is None or one_now.id != lease_id)
            ):
                # Lost, and by now with another or settled; or its end was told but not heard.
                self._send(sender, Revoke(lease_id, self._settled.get(lease_id) or "stale"))

    def _silence_ms(self, holder: HolderView) -> int:
        """When this holder, if it says nothing more, is taken for lost."""
        return self._judged_ms(holder.heard_ms + self._config.silence_ms)

    def _judged_ms(self, due_ms: int) -> int:
        """When to conclude from somebody's silence: not while we may have unread messages."""
        return due_ms if self._grace_end_ms is None else max(due_ms, self._grace_end_ms)

    def _lose_all(self, member_ids: list[str], now_ms: int) -> None:
        """Void the views of all these first, so that none gets the leases of another."""
        for member_id in member_ids:
            self._holders.pop(member_id, None)
            self._timers.set((_HOLDER, member_id), None)
        for member_id in member_ids:
            for one in self._leases_with(member_id):
                if one.may("lose"):
                    self._lose(one, now_ms)

    def _lose(self, one: Lease, now_ms: int) -> None:
        """Its holder is lost, or seems so: `one.holder` stays, until another has the lease."""
        if one.on_lost == "wait":
            self._step(one, "abandon", now_ms)
        elif one.regrants < self._config.regrants_max:
            self._step(one, "lose", now_ms)
            self._grant(one, now_ms)
        else:
            self._step(one, "give_up", now_ms)
            self._assign(one, None)
            one.reason = f"{one.regrants + 1} nodes in a row were lost while they had this job"
            self._report(one)

    def _terms(self, topic: str) -> "TopicTerms | None":
        return granting.terms_of(self._holders, topic, self._config)

    # --- leases

    def _enter(self, one: Lease, now_ms: int) -> None:
        self._leases[one.id.key] = self._waiting[one.id.key] = one
        self._arm(one)
        self._grant(one, now_ms)

    def _grant(self, one: Lease, now_ms: int) -> None:
        """Gives a waiting lease to a holder, if there is one for it."""
        best = granting.choose(self._holders, one, self._rng)
        if best is not None:
            self._grant_to(one, best, now_ms)

    def _grant_waiting(self, member_id: str, by_heartbeat: bool, now_ms: int) -> None:
        """Spends one holder's new credit; nobody else has any that fits, or nothing would wait."""
        one = granting.pick(self._holders, self._waiting, member_id, by_heartbeat)
        while one is not None:
            self._grant_to(one, member_id, now_ms)
            one = granting.pick(self._holders, self._waiting, member_id, by_heartbeat)

    def _grant_to(self, one: Lease, member_id: str, now_ms: int) -> None:
        self._counts["granted"] += 1
        if one.holder is not None:
            one.regrants += 1
            self._counts["regranted"] += 1
        one.id = self._next_id(one.id.key)
        self._assign(one, member_id)
        self._holders[member_id].grant(one.id.counter, len(one.payload), now_ms)
        self._step(one, "grant", now_ms)
        remaining_ms = max(0, one.lock_end_ms - now_ms)
        grant = Grant(one.id, one.topic, remaining_ms, one.receipt, one.payload)
        self._send(member_id, grant)

    def _receive_back(
        self, one: Lease, sender: str, message: "Refuse | HandBack", now_ms: int
    ) -> None:
        """The holder gives a job back in good order: another may have it, without counting."""
        step = "refuse" if isinstance(message, Refuse) else "return"
        if not one.may(step):
            return
        if sender in self._holders:
            self._holders[sender].withdraw()
        self._assign(one, None)
        self._step(one, step, now_ms)
        self._grant(one, now_ms)

    def _receive_outcome(self, sender: str, report: OutcomeReport, now_ms: int) -> None:
        lease_id = report.lease
        one = self._leases.get(lease_id.key)
        if one is not None and one.id == lease_id:
            if one.holder == sender and one.may("outcome"):
                self._take_outcome(one, report.outcome, now_ms)
            return
        known = self._settled.get(lease_id)
        if known is None and one is None and lease_id.session != self._session:
            # Rule 5: the claimer that granted it is gone; the engine says if it still counts.
            one = Lease(lease_id, report.topic, report.receipt, b"", 0, now_ms, "regrant", now_ms)
            one.activation = self._next_id(lease_id.key).counter
            self._leases[lease_id.key] = one
            self._assign(one, sender)
            self._take_outcome(one, report.outcome, now_ms)
            return
        if known is None:
            self._counts["stale"] += 1
        self._send(sender, Settled(lease_id, known or "stale"))

    def _take_outcome(self, one: Lease, outcome: bytes, now_ms: int) -> None:
        self._step(one, "outcome", now_ms)
        one.outcome = outcome
        self._report(one)

    def _carry_over(self, one: Lease) -> None:
        """What no answer has come for is reported again, under the lock of the new activation."""
        new, one.successor = one.successor, None
        if new is not None:
            one.receipt = new.receipt
            one.lock_ms, one.lock_end_ms = new.lock_ms, new.lock_end_ms
            one.renew_at_ms = new.renew_at_ms
        self._report(one)

    def _report(self, one: Lease) -> None:
        one.payload = b""
        one.retry_at_ms = None
        self._events.append(Report(one, self._terms(one.topic)))
        self._arm(one)

    def _release(self, one: Lease, reason: str, now_ms: int) -> None:
        self._step(one, "release", now_ms)
        one.payload = b""
        one.reason = reason
        self._events.append(Release(one))

    def _handle_lease_timer(self, one: Lease, now_ms: int) -> None:
        waited_ms = now_ms - one.since_ms
        if one.state == states.GRANTED and now_ms >= self._accept_end_ms(one):
            if one.holder in self._holders:
                self._holders[one.holder].withdraw()
            self._lose(one, now_ms)
        elif one.state == states.WAITING and waited_ms >= self._config.waiting_ms:
            self._release(one, NO_ROOM, now_ms)
        elif one.state == states.ABANDONED and now_ms >= one.lock_end_ms:
            self._step(one, "settle", now_ms)
            self._forget(one, "its node was lost and its lock ended")
            return
        if one.retry_at_ms is not None and now_ms >= one.retry_at_ms:
            self._report(one)
        if self._renewable(one) and now_ms >= one.renew_at_ms:
            one.renewing = True
            self._events.append(Extend(one))
        self._arm(one)

    def _arm(self, one: Lease) -> None:
        """Sets the lease's timer to the earliest thing that `_handle_lease_timer` would do."""
        due: list[int] = []
        if one.state == states.GRANTED:
            due.append(self._accept_end_ms(one))
        elif one.state == states.WAITING:
            due.append(one.since_ms + self._config.waiting_ms)
        elif one.state == states.ABANDONED:
            due.append(one.lock_end_ms)
        if one.retry_at_ms is not None:
            due.append(one.retry_at_ms)
        if self._renewable(one):
            due.append(one.renew_at_ms)
        self._timers.set((_LEASE, one.id.key), min(due) if due else None)

    def _accept_end_ms(self, one: Lease) -> int:
        return self._judged_ms(one.since_ms + self._config.accept_ms)

    def _renewable(self, one: Lease) -> bool:
        """A lock is kept for whoever works or is about to; an adopted lease has none to keep."""
        if one.renewing or one.lock_ms == 0:
            return False
        return one.state in (states.WAITING, states.GRANTED, states.HELD) or (
            one.state == states.REPORTING and one.retry_at_ms is not None
        )

    def _step(self, one: Lease, step: str, now_ms: int) -> None:
        """Every step goes through here, so that `_waiting` and the timers follow."""
        one.step(step, now_ms)
        if one.state == states.WAITING:
            self._waiting[one.id.key] = one
        else:
            self._waiting.pop(one.id.key, None)
        self._arm(one)

    def _assign(self, one: Lease, member_id: "str | None") -> None:
        """Every change of a holder goes through here, so that `_leases_of` follows."""
        if one.holder is not None:
            theirs = self._leases_of[one.holder]
            del theirs[one.id.key]
            if not theirs:
                del self._leases_of[one.holder]
        one.holder = member_id
        if member_id is not None:
            self._leases_of.setdefault(member_id, {})[one.id.key] = one

    def _leases_with(self, member_id: str) -> list[Lease]:
        """Its leases, by key: maps keep no order on a microcontroller."""
        theirs = self._leases_of.get(member_id, {})
        return [theirs[key] for key in sorted(theirs)]

    def _worked(self, work: EngineWork) -> "Lease | None":
        """The lease that a call to the engine was for, if it is still the same activation."""
        one = self._leases.get(work.lease.key)
        return one if one is not None and one.activation == work.activation else None

    def _forget(self, one: Lease, result: str) -> None:
        """Takes it out of the table; a tombstone stays, to answer repeats."""
        key = one.id.key
        del self._leases[key]
        self._waiting.pop(key, None)
        self._timers.set((_LEASE, key), None)
        self._assign(one, None)
        self._settled.put(one.id, result)

    def _next_id(self, key: str) -> LeaseId:
        self._counter += 1
        return LeaseId(self.group, key, self._member_id, self._session, self.term, self._counter)

    def _send(self, member_id: str, message: "Message") -> None:
        self._messages.append((member_id, message))
