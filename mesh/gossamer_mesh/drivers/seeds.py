"""Seeds by name: looked up until found, and again when nobody is at what was found.

A name may have several addresses, and other ones tomorrow (a restarted container, a moved
service). Each new address is asked for the mesh once; the core asks all of them again, now and
then, while no member has them.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable

import trio

from gossamer_mesh.drivers.config import Address

RESOLVE_INTERVAL_S = 10.0
"""How often a name without an address is looked up again."""

RESOLVE_AGAIN_INTERVAL_S = 60.0
"""How often a name is looked up again while no member is at any of its addresses: about the time
for which names of services are cached."""


async def keep_seeds(
    seeds: Iterable[Address],
    *,
    resolve: Callable[[Address], Awaitable[list[Address]]],
    is_met: Callable[[set[Address]], bool],
    found: Callable[[set[Address], set[Address]], None],
) -> None:
    """Looks the seeds up until cancelled, or until all are digits.

    Args:
        seeds: as they are configured.
        resolve: a seed's addresses in digits; none where there are none now.
        is_met: whether a member has one of these addresses.
        found: told all addresses, and those that are new among them.
    """
    places: dict[Address, set[Address]] = {seed: set() for seed in seeds}
    while True:
        for seed in sorted(places):
            if places[seed] and (_is_digits(seed[0]) or is_met(places[seed])):
                continue
            now = set(await resolve(seed))
            new = now - places[seed]
            if now:  # a name server that is down is no reason to forget
                places[seed] = now
            if new:
                found(set().union(*places.values()), new)
        if all(places[seed] and _is_digits(seed[0]) for seed in places):
            return
        is_waiting = not all(places.values())
        await trio.sleep(RESOLVE_INTERVAL_S if is_waiting else RESOLVE_AGAIN_INTERVAL_S)


def _is_digits(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
