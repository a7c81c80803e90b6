"""Routes: shares of a process's new instances, by engine. Pure: no I/O, no clock, no chance.

A start carries a *sticker*, such as its business key: equal stickers go to the same engine while
the route stands, on every gateway. Weighted rendezvous hashing chooses (C. Schindelhauer and G.
Schomaker, "Weighted Distributed Hash Tables", SPAA 2005): each engine draws a number from the hash
of process, engine and sticker, bent by its share, and the largest wins. So each engine gets its
share; and when a share grows, stickers move to that engine alone, and none between the others.

A route belongs to one process, or to all that have none (`ANY`). It is a setting, and of two for a
process the later one counts on every gateway (`settings.table`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.settings.table import Setting, Version

KIND = "route"

ANY = "*"
"""The process name of the route for all processes that have none of their own."""

WHOLE = 10_000
"""All of a route's shares together: a share is in hundredths of a per cent."""

ENGINES_MAX = 64
"""Of one route."""

BUSINESS_KEY = "business-key"
HEADER = "header:"
"""What stickers begin with that name a header of the request."""


NEVER = Version(0, "")
"""Of what is no setting yet."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where new instances of a process go.

    Attributes:
        process: the process's id, or `ANY`.
        shares: by engine, each above 0, together `WHOLE`.
        sticker: what makes starts stick together: `business-key`, `header:NAME`, or "" for nothing.
        version, who, at_ms: of the setting; they decide nothing.
    """

    process: str
    shares: Mapping[str, int]
    sticker: str = BUSINESS_KEY
    version: Version = NEVER
    who: str = ""
    at_ms: int = 0


def value_of(shares: Mapping[str, int], sticker: str) -> dict[str, Any]:
    """A route as a setting's value."""
    return {"shares": dict(shares), "sticky": sticker}


def read_value(process: str, value: Mapping[str, Any]) -> Route:
    """A route out of a setting's value. Which engines there are is not asked: gateways may differ.

    Raises: BadRequest.
    """
    shares, sticker = value.get("shares"), value.get("sticky", BUSINESS_KEY)
    if (
        not isinstance(shares, dict)
        or not 0 < len(shares) <= ENGINES_MAX
        or not all(type(share) is int for share in shares.values())
    ):
        raise BadRequest("shares are engines with whole hundredths of a per cent.")
    wrong = check(shares, shares) or check_sticker(sticker)
    if wrong:
        raise BadRequest(wrong)
    return Route(process, shares, sticker)


def of_setting(setting: Setting) -> Route:
    """The route that a setting, whose value was read before, makes."""
    assert setting.value is not None, "a removal is no route"
    route = read_value(setting.name, setting.value)
    return Route(
        route.process, route.shares, route.sticker, setting.version, setting.who, setting.at_ms
    )


def complete(given: Mapping[str, int], engines: Sequence[str]) -> dict[str, int]:
    """A route's shares out of those that a person gave: what is 0 goes.

    Of two engines the one that was not named gets the rest. Among more, nobody can know which was
    meant, and the shares are checked as they are.
    """
    shares = dict(given)
    rest = WHOLE - sum(shares.values())
    others = [name for name in engines if name not in shares]
    if len(engines) == 2 and len(others) == 1 and rest > 0 and set(shares) < set(engines):
        shares[others[0]] = rest
    return {name: share for name, share in shares.items() if share != 0}


def check_sticker(sticker: object) -> str | None:
    """What is wrong with a sticker, as a sentence."""
    if sticker in ("", BUSINESS_KEY):
        return None
    if isinstance(sticker, str) and sticker.startswith(HEADER):
        name = sticker.removeprefix(HEADER)
        if name and name.isascii() and name.replace("-", "").replace("_", "").isalnum():
            return None
    return (
        f"sticky is {sticker!r}; write business-key, header:NAME with the name of a header, or "
        "nothing at all for starts that need not stay together."
    )


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
    if total != WHOLE:
        return f"the shares make {percent(total)} together; they must make 100 %."
    return None


def percent(share: int) -> str:
    """`25 %`, `0.5 %`."""
    return f"{share / 100:g} %"


def choose(route: Route, sticker: str) -> str:
    """The engine of a start. The route must have shares."""
    return max(
        sorted(route.shares), key=lambda name: _score(route.process, name, sticker, route.shares)
    )


def _score(process: str, engine: str, sticker: str, shares: Mapping[str, int]) -> float:
    drawn = sha256("\0".join((process, engine, sticker)).encode("utf-8", "surrogatepass")).digest()
    # In (0, 1): neither a logarithm of 0 nor of 1.
    fraction = (int.from_bytes(drawn[:6]) + 0.5) / 2**48
    return -shares[engine] / math.log(fraction)
