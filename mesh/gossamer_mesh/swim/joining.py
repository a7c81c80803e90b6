"""Ways into a mesh: addresses asked by command, and those asked now and then for nobody is there.

A join asks an address until it answers or has been asked often enough. Reconnecting asks one of the
dead, a seed or one remembered from before a restart, while no member present has that address: it
finds a mesh whose seeds are gone, and heals a partition. Both send what every comparison of tables
begins with (`sync`): our own claim and our table's digest.
"""

from gossamer_mesh.swim.codec import STATE
from gossamer_mesh.swim.events import JoinAnswered, JoinUnanswered
from gossamer_mesh.swim.state import DEAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.swim.codec import Frame
    from gossamer_mesh.swim.config import Config
    from gossamer_mesh.swim.events import Event
    from gossamer_mesh.swim.members import Members
    from gossamer_mesh.swim.rng import Rng
    from gossamer_mesh.swim.sync import Sync

    Address = tuple[str, int]

JOINS_MAX = 64
"""Addresses asked for the mesh at one time."""

JOIN_ATTEMPTS_BY_DATAGRAM = 2
"""Then each attempt goes over a stream as well: datagrams may not pass where streams do."""

ALONE_ASKS = 3
"""Addresses asked at a time by one who knows nobody, every `join_retry_ms`: most that it remembers
may be gone."""


class Joining:
    """One member's search for others."""

    def __init__(
        self,
        *,
        config: "Config",
        rng: "Rng",
        members: "Members",
        sync: "Sync",
        next_sequence: "Callable[[], int]",
        tell: "Callable[[Event], None]",
        remembered: "dict[Address, str]",
        now_ms: int,
    ) -> None:
        self._config = config
        self._rng = rng
        self._members = members
        self._sync = sync
        self._next_sequence = next_sequence
        self._tell = tell
        self._seeds: list[Address] = []
        self._remembered = remembered
        self._remembered_until_ms = now_ms + config.tombstone_ms
        self._joins: dict[Address, Join] = {}
        self._by_stream_too = False
        # Members that start together must not speak together.
        interval_ms = config.join_retry_ms if remembered else config.reconnect_interval_ms
        self._reconnect_ms = now_ms + rng.below(interval_ms)

    @property
    def remembered(self) -> "dict[Address, str]":
        """Address → id of those known before a restart, as long as they are asked."""
        return self._remembered

    @property
    def timer_ms(self) -> int:
        """When `handle_timer` has something to do."""
        return min([self._reconnect_ms] + [join.next_ms for join in self._joins.values()])

    def set_seeds(self, addresses: "list[Address]") -> None:
        """Other addresses to ask, now and then, while no member has them."""
        self._seeds = sorted(set(addresses))

    def join(self, addresses: "list[Address]", now_ms: int) -> None:
        """Begins to ask these; those beyond `JOINS_MAX` are unanswered at once."""
        for address in sorted(set(addresses)):
            join = self._joins.get(address)
            if join is not None and not join.is_answered:
                continue
            if join is None and len(self._joins) >= JOINS_MAX:
                self._tell(JoinUnanswered(address))
            else:
                self._joins[address] = Join(address, now_ms)
        self._run_joins(now_ms)

    def stop(self) -> "list[Address]":
        """Gives up, for this member leaves; returns who was asked and has not answered."""
        asked = [each for each in sorted(self._joins) if not self._joins[each].is_answered]
        self._joins = {}
        return asked

    def answered_by(self, frame: "Frame") -> "Join | None":
        """By its number: a host of several addresses may answer from another one than we asked."""
        if frame.kind == STATE:
            for address in sorted(self._joins):
                if self._joins[address].sequence == frame.sequence:
                    return self._joins[address]
        return None

    def handle_answer(self, join: "Join", now_ms: int) -> None:
        """Its table came."""
        if not join.is_answered:
            join.is_answered = True
            # The rest of a large table may be on its way.
            join.next_ms = now_ms + self._config.reconnect_interval_ms
            self._tell(JoinAnswered(join.address))

    def handle_timer(self, now_ms: int) -> None:
        """Asks whom it is time to ask."""
        self._run_joins(now_ms)
        if self._reconnect_ms <= now_ms:
            self._run_reconnect(now_ms)

    def _run_joins(self, now_ms: int) -> None:
        for address in sorted(self._joins):
            join = self._joins[address]
            if join.next_ms > now_ms:
                continue
            if join.is_answered or join.attempts >= self._config.join_attempts:
                del self._joins[address]
                if not join.is_answered:
                    self._tell(JoinUnanswered(address))
                continue
            if join.attempts == 0:
                join.is_first = len(self._members.present()) == 1
                join.sequence = self._next_sequence()
            join.attempts += 1
            join.next_ms = now_ms + self._config.join_retry_ms
            self._sync.ask(address, "", join.sequence)
            if join.attempts > JOIN_ATTEMPTS_BY_DATAGRAM:
                self._sync.ask(address, "", join.sequence, by_stream=True)

    def _run_reconnect(self, now_ms: int) -> None:
        """Asks one who is missing, every second time over a stream as well."""
        is_alone = len(self._members.present()) == 1
        if self._remembered_until_ms <= now_ms:
            self._remembered = {}
        present = set()
        for id in self._members.present():
            member = self._members.get(id)
            if member is not None:
                present.add(member.address)
        missing = dict(self._remembered)
        for seed in self._seeds:
            missing[seed] = missing.get(seed, "")
        for member in self._members.gone():
            if member.state == DEAD:
                missing[member.address] = member.id
        wanted = [address for address in sorted(missing) if address not in present]
        for address in self._rng.sample(wanted, ALONE_ASKS if is_alone else 1):
            self._sync.ask(address, missing[address], self._next_sequence())
            if self._by_stream_too:
                self._sync.ask(address, missing[address], self._next_sequence(), by_stream=True)
        self._by_stream_too = not self._by_stream_too
        if is_alone and self._remembered:
            self._reconnect_ms = now_ms + self._config.join_retry_ms
        else:
            self._reconnect_ms = now_ms + self._config.reconnect_interval_ms


class Join:
    """One address that we asked for the mesh."""

    def __init__(self, address: "Address", now_ms: int) -> None:
        self.address = address
        self.next_ms = now_ms
        self.attempts = 0
        self.sequence = 0
        self.is_first = False
        self.is_answered = False
