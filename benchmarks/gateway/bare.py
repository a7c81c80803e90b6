"""The peers: an application on Hypercorn and trio that reads a request and answers, no more; and
one that hands each request on to a URL with httpx, as one would write it in an hour.

    python -m benchmarks.gateway.bare [URL]

Prints its URL, and serves until it is ended.
"""

import socket
import sys
from typing import Any

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

ANSWER = b'{"version":"7.24.0"}'


async def read(receive: ASGIReceiveCallable, send: Any) -> bytes | None:
    """A request's body; None where the application's life is meant, and has been answered."""
    body = b""
    while True:
        message: Any = await receive()
        if message["type"].startswith("lifespan"):
            await send({"type": f"{message['type']}.complete"})
            if message["type"].endswith("shutdown"):
                return None
            continue
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


async def tell(send: Any, status: int, content_type: str, body: bytes) -> None:
    """Sends an answer."""
    length = str(len(body)).encode()
    headers = [(b"content-type", content_type.encode()), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answering(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answers a request once it is read."""
    if await read(receive, send) is not None:
        await tell(send, 200, "application/json", ANSWER)


def forwarding(url: str) -> ASGIFramework:
    """Hands requests on."""
    client = httpx.AsyncClient(base_url=url, timeout=60)

    async def forward(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        asked: Any = scope
        body = await read(receive, send)
        if body is not None:
            kind = {"content-type": "application/json"} if body else {}
            told = await client.request(
                asked["method"], asked["path"], content=body or None, headers=kind
            )
            content_type = told.headers.get("content-type", "")
            await tell(send, told.status_code, content_type, told.content)

    return forward


async def main(url: str | None) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "WARNING"
    config.keep_alive_max_requests = 10**9
    await serve(answering if url is None else forwarding(url), config, mode="asgi")


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
