"""What the gateway raises, by blame: the person's file, the client's request, the process, ours.

Every message is one sentence that names what happened, to what, and the next step where there is
one. Whatever is raised here, nothing was changed: a command either takes effect whole or not at
all. The HTTP dialect gives each kind its status; nothing below it knows of HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class GatewayError(Exception):
    """Anything that this package raises on purpose."""

    exit_status = 1


class InputError(GatewayError):
    """A file or argument that a person wrote is wrong. Nothing was started."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a BPMN file is refused.

    Attributes:
        message: what is wrong with which element, and what to use instead.
        element_id: the element's id, None where it has none.
        line: in the file, counted from 1; 0 when unknown.
    """

    message: str
    element_id: str | None = None
    line: int = 0


class ProcessRefused(GatewayError):
    """A BPMN file that this engine does not run. Carries every problem of every file."""

    def __init__(self, problems: Mapping[str, Sequence[Problem]]) -> None:
        self.problems = {resource: tuple(found) for resource, found in problems.items()}
        super().__init__(
            "Could not parse BPMN process. Errors: "
            + " ".join(
                f"\n* {problem.message} | resource {resource} | line {problem.line}"
                for resource, found in self.problems.items()
                for problem in found
            )
        )


class ExpressionRefused(GatewayError):
    """An expression that is not of the language; said when a process is deployed."""


class RequestError(GatewayError):
    """The client asked for what cannot be: it may mend the request, repeating it is no use."""


class BadRequest(RequestError):
    """A value in the request is wrong by itself, whatever the state of the engine."""


class UnknownTask(RequestError):
    """No such external task: it never was, or it was settled, or its instance has ended."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"External task with id {task_id} does not exist")


class UnknownInstance(RequestError):
    """No such process instance, or it has ended."""


class UnknownDefinition(RequestError):
    """No such process is deployed."""


class NotLockedByWorker(RequestError):
    """The task's lock belongs to another worker, or to none, or has run out."""


class Forbidden(RequestError):
    """Who asks may not do this to the process that it is about."""


class UnknownSetting(RequestError):
    """There is no such route, rule or override, or it was removed."""


class WordRefused(GatewayError):
    """What another gateway said of a setting is not to be taken: junk, forged, or of a stranger."""


class UpstreamFailed(GatewayError):
    """A URL that an override names did not answer as it should; it may have acted.

    Attributes:
        status: what the client is answered: 502, 504 for one that was too slow, 508 for a circle.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StepFailed(GatewayError):
    """The process could not take its next step with the variables it has.

    The blame is the model's or the data's. The task that was being settled is still locked.
    """


class StorageFailed(GatewayError):
    """The engine's file could not be written or read; nothing of the request was kept."""


class Overloaded(GatewayError):
    """A bound was reached; the same request may be tried again later."""
