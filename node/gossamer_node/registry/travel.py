"""How services come from other nodes: a digest in the tags, orders by pages, modules by hash.

Each member's tags have eight bytes that stand for the operators' orders it knows
(`Registry.digest`). Who sees another digest than its own asks that member for its newest orders,
and goes back until both digests are one, or until it has read all that is new there. An order is
kept if its signature holds and is of an operator that this node's own configuration names; what
nobody signed is not asked for, not offered, and would be refused.

What an order names is then fetched, from any member: service.yaml first, which must have the signed
hash; if this node would serve it (what it requests is granted here, and its topic is free), its
proto-files, packed into one, and the module, both in chunks. A break leaves what has come in a
file, and the next member goes on from there.
Nothing compiles a module before its bytes have the signed hash. A member whose bytes have not is
named in the log and not asked for that module again. Compiled code never travels.

Junk from a member is counted and dropped; nothing here raises but for cancellation.
"""

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import trio

from gossamer_mesh.drivers import Member, Mesh
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import SERVICES
from gossamer_mesh.errors import OrderError, PeerError
from gossamer_mesh.packing import pack, unpack
from gossamer_node import logs
from gossamer_node.errors import InputError, NodeError
from gossamer_node.registry.package import Word, read_word
from gossamer_node.registry.rows import Row
from gossamer_node.registry.stock import Stock
from gossamer_node.schema.source import FILE_BYTES_MAX
from gossamer_node.service.spec import ServiceSpec
from gossamer_node.work.electing import services_of

log = logs.get("services")

CHUNK_BYTES = 256 * 2**10
"""Of a module in one answer: 128 of them for the largest one."""

ANSWER_BYTES_MAX = max(CHUNK_BYTES, FILE_BYTES_MAX) + 4_096

REQUEST_BYTES_MAX = 1_024

TIMEOUT_S = 10.0
"""For one question and its answer, over a slow link."""

LOOK_S = 1.0
"""Between two looks at what the members say; gossip takes as long."""

PAGES_MAX = 65_536
"""Of one member's orders in one look: more than a registry has."""

LEARNED_FROM_MAX = 8
LEARN_S = 120.0
"""Members whose orders are read at the same time, and for how long; a hundred thousand take some
20 s."""

FETCHES_MAX = 4
FETCH_S = 300.0
"""Services that are fetched at the same time, and how long one may take; what has come by then is
kept, and the next try may ask another member."""

ANSWERS_MAX = 16
"""Questions that are answered at the same time. Further ones get nothing, and are asked again, or
of another member: to let them wait would fill the links that membership needs, too."""

PAUSE_S_FIRST, PAUSE_S_LAST = 1.0, 60.0
"""Until a service that could not be had is asked for again, doubled each time."""

DISK_PAUSE_S = 5.0
"""Until orders are read again that the disk did not take."""

LIARS_MAX = 4_096
"""Members, by module, whose bytes were not the signed ones; beyond, they are asked again."""

LOGGED_MAX = 4_096
"""Things that are said once; what others can invent shall not fill a disk."""

_NOTHING = (0, b"", 0)
"""What was read of a member before the first time."""

_WORDS, _DESCRIPTION, _MODULE, _FILES = "words", "description", "module", "files"


class Travel:
    """One node's.

    Args:
        mesh: the running member.
        stock: what it knows and serves.
    """

    def __init__(self, mesh: Mesh, stock: Stock) -> None:
        self._mesh = mesh
        self._stock = stock
        self._registry = stock.registry
        self._read: dict[str, tuple[int, bytes, int]] = {}
        self._pauses: dict[tuple[str, str, int], tuple[float, float]] = {}
        self._liars: set[tuple[str, str]] = set()
        self._learning: set[str] = set()
        self._rested_s: dict[str, float] = {}
        self._fetching: set[str] = set()
        self._ended = trio.Event()
        self._logged: set[str] = set()
        self._answering = 0
        self.counts: Counter[str] = Counter()
        mesh.handle(SERVICES, Handler(self._answer, REQUEST_BYTES_MAX, TIMEOUT_S, ANSWER_BYTES_MAX))

    async def run(self) -> None:
        """Learns and fetches until cancelled. A node that trusts no operator takes nothing."""
        self._forget_parts()
        if not self._stock.terms.operators:
            return
        async with trio.open_nursery() as nursery:
            while True:
                ended = self._ended
                for member in self._to_learn_from():
                    self._learning.add(member.id)
                    nursery.start_soon(self._learn_from, member)
                for row in self._to_fetch():
                    self._fetching.add(row.module)
                    nursery.start_soon(self._fetch_once, row)
                with trio.move_on_after(LOOK_S):
                    await ended.wait()

    def _end(self) -> None:
        """Something was learned or fetched: look for more at once."""
        self._ended.set()
        self._ended = trio.Event()

    # --- orders

    def _to_learn_from(self) -> list[Member]:
        """Members that say that they know something else, and were not read to the end."""
        members = self._mesh.members()
        present = {one.id for one in members}
        self._read = {id: read for id, read in self._read.items() if id in present}
        self._rested_s = {id: due for id, due in self._rested_s.items() if id in present}
        own, now_s = self._registry.digest(), trio.current_time()
        found = [
            one
            for one in members
            if services_of(one) not in (b"", own)
            and one.id != self._mesh.node_id
            and one.id not in self._learning
            and self._rested_s.get(one.id, 0.0) <= now_s
            and self._read.get(one.id, _NOTHING)[:2] != (one.session, services_of(one))
        ]
        return _shuffled(found)[: max(0, LEARNED_FROM_MAX - len(self._learning))]

    async def _learn_from(self, member: Member) -> None:
        # A member that stalls, or whose list never ends, hinders the others for no longer, and
        # not again at once.
        paused_s = PAUSE_S_LAST
        with trio.move_on_after(LEARN_S):
            try:
                await self._read_pages(member)
            except NodeError as error:  # a full disk; there may be room later
                self._say("disk", str(error))
                paused_s = DISK_PAUSE_S
            else:
                paused_s = 0.0
        self._rested_s[member.id] = trio.current_time() + paused_s
        self._learning.remove(member.id)
        await trio.sleep(LOOK_S)  # for its tags to come after its list
        self._end()

    async def _read_pages(self, member: Member) -> None:
        before = self._read.get(member.id, _NOTHING)
        known = before[2] if before[0] == member.session else 0
        place, first_digest, top = 0, b"", 0
        for _ in range(PAGES_MAX):
            page = _page(await self._ask(member.id, [_WORDS, place]))
            if page is None:
                return
            digest, newest, next_place, orders = page
            first_digest, top = first_digest or digest, top or newest
            words = await trio.to_thread.run_sync(self._words, member, orders)
            await self._stock.learn(words)
            is_over = next_place == 0 or (place and next_place >= place)
            if is_over or next_place <= known <= top or digest == self._registry.digest():
                break
            place = next_place
        self._read[member.id] = (member.session, first_digest, top)

    def _words(self, member: Member, orders: Sequence[bytes]) -> list[Word]:
        """On a thread: a hundred signatures take some milliseconds."""
        terms = self._stock.terms
        words = []
        for order in orders:
            try:
                words.append(read_word(order, terms.mesh_name, terms.operators))
            except OrderError as error:
                self.counts["orders_refused"] += 1
                self._say(f"order {member.id}", f"an order of {member.name} is refused: {error}")
        return words

    # --- what orders name

    def _to_fetch(self) -> list[Row]:
        """What may be fetched now; of two versions with one module, one after the other."""
        now_s = trio.current_time()
        try:
            rows = self._registry.wanted()
        except NodeError as error:
            self._say("disk", str(error))
            return []
        wanted = {_key(row) for row in rows}
        self._pauses = {key: pause for key, pause in self._pauses.items() if key in wanted}
        chosen: dict[str, Row] = {}
        for row in rows:
            if len(self._fetching) + len(chosen) >= FETCHES_MAX:
                break
            is_due = self._pauses.get(_key(row), (0.0, 0.0))[0] <= now_s
            if is_due and row.module not in self._fetching:
                chosen.setdefault(row.module, row)
        return list(chosen.values())

    async def _fetch_once(self, row: Row) -> None:
        is_done = False
        with trio.move_on_after(FETCH_S):
            try:
                is_done = await self._fetch(row)
            except NodeError as error:
                self._say(f"fetch {row.label}", str(error))
            except OSError as error:
                part = self._registry.contents.coming
                self._say(f"fetch {row.label}", str(_disk(part / row.module, error)))
        if not is_done:
            _, before_s = self._pauses.get(_key(row), (0.0, PAUSE_S_FIRST / 2))
            pause_s = min(2 * before_s, PAUSE_S_LAST)
            self._pauses[_key(row)] = (trio.current_time() + pause_s, pause_s)
        self._fetching.remove(row.module)
        self._end()

    async def _fetch(self, row: Row) -> bool:
        """Whether nothing is left to do for a version. Raises: NodeError for a bad disk."""
        terms = self._stock.terms
        assert row.word is not None, "a decision of this node's own has all that it names"
        try:
            word = read_word(row.word, terms.mesh_name, terms.operators)
        except OrderError as error:
            why = f"{row.label} is not fetched: {error}."
            await trio.to_thread.run_sync(self._registry.refuse, row, why)
            return True
        description = row.description or await self._description(row, word)
        if description is None:
            return False
        try:
            spec = self._stock.judge(row, description)
        except InputError as error:
            log.warning(str(error), service=row.name, version=row.version)
            await self._fill(row, None, description, str(error))
            return True
        if not row.description:
            await self._fill(row, spec, description, "")
        contents = self._registry.contents
        for what, wanted, size, target in (
            (_FILES, word.files, word.files_size, contents.files(word.files.hex())),
            (_MODULE, word.module, word.size, contents.module(word.module.hex())),
        ):
            if not wanted or await trio.to_thread.run_sync(_hash_of, target) == wanted:
                continue
            if not await self._content(row, what, wanted, size, target):
                return False
        await self._stock.arrived(row, description)
        return True

    async def _fill(
        self, row: Row, spec: ServiceSpec | None, description: bytes, refused: str
    ) -> None:
        fill = partial(self._registry.fill, here=False, refused=refused)
        await trio.to_thread.run_sync(fill, row, spec, description)

    async def _description(self, row: Row, word: Word) -> bytes | None:
        for member in self._others():
            found = await self._ask(member.id, [_DESCRIPTION, row.name, row.version, row.number])
            if isinstance(found, bytes):
                if sha256(found).digest() == word.description:
                    return found
                self._refuse_bytes(member, f"the service.yaml of {row.label}")
        return None

    async def _content(self, row: Row, what: str, wanted: bytes, size: int, target: Path) -> bool:
        """Whether a module, or packed files, have come whole and are where they belong."""
        part = self._registry.contents.coming / f"{target.name}.part"
        for member in self._others():
            if (member.id, target.name) in self._liars:
                continue
            while True:
                began = part.stat().st_size if part.exists() else 0
                if not await self._chunks(member, [what, wanted], size, part):
                    break  # the next member goes on where this one ended
                if await trio.to_thread.run_sync(_hash_of, part) == wanted:
                    await trio.to_thread.run_sync(_keep, part, target)
                    self.counts[f"{what}_fetched"] += 1
                    log.info(
                        "fetched",
                        service=row.name,
                        version=row.version,
                        what=what,
                        member=member.name,
                        size_bytes=size,
                        resumed_at=began,
                    )
                    return True
                part.unlink()
                if began == 0:  # all of it was this member's
                    if len(self._liars) < LIARS_MAX:
                        self._liars.add((member.id, target.name))
                    self._refuse_bytes(member, f"the {what} of {row.label}")
                    break
        return False

    async def _chunks(self, member: Member, question: list[Any], size: int, part: Path) -> bool:
        """Appends what a member has; whether that is all now."""
        while True:
            offset = part.stat().st_size if part.exists() else 0
            if offset >= size:
                return True
            chunk = await self._ask(member.id, [*question, offset])
            # Always as much as there is: who sends a byte at a time would take for ever.
            expected = min(CHUNK_BYTES, size - offset)
            if not isinstance(chunk, bytes) or len(chunk) != expected:
                if chunk is not None:
                    self.counts["chunks_refused"] += 1
                return False
            self.counts["bytes_fetched"] += len(chunk)
            await trio.to_thread.run_sync(_append, part, chunk)

    def _refuse_bytes(self, member: Member, what: str) -> None:
        self.counts["content_refused"] += 1
        text = f"{member.name} sent other bytes for {what} than the operator signed: refused"
        self._say(f"bytes {member.id} {what}", text)

    def _others(self) -> list[Member]:
        """Whom to ask: members that know services, in an order of chance."""
        return _shuffled(
            [
                one
                for one in self._mesh.members()
                if one.id != self._mesh.node_id and services_of(one)
            ]
        )

    async def _ask(self, member_id: str, question: list[Any]) -> Any:
        """The answer as plain values; None for none that can be read."""
        try:
            answer = await self._mesh.ask(
                member_id,
                SERVICES,
                pack(question),
                timeout_s=TIMEOUT_S,
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
            return unpack(answer)
        except PeerError:
            self.counts["questions_failed"] += 1
        except Exception:  # msgpack raises a dozen kinds for junk
            self.counts["answers_unreadable"] += 1
        return None

    def _forget_parts(self) -> None:
        """Beginnings of modules that are not wanted any more, and what a crash left."""
        try:
            contents, wanted = self._registry.contents, self._registry.wanted()
            names = {f"{contents.module(one.module).name}.part" for one in wanted}
            names |= {f"{contents.files(one.files).name}.part" for one in wanted}
            for part in contents.coming.iterdir():
                if part.name not in names:
                    part.unlink(missing_ok=True)
        except (NodeError, OSError) as error:
            self._say("disk", f"what was left of modules on their way stays: {error}")

    def _say(self, topic: str, text: str) -> None:
        """A warning, once for a topic."""
        if topic not in self._logged and len(self._logged) < LOGGED_MAX:
            self._logged.add(topic)
            log.warning(text)

    # --- what others ask

    async def _answer(self, sender: str, data: bytes) -> bytes:
        try:
            question = unpack(data)
        except Exception:  # msgpack raises a dozen kinds for junk
            question = None
        if self._answering >= ANSWERS_MAX:
            self.counts["questions_refused"] += 1
            return pack(None)
        self._answering += 1
        try:
            return pack(await trio.to_thread.run_sync(self._found, question))
        except NodeError as error:
            self._say("disk", str(error))
            return pack(None)
        finally:
            self._answering -= 1

    def _found(self, question: object) -> Any:
        """On a thread. None for a question that makes no sense, or has no answer here."""
        match question:
            case ["words", int(before), *_] if 0 <= before < 2**63:
                top, digest = self._registry.last_place(), self._registry.digest()
                place, orders = self._registry.words(before)
                return [digest, top, place, orders]
            case ["description", str(name), str(version), int(number), *_]:
                row = self._registry.get(name, version)
                if row is not None and row.word is not None and row.number == number:
                    return row.description or None
            case ["module" | "files" as what, bytes(wanted), int(offset), *_] if (
                0 <= offset < 2**31
            ):
                content, contents = wanted.hex(), self._registry.contents
                if self._registry.travels(content):
                    path = contents.module if what == _MODULE else contents.files
                    return _chunk(path(content), offset)
        return None


def _page(answer: Any) -> tuple[bytes, int, int, list[bytes]] | None:
    match answer:
        case [bytes(digest), int(top), int(place), list(orders), *_] if place >= 0 and top >= 0:
            return digest, top, place, [one for one in orders if isinstance(one, bytes)]
    return None


def _key(row: Row) -> tuple[str, str, int]:
    return row.name, row.version, row.number


def _shuffled(members: Sequence[Member]) -> list[Member]:
    """So that many nodes that look for one thing do not all ask the same member."""
    return secrets.SystemRandom().sample(list(members), len(members))


def _hash_of(path: Path) -> bytes:
    """Empty for a file that is not there."""
    try:
        with path.open("rb") as file:
            digest = sha256()
            while data := file.read(CHUNK_BYTES):
                digest.update(data)
            return digest.digest()
    except OSError:
        return b""


def _append(part: Path, chunk: bytes) -> None:
    try:
        with part.open("ab") as file:
            file.write(chunk)
    except OSError as error:
        raise _disk(part, error) from error


def _keep(part: Path, target: Path) -> None:
    """Gives a whole file its name, when it is on the disk."""
    try:
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise _disk(part, error) from error


def _disk(part: Path, error: OSError) -> NodeError:
    return NodeError(
        f"a module that another node sent cannot be kept in {part.parent} ({error.strerror}); see "
        "to the disk."
    )


def _chunk(path: Path, offset: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES) or None
    except OSError:
        return None
