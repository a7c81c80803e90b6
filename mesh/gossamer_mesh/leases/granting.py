"""Which holder gets a waiting job, and how many more jobs the holders take together.

Pure choices over what the holders said (`credit.HolderView`); the claimer acts on them. Credit
decides, not a queue at a holder: a job is bound to a node only when that node has a slot for it
(late binding, as in join-idle-queue), so none waits behind a slow one while another node is idle.

Of the holders with credit, one whose module is warm comes before the others, unless another has
more than twice its credit: what a warm module saves is small beside a crowded node. Then the most
credit decides, and between equals a seeded choice, so that no node is always the first. What waits
goes by priority, then by age.

A lease that lost its holder waits here as well and takes the next slot that any holder frees. The
usual fallback, to queue it at the less loaded of two random holders (Mitzenmacher, 2001), waits
for that one holder's next slot instead: `testing/two_choices.py` has the comparison, and
`mesh/LEASES.md` its result.
"""

from gossamer_mesh.leases.credit import HolderView, merge_terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.config import LeaseConfig
    from gossamer_mesh.leases.lease import Lease
    from gossamer_mesh.leases.messages import TopicTerms
    from gossamer_mesh.swim.rng import Rng

    Holders = dict[str, HolderView]
    Waiting = dict[str, Lease]

CROWD = 2
"""A warm holder is passed over when another has more than so many times its credit."""


def choose(holders: "Holders", one: "Lease", config: "LeaseConfig", rng: "Rng") -> "str | None":
    """The holder that gets this lease; None when nobody takes it."""
    credits = {
        member_id: holder.credit()
        for member_id, holder in holders.items()
        if one.topic in holder.topics and holder.takes(len(one.payload), config.under_way_bytes_max)
    }
    if not credits:
        return None
    most = max(credits.values())
    warm = [
        member_id
        for member_id, credit in credits.items()
        if holders[member_id].topics[one.topic].warm and CROWD * credit >= most
    ]
    if warm:
        most = max([credits[member_id] for member_id in warm])
    best = [each for each in warm or credits if credits[each] == most]
    return sorted(best)[rng.below(len(best))] if len(best) > 1 else best[0]


def pick(
    holders: "Holders",
    waiting: "Waiting",
    member_id: str,
    by_heartbeat: bool,
    config: "LeaseConfig",
) -> "Lease | None":
    """What waits and goes to this holder next, as it has new credit; None when nothing does.

    The highest priority first, then the oldest. A lease that seemed lost on this very holder waits
    for a heartbeat, which tells whether it was: an offer does not.
    """
    holder = holders[member_id]
    if holder.credit() == 0:
        return None
    fitting = [
        one
        for one in waiting.values()
        if one.topic in holder.topics
        and holder.takes(len(one.payload), config.under_way_bytes_max)
        and (by_heartbeat or one.holder != member_id)
    ]
    return min(fitting, key=_turn) if fitting else None


def may_wait(holders: "Holders", waiting: "Waiting", one: "Lease") -> bool:
    """Whether a job without a holder has a slot all the same, and waits only for the way there.

    Its payload may have to wait until what is under way has arrived; that takes milliseconds.
    """
    slots = 0
    fits = False
    for holder in holders.values():
        if one.topic in holder.topics:
            slots += holder.credit()
            fits = fits or holder.fits(len(one.payload))
    return fits and slots >= sum(1 for other in waiting.values() if other.topic == one.topic)


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


def _turn(one: "Lease") -> "tuple[int, int]":
    return (-one.priority, one.activation)
