"""What a worker may ask of its lease while it runs, from whatever thread it runs in."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from gossamer_node import logs
from gossamer_node.calls import Call, Told, Unanswered
from gossamer_node.jobs import Job, Progress
from gossamer_node.service.spec import ServiceSpec
from gossamer_node.work.call_wire import Link
from gossamer_node.work.places import Place

if TYPE_CHECKING:
    from gossamer_node.work.calling import Calling

log = logs.get("leasing")

Prolong = Callable[[int], bool]
"""Asks for a longer lock, in trio's thread; False when the lease is void."""


def no_lock(_lock_ms: int) -> bool:
    """Of a job that no engine locked: another service called for it."""
    return False


class LeaseContext:
    """One job's lease, as its worker sees it. Made in trio's thread.

    Args:
        prolong: of this lease.
        job: its job.
        calling: makes calls of other services.
        chain: the services that wait for this job; none for an engine's.

    Attributes:
        place: of its service, while it has one; set by who runs it.
        progress_told: the last word on how far it is.
    """

    def __init__(
        self, prolong: Prolong, job: Job, calling: "Calling", chain: tuple[Link, ...] = ()
    ) -> None:
        self._prolong = prolong
        self.job = job
        self._calling = calling
        self.chain = chain
        self.place: Place | None = None
        self.progress_told: Progress | None = None
        self._token = trio.lowlevel.current_trio_token()

    def extend_lock(self, lock_ms: int) -> bool:
        """Asks for a lock of `lock_ms` from now. False: the lease is not ours any more."""
        try:
            return trio.from_thread.run_sync(self._prolong, lock_ms, trio_token=self._token)
        except trio.RunFinishedError:
            return False

    def call(self, spec: ServiceSpec, call: Call, told: Told) -> Callable[[], None]:
        """Calls another service, as `JobContext` has it."""
        one = self._calling.prepare(self, spec, call, told)

        def give_up() -> None:
            with suppress(trio.RunFinishedError):  # the node has ended, and with it the call
                self._token.run_sync_soon(self._calling.give_up, one)

        try:
            self._token.run_sync_soon(self._calling.begin, one)
        except trio.RunFinishedError:
            told(Unanswered("unavailable", "This node is stopping."))
        return give_up

    def progress(self, thousandths: int, sentence: str) -> None:
        """How far the worker says that it is; the last word counts."""
        self.progress_told = Progress(thousandths, sentence)

    def log(self, level: int, line: str) -> None:
        """A line that the worker logged."""
        ref = self.job.ref
        write = (log.debug, log.info, log.warning, log.error)[level]
        write(line, job=ref.key, topic=ref.topic, engine=ref.engine)
