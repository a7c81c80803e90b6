"""AWS Lambda on this machine: its Invoke API before AWS's own runtime client.

The front checks signatures (Signature Version 4), knows functions by their names, and answers as
Invoke does. Behind it each function has a sandbox: a process of `awslambdaric`, which asks the
Runtime API for events and posts what the function gave or threw (Lambda Developer Guide, "Using
the Lambda runtime API"). One event at a time; a sandbox that ends or takes too long is replaced.
"""

import base64
import hmac
import os
import re
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import msgspec
import trio

from gossamer_gateway.runs.providers.local.hosting import main
from gossamer_gateway.runs.providers.local.web import (
    Handler,
    Request,
    Response,
    serve_connection,
)
from gossamer_gateway.runs.providers.sigv4 import Keys, signed

ACCOUNT = "123456789012"

SKEW_S = 300
"""By how much a signature's time may differ."""

_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_RUNTIME = "/2018-06-01/runtime/"
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([a-z0-9-]+)/lambda/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


class Sandbox:
    """A function and its process."""

    def __init__(self, name: str, handler: str, settings: Mapping[str, Any]) -> None:
        self._name = name
        self._handler = handler
        self._settings = settings
        self._turn = trio.Lock()
        self._process: trio.Process | None = None
        self._api = ""
        self._offer, self._offered = trio.open_memory_channel[dict[str, Any]](0)
        self._said: dict[str, Any] = {}
        self._told = trio.Event()
        self._id = ""

    async def open(self, nursery: trio.Nursery) -> None:
        """Serves the Runtime API, for this function alone."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self._api = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        serve = partial(serve_connection, handler=self._runtime)
        nursery.start_soon(trio.serve_listeners, serve, listeners)

    async def invoke(self, body: bytes, context: str, region: str) -> Response:
        async with self._turn:
            self._id, self._told, self._said = str(uuid4()), trio.Event(), {}
            timeout_s = self._settings["timeout_ms"] / 1_000
            event = {
                "lambda-runtime-aws-request-id": self._id,
                "lambda-runtime-deadline-ms": str(round((time.time() + timeout_s) * 1_000)),
                "lambda-runtime-invoked-function-arn": (
                    f"arn:aws:lambda:{region}:{ACCOUNT}:function:{self._name}"
                ),
                **({"lambda-runtime-client-context": context} if context else {}),
                "body": body,
            }
            ended = False
            with trio.move_on_after(timeout_s) as scope:
                async with trio.open_nursery() as nursery:

                    async def watch(process: trio.Process) -> None:
                        nonlocal ended
                        await process.wait()
                        ended = True
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(watch, await self._running())
                    await self._offer.send(event)
                    await self._told.wait()
                    nursery.cancel_scope.cancel()
            if self._told.is_set():
                headers = {"x-amz-function-error": "Unhandled"} if self._said["error"] else {}
                return Response(200, self._said["body"], headers)
            if scope.cancelled_caught or ended:
                await self._end()
            kind = "Runtime.ExitError" if ended else "Sandbox.Timedout"
            why = "Runtime exited" if ended else f"Task timed out after {timeout_s:.2f} seconds"
            error = {"errorType": kind, "errorMessage": f"RequestId: {self._id} Error: {why}"}
            return Response(200, msgspec.json.encode(error), {"x-amz-function-error": "Unhandled"})

    async def _running(self) -> trio.Process:
        if self._process is None or self._process.poll() is not None:
            # Who waited in an old process for the next event must not have it.
            self._offer, self._offered = trio.open_memory_channel[dict[str, Any]](0)
            environ = {
                "PATH": os.environ.get("PATH", ""),
                "AWS_LAMBDA_RUNTIME_API": self._api,
                "AWS_LAMBDA_FUNCTION_NAME": self._name,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self._name}",
                "AWS_LAMBDA_LOG_STREAM_NAME": "local",
                "LAMBDA_TASK_ROOT": self._settings["folder"],
                "PYTHONDONTWRITEBYTECODE": "1",
                **self._settings["environ"],
            }
            self._process = await trio.lowlevel.open_process(
                [self._settings["python"], "-m", "awslambdaric", self._handler],
                env=environ,
                cwd=self._settings["folder"],
                stdin=subprocess.DEVNULL,
                stdout=2,
            )
        return self._process

    async def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def _runtime(self, request: Request) -> Response:
        path = request.target.removeprefix(_RUNTIME)
        if path == "invocation/next":
            event = await self._offered.receive()
            return Response(200, event.pop("body"), {"content-type": "application/json", **event})
        if path in (f"invocation/{self._id}/response", f"invocation/{self._id}/error"):
            self._tell(request.body, error=path.endswith("error"))
            return Response(202)
        if path == "init/error":
            self._tell(request.body, error=True)
            return Response(202)
        return Response(404)

    def _tell(self, body: bytes, *, error: bool) -> None:
        self._said = {"body": body, "error": error}
        self._told.set()


def verified(request: Request, keys: Keys, now: datetime) -> str | None:
    """The region for which a request is signed; None: it is not, or not with these keys."""
    found = _SIGNED.fullmatch(request.headers.get("authorization", ""))
    at = request.headers.get("x-amz-date", "")
    if found is None or found[1] != keys.id or found[2] != at[:8]:
        return None
    try:
        when = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    if abs((now - when).total_seconds()) > SKEW_S:
        return None
    if request.headers.get("x-amz-security-token") != keys.token:
        return None
    names = set(found[4].split(";")) - {"host", "x-amz-date", "x-amz-security-token"}
    again = signed(
        request.method,
        f"http://{request.headers.get('host', '')}{request.target}",
        {name: request.headers.get(name, "") for name in names},
        request.body,
        keys,
        region=found[3],
        service="lambda",
        at=at,
    )
    is_right = hmac.compare_digest(again["authorization"], request.headers["authorization"])
    return found[3] if is_right else None


def refusal(status: int, error: str, message: str) -> Response:
    """How the service says no."""
    body = msgspec.json.encode({"Message": message})
    return Response(status, body, {"content-type": "application/json", "x-amzn-errortype": error})


async def open_host(settings: dict[str, Any], nursery: trio.Nursery) -> Handler:
    """The front, its functions ready to be started at their first call."""
    keys = Keys(settings["key_id"], settings["secret"], settings["token"])
    sandboxes = {}
    for name, handler in settings["functions"].items():
        sandboxes[name] = Sandbox(name, handler, settings)
        await sandboxes[name].open(nursery)

    async def handle(request: Request) -> Response:
        region = verified(request, keys, datetime.now(UTC))
        if region is None:
            return refusal(
                403, "InvalidSignatureException", "The request signature does not match."
            )
        found = _INVOKE.fullmatch(request.target)
        if found is None or request.method != "POST":
            return refusal(404, "UnknownOperationException", "There is Invoke alone.")
        name = unquote(found[1])
        name = name.split(":")[6] if name.startswith("arn:") else name.partition(":")[0]
        if name not in sandboxes:
            return refusal(404, "ResourceNotFoundException", f"Function not found: {name}")
        context = request.headers.get("x-amz-client-context", "")
        if request.headers.get("x-amz-invocation-type") == "Event":
            nursery.start_soon(sandboxes[name].invoke, request.body, "", region)
            return Response(202)
        said = _decoded(context)
        return await sandboxes[name].invoke(request.body, said, region)

    return handle


def _decoded(context: str) -> str:
    """The client context as the Runtime API gives it: JSON, no more in base64."""
    return base64.b64decode(context).decode() if context else ""


if __name__ == "__main__":
    main(open_host)
