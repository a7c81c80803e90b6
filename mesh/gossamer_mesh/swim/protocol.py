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
4. A death that another saw is believed once we ourselves have known of the suspicion for the least
   time that its subject has to object. Until then it is a suspicion here: so the dead of the other
   side of a partition, and those of a member that heard nobody for a while, are asked first.
5. Who still speaks of a member that we hold dead gives us a reason to ask that member itself; so
   does who holds a claim of it other than ours with the same incarnation.
6. What a member says of itself counts only with its signature. A verdict answers one claim: it
   counts only with who holds that claim, so nobody but the member itself moves its incarnation.

The driver must read all datagrams that wait before it calls `handle_timer`: after a stall the
answers lie in its socket. `ALGORITHM.md` has the protocol in words.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.swim import awareness
from gossamer_mesh.swim import config as tuning
from gossamer_mesh.swim import snapshot as snapshots
from gossamer_mesh.swim.asking import Asking
from gossamer_mesh.swim.broadcast import Broadcasts
from gossamer_mesh.swim.codec import (
    ACK,
    GOSSIP,
    NACK,
    PING,
    PING_REQUEST,
    SEQUENCE_MAX,
    STATE,
    SYNC,
    Frame,
    Profile,
    Update,
)
from gossamer_mesh.swim.events import IdentityTaken, JoinUnanswered, LeaveDone
from gossamer_mesh.swim.gossip import Gossip
from gossamer_mesh.swim.joining import Joining
from gossamer_mesh.swim.members import Member, Members, member_of
from gossamer_mesh.swim.outbox import Outbox
from gossamer_mesh.swim.own import OBJECT, YIELD, Own
from gossamer_mesh.swim.prober import Prober
from gossamer_mesh.swim.state import (
    ALIVE,
    DEAD,
    GONE,
    SUSPECT,
    TRANSITIONS,
    UNKNOWN,
    supersedes,
)
from gossamer_mesh.swim.suspicion import Suspicions
from gossamer_mesh.swim.sync import Sync
from gossamer_mesh.swim.telling import Telling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gossamer_mesh.swim.codec import Codec
    from gossamer_mesh.swim.events import Event
    from gossamer_mesh.swim.rng import Rng

    Address = tuple[str, int]


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
        admits: whether the member of an id may take part; None: whoever has the mesh key. It may
            answer otherwise later; call `check_admission` then.
        snapshot: what `snapshot()` gave before a restart; junk is counted and left aside.

    Raises:
        MisuseError: the profile or the incarnation is out of bounds, or the id is not that of the
            codec's signer.
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
        admits: "Callable[[str], bool] | None" = None,
        snapshot: bytes = b"",
    ) -> None:
        if node_id != codec.own_id:
            raise MisuseError(
                f"the member {node_id} cannot speak with the key of {codec.own_id}; "
                "give the codec that member's signer."
            )
        self.node_id = node_id
        self._admits = admits
        self._config = config
        self._codec = codec
        self._rng = rng
        self._now_ms = now_ms
        self._members = Members(node_id)
        self._health = awareness.Awareness(config.awareness_max)
        self._broadcasts = Broadcasts(config.broadcasts_max)
        self._suspicions = Suspicions(config)
        self._leaving = False
        self._left = False
        self._leave_end_ms = 0
        self._sequence = rng.bits()
        self._outbox = Outbox(node_id, config, codec, self._members, self._broadcasts)
        self._counts: dict[str, int] = {}
        self._asking = Asking(
            config=config,
            codec=codec,
            outbox=self._outbox,
            next_sequence=self._next_sequence,
            count=self._count,
        )
        self._prober = Prober(
            node_id=node_id,
            config=config,
            rng=rng,
            members=self._members,
            outbox=self._outbox,
            health=self._health,
            next_sequence=self._next_sequence,
            count=self._count,
            now_ms=now_ms,
        )
        self._gossip = Gossip(
            config=config,
            rng=rng,
            members=self._members,
            outbox=self._outbox,
            broadcasts=self._broadcasts,
            now_ms=now_ms,
        )
        remembered = snapshots.decode(codec, snapshot)
        if remembered is not None:
            incarnation = max(incarnation, remembered.incarnation)
        elif snapshot:
            self._count("snapshots_rejected")
        self._sync = Sync(
            node_id=node_id,
            config=config,
            codec=codec,
            rng=rng,
            members=self._members,
            outbox=self._outbox,
            next_sequence=self._next_sequence,
            count=self._count,
            now_ms=now_ms,
        )
        self._joining = Joining(
            config=config,
            rng=rng,
            members=self._members,
            sync=self._sync,
            next_sequence=self._next_sequence,
            tell=self._tell,
            remembered={} if remembered is None else remembered.places,
            now_ms=now_ms,
        )
        self._own = Own(
            codec=codec,
            members=self._members,
            count=self._count,
            incarnation=incarnation,
            profile=profile,
            now_ms=now_ms,
        )
        self._telling = Telling(codec, config.events_max, self._count)
        self._telling.follow_name(None, self.own)

    # What the owner sees.

    @property
    def own(self) -> Member:
        """This member itself."""
        return self._own.member

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
            "members_gone": self._members.gone_count(),
            "suspicions": len(self._suspicions),
            "health_score": self._health.score,
            "broadcasts_waiting": len(self._broadcasts),
            "broadcasts_dropped": self._broadcasts.dropped,
            "relays": self._prober.relay_count,
            "datagrams_dropped": self._outbox.dropped,
            "stream_frames_dropped": self._outbox.stream_frames_dropped,
            "frames_rejected": self._codec.frames_rejected,
            "updates_rejected": self._codec.updates_rejected,
        }

    def rejected(self) -> "tuple[int, int, int]":
        """So far: junk, frames of who is not admitted, words in another member's name."""
        count, codec = self._counts.get, self._codec
        junk = codec.frames_rejected + codec.updates_rejected
        forged = count("claims_forged", 0) + count("frames_of_another_sender", 0)
        return junk, count("frames_not_admitted", 0), forged

    def snapshot(self) -> bytes:
        """What the next process of this member should be given, at most
        `snapshot.SNAPSHOT_BYTES_MAX` long. To be kept now and then, and at the end."""
        known = [self._members.get(id) for id in self._members.ids()]
        others = [member for member in known if member is not None]
        return snapshots.encode(self._codec, self.own, others, self._joining.remembered)

    # Commands.

    def join(self, addresses: "Iterable[Address]", now_ms: int) -> None:
        """Asks members at these addresses for their tables, until each answers or is given up.

        Each address ends in one event, `JoinAnswered` or `JoinUnanswered`; those beyond
        `joining.JOINS_MAX` at a time, and all of a member that leaves, are unanswered at once.
        """
        self._now_ms = now_ms
        if not self._leaving:
            self._joining.join(sorted(set(addresses)), now_ms)
            return
        for address in sorted(set(addresses)):
            self._tell(JoinUnanswered(address))

    def set_seeds(self, addresses: "Iterable[Address]") -> None:
        """Other addresses to ask, now and then, while no member has them."""
        self._joining.set_seeds(sorted(set(addresses)))

    def leave(self, now_ms: int) -> None:
        """Says goodbye. The event `LeaveDone` follows; meanwhile keep driving."""
        self._now_ms = now_ms
        if self._leaving:
            return
        own = self.own
        self._leaving = True
        self._prober.stop()
        self._leave_end_ms = now_ms + self._config.leave_timeout_ms
        goodbye = self._codec.goodbye(own.incarnation)
        self._members.put(own.after(goodbye, now_ms))
        self._broadcast(goodbye)
        for address in self._joining.stop():
            # Somebody there may know us already, although we know nobody.
            self._outbox.send(GOSSIP, address, "", 0)
            self._tell(JoinUnanswered(address))
        self._gossip.handle_timer(self._now_ms)
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

    def check_admission(self, now_ms: int) -> None:
        """Drops members that are no longer admitted, each with the event `died`.

        To their leases it is a death: nobody waits for a word of theirs. It is not told to others,
        who have lists of their own, and it leaves no tombstone, for nobody is to be asked again.
        Also done now and then by itself.
        """
        self._now_ms = now_ms
        for id in self._members.ids():
            member = self._members.get(id)
            if member is None or id == self.node_id or self._is_admitted(id):
                continue
            self._suspicions.end(id)
            self._members.forget(id)
            self._count("members_expelled")
            self._telling.tell_expelled(member, now_ms)

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
        if not self._is_admitted(frame.sender):
            self._count("frames_not_admitted")
            return
        if frame.kind in (PING, STATE) and frame.target not in ("", self.node_id):
            # Another member had this address before, or a restart is not known yet.
            self._count("frames_misaddressed")
            return
        join = self._joining.answered_by(frame)
        self._hear_all(frame, hand_on=not self._joining.is_first_table(frame, join))
        by_stream = address is None
        if address is None:
            sender = self._members.get(frame.sender)
            if sender is None:
                self._count("stream_frames_of_strangers")
                return
            address = sender.address
        if frame.kind == PING:
            self._prober.answer(frame, address, by_stream=by_stream)
        elif frame.kind == ACK:
            self._prober.handle_ack(frame, by_stream=by_stream)
        elif frame.kind == NACK:
            self._prober.handle_nack(frame)
        elif frame.kind == PING_REQUEST:
            self._prober.relay(frame, address, self._now_ms)
        elif frame.kind == SYNC:
            self._sync.handle_sync(frame, address, by_stream=by_stream)
        elif frame.kind == STATE:
            self._sync.handle_state(frame, address, self._now_ms, by_stream=by_stream)
            if join is not None:
                self._joining.handle_answer(join, self._now_ms)

    def handle_timer(self, now_ms: int) -> None:
        """Does what is due. Call it when `get_timer` says so; early calls do nothing."""
        due_ms = self.get_timer()
        self._now_ms = now_ms
        if due_ms is None or due_ms > now_ms:
            return
        self._take_lateness(now_ms - due_ms)
        failed = None if self._leaving else self._prober.handle_timer(now_ms)
        if failed is not None:
            self._pass_verdict(SUSPECT, failed)
        for id in self._suspicions.expired(now_ms):
            self._pass_verdict(DEAD, id)
        self._gossip.handle_timer(now_ms)
        if not self._leaving:
            self._run_sync()
            self._joining.handle_timer(now_ms)
        self._run_leave()

    def get_timer(self) -> int | None:
        """When `handle_timer` has something to do, in the clock of `now_ms`; None: never again."""
        if self._left:
            return None
        if self._leaving:
            timers = [self._leave_end_ms]
        else:
            timers = [self._prober.timer_ms, self._sync.timer_ms, self._joining.timer_ms]
        suspicion_ms = self._suspicions.timer_ms()
        if suspicion_ms is not None:
            timers.append(suspicion_ms)
        gossip_ms = self._gossip.timer_ms(self._now_ms)
        if gossip_ms is not None:
            timers.append(gossip_ms)
        return min(timers)

    def datagrams_to_send(self) -> "list[tuple[bytes, Address]]":
        """Takes all frames that wait, each with its address, in order."""
        return self._outbox.take()

    def stream_frames_to_send(self) -> "list[tuple[bytes, Address, str]]":
        """Takes all frames that wait for a stream: frame, address, the member there or ""."""
        return self._outbox.take_stream_frames()

    def next_event(self) -> "Event | None":
        """Takes the oldest event."""
        return self._telling.take()

    # Words on members.

    def _hear_all(self, frame: Frame, *, hand_on: bool) -> None:
        gone = {(update.id, update.incarnation) for update in frame.updates if update.state in GONE}
        # Claims first: a verdict counts only with who holds the claim that it answers. That claim
        # comes along for those, and makes nobody present to others for whom there is no death.
        for update in frame.updates:
            if update.state == ALIVE:
                known = self._members.get(update.id)
                is_here = known is not None and known.is_present
                if (update.id, update.incarnation) in gone and not is_here:
                    continue
                self._hear(update, frame, hand_on=hand_on)
        for update in frame.updates:
            if update.state != ALIVE:
                self._hear(update, frame, hand_on=hand_on)

    def _hear(self, update: Update, frame: Frame, *, hand_on: bool) -> None:
        if update.id == self.node_id:
            self._hear_of_self(update)
            return
        known = self._members.get(update.id)
        state = UNKNOWN if known is None else known.state
        is_verdict = update.state in (SUSPECT, DEAD)
        if is_verdict and known is not None and update.incarnation > known.incarnation:
            self._count("verdicts_ahead")
            return
        is_death = update.state == DEAD
        if is_death and known is not None and known.is_present:
            update = self._doubted(known, update, is_old=frame.kind in (SYNC, STATE))
        if known is not None and not supersedes(
            update.incarnation, update.state, known.incarnation, known.state
        ):
            if update.state == ALIVE and not known.is_present:
                self._asking.whether_alive(known, self._now_ms)
            elif update.state == ALIVE and update.incarnation == known.incarnation:
                self._asking.which_claim(known, update, self._now_ms)
            elif update.state == SUSPECT and update.incarnation == known.incarnation:
                self._confirm(update)
            return
        if (state, update.state) not in TRANSITIONS:
            self._count("updates_ignored")
            return
        if state == UNKNOWN and len(self._members.present()) >= self._config.members_max:
            self._count("members_refused")
            return
        if not self._is_admitted(update.id):
            self._count("claims_not_admitted")
            return
        if not self._codec.is_proved(update):
            self._count("claims_forged")
            return
        self._enter(known, update, hand_on=hand_on)
        if is_death:
            self._suspicions.shorten(update.id)

    def _doubted(self, known: Member, death: Update, *, is_old: bool) -> Update:
        """A death that another saw: a suspicion, until its subject had the least time to object.

        Else one member that hears nobody could kill everyone with what it says at last.
        """
        if not is_old and not self._config.deaths_are_doubted:
            return death
        if known.state == SUSPECT and known.incarnation == death.incarnation:
            deadline_ms = self._suspicions.shorten(known.id)
            if deadline_ms is None or deadline_ms <= self._now_ms:
                return death
        return self._codec.verdict(SUSPECT, death.id, death.incarnation, death.by)

    def _hear_of_self(self, update: Update) -> None:
        if self._leaving:
            return
        answer = self._own.answer_to(update)
        if answer == OBJECT:
            self._health.take(awareness.REFUTED)
            self._say(update.incarnation + 1, self.own.profile)
        elif answer == YIELD:
            assert update.profile is not None  # only a claim comes from another process
            for address in self._joining.stop():
                self._tell(JoinUnanswered(address))
            self._leaving = True
            self._left = True
            self._prober.stop()
            self._outbox.clear()
            self._tell(IdentityTaken((update.profile.host, update.profile.port)))

    def _is_admitted(self, id: str) -> bool:
        return self._admits is None or self._admits(id)

    def _say(self, incarnation: int, profile: Profile) -> None:
        self._broadcast(self._own.say(incarnation, profile, self._now_ms))

    def _enter(self, known: Member | None, update: Update, *, hand_on: bool) -> None:
        """Takes an update that wins, with all that follows from it."""
        if update.profile is not None:
            member = member_of(update, update.profile, self._now_ms)
        else:
            assert known is not None  # TRANSITIONS: only a claim makes a member known
            member = known.after(update, self._now_ms)
        self._members.put(member)
        if member.state == SUSPECT:
            self._suspicions.start(member.id, update.by, len(self._members.present()), self._now_ms)
        else:
            self._suspicions.end(member.id)
        if member.is_present and (known is None or not known.is_present):
            self._prober.add(member.id)
            self._asking.forget(member.id)
            if known is not None and known.state == DEAD:
                self._sync.hurry(member.id, self._now_ms)
        if hand_on:
            self._broadcast(update)
        self._telling.tell_change(known, member)
        if not member.is_present:
            self._prober.remove(member.id)
            self._forget_surplus()

    def _confirm(self, update: Update) -> None:
        """A suspicion that we hold, by another accuser: handed on while it shortens anything."""
        if self._members.is_present(update.by) and self._suspicions.confirm(update.id, update.by):
            self._count("confirmations")
            self._broadcast(update)

    def _pass_verdict(self, state: int, id: str) -> None:
        """SUSPECT or DEAD by what we saw ourselves."""
        known = self._members.get(id)
        if known is None or not known.is_present:
            return
        verdict = self._codec.verdict(state, id, known.incarnation, self.node_id)
        if known.state == state:
            self._confirm(verdict)
            return
        self._count("suspected" if state == SUSPECT else "declared_dead")
        self._enter(known, verdict, hand_on=True)

    def _forget_surplus(self) -> None:
        before_ms = self._now_ms - self._config.tombstone_ms
        for id in self._members.forget_surplus(before_ms, self._config.gone_max):
            self._asking.forget(id)

    # What time brings.

    def _take_lateness(self, late_ms: int) -> None:
        """A timer that fires much too late: we were asleep, and the others' answers lie unread."""
        if self._config.stall_ms and late_ms > self._config.stall_ms:
            self._count("stalls")
            self._health.take(awareness.WOKE_LATE)
            self._suspicions.put_off(late_ms)
            self._prober.put_off(late_ms)

    def _run_sync(self) -> None:
        if self._sync.is_due_ms <= self._now_ms:
            self._forget_surplus()
            self.check_admission(self._now_ms)
        self._sync.handle_timer(self._now_ms)

    def _run_leave(self) -> None:
        if not self._leaving or self._left:
            return
        alone = self._members.peer_count() == 0
        if alone or not len(self._broadcasts) or self._leave_end_ms <= self._now_ms:
            self._left = True
            self._tell(LeaveDone())

    # Small things.

    def _broadcast(self, update: Update) -> None:
        self._gossip.put(update, self._now_ms)

    def _tell(self, event: "Event") -> None:
        self._telling.tell(event)

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % SEQUENCE_MAX + 1
        return self._sequence

    def _count(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1
