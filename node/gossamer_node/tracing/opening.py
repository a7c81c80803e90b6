"""Opens what the configuration asks for, and sends the last spans when it is over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import trio

from gossamer_node.errors import InputError
from gossamer_node.extras import pip_command
from gossamer_node.tracing.port import NO_TRACING, Tracing
from gossamer_node.tracing_config import TracingConfig

LAST_S = 2.0
"""How long a stop waits for the collector to take the last spans."""


@asynccontextmanager
async def open_tracing(
    config: TracingConfig, service: str, name: str, node_id: str
) -> AsyncIterator[Tracing]:
    """Traces for the length of a block.

    Args:
        service: OpenTelemetry's `service.name`.
        name, node_id: of this member of the mesh.

    Raises: InputError, the extra is not installed.
    """
    if config.endpoint is None:
        yield NO_TRACING
        return
    try:
        from gossamer_node.tracing.opentelemetry import OtelTracing  # noqa: PLC0415
    except ImportError:
        raise InputError(
            f"tracing.endpoint needs OpenTelemetry; install it with: {pip_command('otel')}"
        ) from None
    resource = {
        "service.name": service,
        "service.version": version("gossamer"),
        "service.instance.id": node_id,
        "gossamer.node": name,
    }
    tracing = OtelTracing(config.endpoint, config.percent / 100, resource)
    try:
        yield tracing
    finally:
        with trio.move_on_after(LAST_S, shield=True):
            await trio.to_thread.run_sync(tracing.close, abandon_on_cancel=True)
