"""A mesh of cores of `gossamer_node.keyed`, in virtual time, with everything that can go wrong.

Nodes with disks that outlive them, streams that lose messages, views of membership that lag,
deaths, restarts and partitions; workers that append their job to the state of their key, now and
then twice given by the engine. So a key's state lists the jobs that took effect, and says by itself
which are missing or doubled. One seed, step by step:
`python -m tests.sim.keyed_model SEED [--parted] [--stalled]`.
"""

import heapq
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.circle import Peer, filter_of
from gossamer_node.keyed.core import LONELY_MS, Core
from gossamer_node.keyed.floor import Reading, Stored, Writing, Written
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.runs import Done, Granted, Known, Lost
from gossamer_node.keyed.sweeping import Sweep
from gossamer_node.keyed.versions import NO_BALLOT, Ballot, Version

SERVICE = "count"
FILTER = filter_of([SERVICE])
ENGINE = "engine"
AGAIN_MS = 1_500
LOCK_MS = 6_000
JOBS_FROM_MS = 5_000
"""By then all nodes have seen each other once; before, they are meshes of their own."""
ANSWERS_KEPT = 1_000


@dataclass
class Row:
    """A key on one disk."""

    version: Version = field(default_factory=Version)
    state: bytes = b""
    answers: dict[str, tuple[bytes, int, Ballot]] = field(default_factory=dict)

    def found(self, job: str) -> bytes | None:
        """An answer, if it is of this state's history."""
        outcome, number, ballot = self.answers.get(job, (None, 0, NO_BALLOT))
        return outcome if self.version.reign_at(number) in (None, ballot) else None


class Node:
    """One member, through all its lives."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.disk: dict[Key, Row] = {}
        self.has_met = False
        self.session = 0
        self.is_up = False
        self.view: set[str] = set()
        self.core = self._core()
        self.runs: dict[int, tuple[Key, str]] = {}
        self.local: dict[Key, list[Callable[[], None]]] = {}
        self.disk_free_ms = 0
        self.timer_ms = -1
        self.stands_until_ms = 0

    def _core(self) -> Core:
        until = self.world.now_ms + LONELY_MS if self.has_met else 0
        return Core(self.name, self.session, self.is_busy, until)

    def is_busy(self, key: Key) -> bool:
        return key in self.local and key not in self.in_turn

    def start(self) -> None:
        self.session += 1
        self.is_up = True
        self.view = set()
        self.runs = {}
        self.local = {}
        self.in_turn: dict[Key, int] = {}
        self.timer_ms = -1
        self.sweep = Sweep()
        self.core = self._core()

    # --- the core's wishes

    def pump(self) -> None:
        world = self.world
        now = world.now_ms
        moved = True
        while moved and self.is_up:
            moved = False
            for one in self.core.settled():
                if self.sweep.settled(one) and self.name not in one.holders:
                    self._drop(one)
            for told in self.core.told():
                moved = True
                self._told(told)
            for ask in self.core.disk_asks():
                moved = True
                world.after(world.chance.randint(1, 6), self._guarded(self._disk, ask))
        for member, message in self.core.messages_to_send():
            world.send(self, member, message)
        for fork in self.core.forks():
            world.forks += 1
            world.say(f"{self.name} fork {fork}")
        due = self.core.get_timer(now)
        if self.timer_ms <= now or due < self.timer_ms:
            self.timer_ms = due
            world.after(due - now, self._guarded(self._timer, due))

    def _drop(self, settled: wire.Settled) -> None:
        """Two others have it, so this old copy may go."""
        row = self.disk.get(settled.key)
        if row is not None and row.version.order() <= settled.version.order():
            self.world.say(f"{self.name} drops {settled.key.value} at {row.version.number}")
            del self.disk[settled.key]

    def _timer(self, due: int) -> None:
        if due == self.timer_ms:
            self.core.handle_timer(self.world.now_ms)
            self.timer_ms = -1
            self.pump()

    def _guarded(self, call: Callable[..., None], *values: object) -> Callable[[], None]:
        session = self.session

        def run() -> None:
            if self.is_up and self.session == session:
                if self.world.now_ms < self.stands_until_ms:
                    self.world.after(self.stands_until_ms - self.world.now_ms, run)
                else:
                    call(*values)

        return run

    def _disk(self, ask: Reading | Writing) -> None:
        row = self.disk.get(ask.key, Row())
        result: Stored | Written
        if isinstance(ask, Reading):
            found = row.found(ask.job[1]) if ask.job else None
            last = [
                (ENGINE, job, out, number)
                for job, (out, number, _) in row.answers.items()
                if row.found(job) is not None
            ][-wire.ANSWERS_MAX :]
            result = Stored(row.version, row.state, tuple(last), found)
        elif row.version.ballot > ask.ballot:
            result = Written(row.version.ballot[0])
        else:
            answers = dict(row.answers)
            for _, job, out, number in ask.answers:
                ballot = ask.version.reign_at(number)
                if ballot is not None:
                    answers.pop(job, None)
                    answers[job] = (out, number, ballot)
            self.disk[ask.key] = Row(ask.version, ask.state, answers)
            result = Written()
        self.core.disk_did(ask.number, result, self.world.now_ms)
        self.pump()

    # --- jobs

    def work(self, key: Key, job: str) -> None:
        """A job was granted to this node."""
        if self.core.is_alone(key, self.world.now_ms):
            self._enter_local(key, self._guarded(self._work_alone, key, job))
        else:
            number = self.core.enter(key, ENGINE, job, 20_000, 64, self.world.now_ms)
            self.runs[number] = (key, job)
            self.pump()

    def _enter_local(self, key: Key, begin: Callable[[], None]) -> None:
        if key in self.local:
            self.local[key].append(begin)
        else:
            self.local[key] = []
            begin()

    def _leave_local(self, key: Key) -> None:
        queue = self.local[key]
        if queue:
            queue.pop(0)()
        else:
            del self.local[key]

    def _work_alone(self, key: Key, job: str) -> None:
        row = self.disk.get(key, Row())
        known = row.found(job)
        if known is not None:
            self.world.complete(key, job, known)
            self._leave_local(key)
            return
        self.world.begins(self, key, row.version)

        def end() -> None:
            state = applied(row.state, job)
            ballot = row.version.ballot
            if ballot[1] != self.name:
                ballot = (ballot[0] + 1, self.name)
            version = row.version.next(ballot)
            answers = {**row.answers, job: (job.encode(), version.number, ballot)}
            self.disk[key] = Row(version, state, answers)
            self.world.ends(self, key)
            self.world.acknowledge(key, version)
            self.world.complete(key, job, job.encode())
            self._leave_local(key)
            if not self.core.is_alone(key, self.world.now_ms):
                self.world.walk(self)

        self.world.after(self.world.takes_ms(), self._guarded(end))

    def _told(self, told: Granted | Known | Done | Lost) -> None:
        key, job = self.runs[told.run]
        world = self.world
        world.say(f"{self.name} {job} of {key.value}: {str(told)[:100]}")
        if isinstance(told, Granted):
            self._enter_local(key, self._guarded(self._work_granted, key, job, told))
            return
        del self.runs[told.run]
        if self.in_turn.get(key) == told.run:
            del self.in_turn[key]
            self._leave_local(key)
        if isinstance(told, Known):
            world.complete(key, job, told.outcome)
        elif isinstance(told, Done):
            world.acknowledge(key, told.version)
            world.complete(key, job, job.encode())
        else:
            world.lost[told.why] += 1
            world.give_again(key, job, AGAIN_MS)

    def _work_granted(self, key: Key, job: str, told: Granted) -> None:
        self.in_turn[key] = told.run
        self.world.begins(self, key, told.version)

        def end() -> None:
            self.world.ends(self, key)
            if self.world.chance.random() < 0.05:
                # It failed, and keeps nothing.
                del self.in_turn[key]
                self._leave_local(key)
                del self.runs[told.run]
                self.core.leave(told.run, self.world.now_ms)
                self.world.give_again(key, job, AGAIN_MS)
            else:
                state = applied(told.state, job)
                self.core.keep(told.run, state, job.encode(), self.world.now_ms)
            self.pump()

        self.world.after(self.world.takes_ms(), self._guarded(end))


def applied(state: bytes, job: str) -> bytes:
    return json.dumps([*(json.loads(state) if state else []), job]).encode()


class World:
    """A mesh, an engine, and chance.

    Args:
        parts: whether the mesh may part; then two sides may both work a key.
        stalls: whether nodes may stand still, as a paused machine does, until after the others
            have counted them as dead. One may run a job beside another's turn then; nothing of it
            counts.
    """

    def __init__(
        self, seed: int, *, parts: bool = False, stalls: bool = False, talks: bool = False
    ) -> None:
        self.chance = Random(seed)
        self.now_ms = 0
        self.talks = talks
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.loss = self.chance.choice([0.0, 0.0, 0.02, 0.1])
        names = "abcde"[: self.chance.randint(2, 5)]
        self.nodes = {name: Node(self, name) for name in names}
        self.arrives_ms: dict[tuple[str, str], int] = {}
        self.sides: list[set[str]] = []
        self.parts = parts
        self.has_parted = False
        self.stalls = stalls
        self.has_stalled = False
        self.keys = [Key(SERVICE, "", f"k{n}") for n in range(self.chance.randint(1, 4))]
        self.jobs: dict[str, Key] = {}
        self.completed: dict[str, bytes] = {}
        self.given: Counter[str] = Counter()
        self.working: dict[Key, set[str]] = {}
        self.acknowledged: dict[Key, int] = {}
        self.faults: list[str] = []
        self.lost: Counter[str] = Counter()
        self.holder: dict[str, str] = {}
        self.forks = 0
        self.deaths = 0

    # --- time

    def after(self, delay_ms: int, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now_ms + max(0, delay_ms), self._count, call))

    def run(self, until_ms: int) -> None:
        while self._queue and self._queue[0][0] <= until_ms:
            self.now_ms, _, call = heapq.heappop(self._queue)
            call()
        self.now_ms = until_ms

    def say(self, text: str) -> None:
        if self.talks:
            print(f"{self.now_ms:7} {text}")

    # --- the network and membership

    def connected(self, one: str, other: str) -> bool:
        return not any((one in side) != (other in side) for side in self.sides)

    def send(self, sender: Node, member: str, message: wire.Message) -> None:
        target = self.nodes[member]
        data = wire.to_bytes(message)
        if self.chance.random() < self.loss or member not in sender.view:
            return
        session = target.session
        pair = (sender.name, member)
        arrives = max(self.arrives_ms.get(pair, 0), self.now_ms + self.chance.randint(1, 30))
        self.arrives_ms[pair] = arrives

        def arrive() -> None:
            if not target.is_up or target.session != session:
                return
            if not self.connected(sender.name, member):
                return
            if self.now_ms < target.stands_until_ms:
                self.after(target.stands_until_ms - self.now_ms, arrive)
                return
            read = wire.from_bytes(data)
            assert read == message, (read, message)
            self.say(f"{sender.name}>{member} {str(message)[:150]}")
            target.core.receive(sender.name, read, self.now_ms)
            target.pump()

        self.after(arrives - self.now_ms, arrive)

    def see(self, node: Node) -> None:
        """A node's view becomes what is so."""
        if not node.is_up or self.now_ms < node.stands_until_ms:
            return
        others = {
            one.name: Peer(one.session, FILTER)
            for one in self.nodes.values()
            if one.is_up
            and one is not node
            and self.connected(one.name, node.name)
            and self.now_ms >= one.stands_until_ms
        }
        if set(others) != node.view:
            self.say(f"{node.name} sees {sorted(others)}")
        node.view = set(others)
        node.has_met = node.has_met or bool(others)
        node.core.set_members(others, self.now_ms)
        node.pump()
        self.walk(node)

    def walk(self, node: Node) -> None:
        """A node tells the homes of its keys what it has."""
        is_walking = not node.sweep.is_over()
        node.sweep.begin()
        if not is_walking:
            self.after(200, node._guarded(self._walk, node))

    def _walk(self, node: Node) -> None:
        room = node.sweep.room()
        if room:
            keys = sorted(node.disk, key=lambda key: key.value)
            cursor = node.sweep.cursor
            rest = [key for key in keys if cursor is None or key.value > cursor.value]
            node.sweep.add(
                [(key, node.disk[key].version) for key in rest[:room]], room, lambda key: True
            )
        for key, version in node.sweep.due(self.now_ms):
            node.core.touch(key, version, self.now_ms)
        node.pump()
        if not node.sweep.is_over():
            self.after(200, node._guarded(self._walk, node))

    def changed(self, least_ms: int, most_ms: int) -> None:
        """All see it, each at its own time."""
        for node in self.nodes.values():
            session = node.session

            def look(node: Node = node, session: int = session) -> None:
                if node.session == session:
                    self.see(node)

            self.after(self.chance.randint(least_ms, most_ms), look)

    def start(self, node: Node) -> None:
        self.say(f"{node.name} starts")
        node.start()
        self.changed(0, 1_500)

    def kill(self, node: Node) -> None:
        self.say(f"{node.name} dies")
        self.deaths += 1
        node.is_up = False
        for working in self.working.values():
            working.discard(node.name)
        for job, key in self.jobs.items():
            if job not in self.completed and self.holder.get(job) == node.name:
                self.give_again(key, job, self.chance.randint(1_000, LOCK_MS))
        self.changed(500, 3_000)

    # --- the engine

    def takes_ms(self) -> int:
        """How long a job works: most are short, and some last over a change of the mesh."""
        return self.chance.choice([self.chance.randint(5, 100), self.chance.randint(200, 2_500)])

    def add_job(self, number: int) -> None:
        key = self.chance.choice(self.keys)
        job = f"j{number}"
        self.jobs[job] = key
        self.give(key, job)

    def give(self, key: Key, job: str) -> None:
        now = self.now_ms
        up = [one for one in self.nodes.values() if one.is_up and now >= one.stands_until_ms]
        if not up or job in self.completed:
            if not up:
                self.give_again(key, job, AGAIN_MS)
            return
        node = self.chance.choice(up)
        self.given[job] += 1
        self.holder[job] = node.name
        node.work(key, job)
        node.pump()

    def give_again(self, key: Key, job: str, delay_ms: int) -> None:
        self.after(delay_ms, lambda: self.give(key, job))

    def complete(self, key: Key, job: str, outcome: bytes) -> None:
        assert outcome == job.encode()
        if self.chance.random() < 0.05 and self.given[job] < 4:
            # The node, or its claimer, was lost before the engine heard of it.
            self.give_again(key, job, self.chance.randint(100, 2_000))
            return
        self.completed[job] = outcome

    # --- what must hold

    def begins(self, node: Node, key: Key, version: Version) -> None:
        working = self.working.setdefault(key, set())
        if working and not self.has_parted and not self.has_stalled:
            self.faults.append(f"{self.now_ms}: {key.value} runs on {working} and {node.name}")
        working.add(node.name)
        if version.number < self.acknowledged.get(key, 0) and not (
            self.has_parted or self.has_stalled
        ):
            self.faults.append(f"{self.now_ms}: {key.value} went back to {version.number}")

    def ends(self, node: Node, key: Key) -> None:
        self.working[key].discard(node.name)

    def acknowledge(self, key: Key, version: Version) -> None:
        self.acknowledged[key] = max(self.acknowledged.get(key, 0), version.number)

    # --- a whole run

    def play(self) -> None:
        chance = self.chance
        for node in self.nodes.values():
            self.after(chance.randint(0, 3_000), lambda node=node: self.start(node))  # type: ignore[misc]
        count = chance.randint(20, 60)
        end_ms = 60_000
        for number in range(count):
            self.after(chance.randint(JOBS_FROM_MS, end_ms), lambda n=number: self.add_job(n))  # type: ignore[misc]
        time_ms = chance.randint(5_000, 12_000)
        while time_ms < end_ms:
            self._plan_trouble(time_ms)
            time_ms += chance.randint(15_000, 25_000)
        self.run(end_ms)
        self.sides = []
        self.changed(0, 2_000)
        self.run(end_ms + 60_000)

    def _plan_trouble(self, time_ms: int) -> None:
        chance = self.chance
        if self.parts and chance.random() < 0.5 and len(self.nodes) > 1:
            names = sorted(self.nodes)
            side = set(chance.sample(names, chance.randint(1, len(names) - 1)))

            def part() -> None:
                self.has_parted = True
                self.say(f"parted: {side}")
                self.sides = [side]
                self.changed(500, 3_000)

            def heal() -> None:
                self.say("whole again")
                self.sides = []
                self.changed(0, 2_000)

            self.after(time_ms, part)
            self.after(time_ms + chance.randint(1_000, 12_000), heal)
            return
        node = chance.choice([*self.nodes.values()])
        if self.stalls and chance.random() < 0.6:
            stands_ms = chance.randint(2_000, 10_000)

            def stand() -> None:
                self.has_stalled = True
                self.say(f"{node.name} stands still for {stands_ms}")
                node.stands_until_ms = self.now_ms + stands_ms
                self.changed(500, 1_900)
                self.after(stands_ms, lambda: self.changed(0, 2_000))

            self.after(time_ms, stand)
            return
        back_ms = chance.choice([chance.randint(50, 1_000), chance.randint(4_000, 9_000)])

        def die() -> None:
            if node.is_up and sum(one.is_up for one in self.nodes.values()) > 1:
                self.kill(node)
                self.after(back_ms, lambda: self.start(node))

        self.after(time_ms, die)

    def check(self) -> list[str]:
        """What went wrong, in sentences; empty when nothing did."""
        faults = list(self.faults)
        unfinished = sorted(set(self.jobs) - set(self.completed))
        if unfinished:
            faults.append(f"never completed: {unfinished}")
        for key in self.keys:
            rows = [node.disk[key] for node in self.nodes.values() if key in node.disk]
            if not rows:
                continue
            best = max(rows, key=lambda row: row.version.order())
            states = json.loads(best.state)
            doubled = [job for job, times in Counter(states).items() if times > 1]
            jobs = {job for job, of in self.jobs.items() if of == key}
            missing = sorted(jobs - set(states))
            if not self.has_parted and (doubled or missing):
                faults.append(f"{key.value}: doubled {doubled}, missing {missing}")
            if len(states) > best.version.number:
                faults.append(f"{key.value}: {len(states)} jobs in {best.version.number} writes")
            copies = sum(row.version == best.version for row in rows)
            if copies < min(2, len(self.nodes)):
                faults.append(f"{key.value}: {copies} copies of its newest version")
        return faults


def main() -> None:
    flags = {"parts": "--parted" in sys.argv, "stalls": "--stalled" in sys.argv}
    world = World(int(sys.argv[1]), **flags, talks=True)
    world.play()
    print(world.check() or "all well", world.lost, world.forks, world.deaths)


if __name__ == "__main__":
    main()
