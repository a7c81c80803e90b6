"""What the node raises, by blame: ours, the person's, the engine's. A worker's failure is none of
these: it is an outcome (`jobs.Failed`), because it belongs to the job and not to the program.

Every message is one sentence that names what happened, to what, and the next step; the command
line prints it as it stands.
"""


class NodeError(Exception):
    """Anything that this package raises on purpose."""

    exit_status = 1


class InputError(NodeError):
    """A file or argument that a person wrote is wrong. Nothing was started or changed."""

    exit_status = 2


class ServiceError(InputError):
    """A service.yaml, or the module that it names, cannot be used."""


class EngineError(NodeError):
    """An engine did not do what it was asked."""

    exit_status = 3


class EngineUnavailable(EngineError):
    """No usable answer: refused, timed out, overloaded (429, 503). The call may be tried again.

    Whether the engine acted on it is unknown when a connection broke after the request was sent.
    """

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class EngineRefused(EngineError):
    """The engine answered no, and will answer no again: bad credentials, bad BPMN, a bad value."""


class Unsupported(EngineError):
    """The engine has no such capability; the message names the engine and what to do instead."""


class LocalEngineError(EngineError):
    """An engine could not be started on this machine; nothing of it is left running."""


class LocalEngineMissing(LocalEngineError):
    """An engine can't be had on this machine: no network, no Maven, no Java runtime."""
