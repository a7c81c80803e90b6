"""What the house says to whoever keeps traces, and the default, which keeps none.

    with tracing.begin("POST /engine-rest", "server", parent) as span:
        span.set("http.response.status_code", 200)

Within the block the span is `current()`, also in the tasks that are begun there, and what is done
on its behalf elsewhere in the house hangs itself below it by `current().child(…)` without being
given anything.
"""

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Literal, Protocol

from gossamer_node.tracing.traceparent import Traceparent

Kind = Literal["internal", "server", "client", "producer", "consumer"]
"""OpenTelemetry's kinds of span."""

Value = str | int | bool


class Span:
    """One step; this one is kept by nobody. Entered once, it is `current()` until it is left.

    Attributes:
        records: whether anybody hears of it; where not, nothing need be said to it.
        traceparent: names it to other processes; None for one that is in no trace.
    """

    __slots__ = ("_token",)

    records: bool = False
    traceparent: str | None = None

    def child(self, name: str, kind: Kind = "internal", began_ns: int | None = None) -> "Span":
        """A step of this step.

        Args:
            began_ns: since 1970; None for now.
        """
        return self

    def set(self, name: str, value: Value) -> None:
        """Says something of it."""

    def fail(self, why: str) -> None:
        """It came to a bad end."""

    def end(self) -> None:
        """It is over; what is said to it later is lost."""

    def __enter__(self) -> "Span":
        self._token: Token[Span] = _CURRENT.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _CURRENT.reset(self._token)
        if error is not None:
            self.fail(type(error).__name__)
        self.end()


class _Nothing(Span):
    """Shared by all, so it must remember nothing: below it, `current()` stays what it is."""

    __slots__ = ()

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        pass


NOTHING: Final[Span] = _Nothing()

_CURRENT: ContextVar[Span] = ContextVar("gossamer.span", default=NOTHING)


def current() -> Span:
    """The span on whose behalf this task works."""
    return _CURRENT.get()


def detach() -> None:
    """What this task does from now on is on nobody's behalf."""
    _CURRENT.set(NOTHING)


class Tracing(Protocol):
    """Keeps traces."""

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: Traceparent | None = None,
        began_ns: int | None = None,
    ) -> Span:
        """A span below one of another process, or the first of a trace.

        Args:
            began_ns: since 1970; None for now.
        """


class NoTracing:
    """Keeps none."""

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: Traceparent | None = None,
        began_ns: int | None = None,
    ) -> Span:
        return NOTHING


NO_TRACING: Final[Tracing] = NoTracing()
