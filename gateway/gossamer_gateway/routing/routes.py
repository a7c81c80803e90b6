"""Routes: shares of a process's new instances, by engine. Pure: no I/O, no clock, no chance.

A start carries a *sticker*, such as its business key: equal stickers go to the same engine while
the route stands, on every gateway. Weighted rendezvous hashing chooses (C. Schindelhauer and G.
Schomaker, "Weighted Distributed Hash Tables", SPAA 2005): each engine draws a number from the hash
of process, engine and sticker, bent by its share, and the largest wins. So each engine gets its
share; and when a share grows, stickers move to that engine alone, and none between the others.

A route belongs to one process, or to all that have none (`ANY`). Every change has a version, the
Lamport clock of the gateway that made it and its id; of two routes for a process the later one
counts, whichever came first. A removal is a route without shares, and is kept, so that it wins,
too.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

ANY = "*"
"""The process name of the route for all processes that have none of their own."""

WHOLE = 10_000
"""All of a route's shares together: a share is in hundredths of a per cent."""

ROUTES_MAX = 10_000
"""Processes with a route of their own. More than an engine has definitions."""

CLOCK_MAX = 2**53
"""A gateway that claims to be past it is wrong, or means harm: it would win for ever."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """When a route was made, in the order in which all gateways see it."""

    clock: int
    gateway: str


@dataclass(frozen=True, slots=True)
class Route:
    """Where new instances of a process go.

    Attributes:
        process: the process's id, or `ANY`.
        shares: by engine, each above 0, together `WHOLE`; none at all is a removal.
        sticker: what makes starts stick together: `business-key`, `header:NAME`, or "" for nothing.
        who, at_ms: for people; they decide nothing.
    """

    process: str
    shares: Mapping[str, int]
    version: Version
    sticker: str = "business-key"
    who: str = ""
    at_ms: int = 0


def check(shares: Mapping[str, int], engines: Iterable[str]) -> str | None:
    """What is wrong with a route's shares, as a sentence; None when they are right."""
    known = sorted(engines)
    for name, share in shares.items():
        if name not in known:
            return f"there is no engine {name} here; there are {', '.join(known) or 'none'}."
        if not 0 < share <= WHOLE:
            return (
                f"the share of {name} is {percent(share)}; it must be above 0 % and at most 100 %."
            )
    total = sum(shares.values())
    if shares and total != WHOLE:
        return f"the shares make {percent(total)} together; they must make 100 %."
    return None


def percent(share: int) -> str:
    """`25 %`, `0.5 %`."""
    return f"{share / 100:g} %"


def choose(route: Route, sticker: str) -> str:
    """The engine of a start. The route must have shares."""
    assert route.shares, f"the route of {route.process} was removed"
    return max(
        sorted(route.shares), key=lambda name: _score(route.process, name, sticker, route.shares)
    )


def _score(process: str, engine: str, sticker: str, shares: Mapping[str, int]) -> float:
    drawn = sha256("\0".join((process, engine, sticker)).encode("utf-8", "surrogatepass")).digest()
    # In (0, 1): neither a logarithm of 0 nor of 1.
    fraction = (int.from_bytes(drawn[:6]) + 0.5) / 2**48
    return -shares[engine] / math.log(fraction)


@dataclass(slots=True)
class Routes:
    """All routes that a gateway knows.

    Attributes:
        clock: no route that is here has a higher one.
    """

    gateway: str
    clock: int = 0
    _routes: dict[str, Route] = field(default_factory=dict)

    def route_of(self, process: str) -> Route | None:
        """The route that counts for a process; None where nobody made one."""
        for name in (process, ANY):
            route = self._routes.get(name)
            if route is not None and route.shares:
                return route
        return None

    def all(self) -> list[Route]:
        """Every route by process, removals among them: what other gateways need."""
        return [self._routes[name] for name in sorted(self._routes)]

    def change(
        self, process: str, shares: Mapping[str, int], *, sticker: str, who: str, at_ms: int
    ) -> Route:
        """Makes a route that wins over all that are known here. Its shares were checked."""
        version = Version(self.clock + 1, self.gateway)
        route = Route(process, dict(shares), version, sticker, who, at_ms)
        assert self.learn(route)
        return route

    def learn(self, route: Route) -> bool:
        """Takes a route, wherever it came from; whether it counts from now on."""
        if not 0 < route.version.clock <= CLOCK_MAX:
            return False
        known = self._routes.get(route.process)
        if known is None and len(self._routes) >= ROUTES_MAX:
            return False
        if known is not None and route.version <= known.version:
            return False
        self.clock = max(self.clock, route.version.clock)
        self._routes[route.process] = route
        return True

    def digest(self) -> bytes:
        """Eight bytes that are equal where the same routes are known."""
        told = sha256()
        for route in self.all():
            told.update(repr((route.process, route.version.clock, route.version.gateway)).encode())
        return told.digest()[:8]
