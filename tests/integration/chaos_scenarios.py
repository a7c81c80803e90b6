"""The faults, and one run of each: jobs on a real engine, a mesh, one thing that breaks.

A run begins with a mesh that has agreed. Jobs are started and worked; when a part of them is done,
the fault strikes, and what it struck is noted as the claimer's status had it a moment before. Then
everything must come to an end: all instances ended, all tables empty, and all nodes, the killed
ones started again, of one mind. What was measured and judged is a `Row`.
"""

import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from tests.integration.chaos_engines import ChaosEngine
from tests.integration.chaos_mesh import ChaosMesh, open_chaos_mesh
from tests.integration.chaos_rows import COMPLAINTS_MAX, Row, judge, measured, recoveries
from tests.integration.chaos_wire import HOST, Wire, open_wire
from tests.integration.chaos_witnesses import Account, Sink, open_sink
from tests.integration.nodes import deploy, new_topic, write_service
from tests.patience import patience, seen

from gossamer_node.errors import EngineUnavailable
from gossamer_node.variables import Variables

WORK_MS = 1_000
"""How long the sink takes for a job: so that a fault finds jobs in every holder's hands."""

SLOTS = 12
LOCK_S = 30
"""Gossamer's default."""

STARTS_AT_ONCE = 6
UNDER_WAY_SHARE = 0.75
"""Instances under way at once, as a part of all slots. More would queue in the engine, and a job
that comes back would wait behind them: that is not the time that the mesh takes to recover."""

STRIKE_SHARE = 0.15
"""The part of the jobs that is done when the fault strikes."""

DONE_S = 180.0
"""How long all jobs may take together, faults and engine starts included."""

QUIET_S = 60.0
PARTED_S = 12.0
PAUSED_S = 12.0
"""Longer than the suspicion of a mesh of this size takes in the worst case, so that nobody is
merely suspected. These two are what the scenarios do, not what they wait for."""

LOSS = 0.2
DELAY_MS = (50, 250)

LOOK_S = 0.2
BUSY_S = 0.2
"""Before an engine that refused to start an instance is asked again."""

Tell = Callable[[str], None]


@dataclass(slots=True)
class Strike:
    """What a fault hit.

    Attributes:
        moment_s: when (wall).
        keys: jobs whose leases it struck.
        lost_hosts: addresses that count no more as places of work.
        deaths: who was to call whom dead, (number, name).
    """

    moment_s: float = 0.0
    keys: set[str] = field(default_factory=set)
    lost_hosts: set[str] = field(default_factory=set)
    deaths: set[tuple[int, str]] = field(default_factory=set)
    may_die: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Run:
    """What a fault may lay hands on."""

    process_id: str
    mesh: ChaosMesh
    wire: Wire
    engine: ChaosEngine
    sink: Sink
    door: int
    jobs: int
    random: random.Random
    tell: Tell
    claimer: int = 0
    started: int = 0
    unsure: int = 0
    """Starts that failed and were tried again."""
    starts: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(STARTS_AT_ONCE))
    """One for each instance that is being started; who takes them all keeps any from starting."""

    @property
    def others(self) -> list[int]:
        return [one for one in self.mesh.alive if one != self.claimer]

    async def look_at_claimer(self) -> None:
        self.claimer = await self.mesh.agreed()

    def held_by(self, numbers: Iterable[int]) -> set[str]:
        names = {self.mesh.nodes[one].name for one in numbers}
        leases = self.mesh.leases(self.claimer)
        return {str(one["job"]) for one in leases if one["holder"] in names}

    def everybody_sees(self, victims: Iterable[int]) -> set[tuple[int, str]]:
        gone = set(victims)
        return {
            (one, self.mesh.nodes[victim].name)
            for one in self.mesh.alive
            if one not in gone
            for victim in gone
        }


Fault = Callable[[Run], Awaitable[Strike]]


async def _kill(run: Run, victim: int, keys: set[str]) -> Strike:
    run.tell(f"kill -9 of {run.mesh.nodes[victim].name}, {len(keys)} leases concerned")
    moment_s = await run.mesh.kill(victim)
    name = run.mesh.nodes[victim].name
    return Strike(moment_s, keys, {run.wire.address(victim)}, run.everybody_sees([victim]), {name})


async def kill_holder(run: Run) -> Strike:
    """A holder that is neither claimer nor standby."""
    await run.look_at_claimer()
    standby = run.mesh.standby(run.claimer)
    plain = [one for one in run.others if one != standby]
    victim = max(plain, key=lambda one: len(run.held_by([one])))
    return await _kill(run, victim, run.held_by([victim]))


async def kill_claimer(run: Run) -> Strike:
    """The claimer: all that the engine has locked was its."""
    await run.look_at_claimer()
    strike = await _kill(
        run, run.claimer, {str(one["job"]) for one in run.mesh.leases(run.claimer)}
    )
    return await _with_all_locked(run, strike)


async def _with_all_locked(run: Run, strike: Strike) -> Strike:
    known = strike.keys
    strike.keys = await run.engine.witness.locked(run.process_id, strike.moment_s)
    run.tell(
        f"{len(strike.keys)} jobs locked, {len(strike.keys - known)} by polls that nobody read"
    )
    return strike


async def kill_standby(run: Run) -> Strike:
    """The standby, with what it holds itself."""
    await run.look_at_claimer()
    victim = run.mesh.standby(run.claimer)
    assert victim is not None, "no node says who the standby is"
    return await _kill(run, victim, run.held_by([victim]))


async def kill_both(run: Run) -> Strike:
    """The claimer and its standby at once: nobody is left who mirrors the table."""
    await run.look_at_claimer()
    standby = run.mesh.standby(run.claimer)
    assert standby is not None, "no node says who the standby is"
    keys = {str(one["job"]) for one in run.mesh.leases(run.claimer)}
    first = await _kill(run, run.claimer, keys)
    second = await _kill(run, standby, set())
    both = Strike(
        first.moment_s,
        keys,
        first.lost_hosts | second.lost_hosts,
        run.everybody_sees([run.claimer, standby]),
        first.may_die | second.may_die,
    )
    return await _with_all_locked(run, both)


async def partition(run: Run) -> Strike:
    """Two nodes, the claimer among them, and the rest; both sides reach the engine."""
    await run.look_at_claimer()
    near = [run.claimer, run.random.choice(run.others)]
    far = [one for one in run.mesh.alive if one not in near]
    keys = run.held_by(far)
    run.tell(f"parted for {PARTED_S:g} s: {near} from {far}, {len(keys)} leases concerned")
    moment_s = time.time()
    await run.wire.cut(near, far)
    await trio.sleep(PARTED_S)
    await run.wire.heal()
    names = {run.mesh.nodes[one].name for one in run.mesh.nodes}
    deaths = {(one, run.mesh.nodes[it].name) for one in near for it in far}
    deaths |= {(one, run.mesh.nodes[it].name) for one in far for it in near}
    return Strike(moment_s, keys, set(), deaths, names)


async def engine_cut(run: Run) -> Strike:
    """The claimer alone loses the engine (and the sink), and still hears the mesh."""
    await run.look_at_claimer()
    keys = {str(one["job"]) for one in run.mesh.leases(run.claimer)}
    run.tell(f"{run.mesh.nodes[run.claimer].name} has no engine for {PARTED_S:g} s")
    moment_s = time.time()
    await run.wire.cut([run.claimer], [HOST])
    await trio.sleep(PARTED_S)
    await run.wire.heal()
    return Strike(moment_s, keys)


async def loss(run: Run) -> Strike:
    """Between nodes a fifth of all packets is lost, each way, all the time."""
    numbers = list(run.mesh.nodes)
    run.tell(f"{LOSS:.0%} of the packets between nodes are lost from here on")
    await run.wire.lose(numbers, numbers, LOSS)
    return Strike(time.time())


async def delay(run: Run) -> Strike:
    """Between nodes every packet is late, by a time of its own: they overtake each other."""
    numbers = list(run.mesh.nodes)
    run.tell(f"packets between nodes are {DELAY_MS[0]} to {DELAY_MS[1]} ms late from here on")
    await run.wire.delay(numbers, numbers, DELAY_MS)
    return Strike(time.time())


async def rotate_key(run: Run) -> Strike:
    """The mesh gets another key while everybody works."""
    await run.look_at_claimer()
    moment_s = time.time()
    said = await run.mesh.keys.rotate(run.mesh.config_of(run.claimer))
    run.tell(f"the mesh has another key after {time.time() - moment_s:.1f} s")
    kept = {run.mesh.keys.kept_by(node.name) for node in run.mesh.nodes.values()}
    if kept != {(said[-1]["rotated"],)}:
        raise RuntimeError(f"the nodes are left with the keys {kept}, after {said}")
    return Strike(moment_s)


async def engine_restart(run: Run) -> Strike:
    """The engine stops and starts again with its data; recovery counts from when it is well."""
    for _ in range(STARTS_AT_ONCE):  # else nobody knows whether an instance was started
        await run.starts.acquire()
    try:
        return await _restart(run)
    finally:
        for _ in range(STARTS_AT_ONCE):
            run.starts.release()


async def _restart(run: Run) -> Strike:
    await run.look_at_claimer()
    keys = {str(one["job"]) for one in run.mesh.leases(run.claimer)}
    run.tell(f"the engine stops, {len(keys)} leases concerned")
    began_s = time.monotonic()
    await run.engine.stop()
    await run.engine.start()
    await run.wire.lead(run.engine.port, run.door)
    run.tell(f"the engine is back after {time.monotonic() - began_s:.1f} s")
    return Strike(time.time(), keys)


async def _pause(run: Run, victim: int, keys: set[str]) -> Strike:
    name = run.mesh.nodes[victim].name
    run.tell(f"SIGSTOP of {name} for {PAUSED_S:g} s, {len(keys)} leases concerned")
    moment_s = time.time()
    run.mesh.signal(victim, signal.SIGSTOP)
    try:
        await trio.sleep(PAUSED_S)
    finally:
        run.mesh.signal(victim, signal.SIGCONT)
    deaths = run.everybody_sees([victim])
    return Strike(moment_s, keys, {run.wire.address(victim)}, deaths, {name})


async def pause_holder(run: Run) -> Strike:
    """A holder does not run for longer than the suspicion, and then goes on where it was."""
    await run.look_at_claimer()
    victim = max(run.others, key=lambda one: len(run.held_by([one])))
    return await _pause(run, victim, run.held_by([victim]))


async def pause_claimer(run: Run) -> Strike:
    """So does the claimer, with the whole table."""
    await run.look_at_claimer()
    return await _pause(run, run.claimer, {str(one["job"]) for one in run.mesh.leases(run.claimer)})


SCENARIOS: Mapping[str, Fault] = {
    "kill-holder": kill_holder,
    "kill-claimer": kill_claimer,
    "kill-standby": kill_standby,
    "kill-both": kill_both,
    "partition": partition,
    "engine-cut": engine_cut,
    "loss": loss,
    "delay": delay,
    "rotate-key": rotate_key,
    "engine-restart": engine_restart,
    "pause-holder": pause_holder,
    "pause-claimer": pause_claimer,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Which run."""

    scenario: str
    jobs: int
    nodes: int
    seed: int
    commit: str


async def play(plan: Plan, engine: ChaosEngine, worker: bytes, folder: Path, tell: Tell) -> Row:
    """One run. Its processes are gone afterwards, however it ends.

    Args:
        worker: the module of guests/witnessed.c.
        folder: is made, and holds all logs.
    """
    folder.mkdir(parents=True)
    began_s = time.monotonic()
    async with _opened(plan, engine, worker, folder, tell) as (run, topic):
        await run.look_at_claimer()
        tell(f"{plan.nodes} nodes agree; {plan.jobs} jobs begin")
        run.process_id = process_id = await deploy(engine.client, [topic])
        complaints: list[str] = []
        worked_s = time.monotonic()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_start_all, run)
            try:
                with patience(DONE_S):
                    await run.sink.effective(round(plan.jobs * STRIKE_SHARE))
                    strike = await SCENARIOS[plan.scenario](run)
                    await _all_ended(run, process_id)
            except trio.TooSlowError:
                complaints.append(f"not done within {DONE_S:g} s")
                strike = Strike()
                nursery.cancel_scope.cancel()
        took_s = time.monotonic() - worked_s
        await run.wire.heal()
        complaints += await _come_to_rest(run)
        account = await engine.witness.account(process_id)
        row = _row(plan, run, account, strike, complaints, took_s)
    tell(f"{row.lost} lost, {row.effective_twice} effective twice, {row.ran_twice} ran twice; "
         f"recovery {row.first_s}/{row.median_s}/{row.max_s} s; took {row.took_s} s, "
         f"{time.monotonic() - began_s:.0f} s in all")  # fmt: skip
    return row


@asynccontextmanager
async def _opened(
    plan: Plan, engine: ChaosEngine, worker: bytes, folder: Path, tell: Tell
) -> AsyncIterator[tuple[Run, str]]:
    topic = new_topic()
    service = write_service(folder / "witnessed", worker, [topic], lock=f"{LOCK_S}s")
    async with (
        open_wire(plan.nodes, plan.seed) as wire,
        open_sink(wire.host, WORK_MS) as sink,
    ):
        door = await wire.lead(engine.port)
        settings = {
            "engines": [
                {"name": engine.name, "kind": engine.kind, "url": engine.url_at(wire.host, door)}
            ],
            "services": [str(service)],
            "grants": {service.name: {"origins": {"server": sink.origin}}},
            "slots": SLOTS,
        }
        async with open_chaos_mesh(
            wire, plan.nodes, engine.name, settings, folder / "mesh"
        ) as mesh:
            rng = random.Random(plan.seed)
            yield Run("", mesh, wire, engine, sink, door, plan.jobs, rng, tell), topic


async def _start_all(run: Run) -> None:
    """Starts the instances, each when there is room for it."""
    under_way_max = round(SLOTS * len(run.mesh.nodes) * UNDER_WAY_SHARE)
    async with trio.open_nursery() as nursery:
        while run.started < run.jobs:
            await run.sink.effective(run.started - under_way_max + 1)
            await run.starts.acquire()
            run.started += 1
            nursery.start_soon(_start, run)


async def _start(run: Run) -> None:
    try:
        while True:
            try:
                await run.engine.client.start(run.process_id, variables=Variables())
                return
            except EngineUnavailable:  # busy with our own jobs, or not yet well after a restart
                run.unsure += 1
                await trio.sleep(BUSY_S)
    finally:
        run.starts.release()


async def _all_ended(run: Run, process_id: str) -> None:
    said_s = time.monotonic()
    while (ended := await run.engine.witness.ended(process_id)) < run.jobs:
        if time.monotonic() - said_s > 10:
            said_s = time.monotonic()
            run.tell(f"{ended} of {run.jobs} ended")
        await trio.sleep(LOOK_S)


async def _come_to_rest(run: Run) -> list[str]:
    """Brings the killed nodes back; complains of what does not come to rest."""
    mesh = run.mesh
    killed = [number for number, node in mesh.nodes.items() if node.killed]
    complaints = []
    if killed:
        try:
            await mesh.agreed()  # all that are left know of each death
        except trio.TooSlowError:
            complaints.append("the nodes that are left do not agree")
    for number in killed:
        await mesh.start(number)
    for number in killed:
        await mesh.ready(number)
    try:
        await mesh.agreed()
    except trio.TooSlowError:
        complaints.append("the nodes do not agree again")

    async def is_quiet() -> bool:
        return await mesh.look() and _is_quiet(mesh)

    try:
        await seen(is_quiet, QUIET_S, LOOK_S)
    except trio.TooSlowError:
        complaints.append("leases or outcomes are left over")
    return complaints + mesh.troubles()[:COMPLAINTS_MAX]


def _is_quiet(mesh: ChaosMesh) -> bool:
    return not any(
        mesh.nodes[one].status["leases"]
        or mesh.nodes[one].status["holding"]["running"]
        or mesh.nodes[one].status["holding"]["unacknowledged"]
        for one in mesh.alive
    )


def _row(
    plan: Plan,
    run: Run,
    account: Account,
    strike: Strike,
    complaints: Sequence[str],
    took_s: float,
) -> Row:
    ran = run.sink.ran()
    lost, twice, judged = judge(plan.jobs, account, ran, run.unsure)
    times = recoveries(
        strike.keys, strike.moment_s, account, run.sink.executions, strike.lost_hosts
    )
    deaths = run.mesh.deaths()
    known: dict[tuple[int, str], float] = {}
    for moment_s, number, name in deaths:
        if moment_s >= strike.moment_s:
            known.setdefault((number, name), moment_s - strike.moment_s)
    seen = [known[one] for one in strike.deaths if one in known]
    false_deaths = sum(name not in strike.may_die for _, _, name in deaths)
    first_s, median_s, max_s = measured(times)
    return Row(
        scenario=plan.scenario,
        engine=run.engine.kind,
        jobs=plan.jobs,
        lost=lost,
        effective_twice=twice,
        ran_twice=sum(count > 1 for count in ran.values()),
        struck=len(times),
        first_s=first_s,
        median_s=median_s,
        max_s=max_s,
        detected_s=round(max(seen), 2) if len(seen) == len(strike.deaths) and seen else None,
        false_deaths=false_deaths,
        took_s=round(took_s, 1),
        seed=plan.seed,
        commit=plan.commit,
        complaints=tuple([*complaints, *judged][:COMPLAINTS_MAX]),
    )
