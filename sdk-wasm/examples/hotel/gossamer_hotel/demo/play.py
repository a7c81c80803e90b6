"""Runs the reservations, watches them end, and on request ends a node in the middle.

The victim is a node that is seen to hold work and that neither claims nor has a poll or leases
from when it did: a claimer's death costs the engine's lock time, which is another play. It is
frozen first: what the claimer then lists for it stays with it for certain, and so it is killed with
SIGKILL. So "killed with jobs in hand" is something that was seen, not hoped for.
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from gossamer_hotel import PROCESS_ID
from gossamer_hotel.demo.processes import Node
from gossamer_hotel.reservations import Reservation
from gossamer_node.engines.port import Capability, Engine
from gossamer_node.errors import EngineError

STARTS_MAX = 16
"""Reservations that are being started, or awaited, at once."""

LOOK_MS = 250
"""Between two looks at the engine and at the nodes."""

LOOK_PAUSE = 5
"""Pause after a look at the engine, as a multiple of how long it took."""

FROZEN_LOOK_MS = 100
"""Between two looks at a frozen node's leases: what it had sent before arrives in far less."""

FROZEN_LOOKS_MAX = 8
"""A frozen node is still granted work; less than a second, or membership would call it dead."""

STILL_MS_MAX = 90_000
"""Without any reservation ending for so long, the rest is lost. Longer than an engine's lock
(30 s), a new claimer and two more tries together."""

KILL_LOOK_MS = 10
"""Between two looks for a victim: a job is in a node's hands for as little as that."""

KILL_AFTER_JOBS = 1
"""Jobs done for each reservation when the victim is chosen. Most reservations have five or six, and
all move on together, so none may have ended by then and most are in the middle."""


@dataclass(slots=True)
class Progress:
    """What has happened so far; `show` draws it.

    Attributes:
        total: reservations to start.
        started: instances that the engine has confirmed.
        endings: by reservation id, what the engine says of its end.
        victim: the node that was killed, and how many jobs it had in hand.
        regrants_before: grants taken from lost holders before the kill.
    """

    total: int
    started: int = 0
    endings: dict[str, str | None] = field(default_factory=dict)
    victim: Node | None = None
    victim_held: int = 0
    regrants_before: int = 0
    began_ms: float = 0.0

    @property
    def ended(self) -> int:
        return sum(1 for one in self.endings.values() if one is not None)


async def play(
    engine: Engine,
    nodes: Sequence[Node],
    reservations: Sequence[Reservation],
    progress: Progress,
    *,
    kill: bool,
) -> None:
    """Starts every reservation and waits until all have ended, or nothing moves any more."""
    progress.began_ms = trio.current_time() * 1_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_nodes, nodes)
        if kill:
            nursery.start_soon(_kill_one, nodes, progress)
        awaits = Capability.LIST_INSTANCES not in engine.capabilities
        limiter = trio.CapacityLimiter(STARTS_MAX)
        async with trio.open_nursery() as starts:
            for one in reservations:
                starts.start_soon(_start, engine, one, progress, limiter, awaits)
            if not awaits:
                ids = {one.reservation_id for one in reservations}
                starts.start_soon(_watch_instances, engine, ids, progress)
        nursery.cancel_scope.cancel()
    for node in nodes:
        if not node.killed:
            await node.look()


async def _start(
    engine: Engine,
    one: Reservation,
    progress: Progress,
    limiter: trio.CapacityLimiter,
    awaits: bool,
) -> None:
    async with limiter:
        if not awaits:
            await engine.start(PROCESS_ID, variables=one.variables, business_key=one.reservation_id)
            progress.started += 1
            return
        progress.started += 1
        try:
            result = await engine.start_and_wait(
                PROCESS_ID, variables=one.variables, wait_ms=STILL_MS_MAX
            )
        except EngineError as error:
            progress.endings[one.reservation_id] = f"unknown: {error}"
            return
        status = None if result is None else result.values.get("status")
        progress.endings[one.reservation_id] = status if isinstance(status, str) else None


async def _watch_instances(engine: Engine, ids: set[str], progress: Progress) -> None:
    """Asks the engine's history until every reservation has ended or nothing moves.

    An engine that ran before may know other instances of the process; they are none of ours.
    """
    moved_s = trio.current_time()
    while trio.current_time() - moved_s < STILL_MS_MAX / 1_000:
        ended_before = progress.ended
        looked_s = trio.current_time()
        for instance in await engine.list_instances(PROCESS_ID):
            if instance.business_key in ids:
                progress.endings[instance.business_key] = _ending(instance.end_element_ids)
        if progress.started == progress.total == progress.ended:
            return
        if progress.ended > ended_before:
            moved_s = trio.current_time()
        # A long history takes the engine a while to list; looking is not to slow down the play.
        took_s = trio.current_time() - looked_s
        await trio.sleep(max(LOOK_MS / 1_000, took_s * LOOK_PAUSE))


def _ending(end_element_ids: tuple[str, ...] | None) -> str | None:
    """`End_Confirmed` → `confirmed`; None while no end event was reached."""
    for one in end_element_ids or ():
        return one.removeprefix("End_").lower()
    return None


async def _watch_nodes(nodes: Sequence[Node]) -> None:
    while True:
        for node in nodes:
            if not node.killed:
                await node.look()
        await trio.sleep(LOOK_MS / 1_000)


async def _kill_one(nodes: Sequence[Node], progress: Progress) -> None:
    while progress.victim is None:
        await trio.sleep(KILL_LOOK_MS / 1_000)
        for node in nodes:
            await node.look()
        claimer = next((one for one in nodes if _claims(one)), None)
        if claimer is None or sum(map(jobs_done, nodes)) < KILL_AFTER_JOBS * progress.total:
            continue
        held = _held(claimer)
        for node in nodes:
            if held.get(node.name) and await _try(node, claimer, progress):
                return


async def _try(node: Node, claimer: Node, progress: Progress) -> bool:
    """Freezes a node; kills it once it is seen to hold work, else lets it go on."""
    if not await node.look() or _asks(node):
        return False
    os.kill(node.pid, signal.SIGSTOP)
    for _ in range(FROZEN_LOOKS_MAX):
        await trio.sleep(FROZEN_LOOK_MS / 1_000)
        await claimer.look()
        held = _held(claimer).get(node.name, 0)
        if held:
            progress.regrants_before = regrants([claimer])
            os.kill(node.pid, signal.SIGKILL)
            node.killed = True
            progress.victim, progress.victim_held = node, held
            return True
    os.kill(node.pid, signal.SIGCONT)
    return False


def _claims(node: Node) -> bool:
    return any(one["id"] == node.status["node"]["id"] for one in node.status.get("claimers", ()))


def _asks(node: Node) -> bool:
    """Whether the node has jobs from the engine, or may get some any moment."""
    polls = any(one["polls_open"] for one in node.status.get("engines", ()))
    return _claims(node) or polls or bool(node.status.get("leases"))


def _held(claimer: Node) -> dict[str, int]:
    """Leases that the claimer lists for each holder, running or just granted, by its name."""
    counts: dict[str, int] = {}
    for one in claimer.status["leases"]:
        if one["state"] in ("granted", "held"):
            counts[one["holder"]] = counts.get(one["holder"], 0) + 1
    return counts


def regrants(nodes: Sequence[Node]) -> int:
    """Leases that were taken from a lost holder and granted to another, over all claimers."""
    return _counted(nodes, "regranted")


def _counted(nodes: Sequence[Node], what: str) -> int:
    """What the claimers on these nodes have counted, as of the last look."""
    return sum(
        counts[what]
        for node in nodes
        if not node.killed
        for counts in node.status["claimed"].values()
    )


def jobs_done(node: Node) -> int:
    """Jobs that the node has run to an outcome, as of the last look."""
    return sum(node.status["outcomes"].values())
