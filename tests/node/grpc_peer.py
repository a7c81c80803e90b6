"""A real gRPC server, grpcio's, in a process of its own: the other end for our client's tests.

`python grpc_peer.py PORT [CERTIFICATE KEY]` prints its port when it listens. SIGTERM ends it in
good order: calls that are open may finish.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FINISH_S = 10
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextmanager
def peer(*arguments: str, port: int = 0) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Runs one. Yields its port and its process."""
    command = [sys.executable, __file__, str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


class _Service:
    def __init__(self) -> None:
        self.cancelled = 0
        self.pushed = 0
        self.remaining_s: float | None = None

    def echo(self, request: bytes, context: Any) -> bytes:
        self.remaining_s = context.time_remaining()
        told = dict(context.invocation_metadata())
        return request or told.get("authorization", "").encode()

    def fail(self, request: bytes, context: Any) -> bytes:
        import grpc

        context.abort(grpc.StatusCode.NOT_FOUND, request.decode())
        raise AssertionError

    def count(self, request: bytes, context: Any) -> Iterator[bytes]:
        """`n size failing`: n messages, then perhaps an error."""
        import grpc

        n, size, failing = (int(one) for one in request.split())
        for number in range(n):
            yield number.to_bytes(4, "big") + bytes(size)
        if failing:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more: ü % \n\t.")

    def wait(self, request: bytes, context: Any) -> bytes:
        """Answers after some milliseconds, or never."""
        done = threading.Event()
        context.add_callback(done.set)
        done.wait(int(request) / 1_000)
        if not context.is_active():
            self.cancelled += 1
        return b"waited"

    def push(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Numbers, for ever; `pushed` is how many were handed to gRPC."""
        while context.is_active():
            self.pushed += 1
            yield self.pushed.to_bytes(4, "big") + request
            time.sleep(0.0005)

    def seen(self, request: bytes, context: Any) -> bytes:
        return b"%d %d %d" % (self.cancelled, self.pushed, (self.remaining_s or 0) * 1_000)


def _main() -> None:
    import grpc

    service = _Service()
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    handlers = {
        **{name: unary(getattr(service, name)) for name in ("echo", "fail", "wait", "seen")},
        **{name: stream(getattr(service, name)) for name in ("count", "push")},
    }
    server = grpc.server(ThreadPoolExecutor(32), options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("peer", handlers),))
    address = f"127.0.0.1:{sys.argv[1]}"
    if len(sys.argv) > 2:
        certificate, key = (Path(one).read_bytes() for one in sys.argv[2:4])
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port(address)
    # Blocked before there are threads: the kernel may give a signal to any, and a handler would
    # wait for the main one, which then sleeps on.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    server.start()
    print(port, flush=True)
    signal.sigwait(ending)
    server.stop(FINISH_S).wait()


if __name__ == "__main__":
    _main()
