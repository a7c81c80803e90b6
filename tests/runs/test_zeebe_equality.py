"""Own execution and Zeebe give the same events for the same answers.

Where branches run side by side, the order of one beside the other is a matter of time, and all else
is the same: so the events of each branch are compared, in order, and those of no branch.
"""

from collections import Counter
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec
import pytest
import trio
from tests.runs.random_flows import RandomFlow
from tests.runs.zeebe_world import ZeebeWorld, address, zeebe_world

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import OWN, ZEEBE, Answer
from gossamer_gateway.runs.model.events import AnyEvent
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.reading import read_object
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.runs.store import Job
from gossamer_gateway.storage import SqlitePlace

__all__ = ["address"]

FLOWS = 30
"""Definitions in one go."""

OF_TIME = ("run", "seq", "atMs", "dueMs", "executor", "place", "job")
"""What differs between two runs of the same, and tells which execution it was."""


async def histories(world: ZeebeWorld, flows: list[RandomFlow], actions: list[str]) -> list[Any]:
    """The events of one run of each, retried until it completes."""
    by_id = {one.id: one for one in flows}
    healed: set[str] = set()

    def work(job: Job) -> Answer:
        flow = by_id[job.workflow]
        return flow.answer(job.step, job.attempt, job.payload, healed=job.run in healed)

    found: list[list[AnyEvent]] = [[] for _ in flows]

    async def go(number: int, flow: RandomFlow) -> None:
        await world.define(flow.text)
        run = await world.engine.trigger(flow.id, flow.given)
        run = await world.ended(run.id)
        if flow.fails and run.status is Status.FAILED:
            healed.add(run.id)
            await world.engine.retry(run.id)
            run = await world.ended(run.id)
        assert run.status is Status.COMPLETED, run.failure
        found[number] = await world.history(run.id)

    world.works(actions, work)
    async with trio.open_nursery() as nursery:
        for number, flow in enumerate(flows):
            nursery.start_soon(go, number, flow)
    return found


def bare(event: AnyEvent) -> str:
    fields = msgspec.to_builtins(event)
    return msgspec.json.encode(
        {name: value for name, value in fields.items() if name not in OF_TIME}
    ).decode()


def by_branch(flow: Flow, history: list[AnyEvent]) -> dict[str | None, list[str]]:
    """Events in order, by the branch that they are of; what a join is told is of none of these."""
    ordered: dict[str | None, list[str]] = {}
    for event in history:
        if not isinstance(event, e.BranchJoined):
            branch = flow.heads.get(getattr(event, "step", None) or "")
            ordered.setdefault(branch, []).append(bare(event))
    return ordered


@pytest.mark.parametrize("seed", [1])
async def test_both_give_the_same_events(address: str, tmp_path: Path, seed: int) -> None:
    mark = token_hex(4)
    actions = [f"{mark}-{one}" for one in "abc"]
    flows = [
        RandomFlow(seed * FLOWS + one, f"random-{mark}-{one}", actions) for one in range(FLOWS)
    ]
    found = {}
    for execution in (OWN, ZEEBE):
        place = SqlitePlace(tmp_path / f"{execution}.sqlite")
        async with zeebe_world(place, address, execution=execution) as world:
            found[execution] = await histories(world, flows, actions)
    kinds: Counter[str] = Counter()
    for number, flow in enumerate(flows):
        own, theirs = found[OWN][number], found[ZEEBE][number]
        read = Flow(read_object(flow.text))
        assert Counter(map(bare, own)) == Counter(map(bare, theirs)), flow.text
        assert by_branch(read, own) == by_branch(read, theirs), flow.text
        assert [one.seq for one in theirs] == list(range(1, len(theirs) + 1))
        kinds.update(type(one).__name__ for one in own)
    # Else little was compared.
    assert {"ChoiceTaken", "ParallelStarted", "JoinCompleted", "RunRetried"} <= set(kinds), kinds
    assert kinds["AttemptFailed"] >= FLOWS / 4, kinds
