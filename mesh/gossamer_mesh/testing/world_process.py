"""One life of a node's process in a world: the real cores, wired as the node's driver wires them.

`Swim`, a `Holder` and a `Claimer` for each engine that the node may reach; elections by rendezvous
over what the members' tags say; messages over streams; engine calls and workers in `world_work`.
The process has a clock of its own, which began anywhere and runs a little fast or slow, and may
stall.

It keeps the driver's promise: after a stall it reads what waits in its socket before the
membership looks at its timers. Whether its leases do is left to chance.
"""

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.holder import Holder
from gossamer_mesh.leases.messages import (
    Grant,
    HandBack,
    Heartbeat,
    Inherit,
    Offer,
    Refuse,
    Revoke,
    Settled,
    TopicTerms,
    Yield,
    from_plain,
)
from gossamer_mesh.leases.mirroring import AboutMirror, HandOver, Mirror, TakenOver
from gossamer_mesh.swim.codec import STREAM_FRAME_BYTES_MAX, Profile
from gossamer_mesh.swim.events import MemberEvent
from gossamer_mesh.swim.protocol import Swim
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.swim.state import DEPARTED, DIED
from gossamer_mesh.testing.lease_checks import Checks
from gossamer_mesh.testing.toy_signing import ToySigner
from gossamer_mesh.testing.world_claiming import Claiming
from gossamer_mesh.testing.world_electing import Electing, engine_of, first_part
from gossamer_mesh.testing.world_engine import worker_id_of
from gossamer_mesh.testing.world_work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.leases.messages import Message
    from gossamer_mesh.swim.events import Event
    from gossamer_mesh.testing.network import Address
    from gossamer_mesh.testing.world import World
    from gossamer_mesh.testing.world_node import Node

SOCKET_DATAGRAMS_MAX = 256
"""What a stalled process's socket keeps, about as many as Linux by default."""

BYTES_MAX = 2_000
"""Of payloads and outcomes on one holder."""

SPINS_MAX = 100
"""So many times in a row a machine may ask for its timer at once. A drifting clock takes two."""

ROUNDS_MAX = 1_000
"""So often the machines may have more to say before they come to rest."""

PROBE_MS = 2_000
"""How often an engine that did not answer is asked who it is."""


class Process:
    """One life of a node's process, and what dies with it."""

    def __init__(self, world: "World", node: "Node") -> None:
        self.world = world
        self.node = node
        self.is_over = False
        self.is_stopping = False
        self.will_stop = False
        self.session = world.rng.bits()
        self.worker_id = worker_id_of(node.number, self.session)
        self._in_timer = False
        self._spins = 0
        self.claimers: dict[str, Claimer] = {}
        self._booted_ms = world.clock.now_ms
        self._offset_ms = world.rng.below(100_000_000)
        self._drift_ppm = world.rng.below(2_001) - 1_000
        self._stalled_until_ms = 0
        self._socket: list[tuple[bytes, Address]] = []
        self._streams: list[tuple[bytes, str]] = []
        self._backlog: list[Callable[[], None]] = []
        self._local: list[Message] = []
        self._timer_ms: int | None = None
        self._incarnations: dict[str, int] = {}
        self._down: set[str] = set()
        self._groups: set[str] = set()
        self._have_claimed: set[tuple[str, str]] = set()
        self._heirs: dict[str, tuple[str | None, int]] = {}
        now_ms = self.now_ms()
        config = world.lease_config
        slots = 1 + world.rng.below(4)
        self.holder = Holder(self.session, slots, BYTES_MAX, config)
        self.checks = Checks(node.id, self.session, slots, BYTES_MAX, world.granted, config)
        self.claiming = Claiming(self)
        self.work = Work(self)
        host, port = node.address
        tags = self._tags()
        node.said.add((self.session, tags))
        self.swim = Swim(
            config=world.config,
            codec=world.codec(ToySigner(node.id)),
            rng=Rng(world.rng.bits()),
            node_id=node.id,
            incarnation=(0, node.wall_ms())[world.rng.below(2)],
            profile=Profile(host, port, f"n{node.number}", tags, self.session),
            now_ms=now_ms,
            snapshot=(b"", node.snapshot, node.snapshot, b"\x93junk")[world.rng.below(4)],
        )

    def begin(self) -> None:
        """Listens, and asks the seeds for the mesh."""
        world, node = self.world, self.node
        world.network.attach(node.address, self._datagram, self._stream_frame, self._message)
        self.swim.set_seeds(world.seeds)
        self.swim.join([one for one in world.seeds if one != node.address], self.now_ms())
        self._review()
        self._pump()

    # --- time

    def now_ms(self) -> int:
        """This process's own clock."""
        passed_ms = self.world.clock.now_ms - self._booted_ms
        return self._offset_ms + passed_ms + passed_ms * self._drift_ppm // 1_000_000

    def age_ms(self) -> int:
        """For how long it has been there."""
        return self.world.clock.now_ms - self._booted_ms

    def _world_ms(self, own_ms: int) -> int:
        """When, in the world's time, its own clock shows `own_ms`."""
        passed_ms = (own_ms - self._offset_ms) * 1_000_000 // (1_000_000 + self._drift_ppm)
        while passed_ms + passed_ms * self._drift_ppm // 1_000_000 < own_ms - self._offset_ms:
            passed_ms += 1
        return self._booted_ms + passed_ms

    def after(self, pause_ms: int, action: "Callable[[], None]") -> None:
        """The process does this in a while, unless it has ended by then."""
        self.world.after(pause_ms, lambda: self.post(action))

    def post(self, action: "Callable[[], None]") -> None:
        """The process does this, later if it is stalled."""
        if self.is_over:
            return
        if self._is_stalled():
            self._backlog.append(action)
            return
        action()
        self._pump()

    def stall(self, length_ms: int) -> None:
        """Does nothing for a while."""
        until_ms = self.world.clock.now_ms + length_ms
        if until_ms > self._stalled_until_ms:
            self._stalled_until_ms = until_ms
            self.world.clock.call_at(until_ms, self._wake)

    def wake_up(self) -> None:
        """Ends a stall at once."""
        if self._is_stalled():
            self._stalled_until_ms = self.world.clock.now_ms
            self._wake()

    def _is_stalled(self) -> bool:
        return self.world.clock.now_ms < self._stalled_until_ms

    def _wake(self) -> None:
        if self.is_over or self._is_stalled():
            return
        self.world.note(f"n{self.node.number} goes on")
        now_ms = self.now_ms()
        waiting, self._socket = self._socket, []
        for data, source in waiting:
            self.swim.receive_datagram(data, source, now_ms)
        arrived, self._streams = self._streams, []
        for data, sender_id in arrived:
            self.swim.receive_stream_frame(data, sender_id, now_ms)
        self.swim.handle_timer(now_ms)
        if self.world.rng.below(2):
            self._handle_lease_timers()
        self._pump()
        backlog, self._backlog = self._backlog, []
        for action in backlog:
            self.post(action)
        self._run_timer(None)

    def _run_timer(self, timer_ms: "int | None") -> None:
        if self.is_over or self._is_stalled() or timer_ms != (timer_ms and self._timer_ms):
            return
        self._timer_ms = None
        self._in_timer = True
        self.swim.handle_timer(self.now_ms())
        self._handle_lease_timers()
        self._pump()
        self._in_timer = False

    def _handle_lease_timers(self) -> None:
        now_ms = self.now_ms()
        self.holder.handle_timer(now_ms)
        for group in sorted(self.claimers):
            self.claimers[group].handle_timer(now_ms)

    def _set_timer(self) -> None:
        timers = [self.swim.get_timer(), self.holder.get_timer()]
        timers += [self.claimers[group].get_timer() for group in sorted(self.claimers)]
        due = [one for one in timers if one is not None]
        now_ms = self.world.clock.now_ms
        at_ms = max(now_ms + 1, self._world_ms(min(due)) if due else now_ms + 60_000)
        self._check_spin(min(due) if due else None)
        if self._timer_ms is None or at_ms < self._timer_ms or self._timer_ms <= now_ms:
            self._timer_ms = at_ms
            self.world.clock.call_at(at_ms, lambda: self._run_timer(at_ms))

    def _check_spin(self, due_ms: "int | None") -> None:
        """Rule 9: what is still due when a timer has just been handled is due for ever."""
        if not self._in_timer:
            return
        self._spins = self._spins + 1 if due_ms is not None and due_ms <= self.now_ms() else 0
        if self._spins > SPINS_MAX:
            self.world.broken(f"n{self.node.number} asks for its timer at once, for ever")

    # --- commands

    def drain(self) -> None:
        """Takes no more work, claims no more."""
        self.is_stopping = True
        self.holder.drain()
        self._review()

    def hand_back(self) -> None:
        """What still runs goes back."""
        self.work.hand_back()
        for group in sorted(self.claimers):
            self.claimers[group].release_waiting(self.now_ms())

    def leave(self) -> None:
        """Says goodbye."""
        self.node.goodbyes.add(self.swim.own.incarnation)
        self.swim.leave(self.now_ms())

    # --- what comes

    def _datagram(self, data: bytes, source: "Address") -> None:
        if self._is_stalled():
            if len(self._socket) < SOCKET_DATAGRAMS_MAX:
                self._socket.append((data, source))
            return
        self.swim.receive_datagram(data, source, self.now_ms())
        self._pump()

    def _stream_frame(self, data: bytes, sender_id: str) -> None:
        if self._is_stalled():
            self._streams.append((data, sender_id))
            return
        self.swim.receive_stream_frame(data, sender_id, self.now_ms())
        self._pump()

    def _message(self, data: bytes, sender_id: str) -> None:
        message = from_plain(self.world.unpack(data))
        if message is None:
            self.world.broken(f"{sender_id[-2:]} sent what nobody can read: {data!r}")
        else:
            self.post(lambda: self._receive(sender_id, message))

    def _receive(self, sender: str, message: "Message") -> None:
        now_ms = self.now_ms()
        if isinstance(message, (Grant, Settled, Revoke, Inherit, Yield)):
            self.holder.receive_message(sender, message, now_ms)
            return
        group = _group_of(message)
        if engine_of(group) not in self.node.engines:
            return
        claimer = self.claimer_of(group)
        if isinstance(message, (Offer, Heartbeat)):
            self.checks.note_state(sender, message, now_ms)
        elif isinstance(message, (Refuse, HandBack)):
            self.checks.note_back(claimer, message.lease)
        claimer.receive_message(sender, message, now_ms)

    # --- who is there, who claims

    def reachable(self) -> "list[str]":
        """Engines that it may claim from now."""
        if self.is_stopping:
            return []
        return [name for name in self.node.engines if name not in self._down]

    def set_reachable(self, name: str, reachable: bool) -> None:
        """Its driver found the engine answering, or not."""
        if reachable == (name not in self._down):
            return
        word = "reaches" if reachable else "does not reach"
        self.world.note(f"n{self.node.number} {word} {name}")
        if reachable:
            self._down.discard(name)
        else:
            self._down.add(name)
            self.after(PROBE_MS, lambda: self._probe(name))
        self._review()

    def _probe(self, name: str) -> None:
        def answer(is_there: bool) -> None:
            if is_there:
                self.set_reachable(name, True)
            else:
                self.after(PROBE_MS, lambda: self._probe(name))

        self.world.engines[name].probe(lambda is_there: self.post(lambda: answer(is_there)))

    def _tags(self) -> bytes:
        terms = [
            [group, self.claimers[group].term]
            for group in sorted(self.claimers)
            if self.claimers[group].elected
        ]
        return self.world.pack([self.reachable(), terms])

    def _review(self) -> None:
        """Works out who claims, and tells the machines and the mesh."""
        world, node = self.world, self.node
        members = self.swim.present()
        said = {one.id: world.unpack(one.profile.tags) for one in members if one.id != node.id}
        said[node.id] = [self.reachable(), []]
        electing = Electing(said, world.parts)
        alive = set(said)
        sessions = {one.id: one.profile.session for one in members}
        self.holder.set_members(alive)
        self._groups |= set(electing.groups())
        for group in sorted(self._groups):
            claims, standby = electing.elected(group)
            # What is left of a part that is no more goes to the claimer of the first.
            heirs = (claims, standby) if claims else electing.elected(first_part(group))
            if claims is not None:
                self._have_claimed.add((group, claims))
            serves = group == electing.serves(engine_of(group), node.id)
            if world.plan.claimers_work and claims != node.id:
                serves = False
            self.holder.serve(group, self._topics(engine_of(group)) if serves else [])
            self.holder.set_claimer(group, heirs[0])
            elected = claims == node.id
            if not elected and group not in self.claimers:
                continue
            claimer = self.claimer_of(group)
            if elected != claimer.elected:
                word = "claims" if elected else "no longer claims"
                world.note(f"n{node.number} {word} {group}")
            seen = [term for id in sorted(said) for one, term in said[id][1] if one == group]
            claimer.elect(elected, max(seen) if seen else 0)
            heir = heirs[1] if elected else heirs[0]
            reaches = engine_of(group) not in self._down
            if heir != self._heirs.get(group, (None, 0))[0]:
                self._heirs[group] = (heir, world.clock.now_ms)
            claimer.set_members(alive, heir, self.now_ms(), reaches=reaches, sessions=sessions)
        if not self.swim.own.is_present:
            return
        tags = self._tags()
        node.said.add((self.session, tags))
        self.swim.set_tags(tags, self.now_ms())

    def heir_since_ms(self, group: str) -> "int | None":
        """Since when the group's claimer here has the heir that it has; None while it has none."""
        heir, since_ms = self._heirs.get(group, (None, 0))
        return None if heir is None else since_ms

    def heirs_since_ms(self) -> "list[int]":
        """Since when each claimer here that is elected has its heir."""
        since = [self.heir_since_ms(group) for group, one in self.claimers.items() if one.elected]
        return [one for one in since if one is not None]

    def claimer_of(self, group: str) -> Claimer:
        """This member's claimer of a group, made when it is first wanted."""
        if group not in self.claimers:
            self.claimers[group] = Claimer(
                group, self.node.id, self.session, self.world.lease_config
            )
        return self.claimers[group]

    def _topics(self, name: str) -> "list[TopicTerms]":
        """What it serves: all, on the first node; elsewhere most, always the same."""
        engine = self.world.engines[name]
        served = []
        for place in range(len(engine.topics)):
            all_serve = self.node.number == 1 or self.world.plan.claimers_work
            if all_serve or (self.node.number + place) % 4:
                on_lost = "wait" if self.node.waits and place == 0 else "regrant"
                served.append(TopicTerms(engine.topics[place], engine.lock_ms, None, on_lost))
        return served

    # --- the pump

    def _pump(self) -> None:
        """Moves what the machines put out, until they have nothing more to say for now."""
        moved = True
        rounds = 0
        while moved:
            rounds += 1
            if rounds > ROUNDS_MAX:
                self.world.broken(f"n{self.node.number} never comes to rest")
            moved = self._take_next_event()
            for claimer in [self.claimers[group] for group in sorted(self.claimers)]:
                for to, message in claimer.messages_to_send():
                    moved = True
                    self.checks.check_claimer_message(claimer, to, message, self.now_ms())
                    self._send(to, message)
            for to, message in self.holder.messages_to_send():
                moved = True
                if isinstance(message, Offer):
                    self.checks.check_offer(message, len(self.work.running))
                self._send(to, message)
            while self._local:
                self._receive(self.node.id, self._local.pop(0))
            moved = self.work.start() or moved
            self.checks.check_bounds(self.work.running, self.holder.statistics())
        if self.is_over:
            return
        self.claiming.poll()
        self._send_frames()
        self._check_swim()
        self._set_timer()

    def _take_next_event(self) -> bool:
        """What the membership tells next; what follows from it goes out before the one after.

        Returns: whether there was anything.
        """
        event = self.swim.next_event()
        if event is None:
            return False
        if self._take_event(event):
            self._review()
        return True

    def _take_event(self, event: "Event") -> bool:
        if not isinstance(event, MemberEvent):
            return False
        member = event.member
        self.node.changes += 1
        self.world.note(f"n{self.node.number} sees n{int(member.id, 16)} {event.kind}")
        held = self._incarnations.get(member.id, 0)
        if member.incarnation < held:
            self.world.broken(f"n{self.node.number}: an incarnation of {member.id} went back")
        self._incarnations[member.id] = member.incarnation
        self.world.node_of[member.id].check_believed(
            self.node, event.kind, member.incarnation, member.profile
        )
        if event.kind in (DIED, DEPARTED):
            if event.kind == DIED:
                self.world.count("deaths seen")
            self.world.network.break_streams(self.node.address, member.address)
            self.checks.note_member_lost(member.id)
            for group in sorted(self.claimers):
                has_claimed = (group, member.id) in self._have_claimed
                self._have_claimed.discard((group, member.id))
                session = member.profile.session if has_claimed else None
                self.claimers[group].handle_member_lost(member.id, self.now_ms(), session)
        return True

    def _send(self, to: str, message: "Message") -> None:
        if to == self.node.id:
            self._local.append(message)
            return
        member = self.swim.member(to)
        data = self.world.pack(message.to_plain())
        self.world.note(f"n{self.node.number} to {to}", data)
        if member is not None and member.is_present:
            self.world.network.send_message(data, self.node.address, member.address, self.node.id)

    def _send_frames(self) -> None:
        world, address = self.world, self.node.address
        for data, destination in self.swim.datagrams_to_send():
            if len(data) > world.config.frame_bytes_max:
                world.broken(f"n{self.node.number} sends a frame of {len(data)} bytes")
            world.note(f"{self.node.number}>{destination[0]}", data)
            world.network.send(data, address, destination)
        for data, destination, _ in self.swim.stream_frames_to_send():
            if len(data) > STREAM_FRAME_BYTES_MAX:
                world.broken(f"n{self.node.number} sends a stream frame of {len(data)} bytes")
            world.note(f"{self.node.number}>>{destination[0]}", data)
            world.network.send_stream_frame(data, address, destination, self.node.id)

    def _check_swim(self) -> None:
        """What must hold after each step of the membership."""
        own = self.swim.own.incarnation
        if own < self._incarnations.get(self.node.id, 0):
            self.world.broken(f"n{self.node.number}: its own incarnation went back")
        self._incarnations[self.node.id] = own
        config, counts = self.world.config, self.swim.statistics()
        for name, bound in (
            ("broadcasts_waiting", config.broadcasts_max),
            ("members_present", config.members_max),
            ("members_gone", config.gone_max),
            ("relays", config.relays_max),
            ("suspicions", counts["members_present"]),
        ):
            if counts[name] > bound:
                self.world.broken(f"n{self.node.number}: {counts[name]} {name}, bound {bound}")


def _group_of(message: "Message") -> str:
    """The claim group that a holder's message is about."""
    if isinstance(message, (Offer, Heartbeat, Mirror, AboutMirror, HandOver, TakenOver)):
        return message.group
    return message.lease.group
