"""The claimer's side: credits in, grants out; the engine's lock kept; outcomes fenced by epoch.

Rules:

1. It asks the engine for no more than its credits, and grants no more than a holder offered. What
   no holder takes within `waiting_ms` goes back to the engine.
2. Every grant has an id that never comes again. An outcome counts only under the lease id that is
   current; an older one is answered `stale` and changes nothing.
3. A holder is lost when membership says so, when its session changes, when a heartbeat leaves the
   lease out, or when it is silent. Its leases are granted again at once, at most `regrants_max`
   times for one job until the engine has counted a failure; then the claimer gives up and reports
   one itself. What goes back to the engine takes its count along (`losses`). Where nobody else can
   take a lease, a holder that speaks again goes on with it. What a holder still runs although
   another has it by now is revoked when its heartbeat names it. A holder that speaks but has had a
   job for longer than its service takes (`held_ms_max`) is stuck: revoked, then lost.
4. A claimer that is no longer elected keeps its leases until they settle, as long as it reaches
   the engine: to hand them over would cost messages and gain nothing. If it does not, whoever
   claims then, its heir, gets them (`handover`).
5. When a claimer is gone, its heir takes its leases over (`takeover`), by the picture that it has
   of them (`standby`). What no picture shows, the holders name: who answers for a lease is theirs
   to say. An outcome of a lease that another claimer granted, and that is not in our table, is
   reported to the engine: it alone can say whether the job is still there.
6. After a pause of our own we listen before we judge anybody's silence.

What is asked of the engine, and its answers, are in `engine_side`; how leases pass from claimer to
claimer in `inheriting`; the table's indexes in `table`.
"""

from gossamer_mesh.leases import granting
from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.credit import HolderView
from gossamer_mesh.leases.inheriting import Inheriting
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import (
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
from gossamer_mesh.leases.mirroring import AboutMirror, HandOver, Mirror, TakenOver
from gossamer_mesh.leases.table import LEASE
from gossamer_mesh.leases.work import NO_CLAIM, NO_ROOM
from gossamer_mesh.swim.rng import Rng

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import Message

_HOLDER = "holder"
"""What a timer is for, beside a lease."""


class Claimer(Inheriting):
    """One member's claimer of one claim group.

    Args:
        group: the claim group, `engine/name`.
        member_id: this member.
        session: a number that another run of this process will not have.
        config: bounds and intervals.
    """

    def __init__(self, group: str, member_id: str, session: int, config: LeaseConfig) -> None:
        super().__init__(group, member_id, session, config)
        self.term = 0
        self._counter = 0
        self._rng = Rng(session)
        self._holders: dict[str, HolderView] = {}

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
        free = granting.room(self._holders, self._table.waiting, None)
        if topic is None:
            return free
        return min(free, granting.room(self._holders, self._table.waiting, topic))

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

        When another is elected by now, it goes back.
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
        if terms is not None:
            new.lock_ms = max(lock_ms, terms.lock_ms)  # the first lock may be a shorter one
        self._counts["activated"] += 1
        self._counts["bytes_moved"] += len(payload)
        losses = self.losses_of(key, now_ms)
        self._standby.void(key)
        older = self._table.get(key)
        if older is not None and older.state == states.REPORTING:
            older.successor = new
            if older.retry_at_ms is not None:
                self._carry_over(older)
            return
        new.regrants = losses
        if older is not None:
            new.regrants = max(new.regrants, older.losses())
            if older.holder is not None:
                self._send(older.holder, Revoke(older.id, "the engine gave the job out anew"))
            self._table.forget(older, "the engine gave the job out anew")
        self._enter(new, now_ms)
        waits = new.state == states.WAITING
        if waits and not granting.may_wait(self._holders, self._table.waiting, new):
            # More than was asked for, or its credit went while the poll was open: not ours to keep.
            self._release(new, NO_ROOM, now_ms)

    def release_waiting(self, now_ms: int) -> None:
        """Gives back what no holder has: credit goes to another claimer now, or there is none."""
        for one in self._table.all_waiting():
            self._release(one, NO_CLAIM, now_ms)

    # --- what the mesh says

    def receive_message(self, sender: str, message: "Message", now_ms: int) -> None:
        """Takes a holder's message. What does not fit the table is ignored, never raised."""
        if isinstance(message, (Offer, Heartbeat)):
            if message.group == self.group:
                self._receive_state(sender, message, now_ms)
            return
        if isinstance(message, (Mirror, AboutMirror, HandOver, TakenOver)):
            if message.group == self.group:
                self._receive_passing(sender, message, now_ms)
            return
        if message.lease.group != self.group:
            return
        if isinstance(message, OutcomeReport):
            self._receive_outcome(sender, message, now_ms)
            return
        one = self._table.get(message.lease.key)
        if one is None and isinstance(message, Inherited):
            if sender in self._holders:
                self._inherit_from(sender, message, now_ms)
            return
        if one is None or one.id != message.lease or one.holder != sender:
            return
        if isinstance(message, (Accept, Inherited)):
            self._accept(one, now_ms)
        elif isinstance(message, (Refuse, HandBack)):
            self._receive_back(one, sender, message, now_ms)
        elif isinstance(message, Keep):
            if one.inherited:
                self._move(one, now_ms)
        elif isinstance(message, Prolong) and one.state in (states.GRANTED, states.HELD):
            config = self._config
            one.lock_ms = min(max(message.lock_ms, config.lock_ms_min), config.lock_ms_max)
            one.renew_at_ms = now_ms
            self._start_clock(one, now_ms, one.lock_ms)
            self._table.arm(one)

    def handle_member_lost(self, member_id: str, now_ms: int, session: "int | None" = None) -> None:
        """Membership calls the member dead, or it left: its credit and what it held are void.

        If it claimed, and this member mirrors its table, what it granted is ours to look after.

        Args:
            session: of its process, if it claimed for the group; None where it did not.
        """
        self._alive.discard(member_id)
        self._searches.lose_holder(member_id)
        self._lose_all([member_id], now_ms)
        self._search(member_id, session, now_ms)
        self._take_over(self._standby.take(member_id, now_ms), now_ms)

    # --- time

    def handle_timer(self, now_ms: int) -> None:
        """Does what is due: renewals, retries, unanswered grants, silent holders, the mirror."""
        due_ms = self._table.timers.next_ms()
        if due_ms is not None and due_ms <= now_ms:
            self._handle_due(due_ms, now_ms)
        self._say_next(now_ms)

    def _handle_due(self, due_ms: int, now_ms: int) -> None:
        if now_ms - due_ms > self._config.heartbeat_ms:
            # We did not run for a while. What others said meanwhile lies unread, so that they
            # seem silent proves nothing yet.
            self._table.grace_end_ms = now_ms + self._config.accept_ms
        timers = self._table.timers
        silent: list[str] = []
        leases: list[Lease] = []
        name = timers.pop(now_ms)
        while name is not None:
            if name[0] == LEASE:
                leases.append(self._table.leases[name[1]])
            elif self._silence_ms(self._holders[name[1]]) <= now_ms:
                silent.append(name[1])
            else:
                timers.set(name, self._silence_ms(self._holders[name[1]]))
            name = timers.pop(now_ms)
        self._lose_all(silent, now_ms)
        for one in leases:
            if self._table.get(one.id.key) is one:
                self._handle_lease_timer(one, now_ms)

    def get_timer(self) -> "int | None":
        """When `handle_timer` is next due, in the caller's milliseconds; None for never."""
        due = [self._table.timers.next_ms()] + self._say_next_at_ms()
        known = [one for one in due if one is not None]
        return min(known) if known else None

    # --- output

    def leases(self) -> list[Lease]:
        """The open leases, by key. To read, not to change."""
        return [self._table.leases[key] for key in sorted(self._table.leases)]

    def open_jobs(self) -> dict[str, int]:
        """How many jobs of each topic have a holder, or are on their way to one."""
        jobs: dict[str, int] = {}
        for one in self._table.leases.values():
            if one.state in (states.GRANTED, states.HELD):
                jobs[one.topic] = jobs.get(one.topic, 0) + 1
        return jobs

    def statistics(self) -> dict[str, int]:
        """Counts since the start, and how many leases and holders there are now."""
        return dict(
            self._counts,
            open=len(self._table.leases),
            mirrored=len(self._standby.keys()),
            holders=len(self._holders),
        )

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
        self._table.timers.set((_HOLDER, sender), self._silence_ms(holder))
        if isinstance(message, Offer):
            ours = message.claimer_session == self._session
            counter_seen = message.counter_seen if ours else 0
            lost_ms = now_ms - self._config.accept_ms
            holder.offer(message.slots_free, message.bytes_free, counter_seen, lost_ms)
        else:
            holder.topics = {one.name: one for one in message.topics}
            self._compare_holdings(sender, message, now_ms)
        self._grant_waiting(sender, isinstance(message, Heartbeat), now_ms)

    def _compare_holdings(self, sender: str, heartbeat: Heartbeat, now_ms: int) -> None:
        """What the holder says it has, against what we believe it has."""
        held, moved = set(heartbeat.leases), set(heartbeat.moved)
        for one in self._table.of(sender):
            if one.id in held:
                self._accept(one, now_ms)
            elif one.id in moved:
                self._move(one, now_ms)
            elif one.state == states.HELD:
                self._lose(one, now_ms)
        for place, thousandths, sentence in heartbeat.progress:
            named = self._table.get(heartbeat.leases[place].key)
            if named is not None and named.id == heartbeat.leases[place]:
                named.progress = (thousandths, sentence)
        for lease_id in heartbeat.leases:
            one_now = self._table.get(lease_id.key)
            if one_now is not None and one_now.id == lease_id:
                continue
            known = self._table.settled.get(lease_id)
            if one_now is None and known is None and self._moved_to(lease_id):
                self._send(sender, Yield(lease_id, self._moved_to(lease_id)))
            elif self._is_ours(lease_id) or one_now is not None or known is not None:
                # Lost, and by now with another or settled; or its end was told but not heard.
                self._send(sender, Revoke(lease_id, known or "stale"))
            else:
                # Its claimer is gone, and nobody has told us of it: again, until it is settled.
                self._send(sender, Inherit(lease_id))

    def _accept(self, one: Lease, now_ms: int) -> None:
        """Its holder has it. Only a holder of whom we have a view can fall silent again."""
        if one.may("accept") and one.holder in self._holders:
            if one.state == states.INHERITED:
                self._start_clock(one, now_ms, 0)
            self._table.step(one, "accept", now_ms)

    def _start_clock(self, one: Lease, now_ms: int, asked_ms: int) -> None:
        """From now on its holder has as long as its service takes, or as long as it asked for."""
        view = self._holders.get(one.holder or "")
        terms = None if view is None else view.topics.get(one.topic)
        if terms is not None and terms.held_ms_max:
            one.held_end_ms = now_ms + max(terms.held_ms_max, asked_ms)

    def _silence_ms(self, holder: HolderView) -> int:
        """When this holder, if it says nothing more, is taken for lost."""
        return self._table.judged_ms(holder.heard_ms + self._config.silence_ms)

    def _lose_all(self, member_ids: list[str], now_ms: int) -> None:
        """Void the views of all these first, so that none gets the leases of another."""
        for member_id in member_ids:
            self._holders.pop(member_id, None)
            self._table.timers.set((_HOLDER, member_id), None)
        for member_id in member_ids:
            for one in self._table.of(member_id):
                if one.state in (states.GRANTED, states.INHERITED, states.HELD):
                    self._lose(one, now_ms)

    def _lose(self, one: Lease, now_ms: int) -> None:
        """Its holder is lost, or seems so: `one.holder` stays, until another has the lease."""
        if one.on_lost == "wait":
            self._table.step(one, "abandon", now_ms)
        elif one.regrants >= self._config.regrants_max:
            self._give_up(one, now_ms)
        elif one.inherited:
            self._release(one, "its claimer was lost, and its node", now_ms)
        else:
            self._table.step(one, "lose", now_ms)
            self._grant(one, now_ms)

    def _give_up(self, one: Lease, now_ms: int) -> None:
        self._table.step(one, "give_up", now_ms)
        self._table.assign(one, None)
        one.reason = f"{one.regrants + 1} nodes in a row were lost while they had this job"
        self._report(one)

    def _session_of(self, member_id: str) -> "int | None":
        view = self._holders.get(member_id)
        return None if view is None else view.session

    def _terms(self, topic: str) -> "TopicTerms | None":
        return granting.terms_of(self._holders, topic, self._config)

    # --- leases

    def _enter(self, one: Lease, now_ms: int) -> None:
        self._table.put(one)
        if self.elected:
            self._grant(one, now_ms)
        else:
            # By a poll from when it was. Who still offers has not heard, or hears us no more.
            self._release(one, NO_CLAIM, now_ms)

    def _grant(self, one: Lease, now_ms: int) -> None:
        """Gives a waiting lease to a holder, if there is one for it."""
        best = granting.choose(self._holders, one, self._config, self._rng)
        if best is not None:
            self._grant_to(one, best, now_ms)

    def _grant_waiting(self, member_id: str, by_heartbeat: bool, now_ms: int) -> None:
        """Spends one holder's new credit; nobody else has any that fits, or nothing would wait."""
        waiting = self._table.waiting
        while True:
            one = granting.pick(self._holders, waiting, member_id, by_heartbeat, self._config)
            if one is None:
                return
            self._grant_to(one, member_id, now_ms)

    def _grant_to(self, one: Lease, member_id: str, now_ms: int) -> None:
        self._counts["granted"] += 1
        if one.holder is not None:
            one.regrants += 1
            self._counts["regranted"] += 1
        one.id = self._next_id(one.id.key)
        one.progress = None
        self._table.assign(one, member_id)
        self._holders[member_id].grant(one.id.counter, len(one.payload), now_ms)
        one.held_end_ms = None
        self._start_clock(one, now_ms, 0)
        self._table.step(one, "grant", now_ms)
        remaining_ms = max(0, one.lock_end_ms - now_ms)
        grant = Grant(one.id, one.topic, remaining_ms, one.receipt, one.payload)
        self._send(member_id, grant)

    def _receive_back(
        self, one: Lease, sender: str, message: "Refuse | HandBack", now_ms: int
    ) -> None:
        """The holder gives a job back in good order: another may have it, without counting."""
        if one.inherited:
            if isinstance(message, HandBack) and one.may("release"):
                self._table.assign(one, None)
                self._release(one, message.reason, now_ms)
            elif one.state == states.INHERITED:
                self._lose(one, now_ms)  # it never had it, or ran it in an earlier life
            return
        step = "refuse" if isinstance(message, Refuse) else "return"
        if not one.may(step):
            return
        self._withdraw(sender)
        self._table.assign(one, None)
        self._table.step(one, step, now_ms)
        self._grant(one, now_ms)

    def _receive_outcome(self, sender: str, report: OutcomeReport, now_ms: int) -> None:
        lease_id = report.lease
        one = self._table.get(lease_id.key)
        if one is not None and one.id == lease_id:
            if one.holder == sender and one.may("outcome"):
                self._take_outcome(one, report.outcome, now_ms)
            return
        known = self._table.settled.get(lease_id)
        if known is None and one is None and self._moved_to(lease_id):
            self._send(sender, Yield(lease_id, self._moved_to(lease_id)))
            return
        if known is None and one is None and not self._is_ours(lease_id):
            # Rule 5: the claimer that granted it is gone; the engine says if it still counts.
            one = Lease(lease_id, report.topic, report.receipt, b"", 0, now_ms, "regrant", now_ms)
            one.activation = self._next_id(lease_id.key).counter
            self._searches.note(lease_id.key)
            self._table.put(one)
            self._table.assign(one, sender)
            self._take_outcome(one, report.outcome, now_ms)
            return
        if known is None:
            self._counts["stale"] += 1
        self._send(sender, Settled(lease_id, known or "stale"))

    def _take_outcome(self, one: Lease, outcome: bytes, now_ms: int) -> None:
        self._table.step(one, "outcome", now_ms)
        one.outcome = outcome
        self._counts["bytes_moved"] += len(outcome)
        self._report(one)

    def _handle_lease_timer(self, one: Lease, now_ms: int) -> None:
        waited_ms = now_ms - one.since_ms
        unanswered = one.state in (states.GRANTED, states.INHERITED)
        if unanswered and now_ms >= self._table.accept_end_ms(one):
            self._withdraw(one.holder)
            self._lose(one, now_ms)
        elif one.state == states.HELD and self._is_stuck(one, now_ms):
            self._take_away(one, now_ms)
        elif one.state == states.WAITING and waited_ms >= self._config.waiting_ms:
            self._release(one, NO_ROOM, now_ms)
        elif one.state == states.ABANDONED and now_ms >= one.lock_end_ms:
            self._table.step(one, "settle", now_ms)
            self._table.forget(one, "its node was lost and its lock ended")
            return
        if one.retry_at_ms is not None and now_ms >= one.retry_at_ms:
            self._call(one)
        if self._table.is_renewable(one) and now_ms >= one.renew_at_ms:
            self._renew(one)
        self._table.arm(one)

    def _is_stuck(self, one: Lease, now_ms: int) -> bool:
        return one.held_end_ms is not None and now_ms >= self._table.judged_ms(one.held_end_ms)

    def _take_away(self, one: Lease, now_ms: int) -> None:
        """Its holder speaks, but the job has been there for too long. This counts as a loss."""
        holder = one.holder
        if holder is not None:
            self._send(holder, Revoke(one.id, "it took too long, and did not ask for more time"))
        self._withdraw(holder)
        self._lose(one, now_ms)

    def _withdraw(self, member_id: "str | None") -> None:
        """No more for this holder until it offers again."""
        if member_id in self._holders:
            self._holders[member_id].withdraw()

    def _next_id(self, key: str) -> LeaseId:
        self._counter += 1
        return LeaseId(self.group, key, self._member_id, self._session, self.term, self._counter)
