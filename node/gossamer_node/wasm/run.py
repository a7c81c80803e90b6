"""One job's time in a guest: what its host functions know, and how others end it.

A `Run` belongs to the thread that runs the guest. Two things of it may be touched from elsewhere:
`interrupt`, by the watchdog and by who cancels; and the reading of `deadline_s`. While its thread
waits in a host function it does so through `wait`, which an interruption ends, because wasmtime's
epochs only reach code that runs.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from gossamer_node.calls import Call, Told, Unanswered
from gossamer_node.proto import Schema
from gossamer_node.service.secrets import Disclosed, blacked_out
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.wasm.asking.io_loop import IoLoop
from gossamer_node.wasm.asking.kv import Kv
from gossamer_node.wasm.asking.lines import Lines
from gossamer_node.wasm.engine import HostEngine

LOG_LINES_MAX = 100
LOG_LINE_BYTES_MAX = 4_096
"""ABI.md §1, `log`."""

STDERR_TAIL_BYTES = 4_096
"""ABI.md §6."""


_LEVEL_INFO, _LEVEL_MAX = 1, 3

_log = logging.getLogger("gossamer.wasm")


class JobContext(Protocol):
    """What a job may ask of whoever holds it. Called from worker threads."""

    def extend_lock(self, lock_ms: int) -> bool:
        """Keep the engine's lock for `lock_ms` from now on. False: the job is no longer ours.

        It may block; it is called on a thread of the host's I/O loop, so to reach another trio
        loop it passes that loop's token to `trio.from_thread`.
        """

    def call(self, spec: ServiceSpec, call: Call, told: Told) -> Callable[[], None]:
        """Call another service. It returns at once; `told` is called once, from any thread.

        Args:
            spec: of the service that calls.

        Returns: what ends the call when nobody wants its outcome any more; harmless after it.
        """

    def progress(self, thousandths: int, sentence: str) -> None:
        """How far the job is, for people who look on. Only the last word counts."""

    def log(self, level: int, line: str) -> None:
        """Take a line that the worker logged. Levels: 0 debug, 1 info, 2 warning, 3 error."""


class Detached:
    """The context of a job that no engine holds: one run by hand, or a module only looked at.

    It has no lock that could be extended, and nobody whom it could call.
    """

    def __init__(self, log: Callable[[int, str], None] = lambda _level, _line: None) -> None:
        self._take_line = log

    def extend_lock(self, lock_ms: int) -> bool:
        return False

    def call(self, spec: ServiceSpec, call: Call, told: Told) -> Callable[[], None]:
        told(Unanswered("unavailable", f"{call.service} cannot be called outside a running node."))
        return lambda: None

    def progress(self, thousandths: int, sentence: str) -> None:
        pass

    def log(self, level: int, line: str) -> None:
        self._take_line(level, line)


class Stop(Enum):
    """Why a guest is ended from outside."""

    TIME = auto()
    CANCELLED = auto()


class Interrupted(Exception):
    """Raised in a host function whose run has been interrupted."""


class Exit(Exception):
    """The guest called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class OutputTooLarge(Exception):
    """A command wrote more than its limit to standard output."""


Operation = Callable[[Mapping[str, Any], "Run"], Mapping[str, Any]]
"""Takes a request and the run that asks, gives a reply; refuses by `operations.OperationError`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all runs of one worker share.

    Attributes:
        operations: by name.
        is_command: the WASI command form; standard streams then carry input and outcome.
        schema: what the service's `grpc` lets it call.
        blocked: held while a run waits in a host function: its thread's place is free meanwhile.
        calling: held instead while it waits for another run of this host.
        kv: what services keep; there for those that may.
        lines: how much it may log.
        secrets: that the service was given, to keep them out of logs.
    """

    spec: ServiceSpec
    grant: Grant
    engine: HostEngine
    io: IoLoop
    operations: Mapping[str, Operation]
    blocked: Callable[[], AbstractContextManager[None]]
    is_command: bool
    lines: Lines = field(default_factory=Lines)
    kv: Kv | None = None
    secrets: Disclosed = field(default_factory=Disclosed)
    schema: Schema | None = None
    calling: Callable[[], AbstractContextManager[None]] = nullcontext


class Run:
    """One job in one guest.

    Attributes:
        held: what an operation keeps from one call to the next, under its own name.
        at_end: called when the guest has ended, on its thread; must not wait.
    """

    def __init__(
        self, around: Surroundings, context: JobContext, *, deadline_s: float, stdin: bytes = b""
    ) -> None:
        """Args: deadline_s: on `time.monotonic`'s clock."""
        self.around = around
        self.context = context
        self.deadline_s = deadline_s
        self.stdin = stdin
        self.stdin_read = 0
        self.stdout = bytearray()
        self.stderr_tail = bytearray()
        self.lines: dict[int, bytearray] = {}
        self.reply = b""
        self.reply_taken = 0
        self.held: dict[str, object] = {}
        self.at_end: list[Callable[[], None]] = []
        self.failure: BaseException | None = None
        self.stopped: Stop | None = None
        self._log_lines = 0
        self._lines_dropped = 0
        self._waiting: threading.Event | None = None

    def remaining_s(self) -> float:
        return self.deadline_s - time.monotonic()

    def interrupt(self, reason: Stop) -> None:
        """End the guest at the engine's next epoch, or its wait at once. From any thread."""
        if self.stopped is None:
            self.stopped = reason
        waiting = self._waiting
        if waiting is not None:
            waiting.set()

    def check(self) -> None:
        """For host functions that take long, between their parts. Raises: Interrupted."""
        if self.stopped is not None:
            raise Interrupted

    def wait(
        self,
        event: threading.Event,
        timeout_s: float,
        aside: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> bool:
        """Wait for an event that belongs to this wait alone.

        Args:
            aside: held meanwhile; by default, `blocked`.

        Returns: whether it was set in time. Raises: Interrupted.
        """
        self._waiting = event
        try:
            # Asked after `_waiting` is known: an interruption between the two sets the event.
            if self.stopped is None:
                with (aside or self.around.blocked)():
                    event.wait(max(0.0, timeout_s))
                if self.remaining_s() <= 0:
                    self.interrupt(Stop.TIME)
            if self.stopped is not None:
                raise Interrupted
            return event.is_set()
        finally:
            self._waiting = None

    @property
    def line_bytes_max(self) -> int:
        """How much of a line is looked at: no secret may escape by standing across its end."""
        return LOG_LINE_BYTES_MAX + self.around.secrets.bytes_max

    def log(self, level: int, line: bytes) -> None:
        """Hand on a line, within the bounds of ABI.md §1; count it, where it is beyond them."""
        if self._log_lines >= LOG_LINES_MAX or not self.around.lines.take():
            self._lines_dropped += 1
            return
        self._log_lines += 1
        text = line[: self.line_bytes_max].decode("utf-8", "replace")
        secrets = self.around.secrets.values
        if secrets:
            text = blacked_out(text, secrets)
        text = text.encode()[:LOG_LINE_BYTES_MAX].decode("utf-8", "ignore")
        try:
            self.context.log(level if level <= _LEVEL_MAX else _LEVEL_INFO, text)
        except Exception:
            _log.exception("a worker's line could not be logged")

    def write(self, stream: int, data: bytes) -> None:
        """Take what a guest wrote to standard output (1) or standard error (2).

        Raises: OutputTooLarge.
        """
        if stream == 1 and self.around.is_command:
            if len(self.stdout) + len(data) > self.around.spec.limits.output_bytes_max:
                raise OutputTooLarge
            self.stdout += data
            return
        if stream == 2:
            self.stderr_tail = (self.stderr_tail + data[-STDERR_TAIL_BYTES:])[-STDERR_TAIL_BYTES:]
        line = self.lines.setdefault(stream, bytearray())
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0:
            if self._log_lines >= LOG_LINES_MAX:
                # Megabytes of newlines are counted at once and not one by one.
                self._lines_dropped += data.count(b"\n", begin)
                begin = data.rfind(b"\n") + 1
                line.clear()
                break
            self._append(line, data, begin, end)
            self.log(stream, bytes(line))
            line.clear()
            begin = end + 1
        self._append(line, data, begin, len(data))

    def _append(self, line: bytearray, data: bytes, begin: int, end: int) -> None:
        """As much of a line as is looked at."""
        line += data[begin : min(end, begin + self.line_bytes_max - len(line))]

    def end(self) -> None:
        """Log the last lines that no newline ended, tell of those that were dropped, and let go of
        what operations hold for this run."""
        for stream, line in self.lines.items():
            if line:
                self.log(stream, bytes(line))
        if self._lines_dropped:
            self.around.lines.drop(self._lines_dropped, self.around.spec.name)
        for let_go in self.at_end:
            let_go()


class _Current(threading.local):
    run: Run


current = _Current()
"""The run on this thread, for host functions."""
