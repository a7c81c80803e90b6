"""Opens the configured providers and the worker that calls them, and ends both in good order."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.providers.config import ProviderConfig
from gossamer_gateway.runs.providers.factory import open_provider
from gossamer_gateway.runs.providers.invoker import Invoker
from gossamer_gateway.storage import Storage


@asynccontextmanager
async def open_invoker(
    configs: Sequence[ProviderConfig],
    engine: Engine,
    storage: Storage,
    *,
    environ: Mapping[str, str] = os.environ,
) -> AsyncIterator[Invoker]:
    """Calls functions until the block is left; then what is at work is finished or given back.

    Args:
        environ: where the clouds' own variables are.

    Raises: InputError: a file that a row names cannot be used.
    """
    async with AsyncExitStack() as stack:
        providers = {}
        for config in configs:
            provider = open_provider(config, environ)
            stack.push_async_callback(provider.aclose)
            providers[config.name] = (config, provider)
        invoker = Invoker(engine, storage, providers)
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(invoker.run)
        yield invoker
        invoker.stop()
