"""Which of this node's services wait for others, and why: what `dependencies` means at run time.

A service is at work if somebody in the mesh offers, in the range that it names, every service that
it depends on, and these have what they depend on, too. One that is not waits: its topics are not
announced, so no job is taken in vain, and it goes to work by itself when the last of them has come.
What runs when a dependency vanishes runs on; its calls will tell.

Services may depend on each other in a circle. All offers count as usable until one lacks something,
then those that need it fall, and so on: what is left over is the largest set in which everybody has
what they need. Worked out the other way round, from below, a circle would never begin. An offer
does not depend on whether its service waits, so no node waits for another's verdict, and each
comes to the same one from the same offers.

A dependency that comes and goes (a node that restarts again and again) would make its dependents do
so, too: one that was lost again within `STABLE_MS` keeps a service waiting for longer each time, up
to `PAUSE_MS_MAX`. The first return is at once.

What a service may call without depending on it is looked for as well, and nobody waits for it.

`look` and `Standing` are pure; `Depending` moves them by the events of a node.
"""

import math
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import trio

from gossamer_node import logs
from gossamer_node.registry.ranges import parse_range
from gossamer_node.service.host import services_called, services_needed
from gossamer_node.service.spec import Dependency
from gossamer_node.work.claiming import now_ms
from gossamer_node.work.executing import Executor
from gossamer_node.work.offers import Offer, Offers

log = logs.get("services")

NEEDS_MAX = 512
"""Dependencies of others' offers that are looked at; further ones count as met. A member may invent
a hundred for each of its services; so many keep the node's loop for 20 ms at a change."""

SHOWN_MAX = 3
"""Versions, or dependencies, that a sentence names."""

STABLE_MS = 60_000
"""A service that worked for so long is not held back when it returns."""

PAUSE_MS_FIRST, PAUSE_MS_MAX = 1_000, 60_000
"""How long a service waits at least that was lost again soon; doubled each time."""

SAY_MS = 3_000
"""How long a service waits before the log says so: at a start nobody was asked yet."""


@dataclass(frozen=True, slots=True)
class View:
    """What was found for a node's services.

    Attributes:
        wanted: what is to be known to find it: their dependencies, and those of these.
        unusable: offers, by member and name, that lack something themselves.
        waiting: why services wait, by name.
    """

    wanted: tuple[Dependency, ...]
    unusable: frozenset[tuple[str, str]]
    waiting: Mapping[str, str]


def look(
    services: Mapping[str, Sequence[Dependency]], offers_of: Callable[[str], Sequence[Offer]]
) -> View:
    """Works out which services wait.

    Args:
        services: what each service of this node needs, by its name.
        offers_of: the known offers of a name.
    """
    known: dict[str, Sequence[Offer]] = {}
    wanted: dict[Dependency, None] = {}
    behind = 0
    queue = deque(need for _, needs in sorted(services.items()) for need in needs)
    needs_of: dict[tuple[str, str], tuple[Dependency, ...]] = {}
    while queue:
        need = queue.popleft()
        wanted.setdefault(need)
        if need.name in known:
            continue
        known[need.name] = offers_of(need.name)
        for offer in known[need.name]:
            looked_at = offer.needs[: max(0, NEEDS_MAX - behind)]
            behind += len(looked_at)
            needs_of[offer.member, offer.name] = looked_at
            queue.extend(looked_at)
    usable = _usable(known, wanted, needs_of)
    offered = {
        need: [one for one in known[need.name] if one.version in parse_range(need.version)]
        for need in wanted
    }
    unmet = {
        need
        for need, found in offered.items()
        if not any((one.member, one.name) in usable for one in found)
    }
    waiting = {
        name: "; for ".join(
            _few([_why(one, known, offered, unmet) for one in needs if one in unmet])
        )
        for name, needs in sorted(services.items())
        if not unmet.isdisjoint(needs)
    }
    unusable = frozenset(needs_of.keys() - usable)
    return View(tuple(wanted), unusable, waiting)


def _usable(
    known: Mapping[str, Sequence[Offer]],
    wanted: Iterable[Dependency],
    needs_of: Mapping[tuple[str, str], Sequence[Dependency]],
) -> set[tuple[str, str]]:
    """The largest set of offers that have all they need within the set; linear in their needs."""
    usable = set(needs_of)
    needed_by: dict[Dependency, list[tuple[str, str]]] = {}
    for key, needs in needs_of.items():
        for need in needs:
            needed_by.setdefault(need, []).append(key)
    meeting: dict[tuple[str, str], list[Dependency]] = {}
    count: dict[Dependency, int] = {}
    for need in wanted:
        range_ = parse_range(need.version)
        found = [one for one in known[need.name] if one.version in range_]
        count[need] = len(found)
        for one in found:
            meeting.setdefault((one.member, one.name), []).append(need)
    lost = [need for need, number in count.items() if not number]
    while lost:
        for key in needed_by.get(lost.pop(), ()):
            if key not in usable:
                continue
            usable.remove(key)
            for need in meeting.get(key, ()):
                count[need] -= 1
                if not count[need]:
                    lost.append(need)
    return usable


def _why(
    need: Dependency,
    known: Mapping[str, Sequence[Offer]],
    offered: Mapping[Dependency, Sequence[Offer]],
    unmet: Container[Dependency],
) -> str:
    """What is wrong with a dependency, to be read on after "waits for"."""
    said = f"{need.name} {need.version}"
    if not known[need.name]:
        return f"{said}, which nobody offers"
    if not offered[need]:
        versions = list(dict.fromkeys(one.version for one in known[need.name]))
        return f"{said}, of which there is {', '.join(_few(versions))}"
    lacking: list[str] = []
    reached = {need: None}
    queue = deque(reached)
    while queue:
        behind = queue.popleft()
        if not offered[behind]:
            lacking.append(f"{behind.name} {behind.version}")
        for one in (each for offer in offered[behind] for each in offer.needs):
            if one in unmet and one not in reached:
                reached[one] = None
                queue.append(one)
    return f"{said}, which lacks {', '.join(_few(lacking))}"


def _few(parts: Sequence[str]) -> list[str]:
    more = len(parts) - SHOWN_MAX
    return [*parts[:SHOWN_MAX], f"{more} more"] if more > 0 else list(parts)


@dataclass(slots=True)
class Standing:
    """Whether a service is at work, and how often it was not, lately.

    Attributes:
        waits: it begins so; the first `note` says otherwise.
        changed_ms: when it began to work, or to wait.
        was_lost: whether it was at work and lost something.
        losses: how often, in a row, it was lost soon after its return.
    """

    changed_ms: int
    waits: bool = True
    was_lost: bool = False
    losses: int = 0

    def note(self, is_met: bool, now_ms: int) -> None:
        """Takes what was found now."""
        if not is_met and not self.waits:
            soon = self.was_lost and now_ms < self.changed_ms + STABLE_MS
            self.losses = self.losses + 1 if soon else 0
            self.waits, self.was_lost, self.changed_ms = True, True, now_ms
        elif is_met and self.waits and now_ms >= self.returns_ms():
            self.waits, self.changed_ms = False, now_ms

    def returns_ms(self) -> int:
        """Before when it does not return."""
        if not self.losses:
            return self.changed_ms
        pause_ms = PAUSE_MS_FIRST << min(self.losses - 1, 16)
        return self.changed_ms + min(pause_ms, PAUSE_MS_MAX)


@dataclass(slots=True)
class _Service:
    standing: Standing
    is_said: bool = False


class Depending:
    """One node's: holds services back in its executor, and lets them go.

    Args:
        executor: whose services may wait.
        offers: what is known of the mesh; learns here what is wanted.
        changed: called by `run` when other services than before are at work.
    """

    def __init__(
        self, executor: Executor, offers: Offers, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._executor = executor
        self._offers = offers
        self._changed = changed
        self._services: dict[str, _Service] = {}
        self._unusable: frozenset[tuple[str, str]] = frozenset()
        self._beside: tuple[Dependency, ...] = ()
        offers.is_good = self.is_usable

    def is_usable(self, offer: Offer) -> bool:
        """Whether an offer has what it needs, as far as this node knows."""
        return (offer.member, offer.name) not in self._unusable

    def look_for(self, beside: Iterable[Dependency]) -> None:
        """Looks for these as well from now on, which no service here names."""
        self._beside = tuple(beside)
        self.review()

    def review(self) -> bool:
        """Looks anew, at once. Returns whether other services are at work than before."""
        now = now_ms()
        services = self._executor.services()
        needs = {one.name: services_needed(one) for one in services}
        needs = {name: each for name, each in needs.items() if each}
        view = look(needs, self._offers.of)
        self._unusable = view.unusable
        called = [each for one in services for each in services_called(one)]
        self._offers.want([*view.wanted, *called, *self._beside])
        self._services = {
            name: self._services.get(name) or _Service(Standing(now)) for name in sorted(needs)
        }
        waiting = {}
        for name, one in self._services.items():
            one.standing.note(name not in view.waiting, now)
            if not one.standing.waits:
                if one.is_said:
                    one.is_said = False
                    log.info("goes to work: all that it depends on is there", service=name)
                continue
            why = view.waiting.get(name, "what was lost again and again, and is there now")
            waiting[name] = f"waits for {why}"
            is_late = one.standing.was_lost or now >= one.standing.changed_ms + SAY_MS
            if is_late and not one.is_said:
                one.is_said = True
                log.warning(
                    f"{name} waits for {why}: it takes no jobs until that is there; add it to a "
                    "node, or change `dependencies`",
                    service=name,
                )
        return self._executor.hold(waiting)

    async def run(self) -> None:
        """Looks whenever something is offered, or time has come, until cancelled."""
        while True:
            if self.review():
                self._changed()
            with trio.move_on_after(self._pause_s()):
                await self._offers.wait_changed()

    def _pause_s(self) -> float:
        """Until something is to be said, or a service may return."""
        now = now_ms()
        due = [
            one.standing.changed_ms + SAY_MS
            for one in self._services.values()
            if one.standing.waits and not one.is_said
        ]
        due += [
            one.standing.returns_ms()
            for one in self._services.values()
            if one.standing.waits and one.standing.returns_ms() > now
        ]
        return max(0.001, (min(due) - now) / 1_000) if due else math.inf
