"""Settings from gateway to gateway: a change is told to all at once, digests find what was missed.

A gateway that changes a setting sends it to each other gateway that it knows, on a link of their
own: effective there some milliseconds later. Who was away, or did not hear, is helped by digests.
Each gateway's tags have eight bytes that stand for all settings it knows (`TAG`, which also says
that the member is a gateway). Who sees another digest than its own, twice in a row, reads that
gateway's settings, page by page, and takes what counts over its own; so does the other one.
Settings are signed by who made them (`signed`), so any gateway may hand on any other's.

Who may take part is the configuration's matter: `peers` names the node ids of the other
gateways. From anybody else nothing is taken, and nobody else is told anything, although it has the
mesh key and says that it is a gateway. Each names all others; where A names B, and B does not name
A, B says in its log what to write. Without peers nothing goes over the mesh; gateways that share a
database find each other's changes there (`REFRESH_S`).

Junk from a member is counted and dropped; nothing here raises but for cancellation.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import trio

from gossamer_gateway.errors import GatewayError, WordRefused
from gossamer_gateway.settings import signed
from gossamer_gateway.settings.book import Book
from gossamer_gateway.settings.table import DIGEST_BYTES, Key, Setting
from gossamer_mesh.drivers import Member, Mesh
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import SETTINGS
from gossamer_mesh.errors import PeerError
from gossamer_mesh.packing import pack, unpack
from gossamer_node import logs

log = logs.get("settings")

TAG = "gateway"
"""Of a gateway's tags: its digest. Members without it are no gateways."""

PAGE_BYTES = 128 * 2**10
"""Of words in one message, so far; one more may follow."""

MESSAGE_BYTES_MAX = PAGE_BYTES + signed.WORD_BYTES_MAX + 4_096

PAGES_MAX = 65_536
"""Of one gateway's settings in one reading: more than a table has."""

TIMEOUT_S = 5.0
"""For one question and its answer."""

LOOK_S = 0.5
"""Between two looks at the digests in the tags, which gossip carries in about a second."""

REFRESH_S = 0.5
"""Between two looks at the rows, where gateways share them; nothing new costs one small query."""

READ_FROM_MAX = 8
READ_S = 60.0
"""Gateways whose settings are read at the same time, and for how long."""

REST_S = 10.0
"""Until a gateway is read again that could not be read to the end and has said nothing new."""

ANSWERS_MAX = 16
"""Questions that are answered at the same time; further ones get nothing, and come again."""

INLINE_MAX = 4
"""Words that are checked in place, at 0.1 ms each; more go to a thread."""

LOGGED_MAX = 1_024
"""Things that are said once; what others can invent shall not fill a disk."""

_TELL, _PAGE = "tell", "page"


class Spreading:
    """One gateway's.

    Args:
        mesh: the running member.
        peers: node ids of the other gateways, as the configuration names them.
        announce: takes the digest that the tags shall have under `TAG`; called at once, and
            whenever it is another.
    """

    def __init__(
        self,
        mesh: Mesh,
        book: Book,
        peers: Collection[str],
        announce: Callable[[bytes], None],
    ) -> None:
        self._mesh = mesh
        self._book = book
        self._peers = frozenset(peers) - {mesh.node_id}
        self._trusted = self._peers | {mesh.node_id}
        self._announce = announce
        self._nursery: trio.Nursery | None = None
        self._untold: dict[str, dict[Key, Setting]] = {}
        self._differed: dict[str, tuple[int, bytes]] = {}
        self._read: dict[str, tuple[int, bytes]] = {}
        self._reading: set[str] = set()
        self._rests: dict[str, tuple[tuple[int, bytes], float]] = {}
        self._answering = 0
        self._logged: set[str] = set()
        self.counts: Counter[str] = Counter()
        mesh.handle(
            SETTINGS, Handler(self._answer, MESSAGE_BYTES_MAX, TIMEOUT_S, MESSAGE_BYTES_MAX)
        )
        book.listen(self._heard)
        self._announce(self._book.table.digest())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tells and learns until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._refresh)
                task_status.started()
                while True:
                    for member in self._to_read():
                        self._reading.add(member.id)
                        self._nursery.start_soon(self._read_from, member)
                    await trio.sleep(LOOK_S)
        finally:
            self._nursery = None

    async def _refresh(self) -> None:
        while True:
            try:
                await self._book.refresh()
            except GatewayError as error:  # a disk or a database that will be back
                self._say("rows", f"settings cannot be read from the rows now: {error}")
            await trio.sleep(REFRESH_S)

    # --- telling

    def _heard(self, settings: Sequence[Setting]) -> None:
        """Something counts since now: what was made here goes to all gateways."""
        self._announce(self._book.table.digest())
        own = [one for one in settings if one.version.gateway == self._mesh.node_id]
        if not own or self._nursery is None:
            return
        for member in self._gateways():
            # Bounded by the table: of each setting the newest waits, no other.
            is_told = member.id in self._untold
            self._untold.setdefault(member.id, {}).update((one.key, one) for one in own)
            if not is_told:
                self._nursery.start_soon(self._tell, member.id)

    async def _tell(self, member_id: str) -> None:
        """Tells a gateway what it is to hear. What fails is left to the digests."""
        untold = self._untold[member_id]
        try:
            while untold:
                batch: list[bytes] = []
                while untold and sum(map(len, batch)) < PAGE_BYTES:
                    batch.append(untold.pop(next(iter(untold))).word)
                self.counts["settings_told"] += len(batch)
                if await self._ask(member_id, [_TELL, batch]) is None:
                    return
        finally:
            del self._untold[member_id]

    # --- learning

    def _gateways(self) -> list[Member]:
        return [
            one
            for one in self._mesh.members()
            if one.id in self._peers and digest_of(one) is not None
        ]

    def _to_read(self) -> list[Member]:
        """Gateways whose digest is another since the last look, and that were not read with it."""
        own, now_s = self._book.table.digest(), trio.current_time()
        differ = {one.id: one for one in self._gateways() if digest_of(one) != own}
        seen = {id: (one.session, digest_of(one) or b"") for id, one in differ.items()}
        found = [
            one
            for id, one in differ.items()
            if self._differed.get(id) == seen[id] != self._read.get(id)
            and id not in self._reading
            and self._rests_until(id, seen[id]) <= now_s
        ]
        self._differed = seen
        return found[: max(0, READ_FROM_MAX - len(self._reading))]

    def _rests_until(self, member_id: str, seen: tuple[int, bytes]) -> float:
        """When a gateway may be read again with this digest; 0.0 for at once."""
        failed, until_s = self._rests.get(member_id, (seen, 0.0))
        return until_s if failed == seen else 0.0

    async def _read_from(self, member: Member) -> None:
        is_read = False
        try:
            with trio.move_on_after(READ_S):
                is_read = await self._read_pages(member)
        except GatewayError as error:
            self._say("rows", f"settings of another gateway cannot be kept now: {error}")
        finally:
            self._reading.remove(member.id)
        seen = (member.session, digest_of(member) or b"")
        if is_read:
            self._read[member.id] = seen
        else:
            self._rests[member.id] = seen, trio.current_time() + REST_S

    async def _read_pages(self, member: Member) -> bool:
        """Whether all that a gateway has was read. Raises: GatewayError of the disk."""
        after: Key | None = None
        for _ in range(PAGES_MAX):
            match await self._ask(member.id, [_PAGE, *(after or ("", ""))]):
                case [list(words), [str(kind), str(name), *_]] if (
                    after is None
                    or (
                        kind,
                        name,
                    )
                    > after
                ):
                    after = (kind, name)
                    await self._take(member.id, words)
                case [list(words), None, *_]:
                    await self._take(member.id, words)
                    return True
                case None:
                    return False
                case _:
                    self.counts["answers_unreadable"] += 1
                    return False
        return False

    async def _take(self, sender: str, words: Iterable[object]) -> None:
        """Learns what another gateway sent. Raises: GatewayError of the disk."""
        unread = [one for one in words if isinstance(one, bytes)]
        if len(unread) <= INLINE_MAX:
            settings = self._checked(sender, unread)
        else:
            settings = await trio.to_thread.run_sync(self._checked, sender, unread)
        if await self._book.learn(settings):
            self.counts["settings_learned"] += 1

    def _checked(self, sender: str, words: Sequence[bytes]) -> list[Setting]:
        """Those that are signed by a gateway that is trusted; perhaps on a thread."""
        settings = []
        for word in words:
            try:
                settings.append(signed.read(word, self._book.mesh_name, self._trusted))
            except WordRefused as error:
                self.counts["words_refused"] += 1
                self._say(f"word {sender} {error}", f"a setting from {sender} is refused: {error}")
        return settings

    async def _ask(self, member_id: str, question: Sequence[Any]) -> Any:
        """The answer as plain values; None for none that can be read."""
        try:
            answer = await self._mesh.ask(
                member_id,
                SETTINGS,
                pack(question),
                timeout_s=TIMEOUT_S,
                answer_bytes_max=MESSAGE_BYTES_MAX,
            )
            return unpack(answer)
        except PeerError:
            self.counts["questions_failed"] += 1
        except Exception:  # msgpack raises a dozen kinds for junk
            self.counts["answers_unreadable"] += 1
        return None

    def _say(self, topic: str, text: str) -> None:
        """A warning, once for a topic."""
        if topic not in self._logged and len(self._logged) < LOGGED_MAX:
            self._logged.add(topic)
            log.warning(text)

    # --- what others say and ask

    async def _answer(self, sender: str, data: bytes) -> bytes:
        if not self._is_gateway(sender):
            self.counts["strangers_refused"] += 1
            self._say(
                f"stranger {sender}",
                f"{sender} speaks of settings and is no gateway of this configuration; if it "
                "shall be one, name it in peers",
            )
            return pack(None)
        if self._answering >= ANSWERS_MAX:
            self.counts["questions_refused"] += 1
            return pack(None)
        self._answering += 1
        try:
            return pack(await self._answered(sender, data))
        except GatewayError as error:
            self._say("rows", f"settings of another gateway cannot be kept now: {error}")
            return pack(None)
        finally:
            self._answering -= 1

    async def _answered(self, sender: str, data: bytes) -> Any:
        try:
            question = unpack(data)
        except Exception:  # msgpack raises a dozen kinds for junk
            question = None
        match question:
            case ["tell", list(words), *_]:
                await self._take(sender, words)
                return [self._book.table.digest()]
            case ["page", str(kind), str(name), *_]:
                return self._page((kind, name))
        self.counts["questions_unreadable"] += 1
        return None

    def _page(self, after: Key) -> list[Any]:
        words: list[bytes] = []
        length, last = 0, after
        for setting in self._book.table.after(after):
            if length >= PAGE_BYTES:
                return [words, list(last)]
            words.append(setting.word)
            length += len(setting.word)
            last = setting.key
        return [words, None]

    def _is_gateway(self, sender: str) -> bool:
        """Whether it is one of the configuration's, and does not itself say otherwise."""
        if sender not in self._peers:
            return False
        said = [one for one in self._mesh.members() if one.id == sender]
        return not said or digest_of(said[0]) is not None


def digest_of(member: Member) -> bytes | None:
    """What a gateway says of its settings; None of a member that is no gateway."""
    found = member.tags.get(TAG)
    return found if isinstance(found, bytes) and len(found) == DIGEST_BYTES else None
