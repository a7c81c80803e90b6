"""Which member claims for a group: rendezvous hashing (Thaler and Ravishankar, 1998).

Every member ranks the candidates by a hash of (group, member) and takes the first; members with
the same view agree without a word, and when one leaves, only the groups that it led move.
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
