"""Whole nodes in virtual time, with everything that can go wrong, and what must hold all the same.

One seed makes one run: some members, each with the real `Swim`, `Claimer`s and `Holder`, wired as
the node's driver wires them (`world_node`, `world_process`), on one network (`network`), with
engines that check as little as the real ones (`world_engine`), workers that take time
(`world_work`), and trouble (`world_trouble`): loss, delay, duplicates, reordering, partitions,
one-way links, stalls, crashes, restarts of all at once, clocks that differ and drift, engines that
do not answer, a liar with the mesh key. Then quiet returns, and the world
runs until all is done. `InvariantBroken`, with the seed in it, is raised as soon as one fails:

1. No job is effective twice: its engine takes one completion, made by a worker that ran that very
   lease, and the holder of at most one lease is told that its outcome completed the job.
2. No job is lost: when quiet returns, each is done in the end, all tables are empty, all agree.
3. Nobody believes of a member what that member never said. No member is dead for ever: when quiet
   returns, all hold all others alive, as they are now, and nobody else.
4. Incarnations never go back, in any member's view.
5. Every bound is kept: frames, queues, tables, slots, bytes, grants on their way.
6. No claimer reports an outcome of a lease that is not the current one, none reports a lease again
   that it has settled, none gives a job back, or renews it, that it has given back, and no
   activation is granted more than three times. With the plan `poisoned-claimers`, no job kills more
   than three nodes, claimers or not, before the engine has counted a failure, as far as anybody who
   lives can know of them (`world_poison`).
7. No lease id is granted twice, and no holder runs one twice.
8. With the plan `lost-claimers`, where locks outlast the world: a claimer's heir knows all that it
   had, nothing that anybody knew of waits for the end of its lock, and nobody takes a job that a
   living member works on for one that nobody knows of.
9. Nobody spins: no machine asks for its timer at once, again and again, and no world is endless.

Everything is drawn from one generator and written in the Python that MicroPython runs, so that a
seed gives one run on every interpreter: `trace_hash` is the SHA-256 of all that happened, each
datagram and message with its time. One seed in words: `python -m gossamer_mesh.testing.world SEED`.
"""

import hashlib
import sys

from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.swim.codec import Codec
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.testing.clock import EndlessError, VirtualClock
from gossamer_mesh.testing.lease_checks import InvariantBroken, name_of
from gossamer_mesh.testing.network import Network
from gossamer_mesh.testing.world_engine import WorldEngine
from gossamer_mesh.testing.world_node import Node
from gossamer_mesh.testing.world_plans import Plan, plan_of
from gossamer_mesh.testing.world_poison import UNSEEN_MS_MAX, Kills
from gossamer_mesh.testing.world_trouble import Trouble

try:
    from gossamer_mesh.packing import pack, unpack
except ImportError:  # no library, as on a microcontroller: the same bytes
    from gossamer_mesh.packing_pure import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.leases.messages import LeaseId
    from gossamer_mesh.leases.work import Report
    from gossamer_mesh.swim.codec import Signer
    from gossamer_mesh.testing.network import Address
    from gossamer_mesh.testing.world_process import Process

TROUBLE_MS = 40_000
"""How long things go wrong, after `START_MS`."""
START_MS = 5_000
SETTLE_MS = 10_000
"""How long the mesh has to take note of the quiet, engines found again included."""
STABLE_MS = 15_000
"""How long it must then stay so."""
STEP_MS = 500
STEPS_MAX = 200_000
"""What may happen in one world, some times as much as does: a defect must not make it endless."""


class World:
    """One run.

    Args:
        seed: decides everything.
        say: takes each step in words; None for none.
        plan: what it is made of; None: the usual.
    """

    def __init__(
        self,
        seed: int,
        say: "Callable[[str], None] | None" = None,
        plan: "Plan | None" = None,
    ) -> None:
        self.seed = seed
        self.plan = Plan() if plan is None else plan
        self.rng = rng = Rng(seed)
        self.clock = VirtualClock(STEPS_MAX)
        self.network = Network(self.clock, Rng(rng.bits()))
        self.counts: dict[str, int] = {}
        self.is_troubled = True
        self.pack = pack
        self.unpack = unpack
        self.config = Config()
        self.lease_config = LeaseConfig(outcomes_kept_max=8)
        self.granted: set[LeaseId] = set()
        self.poison: dict[str, int] = {}
        self.kills = Kills(self)
        self._say = say
        self._hash = hashlib.sha256()
        self._ran: dict[LeaseId, bytes] = {}
        self._told: dict[tuple[str, str], LeaseId] = {}
        self.engines: dict[str, WorldEngine] = {}
        self.parts: dict[str, int] = {}
        self._make_engines()
        size = self.plan.sizes[rng.below(len(self.plan.sizes))]
        self.nodes = [Node(self, number) for number in range(1, size + 1)]
        self.node_of = {node.id: node for node in self.nodes}
        self.seeds: list[Address] = [node.address for node in self.nodes[:2]]
        self.trouble = Trouble(self)

    def _make_engines(self) -> None:
        rng, plan = self.rng, self.plan
        for number in range(1 + rng.below(plan.engines_max)):
            topics = [f"t{number}{letter}" for letter in "abc"[: 1 + rng.below(3)]]
            lock_ms = plan.locks_ms[rng.below(len(plan.locks_ms))]
            name = f"e{number}"
            checks = plan.engines_check[rng.below(len(plan.engines_check))]
            self.parts[name] = 1 + rng.below(4) // 3 if plan.splits else 1
            self.engines[name] = WorldEngine(self, name, checks, topics, lock_ms)

    # --- the run

    def run(self) -> None:
        """Runs to the end.

        Raises:
            InvariantBroken: what was broken, when, and how to see it again.
        """
        try:
            self._run()
        except (InvariantBroken, EndlessError) as broken:
            raise InvariantBroken(
                f"seed {self.seed} at {self.clock.now_ms} ms: {broken}; replay: {self.replay()}"
            ) from None

    def replay(self) -> str:
        """The command that tells this world step by step."""
        plan = "" if self.plan.name == Plan.name else f" --plan {self.plan.name}"
        return f"python -m gossamer_mesh.testing.world {self.seed}{plan}"

    def _run(self) -> None:
        for node in self.nodes:
            self.after(self.rng.below(START_MS), node.start_if_down)
        self._plan_jobs()
        self.trouble.plan(START_MS, START_MS + TROUBLE_MS)
        self.clock.run_until(START_MS + TROUBLE_MS)
        self.trouble.end()
        self.is_troubled = False
        self.clock.run_until(self.clock.now_ms + SETTLE_MS)
        self._run_until_quiet()
        before = [node.changes for node in self.up()]
        self.clock.run_until(self.clock.now_ms + STABLE_MS)
        if before != [node.changes for node in self.up()]:
            self.broken("members change although nothing happens")
        self._check_end()
        for node in self.up():
            node.count_up()

    def _run_until_quiet(self) -> None:
        end_ms = self.clock.now_ms + self.plan.quiet_ms_max
        while True:
            self.clock.run_until(self.clock.now_ms + STEP_MS)
            wrong = self._left_over()
            if not wrong:
                return
            if self.clock.now_ms >= end_ms:
                self.broken(f"not quiet at the end: {wrong}")

    def _check_end(self) -> None:
        wrong = self._left_over()
        if wrong:
            self.broken(f"not quiet any more: {wrong}")

    def _left_over(self) -> "list[str]":
        left: list[str] = []
        for _, engine in sorted(self.engines.items()):
            left += engine.left()
        for node in self.up():
            left += node.left()
        return left or self._disagreements()

    def _disagreements(self) -> "list[str]":
        truth = {node.id: node.says() for node in self.up()}
        wrong = []
        for node in self.up():
            view = node.view()
            if view != truth:
                ids = sorted(set(truth) | set(view))
                differ = [id[-2:] for id in ids if truth.get(id) != view.get(id)]
                wrong.append(f"n{node.number} is wrong on {differ}")
        return wrong

    def _plan_jobs(self) -> None:
        rng = self.rng
        for number in range(5 + rng.below(self.plan.jobs_max - 4)):
            engine = self.engines[f"e{rng.below(len(self.engines))}"]
            topic = engine.topics[rng.below(len(engine.topics))]
            retries = (1, 3, 3)[rng.below(3)]
            key = f"{engine.name}j{number}"
            self._plan_job(rng.below(START_MS + TROUBLE_MS), engine, key, topic, retries)
            if rng.below(100) < self.plan.poison_percent:
                self.poison[key] = 1 + rng.below(self.plan.poison_kills)

    def _plan_job(
        self, at_ms: int, engine: WorldEngine, key: str, topic: str, retries: int
    ) -> None:
        self.clock.call_at(at_ms, lambda: engine.model.add(key, topic, retries))

    # --- for its parts

    def up(self) -> list[Node]:
        """Nodes that run now; at the end, all whose host has not vanished."""
        return [node for node in self.nodes if node.is_up]

    def after(self, pause_ms: int, action: "Callable[[], None]") -> None:
        """`action` runs in `pause_ms`."""
        self.clock.call_at(self.clock.now_ms + pause_ms, action)

    def codec(self, signer: "Signer") -> Codec:
        """A codec for whoever speaks with this signer."""
        return Codec(pack, unpack, signer, self.config.frame_bytes_max)

    def note(self, text: str, data: bytes = b"") -> None:
        """One step, for the hash and the reader."""
        line = f"{self.clock.now_ms:7} {text}"
        self._hash.update(line.encode())
        self._hash.update(data)
        if self._say is not None and not data:
            self._say(line)

    def trace_hash(self) -> str:
        """Of all that happened; only once, at the end."""
        return self._hash.digest().hex()

    def count(self, what: str) -> None:
        """One more of this."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def broken(self, what: str) -> None:
        """A rule is broken: raises InvariantBroken."""
        raise InvariantBroken(what)

    def note_end(self, victim: Node, ended: "Process") -> None:
        """A process is gone, and with it what only it knew, as far as the plan says so.

        Rule 8: what nobody else knows of by now was locked a moment ago, or is on its way back to
        the engine, or the process had no heir until a moment ago; or jobs killed the heir as well.
        """
        self.kills.note_end(victim, ended)
        if not self.plan.forgets_dead:
            return
        known: set[str] = set()
        for node in self.up():
            known |= node.knows()
        for _, engine in sorted(self.engines.items()):
            heir_since_ms = ended.heir_since_ms(f"{engine.name}/0")
            for job in engine.model.locked_by(ended.worker_id, self.clock.now_ms):
                if job.key in known or job.locked_ms is None:
                    continue
                must_be_known = job.key not in engine.releasing and not self.plan.kills_max
                if must_be_known and heir_since_ms is not None:
                    age_ms = self.clock.now_ms - max(job.locked_ms, heir_since_ms)
                    if age_ms > UNSEEN_MS_MAX:
                        self.broken(f"nobody knows of {job!r}, locked {age_ms} ms ago")
                self.count("unseen")
                job.free_at_ms = self.clock.now_ms

    def note_run(self, lease: "LeaseId") -> None:
        """A worker runs this lease."""
        self._ran[lease] = name_of(lease).encode()
        self.kills.note_run(lease)

    def check_effect(self, report: "Report") -> None:
        """Rule 1: what the engine took as a completion."""
        ran = self._ran.get(report.lease)
        if ran is None or report.outcome is None or not report.outcome.endswith(ran):
            self.broken(f"{report.lease!r} was completed with {report.outcome!r}")

    def check_reclaimed(self, lease: "LeaseId") -> None:
        """Rule 8: a job goes back to the engine that a dead claimer's poll seems to have locked."""
        if not self.plan.forgets_dead:
            return
        for node in self.up():
            process = node.process
            if process is not None and not process.is_stopping:
                held = process.holder.leases()
                if any((one.group, one.key) == (lease.group, lease.key) for one in held):
                    self.broken(f"{lease!r} is released, and n{node.number} has the job")

    def check_told(self, lease: "LeaseId") -> None:
        """Rule 1: a holder is told that its outcome completed the job."""
        job = (lease.group, lease.key)
        if self._told.get(job, lease) != lease:
            self.broken(f"{lease!r} and {self._told[job]!r} both completed the job")
        self._told[job] = lease


def main(arguments: "list[str]") -> int:
    """Runs seeds and prints each one's hash; one seed alone is told step by step."""
    seeds: list[int] = []
    plan: Plan | None = None
    hash_only = False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--hash":
            hash_only = True
        elif word == "--plan":
            plan = plan_of(rest.pop(0))
        else:
            seeds.append(int(word))
    for seed in seeds:
        world = World(seed, print if len(seeds) == 1 and not hash_only else None, plan)
        world.run()
        print(f"seed {seed} hash {world.trace_hash()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
