"""A request's way through the gateway: which engines it reached, and what it asked of them.

A request is at hand in a context variable, so an engine that is asked on its behalf, in whatever
task, is noted without anybody carrying it there.
"""

import time
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final

from gossamer_gateway.observing.tally import Times
from gossamer_node.tracing import port

NONE: Final = "none"
SEVERAL: Final = "several"
"""Labels of requests that reached no engine, or more than one."""


class Reached:
    """The engines that one request reached; begun by entering it."""

    __slots__ = ("_token", "engine")

    def __init__(self) -> None:
        self.engine = NONE

    def note(self, engine: str) -> None:
        """An engine is asked."""
        if self.engine != engine:
            self.engine = engine if self.engine == NONE else SEVERAL

    def __enter__(self) -> "Reached":
        self._token: Token[Reached | None] = _REACHED.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _REACHED.reset(self._token)


_REACHED: ContextVar[Reached | None] = ContextVar("gossamer.reached", default=None)


class Calls:
    """What was asked of one engine."""

    __slots__ = ("failed", "times")

    def __init__(self) -> None:
        self.times = Times()
        self.failed = 0


class Call:
    """One call at an engine, for the length of a block.

    Attributes:
        failed: whether the engine gave no answer.
    """

    __slots__ = ("_began_ns", "_calls", "_span", "failed")

    def __init__(self, engine: str, calls: Calls, what: str) -> None:
        self._calls = calls
        self.failed = False
        reached = _REACHED.get()
        if reached is not None:
            reached.note(engine)
        self._span = port.current().child(f"{what} {engine}", "client")
        if self._span.records:
            self._span.set("gossamer.engine", engine)

    def answered(self, status: int) -> None:
        """With a status of HTTP's."""
        if self._span.records:
            self._span.set("http.response.status_code", status)

    def __enter__(self) -> "Call":
        self._began_ns = time.perf_counter_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._calls.times.note(time.perf_counter_ns() - self._began_ns)
        if self.failed:
            self._calls.failed += 1
        if error is not None:
            self._span.fail(type(error).__name__)
        self._span.end()
