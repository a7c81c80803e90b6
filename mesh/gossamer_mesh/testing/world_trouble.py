"""What goes wrong in a world, when, and with whom.

Each trouble is a method without arguments that draws the rest. Those that last end by themselves;
`end` ends whatever is left, brings everybody up and lets everything through.
"""

from gossamer_mesh.swim.codec import GOSSIP, Profile
from gossamer_mesh.swim.state import DEAD, SUSPECT
from gossamer_mesh.testing.toy_signing import ToySigner
from gossamer_mesh.testing.world_electing import PARTS_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.testing.world import World
    from gossamer_mesh.testing.world_node import Node


class Forger(ToySigner):
    """Speaks as a member whose key it has not."""

    def sign(self, message: bytes) -> bytes:
        """Bytes of the right length, no more."""
        return bytes(64)


class Trouble:
    """The troubles of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng
        self._kinds = {
            "crash": self._crash,
            "crash claimer": self._crash_claimer,
            "crash claimer and heir": self._crash_claimer_and_heir,
            "crash holder": self._crash_holder,
            "restart": self._restart,
            "restart claimer": self._restart_claimer,
            "restart many": self._restart_many,
            "stall": self._stall,
            "stall claimer": self._stall_claimer,
            "stall holder": self._stall_holder,
            "vanish": self._vanish,
            "stop": self._stop,
            "stop claimer": self._stop_claimer,
            "part": self._part,
            "cut one way": self._cut_one_way,
            "break streams": self._break_streams,
            "flap": self._flap,
            "weather": self._weather,
            "silence": self._silence,
            "engine down": self._engine_down,
            "lie": self._lie,
            "replay": self._replay,
            "split": self._split,
        }

    def plan(self, begin_ms: int, end_ms: int) -> None:
        """The troubles of the world's plan, at any time between, or at a steady pace."""
        world, rng, plan = self._world, self._rng, self._world.plan
        network = world.network
        network.duplicate_percent = rng.below(6)
        network.loss_percent = rng.below(5)
        count = plan.troubles_min + rng.below(plan.troubles_max - plan.troubles_min + 1)
        for number in range(count):
            trouble = self._kinds[plan.troubles[rng.below(len(plan.troubles))]]
            at_ms = begin_ms + plan.calm_ms + rng.below(plan.pace_ms or end_ms - begin_ms)
            world.clock.call_at(at_ms + number * plan.pace_ms, trouble)

    def end(self) -> None:
        """Quiet returns."""
        world = self._world
        world.note("quiet")
        world.network.heal()
        world.network.loss_percent = 0
        world.network.duplicate_percent = 0
        world.network.delay_ms = (1, 5)
        world.poison = {}
        for _, engine in sorted(world.engines.items()):
            engine.down_until_ms = 0
        for node in world.nodes:
            node.end_trouble()

    # --- processes

    def _pick(self) -> "Node | None":
        up = self._world.up()
        return up[self._rng.below(len(up))] if up else None

    def _pick_claimer(self) -> "Node | None":
        claimers = [node for node in self._world.up() if node.claims()]
        return claimers[self._rng.below(len(claimers))] if claimers else None

    def _pick_holder(self) -> "Node | None":
        """One that works and does not claim, as far as there is one."""
        holders = [node for node in self._world.up() if node.works()]
        holders = [node for node in holders if not node.claims()] or holders
        return holders[self._rng.below(len(holders))] if holders else None

    def _crash(self) -> None:
        self._crash_one(self._pick())

    def _crash_claimer(self) -> None:
        self._crash_one(self._pick_claimer())

    def _crash_claimer_and_heir(self) -> None:
        """At once: nobody is left who mirrors the table, and both are gone for a while."""
        claimer = self._pick_claimer()
        heirs = [node for node in self._world.up() if node is not claimer and node.mirrors()]
        lost = heirs[:1]
        if claimer is not None:
            lost.append(claimer)
        for node in lost:
            self._world.count("crashes")
            node.crash()
            self._world.after(12_000 + self._rng.below(5_000), node.start_if_down)

    def _crash_holder(self) -> None:
        self._crash_one(self._pick_holder())

    def _vanish(self) -> None:
        """A host that never comes back; the first, which can do all, and half of all stay."""
        gone = len([node for node in self._world.nodes if node.is_gone])
        node = self._pick()
        if node is not None and node.number > 1 and 2 * (gone + 1) < len(self._world.nodes):
            self._world.count("vanished")
            node.vanish()

    def _crash_one(self, node: "Node | None") -> None:
        if node is not None:
            self._world.count("crashes")
            node.crash()
            self._world.after(self._rng.below(15_000), node.start_if_down)

    def _restart(self) -> None:
        self._restart_one(self._pick())

    def _restart_claimer(self) -> None:
        self._restart_one(self._pick_claimer())

    def _restart_one(self, node: "Node | None") -> None:
        if node is not None:
            self._world.count("restarts")
            node.crash()
            node.start_if_down()

    def _restart_many(self) -> None:
        """All at once, or most: a power cut."""
        self._world.count("mass restarts")
        for node in self._world.nodes:
            if node.is_up and self._rng.below(4):
                node.crash()
                self._world.after(self._rng.below(3_000), node.start_if_down)

    def _stall(self) -> None:
        self._stall_one(self._pick())

    def _stall_claimer(self) -> None:
        self._stall_one(self._pick_claimer())

    def _stall_holder(self) -> None:
        """For as long as it takes to be called dead, or a little longer."""
        node = self._pick_holder()
        if node is not None:
            self._world.count("stalls")
            node.stall(2_000 + self._rng.below(10_000))

    def _stall_one(self, node: "Node | None") -> None:
        if node is not None:
            self._world.count("stalls")
            longest_ms = (1_000, 5_000, 20_000)[self._rng.below(3)]
            node.stall(1 + self._rng.below(longest_ms))

    def _stop(self) -> None:
        self._stop_one(self._pick())

    def _stop_claimer(self) -> None:
        self._stop_one(self._pick_claimer())

    def _stop_one(self, node: "Node | None") -> None:
        """A graceful stop, and a new start later."""
        if node is not None:
            self._world.count("stops")
            node.stop()
            self._world.after(6_000 + self._rng.below(8_000), node.start_if_down)

    # --- the network

    def _part(self) -> None:
        """Two sides."""
        world, rng = self._world, self._rng
        world.count("partitions")
        nodes = list(world.nodes)
        rng.shuffle(nodes)
        side = nodes[: 1 + rng.below(len(nodes) - 1)]
        world.note(f"partition: {sorted(node.number for node in side)}")
        world.network.part([[node.address for node in side]])
        world.after(1_000 + rng.below(20_000), self._heal)

    def _cut_one_way(self) -> None:
        """Some hear nothing from some others, who hear them all the same."""
        world, rng = self._world, self._rng
        world.count("one-way cuts")
        deaf = world.nodes[rng.below(len(world.nodes))]
        for node in world.nodes:
            if node is not deaf and rng.below(2):
                world.network.cut(node.address, deaf.address)
        world.note(f"one way: n{deaf.number} is deaf for some")
        world.after(1_000 + rng.below(20_000), self._heal)

    def _heal(self) -> None:
        self._world.note("heal")
        self._world.network.heal()

    def _break_streams(self) -> None:
        node = self._world.nodes[self._rng.below(len(self._world.nodes))]
        self._world.count("streams broken")
        self._world.note(f"streams of n{node.number} break")
        self._world.network.break_streams(node.address)

    def _flap(self) -> None:
        """A node whose streams break again and again, while datagrams pass."""
        self._world.count("flaps")
        node = self._pick_claimer() or self._world.nodes[0]
        self._world.note(f"streams of n{node.number} flap")
        end_ms = self._world.clock.now_ms + 2_000 + self._rng.below(8_000)

        def flap() -> None:
            self._world.network.break_streams(node.address)
            if self._world.clock.now_ms < end_ms and self._world.is_troubled:
                self._world.after(20 + self._rng.below(200), flap)

        flap()

    def _weather(self) -> None:
        """Loss, delay and duplicates from now on."""
        rng, network = self._rng, self._world.network
        network.loss_percent = (0, 5, 20, 30)[rng.below(4)]
        network.duplicate_percent = (0, 5, 20)[rng.below(3)]
        network.delay_ms = (1, (5, 50, 300)[rng.below(3)])
        self._world.count("weathers")
        self._world.note(f"loss {network.loss_percent} %, delay {network.delay_ms[1]} ms")

    def _silence(self) -> None:
        """A short time in which nothing gets through at all."""
        world = self._world
        before = world.network.loss_percent
        world.network.loss_percent = 100
        world.count("silences")

        def end() -> None:
            if world.network.loss_percent == 100:
                world.network.loss_percent = before if before < 100 else 0

        world.after(500 + self._rng.below(4_000), end)

    # --- somebody with the mesh key

    def _lie(self) -> None:
        """Forged claims and goodbyes, verdicts on the living, and junk, to anybody."""
        world, rng = self._world, self._rng
        world.count("lies")
        world.note("somebody lies")
        for _ in range(1 + rng.below(6)):
            about = world.nodes[rng.below(len(world.nodes))]
            to = world.nodes[rng.below(len(world.nodes))]
            if about.process is None:
                continue
            swim = about.process.swim
            codec = world.codec(Forger(about.id))
            incarnation = swim.own.incarnation + rng.below(1_000)
            said = swim.own.profile
            kind = rng.below(4)
            if kind == 0:
                profile = Profile(said.host, said.port, said.name, said.tags + b"x", rng.bits())
                update = codec.claim(incarnation, profile)
            elif kind == 1:
                update = codec.goodbye(incarnation)
            else:
                state = (SUSPECT, DEAD)[rng.below(2)]
                update = codec.verdict(state, about.id, swim.own.incarnation, to.id)
            blobs = [update.encoded, bytes([rng.below(256) for _ in range(rng.below(30))])]
            liar = world.nodes[rng.below(len(world.nodes))].id
            frame = codec.encode(GOSSIP, liar, 0, target="", address=None, updates=blobs)
            world.network.send(frame, ("10.9.9.9", 7946), to.address)
            junk = bytes([rng.below(256) for _ in range(rng.below(60))])
            world.network.send(junk, ("10.9.9.9", 7946), to.address)

    def _replay(self) -> None:
        """Old datagrams come again, also to others than they were for."""
        world, rng = self._world, self._rng
        world.count("replays")
        world.note("old datagrams come again")
        for data, source in world.network.remembered():
            to = world.nodes[rng.below(len(world.nodes))]
            world.network.send(data, source, to.address)

    # --- engines

    def _split(self) -> None:
        """Demand has grown or shrunk."""
        world, rng = self._world, self._rng
        engine = sorted(world.engines)[rng.below(len(world.engines))]
        world.parts[engine] = 1 + rng.below(PARTS_MAX)
        world.count("splits")
        world.note(f"{engine} in {world.parts[engine]} parts")

    def _engine_down(self) -> None:
        world, rng = self._world, self._rng
        engine = world.engines[f"e{rng.below(len(world.engines))}"]
        world.count("engine outages")
        world.note(f"{engine.name} is down")
        engine.down_until_ms = world.clock.now_ms + 1_000 + rng.below(20_000)
