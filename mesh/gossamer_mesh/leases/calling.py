"""Calls between services, the caller's side: each call is a lease that this member grants itself.

A worker's call needs no engine, so no election either: who calls is the claimer of its call, and
whoever offers the service may be its holder. What it shares with an engine's job is the rest: the
ids, the messages, what a lost holder is, and that only the newest id's outcome counts.

Rules:

1. Nobody offers credit for calls: with a thousand nodes that would be a million offers. The call is
   granted, and a holder that has no room refuses; then the next is asked, `ASKED_MAX` of them, in
   the order that the driver gives. If all were busy, the first of those is asked again and may let
   the call wait for its turn there. If that fails as well, the call ends with a sentence: nothing
   waits here, so what waits is bounded by what holders bound.
2. Each grant has a new id. An outcome under another than the newest is answered `stale`, and who
   still runs under one is told to stop.
3. A holder is lost as for any lease: membership says so, its session is another, its heartbeat
   leaves out what it had accepted, it is silent, or it does not answer a grant for `accept_ms`. The
   call is granted to another then, `regrants_max` times; each grant says how many were lost.
4. A call ends with its caller's deadline, or when the caller does not want it any more, at once;
   its holder is told to stop.
5. After a pause of our own we listen before we judge anybody's silence.

When this member dies, nobody takes its calls over: whoever called died with it, and the engine's
job that they worked is granted anew and calls again, under the same keys.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.config import LeaseConfig
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

GROUP = "calls"
"""The group of all calls; those of engines have a slash in their names."""

BUSY = "it is busy"
"""Why a holder refuses what it might take a moment later."""

ASKED_MAX = 4
"""Holders that are asked for one call before one of them may let it wait: with so many busy ones
the fifth is hardly free, and each costs a trip over the network."""

LOOKING = "looking"
"""Nobody is known to have it."""
GRANTED = "granted"
"""Sent to a holder that has not answered."""
HELD = "held"
"""A holder has it."""
ENDED = "ended"
"""There is an outcome, or there will be none."""

TRANSITIONS = {
    (LOOKING, "grant"): GRANTED,
    (LOOKING, "end"): ENDED,
    (GRANTED, "accept"): HELD,
    (GRANTED, "refuse"): LOOKING,
    (GRANTED, "return"): LOOKING,
    (GRANTED, "lose"): LOOKING,
    (GRANTED, "end"): ENDED,
    (HELD, "accept"): HELD,
    (HELD, "return"): LOOKING,
    (HELD, "lose"): LOOKING,
    (HELD, "end"): ENDED,
}
"""(state, step) → next state."""

NOBODY, ALL_BUSY, LOST, LATE = "nobody", "busy", "lost", "late"
"""Why a call has no outcome: nobody took it; all that could were busy; its holders were lost; its
time was over."""


class Ended:
    """A call is over.

    Attributes:
        number: as `call` gave it.
        outcome: opaque; None where there is none.
        why: of `NOBODY`, `ALL_BUSY`, `LOST` and `LATE`, where there is none; else empty.
        reason: what the last holder said that did not take it; may be empty.
    """

    __slots__ = ("number", "outcome", "reason", "why")

    def __init__(self, number: int, outcome: "bytes | None", why: str, reason: str) -> None:
        self.number = number
        self.outcome = outcome
        self.why = why
        self.reason = reason


class _Call:
    """One call of this member's.

    Attributes:
        left: members that were not asked yet, the next first.
        busy: those that were, and may have room later.
        asked: how many were.
        may_wait: whether the last that was asked might let it wait.
        lost: how many were lost with it.
        holder: the member that has it or is asked.
        since_ms: when the state was entered.
    """

    __slots__ = (
        "asked",
        "busy",
        "deadline_ms",
        "holder",
        "key",
        "lease",
        "left",
        "lost",
        "may_wait",
        "number",
        "payload",
        "reason",
        "service",
        "since_ms",
        "state",
    )

    def __init__(
        self,
        number: int,
        key: str,
        service: str,
        members: list[str],
        payload: bytes,
        deadline_ms: int,
        now_ms: int,
    ) -> None:
        self.number = number
        self.key = key
        self.service = service
        self.left = members
        self.busy: list[str] = []
        self.payload = payload
        self.deadline_ms = deadline_ms
        self.asked = 0
        self.may_wait = False
        self.lost = 0
        self.holder = ""
        self.reason = ""
        self.state = LOOKING
        self.since_ms = now_ms
        self.lease: LeaseId | None = None

    def step(self, step: str, now_ms: int) -> None:
        """Takes a step of the table.

        Raises: MisuseError, the call unchanged, when the table has no such step.
        """
        following = TRANSITIONS.get((self.state, step))
        if following is None:
            raise MisuseError(f"call {self.number} cannot {step} while {self.state}")
        if following != self.state:
            self.since_ms = now_ms
        self.state = following


class _Peer:
    """A member that has calls of ours: its process, its newest heartbeat, when it last spoke."""

    __slots__ = ("heard_ms", "sequence", "session")

    def __init__(self, now_ms: int) -> None:
        self.session = 0
        self.sequence = 0
        self.heard_ms = now_ms


class Caller:
    """One member's calls of services, wherever these run.

    Args:
        member_id: this member.
        session: a number that another run of this process will not have; the one that membership
            tells, so that a holder knows when its caller is gone.
        calls_max: calls that may be open at once.
        config: bounds and intervals.
    """

    def __init__(self, member_id: str, session: int, calls_max: int, config: LeaseConfig) -> None:
        self._member_id = member_id
        self._session = session
        self._calls_max = calls_max
        self._config = config
        self._numbers = 0
        self._counter = 0
        self._calls: dict[int, _Call] = {}
        self._by_lease: dict[LeaseId, _Call] = {}
        self._sessions: dict[str, int] = {member_id: session}
        self._peers: dict[str, _Peer] = {}
        self._expected_ms: int | None = None
        self._listens_until_ms = 0
        self._messages: list[tuple[str, Message]] = []
        self._events: list[Ended] = []
        self._counts = {"called": 0, "refused": 0, "regranted": 0, "stale": 0, "unanswered": 0}

    # --- commands

    def call(
        self,
        key: str,
        service: str,
        members: list[str],
        payload: bytes,
        deadline_ms: int,
        now_ms: int,
    ) -> int:
        """Grants a call to the first of the members that takes it.

        Args:
            key: of the call's job.
            service: its name.
            members: who offers it, the best first.
            payload: opaque: what the holder needs.
            deadline_ms: when the caller gives up, on the clock of `now_ms`.

        Returns: the number that its `Ended` will have.

        Raises: MisuseError, nothing changed, for more calls than `calls_max`.
        """
        if self.is_full():
            raise MisuseError(f"{self._calls_max} calls are open, as many as may be")
        self._numbers += 1
        call = _Call(self._numbers, key, service, list(members), payload, deadline_ms, now_ms)
        self._calls[call.number] = call
        self._counts["called"] += 1
        self._ask_next(call, now_ms)
        return call.number

    def cancel(self, number: int, now_ms: int) -> None:
        """The caller does not want it any more: nothing follows. One that is over is ignored."""
        call = self._calls.get(number)
        if call is not None:
            self._stop(call, "the caller does not want it any more")
            self._drop(call, now_ms)

    def set_members(self, sessions: dict[str, int], now_ms: int) -> None:
        """Says who is alive, this member included, each with the session of its process."""
        self._sessions = dict(sessions)
        for call in self._in_order():
            if call.state == LOOKING:
                continue
            peer = self._peers.get(call.holder)
            session = self._sessions.get(call.holder)
            if session is None or (peer is not None and peer.session not in (0, session)):
                self._lose(call, now_ms)
        for member_id in sorted(self._peers):
            if member_id not in self._sessions:
                del self._peers[member_id]

    # --- what the mesh says

    def receive_message(self, sender: str, message: "Message", now_ms: int) -> None:
        """Takes a holder's message. One that fits nothing is ignored, never raised."""
        if isinstance(message, Heartbeat):
            self._receive_heartbeat(sender, message, now_ms)
            return
        if not isinstance(message, (Accept, Refuse, HandBack, OutcomeReport)):
            return
        call = self._by_lease.get(message.lease)
        if call is None or call.holder != sender:
            self._answer_stale(sender, message)
            return
        self._peer(sender, now_ms).heard_ms = now_ms
        if isinstance(message, Accept):
            call.step("accept", now_ms)
        elif isinstance(message, OutcomeReport):
            self._send(sender, Settled(message.lease, "applied"))
            self._end(call, message.outcome, "", now_ms)
        elif isinstance(message, HandBack):
            call.reason = message.reason
            call.step("return", now_ms)
            self._ask_next(call, now_ms)
        elif call.state == GRANTED:
            self._counts["refused"] += 1
            call.reason = message.reason
            if message.reason == BUSY and not call.may_wait:
                call.busy.append(sender)
            call.step("refuse", now_ms)
            self._ask_next(call, now_ms)

    # --- time

    def handle_timer(self, now_ms: int) -> None:
        """Ends what is late, and judges who is silent."""
        if self._expected_ms is not None and now_ms - self._expected_ms > self._config.heartbeat_ms:
            # This process did not run: messages wait unread.
            self._listens_until_ms = now_ms + self._config.accept_ms
        for call in self._in_order():
            if now_ms >= call.deadline_ms:
                self._stop(call, "the caller's time is over")
                self._end(call, None, LATE, now_ms)
            elif call.state != LOOKING and now_ms >= self._lost_ms(call):
                self._stop(call, "no word from its holder")
                self._lose(call, now_ms)
        self._expected_ms = self.get_timer()

    def get_timer(self) -> "int | None":
        """When `handle_timer` is next due; None while there is no call."""
        due_ms: int | None = None
        for call in self._calls.values():
            one_ms = call.deadline_ms
            if call.state != LOOKING:
                one_ms = min(one_ms, self._lost_ms(call))
            due_ms = one_ms if due_ms is None else min(due_ms, one_ms)
        return due_ms

    # --- output

    def messages_to_send(self) -> "list[tuple[str, Message]]":
        """Messages with the member that each is for, in order; taken once."""
        messages, self._messages = self._messages, []
        return messages

    def events(self) -> list[Ended]:
        """Calls that are over, in order; taken once."""
        events, self._events = self._events, []
        return events

    def is_full(self) -> bool:
        """Whether no other call may be opened now."""
        return len(self._calls) >= self._calls_max

    def holder_of(self, number: int) -> str:
        """The member that a call is granted to; empty for none."""
        call = self._calls.get(number)
        return "" if call is None or call.state == LOOKING else call.holder

    def statistics(self) -> dict[str, int]:
        """How many calls are open, and what became of the others."""
        counts = dict(self._counts)
        counts["open"] = len(self._calls)
        return counts

    # --- inside

    def _in_order(self) -> list[_Call]:
        return [self._calls[number] for number in sorted(self._calls)]

    def _ask_next(self, call: _Call, now_ms: int) -> None:
        """Grants the call to the next member, or ends it when there is none."""
        while call.left and call.asked < ASKED_MAX:
            member_id = call.left.pop(0)
            if member_id in self._sessions:
                call.asked += 1
                is_last = not call.left or call.asked == ASKED_MAX
                # Where all are asked once, the only one need not be asked twice.
                self._grant(call, member_id, is_last and not call.busy, now_ms)
                return
        while call.busy:
            member_id = call.busy.pop(0)
            if member_id in self._sessions:
                call.left = []
                self._grant(call, member_id, True, now_ms)
                return
        why = ALL_BUSY if call.reason == BUSY else LOST if call.lost else NOBODY
        self._end(call, None, why, now_ms)

    def _grant(self, call: _Call, member_id: str, may_wait: bool, now_ms: int) -> None:
        self._counter += 1
        lease = LeaseId(GROUP, call.key, self._member_id, self._session, 0, self._counter)
        self._forget_lease(call)
        call.lease = lease
        call.holder = member_id
        call.may_wait = may_wait
        self._by_lease[lease] = call
        call.step("grant", now_ms)
        peer = self._peer(member_id, now_ms)
        peer.session = self._sessions[member_id]
        terms = bytes([1 if may_wait else 0, call.lost])
        remaining_ms = max(0, call.deadline_ms - now_ms)
        self._send(member_id, Grant(lease, call.service, remaining_ms, terms, call.payload))

    def _lose(self, call: _Call, now_ms: int) -> None:
        """Its holder is gone, or seems so: another gets it, within bounds."""
        call.step("lose", now_ms)
        self._forget_lease(call)
        call.lost += 1
        call.reason = ""
        if call.lost > self._config.regrants_max:
            self._end(call, None, LOST, now_ms)
            return
        self._counts["regranted"] += 1
        # Others may be asked in its place, and those that were busy a while ago are asked first.
        call.left = [one for one in call.busy + call.left if one != call.holder]
        call.busy = []
        call.asked = 0
        self._ask_next(call, now_ms)

    def _end(self, call: _Call, outcome: "bytes | None", why: str, now_ms: int) -> None:
        if outcome is None:
            self._counts["unanswered"] += 1
        self._events.append(Ended(call.number, outcome, why, call.reason))
        self._drop(call, now_ms)

    def _drop(self, call: _Call, now_ms: int) -> None:
        call.step("end", now_ms)
        self._forget_lease(call)
        del self._calls[call.number]

    def _forget_lease(self, call: _Call) -> None:
        if call.lease is not None:
            self._by_lease.pop(call.lease, None)
            call.lease = None

    def _stop(self, call: _Call, reason: str) -> None:
        if call.state != LOOKING and call.lease is not None:
            self._send(call.holder, Revoke(call.lease, reason))

    def _answer_stale(self, sender: str, message: "Message") -> None:
        """What is said of a lease that is not current, or by who has not got it."""
        if isinstance(message, OutcomeReport):
            self._counts["stale"] += 1
            self._send(sender, Settled(message.lease, "stale"))
        elif isinstance(message, Accept):
            self._send(sender, Revoke(message.lease, "another has it, or nobody needs it"))

    def _receive_heartbeat(self, sender: str, heartbeat: Heartbeat, now_ms: int) -> None:
        peer = self._peers.get(sender)
        if peer is None:
            peer = self._peers[sender] = _Peer(now_ms)
        if heartbeat.session == peer.session and heartbeat.sequence <= peer.sequence:
            return  # it came late
        peer.session = heartbeat.session
        peer.sequence = heartbeat.sequence
        peer.heard_ms = now_ms
        named = set(heartbeat.leases)
        for lease in heartbeat.leases:
            call = self._by_lease.get(lease)
            if call is None or call.holder != sender:
                if lease.claimer == self._member_id:
                    self._send(sender, Revoke(lease, "another has it, or nobody needs it"))
            elif call.state == GRANTED:
                call.step("accept", now_ms)
        for call in self._in_order():
            if call.state == HELD and call.holder == sender and call.lease not in named:
                self._lose(call, now_ms)

    def _lost_ms(self, call: _Call) -> int:
        """When the call's holder counts as lost, if it says nothing."""
        if call.state == GRANTED:
            due_ms = call.since_ms + self._config.accept_ms
        else:
            peer = self._peers.get(call.holder)
            heard_ms = call.since_ms if peer is None else max(call.since_ms, peer.heard_ms)
            due_ms = heard_ms + self._config.silence_ms
        return max(due_ms, self._listens_until_ms)

    def _peer(self, member_id: str, now_ms: int) -> _Peer:
        peer = self._peers.get(member_id)
        if peer is None:
            peer = self._peers[member_id] = _Peer(now_ms)
        return peer

    def _send(self, member_id: str, message: "Message") -> None:
        self._messages.append((member_id, message))
