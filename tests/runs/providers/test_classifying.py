"""Whose fault it was, row by row."""

import pytest

from gossamer_gateway.runs.providers import classifying
from gossamer_gateway.runs.providers.classifying import (
    AWS_ERRORS,
    CODES,
    STATUSES,
    of_aws,
    of_http_function,
    of_status,
)
from gossamer_gateway.runs.providers.port import failure


def test_every_status_has_a_code_with_a_meaning() -> None:
    for status in [*range(100, 200), *range(300, 1_000)]:
        row = CODES[of_status(status)]
        assert row.blame == "provider" or 400 <= status < 500
    assert set(STATUSES.values()) | set(AWS_ERRORS.values()) <= set(CODES)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("TooManyRequestsException", 429, "Throttled"),
        ("com.amazonaws.lambda#TooManyRequestsException:http://x", 429, "Throttled"),
        ("EC2ThrottledException", 502, "Throttled"),
        ("ServiceException", 500, "Unavailable"),
        ("KMSAccessDeniedException", 502, "Unavailable"),
        ("ResourceNotFoundException", 404, "FunctionNotFound"),
        ("ResourceConflictException", 409, "Unavailable"),
        ("RequestTooLargeException", 413, "PayloadTooLarge"),
        ("InvalidRequestContentException", 400, "FunctionRefused"),
        ("ExpiredTokenException", 403, "AccessDenied"),
        ("", 503, "Unavailable"),
        ("SomethingNew", 400, "FunctionRefused"),
    ],
)
def test_errors_of_lambda(error: str, status: int, code: str) -> None:
    assert of_aws(error, status) == code


def test_what_googles_runtime_marks_is_the_functions() -> None:
    assert of_http_function(500, {"x-google-status": "crash"}) == "FunctionError"
    assert of_http_function(500, {}) == "Unavailable"
    assert of_http_function(404, {"x-google-status": "crash"}) == "FunctionNotFound"


def test_only_what_says_that_a_provider_is_unwell_trips_the_circuit() -> None:
    tripping = {code for code, row in CODES.items() if row.trips}
    assert {"Timeout", "ConnectRefused", "Unavailable", "BadReply"} <= tripping
    assert not tripping & {"Throttled", "AccessDenied", "FunctionNotFound", "FunctionError"}
    own = failure("Timeout", "the function called itself so", blame="function")
    assert not classifying.trips(own)
