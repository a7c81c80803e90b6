"""What workers say of their attempts, and what becomes of it: the same over HTTP and over Kafka.

A result is `{"run", "step", "attempt", "status": "completed", "output"}` or
`{…, "status": "failed", "failure": {"code", "message", "retryable", "details"}}`. Fields beside
these are passed over, so that a newer worker can speak to an older gateway. An output that is too
large is the worker's failure and is answered as one: refused, it would be sent for ever.
"""

from dataclasses import dataclass
from typing import Any

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer, Verdict
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.values import VALUE_BYTES_MAX
from gossamer_gateway.runs.strict import size_of

ID_CHARACTERS_MAX = 200
"""Of runs, steps and workers."""

CODE_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Result:
    """A result, read."""

    run: str
    answer: Answer


def read_result(value: Any) -> Result:
    """Raises: BadRequest, with the field that is wrong."""
    if not isinstance(value, dict):
        raise BadRequest("a result is an object")
    run, step = _id(value, "run"), _id(value, "step")
    attempt = value.get("attempt")
    if isinstance(attempt, bool) or not isinstance(attempt, int) or not 0 < attempt < 2**31:
        raise BadRequest("attempt must be a whole number from 1, as the job has it")
    status = value.get("status")
    if status == "completed":
        return Result(run, completed(step, attempt, value.get("output")))
    if status == "failed":
        return Result(run, Answer(step, attempt, failure=_failure(value.get("failure"))))
    raise BadRequest("status must be completed or failed")


def completed(step: str, attempt: int, output: Any) -> Answer:
    """An attempt is done, with this; one that is too large is a failure."""
    size = size_of(output)
    if size <= VALUE_BYTES_MAX:
        return Answer(step, attempt, output)
    said = f"the output has {size} bytes as JSON; {VALUE_BYTES_MAX} are the most"
    return Answer(step, attempt, failure=failure_of("TooLarge", said, retryable=False))


def failure_of(
    code: str, message: str = "", details: str = "", *, retryable: bool = True
) -> Failure:
    """A worker's failure, cut to what is kept of one."""
    return Failure(
        code[:CODE_CHARACTERS_MAX] or "Error",
        message[: e.MESSAGE_CHARACTERS_MAX],
        retryable=retryable,
        details=details[: e.DETAILS_CHARACTERS_MAX],
    )


def _failure(value: Any) -> Failure:
    if not isinstance(value, dict):
        raise BadRequest('a failed result has a failure: {"code", "message", "retryable"}')
    texts = [value.get(name) or "" for name in ("code", "message", "details")]
    if not all(isinstance(one, str) for one in texts):
        raise BadRequest("code, message and details of a failure are texts")
    retryable = value.get("retryable", True)
    if not isinstance(retryable, bool):
        raise BadRequest("retryable of a failure is true or false")
    return failure_of(*texts, retryable=retryable)


def _id(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= ID_CHARACTERS_MAX:
        raise BadRequest(f"{name} must be a text of 1 to {ID_CHARACTERS_MAX} characters")
    return text


async def give(engine: Engine, result: Result) -> Verdict:
    """Has a result take effect. Its verdict is told once that is on disk."""
    return await engine.answer(result.run, result.answer)
