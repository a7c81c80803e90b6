"""How the demo reads in a terminal: a line for each thing that happens, when it happens."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from gossamer_gateway.runs.providers.demo.play import Payment

COLOURS = {
    "dim": 2,
    "bold": 1,
    "good": 32,
    "bad": 31,
    "warn": 33,
    "AWS": 33,
    "GCP": 34,
    "AZURE": 36,
}
"""ECMA-48 SGR. Left out where NO_COLOR is set or nobody looks (no-color.org)."""

WORDS_MAX = 90
"""Characters of a failure's message."""


class Teller:
    """Writes what it is told. `stream`: where to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colours = stream.isatty() and "NO_COLOR" not in os.environ
        self._at: dict[tuple[str, int], str] = {}
        self._payments = 0

    def line(self, text: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def tell(self, at_s: float, event: Mapping[str, Any]) -> None:
        """An event of a run, or an outage."""
        for text in self._lines(event):
            self.line(f"{self._paint('dim', f'{at_s:6.1f} s')}  {text}")

    def summary(self, payments: Sequence[Payment], good: bool) -> None:
        """How it ended."""
        self.line()
        for number, one in enumerate(payments, 1):
            by = [str(one.output.get(f"{step}By")) for step in ("authorized", "charged", "receipt")]
            self.line(
                f"Payment {number}: {one.status} in {one.seconds:.1f} s, {one.attempts} attempts, "
                f"{one.failovers} failovers; authorized by {by[0]}, charged by {by[1]}, receipt by "
                f"{by[2]}; the money was taken {_times(one.charged)}."
            )
        word = "Every payment went through, and none twice." if good else "That is not as it must."
        self.line(self._paint("good" if good else "bad", word))

    def _lines(self, event: Mapping[str, Any]) -> Iterator[str]:
        kind, step = event["kind"], f"{event.get('step', ''):<10}"
        if kind == "run.triggered":
            self._payments += 1
            given = event.get("input", {})
            yield self._paint(
                "bold", f"Payment {self._payments}: {given.get('order')}, {given.get('amount')} €"
            )
        elif kind == "killed":
            name = event["provider"]
            yield self._paint("bad", f"{name} is gone: its functions were killed in the middle.")
        elif kind == "attempt.started":
            where = event.get("provider", "")
            self._at[event["step"], event["attempt"]] = where
            yield f"{step} {self._paint(where, f'{where:<6}')} attempt {event['attempt']}"
        elif kind == "attempt.failed":
            where = self._at.get((event["step"], event["attempt"]), "")
            failure = event["failure"]
            message = failure.get("message", "").removeprefix(f"{event['step']} at {where}: ")
            said = f"{failure['code']}: {message}"
            words = said if len(said) <= WORDS_MAX else f"{said[: WORDS_MAX - 1]}…"
            yield f"{step} {self._paint(where, f'{where:<6}')} {self._paint('bad', words)}"
        elif kind == "retry.scheduled":
            yield f"{step}        again in {event['delayMs']} ms"
        elif kind == "step.failover":
            words = f"{event['left']} → {event['taken']}"
            yield f"{step} {self._paint('warn', words)}"
        elif kind == "step.completed":
            where = self._at.get((event["step"], event["attempt"]), "")
            done = self._paint("good", "done")
            yield f"{step} {self._paint(where, f'{where:<6}')} {done}"
        elif kind == "run.completed":
            yield self._paint("good", "completed")
        elif kind == "run.failed":
            yield self._paint("bad", f"failed: {event['failure'].get('message', '')}")

    def _paint(self, colour: str, text: str) -> str:
        code = COLOURS.get(colour)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours and code else text


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")
