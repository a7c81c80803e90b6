"""Calls between services, the holder's side: what others call here, until they have its outcome.

Rules:

1. A grant is taken or refused at once, by the driver, who knows the services. Nothing is offered
   before. What is here is bounded, in number and in bytes: beyond, a grant is refused as `BUSY`.
2. Each outcome is kept, and repeated, until its caller has settled it, or until nobody can want it
   any more: the caller's time is over, or the caller is gone. So nothing is kept for ever, and
   nobody else ever answers for a call.
3. A call ends here with its caller: when membership knows its process no more, its worker is
   stopped. What is stopped, by that or by `Revoke`, has no outcome.
4. Of one caller, grants are taken in the order of their counters: one that comes late or twice is
   refused, so that nothing runs a second time.
5. While it has calls of a member, it names them to that member in each heartbeat, and once more
   when there are none left: what is missing there is lost.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.calling import BUSY, GROUP
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.holder import Cancel
from gossamer_mesh.leases.lease_id import in_order
from gossamer_mesh.leases.messages import (
    Accept,
    Grant,
    HandBack,
    Heartbeat,
    LeaseId,
    OutcomeReport,
    Refuse,
    Revoke,
    Settled,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import Message

CALLERS_KEPT_MAX = 1_024
"""Members whose newest grant is remembered; beyond, only those of living ones."""


class Asked:
    """A call that waits for a word: `accept` or `refuse` it now.

    Attributes:
        service: its name.
        remaining_ms: until the caller gives up.
        may_wait: whether it may wait here for its turn; if not, and it had to, it is `BUSY`.
        lost: holders that were lost with it before.
    """

    __slots__ = ("lease", "lost", "may_wait", "payload", "remaining_ms", "service")

    def __init__(self, grant: Grant) -> None:
        self.lease = grant.lease
        self.service = grant.topic
        self.payload = grant.payload
        self.remaining_ms = grant.remaining_ms
        self.may_wait = grant.receipt[:1] == b"\x01"
        self.lost = grant.receipt[1] if len(grant.receipt) > 1 else 0


class _Held:
    """A call that is here.

    Attributes:
        bytes_held: of its payload while it runs, of its outcome after.
        outcome: None while the worker has it.
        end_ms: when its caller gives up.
        repeat_at_ms: when to send the outcome again.
        tries: how often it was sent.
    """

    __slots__ = ("bytes_held", "end_ms", "lease", "outcome", "repeat_at_ms", "service", "tries")

    def __init__(self, grant: Grant, now_ms: int) -> None:
        self.lease = grant.lease
        self.service = grant.topic
        self.bytes_held = len(grant.payload)
        self.end_ms = now_ms + grant.remaining_ms
        self.outcome: bytes | None = None
        self.repeat_at_ms = 0
        self.tries = 0


class Answerer:
    """One member's holder of calls.

    Args:
        member_id: this member, which may call itself.
        session: of its process, as membership tells it.
        calls_max: calls that may be here at once, outcomes that wait to be settled included.
        bytes_max: of their payloads and outcomes together.
        config: bounds and intervals.
    """

    def __init__(
        self, member_id: str, session: int, calls_max: int, bytes_max: int, config: LeaseConfig
    ) -> None:
        self._member_id = member_id
        self._session = session
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._config = config
        self._sequence = 0
        self._draining = False
        self._sessions: dict[str, int] = {member_id: session}
        self._seen: dict[str, tuple[int, int]] = {}
        self._asked: dict[LeaseId, _Held] = {}
        self._running: dict[LeaseId, _Held] = {}
        self._finished: dict[LeaseId, _Held] = {}
        self._bytes_held = 0
        self._heartbeat_at_ms = 0
        self._audience_before: set[str] = set()
        self._messages: list[tuple[str, Message]] = []
        self._events: list[Asked | Cancel] = []
        self._counts = {"answered": 0, "turned_away": 0, "stopped": 0}

    # --- commands

    def accept(self, lease: LeaseId) -> None:
        """The call is taken; end it by `finish` or `hand_back`.

        Raises: MisuseError for one that was not asked.
        """
        held = self._asked.pop(lease, None)
        if held is None:
            raise MisuseError(f"{lease!r} was not asked, or has its answer")
        self._running[lease] = held
        self._send(lease.claimer, Accept(lease))

    def refuse(self, lease: LeaseId, reason: str) -> None:
        """The call is not taken; another member may be asked.

        Raises: MisuseError for one that was not asked.
        """
        held = self._asked.pop(lease, None)
        if held is None:
            raise MisuseError(f"{lease!r} was not asked, or has its answer")
        self._bytes_held -= held.bytes_held
        self._turn_away(lease, reason)

    def finish(self, lease: LeaseId, outcome: bytes, now_ms: int) -> None:
        """The worker is done. One that was stopped meanwhile is ignored.

        Raises: MisuseError, nothing changed, for an outcome over `outcome_bytes_max`.
        """
        if len(outcome) > self._config.outcome_bytes_max:
            raise MisuseError(
                f"an outcome of {len(outcome)} bytes; at most {self._config.outcome_bytes_max}"
            )
        held = self._drop(self._running, lease)
        if held is None:
            return
        self._counts["answered"] += 1
        held.outcome = outcome
        held.bytes_held = len(outcome)
        self._bytes_held += held.bytes_held
        self._finished[lease] = held
        self._send_outcome(held, now_ms)

    def hand_back(self, lease: LeaseId) -> None:
        """Gives a call back without outcome: this member is stopping."""
        if self._drop(self._running, lease) is not None:
            self._send(lease.claimer, HandBack(lease, "this node is stopping"))

    def drain(self) -> None:
        """Takes no more calls, but for those of its own jobs, which are to finish."""
        self._draining = True

    def set_members(self, sessions: dict[str, int]) -> None:
        """Says who is alive, each with the session of its process. Calls of the others end."""
        before, self._sessions = self._sessions, dict(sessions)
        if len(self._seen) > CALLERS_KEPT_MAX:
            self._seen = {one: seen for one, seen in self._seen.items() if one in sessions}
        for table in (self._running, self._finished):
            for lease in in_order(table):
                session = sessions.get(lease.claimer)
                # One that membership has not heard of yet may be a newcomer.
                is_gone = session is None and lease.claimer in before
                if is_gone or (session is not None and session != lease.session):
                    self._end(lease, "its caller is gone")

    # --- what the mesh says

    def receive_message(self, sender: str, message: "Message", now_ms: int) -> None:
        """Takes a caller's message. One that fits nothing is ignored, never raised."""
        if not isinstance(message, (Grant, Settled, Revoke)):
            return
        if message.lease.claimer != sender or message.lease.group != GROUP:
            return
        if isinstance(message, Grant):
            self._receive_grant(message, now_ms)
        elif isinstance(message, Settled):
            self._drop(self._finished, message.lease)
        else:
            self._end(message.lease, message.reason)

    # --- time

    def handle_timer(self, now_ms: int) -> None:
        """Heartbeats, repeated outcomes, and the end of what nobody can want any more."""
        if now_ms >= self._heartbeat_at_ms:
            self._heartbeat_at_ms = now_ms + self._config.heartbeat_ms
            self._send_heartbeats()
        for lease in in_order(self._running):
            if now_ms >= self._running[lease].end_ms:
                self._end(lease, "its caller's time is over")
        for lease in in_order(self._finished):
            held = self._finished[lease]
            if now_ms >= held.end_ms:
                self._drop(self._finished, lease)
            elif now_ms >= held.repeat_at_ms:
                self._send_outcome(held, now_ms)

    def get_timer(self) -> "int | None":
        """When `handle_timer` is next due; None while there is no call."""
        if not self._running and not self._finished and not self._audience_before:
            return None
        due_ms = self._heartbeat_at_ms
        for held in self._running.values():
            due_ms = min(due_ms, held.end_ms)
        for held in self._finished.values():
            due_ms = min(due_ms, held.end_ms, held.repeat_at_ms)
        return due_ms

    # --- output

    def messages_to_send(self) -> "list[tuple[str, Message]]":
        """Messages with the member that each is for, in order; taken once."""
        messages, self._messages = self._messages, []
        return messages

    def events(self) -> "list[Asked | Cancel]":
        """What the driver is to do, in order; taken once."""
        events, self._events = self._events, []
        return events

    def leases(self) -> list[LeaseId]:
        """What runs here, sorted."""
        return in_order(self._running)

    def statistics(self) -> dict[str, int]:
        """How many calls of others run here, and what became of the rest."""
        counts = dict(self._counts)
        counts["running"] = len(self._running)
        counts["unacknowledged"] = len(self._finished)
        return counts

    # --- inside

    def _receive_grant(self, grant: Grant, now_ms: int) -> None:
        lease = grant.lease
        refusal = self._refusal(grant)
        seen = self._seen.get(lease.claimer, (0, 0))
        if lease.session != seen[0] or lease.counter > seen[1]:
            self._seen[lease.claimer] = (lease.session, lease.counter)
        if refusal:
            self._turn_away(lease, refusal)
            return
        held = self._asked[lease] = _Held(grant, now_ms)
        self._bytes_held += held.bytes_held
        self._events.append(Asked(grant))

    def _refusal(self, grant: Grant) -> str:
        """Why the grant is not taken; empty when the driver is to say."""
        lease = grant.lease
        session, counter = self._seen.get(lease.claimer, (0, 0))
        if session == lease.session and lease.counter <= counter:
            return "it came late or twice"
        if self._draining and lease.claimer != self._member_id:
            return "this node is stopping"
        if len(self._asked) + len(self._running) + len(self._finished) >= self._calls_max:
            return BUSY
        if self._bytes_held + len(grant.payload) > self._bytes_max:
            return BUSY
        return ""

    def _turn_away(self, lease: LeaseId, reason: str) -> None:
        self._counts["turned_away"] += 1
        self._send(lease.claimer, Refuse(lease, reason))

    def _end(self, lease: LeaseId, reason: str) -> None:
        """Stops a call, or forgets its outcome."""
        if self._drop(self._running, lease) is not None:
            self._counts["stopped"] += 1
            self._events.append(Cancel(lease, reason))
        else:
            self._drop(self._finished, lease)

    def _drop(self, table: "dict[LeaseId, _Held]", lease: LeaseId) -> "_Held | None":
        held = table.pop(lease, None)
        if held is not None:
            self._bytes_held -= held.bytes_held
        return held

    def _send_outcome(self, held: _Held, now_ms: int) -> None:
        pause_ms = min(
            self._config.repeat_ms * 2 ** min(held.tries, 10), self._config.repeat_max_ms
        )
        held.repeat_at_ms = now_ms + pause_ms
        held.tries += 1
        assert held.outcome is not None, "it is finished"
        self._send(held.lease.claimer, OutcomeReport(held.lease, held.service, b"", held.outcome))

    def _send_heartbeats(self) -> None:
        theirs: dict[str, list[LeaseId]] = {}
        for table in (self._running, self._finished):
            for lease in in_order(table):
                theirs.setdefault(lease.claimer, []).append(lease)
        # Who had calls here until now hears once more, that there are none.
        for member_id in sorted(set(theirs) | self._audience_before):
            self._sequence += 1
            leases = theirs.get(member_id, [])
            self._send(member_id, Heartbeat(GROUP, self._session, self._sequence, [], leases))
        self._audience_before = set(theirs)

    def _send(self, member_id: str, message: "Message") -> None:
        self._messages.append((member_id, message))
