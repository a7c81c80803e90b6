"""The threads that WASM runs on.

Work waits in one queue; a thread takes one piece at a time and goes on until the queue is empty,
so a burst of short jobs pays for one wake-up and not for one each, and a long job never holds
those behind it while another thread may run. As many threads run as there are cores to gain; a
thread that waits in a host operation gives its place to another, within `THREADS_MAX`. Threads
start when first needed.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

THREADS_MAX = 32
"""Running and waiting ones together: how many jobs may wait for I/O at once."""

THREAD_STACK_BYTES = 8 * 2**20
"""A guest's stack (`engine.STACK_BYTES_MAX`) is part of its thread's."""


class WorkerThreads:
    """Runs callables that never raise."""

    def __init__(self, running_max: int) -> None:
        """Args: running_max: threads that run at once, those that wait not counted."""
        self._running_max = running_max
        self._queue: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._threads: list[threading.Thread] = []
        self._running = 0
        self._parked = 0
        self._permits = 0
        self._closed = False

    def submit(self, work: Callable[[], None]) -> None:
        """Queue work; the caller bounds how much."""
        self._queue.append(work)
        # Without the lock this may see one too many running: that thread looks at the queue once
        # more, under the lock, before it parks.
        if self._running < self._running_max:
            with self._changed:
                self._start_one()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Held by work while it only waits, so that other work may run in its place."""
        with self._changed:
            self._running -= 1
            if self._queue:
                self._start_one()
        try:
            yield
        finally:
            with self._changed:
                self._running += 1

    def close(self) -> None:
        """Let the threads work off the queue, and wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _start_one(self) -> None:
        if self._closed or self._running >= self._running_max:
            return
        if self._parked:
            self._parked -= 1
            self._permits += 1
            self._running += 1
            self._changed.notify()
        elif len(self._threads) < THREADS_MAX:
            self._running += 1
            thread = threading.Thread(
                target=self._work, name=f"gossamer-wasm-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            before = threading.stack_size(THREAD_STACK_BYTES)
            try:
                thread.start()
            finally:
                threading.stack_size(before)

    def _work(self) -> None:
        while True:
            if self._running <= self._running_max or self._closed:
                try:
                    work = self._queue.popleft()
                except IndexError:
                    pass
                else:
                    work()
                    continue
            if not self._park():
                return

    def _park(self) -> bool:
        with self._changed:
            # Before the queue is looked at: a `submit` that still saw this thread running has
            # queued its work by then.
            self._running -= 1
            if self._queue and (self._running < self._running_max or self._closed):
                self._running += 1
                return True
            self._parked += 1
            while not self._permits and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._permits -= 1
            return True
