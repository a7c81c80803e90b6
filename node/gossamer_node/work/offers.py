"""Who offers which service: asked by name, of members that say that something changed.

A member *offers* a service that it has and would run: one of its configuration, or the version that
its registry has chosen for a name. Whether that service waits for others itself counts for nothing:
its answer says what it depends on, so who asks can look behind it (`depending`), and two services
that depend on each other don't wait for each other for ever.

A node may have a hundred thousand services, and nobody else needs that list. So a member's tags
have one number only, which changes with what it offers. Who depends on something asks for those
names, and no others, on a link of their own; the answer holds until the number is another, or the
member is. The cost is thereby that of what is depended on: a node whose services depend on nothing
asks nothing, and one that knows `ENOUGH` members for a name asks no more of them, even in a
mesh of a thousand. Only for what nobody is known to offer all are asked, `ASKED_MAX` at a time, and
again when they have changed.

Why no digest of all that is offered, as signed orders have one (`registry.travel`): those all
members are to have, so equal sums mean that there is nothing to do. Offers differ from node to node
for ever. And no answer is taken from a member about another one: whoever has the mesh's key may
speak for itself alone.

Junk from a member is counted and dropped, its offers with it; nothing here raises but for
cancellation. What an answer says is bounded in length, in names (those that were asked for) and in
what it depends on.
"""

import re
import secrets
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from gossamer_mesh.drivers import Member, Mesh
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import OFFERS
from gossamer_mesh.errors import PeerError
from gossamer_mesh.packing import pack, unpack
from gossamer_node import logs
from gossamer_node.errors import NodeError
from gossamer_node.registry.ranges import RANGE_CHARS_MAX, parse_range
from gossamer_node.registry.semver import precedence
from gossamer_node.service.load import NAME, VERSION
from gossamer_node.service.spec import Dependency
from gossamer_node.work.electing import offers_of

log = logs.get("services")

ENOUGH = 8
"""Members that offer what is wanted; no more are looked for. A call needs one, and some to choose
among when that one is gone or busy."""

WANTED_MAX = 4_096
"""Names that a node asks for; further ones count as offered by nobody."""

NAMES_MAX = 256
"""Of one question."""

NEEDS_MAX = 100
"""Dependencies of one offer: as many as service.yaml may have."""

REQUEST_BYTES_MAX = NAMES_MAX * 66 + 64

ANSWER_BYTES_MAX = 256 * 2**10
"""What does not fit is asked for again: an answer says how many names it got through."""

TIMEOUT_S = 5.0

LOOK_S = 1.0
"""Between two looks at what the members say; gossip takes as long."""

ASKED_MAX = 8
"""Members that are asked at the same time."""

ANSWERS_MAX = 16
"""Questions that are answered at the same time; who gets nothing asks again."""

ASKED_PER_S = 100
"""Questions that one member has to answer in a second, when it changes all the time and everybody
depends on it; so in a mesh of a thousand each asks it every ten seconds."""

PAUSE_S_FIRST, PAUSE_S_LAST = 1.0, 60.0
"""Until a member that gave no answer is asked again, doubled each time."""


@dataclass(frozen=True, slots=True)
class Own:
    """A service as its own node has it.

    Attributes:
        needs: the services, and not the host's capabilities, that it depends on.
    """

    version: str
    needs: tuple[Dependency, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """A member and the version of a service that it would run."""

    member: str
    name: str
    version: str
    needs: tuple[Dependency, ...] = ()


class Source(Protocol):
    """What this node offers itself."""

    def offered(self, name: str) -> Own | None:
        """The service of a name, if it would run here; from any thread. Raises: NodeError."""

    def stamp(self) -> int | None:
        """A number that is another whenever `offered` may answer otherwise; None: no services."""


@dataclass(slots=True)
class _Known:
    """What a member said.

    Attributes:
        stamp: under which it said so.
        asked: the names that it was asked for.
    """

    session: int
    stamp: int
    asked: set[str] = field(default_factory=set)
    offers: dict[str, Offer] = field(default_factory=dict)

    def only(self, names: Container[str]) -> "_Known":
        """Of these names alone; a copy."""
        asked = {one for one in self.asked if one in names}
        offers = {name: one for name, one in self.offers.items() if name in names}
        return _Known(self.session, self.stamp, asked, offers)


class Offers:
    """One node's knowledge of who offers what.

    Args:
        mesh: the running member.
        source: what this node offers.

    Attributes:
        is_good: whether an offer may be used; for `ENOUGH` only those count.
    """

    def __init__(self, mesh: Mesh, source: Source) -> None:
        self._mesh = mesh
        self._source = source
        self.is_good: Callable[[Offer], bool] = lambda offer: True
        self._wanted: dict[str, set[str]] = {}
        self._known: dict[str, _Known] = {}
        self._offered: dict[str, dict[str, Offer]] = {}
        self._own: dict[str, Offer | None] = {}
        self._own_stamp: int | None = None
        self._asking: set[str] = set()
        self._pauses: dict[str, tuple[float, float]] = {}
        self._answering = 0
        self._said = ""
        self._changed = trio.Event()
        self._woken = trio.Event()
        self.counts: Counter[str] = Counter()
        mesh.handle(OFFERS, Handler(self._answer, REQUEST_BYTES_MAX, TIMEOUT_S, ANSWER_BYTES_MAX))

    # --- what is asked of it

    def of(self, name: str, version: str = "*") -> list[Offer]:
        """Who offers a service, this node included: the highest version first.

        Of other members only names that are wanted (`want`) are known, and of these not all
        members, if many offer it. One that is gone is known for another second.

        Args:
            version: a range.

        Raises: ValueError for no range.
        """
        range_ = parse_range(version)
        own = self._own_offer(name)
        found = [*self._offered.get(name, {}).values(), *([own] if own else [])]
        found = [one for one in found if one.version in range_]
        found.sort(key=lambda one: one.member)
        return sorted(found, key=lambda one: precedence(one.version), reverse=True)

    def stamp(self) -> int | None:
        """What this node says in its tags."""
        return self._source.stamp()

    def want(self, needs: Iterable[Dependency]) -> None:
        """From now on these are looked for, and no others."""
        wanted: dict[str, set[str]] = {}
        for one in needs:
            if one.name in wanted or len(wanted) < WANTED_MAX:
                wanted.setdefault(one.name, set()).add(one.version)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        for member_id, known in list(self._known.items()):
            self._keep(member_id, known.only(wanted))
        self._wake()

    def own_changed(self) -> None:
        """This node offers something else than before."""
        self._tell()
        self._wake()

    async def wait_changed(self) -> None:
        """Returns when this node or another, as far as it is wanted, offers something else."""
        await self._changed.wait()

    # --- running

    async def run(self) -> None:
        """Looks and asks until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                woken = self._woken
                for member in self._look():
                    self._asking.add(member.id)
                    nursery.start_soon(self._learn_from, member)
                with trio.move_on_after(LOOK_S):
                    await woken.wait()

    def _wake(self) -> None:
        self._woken.set()
        self._woken = trio.Event()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _own_offer(self, name: str) -> Offer | None:
        stamp = self._source.stamp()
        if stamp != self._own_stamp or len(self._own) > WANTED_MAX:
            self._own, self._own_stamp = {}, stamp
        if name not in self._own:
            try:
                own = self._source.offered(name)
            except NodeError as error:
                self._say(error)
                return None
            self._own[name] = (
                Offer(self._mesh.node_id, name, own.version, own.needs) if own else None
            )
        return self._own[name]

    def _say(self, error: NodeError) -> None:
        """A warning, once while it is the same."""
        if str(error) != self._said:
            self._said = str(error)
            log.warning(self._said)

    def _look(self) -> list[Member]:
        """Forgets who is gone; returns whom to ask now, in an order of chance."""
        members = [
            one
            for one in self._mesh.members()
            if one.id != self._mesh.node_id and offers_of(one) is not None
        ]
        sessions = {one.id: one.session for one in members}
        for member_id, known in list(self._known.items()):
            if sessions.get(member_id) != known.session:
                self._keep(member_id, None)
        self._pauses = {id: pause for id, pause in self._pauses.items() if id in sessions}
        wanting = self._wanting()
        now_s = trio.current_time()
        found = [
            one
            for one in members
            if one.id not in self._asking
            and self._pauses.get(one.id, (0.0, 0.0))[0] <= now_s
            and self._may_know_more(one, wanting)
        ]
        chosen: list[Member] = secrets.SystemRandom().sample(found, len(found))
        return chosen[: max(0, ASKED_MAX - len(self._asking))]

    def _wanting(self) -> set[str]:
        """Names for which more members are looked for."""
        wanting = set()
        for name, versions in self._wanted.items():
            offers = [one for one in self.of(name) if self.is_good(one)]
            for version in versions:
                range_ = parse_range(version)
                if sum(one.version in range_ for one in offers) < ENOUGH:
                    wanting.add(name)
        return wanting

    def _may_know_more(self, member: Member, wanting: set[str]) -> bool:
        """Whether a member may offer what is wanting, or not any more what it offered."""
        known = self._known.get(member.id)
        if known is None:
            return bool(wanting)
        if known.stamp != offers_of(member):
            return bool(wanting or known.offers)
        return not wanting <= known.asked

    async def _learn_from(self, member: Member) -> None:
        before = self._known.get(member.id)
        stamp = offers_of(member)
        assert stamp is not None, "`_look` asks nobody else"
        known = _Known(member.session, stamp)
        if before is not None and (before.session, before.stamp) == (member.session, stamp):
            known = before.only(self._wanted)
        is_answered = await self._ask_all(member, known, sorted(self._wanted.keys() - known.asked))
        self._asking.remove(member.id)
        _, before_s = self._pauses.get(member.id, (0.0, PAUSE_S_FIRST / 2))
        pause_s = min(2 * before_s, PAUSE_S_LAST)
        if is_answered:
            self._keep(member.id, known.only(self._wanted))
            pause_s = max(LOOK_S, len(self._mesh.members()) / ASKED_PER_S)
            self._pauses[member.id] = (trio.current_time() + pause_s, PAUSE_S_FIRST / 2)
        else:
            self._pauses[member.id] = (trio.current_time() + pause_s, pause_s)
        self._wake()

    def _keep(self, member_id: str, known: _Known | None) -> None:
        """From now on that is what is known of a member."""
        before = self._known.pop(member_id, None)
        old, new = before.offers if before else {}, known.offers if known else {}
        if known is not None:
            self._known[member_id] = known
        for name in old:
            del self._offered[name][member_id]
            if not self._offered[name]:
                del self._offered[name]
        for name, one in new.items():
            self._offered.setdefault(name, {})[member_id] = one
        if old != new:
            self._tell()

    async def _ask_all(self, member: Member, known: _Known, names: Sequence[str]) -> bool:
        """Asks for names, as many at a time as go into an answer. Returns whether all came."""
        place = 0
        while place < len(names):
            asked = names[place : place + NAMES_MAX]
            answer = await self._ask(member.id, asked)
            if answer is None:
                return False
            count, offers = answer
            for one in offers:
                known.offers[one.name] = one
            known.asked.update(asked[:count])
            place += count
        return True

    async def _ask(self, member_id: str, names: Sequence[str]) -> tuple[int, list[Offer]] | None:
        try:
            data = await self._mesh.ask(
                member_id,
                OFFERS,
                pack(list(names)),
                timeout_s=TIMEOUT_S,
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
            said = unpack(data)
            if said is None:
                raise PeerError("is busy")
            answer = _read(member_id, names, said)
        except PeerError:
            self.counts["questions_failed"] += 1
            return None
        except Exception:  # msgpack raises a dozen kinds for junk
            answer = None
        self.counts["answers_unreadable" if answer is None else "answers"] += 1
        return answer

    # --- what others ask

    async def _answer(self, sender: str, data: bytes) -> bytes:
        try:
            names = unpack(data)
        except Exception:  # msgpack raises a dozen kinds for junk
            names = None
        if not isinstance(names, list) or len(names) > NAMES_MAX:
            self.counts["questions_unreadable"] += 1
            return pack(None)
        if self._answering >= ANSWERS_MAX:
            self.counts["questions_refused"] += 1
            return pack(None)
        self._answering += 1
        try:
            return await trio.to_thread.run_sync(self._found, names)
        except NodeError as error:
            self._say(error)
            return pack(None)
        finally:
            self._answering -= 1

    def _found(self, names: list[Any]) -> bytes:
        """On a thread: the answer to a question, as far as it goes into one."""
        offers: list[list[Any]] = []
        size = 64
        for count, name in enumerate(names):
            own = self._source.offered(name) if isinstance(name, str) else None
            if own is None:
                continue
            needs = [[one.name, one.version] for one in own.needs]
            offer = [name, own.version, needs]
            size += len(pack(offer))
            if size > ANSWER_BYTES_MAX and count:
                return pack([count, offers])
            offers.append(offer)
        return pack([len(names), offers])


def _read(member_id: str, names: Sequence[str], answer: Any) -> tuple[int, list[Offer]] | None:
    """How many names an answer got through, and what is offered; None for none that makes sense."""
    match answer:
        case [int(count), list(said), *_] if 0 < count <= len(names) and len(said) <= count:
            offers = [_offer(member_id, one) for one in said]
            found = [one for one in offers if one is not None and one.name in names[:count]]
            return (count, found) if len(found) == len(said) else None
    return None


def _offer(member_id: str, said: Any) -> Offer | None:
    match said:
        case [str(name), str(version), list(needs), *_] if len(needs) <= NEEDS_MAX:
            read = [_need(one) for one in needs]
            if _fits(VERSION.chars_max, VERSION.pattern, version) and None not in read:
                return Offer(member_id, name, version, tuple(one for one in read if one))
    return None


def _need(said: Any) -> Dependency | None:
    match said:
        case [str(name), str(version), *_] if len(version) <= RANGE_CHARS_MAX:
            try:
                parse_range(version)
            except ValueError:
                return None
            return Dependency(name, version) if _fits(NAME.chars_max, NAME.pattern, name) else None
    return None


def _fits(chars_max: int, pattern: str | None, text: str) -> bool:
    return len(text) <= chars_max and re.fullmatch(pattern or "", text) is not None
