"""Runs on Zeebe, of a gateway's configuration."""

import trio

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.config import WorkflowsConfig
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.zeebe.client import Zeebe
from gossamer_gateway.runs.zeebe.executor import Executor
from gossamer_gateway.storage import Storage
from gossamer_gateway.upstreams.upstream import Upstreams


async def open_executor(
    config: WorkflowsConfig,
    engine: Engine,
    storage: Storage,
    engines: Upstreams,
    nursery: trio.Nursery,
) -> Executor:
    """Starts what has a Zeebe execute runs, as a task of a nursery.

    Raises: InputError, the engine is not there or has no gRPC.
    """
    upstream = engines.eight if config.engine is None else engines.named(config.engine)
    if upstream is None:
        raise InputError("`workflows.execution: zeebe` needs a Camunda 8 among `engines`")
    executor = Executor(
        engine,
        storage,
        Zeebe(upstream),
        retention_ms=config.retention_ms,
        job_prefix=config.job_prefix,
    )
    await nursery.start(executor.run)
    return executor
