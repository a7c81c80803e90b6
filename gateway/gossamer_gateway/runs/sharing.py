"""Who sees to which shards: gateways of one storage share them out by leases. Pure.

A lease says that a gateway keeps the clock of a shard's runs and publishes their events, until a
time. Who has it renews it at a third of its length; one that has run out is anybody's. Each living
gateway has a quota, as even as can be: who has more gives some back, who has less takes what is
free. So shards move by themselves when a gateway comes, goes or dies.

**Leases save work; they do not guard anything.** A gateway that was paused may believe in a lease
that another has by now, and both then see to the same runs. The rows guard themselves: a run
changes only from the number that was read (`store.write`), so the second to come decides anew, on
the state that the first left, and finds nothing to do. What is published twice, its readers know by
(run, seq). That is why words from outside may come to any gateway, leases or not.

The time is the database's, and may jump: it is set right, or another server takes over whose clock
is behind. A lease that would last for twice as long as any can is one of before such a jump, and
counts as run out: a gateway that died then would keep its shards for as long as the jump was.

The epoch grows whenever a shard changes hands, for people and tests.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from gossamer_gateway.runs.store import SHARDS

LEASE_MS = 6_000
"""How long the shards of a gateway that died stand still, at most, and a third of it more."""

RENEW_MS = LEASE_MS // 3


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard as its row has it. `owner` None: it was given back."""

    shard: int
    owner: str | None
    epoch: int
    until_ms: int


def lasts(until_ms: int, now_ms: int) -> bool:
    """Whether what was given until then is good now, and was given by the clock of now."""
    return now_ms < until_ms <= now_ms + 2 * LEASE_MS


def quota(me: str, living: Iterable[str]) -> int:
    """How many shards are a gateway's; what is left over goes to the first by their ids."""
    gateways = sorted({*living, me})
    each, over = divmod(SHARDS, len(gateways))
    return each + (gateways.index(me) < over)


def plan(me: str, now_ms: int, leases: Sequence[Lease], living: Collection[str]) -> list[Lease]:
    """The leases that are to change, as they are to be.

    Args:
        leases: one of each shard.
        living: gateways that were heard of lately.
    """
    wanted = quota(me, living)
    mine = [one for one in leases if one.owner == me and lasts(one.until_ms, now_ms)]
    free = [one for one in leases if one.owner is None or not lasts(one.until_ms, now_ms)]
    until_ms = now_ms + LEASE_MS
    changed = [Lease(one.shard, me, one.epoch, until_ms) for one in mine[:wanted]]
    changed += [Lease(one.shard, None, one.epoch, now_ms) for one in mine[wanted:]]
    missing = max(0, wanted - len(mine))
    # Those that begin at the same time reach for different ones.
    place = sum(me.encode()) % SHARDS
    free.sort(key=lambda one: (one.shard - place) % SHARDS)
    changed += [Lease(one.shard, me, one.epoch + 1, until_ms) for one in free[:missing]]
    return changed
