"""One engine behind the gateway: asked in its own dialect, with the gateway's credentials.

Whatever an engine answers is an answer, with any status; it is for the dialects to read. Only an
engine that gives none (refused, too slow, cut off) is `EngineUnavailable`. That is never taken for
"it knows nothing of this", and nothing is asked of another engine because of it.

An answer is none, too, where something else gave it: a redirection, or a 404 or 5xx in HTML or
plain text. So answer a server whose engine has not started yet (Tomcat: 404) and a proxy whose
engine is gone; engines say no in JSON, and lead nowhere else.

A call that a client gave up is not taken back: a settlement is shielded until it is answered, and
polls run in tasks of their own (`polls.driver`).
"""

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import trio

from gossamer_gateway.names.forms import tag_of
from gossamer_gateway.observing.current import Call, Calls
from gossamer_gateway.upstreams.http1 import Http1
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.exchange import Answer
from gossamer_node.engines.rest import ANSWER_MS_MAX, RestClient, trust
from gossamer_node.errors import EngineError, EngineRefused, EngineUnavailable
from gossamer_node.grpc import Channel

JSON: Final = {"content-type": "application/json", "accept": "application/json"}

_NO_ENGINE_S: Final = frozenset(("text/html", "text/plain", "application/xhtml+xml"))


class Upstream:
    """Safe to use from several tasks at once. Opens nothing before the first call.

    Attributes:
        name, kind: as configured; `kind` is the dialect, `camunda7` or `camunda8`.
        tag: its mark in the ids of `names.forms`.
        tenant: the only one whose jobs are worked here; None for the engine's default.
        channel: Camunda 8's gRPC, None where only REST is configured.
        calls: what was asked of it.
        failed_ms: since when it does not answer, in milliseconds since 1970; None while it does.
    """

    def __init__(self, config: EngineConfig) -> None:
        """Raises: InputError, the CA file can't be used."""
        self.name: Final = config.name
        self.kind: Final = config.kind
        self.tag: Final = tag_of(config.name)
        self.tenant: Final = config.tenant
        self.failed_ms: int | None = None
        self.calls: Final = Calls()
        self.rest: Final = RestClient(config)
        self.peer: Final = self.rest.peer
        self._http = Http1(config.url, peer=self.peer, tls=trust(config))
        self.channel: Channel | None = None
        if config.grpc is not None:
            tls = None
            if config.url.startswith("https:"):
                tls = trust(config)
                tls.set_alpn_protocols(["h2"])
            host, port = config.grpc_address()
            self.channel = Channel(host, port, tls=tls, peer=f"Engine {config.name!r} (gRPC)")

    async def forward(
        self,
        method: str,
        target: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] = JSON,
        within_ms: int = ANSWER_MS_MAX,
        waits: bool = False,
    ) -> Answer:
        """Asks with bytes that a client sent, or that we made.

        Shielded, but for what only reads: a client that goes away has asked all the same, and half
        a request is none. Nor is one that waits at the engine for as long as the client likes: it
        would keep a gateway from stopping.

        Args:
            target: what follows the engine's URL, with its query: `/external-task/ID/complete`
                for Camunda 7, `/v2/jobs/1/completion` for Camunda 8.
            waits: for an instance's end.

        Raises: EngineUnavailable; EngineRefused, no token is to be had, or HTTP can't carry it.
        """
        shield = trio.CancelScope(shield=method != "GET" and not waits)
        with Call(self.name, self.calls, method) as call, shield:
            try:
                answer = await self._signed_in(method, target, content, headers, within_ms)
                call.answered(answer.status)
                self._check_origin(answer)
            except EngineUnavailable:
                self.told_of(False)
                call.failed = True
                raise
            except ValueError as error:
                raise EngineRefused(f"{self.peer} can't be asked for that: {error}.") from None
        self.told_of(True)
        if answer.status == 401:  # it is of our credentials, and says nothing of the client's
            raise self.error(answer, "answer")
        return answer

    def _check_origin(self, answer: Answer) -> None:
        """Raises: EngineUnavailable, the engine did not give it."""
        kind = answer.content_type.partition(";")[0].strip().lower()
        if 300 <= answer.status < 400:
            what = "leads elsewhere"
        elif (answer.status == 404 or answer.status >= 500) and kind in _NO_ENGINE_S:
            what = f"says no in {kind}"
        else:
            return
        raise EngineUnavailable(
            f"{self.peer} {what} (HTTP {answer.status}), as no engine does; it may be starting, or "
            "something else is at this URL.",
            retry_after_ms=answer.retry_after_ms,
        )

    async def _signed_in(
        self,
        method: str,
        target: str,
        content: bytes | None,
        headers: Mapping[str, str],
        within_ms: int,
    ) -> Answer:
        renewed = False
        while True:
            header = await self.rest.authorization()
            said = list(headers.items())
            if header is not None:
                said.append(("authorization", header))
            answer = await self._http.exchange(method, target, said, content, within_ms=within_ms)
            if answer.status != 401 or renewed or not self.rest.give_up(header):
                return answer
            renewed = True

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        within_ms: int = ANSWER_MS_MAX,
    ) -> Answer:
        """Asks with JSON. See `forward`."""
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        return await self.forward(method, target, content=content, within_ms=within_ms)

    def error(self, answer: Answer, doing: str) -> EngineError:
        """The exception for an answer that says no; see `RestClient.error`."""
        return self.rest.error(answer, doing)

    def told_of(self, answers: bool) -> None:
        """Its last call had an answer, or none."""
        if answers:
            self.failed_ms = None
        elif self.failed_ms is None:
            self.failed_ms = time.time_ns() // 1_000_000

    async def aclose(self) -> None:
        """Closes the connections, also for a caller that is cancelled; no call may be open."""
        with trio.CancelScope(shield=True):
            if self.channel is not None:
                await self.channel.aclose()
            await self._http.aclose()
            await self.rest.aclose()


class Upstreams:
    """All engines of a gateway, in the order of the configuration."""

    def __init__(self, engines: Iterable[Upstream]) -> None:
        self.all: Final = tuple(engines)
        self.sevens: Final = tuple(one for one in self.all if one.kind == "camunda7")
        eights = [one for one in self.all if one.kind == "camunda8"]
        assert len(eights) <= 1, "the configuration has at most one"
        self.eight: Final = eights[0] if eights else None
        self._by_name = {one.name: one for one in self.all}
        self._by_tag = {one.tag: one for one in self.all}

    def named(self, name: str) -> Upstream | None:
        """The engine of a name."""
        return self._by_name.get(name)

    def tagged(self, tag: int) -> Upstream | None:
        """The engine of a tag."""
        return self._by_tag.get(tag)
