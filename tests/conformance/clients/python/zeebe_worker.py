"""The hotel's six job types, worked by pyzeebe, which polls, or streams beside that.

Arguments: `poll` or `stream`, HOST:PORT of the gRPC gateway, prefix of the types. Ends when its
standard input does.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pyzeebe import Job, JobController, ZeebeWorker, create_insecure_channel
from tests.conformance.clients.python.hotel_rules import RULES, Rule, TaskError

mode, address, prefix = sys.argv[1:]

FETCHED = {"search-client": ["email"], "create-client": ["reservation_id", "email"]}
"""Variables by topic; the others get all."""


def handler(rule: Rule) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def handle(job: Job, **inputs: Any) -> dict[str, Any]:
        line = {
            "topic": job.type,
            "job": job.key,
            "instance": job.process_instance_key,
            "variables": dict(job.variables),
        }
        print(json.dumps(line), flush=True)
        return rule(inputs)

    return handle


async def throw(error: Exception, job: Job, controller: JobController) -> None:
    if isinstance(error, TaskError):
        await controller.set_error_status(error.message, error.code, error.variables)
    else:
        await controller.set_failure_status(repr(error))


async def main() -> None:
    channel = create_insecure_channel(grpc_address=address)
    worker = ZeebeWorker(
        channel, name="pyzeebe", exception_handler=throw, stream_enabled=mode == "stream"
    )
    for topic, rule in RULES.items():
        fetched = FETCHED.get(topic)
        worker.task(prefix + topic, variables_to_fetch=fetched, timeout_ms=20_000)(handler(rule))
    ready = partial(print, json.dumps({"ready": True}), flush=True)
    asyncio.get_running_loop().call_soon(ready)
    await worker.work()


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    asyncio.run(main())
