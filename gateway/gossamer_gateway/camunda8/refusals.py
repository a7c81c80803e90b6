"""How Camunda 8 says no: a status and a title over REST, a code over gRPC, one sentence in both.

The sentences are those of Zeebe's own records (measured on 8.6), since clients and people look for
them: `Command 'COMPLETE' rejected with code 'NOT_FOUND': Expected to complete job with key '7', but
no such job was found`.
"""

from gossamer_gateway.errors import BadRequest, Forbidden, GatewayError, Overloaded, StorageFailed
from gossamer_gateway.polls.driver import NoEngineAnswered
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.exchange import Answer
from gossamer_node.errors import EngineError, EngineUnavailable
from gossamer_node.grpc import Code

INVALID_ARGUMENT = "INVALID_ARGUMENT"
NOT_FOUND = "NOT_FOUND"
INVALID_STATE = "INVALID_STATE"
UNAVAILABLE = "UNAVAILABLE"
EXHAUSTED = "RESOURCE_EXHAUSTED"
TIMEOUT = "DEADLINE_EXCEEDED"
UNSUPPORTED = "UNIMPLEMENTED"
FORBIDDEN = "FORBIDDEN"
INTERNAL = "INTERNAL"

_KINDS: dict[str, tuple[int, Code]] = {
    INVALID_ARGUMENT: (400, Code.INVALID_ARGUMENT),
    FORBIDDEN: (403, Code.PERMISSION_DENIED),
    NOT_FOUND: (404, Code.NOT_FOUND),
    INVALID_STATE: (409, Code.FAILED_PRECONDITION),
    INTERNAL: (500, Code.INTERNAL),
    UNSUPPORTED: (501, Code.UNIMPLEMENTED),
    UNAVAILABLE: (503, Code.UNAVAILABLE),
    EXHAUSTED: (503, Code.RESOURCE_EXHAUSTED),
    TIMEOUT: (504, Code.DEADLINE_EXCEEDED),
}


_COLUMN_TOO_SMALL = 10_002
"""Camunda 7's exception code."""


class Refused(GatewayError):
    """A request that was not done.

    Attributes:
        status, title: as REST says it.
        code: as gRPC says it.
    """

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(detail)
        self.title = title
        self.status, self.code = _KINDS[title]


def rejected(command: str, title: str, detail: str) -> Refused:
    """As a record of Zeebe's says it, `COMPLETE` being a command."""
    return Refused(title, f"Command '{command}' rejected with code '{title}': {detail}")


def of_error(error: Exception) -> Refused:
    """What the rest of the gateway raises, as Camunda 8 would say it."""
    match error:
        case Refused():
            return error
        case Forbidden():
            return Refused(FORBIDDEN, str(error))
        case BadRequest():
            return Refused(INVALID_ARGUMENT, str(error))
        case Overloaded():
            return Refused(EXHAUSTED, str(error))
        case EngineUnavailable() | NoEngineAnswered() | StorageFailed():
            return Refused(UNAVAILABLE, str(error))
        case EngineError() | GatewayError():
            return Refused(INTERNAL, str(error))
        case _:
            raise error


EXPECTED = (GatewayError, EngineError, NoEngineAnswered)
"""What `of_error` knows."""


def lacks(answer: Answer) -> bool:
    """Whether an engine of Camunda 7's has no such resource, as the embedded one has not all."""
    is_unknown_url = answer.json_object().get("type") == "NotFoundException"
    return answer.status == 405 or (answer.status == 404 and is_unknown_url)


def of_seven(answer: Answer, engine: Upstream, command: str, doing: str) -> Refused:
    """Camunda 7's no, by the general meaning of its status.

    Args:
        doing: what was asked, as in "did not …".
    """
    said = answer.sentence() or f"HTTP {answer.status}"
    if answer.json_object().get("code") == _COLUMN_TOO_SMALL:
        said += " A text is too long for its column; Camunda 7's hold 4,000 characters."
        return rejected(command, INVALID_ARGUMENT, said)
    if lacks(answer):
        return Refused(UNSUPPORTED, f"{engine.name} can't {doing}: it is an engine without that")
    match answer.status:
        case 400 | 413 | 415:
            return rejected(command, INVALID_ARGUMENT, said)
        case 404:
            return rejected(command, NOT_FOUND, said)
        case 403:
            return Refused(
                FORBIDDEN, f"{engine.peer} does not allow the gateway to {doing}: {said}"
            )
        case 429 | 502 | 503 | 504:
            return Refused(UNAVAILABLE, str(engine.error(answer, doing)))
        case _:
            return Refused(INTERNAL, str(engine.error(answer, doing)))
