"""AWS Lambda over its Invoke API (Lambda API Reference, "Invoke"), signed by `sigv4`.

What the function's code throws comes with status 200 and `X-Amz-Function-Error`; all else that is
no 2xx is the service's word. The idempotency key is in the client context, where the function finds
it (`context.client_context.custom["idempotencyKey"]` in Python): Invoke has no other place for it,
and for `Event` none at all.
"""

import base64
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.aws_credentials import Places
from gossamer_gateway.runs.providers.calling import (
    Calling,
    encoded,
    refused,
    said,
    shown,
)
from gossamer_gateway.runs.providers.classifying import failed, of_aws
from gossamer_gateway.runs.providers.config import AwsConfig
from gossamer_gateway.runs.providers.exchange import Reply
from gossamer_gateway.runs.providers.keeping import Keeper
from gossamer_gateway.runs.providers.port import Invocation, Outcome, failure
from gossamer_gateway.runs.providers.sigv4 import Keys, signed
from gossamer_gateway.runs.providers.urls import BadFunctionId, checked_region, filled
from gossamer_node.engines.exchange import one_line

_NAME = re.compile(r"(?:\d{12}:function:)?[\w-]{1,140}(?::(?:\$LATEST|[\w-]{1,128}))?", re.ASCII)
_ARN = re.compile(
    r"arn:aws[\w-]*:lambda:([a-z0-9-]+):\d{12}:function:[\w-]{1,140}(?::(?:\$LATEST|[\w-]+))?",
    re.ASCII,
)

_EXPIRED = frozenset({"ExpiredTokenException", "UnrecognizedClientException"})
"""Refusals after which credentials are looked for anew, once."""


_SIGNATURE = frozenset({"InvalidSignatureException", "RequestExpired", "SignatureDoesNotMatch"})

SKEW_S = 240.0
"""AWS takes signatures of five minutes before and after its own time."""


class Aws(Calling[AwsConfig]):
    """Functions of AWS Lambda."""

    def __init__(
        self,
        config: AwsConfig,
        environ: Mapping[str, str],
        client: httpx.AsyncClient,
        metadata: httpx.AsyncClient,
    ) -> None:
        super().__init__(config, client, metadata)
        self._places = Places(environ, metadata, profile=config.profile)
        self._keys: Keeper[Keys] = Keeper(self._places.fetch)
        self._region = config.region or self._places.region()

    def region(self, place: Place) -> str:
        """The place's, its ARN's, or the one that is set up here."""
        arn = _ARN.fullmatch(place.function_id)
        return place.region or (arn[1] if arn else self._region)

    async def _call(self, invocation: Invocation) -> Outcome | Failure:
        place = invocation.place
        region = self.region(place)
        arn = _ARN.fullmatch(place.function_id)
        if arn is None and _NAME.fullmatch(place.function_id) is None:
            raise BadFunctionId(
                f"{place.function_id[:200]!r} is neither a name nor an ARN of a Lambda function"
            )
        if arn is not None and arn[1] != region:
            raise BadFunctionId(f"{place.function_id} is not in {region}")
        base = filled(self._config.base_url or _endpoint(region), region, place)
        if not region:
            raise BadFunctionId(
                f"{place.function_id} has no region: name one in the step, for {self.name} in the "
                "gateway's configuration, or as AWS_REGION"
            )
        checked_region(region)  # it goes into a header as well
        url = f"{base}/2015-03-31/functions/{quote(place.function_id, safe='')}/invocations"
        keys = await self._keys.get()
        reply = await self._send(url, invocation, keys, region)
        if _error(reply) in _EXPIRED and (other := await self._keys.other_than(keys)) is not None:
            reply = await self._send(url, invocation, other, region)
        return _judged(reply, place)

    async def _send(self, url: str, invocation: Invocation, keys: Keys, region: str) -> Reply:
        self._note(keys.secret, keys.token)
        body = encoded(invocation.payload)
        context = json.dumps({"custom": {"idempotencyKey": invocation.key}}).encode()
        headers = {
            "content-type": "application/json",
            "x-amz-client-context": base64.b64encode(context).decode(),
            "x-amz-invocation-type": self._config.invocation,
            "x-amz-log-type": "None",
        }
        at = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        headers = signed(
            "POST", url, headers, body, keys, region=region, service="lambda", at=at
        )  # fmt: skip
        request = self._client.build_request("POST", url, headers=headers, content=body)
        return await self._exchange(request)


def _endpoint(region: str) -> str:
    china = ".cn" if region.startswith("cn-") else ""
    return f"https://lambda.{{region}}.amazonaws.com{china}"


def _error(reply: Reply) -> str:
    """The name of the service's error; empty for none."""
    if reply.status < 400:
        return ""
    name = reply.headers.get("x-amzn-errortype") or said(reply.fields(), "__type", "code")
    return name.partition(":")[0].rpartition("#")[2]


def _judged(reply: Reply, place: Place) -> Outcome | Failure:
    if reply.status == 202:  # an event, taken
        return Outcome(None)
    if not 200 <= reply.status < 300:
        name = _error(reply)
        if name in _SIGNATURE and (skewed := _skew(reply, place)) is not None:
            return skewed
        words = said(reply.fields(), "message", "Message")
        return refused(
            of_aws(name, reply.status), reply, place, f"{name}: {words}" if name and words else name
        )
    if "x-amz-function-error" in reply.headers:
        return _own_error(reply.fields(), place)
    try:
        return Outcome(reply.json() if reply.body else None)
    except ValueError as error:
        return failed("BadReply", f"{shown(place)} answered no JSON: {one_line(str(error))}")


def _skew(reply: Reply, place: Place) -> Failure | None:
    """Says that this machine's clock is wrong, where it is so wrong that a signature ends by it."""
    there_s = reply.date_s()
    late_s = 0.0 if there_s is None else there_s - time.time()
    if abs(late_s) < SKEW_S:
        return None
    way = "behind" if late_s > 0 else "ahead of"
    return failed(
        "ClockSkew",
        f"{shown(place)}: this machine's clock is {abs(late_s) / 60:.0f} min {way} AWS's, which "
        "refuses its signatures for that; set it right",
    )


def _own_error(fields: Mapping[str, Any], place: Place) -> Failure:
    """What a function's code threw, as Lambda's runtimes say it."""
    trace = fields.get("stackTrace", fields.get("trace"))
    lines = trace if isinstance(trace, list) else []
    message = said(fields, "errorMessage") or f"{shown(place)} failed without a word"
    return failure(
        said(fields, "errorType") or "FunctionError",
        message,
        blame="function",
        details="\n".join(str(one).rstrip("\n") for one in lines[:200]),
    )
