"""What a claimer asks of its engine for its leases, and what the answers do to them.

Calls are events (`Extend`, `Report`, `Release`); their ends come back through `handle_extended` and
`handle_settled`. What the engine is, this module does not know. Rules:

1. While the engine does not answer, outcomes wait and renewals go on, at most `retry_max_ms` apart.
   That a lock has ended by our clock drops nothing: both Camundas still take the outcome, until
   they have given the job to another.
2. What the engine says is not ours any more is dropped with its words: a holder that runs it is
   told to stop (`Revoke`), one that keeps an outcome is told to forget it (`Settled`).
3. One call at a time for a job: what is to end a lease waits for a renewal that is under way, also
   that of an earlier lease, or the renewal could arrive behind it and lock for nobody what was just
   released or failed.
4. What goes back to the engine is sent until it answers or the lock has ended by itself; once it
   has answered, never again. An engine that does not check who asks (Camunda 8) would take the job
   from whoever has it by then, such as the claimer of another part, and it would run again. That a
   dead claimer's poll may be open, and get what we release, is for `reclaiming` to mend.
5. A call may wait for its turn. Whoever makes it asks first whether it `is_current`.
"""

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import Revoke, Settled
from gossamer_mesh.leases.work import EngineWork, Extend, Release, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.config import LeaseConfig
    from gossamer_mesh.leases.losses import Losses
    from gossamer_mesh.leases.messages import Message, TopicTerms
    from gossamer_mesh.leases.table import LeaseTable


class EngineSide:
    """The half of a `Claimer` that faces the engine.

    Args:
        group: the claim group.
        config: bounds and intervals.
        table: the leases.
        losses: of jobs that are at the engine.
    """

    def __init__(
        self, group: str, config: "LeaseConfig", table: "LeaseTable", losses: "Losses"
    ) -> None:
        self.group = group
        self._config = config
        self._table = table
        self._losses = losses
        self._messages: list[tuple[str, Message]] = []
        self._events: list[EngineWork] = []
        self._renewals: dict[str, int] = {}  # on their way, by job: a lease may be gone sooner
        kinds = ("activated", "granted", "regranted", "inherited", "handed_over", "settled")
        self._counts = dict.fromkeys(kinds + ("released", "reclaimed", "stale", "bytes_moved"), 0)

    # --- answers of the engine

    def handle_extended(self, work: Extend, ours: "bool | None", now_ms: int) -> None:
        """Ends an `Extend`, also one that was not made any more.

        Args:
            work: as `events` gave it.
            ours: True, renewed; False, the engine says it is not ours; None, no answer.
        """
        key = work.lease.key
        self._renewals[key] = self._renewals.get(key, 0) - 1
        if self._renewals[key] <= 0:
            del self._renewals[key]
        waiting = self._table.get(key)
        if waiting is not None and waiting.call_waits:
            self._call(waiting)
        one = self._worked(work)
        if one is None:
            return
        one.renewing = False
        if ours:
            self._table.renewed(one, now_ms + work.lock_ms)
        if ours is None:
            # Of a short first lock less is left than a tenth of the whole.
            left_ms = max(one.lock_end_ms - now_ms, self._config.lock_ms_min)
            pause_ms = min(self._config.retry_max_ms, one.lock_ms // 10, left_ms // 4)
            one.renew_at_ms = now_ms + pause_ms
        elif ours and one.lock_ms != work.lock_ms:
            one.renew_at_ms = now_ms  # the worker asked for another length meanwhile
        else:
            one.renew_at_ms = now_ms + one.lock_ms // self._config.renew_fraction
        if ours is False and one.state not in (states.REPORTING, states.RELEASING):
            if one.holder is not None:
                self._send(one.holder, Revoke(one.id, "the engine took the job away"))
            if one.losses():
                self._losses.note(one.id.key, one.losses(), now_ms)
            self._table.forget(one, "the engine took the job away")
            return
        self._table.arm(one)

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
        if one is None or one.retry_at_ms is not None or one.call_waits:
            return
        if result is None and (one.state == states.REPORTING or now_ms < one.lock_end_ms):
            if one.successor is not None:
                self._carry_over(one)
                return
            one.tries += 1
            pause_ms = min(self._config.retry_max_ms, 100 * 2 ** min(one.tries, 10))
            one.retry_at_ms = now_ms + max(pause_ms, retry_after_ms)
            self._table.arm(one)
            return
        # A release is not tried for longer than the lock lasts: then it has ended by itself.
        if one.state == states.REPORTING:
            self._counts["settled"] += 1
            self._losses.forget(one.id.key)
            if one.holder is not None:
                self._send(one.holder, Settled(one.id, result or ""))
        else:
            self._counts["released"] += 1
        self._table.step(one, "settle", now_ms)
        self._table.forget(one, result or "released")
        if one.successor is not None:
            self._enter(one.successor, now_ms)

    def is_current(self, work: EngineWork) -> bool:
        """Whether a call is still to be made.

        Another activation of the job may be open by now; or what ends the lease waits for a renewal
        that nobody has sent yet, as for all the leases of a dead claimer whose jobs end at once.
        """
        one = self._worked(work)
        return one is not None and not (isinstance(work, Extend) and one.call_waits)

    # --- output

    def messages_to_send(self) -> "list[tuple[str, Message]]":
        """Messages with the member that each is for, in order; taken once."""
        messages, self._messages = self._messages, []
        return messages

    def events(self) -> "list[EngineWork]":
        """Work at the engine, in order; taken once."""
        events, self._events = self._events, []
        return events

    # --- inside

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
        self._call(one)

    def _release(self, one: Lease, reason: str, now_ms: int) -> None:
        """Gives it back. One that still has a holder has lost it: that counts, here too."""
        if one.holder is not None and one.regrants >= self._config.regrants_max:
            self._give_up(one, now_ms)
            return
        if one.holder is not None:
            one.regrants += 1
            self._table.assign(one, None)
        if one.regrants:
            self._losses.note(one.id.key, one.regrants, now_ms)
        self._table.step(one, "release", now_ms)
        one.payload = b""
        one.reason = reason
        self._call(one)

    def _call(self, one: Lease) -> None:
        """Asks the engine for what ends the lease, now or when it has answered a renewal."""
        one.retry_at_ms = None
        one.call_waits = one.id.key in self._renewals
        if not one.call_waits and one.state == states.RELEASING:
            self._events.append(Release(one))
        elif not one.call_waits:
            self._events.append(Report(one, self._terms(one.topic)))
        self._table.arm(one)

    def _renew(self, one: Lease) -> None:
        one.renewing = True
        self._renewals[one.id.key] = self._renewals.get(one.id.key, 0) + 1
        self._events.append(Extend(one))

    def _worked(self, work: EngineWork) -> "Lease | None":
        """The lease that a call to the engine was for, if it is still the same activation."""
        one = self._table.get(work.lease.key)
        return one if one is not None and one.activation == work.activation else None

    def _give_up(self, one: Lease, now_ms: int) -> None:
        """Too many nodes were lost that had it: the claimer reports a failure."""
        raise NotImplementedError

    def _terms(self, topic: str) -> "TopicTerms | None":
        """What the holders say of a topic: the claimer knows."""
        raise NotImplementedError

    def _enter(self, one: Lease, now_ms: int) -> None:
        """A lease is new in the table: the claimer grants it."""
        raise NotImplementedError

    def _send(self, member_id: str, message: "Message") -> None:
        self._messages.append((member_id, message))
