"""`Swim`: one member's whole protocol as a state machine, driven by its verbs.

    receive_datagram(data, address, now_ms)          what came, seal removed
    receive_stream_frame(data, sender_id, now_ms)    what came over a stream, its sender proved
    handle_timer(now_ms)                             time went on
    get_timer() -> int | None                        when to call handle_timer next
    datagrams_to_send() -> [(data, address)]         what to send, seal to be added
    stream_frames_to_send() -> [(data, address, id)] what to send over a stream of its own each
    next_event() -> event | None                     what to tell

and the commands `join`, `set_seeds`, `set_tags`, `leave`. After any call the driver takes
frames and events and asks for the timer. No clock, socket or randomness of its own: `now_ms`
is any clock that never goes back, in whole milliseconds; equal inputs give equal outputs. Rules:

1. A member is judged by `state.supersedes` and `state.TRANSITIONS`, whoever brings the word.
2. Only a member raises its own incarnation: when it hears a worse or a foreign word on itself
   (refutation), and when it changes its tags.
3. Whatever changes the table is handed on, word for word, except by one who is new itself.
4. A death learnt from a table, not from the one who saw it, is a suspicion here: after a partition
   the dead of the other side are asked before they are believed.
5. Who still speaks of a member that we hold dead gives us a reason to ask that member itself.

The driver must read all datagrams that wait before it calls `handle_timer`: after a stall the
answers lie in its socket. `ALGORITHM.md` has the protocol in words.
"""

from gossamer_mesh.swim import config as tuning
from gossamer_mesh.swim.broadcast import Broadcasts
from gossamer_mesh.swim.codec import (
    ACK,
    GOSSIP,
    INCARNATION_MAX,
    PING,
    PING_REQUEST,
    SEQUENCE_MAX,
    STATE,
    SYNC,
    Frame,
    Profile,
    Update,
)
from gossamer_mesh.swim.events import JoinAnswered, JoinUnanswered, LeaveDone, MemberEvent
from gossamer_mesh.swim.members import Member, Members, member_of
from gossamer_mesh.swim.outbox import Outbox
from gossamer_mesh.swim.prober import Prober
from gossamer_mesh.swim.state import (
    ALIVE,
    CHANGED,
    DEAD,
    DIED,
    JOINED,
    LEFT,
    NOTHING,
    PRESENT,
    SUSPECT,
    TRANSITIONS,
    UNKNOWN,
    supersedes,
)
from gossamer_mesh.swim.suspicion import Suspicions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gossamer_mesh.swim.codec import Codec
    from gossamer_mesh.swim.events import Event
    from gossamer_mesh.swim.rng import Rng

    Address = tuple[str, int]

JOINS_MAX = 64
"""Addresses asked for the mesh at one time."""


class Swim:
    """One member.

    Args:
        config: see `config.Config`.
        codec: how frames are packed.
        rng: its own stream of choices.
        node_id: 32 lowercase hex digits, the same over restarts.
        incarnation: to begin with. One that is higher than before a restart (wall-clock
            milliseconds) saves a refutation; a lower one is corrected by what others remember.
        profile: what this member says of itself, its address as others reach it.
        now_ms: the time.

    Raises:
        MisuseError: the profile or the incarnation is out of bounds.
    """

    def __init__(
        self,
        *,
        config: tuning.Config,
        codec: "Codec",
        rng: "Rng",
        node_id: str,
        incarnation: int,
        profile: Profile,
        now_ms: int,
    ) -> None:
        self.node_id = node_id
        self._config = config
        self._codec = codec
        self._rng = rng
        self._seeds: list[Address] = []
        self._now_ms = now_ms
        self._members = Members()
        self._broadcasts = Broadcasts(config.broadcasts_max)
        self._suspicions = Suspicions()
        self._joins: dict[Address, _Join] = {}
        self._asked_at_ms: dict[str, int] = {}
        self._returned: list[str] = []
        self._leaving = False
        self._left = False
        self._leave_end_ms = 0
        self._sequence = rng.bits()
        self._outbox = Outbox(node_id, config, codec, self._members, self._broadcasts)
        self._events: list[Event] = []
        self._counts: dict[str, int] = {}
        self._prober = Prober(
            config=config,
            rng=rng,
            members=self._members,
            outbox=self._outbox,
            next_sequence=self._next_sequence,
            count=self._count,
            now_ms=now_ms,
        )
        # Members that start together must not speak together.
        self._gossip_ms = now_ms
        self._sync_ms = now_ms + rng.below(config.sync_interval_ms)
        self._reconnect_ms = now_ms + rng.below(config.reconnect_interval_ms)
        claim = codec.claim(node_id, incarnation, profile)
        self._members.put(member_of(claim, profile, now_ms))

    # What the owner sees.

    @property
    def own(self) -> Member:
        """This member itself."""
        own = self._members.get(self.node_id)
        assert own is not None
        return own

    def member(self, id: str) -> Member | None:
        """Anyone known, the dead and departed of late included."""
        return self._members.get(id)

    def present(self) -> list[Member]:
        """Members alive or suspected, this one included, sorted by id."""
        members = [self._members.get(id) for id in self._members.present()]
        return [member for member in members if member is not None]

    def statistics(self) -> dict[str, int]:
        """Counters since the start, and gauges."""
        return self._counts | {
            "members_present": len(self._members.present()),
            "members_gone": len(self._members.ids()) - len(self._members.present()),
            "suspicions": len(self._suspicions),
            "broadcasts_waiting": len(self._broadcasts),
            "broadcasts_dropped": self._broadcasts.dropped,
            "relays": self._prober.relay_count,
            "datagrams_dropped": self._outbox.dropped,
            "stream_frames_dropped": self._outbox.stream_frames_dropped,
            "frames_rejected": self._codec.frames_rejected,
            "updates_rejected": self._codec.updates_rejected,
        }

    # Commands.

    def join(self, addresses: "Iterable[Address]", now_ms: int) -> None:
        """Asks members at these addresses for their tables, until each answers or is given up.

        Each address ends in one event, `JoinAnswered` or `JoinUnanswered`; those beyond
        `JOINS_MAX` at a time, and all of a member that leaves, are unanswered at once.
        """
        self._now_ms = now_ms
        for address in sorted(set(addresses)):
            join = self._joins.get(address)
            if join is not None and not join.is_answered:
                continue
            if self._leaving or (join is None and len(self._joins) >= JOINS_MAX):
                self._tell(JoinUnanswered(address))
            else:
                self._joins[address] = _Join(address, now_ms)
        self._run_joins()

    def set_seeds(self, addresses: "Iterable[Address]") -> None:
        """Other addresses to ask, now and then, while no member has them."""
        self._seeds = sorted(set(addresses))

    def leave(self, now_ms: int) -> None:
        """Says goodbye. The event `LeaveDone` follows; meanwhile keep driving."""
        self._now_ms = now_ms
        if self._leaving:
            return
        own = self.own
        self._leaving = True
        self._prober.stop()
        self._leave_end_ms = now_ms + self._config.leave_timeout_ms
        goodbye = self._codec.verdict(LEFT, own.id, own.incarnation, own.id)
        self._members.put(own.after(goodbye, now_ms))
        self._broadcast(goodbye)
        for address in sorted(self._joins):
            if not self._joins[address].is_answered:
                # Somebody there may know us already, although we know nobody.
                self._outbox.send(GOSSIP, address, "", 0)
                self._tell(JoinUnanswered(address))
        self._joins = {}
        self._run_gossip()
        self._run_leave()

    def set_tags(self, tags: bytes, now_ms: int) -> None:
        """Says something new of oneself under the next incarnation; the same again costs nothing.

        Raises:
            MisuseError: more than `codec.TAGS_BYTES_MAX` bytes. The tags are as before.
        """
        self._now_ms = now_ms
        own = self.own
        before = own.profile
        if self._leaving or tags == before.tags:
            return
        profile = Profile(before.host, before.port, before.name, tags, before.session)
        self._say(own.incarnation + 1, profile)

    # The verbs.

    def receive_datagram(self, data: bytes, address: "Address", now_ms: int) -> None:
        """Takes a frame that came from `address`. Anything but a frame is counted and dropped."""
        self._now_ms = now_ms
        frame = self._codec.decode(data)
        if frame is not None:
            self._receive(frame, address)

    def receive_stream_frame(self, data: bytes, sender_id: str, now_ms: int) -> None:
        """Takes a frame that came over a stream, whose far end proved to be `sender_id`.

        Answers go out as stream frames, to the address that the table has for the sender.
        Anything but a frame, and a frame that names another sender, is counted and dropped.
        """
        self._now_ms = now_ms
        frame = self._codec.decode(data, by_stream=True)
        if frame is not None and frame.sender != sender_id:
            self._count("frames_of_another_sender")
        elif frame is not None:
            self._receive(frame, None)

    def _receive(self, frame: Frame, address: "Address | None") -> None:
        """Takes a frame that came from `address`, or over a stream (None)."""
        if self._left:
            return
        if frame.sender == self.node_id:
            self._count("frames_of_our_own_id")
            return
        if frame.kind in (PING, STATE) and frame.target not in ("", self.node_id):
            # Another member had this address before, or a restart is not known yet.
            self._count("frames_misaddressed")
            return
        join = self._join_answered_by(frame)
        for update in frame.updates:
            self._hear(update, frame, hand_on=join is None or not join.is_first)
        by_stream = address is None
        if address is None:
            sender = self._members.get(frame.sender)
            if sender is None:
                self._count("stream_frames_of_strangers")
                return
            address = sender.address
        if frame.kind == PING:
            self._outbox.send(
                ACK,
                address,
                frame.sender,
                frame.sequence,
                target=self.node_id,
                by_stream=by_stream,
            )
        elif frame.kind == ACK:
            self._prober.handle_ack(frame, by_stream=by_stream)
        elif frame.kind == PING_REQUEST:
            self._prober.relay(frame, address, self._now_ms)
        elif frame.kind == SYNC:
            self._send_table(STATE, address, frame.sender, frame.sequence, by_stream=by_stream)
        elif join is not None and not join.is_answered:
            join.is_answered = True
            self._tell(JoinAnswered(join.address))

    def handle_timer(self, now_ms: int) -> None:
        """Does what is due. Call it when `get_timer` says so; early calls do nothing."""
        due_ms = self.get_timer()
        self._now_ms = now_ms
        if due_ms is None or due_ms > now_ms:
            return
        late_ms = now_ms - due_ms
        if late_ms > self._config.stall_ms:
            self._count("stalls")
            self._suspicions.put_off(late_ms)
            self._prober.put_off(late_ms)
        self._run_joins()
        self._run_probe()
        for id in self._suspicions.expired(now_ms):
            self._pass_verdict(DEAD, id)
        self._run_gossip()
        self._run_sync()
        self._run_reconnect()
        self._run_leave()

    def get_timer(self) -> int | None:
        """When `handle_timer` has something to do, in the clock of `now_ms`; None: never again."""
        if self._left:
            return None
        if self._leaving:
            timers = [self._leave_end_ms]
        else:
            timers = [self._prober.timer_ms, self._sync_ms, self._reconnect_ms]
            timers.extend(join.next_ms for join in self._joins.values())
        suspicion_ms = self._suspicions.timer_ms()
        if suspicion_ms is not None:
            timers.append(suspicion_ms)
        if len(self._broadcasts) and self._peers():
            timers.append(self._gossip_ms)
        return min(timers)

    def datagrams_to_send(self) -> "list[tuple[bytes, Address]]":
        """Takes all frames that wait, each with its address, in order."""
        return self._outbox.take()

    def stream_frames_to_send(self) -> "list[tuple[bytes, Address, str]]":
        """Takes all frames that wait for a stream: frame, address, the member there or ""."""
        return self._outbox.take_stream_frames()

    def next_event(self) -> "Event | None":
        """Takes the oldest event."""
        return self._events.pop(0) if self._events else None

    # Words on members.

    def _hear(self, update: Update, frame: Frame, *, hand_on: bool) -> None:
        if update.id == self.node_id:
            self._hear_of_self(update)
            return
        known = self._members.get(update.id)
        state = UNKNOWN if known is None else known.state
        if update.state == DEAD and state in PRESENT and frame.kind in (SYNC, STATE):
            update = self._codec.verdict(SUSPECT, update.id, update.incarnation, frame.sender)
        if known is not None and not supersedes(
            update.incarnation, update.state, known.incarnation, known.state
        ):
            if update.state == ALIVE and not known.is_present:
                self._ask_whether_alive(known)
            return
        if (state, update.state) not in TRANSITIONS:
            self._count("updates_ignored")
            return
        if state == UNKNOWN and len(self._members.present()) >= self._config.members_max:
            self._count("members_refused")
            return
        self._enter(known, update, hand_on=hand_on)

    def _hear_of_self(self, update: Update) -> None:
        own = self.own
        if self._leaving or update.incarnation < own.incarnation:
            return
        if update.state == ALIVE and update.encoded == own.claim:
            return
        # Suspected, dead, or an earlier process of ours: object with a newer word.
        self._count("refutations")
        self._say(update.incarnation + 1, own.profile)

    def _say(self, incarnation: int, profile: Profile) -> None:
        claim = self._codec.claim(self.node_id, min(incarnation, INCARNATION_MAX), profile)
        self._members.put(member_of(claim, profile, self._now_ms))
        self._broadcast(claim)

    def _enter(self, known: Member | None, update: Update, *, hand_on: bool) -> None:
        """Takes an update that wins, with all that follows from it."""
        if update.profile is not None:
            member = member_of(update, update.profile, self._now_ms)
        else:
            assert known is not None  # TRANSITIONS: only a claim makes a member known
            member = known.after(update, self._now_ms)
        self._members.put(member)
        if member.state == SUSPECT:
            timeout_ms = tuning.suspicion_timeout_ms(self._config, len(self._members.present()))
            self._suspicions.start(member.id, self._now_ms + timeout_ms)
        else:
            self._suspicions.end(member.id)
        if member.is_present and (known is None or not known.is_present):
            self._prober.add(member.id)
            self._asked_at_ms.pop(member.id, None)
            if known is not None and known.state == DEAD:
                # Its side of a healed partition knows more: exchange tables soon.
                self._returned.append(member.id)
                self._sync_ms = min(self._sync_ms, self._now_ms + self._config.gossip_interval_ms)
        if hand_on:
            self._broadcast(update)
        self._tell_change(known, member)
        if not member.is_present:
            self._forget_surplus()

    def _tell_change(self, known: Member | None, member: Member) -> None:
        state = UNKNOWN if known is None else known.state
        kind = TRANSITIONS[(state, member.state)]
        if known is not None and known.is_present and member.state == ALIVE:
            if known.profile.session != member.profile.session:
                # A new process under the old id: what the old one held is lost.
                verdict = self._codec.verdict(DEAD, known.id, known.incarnation, self.node_id)
                self._tell(MemberEvent(DIED, known.after(verdict, self._now_ms)))
                kind = JOINED
            elif kind == CHANGED and known.profile.same_as(member.profile):
                kind = NOTHING
        if kind != NOTHING:
            self._tell(MemberEvent(kind, member))

    def _pass_verdict(self, state: int, id: str) -> None:
        """SUSPECT or DEAD by what we saw ourselves."""
        known = self._members.get(id)
        if known is not None and (known.state, state) in TRANSITIONS:
            self._count("suspected" if state == SUSPECT else "declared_dead")
            verdict = self._codec.verdict(state, id, known.incarnation, self.node_id)
            self._enter(known, verdict, hand_on=True)

    def _ask_whether_alive(self, member: Member) -> None:
        """Someone holds alive whom we hold gone: the ping carries our verdict, for objection."""
        asked_ms = self._asked_at_ms.get(member.id)
        if asked_ms is None or self._now_ms - asked_ms >= self._config.probe_interval_ms:
            self._asked_at_ms[member.id] = self._now_ms
            self._outbox.send(
                PING, member.address, member.id, self._next_sequence(), target=member.id
            )

    def _forget_surplus(self) -> None:
        gone = self._members.gone()
        oldest_ms = self._now_ms - self._config.tombstone_ms
        for index, member in enumerate(gone):
            if member.id == self.node_id:
                continue
            if member.since_ms < oldest_ms or len(gone) - index > self._config.gone_max:
                self._members.forget(member.id)
                self._asked_at_ms.pop(member.id, None)

    # What time brings.

    def _run_probe(self) -> None:
        if self._leaving:
            return
        failed = self._prober.handle_timer(self._peers(), self._now_ms)
        if failed is not None and self._is_alive(failed):
            self._pass_verdict(SUSPECT, failed)

    def _run_gossip(self) -> None:
        if self._gossip_ms > self._now_ms or not len(self._broadcasts):
            return
        self._gossip_ms = self._now_ms + self._config.gossip_interval_ms
        for id in self._rng.sample(self._peers(), self._config.gossip_fanout):
            member = self._members.get(id)
            if member is not None and len(self._broadcasts):
                self._outbox.send(GOSSIP, member.address, id, 0)

    def _run_sync(self) -> None:
        if self._leaving or self._sync_ms > self._now_ms:
            return
        peers = self._peers()
        self._sync_ms = self._now_ms + tuning.sync_interval_ms(self._config, len(peers) + 1)
        self._forget_surplus()
        while self._returned:
            id = self._returned.pop()
            if id in peers:
                # One partner at a time; the next one when this exchange had time to be answered.
                if self._returned:
                    self._sync_ms = self._now_ms + self._config.probe_interval_ms
                self._sync_with(id)
                return
        for id in self._rng.sample(peers, 1):
            self._sync_with(id)

    def _sync_with(self, id: str) -> None:
        member = self._members.get(id)
        if member is not None:
            self._count("syncs")
            self._send_table(SYNC, member.address, id, self._next_sequence())

    def _send_table(
        self,
        kind: int,
        address: "Address",
        receiver: str,
        sequence: int,
        *,
        by_stream: bool = False,
    ) -> None:
        turn = self._rng.bits()
        self._outbox.send_table(kind, address, receiver, sequence, turn, by_stream=by_stream)

    def _run_reconnect(self) -> None:
        if self._leaving or self._reconnect_ms > self._now_ms:
            return
        self._reconnect_ms = self._now_ms + self._config.reconnect_interval_ms
        present = {member.address for member in self.present()}
        dead = {
            member.address: member.id for member in self._members.gone() if member.state == DEAD
        }
        wanted = (set(self._seeds) | set(dead)) - present
        for address in self._rng.sample(sorted(wanted), 1):
            self._outbox.ask_for_table(address, dead.get(address, ""), self._next_sequence())

    def _run_joins(self) -> None:
        for address in sorted(self._joins):
            join = self._joins[address]
            if join.next_ms > self._now_ms:
                continue
            if join.is_answered or join.attempts >= self._config.join_attempts:
                del self._joins[address]
                if not join.is_answered:
                    self._tell(JoinUnanswered(address))
                continue
            if join.attempts == 0:
                join.is_first = len(self._members.present()) == 1
                join.sequence = self._next_sequence()
            join.attempts += 1
            join.next_ms = self._now_ms + self._config.join_retry_ms
            self._outbox.ask_for_table(address, "", join.sequence)

    def _join_answered_by(self, frame: Frame) -> "_Join | None":
        """By its number: a host of several addresses may answer from another one than we asked."""
        if frame.kind == STATE:
            for address in sorted(self._joins):
                if self._joins[address].sequence == frame.sequence:
                    return self._joins[address]
        return None

    def _run_leave(self) -> None:
        if not self._leaving or self._left:
            return
        alone = not self._peers()
        if alone or not len(self._broadcasts) or self._leave_end_ms <= self._now_ms:
            self._left = True
            self._tell(LeaveDone())

    # Small things.

    def _broadcast(self, update: Update) -> None:
        # With nothing to say the gossip timer stood still; it is not late now.
        self._gossip_ms = max(self._gossip_ms, self._now_ms)
        self._broadcasts.put(update.id, update.encoded)

    def _tell(self, event: "Event") -> None:
        if len(self._events) >= self._config.events_max:
            self._events.pop(0)
            self._count("events_dropped")
        self._events.append(event)

    def _peers(self) -> list[str]:
        return [id for id in self._members.present() if id != self.node_id]

    def _is_alive(self, id: str) -> bool:
        member = self._members.get(id)
        return member is not None and member.state == ALIVE

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % SEQUENCE_MAX + 1
        return self._sequence

    def _count(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1


class _Join:
    """One address that we asked for the mesh."""

    def __init__(self, address: "Address", now_ms: int) -> None:
        self.address = address
        self.next_ms = now_ms
        self.attempts = 0
        self.sequence = 0
        self.is_first = False
        self.is_answered = False
