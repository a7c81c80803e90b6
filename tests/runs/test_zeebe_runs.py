"""Runs on a real Zeebe."""

from pathlib import Path
from secrets import token_hex

from tests.runs.zeebe_world import zeebe_world

from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.storage import SqlitePlace


async def test_a_list_of_steps(zeebe_grpc_address: str, tmp_path: Path) -> None:
    mark = token_hex(4)
    async with zeebe_world(SqlitePlace(tmp_path / "g.sqlite"), zeebe_grpc_address) as world:
        actions = [f"{mark}-{one}" for one in "abc"]
        await world.define({"id": f"list-{mark}", "steps": [{"action": one} for one in actions]})
        world.works(actions, lambda job: Answer(job.step, job.attempt, [job.queue, job.payload]))
        run = await world.engine.trigger(f"list-{mark}", 7)
        run = await world.ended(run.id)
        for one in await world.history(run.id):
            print(one)
        assert run.status is Status.COMPLETED
