"""What all adapters have in common: whatever happens in a call ends as an outcome or a failure.

An adapter says how to ask (`_call`), may raise what it knows (`NoReply`, `NoCredentials`,
`BadFunctionId`), and notes each secret that it sends, so that none of them comes back in a message.
It has two clients: what this machine says of itself is never asked through a proxy.
"""

import json
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import httpx
import msgspec
import trio

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.classifying import failed
from gossamer_gateway.runs.providers.config import AwsConfig, AzureConfig, GcpConfig
from gossamer_gateway.runs.providers.exchange import NoReply, Reply, exchange
from gossamer_gateway.runs.providers.keeping import NoCredentials
from gossamer_gateway.runs.providers.port import Invocation, Outcome, scrubbed
from gossamer_gateway.runs.providers.urls import BadFunctionId
from gossamer_node import logs
from gossamer_node.engines.exchange import one_line

log = logs.get("providers")

SECRETS_MAX = 64
"""The newest tokens and keys sent; older ones were renewed since."""


C = TypeVar("C", bound=AwsConfig | AzureConfig | GcpConfig)


class Calling(Generic[C]):
    """A provider but for its `_call`.

    Args:
        client: for functions, and for what gives tokens; closed with the provider.
        metadata: for this machine's metadata; closed with the provider.
        secrets: those that last as long as the provider.
    """

    def __init__(
        self,
        config: C,
        client: httpx.AsyncClient,
        metadata: httpx.AsyncClient,
        secrets: Iterable[str | None] = (),
    ) -> None:
        self.name = config.name
        self._config = config
        self._client = client
        self._metadata = metadata
        self._lasting = tuple(one for one in secrets if one)
        self._secrets: deque[str] = deque(maxlen=SECRETS_MAX)

    def region(self, place: Place) -> str:
        """The place's, or the configuration's."""
        return place.region or self._config.region or ""

    async def invoke(self, invocation: Invocation) -> Outcome | Failure:
        """Calls a function. Never raises but for cancellation."""
        try:
            with trio.fail_after(max(0, invocation.deadline_ms) / 1_000):
                found = await self._call(invocation)
        except trio.TooSlowError:
            what = shown(invocation.place)
            found = failed("Timeout", f"{what} did not answer within {invocation.deadline_ms} ms")
        except NoReply as error:
            found = failed(error.code, f"{shown(invocation.place)}: {error}")
        except NoCredentials as error:
            found = failed("NoCredentials", f"{self.name} has no credentials: {error}")
        except BadFunctionId as error:
            found = failed("BadFunctionId", str(error))
        except Exception as error:
            # A mistake of ours must not take the gateway's other calls along.
            log.error("a call failed by a mistake", provider=self.name, kind=type(error).__name__)
            found = failed("Mistake", f"the gateway made a mistake: {type(error).__name__}")
        return found if isinstance(found, Outcome) else self._clean(found)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._metadata.aclose()
        await self._client.aclose()

    async def _call(self, invocation: Invocation) -> Outcome | Failure:
        raise NotImplementedError

    async def _exchange(self, request: httpx.Request) -> Reply:
        """As `exchange`; what is no output comes without secrets, before anything is cut short."""
        reply = await exchange(self._client, request)
        if reply.status < 300 and "x-amz-function-error" not in reply.headers:
            return reply
        headers = {name: self._scrubbed(text) for name, text in reply.headers.items()}
        body = self._scrubbed(reply.body.decode("utf-8", "surrogateescape"))
        return Reply(reply.status, headers, body.encode("utf-8", "surrogateescape"))

    def _note(self, *secrets: str | None) -> None:
        for one in secrets:
            if one and one not in self._lasting and one not in self._secrets:
                self._secrets.append(one)

    def _scrubbed(self, text: str) -> str:
        return scrubbed(text, (*self._lasting, *self._secrets))

    def _clean(self, found: Failure) -> Failure:
        return msgspec.structs.replace(
            found,
            code=self._scrubbed(found.code),
            message=self._scrubbed(found.message),
            details=self._scrubbed(found.details),
        )


def shown(place: Place) -> str:
    """A place, for people."""
    region = f" in {place.region}" if place.region else ""
    return f"{place.function_id[:200]} at {place.provider}{region}"


def encoded(payload: Any) -> bytes:
    """A payload as JSON."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def said(fields: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that is a text; else an empty one."""
    found = (fields.get(one) for one in names)
    return next((one for one in found if isinstance(one, str) and one), "")


def refused(code: str, reply: Reply, place: Place, message: str = "") -> Failure:
    """The failure of a reply that is no success."""
    words = message or said(reply.fields(), "message", "Message", "detail", "error", "title")
    words = one_line(words or reply.body[:2_000].decode(errors="replace"))
    tail = f": {words}" if words else ""
    return failed(
        code,
        f"{shown(place)} answered {reply.status}{tail}",
        retry_after_ms=reply.retry_after_ms(time.time()),
    )
