"""The peer: an application on Hypercorn and trio that reads a request and answers, no more.

    python -m benchmarks.gateway.bare

Prints its URL, and serves until it is ended.
"""

import socket
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

ANSWER = b'{"version":"7.24.0"}'


async def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answers a request once it is read."""
    said: Any = send
    while True:
        message: Any = await receive()
        if message["type"].startswith("lifespan"):
            await said({"type": f"{message['type']}.complete"})
            if message["type"].endswith("shutdown"):
                return
        elif not message.get("more_body", False):
            break
    length = str(len(ANSWER)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await said({"type": "http.response.start", "status": 200, "headers": headers})
    await said({"type": "http.response.body", "body": ANSWER})


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "WARNING"
    config.keep_alive_max_requests = 10**9
    await serve(answer, config, mode="asgi")


if __name__ == "__main__":
    trio.run(main)
