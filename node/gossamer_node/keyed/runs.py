"""The asker's side: this node's jobs that have, or want, the turn of their key.

A run asks the key's home until it has the turn, or the answer that the job got before; works; and
hands what it leaves to the home, until that has kept it. Whenever another home is to be asked (the
one before is gone, or another one has announced itself) the run goes on there: one that asks asks
anew, and one that has the turn keeps it, because the new home was told of it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.floor import Floor
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.versions import NOTHING, Version

REPEAT_MS = 1_000
"""Until a message to the home is sent again. It also tells the home that its asker lives."""

RETRY_MS = 200
"""Until a home that says that it is none is asked again; gossip needs a few of these."""

UNHEARD_MS = 10_000
"""How long a job waits for a home that is silent, or does not get the word of others that it needs.
A death is noticed within some seconds; this is twice that."""

KEEP_MS = 10_000
"""How long a turn lasts beyond its job's time, for what the job leaves to be kept."""

State = Literal["asking", "holding", "keeping"]

_STEPS: dict[tuple[State, str], State] = {
    ("asking", "granted"): "holding",
    ("asking", "again"): "asking",
    ("holding", "keep"): "keeping",
}
"""Besides, a run in any state may end, and is forgotten."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Work now: it is this job's turn."""

    run: int
    version: Version
    state: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """The job was answered before."""

    run: int
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """What the job left is kept."""

    run: int
    version: Version


@dataclass(frozen=True, slots=True)
class Lost:
    """No turn, or nothing kept; the job may be tried again.

    Attributes:
        why: `unheard`; `waited`: others had the turn for all the time that the job has; or what the
            home said (`messages.Refuse`).
        text: of the home, where it has one.
        members: whose word is missing.
    """

    run: int
    why: str
    text: str = ""
    members: tuple[str, ...] = ()


Told = Granted | Known | Done | Lost


class Run:
    """One job's."""

    __slots__ = (
        "asked_ms",
        "attempt",
        "awaited",
        "engine",
        "heard_ms",
        "home",
        "job",
        "keep",
        "key",
        "limit_ms",
        "number",
        "queued",
        "state",
        "until_ms",
        "version",
        "waiting_max",
    )

    def __init__(
        self, number: int, key: Key, job: tuple[str, str], limit_ms: int, waiting_max: int
    ) -> None:
        self.number = number
        self.key = key
        self.engine, self.job = job
        self.limit_ms = limit_ms
        self.waiting_max = waiting_max
        self.state: State = "asking"
        self.attempt = 1
        self.home = ""
        self.asked_ms = self.heard_ms = self.until_ms = 0
        self.awaited: tuple[str, ...] = ()
        self.queued = False
        self.version = NOTHING
        self.keep: tuple[bytes, bytes] = (b"", b"")

    def step(self, word: str) -> None:
        self.state = _STEPS[self.state, word]


class Runs:
    """All of a node's. The caller bounds how many there are.

    Args:
        floor: shared.
        home_of: who is to be asked for a key now.
    """

    def __init__(self, floor: Floor, home_of: Callable[[Key], str]) -> None:
        self._floor = floor
        self._home_of = home_of
        self._runs: dict[int, Run] = {}
        self._by_key: dict[Key, list[Run]] = {}
        self._number = 0
        self.told: deque[Told] = deque()

    def __len__(self) -> int:
        return len(self._runs)

    def of(self, key: Key) -> list[Run]:
        """The runs of a key."""
        return self._by_key.get(key, [])

    def turn_of(self, key: Key) -> Run | None:
        """The run that has the turn, if one has.

        One that works got it last. One that only waits to hear that it was kept comes second: that
        may be so already.
        """
        found = None
        for run in self.of(key):
            if run.state == "holding" or (run.state == "keeping" and found is None):
                found = run
        return found

    # --- what the driver wants

    def enter(self, key: Key, job: tuple[str, str], limit_ms: int, waiting_max: int) -> int:
        """A job wants the turn. Returns its number."""
        self._number += 1
        number = self._floor.session << 32 | self._number
        run = Run(number, key, job, limit_ms, waiting_max)
        run.heard_ms = self._floor.now_ms
        run.until_ms = self._floor.now_ms + limit_ms
        self._runs[number] = run
        self._by_key.setdefault(key, []).append(run)
        self._send(run)
        return number

    def keep(self, number: int, state: bytes, outcome: bytes) -> None:
        """The job of a granted turn leaves this."""
        run = self._runs.get(number)
        if run is None:
            self.told.append(Lost(number, wire.STALE))
            return
        run.step("keep")
        run.keep = (state, outcome)
        self._send(run)

    def leave(self, number: int) -> None:
        """The job is over, or does not want its turn any more."""
        run = self._runs.get(number)
        if run is not None:
            if run.home:
                self._floor.send(run.home, wire.Release(run.key, number, run.attempt))
            self._end(run)

    # --- what homes say

    def queued(self, sender: str, message: wire.Queued) -> None:
        run = self._asking(sender, message.run, message.attempt)
        if run is not None:
            run.awaited = message.awaited
            run.queued = True
            if not message.awaited:
                run.heard_ms = self._floor.now_ms

    def granted(self, sender: str, message: wire.Grant) -> None:
        run = self._asking(sender, message.run, message.attempt)
        if run is not None:
            run.step("granted")
            run.version = message.version
            run.until_ms = self._floor.now_ms + run.limit_ms + KEEP_MS
            self.told.append(Granted(run.number, message.version, message.state))
        elif message.run not in self._runs:
            self._floor.send(sender, wire.Release(message.key, message.run, message.attempt))

    def answered(self, sender: str, message: wire.Answered) -> None:
        run = self._asking(sender, message.run, message.attempt)
        if run is not None:
            self._end(run)
            self.told.append(Known(run.number, message.outcome))

    def kept(self, sender: str, message: wire.Kept) -> None:
        run = self._runs.get(message.run)
        if run is not None and run.state == "keeping" and run.home == sender:
            self._end(run)
            self.told.append(Done(run.number, message.version))

    def refused(self, sender: str, message: wire.Refuse) -> None:
        run = self._runs.get(message.run)
        if run is None or run.home != sender or run.attempt != message.attempt:
            return
        if run.state == "holding":
            return  # of a message that was answered twice
        if message.why == wire.NOT_HOME:
            run.asked_ms = self._floor.now_ms - REPEAT_MS + RETRY_MS
            return
        self._end(run)
        self.told.append(Lost(run.number, message.why, message.text))

    def still(self, sender: str, message: wire.Still) -> None:
        run = self._runs.get(message.run)
        if run is None or run.state == "asking":
            self._floor.send(sender, wire.Release(message.key, message.run, message.attempt))
        if run is not None and run.state == "asking":
            # A grant that was lost, or is on its way: it is over now, so it must not count later.
            run.step("again")
            run.attempt = max(run.attempt, message.attempt) + 1
            self._send(run)

    def consulted(self, key: Key, home: str) -> None:
        """A new home: what was asked of another is void, so that only one can grant it."""
        for run in list(self.of(key)):
            if run.state == "asking" and run.home != home:
                run.step("again")
                run.attempt += 1
            if run.home != home:
                run.home = home
                run.asked_ms = self._floor.now_ms - REPEAT_MS + RETRY_MS

    # --- time

    def members_changed(self) -> None:
        """Those whose home is another now go on there."""
        for run in list(self._runs.values()):
            if run.state != "holding" and self._home_of(run.key) != run.home:
                self._send(run)

    def handle_timer(self) -> None:
        now = self._floor.now_ms
        for run in list(self._runs.values()):
            if run.state == "asking" and now >= min(run.until_ms, run.heard_ms + UNHEARD_MS):
                if run.home:
                    self._floor.send(run.home, wire.Release(run.key, run.number, run.attempt))
                self._end(run)
                members = run.awaited or (run.home,)
                # The home was asked at once, and once a second.
                is_heard = not run.awaited and now < run.heard_ms + 2 * REPEAT_MS
                why = "waited" if is_heard and run.queued else "unheard"
                self.told.append(Lost(run.number, why, members=members))
            elif run.state == "keeping" and now >= run.until_ms:
                self._end(run)
                self.told.append(Lost(run.number, "unheard", members=(run.home,)))
            elif run.state != "holding" and now >= run.asked_ms + REPEAT_MS:
                self._send(run)

    # --- inside

    def _asking(self, sender: str, number: int, attempt: int) -> Run | None:
        run = self._runs.get(number)
        if run is None or run.state != "asking":
            return None
        return run if run.home == sender and run.attempt == attempt else None

    def _send(self, run: Run) -> None:
        home = self._home_of(run.key)
        if home != run.home:
            if run.home and run.state == "asking":
                # The former one may still grant: that is void, and it hears so.
                self._floor.send(run.home, wire.Release(run.key, run.number, run.attempt))
                run.step("again")
                run.attempt += 1
            run.home = home
        run.asked_ms = self._floor.now_ms
        if not home:
            return
        if run.state == "asking":
            ask = wire.Ask(
                run.key,
                run.number,
                run.attempt,
                run.engine,
                run.job,
                run.limit_ms,
                run.waiting_max,
            )
            self._floor.send(home, ask)
        else:
            state, outcome = run.keep
            answer = (run.engine, run.job, outcome, 0)
            keep = wire.Keep(run.key, run.number, run.attempt, run.version, state, answer)
            self._floor.send(home, keep)

    def _end(self, run: Run) -> None:
        del self._runs[run.number]
        runs = self._by_key[run.key]
        runs.remove(run)
        if not runs:
            del self._by_key[run.key]
