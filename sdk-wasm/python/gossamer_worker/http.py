"""Jobs from a gateway over HTTP: a long poll takes them under a lock, answers go back in batches.

Three threads, each with a connection of its own: one fetches as many jobs as there are hands for
(nothing waits here while another worker is idle), one sends answers until they are taken, one
makes locks longer while their jobs are at work.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from typing import Any, Callable

from gossamer_worker.desk import Desk
from gossamer_worker.failures import Failure
from gossamer_worker.line import Gateway, Line, Trouble
from gossamer_worker.messages import Job, Outcome, Unreadable, failed, read_job, result
from gossamer_worker.voice import Voice, wait_s

log = logging.getLogger("gossamer_worker")

WAIT_MS = 10_000
"""How long the gateway may hold a question for jobs."""

LOCK_MS = 30_000
"""For how long a job is this worker's; made longer at a third of it."""

LEFT_LOCK_MS = 100
"""For how long a job is kept that is left at a stop: the gateway takes no less. Then others are
given it, instead of at the end of its lock."""

ANSWER_S = 15
"""How long a gateway may take for anything but waiting for jobs."""

LAST_S = 2
"""The same, for the last word of a worker that stops."""

BATCH = 100
BATCH_BYTES_MAX = 4 * 1_048_576
"""What is answered in one request, unless a single result is larger."""


class HttpJobs:
    """What a worker has to do with a gateway."""

    def __init__(
        self,
        gateway: Gateway,
        actions: list[str],
        worker: str,
        desk: Desk,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._actions = actions
        self._worker = worker
        self._desk = desk
        self._broken = broken
        self._gateway = gateway
        self._place = gateway.place
        self._voice = Voice(self._place)
        self._fetching = Line(gateway)
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str, int], Job] = {}
        self._results: queue.SimpleQueue[tuple[Job, str] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._guard, args=(one,), name=f"gossamer-{name}", daemon=True)
            for name, one in (("fetch", self._fetch), ("send", self._send), ("keep", self._keep))
        ]

    def start(self) -> None:
        """Begins to take jobs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Takes no more; what is at work goes on."""
        self._stopping.set()
        self._fetching.end()

    def close(self) -> None:
        """After all was said, or the grace was over."""
        self._closing.set()
        self._results.put(None)
        for thread in self._threads:
            thread.join(1)
        with self._lock:
            left = list(self._held.values())
        if left:
            line = Line(self._gateway)
            with contextlib.suppress(Trouble):  # then they are given away when their lock ends
                self._ask_longer(line, left, LEFT_LOCK_MS, LAST_S)
            line.close()

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            self._broken(error)

    def _fetch(self) -> None:
        tries = 0
        is_ready = False
        while not self._stopping.is_set():
            room = self._desk.wait_room(1.0)
            if not room:
                continue
            asked = {
                "actions": self._actions,
                "worker": self._worker,
                "max": room,
                # The first answer says that all is well; it is not waited for.
                "waitMs": WAIT_MS if is_ready else 0,
                "lockMs": LOCK_MS,
            }
            try:
                answer = self._fetching.post(
                    "/workflow/jobs/fetch", json.dumps(asked), WAIT_MS / 1000 + ANSWER_S
                )
                jobs = answer["jobs"] if isinstance(answer, dict) else None
                if not isinstance(jobs, list):
                    raise Trouble("it answers without `jobs`; is it a gateway?")
            except Exception as error:
                if self._stopping.is_set():
                    return  # whatever came of it: the connection was closed under it
                if not isinstance(error, Trouble):
                    raise
                tries += 1
                self._voice.away(str(error), error.kind)
                self._stopping.wait(wait_s(tries))
                continue
            tries = 0
            self._voice.back()
            if not is_ready:
                is_ready = True
                log.info("ready: %s from %s", ", ".join(self._actions), self._place)
            for one in jobs:
                self._take(one)

    def _take(self, one: Any) -> None:
        try:
            if not isinstance(one, dict):
                raise Unreadable("it is not a JSON object")
            job = read_job(one)
            if job.action not in self._actions:
                raise Unreadable("its action was not asked for")
        except Unreadable as error:
            log.warning("%s gave what is no job: %s", self._place, error)
            return
        name = (job.run, job.step, job.attempt)
        with self._lock:
            self._held[name] = job
        self._desk.take(job, lambda outcome: self._say(job, outcome), self._extend)

    def _say(self, job: Job, outcome: Outcome) -> None:
        self._results.put((job, result(job, outcome, self._worker)))

    def _send(self) -> None:
        line = Line(self._gateway)
        while True:
            first = self._results.get()
            if first is None:
                return
            batch = [first]
            size_bytes = len(first[1])
            while len(batch) < BATCH and size_bytes < BATCH_BYTES_MAX // 2:
                try:
                    one = self._results.get_nowait()
                except queue.Empty:
                    break
                if one is None:
                    self._results.put(None)
                    break
                batch.append(one)
                size_bytes += len(one[1])
            self._deliver(line, batch)

    def _deliver(self, line: Line, batch: list[tuple[Job, str]]) -> None:
        tries = 0
        body = (
            f'{{"worker":{json.dumps(self._worker)},"results":[{",".join(t for _, t in batch)}]}}'
        )
        while True:
            try:
                line.post("/workflow/jobs/results", body, ANSWER_S)
                self._voice.back()
                break
            except Trouble as error:
                if error.status in {400, 413, 422}:
                    self._refused(line, batch, error)
                    return
                if self._closing.is_set():
                    return
                tries += 1
                self._voice.away(str(error), error.kind)
                self._closing.wait(wait_s(tries))
        for job, _ in batch:
            self._done(job)

    def _refused(self, line: Line, batch: list[tuple[Job, str]], error: Trouble) -> None:
        if len(batch) > 1:  # one of them is not taken: which?
            for one in batch:
                self._deliver(line, [one])
            return
        ((job, text),) = batch
        log.error("%s does not take the result of %s: %s", self._place, job.key, error)
        if '"code":"Refused"' not in text:
            failure = Failure("Refused", f"the gateway did not take the result: {error}"[:500],
                              retryable=False)  # fmt: skip
            self._deliver(line, [(job, result(job, failed(failure), self._worker))])
        else:
            self._done(job)  # its time will be over

    def _done(self, job: Job) -> None:
        with self._lock:
            self._held.pop((job.run, job.step, job.attempt), None)
        self._desk.sent()

    def _keep(self) -> None:
        line = Line(self._gateway)
        while not self._closing.wait(LOCK_MS / 3000):
            with self._lock:
                held = list(self._held.values())
            if held:
                try:
                    self._ask_longer(line, held, LOCK_MS)
                except Trouble as error:
                    self._voice.away(str(error), error.kind)

    def _extend(self, job: Job, lock_ms: int) -> None:
        line = Line(self._gateway)
        try:
            self._ask_longer(line, [job], lock_ms)
        finally:
            line.close()

    def _ask_longer(
        self, line: Line, jobs: list[Job], lock_ms: int, answer_s: float = ANSWER_S
    ) -> None:
        names = [{"run": one.run, "step": one.step, "attempt": one.attempt} for one in jobs]
        body = json.dumps({"worker": self._worker, "lockMs": lock_ms, "jobs": names})
        line.post("/workflow/jobs/extend", body, answer_s)
