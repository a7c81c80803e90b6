"""Forgets ended instances, some at a time, for as long as the gateway runs.

Several gateways may do it on one database: what one has removed the others don't find.
"""

import logging

import trio

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.sink.bulk import Submit
from gossamer_gateway.sink.store import ENDED_MAX, KEPT_MS, SWEPT_MAX, sweep

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Between two looks. What is kept a minute longer than a week harms nobody."""

SOON_S = 0.5
"""After a sweep that found as many as it may remove: there are more. So 1,000 instances a second
go, above what a Zeebe on one machine ends."""


async def keep_swept(submit: Submit, *, kept_ms: int = KEPT_MS, ended_max: int = ENDED_MAX) -> None:
    """Sweeps until cancelled.

    Args:
        kept_ms: how long an ended instance is kept.
        ended_max: how many of them are.
    """
    while True:
        removed = 0
        try:
            removed = await submit(
                lambda rows, now_ms: sweep(rows, now_ms, kept_ms=kept_ms, ended_max=ended_max)
            )
        except (StorageFailed, Overloaded) as error:
            log.warning("Ended instances could not be swept, and will be later: %s", error)
        await trio.sleep(SOON_S if removed == SWEPT_MAX else EVERY_S)
