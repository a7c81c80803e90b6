"""The topic `workflow-events` as the log that pages follow: the port of `runs.log`, over Kafka.

A cursor is an offset for each partition. While anybody follows, one consumer, of no group, reads
the end of the topic and keeps the newest entries in memory, so all who follow what happens now, and
those who come back after a short while, cost the broker nothing more; and where nobody follows,
nothing is read. Whoever begins further back has a consumer that reads on from there; a few are
kept, each for whoever goes on where it stands. Entries of one run are in order; those of different
runs come as their partitions do, so two readers may see them mixed otherwise, and `reached`
compares cursors partition by partition.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial

import msgspec
import trio
from confluent_kafka import Consumer, KafkaException, TopicPartition

from gossamer_gateway.errors import StorageFailed
from gossamer_gateway.runs.kafka.bus import Received, Receiver, open_receiver
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.topics import EVENTS
from gossamer_gateway.runs.log import Entry, UnknownCursor
from gossamer_gateway.runs.model import events as e
from gossamer_node import logs

log = logs.get("kafka")

KEPT_MAX = 20_000
KEPT_BYTES_MAX = 32 << 20
"""Entries in memory, and their bytes: minutes of a busy topic."""

SESSIONS_MAX = 4
"""Consumers that read further back, at a time."""

IDLE_S = 10.0
"""After it, one that nobody goes on with is closed."""

FOLLOWED_S = 30.0
"""After it, the end of a topic that nobody asks for is followed no more."""

AWAY_S = 10.0
"""A read that the broker has left waiting for so long fails."""

_ASK_S = 2.0
_AGAIN_S = 1.0

Place = tuple[int, ...]
"""The next offset of each partition."""


@dataclass(eq=False)
class _Session:
    """A consumer that stands at `place`."""

    place: Place
    receiver: Receiver
    closed: trio.Event = field(default_factory=trio.Event)
    waiting: deque[Received] = field(default_factory=deque)
    used_s: float = 0.0


class KafkaLog:
    """A log of all events. Made by `open_kafka_log`."""

    def __init__(self, cluster: Cluster, topic: str, nursery: trio.Nursery) -> None:
        self._cluster = cluster
        self._topic = topic
        self._nursery = nursery
        self._asking = 0
        self._asked_s = 0.0
        self._wanted = trio.Event()
        self._ready = trio.Event()
        self._came = trio.Event()
        self._floor: Place = ()  # all from there on to `_end` is in memory
        self._end: Place = ()
        self._kept: list[tuple[int, int, Entry | None]] = []
        self._kept_bytes = 0
        self._sessions: OrderedDict[Place, _Session] = OrderedDict()
        self._free = trio.Semaphore(SESSIONS_MAX)

    async def start(self) -> str:
        """A cursor before all that is in it."""
        async with self._followed():
            return _write((0,) * len(self._end))

    async def end(self) -> str:
        """A cursor behind all that is in it now."""
        async with self._followed():
            # The broker is asked: what it has acknowledged may be on its way here.
            with trio.move_on_after(AWAY_S):
                while (ends := await self._ask(_ends)) is None:  # noqa: ASYNC110 - it tells nobody
                    await trio.sleep(_AGAIN_S)  # a leader is elected, say
                await self._wait_end(ends)
                return _write(self._end)
            raise self._away()

    def reached(self, cursor: str, goal: str) -> bool:
        """Whether all before `goal` is before `cursor`, too."""
        here, there = _read(cursor), _read(goal)
        return len(here) == len(there) and all(a >= b for a, b in zip(here, there, strict=True))

    async def read(
        self, cursor: str, limit: int, wait_s: float = 0.0
    ) -> tuple[Sequence[Entry], str]:
        """Entries behind a cursor, in order of each run, and the cursor behind them.

        Args:
            limit: entries at most. Fewer: all that there were when the read began.
            wait_s: how long to wait for the first.

        Raises: UnknownCursor; StorageFailed when the broker is away.
        """
        async with self._followed():
            return await self._read(_read(cursor), limit, trio.current_time() + wait_s)

    async def _read(self, place: Place, limit: int, deadline: float) -> tuple[list[Entry], str]:
        if len(place) != len(self._end):
            raise UnknownCursor("this log has another number of partitions; begin at its start")
        if any(here > end for here, end in zip(place, self._end, strict=True)):
            await self._wait_for(place)
        while True:
            came = self._came
            if all(here >= floor for here, floor in zip(place, self._floor, strict=True)):
                entries, place = self._of_memory(place, limit)
            else:
                entries, place = await self._of_broker(place, limit)
            if entries or trio.current_time() >= deadline:
                return entries, _write(place)
            with trio.move_on_at(deadline):
                await came.wait()

    async def run(self) -> None:
        """Follows the end of the topic while anybody asks, until cancelled."""
        self._nursery.start_soon(self._close_idle)
        while True:
            await self._wanted.wait()
            while (ends := await self._ask(_ends)) is None:  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(_AGAIN_S)
            self._floor = self._end = ends
            self._kept.clear()
            self._kept_bytes = 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow)
                self._ready.set()
                while self._is_wanted():  # noqa: ASYNC110 - nobody waits for its end
                    await trio.sleep(FOLLOWED_S / 2)
                self._wanted, self._ready = trio.Event(), trio.Event()
                nursery.cancel_scope.cancel()

    def _is_wanted(self) -> bool:
        return self._asking > 0 or trio.current_time() < self._asked_s + FOLLOWED_S

    async def _follow(self) -> None:
        begin = partial(self._assign, place=lambda: self._end)
        async with open_receiver(self._cluster, "workflow-log", begin) as receiver:
            while True:
                for one in await receiver.next_batch():
                    self._keep(one)
                self._came.set()
                self._came = trio.Event()

    @asynccontextmanager
    async def _followed(self) -> AsyncIterator[None]:
        """Has the end followed while something is asked. Raises: StorageFailed."""
        self._asking += 1
        self._wanted.set()
        try:
            with trio.move_on_after(AWAY_S) as waiting:
                await self._ready.wait()
            if waiting.cancelled_caught:
                raise self._away()
            yield
        finally:
            self._asking -= 1
            self._asked_s = trio.current_time()

    def _away(self) -> StorageFailed:
        return StorageFailed(f"Kafka at {self._cluster.address} is away; try again in a moment")

    def _keep(self, one: Received) -> None:
        if one.offset < self._end[one.partition]:
            return
        entry = _entry(one)
        self._kept.append((one.partition, one.offset, entry))
        self._kept_bytes += 0 if entry is None else len(entry.data)
        self._end = _moved(self._end, one)
        if len(self._kept) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            half = len(self._kept) // 2
            floor = list(self._floor)
            for partition, offset, entry in self._kept[:half]:
                floor[partition] = offset + 1
                self._kept_bytes -= 0 if entry is None else len(entry.data)
            self._floor = tuple(floor)
            del self._kept[:half]

    def _of_memory(self, place: Place, limit: int) -> tuple[list[Entry], Place]:
        # Back from the end until everything behind the cursor was seen: who follows is near.
        left = sum(self._end) - sum(place)
        index = len(self._kept)
        while left > 0 and index > 0:
            index -= 1
            partition, offset, _ = self._kept[index]
            left -= offset >= place[partition]
        next_of = list(place)
        entries: list[Entry] = []
        while index < len(self._kept) and len(entries) < limit:
            partition, offset, entry = self._kept[index]
            index += 1
            if offset >= place[partition]:
                next_of[partition] = offset + 1
                if entry is not None:
                    entries.append(entry)
        return entries, self._end if index == len(self._kept) else tuple(next_of)

    async def _of_broker(self, place: Place, limit: int) -> tuple[list[Entry], Place]:
        goal = self._end
        async with self._free:
            session = self._sessions.pop(place, None) or await self._open(place)
            entries: list[Entry] = []
            with _closed_on_error(session):
                while len(entries) < limit and not _is_behind(session.place, goal):
                    if not session.waiting:
                        with trio.move_on_after(AWAY_S) as away:
                            session.waiting.extend(await session.receiver.next_batch())
                        if away.cancelled_caught:
                            raise StorageFailed("Kafka gives no events; try again in a moment")
                    one = session.waiting.popleft()
                    if one.offset < session.place[one.partition]:
                        continue  # its consumer was made anew, where it had begun
                    session.place = _moved(session.place, one)
                    if (entry := _entry(one)) is not None:
                        entries.append(entry)
            self._put(session)
        return entries, session.place

    async def _open(self, place: Place) -> _Session:
        lows = await self._ask(_lows)
        if lows is None:
            raise StorageFailed("Kafka is away; try again in a moment")
        # What was removed meanwhile can't be read: it begins at the oldest that is there.
        begins = tuple(max(here, low) for here, low in zip(place, lows, strict=True))
        session: _Session = await self._nursery.start(self._run_session, begins)
        return session

    async def _run_session(
        self, place: Place, task_status: trio.TaskStatus[_Session] = trio.TASK_STATUS_IGNORED
    ) -> None:
        begin = partial(self._assign, place=lambda: place)
        async with open_receiver(self._cluster, "workflow-log", begin) as receiver:
            session = _Session(place, receiver)
            task_status.started(session)
            await session.closed.wait()

    def _put(self, session: _Session) -> None:
        session.used_s = trio.current_time()
        if (other := self._sessions.pop(session.place, None)) is not None:
            other.closed.set()
        self._sessions[session.place] = session
        if len(self._sessions) > SESSIONS_MAX:
            _, oldest = self._sessions.popitem(last=False)
            oldest.closed.set()

    async def _close_idle(self) -> None:
        while True:
            await trio.sleep(IDLE_S / 2)
            for place, one in list(self._sessions.items()):
                if one.used_s + IDLE_S < trio.current_time():
                    del self._sessions[place]
                    one.closed.set()

    async def _wait_for(self, place: Place) -> None:
        """Waits for the end to come to a place that another gateway saw before this one."""
        ends = await self._ask(_ends)
        if ends is not None and not _is_behind(ends, place):
            raise UnknownCursor("this log never came so far; begin at its start")
        await self._wait_end(place)

    async def _wait_end(self, place: Place) -> None:
        with trio.move_on_after(AWAY_S):
            while not _is_behind(self._end, place):
                await self._came.wait()
            return
        raise StorageFailed("Kafka gives no events; try again in a moment")

    def _assign(self, consumer: Consumer, place: Callable[[], Place]) -> None:
        consumer.assign([TopicPartition(self._topic, *each) for each in enumerate(place())])

    async def _ask(self, what: Callable[[Consumer, str], Place]) -> Place | None:
        return await trio.to_thread.run_sync(
            ask, self._cluster, self._topic, what, abandon_on_cancel=True
        )


@asynccontextmanager
async def open_kafka_log(cluster: Cluster, topic: str = EVENTS) -> AsyncIterator[KafkaLog]:
    """The log, until the block is left. Reads wait while the broker is not there yet."""
    async with trio.open_nursery() as nursery:
        opened = KafkaLog(cluster, topic, nursery)
        nursery.start_soon(opened.run)
        yield opened
        nursery.cancel_scope.cancel()


def ask(cluster: Cluster, topic: str, what: Callable[[Consumer, str], Place]) -> Place | None:
    """Asks a broker for offsets of all partitions; None: it is away, or has no such topic."""
    consumer = Consumer({**cluster.settings, "group.id": "workflow-log"})
    try:
        return what(consumer, topic) or None
    except KafkaException as error:
        log.debug("a broker told no offsets", reason=str(error))
        return None
    finally:
        consumer.close()


def _ends(consumer: Consumer, topic: str) -> Place:
    return tuple(high for _, high in _watermarks(consumer, topic))


def _lows(consumer: Consumer, topic: str) -> Place:
    return tuple(low for low, _ in _watermarks(consumer, topic))


def _watermarks(consumer: Consumer, topic: str) -> Iterator[tuple[int, int]]:
    for partition in sorted(consumer.list_topics(topic, timeout=_ASK_S).topics[topic].partitions):
        found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_ASK_S)
        if found is None:
            raise KafkaException("no answer")
        yield found


@contextmanager
def _closed_on_error(session: _Session) -> Iterator[None]:
    try:
        yield
    except BaseException:
        session.closed.set()
        raise


def _is_behind(place: Place, goal: Place) -> bool:
    return all(here >= there for here, there in zip(place, goal, strict=True))


def _moved(place: Place, one: Received) -> Place:
    return (*place[: one.partition], one.offset + 1, *place[one.partition + 1 :])


def _entry(one: Received) -> Entry | None:
    """None for what is no event."""
    if one.value is None:
        return None
    try:
        seq = int(dict(one.headers)["seq"] or b"")
        return Entry((one.key or b"").decode(), seq, one.value)
    except (KeyError, ValueError):
        pass
    try:
        event = e.decode(one.value)
    except msgspec.DecodeError:
        return None
    return Entry(event.run, event.seq, one.value)


def _write(place: Place) -> str:
    return "k" + ".".join(f"{one:x}" for one in place)


def _read(cursor: str) -> Place:
    parts = cursor[1:].split(".")
    if cursor[:1] != "k" or not all(0 < len(one) < 16 and _is_hex(one) for one in parts):
        raise UnknownCursor(f"{cursor[:100]!r} is no cursor of this log; begin at its start")
    return tuple(int(one, 16) for one in parts)


def _is_hex(text: str) -> bool:
    return all(one in "0123456789abcdef" for one in text)
