"""Functions that are URLs, as Google's and Azure's are: a POST of JSON, mostly with a token.

What such a function says of itself is the status; what the token is, and who gives it, is the
cloud's.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.calling import Calling, encoded, refused, said, shown
from gossamer_gateway.runs.providers.classifying import failed, of_http_function
from gossamer_gateway.runs.providers.config import AzureConfig, GcpConfig
from gossamer_gateway.runs.providers.exchange import Reply
from gossamer_gateway.runs.providers.keeping import Keeper
from gossamer_gateway.runs.providers.port import Invocation, Outcome
from gossamer_gateway.runs.providers.urls import http_function
from gossamer_node.engines.exchange import one_line

H = TypeVar("H", bound=AzureConfig | GcpConfig)


class HttpFunctions(Calling[H]):
    """A provider but for its tokens."""

    def _tokens_for(self, url: str) -> Keeper[str] | None:
        """Who keeps the token for a function; None: it is called without one."""
        raise NotImplementedError

    def _key_headers(self) -> Mapping[str, str]:
        """Headers with secrets of the configuration."""
        return {}

    async def _call(self, invocation: Invocation) -> Outcome | Failure:
        place, config = invocation.place, self._config
        url = http_function(place, config.base_url, config.origins, self.region(place))
        keeper = self._tokens_for(url)
        if keeper is None:
            return _judged(await self._send(url, invocation, None), place)
        token = await keeper.get()
        reply = await self._send(url, invocation, token)
        if reply.status == 401 and (other := await keeper.other_than(token)) is not None:
            reply = await self._send(url, invocation, other)
        return _judged(reply, place)

    async def _send(self, url: str, invocation: Invocation, token: str | None) -> Reply:
        self._note(token)
        headers = {"content-type": "application/json", "idempotency-key": invocation.key}
        headers |= self._key_headers()
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        request = self._client.build_request(
            "POST", url, headers=headers, content=encoded(invocation.payload)
        )
        return await self._exchange(request)


def _judged(reply: Reply, place: Place) -> Outcome | Failure:
    """What an HTTP function's reply means.

    A body of JSON is the output, text of any kind is a text, and no body is null.
    """
    if not 200 <= reply.status < 300:
        code = of_http_function(reply.status, reply.headers)
        if code not in ("FunctionError", "FunctionRefused"):
            return refused(code, reply, place)
        fields = reply.fields()
        own = said(fields, "code", "errorType", "type")
        found = refused(code, reply, place, said(fields, "message", "errorMessage", "detail"))
        return msgspec.structs.replace(found, code=own[:200] or code)
    media = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not reply.body:
        return Outcome(None)
    try:
        if media == "application/json" or media.endswith("+json"):
            return Outcome(reply.json())
        if media.startswith("text/"):
            return Outcome(reply.body.decode())
    except ValueError as error:
        return failed("BadReply", f"{shown(place)} answered no {media}: {one_line(str(error))}")
    return failed(
        "BadReply",
        f"{shown(place)} answered {media or 'something'}, which is neither JSON nor text",
    )
