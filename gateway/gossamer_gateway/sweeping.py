"""Forgets what is over, some rows at a time, for as long as the gateway runs: ended instances, in
the index and in the sink, and locks of jobs that ran out long ago.

Several gateways may do it on one database: what one has removed the others don't find.
"""

import logging
from collections.abc import Callable, Mapping

import trio

from gossamer_gateway import handed
from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.index import instances
from gossamer_gateway.sink import store
from gossamer_gateway.sink.bulk import Submit
from gossamer_gateway.storage.port import Rows

log = logging.getLogger("gossamer.gateway")

EVERY_S = 60.0
"""Between two looks. What is kept a minute longer than a day harms nobody."""

SOON_S = 0.5
"""After a sweep that found as many as it may remove: there are more. So 1,000 instances a second
go, above what a Zeebe on one machine ends."""

Sweep = Callable[[Rows, int], int]
"""Removes some rows, given the time; returns how many."""

ALL: Mapping[Sweep, int] = {
    store.sweep: store.SWEPT_MAX,
    handed.sweep: handed.SWEPT_MAX,
    instances.sweep: instances.SWEPT_MAX,
}
"""With how many each removes at most."""


async def keep_swept(submit: Submit, sweeps: Mapping[Sweep, int] = ALL) -> None:
    """Sweeps until cancelled."""
    while True:
        is_more = False
        for sweep, rows_max in sweeps.items():
            try:
                is_more |= await submit(sweep) >= rows_max
            except (StorageFailed, Overloaded) as error:
                log.warning("What is over could not be swept, and will be later: %s", error)
        await trio.sleep(SOON_S if is_more else EVERY_S)
