"""Jobs between the trio tasks that wait for them and the threads that work them."""

import logging
from collections import deque
from typing import TYPE_CHECKING

import trio

from gossamer_node.jobs import Failed, Job, Outcome
from gossamer_node.keyed.key import Key
from gossamer_node.wasm.living.dense import Given
from gossamer_node.wasm.run import JobContext, Run

if TYPE_CHECKING:
    from gossamer_node.wasm.host import Worker

_log = logging.getLogger("gossamer.wasm")


class Returns:
    """Brings outcomes from the threads back to the trio loop, many in one turn."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token
        self._ended: deque[Task] = deque()
        self._asked = False

    def put(self, task: "Task") -> None:
        """From a worker's thread."""
        self._ended.append(task)
        # A thread that finds it asked already has its task taken along: `_hand_over` clears
        # the mark before it empties the queue.
        if not self._asked:
            self._asked = True
            self._token.run_sync_soon(self._hand_over)

    def through(self, task: "Task") -> None:
        """From a worker's thread that is done with a task, whether anybody waits for it or not."""
        self._token.run_sync_soon(task.through.set)

    def _hand_over(self) -> None:
        self._asked = False
        while self._ended:
            self._ended.popleft().wake()


class Task:
    """One `run`, between the trio task that waits for it and the thread that works."""

    def __init__(
        self,
        worker: "Worker",
        job: Job,
        context: JobContext,
        due_s: float,
        returns: Returns,
        key: Key | None,
        given: Given | None = None,
    ) -> None:
        """Args: given: whoever has it leaves the turn; otherwise the thread does."""
        self.through = trio.Event()
        self._given = given
        self._worker = worker
        self._job = job
        self._context = context
        self._due_s = due_s
        self._returns = returns
        self._key = key
        self._outcome: Outcome | None = None
        self._waiter: trio.lowlevel.Task | None = None
        self._cancelled = False
        self._run: Run | None = None

    def work(self) -> None:
        """On a thread of the pool, when it is its turn."""
        try:
            if not self._cancelled:
                self._execute()
        finally:
            if self._given is not None:
                self._returns.through(self)
            elif self._key is not None and self._worker.dense is not None:
                self._worker.dense.turns.leave(self._key)

    def _execute(self) -> None:
        try:
            self._outcome = self._worker.execute(
                self._job,
                self._key,
                self._context,
                self._due_s,
                None,
                self._started,
                self._given,
            )
        except BaseException as error:
            # A bug of ours: it ends this job, never the thread that others' jobs need.
            _log.exception("job %s could not be run", self._job.ref.key)
            self._outcome = Failed(
                "The node failed to run the worker; its log says why.", details=repr(error)
            )
        self._returns.put(self)

    def _started(self, run: Run) -> None:
        self._run = run
        # A cancellation that found no run yet has left its mark.
        if self._cancelled:
            self._worker._host.watchdog.cancel(run)

    async def outcome(self) -> Outcome:
        """In the trio task, once."""
        self._waiter = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        assert self._outcome is not None
        return self._outcome

    def wake(self) -> None:
        """In the loop."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            trio.lowlevel.reschedule(waiter)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waiter = None
        self._cancelled = True
        if self._run is not None:
            self._worker._host.watchdog.cancel(self._run)
        return trio.lowlevel.Abort.SUCCEEDED
