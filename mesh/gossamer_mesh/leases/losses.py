"""How often the node that had a job was lost, remembered for jobs that went back to the engine.

A claimer counts in the lease, and gives up after `regrants_max`. But a job may kill its claimer:
the heir has no payload to grant again, so it releases the job, and what the engine gives out then
is a new activation. It must not count from none, or such a job walks through the mesh. Rules:

1. What is released with losses is remembered by its key, and a new activation begins with them.
   While a lease is in a table, its own count is the whole one; here is what lies between.
2. The mirror tells the heir, in place of the end of the lease. What a living claimer remembers is
   regarded, and when it is gone, taken over.
3. Of two counts the higher holds, and a loss that is seen adds one to it: a claimer that had not
   heard of the others' count yet began from none.
4. A job that the engine took a report of, or that left the table of another claimer without losses,
   has ended, or the engine has counted: forgotten.
5. At most `losses_kept_max` keys, each for `losses_kept_ms`; what ends first makes room. What is
   forgotten too early costs some grants, what is forgotten too late a retry at the engine.

A picture of another claimer's table (`standby`) keeps that one's counts in the same form.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.config import LeaseConfig
    from gossamer_mesh.leases.standby import MirrorSender


class Losses:
    """The jobs that went back with losses.

    Args:
        config: bounds and intervals.
        mirror: is told the key of each job whose count is new; None where the counts are another's.
    """

    def __init__(self, config: "LeaseConfig", mirror: "MirrorSender | None" = None) -> None:
        self._config = config
        self._mirror = mirror
        self._kept: dict[str, tuple[int, int]] = {}  # by key: how often, and until when

    def keys(self) -> list[str]:
        """Jobs that are remembered, sorted."""
        return sorted(self._kept)

    def get(self, key: str, now_ms: int) -> int:
        """How often the node that had this job was lost; 0 when nothing is known."""
        count, end_ms = self._kept.get(key, (0, 0))
        return count if now_ms < end_ms else 0

    def remaining_ms(self, key: str, now_ms: int) -> int:
        """For how long it is remembered."""
        return max(0, self._kept.get(key, (0, 0))[1] - now_ms)

    def note(self, key: str, count: int, now_ms: int) -> None:
        """The job is at the engine by now, and its nodes were lost so often."""
        self.keep(key, count, now_ms + self._config.losses_kept_ms, now_ms)

    def keep(self, key: str, count: int, end_ms: int, now_ms: int) -> None:
        """Remembers a count until then; of two of one job the higher, for the longer time."""
        known_count, known_end_ms = self._kept.get(key, (0, 0))
        if now_ms < known_end_ms:
            count, end_ms = max(count, known_count), max(end_ms, known_end_ms)
        elif key not in self._kept and len(self._kept) >= self._config.losses_kept_max:
            del self._kept[min((self._kept[one][1], one) for one in self._kept)[1]]
        self._kept[key] = (count, end_ms)
        if self._mirror is not None:
            self._mirror.note(key)

    def add(self, others: "Losses", now_ms: int) -> None:
        """Remembers as well what another claimer remembered, which is gone."""
        for key in sorted(others._kept):
            count, end_ms = others._kept[key]
            if now_ms < end_ms:
                self.keep(key, count, end_ms, now_ms)

    def forget(self, key: str) -> None:
        """The engine has counted, or the job has ended."""
        self._kept.pop(key, None)
