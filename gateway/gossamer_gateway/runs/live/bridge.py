"""Reads the log once for all pages, and lets each begin where it wants without a gap or a double.

One task reads behind the newest entry while anybody follows (`Bridge.run`), and puts each batch
into the queue of every page that follows; a frame is written once for all that want the same
(`frames`). A page that begins earlier reads its way up to there itself (`Following`), then joins:

1. It reads until the log seems to be at its end. From now on it is close.
2. It is put among those who follow, so that batches wait for it, and reads on until it has reached
   where the shared reader was at that moment: nothing lies between them.
3. What it has read beyond that is known by run and number, and left out of the batches that waited.

Whoever reads from the network more slowly than things happen has a queue with a bound. When it is
full, what waits is dropped, the page is told, and comes again from its cursor.

Each frame to each page costs some 0.1 ms of one core, so under load the shared task lets entries
gather for a time that grows with the pages (`PACE_MS`). One entry alone goes out at once.
"""

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import trio

from gossamer_gateway.errors import GatewayError, Overloaded, RequestError
from gossamer_gateway.runs.live import frames
from gossamer_gateway.runs.live.asked import NOW, START, Filter, Wanted, status_after
from gossamer_gateway.runs.live.frames import Batch, Seen
from gossamer_gateway.runs.log import Entry, Log
from gossamer_gateway.runs.model import events as e
from gossamer_node import logs

BATCH = 200
"""Entries of one read."""

PAGES_MAX = 512
"""Who may follow one gateway at a time."""

WAITING_MAX = 512
WAITING_BYTES_MAX = 4 * 2**20
"""Frames that wait for one page, and their bytes: some seconds of a busy log."""

WAIT_S = 30.0
"""For one read of the log where nothing happens."""

PAUSE_S = 1.0
"""After a read that failed."""

PACE_MS = 0.25
"""For each page, between two batches: some four tenths of a core at most go into frames."""

PACE_MS_MAX = 50.0

COMING_S = 0.5
"""Between two looks how far the shared reader is."""

KNOWN_MAX = 50_000
"""Runs whose workflow is remembered."""

OVERLAP_MAX = 5 * BATCH
"""Entries that a page reads on its own while it joins; with more it is not close yet."""

OVERLAP_RUNS_MAX = 10_000
"""Runs whose newest numbers a page remembers until it has joined: the shared task is behind by some
hundred entries at most."""

log = logs.get("live")

Lookup = Callable[[Sequence[str]], Awaitable[Mapping[str, tuple[str, str]]]]
"""Workflow and status of runs by their ids; those that are gone are left out."""

History = Callable[[str, int, int], Awaitable[Sequence[e.Event]]]
"""Events of a run with numbers above one, at most so many."""


class UnknownRun(RequestError):
    """There is no such run."""


class Behind(GatewayError):
    """A page read too slowly."""

    def __init__(self, cursor: str | None) -> None:
        super().__init__("this page read too slowly")
        self.cursor = cursor


class Ended(GatewayError):
    """The gateway stops."""


class Bridge:
    """One gateway's. `run` has to run."""

    def __init__(self, log: Log, lookup: Lookup, history: History) -> None:
        self.log = log
        self.history = history
        self.cursor = ""
        self.is_ended = False
        self._lookup = lookup
        self._known: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._pages: set[Queue] = set()
        self._wanted = trio.Event()
        self._ready = trio.Event()

    @property
    def pages(self) -> int:
        """How many follow now."""
        return len(self._pages)

    def is_full(self) -> bool:
        """Whether nobody else may follow now."""
        return len(self._pages) >= PAGES_MAX

    async def run(self) -> None:
        """Reads while anybody follows, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                if not self._ready.is_set():
                    self.cursor = await self.log.end()
                    self._ready.set()
                while self._pages:
                    await self._step()
                self._wanted, self._ready = trio.Event(), trio.Event()
            except RequestError as error:
                # What this read from is gone, as when the log was made anew: all begin anew.
                log.warning("the log of events has another place", reason=str(error))
                for one in self._pages:
                    one.cut()
                self._ready = trio.Event()
                await trio.sleep(PAUSE_S)
            except GatewayError as error:
                log.warning("the log of events cannot be read", reason=str(error))
                await trio.sleep(PAUSE_S)

    async def _step(self) -> None:
        entries, cursor = await self.log.read(self.cursor, BATCH, WAIT_S)
        batch = await self.batch(entries, cursor, is_newest=True)
        self.cursor = cursor
        for one in self._pages:
            one.put(batch)
        if entries:
            # Where there is more the pages are let at it, and then it goes on at once.
            pace_ms = min(PACE_MS_MAX, PACE_MS * len(self._pages)) if batch.is_end else 0.0
            await trio.sleep(pace_ms / 1_000)

    async def batch(
        self, entries: Sequence[Entry], cursor: str, *, is_newest: bool = False
    ) -> Batch:
        """What was read, with what filters look at.

        Args:
            is_newest: whether statuses after these events are to be remembered.
        """
        read = [(one, *told) for one in entries if (told := frames.brief(one.data)) is not None]
        now = {one.run: (workflow, "") for one, _, workflow in read if workflow}
        missing = {one.run for one, *_ in read} - now.keys()
        asked = sorted(run for run in missing if run not in self._known)
        found = await self._lookup(asked) if asked else {}
        for run, known in found.items():
            self._know(run, *known)
        for run in missing:
            now[run] = self._known.get(run, ("", ""))
        seen = []
        for one, kind, _ in read:
            workflow, before = now[one.run]
            status = status_after(kind) or before
            now[one.run] = (workflow, status)
            seen.append(Seen(one.run, one.seq, kind, workflow, status, one.data))
        if is_newest:
            for run, known in now.items():
                self._know(run, *known)
        return Batch(seen, cursor, is_end=len(entries) < BATCH)

    def _know(self, run: str, workflow: str, status: str) -> None:
        self._known[run] = (workflow, status)
        self._known.move_to_end(run)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def join(self, queue: "Queue") -> None:
        """From now on batches go into a queue: those behind `cursor`, as it is then."""
        self._pages.add(queue)
        self._wanted.set()
        await self._ready.wait()

    def leave(self, queue: "Queue") -> None:
        """The queue gets no more."""
        self._pages.discard(queue)

    @contextmanager
    def follow(self, wanted: Wanted) -> "Iterator[Following]":
        """A page's way through the log.

        Raises: Overloaded, too many follow already.
        """
        if self.is_full():
            raise Overloaded(f"{PAGES_MAX} follow the events of this gateway already; come later")
        following = Following(self, wanted)
        try:
            yield following
        finally:
            self.leave(following.queue)

    def end(self) -> None:
        """Nobody is told anything any more: the gateway stops."""
        self.is_ended = True
        for one in self._pages:
            one.wake()


class Queue:
    """What waits for one page that follows.

    Attributes:
        cursor: behind what the page was given, or needs not be given; None: it would miss some.
        overlap: the highest number of each run that the page has read by itself.
        is_live: the page takes from here, and no longer reads by itself.
    """

    def __init__(self, wanted: Filter) -> None:
        self.cursor: str | None = None
        self.overlap: dict[str, int] = {}
        self.is_live = False
        self._until: str | None = None
        self._filter = wanted
        self._waiting: deque[Batch] = deque()
        self._bytes = 0
        self._is_cut = False
        self._woken = trio.Event()

    def begin(self, place: str, overlap: dict[str, int], until: str | None) -> None:
        """The page takes from here now.

        Args:
            place: what is before it the page was given.
            overlap: what it has read by itself of what may come again.
            until: from where on nothing comes again; None: nobody knows.
        """
        self.cursor, self.overlap, self._until = place, overlap, until
        self.is_live = True

    def put(self, batch: Batch) -> None:
        """Never waits."""
        if self._is_cut:
            return
        frame = batch.frame(self._filter)
        if frame is None and self.is_live and not self._waiting and not self.overlap:
            self.cursor = batch.cursor
            return
        self._bytes += len(frame or "")
        self._waiting.append(batch)
        if len(self._waiting) > WAITING_MAX or self._bytes > WAITING_BYTES_MAX:
            self.cut()
        self._woken.set()

    async def came(self, at_most_s: float) -> None:
        """Waits for the next batch, or for so long."""
        self._woken = trio.Event()
        with trio.move_on_after(at_most_s):
            await self._woken.wait()

    def forget(self) -> None:
        """What waits is not wanted."""
        self._waiting.clear()
        self._bytes = 0

    def cut(self) -> None:
        """The page has to come again."""
        self._is_cut = True
        self._waiting.clear()
        self._woken.set()

    def wake(self) -> None:
        """Has the page look whether all has ended."""
        self._woken.set()

    async def next(self, bridge: Bridge) -> str:
        """Waits for a frame. Raises: Behind, Ended."""
        while True:
            while not self._waiting:
                if self._is_cut:
                    raise Behind(self.cursor)
                if bridge.is_ended:
                    raise Ended("the gateway stops")
                self._woken = trio.Event()
                await self._woken.wait()
            batch = self._waiting.popleft()
            self._bytes -= len(batch.frame(self._filter) or "")
            frame = self._new(batch, bridge)
            self.cursor = batch.cursor
            if frame is not None:
                return frame

    def _new(self, batch: Batch, bridge: Bridge) -> str | None:
        """The frame of a batch, without what the page has read by itself."""
        known = self.overlap
        if not known:
            return batch.frame(self._filter)
        if self._until is not None and bridge.log.reached(batch.cursor, self._until):
            self.overlap = {}
        passing = batch.passing(self._filter)
        rest = [one for one in passing if one.seq > known.get(one.run, 0)]
        if len(rest) == len(passing):
            return batch.frame(self._filter)
        return frames.events_frame(rest, batch.cursor)


class Following:
    """One page's way through the log. Made by `Bridge.follow`."""

    def __init__(self, bridge: Bridge, wanted: Wanted) -> None:
        self.queue = Queue(wanted.filter)
        self._bridge = bridge
        self._wanted = wanted
        self._place = ""
        self._goal = ""
        self._after = 0
        self._overlap: OrderedDict[str, int] = OrderedDict()
        self._read_on = 0
        self._step: Callable[[], Awaitable[str | None]] = self._begin

    @property
    def cursor(self) -> str | None:
        """From where the page would go on; None: from where it began."""
        return self.queue.cursor

    async def next(self) -> str:
        """The next frame. Being cancelled loses none.

        Raises: Behind, Ended; BadRequest for a cursor that is none; UnknownRun; StorageFailed.
        """
        while not self.queue.is_live:
            if self._bridge.is_ended:
                raise Ended("the gateway stops")
            frame = await self._step()
            if frame is not None:
                return frame
        return await self.queue.next(self._bridge)

    async def _begin(self) -> None:
        begin = self._wanted.begin
        if self._wanted.run is None and begin != NOW:
            self._place = await self._bridge.log.start() if begin == START else begin
            self._step = self._catch_up
            return
        await self._bridge.join(self.queue)
        self._place = self._bridge.cursor
        self._step = self._arrive if begin == NOW else self._history

    async def _history(self) -> str | None:
        """A run's history: what passes of it by its kind."""
        run = self._wanted.run
        assert run is not None, "that is what began this"
        found = await self._bridge.history(run, self._after, BATCH)
        if not found and not self._after:
            raise UnknownRun(f"there is no run {run}")
        entries = [Entry(one.run, one.seq, e.encode(one)) for one in found]
        batch = await self._bridge.batch(entries, "")
        if found:
            self._after = self._overlap[run] = found[-1].seq
        if len(found) < BATCH:
            self._step = self._arrive
        return frames.events_frame(batch.passing(Filter(kinds=self._wanted.filter.kinds)), None)

    async def _catch_up(self) -> str | None:
        batch = await self._read()
        if batch.is_end:
            await self._bridge.join(self.queue)
            await self._let_it_come()
            self.queue.forget()  # the page reads up to here by itself
            self._goal = self._bridge.cursor
            self._read_on = 0
            self._step = self._join
        return batch.frame(self._wanted.filter)

    async def _let_it_come(self) -> None:
        """Waits for the shared reader, where it is behind what this page was given before.

        What it brings until then the page has from an earlier connection, of which nobody knows.
        """
        log = self._bridge.log
        while not log.reached(self._bridge.cursor, self._place):
            between, _ = await log.read(self._bridge.cursor, 1, 0)
            if not between or self._bridge.is_ended:
                return
            await self.queue.came(COMING_S)

    async def _join(self) -> str | None:
        if self._bridge.log.reached(self._place, self._goal):
            self._step = self._arrive
            return None
        batch = await self._read()
        self._read_on += len(batch.events)
        if self._read_on > OVERLAP_MAX:
            self._bridge.leave(self.queue)
            self.queue = Queue(self._wanted.filter)
            self.queue.cursor = batch.cursor
            self._step = self._catch_up
        return batch.frame(self._wanted.filter)

    async def _read(self) -> Batch:
        entries, cursor = await self._bridge.log.read(self._place, BATCH, 0)
        batch = await self._bridge.batch(entries, cursor)
        self._place = self.queue.cursor = cursor
        for one in batch.events:
            self._overlap[one.run] = one.seq
            self._overlap.move_to_end(one.run)
        while len(self._overlap) > OVERLAP_RUNS_MAX:
            self._overlap.popitem(last=False)
        return batch

    async def _arrive(self) -> str:
        # A history is of rows, which are there before the log has them.
        until = None if self._wanted.run is not None else self._place
        self.queue.begin(self._place, dict(self._overlap), until)
        return frames.live(self._place)
