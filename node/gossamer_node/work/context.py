"""What a worker may ask of its lease while it runs, from whatever thread it runs in."""

from collections.abc import Callable

import trio

from gossamer_mesh.leases.messages import LeaseId
from gossamer_node import logs
from gossamer_node.jobs import Job

log = logs.get("leasing")


class LeaseContext:
    """One job's lease, as its worker sees it.

    Args:
        prolong: asks for a longer lock, in trio's thread; False when the lease is void.
        lease: the lease.
        job: its job.
    """

    def __init__(self, prolong: Callable[[LeaseId, int], bool], lease: LeaseId, job: Job) -> None:
        self._prolong = prolong
        self._lease = lease
        self._job = job
        self._token = trio.lowlevel.current_trio_token()

    def extend_lock(self, lock_ms: int) -> bool:
        """Asks for a lock of `lock_ms` from now. False: the lease is not ours any more."""
        try:
            return trio.from_thread.run_sync(
                self._prolong, self._lease, lock_ms, trio_token=self._token
            )
        except trio.RunFinishedError:
            return False

    def log(self, level: int, line: str) -> None:
        """A line that the worker logged."""
        ref = self._job.ref
        write = (log.debug, log.info, log.warning, log.error)[level]
        write(line, job=ref.key, topic=ref.topic, engine=ref.engine)
