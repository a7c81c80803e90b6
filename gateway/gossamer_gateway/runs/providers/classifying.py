"""Whose fault a failed call was: the provider's or the function's own. Pure, one table.

The provider's (`blame: provider`): the way to it (no address, no connection, no TLS, cut, too
slow), what it says of itself (throttled, unavailable, 5xx), and what it cannot find or will not
allow: another provider may have the function, and let us in. The function's (`blame: function`):
what its code threw or answered; elsewhere it would do the same.

An HTTP function (Google, Azure) has but the status to speak with. Its 4xx is its own word; 5xx is
counted as the provider's, as it mostly is, unless Google's runtime marks the reply as thrown by the
function's code (`X-Google-Status`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.port import failure


@dataclass(frozen=True, slots=True)
class Row:
    """What a code means.

    Attributes:
        trips: it says that the provider is unwell: the circuit counts it.
        asked: whether the provider was asked at all; else it says nothing of its health.
    """

    blame: str
    retryable: bool
    trips: bool
    asked: bool = True


_UNWELL = Row("provider", retryable=True, trips=True)
_REFUSED = Row("provider", retryable=False, trips=False)
_NOT_ASKED = Row("provider", retryable=False, trips=False, asked=False)
_OWN = Row("function", retryable=True, trips=False)

CODES: dict[str, Row] = {
    "NameNotFound": _UNWELL,
    "ConnectRefused": _UNWELL,
    "ConnectFailed": _UNWELL,
    "TlsFailed": _UNWELL,
    "ConnectionLost": _UNWELL,
    "Timeout": _UNWELL,
    "Unavailable": _UNWELL,
    "BadReply": _UNWELL,
    # A limit of one function or account; it says nothing of the region's health.
    "Throttled": Row("provider", retryable=True, trips=False),
    "CircuitOpen": _NOT_ASKED,
    "NotConfigured": _NOT_ASKED,
    "NoCredentials": Row("provider", retryable=True, trips=False, asked=False),
    "AccessDenied": _REFUSED,
    # Of this machine: others of the clouds do not look at it.
    "ClockSkew": _REFUSED,
    # Each cloud has a bound of its own.
    "PayloadTooLarge": _REFUSED,
    "FunctionNotFound": _REFUSED,
    "BadFunctionId": _NOT_ASKED,
    # By what it was sent, or for what it sends: elsewhere it would be the same.
    "FunctionError": _OWN,
    "FunctionRefused": Row("function", retryable=False, trips=False),
    "ReplyTooLarge": Row("function", retryable=False, trips=False),
    "Mistake": _NOT_ASKED,
}
"""What each code that the gateway itself gives means. Functions have codes of their own."""

STATUSES: dict[int, str] = {
    401: "AccessDenied",
    403: "AccessDenied",
    404: "FunctionNotFound",
    408: "Timeout",
    413: "PayloadTooLarge",
    429: "Throttled",
}
"""Other statuses: see `of_status`."""

AWS_ERRORS: dict[str, str] = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "AccessDenied",
    "IncompleteSignatureException": "AccessDenied",
    "InvalidSignatureException": "AccessDenied",
    "MissingAuthenticationTokenException": "AccessDenied",
    "SignatureDoesNotMatch": "AccessDenied",
    "UnrecognizedClientException": "AccessDenied",
    "ResourceNotFoundException": "FunctionNotFound",
    "TooManyRequestsException": "Throttled",
    "EC2ThrottledException": "Throttled",
    "ThrottlingException": "Throttled",
    "RequestTooLargeException": "PayloadTooLarge",
    "NoPublishedVersionException": "FunctionNotFound",
    # States of a function that pass, or that an administrator must mend.
    "EFSIOException": "Unavailable",
    "SnapStartNotReadyException": "Unavailable",
    "ResourceConflictException": "Unavailable",
    "ResourceNotReadyException": "Unavailable",
    "InvalidRequestContentException": "FunctionRefused",
    "InvalidParameterValueException": "FunctionRefused",
    "UnsupportedMediaTypeException": "FunctionRefused",
    "RecursiveInvocationException": "FunctionRefused",
}
"""Errors of Lambda's Invoke, by the names in its API reference; others go by their status."""

GOOGLE_CRASH = frozenset({"crash", "error"})
"""Values of `X-Google-Status` with which Google's runtime marks what the function's code threw."""


def of_status(status: int) -> str:
    """The code of a status that is no success."""
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500:
        return "Timeout" if status == 504 else "Unavailable"
    return "FunctionRefused" if status >= 400 else "BadReply"


def of_aws(error: str, status: int) -> str:
    """The code of a refusal of Lambda's; `error` is its name, as it came."""
    name = error.partition(":")[0].rpartition("#")[2]
    return AWS_ERRORS.get(name) or of_status(status)


def of_http_function(status: int, headers: Mapping[str, str]) -> str:
    """The code of an HTTP function's reply that is no success."""
    if status >= 500 and headers.get("x-google-status") in GOOGLE_CRASH:
        return "FunctionError"
    return of_status(status)


def failed(
    code: str, message: str, *, details: str = "", retry_after_ms: int | None = None
) -> Failure:
    """The failure of a code of ours."""
    row = CODES[code]
    return failure(
        code,
        message,
        blame=row.blame,
        retryable=row.retryable,
        details=details,
        retry_after_ms=retry_after_ms,
    )


def trips(failure: Failure) -> bool:
    """Whether a failure says that the provider is unwell."""
    return failure.blame == "provider" and failure.code in CODES and CODES[failure.code].trips


def was_asked(failure: Failure) -> bool:
    """Whether a failure says anything of the provider's health."""
    return failure.code not in CODES or CODES[failure.code].asked or failure.blame != "provider"
