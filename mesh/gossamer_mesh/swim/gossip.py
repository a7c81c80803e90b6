"""Gossip: every interval, waiting updates go to a few members, while anything waits.

Besides the present it reaches those who died of late: one that did not die hears so of its death,
which rides first on any frame to it, and objects.
"""

from gossamer_mesh.swim.codec import GOSSIP
from gossamer_mesh.swim.state import DEAD, LEFT, SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.swim.broadcast import Broadcasts
    from gossamer_mesh.swim.codec import Update
    from gossamer_mesh.swim.config import Config
    from gossamer_mesh.swim.members import Members
    from gossamer_mesh.swim.outbox import Outbox
    from gossamer_mesh.swim.rng import Rng


class Gossip:
    """Brings updates among the others, in its own time."""

    def __init__(
        self,
        *,
        config: "Config",
        rng: "Rng",
        members: "Members",
        outbox: "Outbox",
        broadcasts: "Broadcasts",
        now_ms: int,
    ) -> None:
        self._config = config
        self._rng = rng
        self._members = members
        self._outbox = outbox
        self._broadcasts = broadcasts
        self._next_ms = now_ms

    def put(self, update: "Update", now_ms: int) -> None:
        """Something to say."""
        # With nothing to say the timer stood still; it is not late now.
        self._next_ms = max(self._next_ms, now_ms)
        # A verdict means something only to who has the claim, so it does not replace that.
        verdict_on = update.id + "?"
        if update.state in (SUSPECT, DEAD):
            self._broadcasts.put(verdict_on, update.encoded)
        else:
            self._broadcasts.drop(verdict_on)
            self._broadcasts.put(update.id, update.encoded)

    def timer_ms(self, now_ms: int) -> int | None:
        """When `handle_timer` has something to do; None: nothing to say, or nobody to hear it."""
        if not len(self._broadcasts):
            return None
        is_heard = self._members.peer_count() > 0 or self._members.has_gone_since(
            now_ms - self._config.gossip_to_dead_ms
        )
        return self._next_ms if is_heard else None

    def handle_timer(self, now_ms: int) -> None:
        """Speaks to some, if it is time."""
        if self._next_ms > now_ms or not len(self._broadcasts):
            return
        self._next_ms = now_ms + self._config.gossip_interval_ms
        hearers = self._members.draw(
            self._rng,
            self._config.gossip_fanout,
            is_wanted=lambda member: member.state != LEFT,
            gone_since_ms=now_ms - self._config.gossip_to_dead_ms,
        )
        for member in hearers:
            if len(self._broadcasts):
                self._outbox.send(GOSSIP, member.address, member.id, 0)
