"""Which member claims for a group: rendezvous hashing (Thaler and Ravishankar, 1998).

Every member ranks the candidates by a hash of (group, member) and takes the first; members with
the same view agree without a word, and when one leaves, only the groups that it led move. The
holders of an engine with several groups are spread over them in the same way.
"""

import hashlib


def rank(group: str, member_ids: list[str]) -> list[str]:
    """Orders members for a claim group, the claimer first, its standby second.

    Args:
        group: the claim group's name.
        member_ids: the candidates, in any order, without repeats.

    Returns: the same ids; the same order on every member for the same candidates.
    """
    return [member_id for _, member_id in sorted((weight(group, one), one) for one in member_ids)]


def weight(group: str, member_id: str) -> bytes:
    """The member's place in the group's order: SHA-256, for an even spread on any platform."""
    return hashlib.sha256(f"{group}\n{member_id}".encode()).digest()


def spread(groups: list[str], member_ids: list[str]) -> "dict[str, str]":
    """Gives each member one of the groups, all groups equally many members, give or take one.

    Rendezvous hashing with bounded loads: in an order of their own, members take the group that
    they rank highest of those that still have room. When a member or a group comes or goes, few
    members change their group.

    Args:
        groups: at least one.
        member_ids: in any order, without repeats.

    Returns: the group by member; the same on every member for the same arguments.
    """
    room, larger = divmod(len(member_ids), len(groups))
    taken = dict.fromkeys(groups, 0)
    found: dict[str, str] = {}
    for _, member_id in sorted((weight("", one), one) for one in member_ids):
        for group in rank(member_id, groups):
            if taken[group] < room or (taken[group] == room and larger > 0):
                larger -= taken[group] == room
                taken[group] += 1
                found[member_id] = group
                break
    return found
