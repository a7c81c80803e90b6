"""A gateway's process whose runs a Zeebe executes, to be killed: on rows that others share.

    python -m tests.runs.zeebe_gateway CONNINFO SCHEMA GRPC PREFIX COUNT

It triggers so many runs, a few at a time, works whatever is free, and writes a line for each thing
that is on disk, as it comes: `run ID` when a trigger was acknowledged, `taken RUN STEP` when an
answer was.
"""

import os
import sys

import trio
from tests.runs.durable.flows import BUSY, QUEUES, at_second
from tests.runs.zeebe_world import zeebe_world

from gossamer_gateway.runs.engine import Verdict
from gossamer_gateway.storage import PostgresPlace

LOCK_MS = 2_000
"""Of jobs, here and there: what a process that was killed had is free again after it."""


def tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # at once, and whole


async def serve(place: PostgresPlace, address: str, prefix: str, count: int) -> None:
    async with zeebe_world(
        place, address, lock_ms=LOCK_MS, pending_ms=1_000, job_prefix=prefix
    ) as world:
        await world.define(BUSY)

        async def work() -> None:
            while True:
                jobs = await world.engine.fetch(QUEUES, "w", jobs_max=8, lock_ms=LOCK_MS)
                said = [(one.run, at_second(one)) for one in jobs]
                verdicts = await world.engine.answer_all(said)
                for (run, answer), verdict in zip(said, verdicts, strict=True):
                    if verdict is Verdict.TAKEN and answer.failure is None:
                        tell(f"taken {run} {answer.step}")
                if not jobs:
                    await world.engine.wait_free(QUEUES, trio.current_time() + 1)

        world.nursery.start_soon(work)
        for number in range(count):
            tell(f"run {(await world.engine.trigger('busy', {'n': number})).id}")
        await trio.sleep_forever()


if __name__ == "__main__":
    conninfo, schema, grpc, prefix, count = sys.argv[1:]
    trio.run(serve, PostgresPlace(conninfo, schema), grpc, prefix, int(count))
