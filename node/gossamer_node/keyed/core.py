"""Turns and states of keys over the mesh: one member's part, as a pure state machine.

It takes messages, membership, the disk's answers, time, and what this node's own jobs want; it
puts out messages, things to ask the disk for, and what jobs are told. No clock, no socket, no file,
no chance. Three roles meet here: a *home* gives the turns of a key (`homes`), an *asker* has a job
that wants one (`runs`), and every member of a key's circle keeps copies, follows ballots and
answers consultations, which is this module's own.

What it stands on: while all can reach each other, a consultation hears everybody who could have the
turn or a newer state, so there is one turn at a time and nothing that two disks confirmed is lost
with one of them. What holds when they can't is in docs/explanation/state-that-moves.md.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.circle import Peer, View
from gossamer_node.keyed.floor import (
    Done,
    Failure,
    Floor,
    Forked,
    Reading,
    Stored,
    Writing,
    Written,
)
from gossamer_node.keyed.homes import Homes
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.promises import Promises
from gossamer_node.keyed.runs import Runs, Told
from gossamer_node.keyed.versions import Version

TICK_MS = 100
"""Between two looks at what is due, while anything is under way."""

IDLE_TICK_MS = 5_000

STRANGER_MS = 5_000
"""How long a home is believed that this member does not know yet: gossip tells of it within a
second or two."""

LONELY_MS = 5_000
"""A node that has shared keys with others, and has just started, sees nobody for a moment. What is
on its disk may be old by then, so for so long it waits for the others before it works alone."""

SETTLED_MAX = 1_024
"""What homes said of keys, until the driver has looked; what is lost is asked again some day."""


class Core:
    """One member's.

    Args:
        own: its id.
        session: of its process; no two of a member are the same.
        is_busy: whether a job of a key runs on this node without a turn of the mesh.
        lonely_until_ms: while it sees nobody at all, it gives no turns before this; see
            `LONELY_MS`.
    """

    def __init__(
        self, own: str, session: int, is_busy: Callable[[Key], bool], lonely_until_ms: int = 0
    ) -> None:
        self.view = View(own)
        self._lonely_until_ms = lonely_until_ms
        self._is_busy = is_busy
        self._floor = Floor(self.view, session)
        self._promises = Promises()
        self._homes = Homes(self._floor, self._promises)
        self._runs = Runs(self._floor, self._home_of)
        self._settled: deque[wire.Settled] = deque(maxlen=SETTLED_MAX)
        self.counts = {"copies_taken": 0, "copies_left_out": 0}

    # --- what this node's jobs want

    def is_alone(self, key: Key, now_ms: int) -> bool:
        """Whether nobody else has a say in a key, so that its turn is this node's own matter."""
        if self.view.others(key.service) or self._homes.has(key) or self._runs.of(key):
            return False
        self._floor.now_ms = now_ms
        # Who followed a home that is gone writes under a ballot above that home's: it may only
        # have stood still.
        followed = self._promises.ballot(key)[1]
        return not self._is_lonely() and followed in ("", self._floor.own)

    def enter(
        self, key: Key, engine: str, job: str, limit_ms: int, waiting_max: int, now_ms: int
    ) -> int:
        """A job wants its key's turn.

        Args:
            limit_ms: how long it works at most, once it has the turn.
            waiting_max: jobs that may wait before it.

        Returns: its number; `told` has what becomes of it.
        """
        self._floor.now_ms = now_ms
        number = self._runs.enter(key, (engine, job), limit_ms, waiting_max)
        self._pump()
        return number

    def keep(self, run: int, state: bytes, outcome: bytes, now_ms: int) -> None:
        """What the job of a granted turn leaves, an empty state for none; ends the turn."""
        self._floor.now_ms = now_ms
        self._runs.keep(run, state, outcome)
        self._pump()

    def leave(self, run: int, now_ms: int) -> None:
        """A job does not want its turn, or not any more; it leaves nothing."""
        self._floor.now_ms = now_ms
        self._runs.leave(run)
        self._pump()

    def touch(self, key: Key, version: Version, now_ms: int) -> None:
        """Tells a key's home what is on this disk; `settled` has its answer."""
        self._floor.now_ms = now_ms
        self._floor.send(self.view.circle(key)[0], wire.Nudge(key, version))
        self._pump()

    # --- what comes in

    def set_members(self, peers: Mapping[str, Peer], now_ms: int) -> None:
        """All others that are there."""
        self._floor.now_ms = now_ms
        self.view.set(peers)
        self._homes.members_changed()
        self._runs.members_changed()
        self._pump()

    def receive(self, sender: str, message: wire.Message, now_ms: int) -> None:
        """A message that a member sent."""
        self._floor.now_ms = now_ms
        self._take(sender, message)
        self._pump()

    def disk_did(self, number: int, result: Done, now_ms: int) -> None:
        """The answer to a `Reading` or a `Writing`."""
        self._floor.now_ms = now_ms
        self._floor.done(number, result)
        self._pump()

    def handle_timer(self, now_ms: int) -> None:
        self._floor.now_ms = now_ms
        self._homes.handle_timer()
        self._runs.handle_timer()
        self._pump()

    # --- what goes out

    def get_timer(self, now_ms: int) -> int:
        """When `handle_timer` is due."""
        is_busy = len(self._runs) or self._homes.busy()
        return now_ms + (TICK_MS if is_busy else IDLE_TICK_MS)

    def messages_to_send(self) -> list[tuple[str, wire.Message]]:
        out = [*self._floor.outbox]
        self._floor.outbox.clear()
        return out

    def disk_asks(self) -> list[Reading | Writing]:
        """To be begun at once, in any order; `disk_did` for each."""
        out = [*self._floor.asked]
        self._floor.asked.clear()
        return out

    def told(self) -> list[Told]:
        """What this node's jobs are told."""
        out = [*self._runs.told]
        self._runs.told.clear()
        return out

    def forks(self) -> list[Forked]:
        """Keys with two histories that this member found, as their home."""
        out = [*self._floor.forks]
        self._floor.forks.clear()
        return out

    def settled(self) -> list[wire.Settled]:
        """What homes said of keys that they were told of by `touch`."""
        out = [*self._settled]
        self._settled.clear()
        return out

    def statistics(self) -> dict[str, int]:
        return {
            **self._homes.counts,
            **self.counts,
            "reigns": len(self._homes),
            "runs": len(self._runs),
        }

    # --- inside

    def _pump(self) -> None:
        """Messages to this very member take the short way."""
        others: deque[tuple[str, wire.Message]] = deque()
        outbox = self._floor.outbox
        while outbox:
            member, message = outbox.popleft()
            if member == self._floor.own:
                self._take(member, message)
            else:
                others.append((member, message))
        outbox.extend(others)

    def _home_of(self, key: Key) -> str:
        """Whom this node's jobs ask; empty: not yet known."""
        if self._is_lonely():
            return self._stranger(key) or ""
        return self._stranger(key) or self.view.circle(key)[0]

    def _is_lonely(self) -> bool:
        return not self.view.peers and self._floor.now_ms < self._lonely_until_ms

    def _stranger(self, key: Key) -> str | None:
        """A home that this member follows and does not know yet."""
        promise = self._promises.get(key)
        if promise is None or self._floor.now_ms >= promise.at_ms + STRANGER_MS:
            return None
        home = promise.ballot[1]
        return None if home == self._floor.own or home in self.view.peers else home

    def _take(self, sender: str, message: wire.Message) -> None:
        match message:
            case wire.Ask():
                self._homes.ask(sender, message)
            case wire.Keep():
                self._homes.keep(sender, message)
            case wire.Release():
                self._homes.release(sender, message)
            case wire.Has():
                self._homes.has_it(sender, message)
            case wire.Others():
                self._homes.others(sender, message)
            case wire.Outbid():
                self._homes.outbid(sender, message)
            case wire.Copied():
                self._homes.copied(sender, message)
            case wire.Queued():
                self._runs.queued(sender, message)
            case wire.Grant():
                self._runs.granted(sender, message)
            case wire.Answered():
                self._runs.answered(sender, message)
            case wire.Kept():
                self._runs.kept(sender, message)
            case wire.Refuse():
                self._runs.refused(sender, message)
            case wire.Still():
                self._runs.still(sender, message)
            case wire.Consult():
                self._consulted(sender, message)
            case wire.Copy():
                self._copy(sender, message)
            case wire.Nudge():
                if self.view.circle(message.key)[0] == self._floor.own:
                    self._homes.touch(message.key, sender, message.version)
            case wire.Settled():
                self._settled.append(message)

    def _consulted(self, home: str, consult: wire.Consult) -> None:
        """A home begins, and asks for this member's word."""
        key, ballot = consult.key, consult.ballot
        if ballot[1] != home or not self._floor.has_room():
            return
        missing = _missing(self.view.circle(key), consult.circle)
        if missing:
            self._floor.send(home, wire.Others(key, ballot, tuple(missing)))
            return
        if not self._promises.follow(key, ballot, self._floor.now_ms):
            term = self._promises.ballot(key)[0]
            self._floor.send(home, wire.Outbid(key, ballot, term))
            return
        self._homes.yield_to(key, home)
        turn = self._runs.turn_of(key)
        self._runs.consulted(key, home)
        run, attempt, base, left_ms = 0, 0, 0, 0
        if turn is not None:
            run, attempt, base = turn.number, turn.attempt, turn.version.number
            left_ms = max(0, turn.until_ms - self._floor.now_ms)
        is_busy = turn is None and self._is_busy(key)

        def read(stored: Stored | Failure) -> None:
            # A disk that fails says nothing: the home waits, and its jobs are told for whom.
            if isinstance(stored, Stored):
                is_new = stored.version != consult.version
                fresh = [one for one in stored.answers if not _is_there(one, stored, consult)]
                has = wire.Has(
                    key,
                    ballot,
                    stored.version,
                    stored.state if is_new else None,
                    wire.newest(fresh, len(stored.state)),
                    tuple(one[3] for one in stored.answers),
                    run,
                    attempt,
                    base,
                    min(left_ms, wire.MS_MAX),
                    is_busy,
                )
                self._floor.send(home, has)

        self._floor.read(key, read)

    def _copy(self, home: str, copy: wire.Copy) -> None:
        key, ballot = copy.key, copy.ballot
        size_bytes = len(copy.state) + sum(len(one[2]) for one in copy.answers)
        if ballot[1] != home or copy.version.ballot > ballot:
            return
        if not self._floor.has_room(size_bytes):
            self.counts["copies_left_out"] += 1
            return
        if not self._promises.follow(key, ballot, self._floor.now_ms):
            self._floor.send(home, wire.Outbid(key, ballot, self._promises.ballot(key)[0]))
            return
        self._homes.yield_to(key, home)

        def written(result: Written | Failure) -> None:
            if isinstance(result, Failure):
                return  # the home tries another
            if result.term:
                self._floor.send(home, wire.Outbid(key, ballot, result.term))
                return
            self.counts["copies_taken"] += 1
            self._floor.send(home, wire.Copied(key, ballot, copy.version))

        stored = Stored(copy.version, copy.state, copy.answers)
        self._floor.write(key, ballot, stored, written)


def _missing(circle: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Whom a home has not asked, of those that it should have as far as this member knows."""
    return [one for one in circle if one not in asked]


def _is_there(answer: wire.Answer, stored: Stored, consult: wire.Consult) -> bool:
    """Whether a home has an answer: the number alone would also be that of another history."""
    number = answer[3]
    is_one = stored.version.reign_at(number) == consult.version.reign_at(number)
    return is_one and number in consult.answered
