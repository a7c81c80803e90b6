"""Settings by kind and name, and which of two counts. Pure: no I/O, no clock, no chance.

A *setting* is a thing that people change while gateways run: a route, a rule for a message, an
override. Each change makes a new one, with a version: a Lamport clock and the gateway that made it.
Of two with one kind and name the later counts, whichever came first; of two with one version, as
a gateway makes that was set back to an old copy of its file, the one whose bytes hash higher. So
gateways that have seen the same settings agree, in whatever order they came. A removal is a setting
without a value, and is kept, so that it wins, too.

The clock is never behind the time in milliseconds (a hybrid clock: S. Kulkarni et al., "Logical
Physical Clocks", OPODIS 2014). So what is changed last also wins between gateways that did not
see each other, as far as their clocks agree, and a gateway that lost its file is not outdone by
what it said before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

CLOCK_MAX = 2**53
"""Of a version. Who claims to be past it is wrong, or means harm: it would win for ever."""

SETTINGS_MAX = 10_000
"""Of one kind, removed ones among them. More than an engine has definitions."""

KINDS_MAX = 16
"""Kinds that a table has room for; a later version may have others than this one."""

Key = tuple[str, str]
"""Kind and name."""

DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """When a setting was made, in the order in which all gateways see it."""

    clock: int
    gateway: str


@dataclass(frozen=True)
class Setting:
    """One change.

    Attributes:
        kind: `route`, `message`, `override`.
        name: whose: a process, a message, a rule.
        value: as JSON has it; None for a removal.
        who, at_ms: for people; they decide nothing.
        word: all of it, as its gateway signed it (`signed`).
    """

    kind: str
    name: str
    value: Mapping[str, Any] | None
    version: Version
    who: str
    at_ms: int
    word: bytes

    @property
    def key(self) -> Key:
        return self.kind, self.name

    @cached_property
    def hash(self) -> bytes:
        """Of the word."""
        return sha256(self.word).digest()

    def counts_over(self, other: "Setting | None") -> bool:
        """Whether it is the later of two with one key."""
        return other is None or (self.version, self.hash) > (other.version, other.hash)


class Table:
    """All settings that a gateway knows.

    Attributes:
        clock: no setting that is here has a higher one.
        changes: how often something else counted than before.
    """

    def __init__(self) -> None:
        self.clock = 0
        self.changes = 0
        self._settings: dict[Key, Setting] = {}
        self._counts: dict[str, int] = {}
        self._sum = 0

    def get(self, kind: str, name: str) -> Setting | None:
        """The one that counts; None where there is none, or it was removed."""
        found = self._settings.get((kind, name))
        return None if found is None or found.value is None else found

    def of(self, kind: str) -> list[Setting]:
        """All of a kind that count, by name."""
        return [one for one in self.all() if one.kind == kind and one.value is not None]

    def all(self) -> list[Setting]:
        """Every setting by kind and name, removals among them: what other gateways need."""
        return [self._settings[key] for key in sorted(self._settings)]

    def after(self, key: Key | None) -> Iterator[Setting]:
        """All whose kind and name come later."""
        for each in sorted(self._settings):
            if key is None or each > key:
                yield self._settings[each]

    def would_learn(self, setting: Setting) -> bool:
        """Whether a setting would count."""
        if not 0 < setting.version.clock <= CLOCK_MAX:
            return False
        known = self._settings.get(setting.key)
        return setting.counts_over(known) and (known is not None or self.has_room(setting.kind))

    def has_room(self, kind: str) -> bool:
        """Whether another name fits."""
        if kind not in self._counts:
            return len(self._counts) < KINDS_MAX
        return self._counts[kind] < SETTINGS_MAX

    def learn(self, setting: Setting) -> bool:
        """Takes a setting, wherever it came from; whether it counts from now on."""
        if not self.would_learn(setting):
            return False
        known = self._settings.get(setting.key)
        if known is None:
            self._counts[setting.kind] = self._counts.get(setting.kind, 0) + 1
        else:
            self._sum -= _number(known)
        self._sum += _number(setting)
        self._settings[setting.key] = setting
        self.clock = max(self.clock, setting.version.clock)
        self.changes += 1
        return True

    def digest(self) -> bytes:
        """Eight bytes that are equal where the same settings are known.

        A sum, so that a change costs as much as it is; nobody who could choose settings to make two
        sums meet gains by it: he may as well change them.
        """
        return (self._sum % (1 << 8 * DIGEST_BYTES)).to_bytes(DIGEST_BYTES)


def next_clock(highest: int, now_ms: int) -> int:
    """For a change that wins over all that are known, of which none has a higher clock."""
    return max(highest + 1, now_ms)


def _number(setting: Setting) -> int:
    return int.from_bytes(setting.hash[:DIGEST_BYTES])
