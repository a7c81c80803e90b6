"""A short selection of what `make chaos` does in full: real engines and nodes, real faults."""

import os
import random
import secrets
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.conftest import NO_RIGHTS, NOT_RUN
from tests.integration.chaos_crowd import address_of, open_crowd, public_key_of
from tests.integration.chaos_engines import ChaosEngine, borrow_camunda7, open_chaos_engine
from tests.integration.chaos_rows import table
from tests.integration.chaos_scenarios import Plan, play
from tests.integration.chaos_strangers import Thief, junk, open_ear, send
from tests.integration.chaos_wire import missing
from tests.integration.compiling import compile_guest
from tests.integration.nodes import looked, records, until

from gossamer_mesh.swim.codec import INCARNATION_MAX
from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines.progress import silent

pytestmark = pytest.mark.processes

JOBS = 200
NODES = 4

CROWD = 30
KILLED = 10

OLD_DATAGRAMS = 100
MESH = "gossamer"
"""The name of a mesh to which nobody gave another."""
NOWHERE = ("127.0.0.1", 9)
COUNTED = ("datagrams_of_unknown_form", "datagrams_of_another_key", "claims_forged")


async def judged(
    scenario: str, opened: AbstractAsyncContextManager[ChaosEngine], folder: Path
) -> None:
    """One run on an engine."""
    if lacks := missing():
        pytest.skip(f"{NO_RIGHTS}{lacks}")
    seed = random.SystemRandom().randrange(2**31)
    plan = Plan(scenario, JOBS, NODES, seed, "")
    worker = compile_guest("witnessed", folder)
    try:
        async with opened as engine:
            row = await play(plan, engine, worker, folder / "run", print)
    except LocalEngineMissing as error:
        pytest.skip(f"{NOT_RUN}{error}")
    print(table([row]))
    assert row.is_good, f"seed {seed}: {row}"


async def test_a_claimer_that_is_killed_loses_nothing(camunda7_url: str, tmp_path: Path) -> None:
    await judged("kill-claimer", borrow_camunda7(camunda7_url), tmp_path)


@pytest.mark.zeebe
async def test_a_partition_loses_nothing(tmp_path: Path) -> None:
    engine = open_chaos_engine("camunda8", tmp_path / "engine", silent)
    await judged("partition", engine, tmp_path)


async def test_thirty_nodes_lose_ten_and_hear_no_stranger(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"{NO_RIGHTS}to hear what others send on the loopback device needs root")
    seed = random.SystemRandom().randrange(2**31)
    print("seed", seed)
    async with open_crowd(CROWD, tmp_path) as crowd:
        await crowd.agreed()
        victims = crowd.nodes[1 : 1 + KILLED]
        with open_ear() as ear:
            old = await ear.hear([address_of(one)[1] for one in victims], OLD_DATAGRAMS)
        moment_s = await crowd.kill(victims)
        await crowd.agreed()
        print(await crowd.all_logged(moment_s, victims))
        assert crowd.called_dead() == {one.name for one in victims}

        await looked(*crowd.alive)
        places = {one.name: address_of(one) for one in crowd.alive}
        before = {one.name: Counter(one.status["network"]) for one in crowd.alive}
        key = crowd.keys.first()
        thief, foreigner = Thief(key, MESH), Thief(secrets.token_bytes(32), MESH)
        forged = [thief.claim_for(public_key_of(one), INCARNATION_MAX, *NOWHERE) for one in victims]
        forged += [
            thief.claim_for(public_key_of(one), INCARNATION_MAX, *NOWHERE) for one in crowd.alive
        ]
        foreign = [foreigner.gossip(b"anything")]
        send([*old, *junk(seed)], list(places.values()))

        async def counted() -> bool:
            # Of all that comes at once a socket drops what it has no room for.
            send([*junk(seed)[:3], *foreign, *forged], list(places.values()))
            return await crowd.look() and all(
                one.status["network"].get(name, 0) > before[one.name][name]
                for one in crowd.alive
                for name in COUNTED
            )

        await until(counted)
        # Nobody came back from the dead, nobody moved, nobody more was lost.
        await crowd.agreed()
        assert {
            member["name"]: address
            for one in crowd.alive
            for member in one.status["members"]
            for address in [member["address"]]
        } == {name: f"{host}:{port}" for name, (host, port) in places.items()}
        assert crowd.called_dead() == {one.name for one in victims}
        await crowd.rotate()
        await crowd.agreed()
        assert crowd.called_dead() == {one.name for one in victims}

        # Who has only the key from before is heard no more.
        async def refused() -> bool:
            send(forged, list(places.values()))
            return await crowd.look() and all(
                one.status["network"].get("datagrams_of_a_retired_key", 0) for one in crowd.alive
            )

        await until(refused)
        for one in crowd.alive:
            warned = [said["msg"] for said in records(one) if said["level"] == "warning"]
            assert len(warned) == len(set(warned)), warned
            assert any("not under its key" in said for said in warned)
