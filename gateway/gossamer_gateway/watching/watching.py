"""Asks the members of the mesh how they are, keeps the picture, and tells those who watch.

Membership comes by gossip and is shown at once. The rest must be asked for: each member once in
`LOOK_S` while somebody watches, once in `IDLE_S` else, so that a gateway nobody looks at costs the
mesh nearly nothing. A question is a TLS link, 2.7 ms of work at each end (measured), so no more
than `ASKED_PER_S` are begun in a second: in a mesh of a thousand a member's turn comes every ten
seconds. Claimers go first, for they answer for all leases; what moves there is always fresh.

A subscriber has a queue of `WAITING_MAX` events. One that reads more slowly is cut off and begins
anew with the whole picture; nobody waits for it. Nothing that a member says raises out of here.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import trio

from gossamer_gateway.errors import Overloaded
from gossamer_gateway.watching import reading
from gossamer_gateway.watching.picture import Picture
from gossamer_gateway.watching.reading import LeaseSaid, NodeSaid, ServiceSaid
from gossamer_gateway.watching.shapes import Event
from gossamer_mesh.drivers import Member, Mesh
from gossamer_mesh.drivers.links import WATCH
from gossamer_mesh.errors import PeerError
from gossamer_mesh.packing import pack, unpack
from gossamer_node.watching import ANSWER_BYTES_MAX, LEASES, NODE, SERVICES, Told

LOOK_S = 1.0
"""Between two questions to a member while somebody watches."""

IDLE_S = 30.0
"""The same while nobody does."""

TICK_S = 0.1
"""Between two looks at who is to be asked."""

ASKED_PER_S = 100
"""Members that are asked in a second at most."""

ASKING_MAX = 32
"""At the same time."""

TIMEOUT_S = 3.0
"""For one page."""

PAUSE_S_MAX = 30.0
"""Between two questions to a member that does not answer: doubled from `LOOK_S` up to this."""

PAGES_MAX = 10
"""Of one member's leases, and of its services, in one look: 2,000 of each."""

SERVICES_S = 5.0
"""Between two questions for a member's services, which seldom change."""

WAITING_MAX = 2_048
"""Events that wait for one subscriber: some seconds of a busy mesh."""

SUBSCRIBERS_MAX = 256
"""People and programs that watch one gateway at a time."""


class Subscription:
    """One who watches. Made by `Watching.watch`."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._arrived = trio.Event()
        self.is_cut = False

    def put(self, event: Event) -> None:
        """Never waits. Beyond `WAITING_MAX` the subscription is over."""
        if self.is_cut:
            return
        if len(self._waiting) >= WAITING_MAX:
            self.cut()
        else:
            self._waiting.append(event)
            self._arrived.set()

    def cut(self) -> None:
        """It is over."""
        self.is_cut = True
        self._waiting.clear()
        self._arrived.set()

    async def next(self) -> list[Event]:
        """Waits for events and gives all that there are; none at all when it was cut."""
        while not self._waiting and not self.is_cut:
            self._arrived = trio.Event()
            await self._arrived.wait()
        await trio.lowlevel.checkpoint()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class Watching:
    """One gateway's.

    Args:
        mesh: the running member.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._member_events = mesh.follow()
        self._started_s = time.monotonic()
        self.picture = Picture()
        self.counts: Counter[str] = Counter()
        self._subscriptions: set[Subscription] = set()
        self._asking: set[str] = set()
        self._asked_s: dict[str, float] = {}
        self._pauses_s: dict[str, float] = {}
        self._services_s: dict[str, float] = {}
        self._wake = trio.Event()
        self.told = Told(mesh, self._page)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watches until cancelled."""
        self.picture.members_are(self._mesh.members(), now_ms())
        self._own()
        self._publish()
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            allowed, since_s = 0.0, trio.current_time()
            while True:
                before_s, since_s = since_s, trio.current_time()
                allowed = min(
                    allowed + ASKED_PER_S * (since_s - before_s), 2 * ASKED_PER_S * TICK_S
                )
                room = min(int(allowed), ASKING_MAX - len(self._asking))
                for member in self._due()[:room]:
                    allowed -= 1
                    self._asking.add(member.id)
                    nursery.start_soon(self._look, member)
                self.picture.tick(now_ms())
                self._own()
                self._publish()
                with trio.move_on_after(TICK_S if self._subscriptions else 10 * TICK_S):
                    await self._wake.wait()
                self._wake = trio.Event()

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._subscriptions)

    def is_full(self) -> bool:
        """Whether nobody else may watch now."""
        return len(self._subscriptions) >= SUBSCRIBERS_MAX

    @contextmanager
    def watch(self) -> Iterator[Subscription]:
        """Every event from now on, in order. The picture is then as it was before the first.

        Raises: Overloaded, too many watch already.
        """
        if self.is_full():
            raise Overloaded(f"{SUBSCRIBERS_MAX} watch this gateway already; try again later")
        self._publish()
        subscription = Subscription()
        self._subscriptions.add(subscription)
        self._pauses_s.clear()
        self._wake.set()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def end(self) -> None:
        """Nobody is told anything any more: the gateway stops."""
        for one in self._subscriptions:
            one.cut()

    def tell(self, kind: str, subject: str, data: Any | None) -> None:
        """An event of another part of the gateway: an engine, a route, an incident."""
        self.picture.tell(kind, subject, data, now_ms())
        self._publish()

    def _publish(self) -> None:
        for event in self.picture.take_events():
            for one in self._subscriptions:
                one.put(event)

    async def _follow(self) -> None:
        while True:
            event = await self._member_events.next()
            self.picture.member(event.kind, event.member, now_ms())
            if event.kind in ("joined", "died", "left"):
                for table in (self._asked_s, self._pauses_s, self._services_s):
                    table.pop(event.member.id, None)
            self._publish()
            self._wake.set()

    # --- asking

    def _due(self) -> list[Member]:
        """Members to be asked now: claimers first, then who waits longest."""
        now_s = trio.current_time()
        every_s = LOOK_S if self._subscriptions else IDLE_S
        due = []
        for one in self._mesh.members():
            if one.id == self._mesh.node_id or one.id in self._asking:
                continue
            asked_s = self._asked_s.get(one.id, float("-inf"))
            if asked_s + max(every_s, self._pauses_s.get(one.id, 0.0)) <= now_s:
                due.append((not one.tags.get("claims"), asked_s, one.id, one))
        due.sort(key=lambda one: one[:3])
        return [one for *_, one in due]

    async def _look(self, member: Member) -> None:
        self._asked_s[member.id] = trio.current_time()
        try:
            read = await self._read(member)
            if read is None:
                pause_s = max(LOOK_S, self._pauses_s.get(member.id, 0.0))
                self._pauses_s[member.id] = min(PAUSE_S_MAX, 2 * pause_s)
                self.picture.silent(member.id, now_ms())
            else:
                self._pauses_s.pop(member.id, None)
                said, services, leases = read
                self.picture.said(member.id, said, services, leases, now_ms())
        finally:
            self._asking.discard(member.id)
        self._publish()

    async def _read(
        self, member: Member
    ) -> tuple[NodeSaid, list[ServiceSaid] | None, list[LeaseSaid]] | None:
        answer = reading.page(await self._ask(member, NODE, []))
        said = reading.node(answer[0][0]) if answer and answer[0] else None
        if said is None:
            return None
        services: list[ServiceSaid] | None = None
        now_s = trio.current_time()
        if said.services is not None and self._services_s.get(member.id, 0.0) <= now_s:
            rows = await self._rows(member, SERVICES) if said.services else []
            if rows is not None:
                self._services_s[member.id] = now_s + SERVICES_S
                services = [one for row in rows if (one := reading.service(row)) is not None]
        leases = await self._rows(member, LEASES) if said.leases else []
        if leases is None:
            return None
        return said, services, [held for row in leases if (held := reading.lease(row)) is not None]

    async def _rows(self, member: Member, section: str) -> list[Any] | None:
        rows: list[Any] = []
        after: list[str] = []
        for _ in range(PAGES_MAX):
            answer = reading.page(await self._ask(member, section, after))
            if answer is None:
                return None
            rows += answer[0]
            if not answer[1] or answer[1] <= after:
                break
            after = answer[1]
        return rows

    async def _ask(self, member: Member, section: str, after: list[str]) -> Any:
        self.counts["questions"] += 1
        try:
            answer = await self._mesh.ask(
                member.id,
                WATCH,
                pack([section, after]),
                timeout_s=TIMEOUT_S,
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
            return unpack(answer)
        except PeerError:
            self.counts["questions_failed"] += 1
        except Exception:  # msgpack raises a dozen kinds for junk
            self.counts["answers_unreadable"] += 1
        return None

    # --- this gateway itself

    def _own(self) -> None:
        """What this gateway says of itself, and nobody has to ask for."""
        said = reading.node(self._page(NODE, [])[0][0])
        assert said is not None, "it is in the form that members are asked for"
        self.picture.said(self._mesh.node_id, said, [], [], now_ms())

    def _page(self, section: str, _after: list[str]) -> list[Any]:
        if section != NODE:
            return [[], []]
        up_ms = round((time.monotonic() - self._started_s) * 1_000)
        return [[{"role": "gateway", "version": version("gossamer"), "up_ms": up_ms}], []]


def now_ms() -> int:
    return time.time_ns() // 1_000_000
