"""Who claims from an engine: worked out by each member for itself, from what all say of themselves.

A member's tags hold `engines` (the names that it reaches and may claim from, with each engine's
fingerprint) and `claims` (the groups that it claims for, with its term). All members that see the
same tags name the same claimer, and the same standby, without a word. The standby is the next in
the ranking: whoever would claim if the claimer died, so that what it mirrors is with the member
that needs it. While views differ, two may claim, and the engine's locks keep their jobs apart.
Pure functions; a tag of another form counts as not said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gossamer_mesh.drivers import Member, Plain
from gossamer_mesh.drivers.tags import pack_tags
from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.placement import rank
from gossamer_node.errors import InputError

_GROUP = "all"
"""An engine has one claim group as yet: every topic that the mesh serves there."""


FINGERPRINT_CHARS = 8
"""Of a fingerprint's hex digits, what tags have room for: enough to tell a few engines apart."""


TERM_MAX = 2**32
"""No mesh elects so often; a member that says more is not believed, or its successors' terms would
soon fit no message."""


def group_of(engine: str) -> str:
    """The claim group of an engine."""
    return f"{engine}/{_GROUP}"


def engine_of(group: str) -> str:
    """The engine of a claim group."""
    return group.rpartition("/")[0]


def tags(engines: Mapping[str, str], claims: Mapping[str, int]) -> dict[str, Plain]:
    """What a member says of itself.

    Args:
        engines: fingerprints by name, of the engines that it may claim from now.
        claims: its terms, by the group that it claims for.
    """
    return {
        "engines": {name: one[:FINGERPRINT_CHARS] for name, one in engines.items()},
        "claims": {**claims},
    }


def refuse_too_many(engines: Sequence[str]) -> None:
    """Sees at a node's start whether its tags will always have room for its engines.

    Raises: InputError when they have not.
    """
    try:
        pack_tags(
            tags(
                dict.fromkeys(engines, "0" * FINGERPRINT_CHARS),
                {group_of(name): TERM_MAX for name in engines},
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
    members: Sequence[Member], node_id: str, reachable: Mapping[str, str]
) -> dict[str, Election]:
    """The claimer and the standby of each group whose engine anybody reaches.

    Args:
        members: everybody who is there, this member included.
        node_id: this member.
        reachable: fingerprints of the engines that this member may claim from now. It knows that
            before its own tags say so, and better.
    """
    reaching: dict[str, list[str]] = {name: [node_id] for name in reachable}
    for member in members:
        if member.id != node_id:
            for name in engines_of(member):
                reaching.setdefault(name, []).append(member.id)
    elected = {}
    for name, ids in reaching.items():
        group = group_of(name)
        ranked = rank(group, ids)
        elected[group] = Election(ranked[0], ranked[1] if len(ranked) > 1 else None)
    return elected


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


def term_seen_max(members: Sequence[Member], group: str) -> int:
    """The highest term that any member claims a group with; 0 when nobody does."""
    claims = [member.tags.get("claims") for member in members]
    terms = [one.get(group) for one in claims if isinstance(one, dict)]
    return max((one for one in terms if isinstance(one, int) and one < TERM_MAX), default=0)
