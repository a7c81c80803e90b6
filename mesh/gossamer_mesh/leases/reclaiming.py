"""What a dead claimer's polls lock, and nobody knows of: found by asking the engine, and freed.

A long poll outlives the claimer that opened it. The engine gives it jobs, locked under the worker
id of the dead, and no picture and no holder has heard of them. An engine that can be asked which
jobs a worker id has locked (Camunda 7) is asked by the heir, from the take-over until the last such
poll must have ended. Rules:

1. A job is freed when it was locked in two looks in a row, `reclaim_ms` apart, and has not been in
   the heir's table in between. By then the holders have named what they run; where the heir had no
   picture of the dead, it waits for them for `accept_ms`.
2. A claimer that lives settles what we do not know, so that it vanishes from one look to the next.
   A look in which anything vanished frees nothing: who is only parted keeps most of its jobs.
3. While the member lives in the same process as before, or we cannot say, nothing is freed. Nor is
   what a living holder says that another answers for (`Keep`, or named as moved): it has not heard
   of the death yet, or knows better. It names the job to us, or is lost, before long.
4. An engine that cannot tell is not asked again; there a short first lock bounds the wait.
5. Which process of a member claimed, membership knows. So whoever claims next can search, also when
   claimer and heir are lost at once: each member `expect`s a search, and who is elected begins it.
   If that is another process of the lost member, which knows nothing of the first, its heir does.

Only what is under the dead one's own worker id is listed: what another has by now is not touched.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.config import LeaseConfig
    from gossamer_mesh.leases.lease_id import LeaseId

    Locked = tuple[str, str, bytes]
    """A job that the engine has locked: key, topic, receipt."""

SEARCHES_MAX = 16
"""Processes of lost claimers that are remembered; the search that ends first makes room."""


class Look:
    """A question to the engine: which jobs are locked for this claimer? Answer by `handle_locked`.

    Attributes:
        claimer, session: the process of a claimer that is gone.
    """

    __slots__ = ("claimer", "session")

    def __init__(self, claimer: str, session: int) -> None:
        self.claimer = claimer
        self.session = session


class _Search:
    __slots__ = ("due_ms", "end_ms", "free_from_ms", "kept", "known", "seen")

    def __init__(self, now_ms: int, free_from_ms: int, end_ms: int) -> None:
        self.due_ms: int | None = now_ms
        self.free_from_ms = free_from_ms
        self.end_ms = end_ms
        self.seen: set[str] = set()
        self.known: set[str] = set()
        self.kept: dict[str, str] = {}  # by job, the holder that has it for another


class Searches:
    """When to look, and what of the answers is nobody's.

    Args:
        config: bounds and intervals.
    """

    def __init__(self, config: "LeaseConfig") -> None:
        self._config = config
        self._searches: dict[tuple[str, int], _Search] = {}
        self._expected: dict[tuple[str, int], int] = {}

    def begin(self, claimer: str, session: int, has_picture: bool, now_ms: int) -> None:
        """A claimer's process is gone. Its last poll ends within `poll_ms_max` from now."""
        name = (claimer, session)
        known = self._searches.get(name)
        if known is not None and now_ms < known.end_ms:
            return
        if known is None and len(self._searches) == SEARCHES_MAX:
            first = sorted((one.end_ms, name) for name, one in self._searches.items())[0]
            del self._searches[first[1]]
        free_from_ms = now_ms if has_picture else now_ms + self._config.accept_ms
        end_ms = free_from_ms + self._config.poll_ms_max
        self._searches[name] = _Search(now_ms, free_from_ms, end_ms)

    def expect(self, claimer: str, session: int, now_ms: int) -> None:
        """A claimer's process is gone, of which we have no picture: ours, should we claim next."""
        self._expected[(claimer, session)] = now_ms
        if len(self._expected) > SEARCHES_MAX:
            first = sorted((since_ms, name) for name, since_ms in self._expected.items())[0]
            del self._expected[first[1]]

    def begin_as_heir(self, claimer: str, session: int, now_ms: int) -> None:
        """We are this process's heir: the processes of its member before it are ours to search."""
        for name in sorted(self._expected):
            if name[0] == claimer and name[1] != session:
                self._begin_expected(name, now_ms)

    def get_timer(self, elected: bool) -> "int | None":
        """When the next look is due; None for never."""
        due = [one.due_ms for one in self._searches.values() if one.due_ms is not None]
        if elected:
            due += list(self._expected.values())
        return min(due) if due else None

    def due(self, elected: bool, now_ms: int) -> list[Look]:
        """Looks to make now. One of a process is under way at a time."""
        if elected:
            for name in sorted(self._expected):
                self._begin_expected(name, now_ms)
        looks = []
        for name in sorted(self._searches):
            one = self._searches[name]
            if one.due_ms is not None and one.due_ms <= now_ms:
                one.due_ms = None
                looks.append(Look(name[0], name[1]))
        return looks

    def note(self, key: str) -> None:
        """A job is in the table now: whether it vanishes says nothing of who lives."""
        for one in self._searches.values():
            if one.due_ms is not None or one.seen:
                one.known.add(key)

    def spare(self, lease_id: "LeaseId", holder: str, now_ms: int) -> None:
        """A holder says that another answers for its lease: nothing to free while it lives."""
        one = self._searches.get((lease_id.claimer, lease_id.session))
        if one is not None and now_ms < one.end_ms:
            one.kept[lease_id.key] = holder

    def lose_holder(self, member_id: str) -> None:
        """What it said counts no more. (Silence proves nothing: it speaks to who claims.)"""
        for one in self._searches.values():
            one.kept = {key: holder for key, holder in one.kept.items() if holder != member_id}

    def take_answer(
        self, look: Look, locked: "list[Locked]", known: "set[str]", may_free: bool, now_ms: int
    ) -> "list[Locked]":
        """What the engine says.

        Args:
            known: keys in the table now.
            may_free: whether the process is gone beyond doubt.

        Returns: what to free.
        """
        one = self._searches.get((look.claimer, look.session))
        if one is None:
            return []
        keys = {row[0] for row in locked}
        vanished = [key for key in one.seen if key not in keys and key not in one.known]
        free = []
        if may_free and not vanished and now_ms >= one.free_from_ms:
            nobodys = one.seen - known - set(one.kept)
            free = [row for row in locked if row[0] in nobodys]
        freed = {row[0] for row in free}
        one.seen = {key for key in keys if key not in known and key not in freed}
        one.known = set()
        one.kept = {key: holder for key, holder in one.kept.items() if key in keys}
        self.take_no_answer(look, now_ms)
        return free

    def take_no_answer(self, look: Look, now_ms: int) -> None:
        """The engine did not answer: again, while there is time."""
        one = self._searches.get((look.claimer, look.session))
        if one is not None:
            # What the last poll locked in its last moment takes two more looks.
            last_ms = one.end_ms + self._config.reclaim_ms
            one.due_ms = now_ms + self._config.reclaim_ms if now_ms < last_ms else None

    def end(self, look: Look) -> None:
        """The engine cannot tell."""
        one = self._searches.get((look.claimer, look.session))
        if one is not None:
            one.due_ms = None

    # --- inside

    def _begin_expected(self, name: "tuple[str, int]", now_ms: int) -> None:
        """Begins it, unless it is too late to be of use."""
        since_ms = self._expected.pop(name)
        if now_ms < since_ms + self._config.poll_ms_max:
            self.begin(name[0], name[1], False, now_ms)
