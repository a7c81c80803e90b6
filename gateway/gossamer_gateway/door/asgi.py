"""The door in front of an ASGI application: an application around another, for trio.

It answers preflights and refusals by itself, in the dialect of the path, and lets the rest in with
`scope["gossamer.principal"]`: a `Principal` as far as it goes on this path. It adds the headers of
limits and of CORS to every answer, and writes one record of each request. Rules:

1. The body is bounded in bytes (413) and in the time it takes to come (408). Where the application
   is at work by then, it is cancelled; what it had begun to answer is cut off.
2. A refusal is sent when the request's body was read, as `embedded.draining` tells why, within
   bounds; beyond them it is sent all the same, and the connection ends with it.
3. A handler that had to ask about processes and did not (`rules.Reach.ASKED`) gives who is limited
   to some no answer: 403, and an error in the log, since that is a mistake of ours.
4. A WebSocket holds a place as a long poll does. Browsers cannot give it headers: a page offers the
   subprotocol `gossamer.bearer.<key or token>` beside the one that it speaks; the application does
   not see that one.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.typing import ASGIFramework

from gossamer_gateway.door.asking import admitted
from gossamer_gateway.door.cors import OWN, Page, is_known_host, judge
from gossamer_gateway.door.forms import Denied, body_of
from gossamer_gateway.door.gate import Gate, Headers, check, owes_a_question, told
from gossamer_gateway.door.principals import ANYBODY, Principal
from gossamer_gateway.door.rules import Need, need_of
from gossamer_gateway.door.serving import CERTIFICATE
from gossamer_gateway.observing.observing import HEADER, Observing, dialect_of
from gossamer_gateway.observing.starts import with_trace
from gossamer_node import logs

PRINCIPAL = "gossamer.principal"
"""In a scope: who it is."""

SUBPROTOCOL = "gossamer.bearer."

DRAINED_BYTES_MAX = 16 * 2**20
DRAIN_MS_MAX = 5_000
"""What is read of the body of a refused request."""

DIGITS_MAX = 20
HEADERS_MAX = 200
"""Of a request; browsers send some twenty. Hypercorn bounds their bytes alone, and to 64 KB."""

log = logs.get("access")
mistakes = logs.get("door")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Form = Callable[[str, Denied], tuple[bytes, bytes]]

_LOOKED_AT = frozenset(
    (
        b"access-control-request-headers",
        b"access-control-request-method",
        b"authorization",
        b"content-length",
        b"host",
        b"origin",
        b"traceparent",
        b"transfer-encoding",
        b"x-api-key",
    )
)
_CREDENTIALS = (b"authorization", b"x-api-key")


class _Visit:
    """A request on its way through the door."""

    __slots__ = ("bytes", "headers", "method", "need", "path", "principal", "seen", "status")

    def __init__(self, method: str, path: str, headers: Any) -> None:
        self.method, self.path = method, path
        self.seen: list[tuple[bytes, bytes]] = [one for one in headers if one[0] in _LOOKED_AT]
        self.headers: Headers = ()
        self.need: Need = need_of(method, path)
        self.principal: Principal = ANYBODY
        self.status = 0
        self.bytes = 0

    def header(self, name: bytes) -> bytes | None:
        """The first of that name."""
        return next((value for each, value in self.seen if each == name), None)


class Door:
    """An ASGI application around another.

    Args:
        form: content type and body of a refusal, by its path.
        observing: is told of each request.
    """

    def __init__(
        self,
        app: ASGIFramework,
        gate: Gate,
        form: Form = body_of,
        observing: Observing | None = None,
    ) -> None:
        self._app: Any = app
        self._gate = gate
        self._form = form
        self._config = gate.config
        self._observing = observing or Observing()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            visit = _Visit(scope["method"], scope["path"], scope["headers"])
            serve = self._serve_http
        elif scope["type"] == "websocket":
            visit = _Visit("GET", scope["path"], scope["headers"])
            _take_subprotocol(scope, visit)
            serve = self._serve_websocket
        else:
            await self._app(scope, receive, send)
            return
        began_ns = time.perf_counter_ns()
        header, endpoint = visit.header(HEADER), visit.need.endpoint
        job = self._observing.hand_outs.of_request(endpoint, visit.path)
        dialect = dialect_of(visit.path)
        try:
            with self._observing.visit(dialect, endpoint, header, job) as observed:
                try:
                    await serve(scope, receive, send, visit)
                finally:
                    observed.status, observed.timed = visit.status, scope["type"] == "http"
        finally:
            log.info(
                "request",
                principal=visit.principal.name,
                method=visit.method,
                path=visit.path,
                status=visit.status,
                ms=(time.perf_counter_ns() - began_ns) // 1_000_000,
                bytes=visit.bytes,
            )

    async def _admit(self, scope: Scope, visit: _Visit) -> Page:
        """Lets a request in, or answers what a preflight asks. Raises: Denied."""
        gate, method, path = self._gate, visit.method, visit.path
        if len(scope["headers"]) > HEADERS_MAX:
            raise Denied(431, f"The request has more than {HEADERS_MAX} headers")
        if not path.startswith("/"):
            # An absolute form would be a path to some and a URL to others.
            raise Denied(400, "The path does not begin with /")
        page = self._page(scope, visit)
        visit.headers = page.headers
        if page.refused is not None:
            raise Denied(403, f"The request is refused: {page.refused}")
        if page.preflight:
            return page
        counted = not visit.need.waits
        if counted:
            client = scope.get("client")
            taken = gate.take_by_address(method, path, client[0] if client else "")
            visit.headers += told(taken)
            check(taken)
        certificate = scope.get("state", {}).get(CERTIFICATE)
        principal = visit.principal = await gate.whose(visit.seen, certificate)
        if counted:
            taken = gate.take_by_principal(method, path, principal)
            visit.headers += told(taken)
            check(taken)
        visit.principal = gate.allow(principal, visit.need, path)
        return page

    def _page(self, scope: Scope, visit: _Visit) -> Page:
        """What the page that asks may, and the name under which it found us. Raises: Denied."""
        config = self._config
        host = (visit.header(b"host") or b"").decode("latin-1").lower()
        if config.is_open and not is_known_host(host, config.hosts):
            raise Denied(
                403,
                "The Host is none that is known here, and there is no authentication; "
                "add it to door.hosts",
            )
        origin = visit.header(b"origin")
        if origin is None:
            return OWN
        return judge(
            config.cors,
            method=visit.method,
            path=visit.path,
            origin=origin,
            host=host,
            asked_method=visit.header(b"access-control-request-method"),
            asked_headers=visit.header(b"access-control-request-headers"),
            websocket=scope["type"] == "websocket",
        )

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send, visit: _Visit) -> None:
        body = _Body(receive, self._config.body_bytes_max, self._config.body_ms_max)
        body.ends_at_once = (
            scope["http_version"].startswith("1")
            and visit.header(b"content-length") is None
            and visit.header(b"transfer-encoding") is None
        )
        try:
            self._check_length(visit.header(b"content-length"))
            page = await self._admit(scope, visit)
            if page.preflight:
                await self._answer(visit, body, send, 204, (), b"")
                return
            with self._gate.place(visit.principal, visit.need):
                await self._let_in(scope, body, send, visit)
        except Denied as denied:
            self._gate.refused[denied.status] += 1
            await self._refuse(visit, body, send, denied)

    def _check_length(self, told: bytes | None) -> None:
        if told is None:
            return
        if not told.isdigit():
            raise Denied(400, "The Content-Length is no number")
        # Python reads no number of thousands of digits.
        if len(told) > DIGITS_MAX or int(told) > self._config.body_bytes_max:
            raise _too_large(self._config.body_bytes_max)

    async def _let_in(self, scope: Scope, body: "_Body", send: Send, visit: _Visit) -> None:
        scope[PRINCIPAL] = visit.principal
        denied: Denied | None = None

        async def send_on(message: Any) -> None:
            nonlocal denied
            if message["type"] == "http.response.start":
                if message["status"] < 400 and owes_a_question(visit.principal, visit.need):
                    mistakes.error(
                        "a handler did not ask about processes",
                        method=visit.method,
                        path=visit.path,
                    )
                    denied = Denied(403, "This is not for who is limited to some processes")
                    body.scope.cancel()
                    await trio.sleep_forever()
                visit.status = message["status"]
                if visit.headers:
                    message = {**message, "headers": [*message["headers"], *visit.headers]}
            elif message["type"] == "http.response.body":
                visit.bytes += len(message.get("body", b""))
            await send(message)

        with body.scope, admitted(visit.principal, visit.need):
            receive = await with_trace(scope, body.receive, self._observing.variable)
            await self._app(scope, receive, send_on)
        denied = denied or body.denied
        if denied is not None and not visit.status:
            raise denied

    async def _refuse(self, visit: _Visit, body: "_Body", send: Send, denied: Denied) -> None:
        kind, content = self._form(visit.path, denied)
        headers = (*denied.headers, (b"content-type", kind))
        await self._answer(visit, body, send, denied.status, headers, content)

    async def _answer(
        self,
        visit: _Visit,
        body: "_Body",
        send: Send,
        status: int,
        headers: Headers,
        content: bytes,
    ) -> None:
        if not body.is_late:
            await body.drain(DRAINED_BYTES_MAX, DRAIN_MS_MAX)
        visit.status, visit.bytes = status, len(content)
        length = () if status == 204 else ((b"content-length", b"%d" % len(content)),)
        all_headers = [*headers, *length, *visit.headers]
        await send({"type": "http.response.start", "status": status, "headers": all_headers})
        await send({"type": "http.response.body", "body": content, "more_body": False})
        # Hypercorn ends the connection now if the body was not read; what is still on its way
        # would wait for a reader for ever.
        await body.drain(float("inf"), DRAIN_MS_MAX)

    async def _serve_websocket(
        self, scope: Scope, receive: Receive, send: Send, visit: _Visit
    ) -> None:
        async def send_on(message: Any) -> None:
            if message["type"] == "websocket.accept":
                visit.status = 101
            elif message["type"] == "websocket.send":
                visit.bytes += len(message.get("bytes") or message.get("text") or b"")
            await send(message)

        try:
            await self._admit(scope, visit)
            # It waits, whatever the row says.
            need = Need(visit.need.role, visit.need.reach, waits=True)
            with self._gate.place(visit.principal, need):
                scope[PRINCIPAL] = visit.principal
                with admitted(visit.principal, need):
                    await self._app(scope, receive, send_on)
        except Denied as denied:
            self._gate.refused[denied.status] += 1
            kind, content = self._form(visit.path, denied)
            visit.status, visit.bytes = denied.status, len(content)
            await receive()
            headers = [
                *denied.headers,
                (b"content-type", kind),
                (b"content-length", b"%d" % len(content)),
                *visit.headers,
            ]
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close"})
                return
            start = "websocket.http.response.start"
            await send({"type": start, "status": denied.status, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": content})


class _Body:
    """A request's body on its way in: counted, timed, and read to its end when it is refused.

    Attributes:
        scope: around the application; cancelled when the body is refused.
        denied: why.
        is_late: it had its time.
    """

    def __init__(self, receive: Receive, bytes_max: int, ms_max: int) -> None:
        self.ends_at_once = False
        self.is_late = False
        self.scope = trio.CancelScope()
        self.denied: Denied | None = None
        self._receive = receive
        self._bytes_max = bytes_max
        self._deadline_s = trio.current_time() + ms_max / 1_000
        self._bytes = 0
        self._ended = False

    async def receive(self) -> Any:
        """As the application calls it."""
        if self._ended or self.ends_at_once:
            return await self._receive()
        with trio.move_on_at(self._deadline_s):
            message = await self._receive()
            self._count(message)
            if self._bytes <= self._bytes_max:
                return message
        if self._bytes > self._bytes_max:
            self.denied = _too_large(self._bytes_max)
        else:
            self.is_late = True
            self.denied = Denied(408, "The request's body did not come in time")
        self.scope.cancel()
        return await trio.sleep_forever()

    async def drain(self, bytes_max: float, ms_max: int) -> None:
        """Reads what is left of it, within bounds."""
        if self.ends_at_once:
            return
        with trio.move_on_after(ms_max / 1_000):
            while not self._ended and self._bytes <= bytes_max:
                self._count(await self._receive())

    def _count(self, message: Any) -> None:
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        else:
            self._ended = True


def _too_large(bytes_max: int) -> Denied:
    return Denied(413, f"The request's body is larger than {bytes_max} bytes")


def _take_subprotocol(scope: Scope, visit: _Visit) -> None:
    """Takes a page's credential out of the subprotocols that it offers."""
    offered = scope.get("subprotocols", [])
    found = [one for one in offered if one.startswith(SUBPROTOCOL)]
    if found:
        scope["subprotocols"] = [one for one in offered if not one.startswith(SUBPROTOCOL)]
        for one in found:
            bearer = f"Bearer {one[len(SUBPROTOCOL) :]}".encode("latin-1", "replace")
            visit.seen.append((b"authorization", bearer))
        scope["headers"] = [one for one in scope["headers"] if one[0] != b"sec-websocket-protocol"]
