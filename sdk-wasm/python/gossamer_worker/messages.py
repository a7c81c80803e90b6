"""What comes and what goes, as JSON: pure functions, the same in all languages of the SDK.

`sdk-wasm/vectors/worker/` is their table of tests. A job that cannot be read is nobody's
work: it is put aside with the reason (`Unreadable`), never thrown away and never a crash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from gossamer_worker.failures import Failure

FORM = 1
"""Of the messages' JSON."""

OUTPUT_BYTES_MAX = 1_048_576
"""Of a result's JSON; the gateway takes no larger ones."""


DEPTH_MAX = 60
"""Of an output: 1 is a list or object of plain values. The gateway takes 64 with the envelope."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1
"""Of an output's integers; the gateway takes no others, for most languages would round them."""


class Unreadable(ValueError):
    """A message that is no job. Its text is the reason, for the dead letters."""


@dataclass(frozen=True)
class Job:
    """One attempt of a step that is to be made.

    Attributes:
        key: the same for all attempts of a step in its run: what was done under it once need not
            be done again.
        due_ms: when the attempt counts as failed, in ms since 1970.
    """

    run: str
    workflow: str
    step: str
    attempt: int
    action: str
    payload: Any
    key: str
    due_ms: int


@dataclass(frozen=True)
class Outcome:
    """How a job ended. `text`: the JSON of its output, or of its failure."""

    completed: bool
    text: str


def told(outcome: Outcome) -> str:
    """A failure on a line, `CODE: MESSAGE`; its stack is with the run."""
    failure = json.loads(outcome.text)
    return " ".join(f"{failure['code']}: {failure['message']}".split())


def read_message(action: str, header: str | None, value: bytes | None) -> Job | None:
    """The job in a message of the topic, or None for one of another action.

    Args:
        action: the one whose jobs are wanted.
        header: the message's header `action`.

    Raises: Unreadable.
    """
    if header is not None and header != action:
        return None
    found = _parse(value)
    if not isinstance(found, dict):
        raise Unreadable("it is not a JSON object")
    form = found.get("form")
    if type(form) is not int or form != FORM:
        raise Unreadable(f"its form is not {FORM}")
    job = read_job(found)
    if job.action == action:
        return job
    if header is None:
        return None
    raise Unreadable("its action is not that of its header")


def read_job(found: Mapping[str, Any]) -> Job:
    """A job from its fields. Raises: Unreadable."""
    return Job(
        run=_text(found, "run"),
        workflow=_text(found, "workflow"),
        step=_text(found, "step"),
        attempt=_whole_number(found, "attempt"),
        action=_text(found, "action"),
        payload=found.get("payload"),
        key=_text(found, "key"),
        due_ms=_whole_number(found, "dueMs"),
    )


def completed(output: object) -> Outcome:
    """The outcome of a handler that gave this; a failure where it cannot be sent."""
    try:
        text = json.dumps(output, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size_bytes = len(text.encode())
        if size_bytes > OUTPUT_BYTES_MAX:
            return too_large(size_bytes)
        _check(output)  # it is a tree now, of no more than those bytes
    except Exception as error:  # a class of the handler's may raise anything while it is read
        kind = type(output).__name__
        message = f"the result ({kind}) cannot be sent as JSON: {error}"
        return failed(Failure("Unserialisable", message, retryable=False))
    return Outcome(True, text)


def too_large(size_bytes: int) -> Outcome:
    """The outcome of a result that nobody takes."""
    return failed(
        Failure(
            "TooLarge",
            f"the result is {size_bytes} bytes of JSON; at most {OUTPUT_BYTES_MAX} are taken",
            retryable=False,
        )
    )


def failed(failure: Failure) -> Outcome:
    """The outcome of a handler that raised."""
    return Outcome(False, json.dumps(failure.as_json(), ensure_ascii=False, separators=(",", ":")))


def result(job: Job, outcome: Outcome, worker: str) -> str:
    """What is sent: on Kafka a message's value, over HTTP one of `results`."""
    head = json.dumps(
        {"form": FORM, "run": job.run, "step": job.step, "attempt": job.attempt, "worker": worker},
        separators=(",", ":"),
    )
    said = '"completed","output"' if outcome.completed else '"failed","failure"'
    # The outcome is JSON already, and may be large: it is not made again.
    return f'{head[:-1]},"status":{said}:{outcome.text}}}'


def _check(output: object) -> None:
    """Raises: ValueError: it is JSON, perhaps, and still the gateway would not take it."""
    level: list[object] = [output]
    depth = 0
    while level:
        inner: list[object] = []
        for one in level:
            if isinstance(one, (dict, list, tuple)):
                if depth == DEPTH_MAX:
                    raise ValueError(f"it nests deeper than {DEPTH_MAX} levels; make it flatter")
                inner += one.values() if isinstance(one, dict) else one
            elif isinstance(one, int) and not INTEGER_MIN <= one <= INTEGER_MAX:
                raise ValueError("an integer is beyond 64 bits; make it a text")
        level = inner
        depth += 1


def _parse(value: bytes | None) -> object:
    try:
        return json.loads((value or b"").decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unreadable("it is not JSON") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON, whatever Python's reader says")


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise Unreadable(f"`{name}` is not a text, or is empty")
    return value


def _whole_number(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    if type(value) is not int or value < 1:
        raise Unreadable(f"`{name}` is not a whole number of 1 or more")
    return value
