"""Overrides before the dialects: an ASGI application around another one.

It sees requests that the door has let in. Where no rule matches, and there mostly is none, it hands
the request on as it came. A rule that names another engine becomes the header by which a client
would name it (`desk.ENGINE_HEADER`), in place of the client's own; all other rules are answered
here. A body is read, `BODY_BYTES_MAX` at most, only where a rule answers, or asks for a process
that stands in it.
"""

import json
from collections.abc import Iterable
from typing import Any

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    Scope,
)

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_gateway.errors import BadRequest, UpstreamFailed
from gossamer_gateway.overrides.deciding import Request, Verdict
from gossamer_gateway.overrides.forwarding import BODY_BYTES_MAX, Answer
from gossamer_gateway.overrides.overrides import Overrides
from gossamer_gateway.overrides.rules import Engine
from gossamer_gateway.overrides.subjects import process_of


class Overriding:
    """The application with the rules in front of it."""

    def __init__(self, application: ASGIFramework, overrides: Overrides) -> None:
        self._application = application
        self._overrides = overrides

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "http" or not self._overrides.rules():
            await self._application(scope, receive, send)
            return
        body = _Body(receive)
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in scope["headers"]
        ]
        method, path = scope["method"], scope["path"]
        process = process_of(method, path, b"")
        if process is None and self._overrides.asks_for_process():
            process = process_of(method, path, await body.whole() or b"")
        request = Request(method, path, headers, process)
        verdict = self._overrides.decide(request)
        if verdict is None:
            await self._application(scope, body.receive, send)
        elif isinstance(verdict.action, Engine):
            kept = [one for one in scope["headers"] if one[0].lower() != ENGINE_HEADER.encode()]
            named = (ENGINE_HEADER.encode(), verdict.action.name.encode("latin-1", "replace"))
            changed: Any = {**scope, "headers": [*kept, named]}
            await self._application(changed, body.receive, send)
        else:
            answer = await self._answer(verdict, request, scope["query_string"], body)
            await _send(send, answer, method)

    async def _answer(
        self, verdict: Verdict, request: Request, query: bytes, body: "_Body"
    ) -> Answer:
        content = await body.whole()
        if content is None:
            return _problem(413, f"the body has more than {BODY_BYTES_MAX} bytes, or was cut.")
        try:
            return await self._overrides.answer(verdict, request, query, content)
        except BadRequest as error:
            return _problem(400, str(error))
        except UpstreamFailed as error:
            return _problem(error.status, str(error))


class _Body:
    """A request's body, which may be read here and then again by the application."""

    def __init__(self, receive: ASGIReceiveCallable) -> None:
        self._receive = receive
        self._read: list[ASGIReceiveEvent] = []
        self._is_whole = False

    async def whole(self) -> bytes | None:
        """All of it; None where it is too long, or the client went away."""
        while not self._is_whole and self._length() <= BODY_BYTES_MAX:
            event = await self._receive()
            self._read.append(event)
            if event["type"] != "http.request":
                return None
            self._is_whole = not event.get("more_body", False)
        if not self._is_whole or self._length() > BODY_BYTES_MAX:
            return None
        return b"".join(_bodies(self._read))

    async def receive(self) -> ASGIReceiveEvent:
        """For the application: first what was read here."""
        return self._read.pop(0) if self._read else await self._receive()

    def _length(self) -> int:
        return sum(map(len, _bodies(self._read)))


def _bodies(events: Iterable[ASGIReceiveEvent]) -> list[bytes]:
    return [one["body"] for one in events if one["type"] == "http.request"]


def _problem(status: int, detail: str) -> Answer:
    text = json.dumps({"type": "about:blank", "title": "Override", "status": status,
                       "detail": detail})  # fmt: skip
    return Answer(status, [("content-type", "application/problem+json")], text.encode())


async def _send(send: ASGISendCallable, answer: Answer, method: str) -> None:
    headers = [
        (name.encode("latin-1", "replace"), text.encode("latin-1", "replace"))
        for name, text in answer.headers
    ]
    if answer.status not in (204, 304) and method != "HEAD":
        headers.append((b"content-length", str(len(answer.body)).encode()))
    start: Any = {
        "type": "http.response.start",
        "status": answer.status,
        "headers": headers,
        "trailers": False,
    }
    await send(start)
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
