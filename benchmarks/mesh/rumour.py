"""One word in a mesh of ten thousand: the protocol reduced to a single subject.

Full tables at 10,000 members are a hundred million entries. But how fast a crash or an update is
known depends on one entry of each table only, so this model keeps just that entry: whether the
member suspects the victim, by whose word, until when; and the one update that waits to be handed
on. Every member is there and does by itself what the cores do: shuffled rounds of probes (a place
in the ring is drawn as it is needed), gossip, piggyback on pings and their answers, confirmations,
a deadline of its own. Left out: everything about other subjects, hence competition for room in
frames; indirect probes and their relays (the victim is really dead, so they change nothing but
time, which is kept); local health (nobody is slow here); anti-entropy.

The timeouts and limits come from the cores' own formulas, and for memberlist from its defaults
(config.go, util.go, suspicion.go). `detection` and `spread` check the model against the full
simulation at 1,000 and print both.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from gossamer_mesh.swim import config as tuning
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.suspicion import timeout_ms

DELAY_MS = (1, 5)
"""As `testing.network`."""

NEWS = -1
"""The word that nothing wins over: dead, or the update whose spread is watched."""

SOMEBODY = -2
"""The accuser in a death that comes before any suspicion."""

TRUSTED, SUSPECT, KNOWN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Terms:
    """What the model needs of a protocol's configuration at a size.

    Attributes:
        probe_ms: one probe, from ping to failure.
        suspicion_ms: by how many others have confirmed; the last for all further ones.
        transmits_max: how often one member hands a word on.
        at_once: whether news is passed on as it comes (then every `gossip_ms`), or with the next
            tick of a clock that never stops.
        is_doubted: whether a death by another's word is a suspicion, of the least length, until
            the time to object is over.
    """

    size: int
    probe_interval_ms: int
    probe_ms: int
    suspicion_ms: tuple[int, ...]
    transmits_max: int
    gossip_ms: int
    fanout: int
    at_once: bool
    is_doubted: bool


def ours(size: int, config: Config | None = None) -> Terms:
    """Gossamer's, by the cores' formulas."""
    config = config or Config()
    least_ms = tuning.suspicion_timeout_ms(config, size)
    wanted = tuning.confirmations_wanted(config, size)
    return Terms(
        size=size,
        probe_interval_ms=config.probe_interval_ms,
        probe_ms=config.probe_interval_ms,
        suspicion_ms=tuple(
            timeout_ms(confirmed, wanted, least_ms, least_ms * config.suspicion_max_multiplier)
            for confirmed in range(wanted + 1)
        ),
        transmits_max=tuning.retransmit_limit(config, size),
        gossip_ms=config.gossip_interval_ms,
        fanout=config.gossip_fanout,
        at_once=True,
        is_doubted=bool(config.deaths_are_doubted),
    )


def memberlist(size: int) -> Terms:
    """memberlist's DefaultLANConfig, by its formulas."""
    scale = max(1.0, math.log10(size))
    least_ms = int(4 * scale * 1_000)
    confirmations = 4 - 2 if size - 2 >= 4 - 2 else 0
    return Terms(
        size=size,
        probe_interval_ms=1_000,
        probe_ms=1_000,
        suspicion_ms=shrinking(least_ms, 6 * least_ms, confirmations),
        transmits_max=4 * math.ceil(math.log10(size + 1)),
        gossip_ms=200,
        fanout=3,
        at_once=False,
        is_doubted=False,
    )


def shrinking(least_ms: int, most_ms: int, confirmations: int) -> tuple[int, ...]:
    """Lifeguard's suspicion timeouts by confirmations (its equation in §IV-B, as memberlist)."""
    if not confirmations:
        return (least_ms,)
    return tuple(
        max(
            least_ms,
            int(most_ms - (most_ms - least_ms) * math.log(n + 1) / math.log(confirmations + 1)),
        )
        for n in range(confirmations + 1)
    )


class Rumour:
    """One run.

    Args:
        seed: of everything.
        loss_percent: of datagrams.
    """

    def __init__(self, terms: Terms, seed: int, loss_percent: int = 0) -> None:
        self._terms = terms
        self._rng = random.Random(seed)
        self._loss = loss_percent / 100
        size = terms.size
        self._now_ms = 0
        self._serial = 0
        self._due: list[tuple[int, int, Callable[..., None], tuple[int, ...]]] = []
        self._victim = size
        self._state = [TRUSTED] * size
        self._accusers: list[set[int]] = [set() for _ in range(size)]
        self._since_ms = [0] * size
        self._deadline_ms = [0] * size
        self._word = [NEWS] * size
        self._left = [0] * size
        phases = [self._rng.randrange(terms.gossip_ms) for _ in range(size)]
        self._gossip_ms = [0] * size if terms.at_once else phases
        self._gossiping = [False] * size
        self._is_short = [False] * size
        self._hear_news = self._hear_death if terms.is_doubted else self._learn
        self.known_ms: list[int | None] = [None] * size
        self._unknown = size

    def crash(self, limit_ms: int = 120_000) -> list[int | None]:
        """A member beside the `size` crashes at 0; when each has it dead, or None by the limit."""
        size = self._terms.size
        # Where each is in its round of `size` probes, and when the victim's turn in it is.
        for member in range(size):
            place, turn = self._rng.randrange(size), self._rng.randrange(size)
            first_ms = self._rng.randrange(self._terms.probe_interval_ms)
            self._at(first_ms, self._probe, member, place, turn)
        return self._run(limit_ms, 0)

    def update(self, limit_ms: int = 60_000) -> list[int | None]:
        """A member says something new at 0; when each has heard it, or None by the limit."""
        self._hear_news = self._learn
        for member in range(self._terms.size):
            first_ms = self._rng.randrange(self._terms.probe_interval_ms)
            self._at(first_ms, self._probe, member, 0, -1)
        self._learn(self._rng.randrange(self._terms.size))
        return self._run(limit_ms, self._terms.size // 100)

    def _run(self, limit_ms: int, spared: int) -> list[int | None]:
        due = self._due
        while due and self._unknown > spared and due[0][0] <= limit_ms:
            self._now_ms, _, action, arguments = heappop(due)
            action(*arguments)
        return self.known_ms

    def _at(self, at_ms: int, action: Callable[..., None], *arguments: int) -> None:
        self._serial += 1
        heappush(self._due, (at_ms, self._serial, action, arguments))

    # Probes.

    def _probe(self, member: int, place: int, turn: int) -> None:
        terms = self._terms
        self._at(
            self._now_ms + terms.probe_interval_ms,
            self._probe,
            member,
            *(
                (place + 1, turn)
                if place + 1 < terms.size or turn < 0
                else (0, self._rng.randrange(terms.size))
            ),
        )
        if place == turn:
            if self._state[member] != KNOWN:
                self._at(self._now_ms + terms.probe_ms, self._accuse, member, member)
            return
        target = self._rng.randrange(terms.size)
        there_ms = self._carry(member, target)
        if there_ms is not None:
            self._at(there_ms, self._answer, target, member)

    def _answer(self, member: int, prober: int) -> None:
        self._carry(member, prober)

    def _accuse(self, member: int, accuser: int) -> None:
        """`member` learns that `accuser` suspects the victim."""
        state, accusers = self._state[member], self._accusers[member]
        timeouts_ms = self._terms.suspicion_ms
        if state == KNOWN or accuser in accusers or len(accusers) >= len(timeouts_ms):
            return
        if self._is_short[member]:
            return
        if state == TRUSTED:
            self._state[member] = SUSPECT
            self._since_ms[member] = self._now_ms
        accusers.add(accuser)
        end_ms = self._since_ms[member] + timeouts_ms[len(accusers) - 1]
        self._deadline_ms[member] = end_ms
        self._at(max(end_ms, self._now_ms), self._expire, member, end_ms)
        self._put(member, accuser)

    def _hear_death(self, member: int) -> None:
        """Another's word: believed when the victim had the least time to object, by our clock."""
        if self._state[member] == TRUSTED:
            self._accuse(member, SOMEBODY)
        if self._state[member] == SUSPECT and not self._is_short[member]:
            self._is_short[member] = True
            end_ms = self._since_ms[member] + self._terms.suspicion_ms[-1]
            if end_ms < self._deadline_ms[member]:
                self._deadline_ms[member] = end_ms
                self._at(max(end_ms, self._now_ms), self._expire, member, end_ms)

    def _expire(self, member: int, deadline_ms: int) -> None:
        if self._state[member] == SUSPECT and self._deadline_ms[member] == deadline_ms:
            self._learn(member)

    def _learn(self, member: int) -> None:
        if self._state[member] != KNOWN:
            self._state[member] = KNOWN
            self.known_ms[member] = self._now_ms
            self._unknown -= 1
            self._put(member, NEWS)

    # Gossip.

    def _put(self, member: int, word: int) -> None:
        self._word[member] = word
        self._left[member] = self._terms.transmits_max
        if self._gossiping[member]:
            return
        self._gossiping[member] = True
        gossip_ms = self._gossip_ms[member]
        if not self._terms.at_once:
            behind_ms = max(0, self._now_ms - gossip_ms)
            gossip_ms += -(-behind_ms // self._terms.gossip_ms) * self._terms.gossip_ms
        self._at(max(self._now_ms, gossip_ms), self._gossip, member)

    def _gossip(self, member: int) -> None:
        self._gossip_ms[member] = self._now_ms + self._terms.gossip_ms
        for _ in range(self._terms.fanout):
            if self._left[member]:
                self._carry(member, self._rng.randrange(self._terms.size))
        self._gossiping[member] = self._left[member] > 0
        if self._gossiping[member]:
            self._at(self._gossip_ms[member], self._gossip, member)

    def _carry(self, member: int, target: int) -> int | None:
        """A frame with the word that waits, if any; returns when it arrives, None when lost."""
        word = self._word[member] if self._left[member] else None
        if word is not None:
            self._left[member] -= 1
        if self._loss and self._rng.random() < self._loss:
            return None
        at_ms = self._now_ms + DELAY_MS[0] + self._rng.randrange(DELAY_MS[1] - DELAY_MS[0] + 1)
        if word == NEWS:
            self._at(at_ms, self._hear_news, target)
        elif word is not None:
            self._at(at_ms, self._accuse, target, word)
        return at_ms
