"""A real gRPC server, grpcio's, for `protos/modern.proto`, in a process of its own.

`python shades_peer.py [CERTIFICATE KEY]` prints its port when it listens.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROTO = Path(__file__).parent / "protos" / "modern.proto"


@contextmanager
def shades(*arguments: str) -> Iterator[int]:
    """Runs one. Yields its port."""
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


class _Shades:
    """What a method does is told by its request: `largeNumber` is how many, `ratio` how
    many seconds apart, `text` what."""

    def __init__(self, shade: Any) -> None:
        self.shade = shade

    def Echo(self, request: Any, context: Any) -> Any:
        if request.text == "metadata":
            told = dict(context.invocation_metadata())
            return self.shade(_maybe=told.get("note", ""), data=told.get("raw-bin", b""))
        return request

    def Fail(self, request: Any, context: Any) -> Any:
        import grpc

        context.abort(getattr(grpc.StatusCode, request.text), "No such shade: ü %.")

    def Count(self, request: Any, context: Any) -> Iterator[Any]:
        import grpc

        for number in range(request.large_number):
            yield self.shade(large_number=number, data=request.data)
        if request.flag:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "No more.")

    def Push(self, request: Any, context: Any) -> Iterator[Any]:
        while context.is_active():
            yield request
            time.sleep(request.ratio)

    def Wait(self, request: Any, context: Any) -> Any:
        done = threading.Event()
        context.add_callback(done.set)
        done.wait()
        return request


def _main() -> None:
    import grpc

    from gossamer_node.proto.schema import compile_schema

    method = compile_schema({"modern.proto": PROTO.read_bytes()}).methods["/modern.Shades/Echo"]
    service = _Shades(method.request)

    def handler(make: Any, name: str) -> Any:
        return make(
            getattr(service, name),
            request_deserializer=method.request.FromString,
            response_serializer=lambda one: one.SerializeToString(),
        )

    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    handlers = {
        **{name: handler(unary, name) for name in ("Echo", "Fail", "Wait")},
        **{name: handler(stream, name) for name in ("Count", "Push")},
        # As the bytes are: what the server sends need not be what the schema says.
        "Junk": unary(lambda request, context: b"\xff"),
    }
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(16), options=options)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("modern.Shades", handlers),)
    )
    if len(sys.argv) > 1:
        certificate, key = (Path(one).read_bytes() for one in sys.argv[1:3])
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        print(server.add_secure_port("127.0.0.1:0", credentials), flush=True)
    else:
        print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    _main()
