"""A node's leasing among real members of a mesh, whatever these send and whenever it stops.

The claimer is played by a bare member of the mesh: it says that it reaches an engine, and sends
what no claimer of ours would.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgpack
import pytest
import trio
from tests.patience import patience

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.leases import messages as wire
from gossamer_node.errors import InputError
from gossamer_node.jobs import Job, JobRef, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.variables import Variables
from gossamer_node.wasm import JobContext
from gossamer_node.work import electing
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing
from gossamer_node.work.wire import pack_job

JOBS = 16

GROUP = electing.group_of("mine")


class Working:
    """A worker that ends no job by itself."""

    def __init__(self) -> None:
        self.jobs: set[str] = set()
        self.changed = trio.Event()

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        self._note({*self.jobs, job.ref.key})
        try:
            await trio.sleep_forever()
        finally:
            self._note(self.jobs - {job.ref.key})
        raise AssertionError

    async def wait_for(self, jobs: set[str]) -> None:
        """Until it has these and no others."""
        while self.jobs != jobs:
            await self.changed.wait()

    def _note(self, jobs: set[str]) -> None:
        self.jobs = jobs
        self.changed.set()
        self.changed = trio.Event()


@dataclass(slots=True)
class World:
    """A node's leasing, its worker, and the member that claims."""

    leasing: Leasing
    worker: Working
    claimer: Mesh
    node_id: str

    def send(self, message: "wire.Message") -> None:
        assert self.claimer.send_nowait(self.node_id, msgpack.packb(message.to_plain()))

    async def next_of(self, kind: type["wire.Message"]) -> "wire.Message":
        while True:
            _, data = await self.claimer.receive()
            message = wire.from_plain(msgpack.unpackb(data))
            if isinstance(message, kind):
                return message


def grant(claimer: Mesh, counter: int) -> wire.Grant:
    key = f"job-{counter}"
    lease = wire.LeaseId(GROUP, key, claimer.node_id, 1, 1, counter)
    receipt, payload = pack_job(
        Job(ref=JobRef("mine", key, "t", "w"), variables=Variables(), lock_ms=1)
    )
    return wire.Grant(lease, "t", 60_000, receipt, payload)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    key = bytes(range(32))
    spec = ServiceSpec(name="s", version="1", path=tmp_path, topics=(Topic("t"),), concurrency=JOBS)
    worker = Working()
    async with (
        open_mesh(MeshConfig(identity=Identity.generate(), keyring=Keyring((key,)))) as claimer,
        open_mesh(
            MeshConfig(
                identity=Identity.generate(), keyring=Keyring((key,)), seeds=(claimer.address,)
            )
        ) as mesh,
        trio.open_nursery() as nursery,
    ):
        claimer.set_tags(electing.tags({"mine": "f"}, {GROUP: electing.Claim(1)}))
        leasing = Leasing(mesh, {}, Executor([(spec, worker)]), slots=JOBS, claims=False)
        with patience():
            await nursery.start(leasing.run)
            world = World(leasing, worker, claimer, mesh.node_id)
            await world.next_of(wire.Heartbeat)
            yield world
        nursery.cancel_scope.cancel()


async def test_a_job_that_is_revoked_as_it_comes_does_not_run(world: World) -> None:
    for counter in range(1, JOBS + 1):
        one = grant(world.claimer, counter)
        world.send(one)
        world.send(wire.Revoke(one.lease, "not yours"))
    for _ in range(JOBS):
        await world.next_of(wire.Accept)
    last = grant(world.claimer, JOBS + 1)
    world.send(last)
    await world.worker.wait_for({last.lease.key})


async def test_a_stop_ends_with_the_last_job_and_hands_back_what_it_cannot_finish(
    world: World,
) -> None:
    one = grant(world.claimer, 1)
    world.send(one)
    await world.worker.wait_for({one.lease.key})
    await world.leasing.stop(0, 0)
    back = await world.next_of(wire.HandBack)
    assert isinstance(back, wire.HandBack) and back.lease == one.lease


@pytest.mark.parametrize(
    ("topics", "variables", "why"),
    [
        (1_025, 1, "1025 topics"),
        (1, 1_025, "1025 variables"),
        (400, 200, "bytes to announce"),
    ],
)
def test_more_than_a_heartbeat_can_say_is_refused_at_the_start(
    tmp_path: Path, topics: int, variables: int, why: str
) -> None:
    names = tuple(f"{'v' * 50}-{number}" for number in range(variables))
    served = tuple(Topic(f"t-{number}", variables=names) for number in range(topics))
    spec = ServiceSpec(name="s", version="1", path=tmp_path, topics=served)
    with pytest.raises(InputError, match=why):
        Executor([(spec, Working())])
