"""Refusals in the form of each dialect: Camunda 7's error object, or problem+json (RFC 9457)."""

import json
from http import HTTPStatus


class Denied(Exception):
    """A request that is not let in.

    Args:
        said: the reason, a sentence for the client.
        headers: to add to the answer.
    """

    def __init__(
        self, status: int, said: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(said)
        self.status = status
        self.said = said
        self.headers = headers


def body_of(path: str, denied: Denied) -> tuple[bytes, bytes]:
    """Content type and body of a refusal, in the dialect of a path."""
    of_seven = path.removeprefix("/workflow")
    if of_seven == "/engine-rest" or of_seven.startswith("/engine-rest/"):
        kind = "AuthorizationException" if denied.status in (401, 403) else "RestException"
        told = {"type": kind, "message": denied.said, "code": 0}
        return b"application/json", json.dumps(told).encode()
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(denied.status).phrase,
        "status": denied.status,
        "detail": denied.said,
        "instance": path,
    }
    return b"application/problem+json", json.dumps(problem).encode()
