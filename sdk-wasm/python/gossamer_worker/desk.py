"""Jobs at work: at most `concurrency` handlers at a time, each in a thread, none for ever.

A handler is any blocking function. Python cannot end a thread; so a handler that is still at work
when its job is due is left behind: its job is reported as `Timeout`, and another thread takes its
place, for at most as many as `concurrency`. Whatever it gives later is nobody's.

Every job that is taken ends in exactly one call of its `say`; the transport calls `sent` when
that answer has arrived for good. Between the two it counts as taken, and what is taken is bounded.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from gossamer_worker.context import Context, context_of
from gossamer_worker.failures import Failure, failure_of
from gossamer_worker.memory import RUN, Memory
from gossamer_worker.messages import Job, Outcome, completed, failed, told

log = logging.getLogger("gossamer_worker")

WATCH_S = 0.1
"""How often is looked for handlers whose time is over."""


@dataclass(frozen=True)
class Registered:
    """A handler and its options."""

    call: Callable[[Any, Context], Any]
    not_retryable: tuple[type[BaseException], ...]


def registered(
    handler: Callable[..., Any], not_retryable: tuple[type[BaseException], ...]
) -> Registered:
    """A handler of one argument or of two. Raises: TypeError."""
    if not callable(handler):
        raise TypeError(f"a handler is a function, not {type(handler).__name__}")
    if inspect.iscoroutinefunction(handler):
        raise TypeError("a handler is a blocking function; wrap an async one in asyncio.run")
    for one in not_retryable:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"not_retryable has types of exceptions, not {one!r}")
    if _takes_two(handler):
        return Registered(handler, not_retryable)
    return Registered(lambda payload, _context: handler(payload), not_retryable)


def _takes_two(handler: Callable[..., Any]) -> bool:
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # of a builtin, whose signature nobody knows
        return False
    # `str` and `print` would take a second argument, too, and mean something else by it.
    return not isinstance(handler, type) and not inspect.isbuiltin(handler)


@dataclass(eq=False)
class _Task:
    job: Job
    handler: Registered
    context: Context
    say: Callable[[Outcome], None]
    is_running: bool = False
    has_ended: bool = False
    is_left: bool = False


class Desk:
    """Takes jobs, runs them, and says what came of each."""

    def __init__(
        self, handlers: Mapping[str, Registered], worker: str, *, concurrency: int, taken_max: int
    ) -> None:
        self._handlers = handlers
        self._worker = worker
        self._concurrency = concurrency
        self._taken_max = taken_max
        self._memory: Memory[_Task] = Memory()
        self._changed = threading.Condition()
        self._queue: deque[_Task] = deque()
        self._tasks: set[_Task] = set()
        self._taken = 0
        self._threads = 0
        self._idle = 0
        self._left = 0
        self._is_draining = False
        self._is_closed = False
        threading.Thread(target=self._watch, name="gossamer-watch", daemon=True).start()

    def wait_room(self, timeout_s: float) -> int:
        """How many more jobs may be taken, waiting so long for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken < self._taken_max, timeout_s)
            return max(0, self._taken_max - self._taken)

    def take(
        self,
        job: Job,
        say: Callable[[Outcome], None],
        extend: Callable[[Job, int], None] = lambda _job, _lock_ms: None,
    ) -> None:
        """Takes a job; `say` is called once, from any thread, with what came of it."""
        context = context_of(job, self._worker, extend)
        task = _Task(job, self._handlers[job.action], context, say)
        with self._changed:
            self._taken += 1
            known = self._memory.take(job.key, job.attempt, task)
            if known == RUN and self._is_draining:
                self._taken -= 1 + self._memory.drop(job.key)
            elif known == RUN:
                self._enqueue(task)
        if isinstance(known, Outcome):
            say(known)

    def sent(self) -> None:
        """An answer arrived, for good."""
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def drain(self, grace_s: float) -> bool:
        """Begins nothing more, and waits until all that has begun is answered for good.

        Returns: Whether it is; else the grace was not enough.
        """
        with self._changed:
            for task in self._queue:
                task.has_ended = True  # it is not answered: others are given it
                self._tasks.discard(task)
                self._taken -= 1 + self._memory.drop(task.job.key)
            self._queue.clear()
            self._is_draining = True
            done = self._changed.wait_for(lambda: self._taken <= 0, grace_s)
            self._is_closed = True
            self._changed.notify_all()
            return done

    def _enqueue(self, task: _Task) -> None:
        self._queue.append(task)
        self._tasks.add(task)
        if self._idle == 0 and self._threads - self._left < self._concurrency:
            self._begin_thread()
        self._changed.notify_all()

    def _begin_thread(self) -> None:
        self._threads += 1
        threading.Thread(
            target=self._work, name=f"gossamer-handler-{self._threads}", daemon=True
        ).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._queue or self._is_closed)
                self._idle -= 1
                if not self._queue:
                    return
                task = self._queue.popleft()
                if task.has_ended:
                    continue
                task.is_running = True
            outcome = self._run(task)
            self._end(task, outcome)
            with self._changed:
                if task.is_left:  # another thread has its place
                    self._left -= 1
                    self._threads -= 1
                    return

    def _run(self, task: _Task) -> Outcome:
        late_ms = round(time.time() * 1000) - task.job.due_ms
        if late_ms >= 0:
            return failed(
                Failure("Timeout", f"it was not run: it was due {late_ms} ms before it came")
            )
        try:
            return completed(task.handler.call(task.job.payload, task.context))
        except BaseException as error:  # a handler may even call sys.exit
            return failed(failure_of(error, task.handler.not_retryable))

    def _end(self, task: _Task, outcome: Outcome) -> None:
        with self._changed:
            if task.has_ended:
                return
            task.has_ended = True
            self._tasks.discard(task)
            then = self._memory.done(task.job.key, outcome)
            for waiting, known in then:
                if known is None and self._is_draining:
                    self._taken -= 1 + self._memory.drop(task.job.key)
                elif known is None:
                    self._enqueue(waiting)
        if not outcome.completed:
            log.info("%s of run %s failed: %.500s", task.job.step, task.job.run, told(outcome))
        task.say(outcome)
        for waiting, known in then:
            if known is not None:
                waiting.say(known)

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closed, WATCH_S):
                    return
                now_ms = time.time() * 1000
                late = [task for task in self._tasks if task.job.due_ms <= now_ms]
                for task in late:
                    if task.is_running and self._left < self._concurrency:
                        task.is_left = True
                        self._left += 1
                        if self._queue:
                            self._begin_thread()
            for task in late:
                how = "its handler is still at work" if task.is_running else "it was not run"
                self._end(task, failed(Failure("Timeout", f"its time is over; {how}")))
