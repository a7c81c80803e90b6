"""The threads that WASM runs on.

Work waits in one queue; a thread takes one piece at a time and goes on until the queue is empty,
so a burst of short jobs pays for one wake-up and not for one each. As many threads have a *place*
to run as there are cores to gain. Work that waits in a host operation, or that has run for
`LONG_S` while others wait, gives its place to another thread, within `THREADS_MAX`: long jobs then
share the cores by the system's scheduler, and short ones never stand behind them. Threads start
when first needed.

Work that waits for other work of this pool (`calling`: a service that calls another) does not count
towards `THREADS_MAX` either, or 32 callers would wait for threads that only they could give back.
At most `CALLERS_MAX` wait so; who lets them call sees to that.
"""

import resource
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

THREADS_MAX = 32
"""With a place and without: how many jobs may run or wait for I/O at once."""

CALLERS_MAX = 64
"""Jobs that wait for calls of services at once: twice a node's default slots. Each has a thread and
an instance meanwhile, and address space for these (`engine.INSTANCES_MAX`)."""

THREAD_STACK_BYTES = 8 * 2**20
"""A guest's stack (`engine.STACK_BYTES_MAX`) is part of its thread's."""

_UNLIMITED_STACK_BYTES = 2 * 2**20
"""A thread's stack where `ulimit -s` is unlimited (pthread_create(3), x86-64)."""

LONG_S = 0.02
"""Short jobs take under a millisecond; a thread more for each of them would only cost switches."""

PAUSE_S_MIN = 0.001
"""Between two looks for work that has become long, while other work waits."""


_starting = threading.Lock()
"""The size of the next thread's stack is one for the process."""

T = TypeVar("T")


def _start(thread: threading.Thread) -> None:
    with _starting:
        before = threading.stack_size(THREAD_STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(before)


def has_stack_for(guest_bytes: int) -> bool:
    """Whether any thread of this process can carry a guest with such a stack.

    A guest that comes to the end of its thread's stack before its own ends the process.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
    threads_have = _UNLIMITED_STACK_BYTES if limit == resource.RLIM_INFINITY else limit
    return 2 * guest_bytes <= threads_have


def with_stack(work: Callable[[], T]) -> T:
    """Run it on a thread of its own that can carry any guest, and wait for it."""
    ended: Future[T] = Future()

    def run() -> None:
        try:
            ended.set_result(work())
        except BaseException as error:
            ended.set_exception(error)

    thread = threading.Thread(target=run, name="gossamer-wasm-stack", daemon=True)
    _start(thread)
    thread.join()
    return ended.result()


class _Worker(threading.local):
    """What a thread of the pool holds. `has_place` changes under the pool's lock."""

    def __init__(self) -> None:
        self.state = _State()


class _State:
    __slots__ = ("began_s", "has_place")

    def __init__(self) -> None:
        self.has_place = False
        self.began_s: float | None = None


class WorkerThreads:
    """Runs callables that never raise."""

    def __init__(self, places: int) -> None:
        """Args: places: how many threads run at once, the long and the waiting not counted."""
        self._places = places
        self._taken = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._threads: list[threading.Thread] = []
        self._states: list[_State] = []
        self._own = _Worker()
        self._parked = 0
        self._permits = 0
        self._calling = 0
        self._crowded = threading.Event()
        self._relief: threading.Thread | None = None
        self._closed = False

    def submit(self, work: Callable[[], None]) -> None:
        """Queue work; the caller bounds how much."""
        self._queue.append(work)
        # Without the lock this may see one too many taken: that thread looks at the queue once
        # more, under the lock, before it parks.
        if self._taken < self._places:
            with self._changed:
                self._start_one()
        elif not self._crowded.is_set():
            with self._changed:
                self._watch_for_long_work()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Held by work while it only waits, so that other work may run in its place."""
        state = self._own.state
        with self._changed:
            self._give_place(state)
        try:
            yield
        finally:
            # One more than there are places may run for a moment, until some work ends.
            with self._changed:
                self._take_place(state)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Held by work while it waits for other work of this pool."""
        state = self._own.state
        with self._changed:
            self._calling += 1
            self._give_place(state)
            if self._queue:
                self._start_one()
        try:
            yield
        finally:
            with self._changed:
                self._calling -= 1
                self._take_place(state)

    def close(self) -> None:
        """Let the threads work off the queue, and wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._crowded.set()
        for thread in self._threads:
            thread.join()
        if self._relief is not None:
            self._relief.join()

    def _give_place(self, state: _State) -> None:
        if state.has_place:
            state.has_place = False
            self._taken -= 1
            if self._queue:
                self._start_one()

    def _take_place(self, state: _State) -> None:
        if not state.has_place:
            state.has_place = True
            self._taken += 1

    def _start_one(self) -> None:
        if self._closed or self._taken >= self._places:
            return
        busy = len(self._threads) - self._parked
        if busy >= THREADS_MAX + min(self._calling, CALLERS_MAX):
            return
        if self._parked:
            self._parked -= 1
            self._permits += 1
            self._taken += 1
            self._changed.notify()
        else:
            self._taken += 1
            state = _State()
            state.has_place = True
            self._states.append(state)
            thread = threading.Thread(
                target=self._work,
                args=(state,),
                name=f"gossamer-wasm-{len(self._threads)}",
                daemon=True,
            )
            self._threads.append(thread)
            _start(thread)

    def _work(self, state: _State) -> None:
        self._own.state = state
        while True:
            if self._taken <= self._places or self._closed:
                try:
                    work = self._queue.popleft()
                except IndexError:
                    pass
                else:
                    state.began_s = time.monotonic()
                    work()
                    state.began_s = None
                    if not state.has_place:
                        with self._changed:
                            self._take_place(state)
                    continue
            if not self._park(state):
                return

    def _park(self, state: _State) -> bool:
        with self._changed:
            # Before the queue is looked at: a `submit` that still saw this place taken has
            # queued its work by then.
            state.has_place = False
            self._taken -= 1
            if self._queue and (self._taken < self._places or self._closed):
                self._take_place(state)
                return True
            self._parked += 1
            while not self._permits and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            # Whoever gave the permit has counted the place.
            self._permits -= 1
            state.has_place = True
            return True

    def _watch_for_long_work(self) -> None:
        if self._relief is None and not self._closed:
            self._relief = threading.Thread(
                target=self._relieve, name="gossamer-wasm-relief", daemon=True
            )
            self._relief.start()
        self._crowded.set()

    def _relieve(self) -> None:
        while True:
            self._crowded.wait()
            if self._closed:
                return
            with self._changed:
                pause_s = self._give_long_places()
                if not self._queue and not self._closed:
                    self._crowded.clear()
                    continue
            time.sleep(pause_s)

    def _give_long_places(self) -> float:
        """Returns: how long until the next of those that have a place may have become long."""
        now_s = time.monotonic()
        pause_s = LONG_S
        for state in list(self._states):
            if state.has_place and state.began_s is not None:
                left_s = state.began_s + LONG_S - now_s
                if left_s <= 0 and self._queue:
                    self._give_place(state)
                else:
                    pause_s = min(pause_s, left_s)
        return max(PAUSE_S_MIN, pause_s)
