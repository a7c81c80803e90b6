"""Bodies in parts: `http.fetch` with `stream`, `http.read` and `http.close`, against a server that
says when each part comes and sees when its connection ends."""

import base64
import json
import runpy
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from tests.patience import PATIENCE_S

from gossamer_node.jobs import Completed, Failed, Job, Outcome
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.asking.operations import OPERATIONS, Code, OperationError, perform
from gossamer_node.wasm.asking.operations.http_read import STREAMS_MAX
from gossamer_node.wasm.engine import STACK_BYTES_MIN, Engines
from gossamer_node.wasm.run import Run, Surroundings

ROOT = Path(__file__).resolve().parents[3]
HEAD = b"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
END = b"0\r\n\r\n"

Ask = Callable[..., Any]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Server:
    """One that takes connections, and leaves to the test what they are sent."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)
        self.origin = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.taken: list[socket.socket] = []

    def serve(self, *parts: bytes) -> threading.Thread:
        """Take one request and answer with these bytes, and nothing more of its own accord."""

        def answer() -> None:
            connection, _ = self.listener.accept()
            connection.settimeout(PATIENCE_S)
            self.taken.append(connection)
            connection.recv(65_536)
            for part in parts:
                connection.sendall(part)

        thread = threading.Thread(target=answer)
        thread.start()
        return thread

    def has_ended(self) -> bool:
        """Waits for the other side to hang up."""
        try:
            return self.taken[-1].recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        for one in (*self.taken, self.listener):
            one.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def a_run(
    server: Server, wasm_host: WasmHost, spec: Callable[..., ServiceSpec], tmp_path: Path
) -> Iterator[Run]:
    around = Surroundings(
        spec(tmp_path / "m.wasm"),
        Grant((server.origin,)),
        Engines().get(STACK_BYTES_MIN),
        wasm_host.io,
        OPERATIONS,
        nullcontext,
        is_command=False,
    )
    run = Run(around, Detached(), deadline_s=monotonic() + PATIENCE_S)
    yield run
    run.end()


def tell(run: Run, op: str, **request: Any) -> Any:
    try:
        return json.loads(perform(op, json.dumps(request).encode(), run))
    except OperationError as error:
        return error.code, str(error)


def opened(run: Run, server: Server, *parts: bytes) -> int:
    thread = server.serve(HEAD, *parts)
    reply = tell(run, "http.fetch", url=server.origin, stream=True)
    thread.join()
    assert reply["status"] == 200 and reply["headers"]["x"] == "y" and "body" not in reply
    number = reply["stream"]
    assert isinstance(number, int)
    return number


def test_parts_come_as_the_server_sends_them(a_run: Run, server: Server) -> None:
    number = opened(a_run, server)
    for text in ("first", "größe"):
        server.taken[0].sendall(chunk(text.encode()))
        assert tell(a_run, "http.read", stream=number) == {"body": text, "end": False}
    server.taken[0].sendall(END)
    assert tell(a_run, "http.read", stream=number) == {"body": "", "end": True}
    gone = tell(a_run, "http.read", stream=number)
    assert gone == (Code.BAD_REQUEST, f"There is no open stream {number}.")


@pytest.mark.parametrize("bytes_max", [1, 2, 3, 4, 5, 7, 100])
def test_text_is_cut_between_characters_wherever_its_bytes_come_apart(
    bytes_max: int, a_run: Run, server: Server
) -> None:
    text = "aß水𝄞z" * 3
    data = text.encode()
    parts = [chunk(data[i : i + 5]) for i in range(0, len(data), 5)]
    number = opened(a_run, server, *parts, END)
    found = ""
    while True:
        reply = tell(a_run, "http.read", stream=number, bytes_max=bytes_max)
        found += reply["body"]
        assert len(reply["body"].encode()) <= max(4, bytes_max)
        if reply["end"]:
            break
        assert reply["body"]
    assert found == text


def test_what_is_no_text_comes_as_bytes(a_run: Run, server: Server) -> None:
    number = opened(a_run, server, chunk(b"\xff\x00\xff"), chunk(b"ok\xe6\xb0"), END)
    got = b""
    while True:
        reply = tell(a_run, "http.read", stream=number, bytes_max=8)
        encoded = reply.get("body_base64")
        got += base64.b64decode(encoded) if encoded else reply["body"].encode()
        if reply["end"]:
            break
    # A character that never comes whole is told at the end.
    assert got == b"\xff\x00\xffok\xe6\xb0"


def test_a_stream_ends_with_its_run_and_by_close(a_run: Run, server: Server) -> None:
    number = opened(a_run, server, chunk(b"x" * 100))
    assert tell(a_run, "http.read", stream=number, bytes_max=10) == {"body": "x" * 10, "end": False}
    assert tell(a_run, "http.close", stream=number) == {}
    assert server.has_ended()
    opened(a_run, server, chunk(b"x"))
    a_run.end()
    assert server.has_ended()


def test_a_read_that_is_cut_off_ends_its_stream(a_run: Run, server: Server) -> None:
    number = opened(a_run, server)
    late = tell(a_run, "http.read", stream=number, timeout_ms=30)
    assert late == (Code.DEADLINE, "Nothing more came within 30 ms.")
    assert server.has_ended()
    assert tell(a_run, "http.read", stream=number)[0] is Code.BAD_REQUEST


@pytest.mark.parametrize("junk", [b"zz\r\n", b"5\r\nab"])
def test_a_body_that_breaks_off_is_unavailable(junk: bytes, a_run: Run, server: Server) -> None:
    number = opened(a_run, server, chunk(b"x"), junk)
    server.taken[0].shutdown(socket.SHUT_WR)
    reply: Any = {}
    while isinstance(reply, dict):
        reply = tell(a_run, "http.read", stream=number)
        assert isinstance(reply, tuple) or not reply["end"]
    code, sentence = reply
    assert code is Code.UNAVAILABLE and "broke off its answer: " in sentence


def test_streams_are_few(a_run: Run, server: Server) -> None:
    numbers = [opened(a_run, server) for _ in range(STREAMS_MAX)]
    refused = tell(a_run, "http.fetch", url=server.origin, stream=True)
    assert refused[0] is Code.TOO_LARGE
    server.taken[0].sendall(END)
    assert tell(a_run, "http.read", stream=numbers[0])["end"]
    opened(a_run, server)


@pytest.mark.parametrize(
    ("op", "request_"),
    [
        ("http.fetch", {"stream": 1}),
        ("http.fetch", {"stream": "true"}),
        ("http.read", {}),
        ("http.read", {"stream": 0}),
        ("http.read", {"stream": 1}),
        ("http.read", {"stream": True}),
        ("http.read", {"stream": 1, "bytes_max": 0}),
        ("http.read", {"stream": 1, "bytes_max": 2**20 + 1}),
        ("http.read", {"stream": 1, "timeout_ms": -1}),
        ("http.close", {}),
        ("http.close", {"stream": -1}),
    ],
)
def test_bad_requests_are_refused(
    op: str, request_: dict[str, Any], a_run: Run, server: Server
) -> None:
    assert tell(a_run, op, **{"url": server.origin, **request_})[0] is Code.BAD_REQUEST


def test_without_a_grant_there_is_no_stream(ask: Ask) -> None:
    for op in ("http.read", "http.close"):
        assert ask(op, {"stream": 1})[0] is Code.DENIED
    assert ask("http.fetch", {"url": "http://a.example", "stream": True})[0] is Code.DENIED


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A worker that reads what a server sends to its end."""
    built = tmp_path_factory.mktemp("reader") / "reader.wasm"
    compile_worker = runpy.run_path(str(ROOT / "sdk-wasm" / "build.py"))["compile_worker"]
    compile_worker(ROOT / "tests" / "node" / "guests" / "reader.c", built)
    return built


@pytest.fixture
def reader(
    wasm_host: WasmHost, spec: Callable[..., ServiceSpec], server: Server, module: Path
) -> Callable[..., Worker]:
    def make(**limits: int) -> Worker:
        service = spec(module, encoding="msgpack", limits=limits)
        return wasm_host.load_blocking(service, Grant((server.origin,)))

    return make


def test_a_worker_reads_more_than_one_answer_may_have(
    reader: Callable[..., Worker],
    server: Server,
    job: Callable[..., Job],
    run: Callable[..., Outcome],
) -> None:
    data = chunk(b"x" * 50_000)
    thread = server.serve(HEAD, *[data] * 60, END)
    outcome = run(reader(), job(Variables({"url": server.origin})))
    thread.join()
    assert isinstance(outcome, Completed), outcome
    assert outcome.variables.values["length"] == 3_000_000


def test_a_worker_that_waits_for_more_ends_with_its_time_and_so_does_the_connection(
    reader: Callable[..., Worker],
    server: Server,
    job: Callable[..., Job],
    run: Callable[..., Outcome],
) -> None:
    thread = server.serve(HEAD, chunk(b"x"))
    outcome = run(reader(time_ms_max=1_000), job(Variables({"url": server.origin})))
    thread.join()
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker ran longer than its limit of 1000 ms and was stopped."
    assert server.has_ended()
