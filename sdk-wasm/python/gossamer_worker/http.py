"""Jobs from a gateway over HTTP: a long poll takes them under a lock, answers go back in batches.

Three threads, each with a connection of its own: one fetches as many jobs as there are hands for
(nothing waits here while another worker is idle), one sends answers until they are taken, one
makes locks longer while their jobs are at work.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import queue
import ssl
import threading
from typing import Any, Callable
from urllib.parse import urlsplit

from gossamer_worker.desk import Desk
from gossamer_worker.failures import Failure
from gossamer_worker.messages import Job, Outcome, Unreadable, failed, read_job, result
from gossamer_worker.voice import Voice, wait_s

log = logging.getLogger("gossamer_worker")

WAIT_MS = 10_000
"""How long the gateway may hold a question for jobs."""

LOCK_MS = 30_000
"""For how long a job is this worker's; made longer at a third of it."""

ANSWER_S = 15
"""How long a gateway may take for anything but waiting for jobs."""

BATCH = 100
BATCH_BYTES_MAX = 4 * 1_048_576
"""What is answered in one request, unless a single result is larger."""


class Refused(Exception):
    """The gateway answered, and not with what was asked for. `status`: 0 for no HTTP at all."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Line:
    """One connection to the gateway, made anew whenever it is lost."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"a gateway's URL is http://host:port or https://…, not {url!r}")
        self._secure = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None
        self._has_ended = False

    def post(self, path: str, body: str, timeout_s: float) -> Any:
        """The answer's JSON.

        Raises: OSError, Refused.
        """
        fresh = self._connection is None
        try:
            return self._post(path, body, timeout_s)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if fresh:
                raise
            # A server may close an idle connection at any time. Each request here may be repeated.
            return self._post(path, body, timeout_s)

    def _post(self, path: str, body: str, timeout_s: float) -> Any:
        connection = self._connection
        if connection is None:
            if self._secure is not None:
                connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=timeout_s, context=self._secure
                )
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
            self._connection = connection
        if self._has_ended:
            raise ConnectionAbortedError("it is closed")
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        try:
            connection.request("POST", self._base + path, body.encode(), self._headers)
            answer = connection.getresponse()
            text = answer.read()
        except BaseException as error:
            self.close()
            if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
                raise Refused(0, f"it does not speak HTTP: {error!r}") from error
            raise
        if answer.will_close:
            self.close()
        if not 200 <= answer.status < 300:
            said = text[:200].decode("utf-8", "replace").strip()
            raise Refused(answer.status, f"it answers {answer.status} {answer.reason}: {said}")
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise Refused(0, "it answers what is not JSON; is it a gateway?") from None

    def end(self) -> None:
        """For good, from any thread: who waits for an answer gets an error."""
        self._has_ended = True
        self.close()

    def close(self) -> None:
        """The next request makes a new connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            sock = connection.sock
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(2)
            connection.close()


class HttpJobs:
    """What a worker has to do with a gateway."""

    def __init__(
        self,
        url: str,
        token: str | None,
        actions: list[str],
        worker: str,
        desk: Desk,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._actions = actions
        self._worker = worker
        self._desk = desk
        self._broken = broken
        self._place = f"the gateway at {url}"
        self._voice = Voice(self._place)
        self._url, self._token = url, token
        self._fetching = Line(url, token)
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
                    raise Refused(0, "it answers without `jobs`; is it a gateway?")
            except Exception as error:
                if self._stopping.is_set():
                    return  # whatever came of it: the connection was closed under it
                if not isinstance(error, (OSError, Refused)):
                    raise
                tries += 1
                self._voice.away(_trouble(error))
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
        line = Line(self._url, self._token)
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
            except Refused as error:
                if error.status in {400, 413, 422}:
                    self._refused(line, batch, error)
                    return
                trouble: Exception = error
            except OSError as error:
                trouble = error
            if self._closing.is_set():
                return
            tries += 1
            self._voice.away(_trouble(trouble))
            self._closing.wait(wait_s(tries))
        for job, _ in batch:
            self._done(job)

    def _refused(self, line: Line, batch: list[tuple[Job, str]], error: Refused) -> None:
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
        line = Line(self._url, self._token)
        while not self._closing.wait(LOCK_MS / 3000):
            with self._lock:
                held = list(self._held.values())
            if held:
                try:
                    self._ask_longer(line, held, LOCK_MS)
                except (OSError, Refused) as error:
                    self._voice.away(_trouble(error))

    def _extend(self, job: Job, lock_ms: int) -> None:
        line = Line(self._url, self._token)
        try:
            self._ask_longer(line, [job], lock_ms)
        except Refused as error:
            raise OSError(str(error)) from error
        finally:
            line.close()

    def _ask_longer(self, line: Line, jobs: list[Job], lock_ms: int) -> None:
        names = [{"run": one.run, "step": one.step, "attempt": one.attempt} for one in jobs]
        body = json.dumps({"worker": self._worker, "lockMs": lock_ms, "jobs": names})
        line.post("/workflow/jobs/extend", body, ANSWER_S)


def _trouble(error: Exception) -> str:
    return str(error) if isinstance(error, Refused) else f"it cannot be reached ({error})"
