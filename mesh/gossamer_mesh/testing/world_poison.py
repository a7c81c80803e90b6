"""How many nodes each job of a world has killed since its engine last counted a failure.

A sound mesh lets one job kill three nodes, claimers or not, and then gives up (rule 6). It can
count only what somebody who lives can know of, so this does not count, and says how often:

- a kill of a node that nobody else believed to have that very lease: it was not mirrored yet;
- what was granted by a claimer that had just begun, and had not heard of the others' counts yet;
- anything before a node ended while somebody had not seen the end of another: the two may have been
  the claimer and its heir;
- anything before a claimer ended whose heir was its heir for less than `UNSEEN_MS_MAX`, as just
  after it took over itself: that one may not have heard of it yet;
- anything before a job was locked anew while a dead node was still believed to have it, or although
  nobody gave it back: its lock ended before anybody acted.
"""

from gossamer_mesh.leases import lease as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.messages import LeaseId
    from gossamer_mesh.testing.world import World
    from gossamer_mesh.testing.world_node import Node
    from gossamer_mesh.testing.world_process import Process

UNSEEN_MS_MAX = 250
"""What happened to a job longer ago than this is known to its claimer's heir: the answer's way
(40 ms), the mirror's pause and its way, and as much again."""

BEGUN_MS = 5_000
"""Until then a process may not have heard of all others."""


class Kills:
    """How many nodes each job has killed, since its engine counted.

    Args:
        world: whose nodes and jobs these are.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._counts: dict[str, int] = {}
        self._young: set[LeaseId] = set()
        self._freed: set[str] = set()

    def note_run(self, lease: "LeaseId") -> None:
        """A worker begins."""
        process = self._world.node_of[lease.claimer].process
        if process is None or process.age_ms() < BEGUN_MS:
            self._young.add(lease)

    def note_kill(self, lease: "LeaseId", victim: "Node") -> None:
        """A worker ends its whole process."""
        self._freed.discard(lease.key)
        others = [node for node in self._world.up() if node is not victim]
        if lease in self._young or not any(node.sees(lease) for node in others):
            self._world.count("kills unseen")
            return
        count = self._counts[lease.key] = self._counts.get(lease.key, 0) + 1
        self._world.count(f"kills in a row {count}")
        allowed = self._world.plan.kills_max
        if allowed and count > allowed:
            self._world.broken(f"{lease.key} has killed {count} nodes, and no retry was counted")

    def note_end(self, victim: "Node", ended: "Process") -> None:
        """A process is gone."""
        up = self._world.up()
        gone = [node for node in self._world.nodes if not node.is_up and node is not victim]
        unheard_ms = self._world.clock.now_ms - UNSEEN_MS_MAX
        is_unheard = any(since_ms > unheard_ms for since_ms in ended.heirs_since_ms())
        if is_unheard or any(one.id in node.view() for one in gone for node in up):
            for key in sorted(self._counts):
                self._forget(key)

    def note_locked(self, key: str) -> None:
        """The engine gives a job out."""
        believed = [one for node in self._world.up() for one in node.leases() if one.id.key == key]
        has_ghost = any(
            one.state in (states.GRANTED, states.HELD, states.INHERITED)
            and not self._world.node_of[one.holder or one.id.claimer].runs(one.id)
            for one in believed
        )
        if has_ghost or key not in self._freed:
            self._forget(key)

    def note_freed(self, key: str) -> None:
        """A claimer gave it back."""
        self._freed.add(key)

    def note_failed(self, key: str) -> None:
        """The engine has counted a failure."""
        self._counts.pop(key, None)

    def _forget(self, key: str) -> None:
        if self._counts.pop(key, 0):
            self._world.count("kills forgotten")
