"""Which holder gets a waiting job, and how many more jobs the holders take together.

Pure choices over what the holders said (`credit.HolderView`); the claimer acts on them. Credit
decides, not a queue at a holder: a job is bound to a node only when that node has a slot for it
(late binding, as in join-idle-queue), so none waits behind a slow one while another node is idle.
"""

from gossamer_mesh.leases.credit import HolderView, merge_terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.config import LeaseConfig
    from gossamer_mesh.leases.lease import Lease
    from gossamer_mesh.leases.messages import TopicTerms

    Holders = dict[str, HolderView]
    Waiting = dict[str, Lease]


def choose(holders: "Holders", one: "Lease") -> "str | None":
    """The holder with the most credit that takes this lease; None when nobody does."""
    best: str | None = None
    best_credit = 0
    for member_id in sorted(holders):
        holder = holders[member_id]
        if (
            one.topic in holder.topics
            and holder.credit() > best_credit
            and holder.takes(len(one.payload))
        ):
            best, best_credit = member_id, holder.credit()
    return best


def pick(
    holders: "Holders", waiting: "Waiting", member_id: str, by_heartbeat: bool
) -> "Lease | None":
    """What waits and goes to this holder next, as it has new credit; None when nothing does.

    The oldest activation first. A lease that seemed lost on this very holder waits for a
    heartbeat, which tells whether it was: an offer does not.
    """
    holder = holders[member_id]
    if holder.credit() == 0:
        return None
    fitting = [
        one
        for one in waiting.values()
        if one.topic in holder.topics
        and holder.takes(len(one.payload))
        and (by_heartbeat or one.holder != member_id)
    ]
    return min(fitting, key=_age) if fitting else None


def room(holders: "Holders", waiting: "Waiting", topic: "str | None") -> int:
    """Credit beyond what waits for it, for one topic or for all together."""
    waits = sum(1 for one in waiting.values() if topic in (None, one.topic))
    offered = sum(
        holder.credit() for holder in holders.values() if topic is None or topic in holder.topics
    )
    return max(0, offered - waits)


def terms_of(holders: "Holders", topic: str, config: "LeaseConfig") -> "TopicTerms | None":
    """What the holders that serve the topic say of it, taken together; None without any."""
    merged: TopicTerms | None = None
    for holder in holders.values():
        terms = holder.topics.get(topic)
        if terms is not None:
            merged = merge_terms(merged or terms, terms, config)
    return merged


def _age(one: "Lease") -> int:
    return one.activation
