"""Azure Functions on this machine: a host's check of keys before Microsoft's own worker library.

It runs in a Python of its own (3.13 or newer), so it is of the standard library alone and is
started by its path. Azure's host talks to `azure_functions_runtime` over gRPC; here the same
requests are handed over as plain objects with the fields that it reads. Without that library (no
such Python) a function is called directly, which tests the HTTP contract and no more.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

PREFIX = "/api/"


DIRECTIONS = {"in": 0, "out": 1, "inout": 2}
"""Of `BindingInfo`; compared with numbers."""


class _Kind(type):
    """So that `StatusResult.Success`, a name of the protocol, is that name."""

    def __getattr__(cls, name: str) -> str | int:
        if name.startswith("__"):
            raise AttributeError(name)
        return DIRECTIONS.get(name, name)


class Message(metaclass=_Kind):
    """Any message of Azure's protocol: the fields that it was made with; others are None."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name[0].isupper():  # those are messages, not fields
            raise AttributeError(name)
        return None

    def WhichOneof(self, _group: str) -> str | None:
        return next(iter(self.__dict__), None)


class Protocol:
    """Stands for the module that protoc makes."""

    def __getattr__(self, name: str) -> Any:
        made = _Kind(name, (Message,), {})
        setattr(self, name, made)
        return made


class Worker:
    """Microsoft's, with one function app."""

    def __init__(self, folder: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._runtime = importlib.import_module("azure_functions_runtime")
        init = Message(capabilities={}, function_app_directory=folder)
        properties = {"host": "127.0.0.1", "protos": Protocol()}
        told = self._ask("worker_init_request", properties, worker_init_request=init)
        if told.result.status != "Success":
            raise SystemExit(told.result.exception.message)
        told = self._ask("functions_metadata_request", properties)
        self._functions: dict[str, Any] = {}
        for one in told.function_metadata_results:
            bindings = [json.loads(each) for each in one.raw_bindings]
            trigger = next(each for each in bindings if each["type"] == "httpTrigger")
            self._functions[trigger.get("route") or one.name] = (one.function_id, trigger["name"])

    def call(self, route: str, url: str, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
        """Status, headers and body."""
        if route not in self._functions:
            return 404, {}, b""
        id, parameter = self._functions[route]
        data = Message(bytes=body)
        http = Message(method="POST", url=url, headers=headers, body=data, params={}, query={})
        request = Message(
            invocation_id=str(uuid4()),
            function_id=id,
            input_data=[Message(data=Message(http=http))],
            trigger_metadata={},
            trace_context=Message(attributes={}),
            retry_context=Message(exception=Message()),
        )
        vars(request.input_data[0])["name"] = parameter
        told = self._ask("invocation_request", {}, invocation_request=request)
        if told.result.status != "Success":
            print(told.result.exception.message, file=sys.stderr, flush=True)
            return 500, {}, b""  # Azure's host says no more to the caller
        value = told.return_value
        if value is not None and value.http is not None:
            answer = value.http
            return int(answer.status_code), answer.headers, answer.body.bytes or b""
        text = value.string if value is not None else ""
        return 200, {"content-type": "text/plain; charset=utf-8"}, (text or "").encode()

    def _ask(self, name: str, properties: dict[str, Any], **request: Any) -> Any:
        asked = Message(request=Message(**request), properties=properties)
        call = getattr(self._runtime, name)(asked)
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()


class Plain:
    """Without Microsoft's library: `payment.py`'s functions, called with the payload and key."""

    def __init__(self, _folder: str) -> None:
        self._functions = importlib.import_module("payment").FUNCTIONS

    def call(self, route: str, _url: str, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
        """Status, headers and body."""
        if route not in self._functions:
            return 404, {}, b""
        found = self._functions[route](json.loads(body), headers["idempotency-key"], "AZURE")
        return 200, {"content-type": "application/json"}, json.dumps(found).encode()


def main() -> None:
    settings = json.loads(sys.stdin.buffer.readline(2**20))
    os.environ.update(settings["environ"])
    sys.path.insert(0, settings["folder"])
    sys.dont_write_bytecode = True
    is_there = importlib.util.find_spec("azure_functions_runtime") is not None
    worker = (Worker if is_there else Plain)(settings["folder"])

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer, data = 404, {}, b""
            if headers.pop("x-functions-key", None) != settings["key"]:
                status = 401
            elif self.path.startswith(PREFIX):
                url = f"http://{headers.get('host', '')}{self.path}"
                route = self.path.removeprefix(PREFIX)
                status, answer, data = worker.call(route, url, headers, body)
            self.send_response(status)
            for name, value in answer.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {server.server_port} {'runtime' if is_there else 'contract'}", flush=True)
    with contextlib.suppress(OSError):
        sys.stdin.buffer.read()  # whoever started us is there until it ends
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
