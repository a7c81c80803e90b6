"""How much somebody may ask for: token buckets, and a bound on polls that wait. Pure.

A *limit* names requests by method and path and counts them by who asks (`principal`), from where
(`address`), or all together. Each has `requests` tokens that come back evenly within `window_ms`,
kept as one number a bucket: when it would be full (the *theoretical arrival time* of GCRA, ITU-T
I.371), so an untouched bucket needs no row and no timer. Rules:

1. A request is let in when every limit that names it has a token, and takes one of each then; one
   that is refused takes none.
2. There are `BUCKETS_MAX` buckets; the one unused for longest makes room. It is full again mostly.
   Who has so many addresses that he can push his own out is not held by limits by address.
3. A poll that waits is no rate: it holds one of a principal's places for as long as it waits.

What is left is told as draft-ietf-httpapi-ratelimit-headers-10 has it: `RateLimit-Policy` says the
limit (q requests in w seconds) and `RateLimit` what is left (r, full again in t seconds).
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gossamer_gateway.door.principals import fits

BUCKETS_MAX = 20_000
"""In memory: some 4 MB."""

RETRY_S_MAX = 86_400


@dataclass(frozen=True, slots=True)
class Limit:
    """`requests` in `window_ms`, counted `by` whom. `methods` and `paths` empty: all."""

    name: str
    requests: int
    window_ms: int
    by: Literal["principal", "address", "everybody"] = "principal"
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def names(self, method: str, path: str) -> bool:
        return (not self.methods or method in self.methods) and (
            not self.paths or fits(self.paths, path)
        )

    @property
    def policy(self) -> str:
        """For `RateLimit-Policy`."""
        return f'"{self.name}";q={self.requests};w={-(-self.window_ms // 1_000)}'


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request was told: nothing at all where no limit names it."""

    allowed: bool
    policy: str
    left: str
    retry_s: int = 0


FREE = Taken(True, "", "")


class Limits:
    """The buckets.

    Attributes:
        hits: requests that found a bucket empty, by the limit's name.
    """

    def __init__(self, limits: Sequence[Limit], buckets_max: int = BUCKETS_MAX) -> None:
        self.limits = tuple(limits)
        self._buckets_max = buckets_max
        self._full_at: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.hits = {one.name: 0 for one in limits}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, limits: Sequence[tuple[Limit, str]], now_ms: int) -> Taken:
        """Takes a token of each limit, for whom it is counted, if all have one."""
        if not limits:
            return FREE
        # In ticks of 1 / `requests` ms, a token is `window_ms` of them, exactly.
        until_full = [
            max(0, self._full_at.get((limit.name, whose), 0) - now_ms * limit.requests)
            for limit, whose in limits
        ]
        over = [
            ticks - (limit.requests - 1) * limit.window_ms
            for (limit, _), ticks in zip(limits, until_full, strict=True)
        ]
        allowed = max(over) <= 0
        if allowed:
            for index, (limit, whose) in enumerate(limits):
                until_full[index] += limit.window_ms
                full_at = now_ms * limit.requests + until_full[index]
                self._keep((limit.name, whose), full_at)
        for (limit, _), more in zip(limits, over, strict=True):
            self.hits[limit.name] += more > 0
        told = list(zip((limit for limit, _ in limits), until_full, over, strict=True))
        late_s = max(_seconds(more, limit) for limit, _, more in told)
        return Taken(
            allowed,
            ", ".join(limit.policy for limit, _, _ in told),
            ", ".join(
                f'"{limit.name}";r={max(0, limit.requests - -(-ticks // limit.window_ms))}'
                f";t={_seconds(ticks, limit)}"
                for limit, ticks, _ in told
            ),
            0 if allowed else min(late_s, RETRY_S_MAX),
        )

    def _keep(self, bucket: tuple[str, str], full_at: int) -> None:
        self._full_at[bucket] = full_at
        self._full_at.move_to_end(bucket)
        if len(self._full_at) > self._buckets_max:
            self._full_at.popitem(last=False)


def _seconds(ticks: int, limit: Limit) -> int:
    return max(0, -(-ticks // (limit.requests * 1_000)))


class Places:
    """Polls that wait, by principal: `places_max` each."""

    def __init__(self, places_max: int) -> None:
        self._places_max = places_max
        self._taken: dict[str, int] = {}

    def enter(self, whose: str) -> bool:
        """Takes a place. Returns False when all are taken."""
        taken = self._taken.get(whose, 0)
        if taken >= self._places_max:
            return False
        self._taken[whose] = taken + 1
        return True

    def leave(self, whose: str) -> None:
        """Gives a place back."""
        left = self._taken[whose] - 1
        if left:
            self._taken[whose] = left
        else:
            del self._taken[whose]

    def taken(self, whose: str) -> int:
        return self._taken.get(whose, 0)
