"""What workers say of their attempts, and what becomes of it: the same over HTTP and over Kafka.

A result is `{"run", "step", "attempt", "status": "completed", "output"}` or
`{…, "status": "failed", "failure": {"code", "message", "retryable", "details"}}`. Fields beside
these are passed over, so that a newer worker can speak to an older gateway. An output that is no
value, or is too large, is the worker's failure (`deciding.answer`): refused, it would be sent for
ever.
"""

from dataclasses import dataclass
from typing import Any

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.events import Failure

ID_CHARACTERS_MAX = 200
"""Of runs, steps and workers."""

CODE_CHARACTERS_MAX = 200

ATTEMPT_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Result:
    """A result, read."""

    run: str
    answer: Answer


def read_attempt(value: dict[str, Any], *alone: str) -> tuple[str, str, int]:
    """Run, step and attempt.

    Args:
        alone: the names that there may be; none: any.

    Raises: BadRequest, with the field that is wrong.
    """
    for name in value:
        if alone and name not in alone:
            raise BadRequest(f"there is no field {name[:64]!r} here; there is {', '.join(alone)}")
    run, step = _id(value, "run"), _id(value, "step")
    attempt = value.get("attempt")
    if isinstance(attempt, bool) or not isinstance(attempt, int) or not 0 < attempt <= ATTEMPT_MAX:
        raise BadRequest("attempt must be a whole number from 1, as the job has it")
    return run, step, attempt


def read_result(value: Any) -> Result:
    """Raises: BadRequest, with the field that is wrong."""
    if not isinstance(value, dict):
        raise BadRequest("a result is an object")
    run, step, attempt = read_attempt(value)
    status = value.get("status")
    if status == "completed":
        return Result(run, Answer(step, attempt, value.get("output")))
    if status == "failed":
        return Result(run, Answer(step, attempt, failure=_failure(value.get("failure"))))
    raise BadRequest("status must be completed or failed")


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
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadRequest('a failed result has a failure: {"code", "message", "retryable"}')
    given = [value.get(name) for name in ("code", "message", "details")]
    texts = ["" if one is None else one for one in given]
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
