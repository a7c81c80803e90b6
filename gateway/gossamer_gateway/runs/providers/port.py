"""What a provider of functions is to the rest of the gateway.

`invoke` never raises: whatever goes wrong is a `Failure` that says whose fault it was, because the
core decides by that whether to try again, to go elsewhere, or to give up. It takes no longer than
it is told, and reads no more than `REPLY_BYTES_MAX`. Nothing that it says has a secret in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import (
    DETAILS_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    Failure,
)

REPLY_BYTES_MAX = 2**20
"""Of an answer: what a step may give."""

SECRET_CHARACTERS_MIN = 6
"""What is shorter is no secret, and would blot out half of a message."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call that is to be made.

    Attributes:
        payload: JSON.
        key: passed on as the idempotency key; the same for all attempts of a step.
        deadline_ms: how long all of it may take.
    """

    place: Place
    payload: Any
    key: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the function gave."""

    output: Any


class Provider(Protocol):
    """A cloud. Safe to use from several tasks at once."""

    def region(self, place: Place) -> str:
        """The region in which a place is; empty where none is known. Never raises."""

    async def invoke(self, invocation: Invocation) -> Outcome | Failure:
        """Calls a function. Never raises but for cancellation."""

    async def aclose(self) -> None:
        """Closes its connections."""


def failure(
    code: str,
    message: str,
    *,
    blame: str = "provider",
    retryable: bool = True,
    details: str = "",
    retry_after_ms: int | None = None,
) -> Failure:
    """A failure within the bounds of one."""
    return Failure(
        code[:200],
        message[:MESSAGE_CHARACTERS_MAX],
        blame,
        retryable,
        details[:DETAILS_CHARACTERS_MAX],
        retry_after_ms,
    )


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """A text without these in it: AWS for one repeats what was signed, session token and all."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SECRET_CHARACTERS_MIN:
            text = text.replace(secret, "[redacted]")
    return text
