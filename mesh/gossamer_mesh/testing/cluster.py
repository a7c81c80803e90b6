"""A cluster of real `Swim` cores in virtual time, with what can happen to a process.

Each process keeps the driver's promise: after a stall it reads what waits in its socket before it
looks at its timers. Invariants that hold at every step are asserted at every step.
"""

from typing import TYPE_CHECKING

from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.codec import GOSSIP, STREAM_FRAME_BYTES_MAX, Codec, Profile, Update
from gossamer_mesh.swim.config import Config, suspicion_timeout_ms
from gossamer_mesh.swim.events import MemberEvent
from gossamer_mesh.swim.protocol import Swim
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.swim.state import DIED, STATE_NAMES, SUSPECTED
from gossamer_mesh.testing.clock import VirtualClock
from gossamer_mesh.testing.network import Address, Network
from gossamer_mesh.testing.toy_signing import ToySigner

if TYPE_CHECKING:
    from gossamer_mesh.swim.events import Event

SOCKET_DATAGRAMS_MAX = 256
"""What a stalled process's socket keeps, about as many as Linux by default."""


STREAMS_MAX = 64
"""Connections that wait for a stalled process to accept them."""


UPDATES_SHARED_MAX = 100_000

CLAIMS_PER_FRAME = 256


class SharedCodec(Codec):
    """One member's codec that reads an update only once for the whole cluster.

    Updates never change, and a thousand members hear each of them a dozen times: most of the time
    and the memory of a large simulation.
    """

    def __init__(self, cluster: "Cluster", id: str) -> None:
        super().__init__(pack, unpack, ToySigner(id), cluster.config.frame_bytes_max)
        self._updates = cluster.updates

    def read_update(self, encoded: bytes) -> Update | None:
        update = self._updates.get(encoded)
        if update is None:
            update = super().read_update(encoded)
            if update is not None:
                if len(self._updates) >= UPDATES_SHARED_MAX:
                    self._updates.clear()
                self._updates[encoded] = update
        return update


class Process:
    """One member: its core, and the process around it, which may stall, crash and start again."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        self._cluster = cluster
        self.number = number
        # Spread as hashes are, with the number at the end.
        self.id = f"{number * 0x9E3779B1 & 0xFFFFFFFF:08x}{number:024x}"
        self.address: Address = (
            f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            7946,
        )
        self.is_up = False
        self.session = 0
        self.events: list[tuple[int, Event]] = []
        self._swim: Swim | None = None
        self._socket: list[tuple[bytes, Address]] = []
        self._streams: list[tuple[bytes, str]] = []
        self._stalled_until_ms = 0
        self._timer_ms: int | None = None
        self._incarnations: dict[str, int] = {}
        self._suspected_ms: dict[str, int] = {}

    @property
    def swim(self) -> Swim:
        assert self._swim is not None, f"process {self.number} never started"
        return self._swim

    def start(
        self,
        seeds: list[Address],
        *,
        incarnation: int = 0,
        tags: bytes = b"",
        snapshot: bytes = b"",
    ) -> None:
        """Starts, or starts again with nothing remembered but its id and a snapshot."""
        assert not self.is_up
        cluster = self._cluster
        now_ms = cluster.clock.now_ms
        self.is_up = True
        self.session = cluster.rng.bits()
        self._stalled_until_ms = 0
        self._socket = []
        self._streams = []
        self._incarnations = {}
        self._suspected_ms = {}
        host, port = self.address
        self._swim = Swim(
            config=cluster.config,
            codec=SharedCodec(cluster, self.id),
            rng=Rng(cluster.rng.bits()),
            node_id=self.id,
            incarnation=incarnation,
            profile=Profile(host, port, f"node-{self.number}", tags, self.session),
            now_ms=now_ms,
            snapshot=snapshot,
        )
        cluster.network.attach(self.address, self._receive, self._receive_stream_frame)
        self.swim.set_seeds(seeds)
        self.swim.join([seed for seed in seeds if seed != self.address], now_ms)
        self.pump()

    def crash(self) -> None:
        """Gone without a word."""
        self.is_up = False
        self._timer_ms = None
        self._cluster.network.detach(self.address)

    def leave(self) -> None:
        """Says goodbye; the process itself runs on until it is crashed."""
        self.swim.leave(self._cluster.clock.now_ms)
        self.pump()

    def set_tags(self, tags: bytes) -> None:
        self.swim.set_tags(tags, self._cluster.clock.now_ms)
        self.pump()

    def stall(self, length_ms: int) -> None:
        """Nothing runs for a while: a stopped process or a host out of breath."""
        until_ms = self._cluster.clock.now_ms + length_ms
        self._stalled_until_ms = max(self._stalled_until_ms, until_ms)
        self._cluster.clock.call_at(until_ms, self._wake)

    def view(self) -> dict[str, tuple[str, int, bytes]]:
        """Whom it holds present: id → state, session, tags."""
        return {
            member.id: (STATE_NAMES[member.state], member.profile.session, member.profile.tags)
            for member in self.swim.present()
        }

    def deaths(self) -> list[tuple[int, str]]:
        """(moment, id) of each member that it called dead."""
        return [
            (at_ms, event.member.id)
            for at_ms, event in self.events
            if isinstance(event, MemberEvent) and event.kind == DIED
        ]

    def _is_stalled(self) -> bool:
        return self._cluster.clock.now_ms < self._stalled_until_ms

    def _receive(self, data: bytes, source: Address) -> None:
        if self._is_stalled():
            if len(self._socket) < SOCKET_DATAGRAMS_MAX:
                self._socket.append((data, source))
            return
        self.swim.receive_datagram(data, source, self._cluster.clock.now_ms)
        self.pump()

    def _receive_stream_frame(self, data: bytes, sender_id: str) -> None:
        if self._is_stalled():
            if len(self._streams) < STREAMS_MAX:
                self._streams.append((data, sender_id))
            return
        self.swim.receive_stream_frame(data, sender_id, self._cluster.clock.now_ms)
        self.pump()

    def _wake(self) -> None:
        if not self.is_up or self._is_stalled():
            return
        now_ms = self._cluster.clock.now_ms
        waiting, self._socket = self._socket, []
        for data, source in waiting:
            self.swim.receive_datagram(data, source, now_ms)
        arrived, self._streams = self._streams, []
        for data, sender_id in arrived:
            self.swim.receive_stream_frame(data, sender_id, now_ms)
        self.swim.handle_timer(now_ms)
        self.pump()

    def _run_timer(self, timer_ms: int) -> None:
        if self._timer_ms == timer_ms and not self._is_stalled():
            self._timer_ms = None
            self.swim.handle_timer(self._cluster.clock.now_ms)
            self.pump()

    def pump(self) -> None:
        """What a driver does after each call, and the invariants of each step."""
        swim, cluster = self.swim, self._cluster
        own = swim.own.incarnation
        assert own >= self._incarnations.get(self.id, 0), "an incarnation went back"
        self._incarnations[self.id] = own
        came = len(self.events)
        while (event := swim.next_event()) is not None:
            self.events.append((cluster.clock.now_ms, event))
            if isinstance(event, MemberEvent):
                member = event.member
                held = self._incarnations.get(member.id, 0)
                assert member.incarnation >= held, "an incarnation went back"
                self._incarnations[member.id] = member.incarnation
        self._assert_deaths_had_their_time(came)
        for data, destination in swim.datagrams_to_send():
            assert len(data) <= cluster.config.frame_bytes_max, "a frame is too long"
            cluster.network.send(data, self.address, destination)
        for data, destination, _ in swim.stream_frames_to_send():
            assert len(data) <= STREAM_FRAME_BYTES_MAX, "a stream frame is too long"
            cluster.network.send_stream_frame(data, self.address, destination, self.id)
        timer_ms = swim.get_timer()
        if timer_ms is not None and timer_ms != self._timer_ms:
            self._timer_ms = timer_ms
            cluster.clock.call_at(timer_ms, lambda: self._run_timer(timer_ms))

    def _assert_deaths_had_their_time(self, came: int) -> None:
        """Nobody is dead before it had the least time to object, but by its own next life."""
        now_ms, config = self._cluster.clock.now_ms, self._cluster.config
        for place in range(came, len(self.events)):
            event = self.events[place][1]
            if not isinstance(event, MemberEvent):
                continue
            id = event.member.id
            if event.kind == SUSPECTED:
                self._suspected_ms[id] = now_ms
            elif event.kind == DIED and config.deaths_are_doubted:
                after = self.events[place + 1][1] if place + 1 < len(self.events) else None
                is_next_life = isinstance(after, MemberEvent) and after.member.id == id
                since_ms = self._suspected_ms.get(id)
                assert is_next_life or (
                    since_ms is not None and now_ms - since_ms >= suspicion_timeout_ms(config, 1)
                ), f"process {self.number} calls {id} dead that had no time to object"


class Cluster:
    """Processes, numbered from 1, on one network. The first three are everyone's seeds.

    Args:
        seed: of everything that is drawn.
        size: how many processes there may be; none is started.
        config: of every core.
    """

    def __init__(self, seed: int, size: int, config: Config | None = None) -> None:
        self.rng = Rng(seed)
        self.clock = VirtualClock()
        self.network = Network(self.clock, Rng(self.rng.bits()))
        self.config = config or Config()
        self.updates: dict[bytes, Update] = {}
        self.processes = [Process(self, number) for number in range(1, size + 1)]
        self.seeds = [process.address for process in self.processes[:3]]

    def start(self) -> None:
        """Starts all that are down."""
        for process in self.processes:
            if not process.is_up:
                process.start(self.seeds)

    def start_agreed(self) -> None:
        """Starts all that are down, each with everybody in its table and nothing more to say.

        A mesh of a thousand that has been running for long, without the minute until it has.
        """
        for process in self.processes:
            if not process.is_up:
                process.start([])
        claims = [process.swim.own.claim for process in self.up()]
        anyone = f"{len(self.processes) + 1:032x}"
        codec = SharedCodec(self, anyone)
        for process in self.up():
            for first in range(0, len(claims), CLAIMS_PER_FRAME):
                part = claims[first : first + CLAIMS_PER_FRAME]
                frame = codec.encode(GOSSIP, anyone, 0, target="", address=None, updates=part)
                process.swim.receive_stream_frame(frame, anyone, self.clock.now_ms)
            process.swim._broadcasts.clear()
            process.swim.set_seeds(self.seeds)
            process.pump()
        for process in self.up():
            process.events.clear()

    def run(self, length_ms: int) -> None:
        self.clock.run_until(self.clock.now_ms + length_ms)

    def up(self) -> list[Process]:
        return [process for process in self.processes if process.is_up]

    def part(self, *sides: list[Process]) -> None:
        """Only members of one side hear each other."""
        self.network.part([[process.address for process in side] for side in sides])

    def disagreement(self) -> str:
        """Empty when every process holds exactly those that are up, alive and as they are now."""
        up = self.up()
        truth = {
            process.id: ("alive", process.session, process.swim.own.profile.tags) for process in up
        }
        for process in up:
            view = process.view()
            if view != truth:
                wrong = sorted(id for id in {*truth, *view} if truth.get(id) != view.get(id))
                return f"at {self.clock.now_ms} ms process {process.number} is wrong on {wrong}"
        return ""

    def run_until_agreed(self, within_ms: int, step_ms: int = 250) -> int:
        """Runs until all agree; returns how long that took.

        Raises:
            AssertionError: they still disagree after `within_ms`.
        """
        began_ms = self.clock.now_ms
        while wrong := self.disagreement():
            assert self.clock.now_ms - began_ms < within_ms, wrong
            self.run(step_ms)
        return self.clock.now_ms - began_ms

    def assert_bounds(self) -> None:
        """Every queue is within its bound, by each core's own statistics."""
        for process in self.up():
            statistics = process.swim.statistics()
            assert statistics["broadcasts_waiting"] <= self.config.broadcasts_max
            assert statistics["members_present"] <= self.config.members_max
            assert statistics["members_gone"] <= self.config.gone_max
            assert statistics["relays"] <= self.config.relays_max
            assert statistics["suspicions"] <= statistics["members_present"]
