"""The key of a job, and the order of jobs that have one.

A key is what a JSON Pointer (RFC 6901) finds in the job's input, the map of ABI.md §3. `Turns` lets
one job at a time through for each key, in the order in which they came; what waits is bounded.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping

from gossamer_node.jobs import Job
from gossamer_node.keyed.key import Key
from gossamer_node.wasm.envelope import input_map

KEY_CHARACTERS_MAX = 255
"""A business key of Camunda 7 has as many at most."""


class NoKey(Exception):
    """The job has none; the message is a clause for `the job …`."""


def key_of(service: str, pointer: str, job: Job) -> Key:
    """A job's key. Raises: NoKey."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    found: object = input_map(job, deadline_ms=0)
    for part in parts:
        if isinstance(found, list) and part.isascii() and part.isdigit():
            found = found[int(part)] if int(part) < len(found) else None
        else:
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, bool):
        found = "true" if found else "false"
    if isinstance(found, int):
        found = str(found)
    if found is None or found == "":
        raise NoKey(f"has nothing at {pointer}, where its service has its key")
    if not isinstance(found, str):
        raise NoKey(f"has a {type(found).__name__} at {pointer}; a key is text, a number or a flag")
    if len(found) > KEY_CHARACTERS_MAX:
        raise NoKey(f"has more than {KEY_CHARACTERS_MAX} characters at {pointer}")
    ref = job.ref
    for name, where in ((found, f"at {pointer}"), (job.tenant or "", "as its tenant")):
        _refuse_no_text(name, where)
    _refuse_no_text(ref.engine + ref.key, "as its id")
    return Key(service, job.tenant or "", found)


def _refuse_no_text(name: str, where: str) -> None:
    """Half a surrogate pair can be in no file and in no message. Raises: NoKey."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise NoKey(f"has {where} what is not Unicode") from None


class Turns:
    """One at a time for each key. Safe to use from several threads."""

    def __init__(self, waiting_max: int) -> None:
        """Args: waiting_max: behind one key, the one whose turn it is not counted."""
        self._waiting_max = waiting_max
        self._lock = threading.Lock()
        self._queues: dict[Key, deque[Callable[[], None]]] = {}

    def enter(self, key: Key, begin: Callable[[], None]) -> bool:
        """Calls `begin` when it is its turn: now, or from another's `leave`, on that thread.

        Returns: False when too many wait already; then `begin` is never called.
        """
        with self._lock:
            queue = self._queues.get(key)
            if queue is not None:
                if len(queue) >= self._waiting_max:
                    return False
                queue.append(begin)
                return True
            self._queues[key] = deque()
        begin()
        return True

    def leave(self, key: Key) -> None:
        """The one whose turn it is has ended; the next begins."""
        with self._lock:
            queue = self._queues[key]
            if not queue:
                del self._queues[key]
                return
            begin = queue.popleft()
        begin()

    def has(self, key: Key) -> bool:
        """Whether a job of a key is under way."""
        with self._lock:
            return key in self._queues

    def __len__(self) -> int:
        """Keys with a job under way."""
        return len(self._queues)
