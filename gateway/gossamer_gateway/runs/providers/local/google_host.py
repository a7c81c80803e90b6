"""Google's Cloud Run on this machine: its check of ID tokens before Google's own runtime.

`/token` is the token endpoint: it takes a service account's assertion (RS256) and gives an ID token
for its `target_audience`. Everything else needs such a token for exactly its own URL, as Cloud Run
asks for, and goes to `functions-framework`, which is what runs functions there.
"""

import os
import secrets
import subprocess
import time
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import msgspec
import trio

from gossamer_gateway.runs.providers.local.hosting import main
from gossamer_gateway.runs.providers.local.web import Handler, Request, Response
from gossamer_node.local_engines.processes import free_ports

LIFE_S = 3_600
START_S = 60.0
REQUEST_S = 3_600.0
"""Cloud Run's longest."""
TOKEN_PATH = "/token"  # noqa: S105 - a path

_KEPT = ("content-type", "x-google-status")


async def open_host(settings: dict[str, Any], nursery: trio.Nursery) -> Handler:
    """The front, with Google's runtime behind it."""
    own = f"http://127.0.0.1:{settings['port']}"
    (port,) = free_ports(1)
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"}
    await trio.lowlevel.open_process(
        [
            settings["python"], "-c",
            "import sys; from functions_framework._cli import _cli; sys.exit(_cli())",
            "--target", settings["target"], "--source", settings["source"],
            "--host", "127.0.0.1", "--port", str(port),
        ],
        env=environ | settings["environ"],
        stdin=subprocess.DEVNULL,
        stdout=2,
    )  # fmt: skip
    await _listens(port)
    behind = f"http://127.0.0.1:{port}"
    client = httpx.AsyncClient(base_url=behind, timeout=REQUEST_S, trust_env=False)
    secret = secrets.token_hex(32)

    async def handle(request: Request) -> Response:
        if request.target == TOKEN_PATH:
            return _token(request, settings, f"{own}{TOKEN_PATH}", secret)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            jwt.decode(bearer, secret, algorithms=["HS256"], audience=f"{own}{request.target}")
        except jwt.PyJWTError:
            return Response(
                401, b"The request was not authenticated.", {"content-type": "text/html"}
            )
        headers = {
            name: request.headers[name]
            for name in ("content-type", "idempotency-key")
            if name in request.headers
        }
        answer = await client.request(
            request.method, request.target, content=request.body, headers=headers
        )
        kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return Response(answer.status_code, answer.content, kept)

    return handle


def _token(request: Request, settings: dict[str, Any], own: str, secret: str) -> Response:
    try:
        form = parse_qs(request.body.decode())
        claims = jwt.decode(
            form["assertion"][0], settings["public_key"], algorithms=["RS256"], audience=own
        )
        audience = claims["target_audience"]
        if claims["iss"] != settings["email"] or claims["exp"] - claims["iat"] > LIFE_S:
            raise ValueError
    except (jwt.PyJWTError, KeyError, ValueError):
        error = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        return Response(400, msgspec.json.encode(error), {"content-type": "application/json"})
    now_s = int(time.time())
    made = {"aud": audience, "iat": now_s, "exp": now_s + LIFE_S, "email": settings["email"]}
    body = msgspec.json.encode({"id_token": jwt.encode(made, secret, algorithm="HS256")})
    return Response(200, body, {"content-type": "application/json"})


async def _listens(port: int) -> None:
    with trio.fail_after(START_S):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                return
            except OSError:
                await trio.sleep(0.05)


if __name__ == "__main__":
    main(open_host)
