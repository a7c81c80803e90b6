"""What became of a call: gRPC's status codes, and the one exception that carries them.

A server says its status in trailers, or in the only headers of an answer without a message. Where
it never got to say one, the client makes it: from an HTTP status (a proxy spoke), from the reason
of a RST_STREAM, from a broken connection or a deadline. The tables are those of the specification
(grpc/grpc, doc/PROTOCOL-HTTP2.md and doc/http-grpc-status-mapping.md).
"""

from enum import IntEnum
from urllib.parse import unquote_to_bytes

from h2.errors import ErrorCodes

from gossamer_node.errors import NodeError

SENTENCE_CHARS_MAX = 500
"""How much of a server's own words goes into a message."""


class Code(IntEnum):
    """Status codes by their number on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(NodeError):
    """A call that did not end well.

    Attributes:
        code: the server's status, or the client's for one that the server never gave.
        said: the reason alone, in the server's words or ours; perhaps empty.
        untouched: the server certainly did nothing, so the call may be repeated as it is.
        by_server: the status is one that the server itself gave, not one that the client made.
    """

    exit_status = 3

    def __init__(
        self, code: Code, said: str, *, untouched: bool = False, by_server: bool = False
    ) -> None:
        super().__init__(f"{code.name}: {said}" if said else code.name)
        self.code = code
        self.said = said
        self.untouched = untouched
        self.by_server = by_server

    def about(self, what: str) -> "RpcError":
        """The same with a message that names the peer and the method."""
        told = RpcError(self.code, self.said, untouched=self.untouched, by_server=self.by_server)
        told.args = (f"{what}: {self}",)
        return told


_OF_HTTP = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}

_OF_RESET = {
    ErrorCodes.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCodes.CANCEL: Code.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


def of_http(status: bytes) -> RpcError:
    """For an answer that is no gRPC: a proxy's, or another server's."""
    number = int(status) if len(status) == 3 and status.isdigit() else 0
    code = _OF_HTTP.get(number, Code.UNKNOWN)
    return RpcError(
        code, f"an HTTP answer ({number or 'without a status'}) that is no gRPC; is it a gRPC port?"
    )


def of_reset(error_code: int) -> RpcError:
    """For a stream that the server reset. REFUSED_STREAM promises that nothing was done."""
    try:
        name = ErrorCodes(error_code)
    except ValueError:
        return RpcError(Code.INTERNAL, f"the server broke it off (HTTP/2 error {error_code})")
    return RpcError(
        _OF_RESET.get(name, Code.INTERNAL),
        f"the server broke it off ({name.name})",
        untouched=name is ErrorCodes.REFUSED_STREAM,
    )


def of_trailers(headers: dict[bytes, bytes]) -> RpcError | None:
    """What `grpc-status` and `grpc-message` say: None for OK."""
    told = headers.get(b"grpc-status")
    if told is None:
        return RpcError(Code.INTERNAL, "the answer ended without a grpc-status")
    try:
        code = Code(int(told)) if told.isdigit() and len(told) < 4 else Code.UNKNOWN
    except ValueError:
        code = Code.UNKNOWN
    if code is Code.OK:
        return None
    # "Percent-encoded"; what isn't decodes to something readable all the same.
    said = unquote_to_bytes(headers.get(b"grpc-message", b"")[: 9 * SENTENCE_CHARS_MAX])
    return RpcError(code, one_line(said.decode(errors="replace")), by_server=True)


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, at most SENTENCE_CHARS_MAX long."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= SENTENCE_CHARS_MAX else words[: SENTENCE_CHARS_MAX - 1] + "…"
