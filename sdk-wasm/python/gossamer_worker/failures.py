"""Why a handler failed, as it is said to the gateway.

The code is for programs: the name of the exception's type, so that a definition's `retry.on` and
`retry.notOn` can name it. The message is for people, the stack for those who mend. All are bounded:
what a failure says ends up in the history of a run, for ever.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass

CODE_CHARACTERS_MAX = 200
MESSAGE_CHARACTERS_MAX = 2_000
DETAILS_CHARACTERS_MAX = 20_000

_HALVES = re.compile("[\ud800-\udfff]")


class WorkerError(Exception):
    """Raised by a handler that wants to say itself what its failure is called.

    Args:
        code: for programs, such as `out-of-stock`.
        message: for people.
        retryable: False: another attempt is no use, whatever the workflow's policy says.
    """

    def __init__(self, code: str, message: str = "", *, retryable: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


@dataclass(frozen=True)
class Failure:
    """What is sent of it."""

    code: str
    message: str = ""
    retryable: bool = True
    details: str = ""

    def as_json(self) -> dict[str, object]:
        """Its form on the wire."""
        said: dict[str, object] = {
            "code": bounded(self.code, CODE_CHARACTERS_MAX),
            "message": bounded(self.message, MESSAGE_CHARACTERS_MAX),
            "retryable": self.retryable,
        }
        if self.details:
            said["details"] = bounded(self.details, DETAILS_CHARACTERS_MAX)
        return said


def failure_of(
    error: BaseException, not_retryable: tuple[type[BaseException], ...] = ()
) -> Failure:
    """The failure that an exception of a handler is."""
    details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    # A stack ends in what happened; so its end is kept.
    details = _whole(details)[-DETAILS_CHARACTERS_MAX:]
    if isinstance(error, WorkerError):
        return Failure(str(error.code), str(error.message), bool(error.retryable), details)
    try:
        message = str(error)
    except Exception:  # its own __str__ is somebody's code, too
        message = ""
    return Failure(type(error).__name__, message, not isinstance(error, not_retryable), details)


def bounded(text: str, characters_max: int) -> str:
    """A text that can be written as UTF-8, of at most so many characters."""
    text = _whole(text)
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def _whole(text: str) -> str:
    # Half of a surrogate pair is no character, and cannot be sent.
    return _HALVES.sub("\ufffd", text)
