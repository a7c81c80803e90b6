"""Who claims from an engine: worked out by each member for itself, from what all say of themselves.

A member's tags hold `engines` (the names that it reaches and may claim from, with each engine's
fingerprint) and `claims` (the groups that it claims for: its term, how many parts the engine's
topics are split into, and the group's demand and capacity). All members that see the same tags name
the same claimers, and the same standbys, without a word. The standby is the next in the ranking:
whoever would claim if the claimer died, so that what it mirrors is with the member that needs it.
While views differ, two may claim, and the engine's locks keep their jobs apart.

An engine's groups are `ENGINE/0`, `ENGINE/1`, …: its parts. Each polls all topics, for holders of
its own; no member claims for two of them, so there are never more parts than members that reach
the engine. The claimer of part 0 says how many there are to be, and everybody follows it.
Pure functions; a tag of another form counts as not said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gossamer_mesh.drivers import Member, Plain
from gossamer_mesh.drivers.tags import pack_tags
from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.demand import LEVEL_MAX
from gossamer_mesh.leases.parts import PARTS_MAX
from gossamer_mesh.leases.placement import rank, spread
from gossamer_node.errors import InputError
from gossamer_node.keyed.circle import FILTER_BYTES

T = TypeVar("T")

FINGERPRINT_CHARS = 8
"""Of a fingerprint's hex digits, what tags have room for: enough to tell a few engines apart."""


DIGEST_BYTES = 8
"""Of a node's services."""

STAMP_MAX = 2**32
"""A node's services do not change so often."""

TERM_MAX = 2**32
"""No mesh elects so often; a member that says more is not believed, or its successors' terms would
soon fit no message."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claimer says of its group.

    Attributes:
        term: its own.
        parts: how many parts the engine's topics are split into; of part 0 alone it counts.
        demand, capacity: in jobs, as `leases.demand` tells them.
    """

    term: int
    parts: int = 1
    demand: int = 0
    capacity: int = 0

    def to_plain(self) -> list[Plain]:
        return [self.term, self.parts, self.demand, self.capacity]


def group_of(engine: str, part: int = 0) -> str:
    """A claim group of an engine."""
    return f"{engine}/{part}"


def engine_of(group: str) -> str:
    """The engine of a claim group."""
    return group.rpartition("/")[0]


def of_engine(engine: str, by_group: Mapping[str, T]) -> list[T]:
    """What there is for the groups of one engine."""
    return [one for group, one in by_group.items() if engine_of(group) == engine]


def is_group(group: str) -> bool:
    """Whether a group's name is one that we would give."""
    return group in {group_of(engine_of(group), part) for part in range(PARTS_MAX)}


def tags(
    engines: Mapping[str, str],
    claims: Mapping[str, Claim],
    services: bytes = b"",
    *,
    offers: int | None = None,
    keyed: bytes = b"",
) -> dict[str, Plain]:
    """What a member says of itself.

    Args:
        engines: fingerprints by name, of the engines that it may claim from now.
        claims: what it says of each group that it claims for.
        services: stands for the services that it knows (`registry.store`).
        offers: changes with the services that it would run (`offers`); None: it runs none.
        keyed: names the services with a key that it works on (`keyed.circle`).
    """
    said: dict[str, Plain] = {
        "engines": {name: one[:FINGERPRINT_CHARS] for name, one in engines.items()},
        "claims": {group: one.to_plain() for group, one in claims.items()},
    }
    if services:
        said["services"] = services[:DIGEST_BYTES]
    if offers is not None:
        said["offers"] = offers
    if keyed:
        said["keyed"] = keyed
    return said


def refuse_too_many(engines: Sequence[str]) -> None:
    """Sees at a node's start whether its tags will always have room for its engines.

    Raises: InputError when they have not.
    """
    largest = Claim(TERM_MAX, PARTS_MAX, LEVEL_MAX, LEVEL_MAX)
    try:
        pack_tags(
            tags(
                dict.fromkeys(engines, "0" * FINGERPRINT_CHARS),
                {group_of(name): largest for name in engines},
                bytes(DIGEST_BYTES),
                offers=STAMP_MAX,
                keyed=bytes(FILTER_BYTES),
            )
        )
    except MisuseError:
        raise InputError(
            f"{len(engines)} engines are more than one node can announce to its mesh; give it "
            "fewer or shorter names, and the rest to other nodes."
        ) from None


@dataclass(frozen=True, slots=True)
class Election:
    """Who claims for a group.

    Attributes:
        claimer: the member that asks the engine for jobs.
        standby: the member that claims next, None when no other reaches the engine.
    """

    claimer: str
    standby: str | None


def elections(
    members: Sequence[Member],
    node_id: str,
    reachable: Mapping[str, str],
    parts: Mapping[str, int],
) -> dict[str, Election]:
    """The claimer and the standby of each group whose engine anybody reaches.

    Args:
        members: everybody who is there, this member included.
        node_id: this member.
        reachable: fingerprints of the engines that this member may claim from now. It knows that
            before its own tags say so, and better.
        parts: into how many each engine's topics are split; one, where nothing is said.
    """
    reaching: dict[str, list[str]] = {name: [node_id] for name in reachable}
    for member in members:
        if member.id != node_id:
            for name in engines_of(member):
                reaching.setdefault(name, []).append(member.id)
    elected = {}
    for name, ids in reaching.items():
        taken: set[str] = set()
        for part in range(min(parts.get(name, 1), len(ids))):
            group = group_of(name, part)
            free = [one for one in rank(group, ids) if one not in taken]
            elected[group] = Election(free[0], free[1] if len(free) > 1 else None)
            taken.add(free[0])
    return elected


def parts_told(members: Sequence[Member], elected: Mapping[str, Election], engine: str) -> int:
    """How many parts the claimer of an engine's part 0 says there are; 0 when it says nothing.

    A new one has nothing to say for a moment; then what its predecessor said still holds.
    """
    first = elected.get(group_of(engine))
    for member in members:
        if first is not None and member.id == first.claimer:
            claim = claims_of(member).get(group_of(engine))
            return 0 if claim is None else claim.parts
    return 0


def group_to_serve(
    members: Sequence[Member], node_id: str, elected: Mapping[str, Election], engine: str
) -> str | None:
    """The group of an engine that this member gives its credit to; None when nobody claims."""
    groups = sorted(one for one in elected if engine_of(one) == engine)
    if len(groups) < 2:
        return groups[0] if groups else None
    return spread(groups, sorted({node_id, *(one.id for one in members)}))[node_id]


def claims_of(member: Member) -> dict[str, Claim]:
    """What a member says of the groups that it claims for; what cannot be so is left out."""
    said = member.tags.get("claims")
    claims = {}
    for group, parts in (said if isinstance(said, dict) else {}).items():
        if isinstance(parts, list) and len(parts) >= 4:
            numbers = [one for one in parts[:4] if type(one) is int and one >= 0]
            if (
                len(numbers) == 4
                and numbers[0] < TERM_MAX
                and 1 <= numbers[1] <= PARTS_MAX
                and max(numbers[2:]) <= LEVEL_MAX
            ):
                claims[group] = Claim(*numbers)
    return claims


def namesake(
    members: Sequence[Member], node_id: str, name: str, fingerprint: str, announced: bool
) -> Member | None:
    """A member that means another engine by the same name, and has the better right to it.

    Who came first has it, and of two who came at once the lower id: so one of two stays, and
    a newcomer never drives anybody out.

    Args:
        announced: whether this member's own tags name the engine already.
    """
    for member in members:
        theirs = engines_of(member).get(name)
        if member.id == node_id or theirs in (None, fingerprint[:FINGERPRINT_CHARS]):
            continue
        if not announced or member.id < node_id:
            return member
    return None


def engines_of(member: Member) -> dict[str, Plain]:
    """What a member reaches, as it says."""
    engines = member.tags.get("engines")
    return engines if isinstance(engines, dict) else {}


def services_of(member: Member) -> bytes:
    """What stands for the services that a member knows; empty where it says nothing."""
    digest = member.tags.get("services")
    return digest if isinstance(digest, bytes) and len(digest) == DIGEST_BYTES else b""


def offers_of(member: Member) -> int | None:
    """What changes with the services that a member would run; None where it says nothing."""
    stamp = member.tags.get("offers")
    return stamp if type(stamp) is int and 0 <= stamp <= STAMP_MAX else None


def term_seen_max(members: Sequence[Member], group: str) -> int:
    """The highest term that any member claims a group with; 0 when nobody does."""
    claims = [claims_of(member).get(group) for member in members]
    return max((one.term for one in claims if one is not None), default=0)
