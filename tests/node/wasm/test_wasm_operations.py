"""Host operations, asked by a real guest: granted, refused, late, and servers that answer junk."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossamer_node.jobs import Failed, Outcome
from gossamer_node.service.secrets import SecretSource
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.asking.operations import OPERATIONS, Code, OperationError, perform
from gossamer_node.wasm.engine import STACK_BYTES_MIN, Engines
from gossamer_node.wasm.run import Run, Surroundings

Load = Callable[..., Worker]
RunJob = Callable[..., Outcome]
Ask = Callable[..., Any]


class Hotel(BaseHTTPRequestHandler):
    """A server with one of everything that `http.fetch` may meet."""

    protocol_version = "HTTP/1.1"
    elsewhere = ""

    def answer(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        path, _, rest = self.path.partition("?")
        if path == "/echo":
            seen = {name.lower(): value for name, value in self.headers.items()}
            self.reply(200, json.dumps([self.command, rest, seen, body.decode()]).encode())
        elif path == "/status":
            self.reply(int(rest), b"no")
        elif path == "/bytes":
            self.reply(200, bytes.fromhex(rest))
        elif path == "/large":
            self.reply(200, b"x" * int(rest))
        elif path == "/to":
            self.reply(302, b"", ("location", rest))
        elif path == "/see-other":
            self.reply(303, b"", ("location", rest))
        elif path == "/elsewhere":
            self.reply(307, b"", ("location", self.elsewhere + rest))
        elif path == "/cookie":
            self.reply(200, b"", ("set-cookie", "a=1"), ("set-cookie", "b=2"))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def reply(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hotel) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def hotel() -> Iterator[str]:
    yield from serve()


@pytest.fixture
def other_hotel() -> Iterator[str]:
    yield from serve()


@pytest.fixture
def junk_server() -> Iterator[Callable[[bytes], str]]:
    """A server that answers every request with the given bytes and hangs up."""
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answer: bytes, *, hang_up: bool = True) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def accept() -> None:
            # Nobody may come, and who comes may hang up before all is said.
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                sockets.append(connection)
                connection.recv(65536)
                connection.sendall(answer)
                if hang_up:
                    connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        threads.append(thread)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for one in sockets:
        # shutdown wakes an accept that still waits; close alone does not.
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
    for thread in threads:
        thread.join()


requests = st.binary() | st.dictionaries(
    st.sampled_from(["url", "method", "headers", "body", "body_base64", "timeout_ms", "lock_ms"])
    | st.sampled_from(
        ["name", "key", "value", "if_version", "prefix", "after", "limit", "stream", "bytes_max"]
    ),
    st.text() | st.integers() | st.dictionaries(st.text(), st.text()) | st.none(),
).map(lambda request: json.dumps(request).encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(op=st.sampled_from(sorted(OPERATIONS)), data=requests)
def test_any_request_is_refused_in_words_where_nothing_is_granted(
    op: str, data: bytes, wasm_host: WasmHost, spec: Callable[..., ServiceSpec], tmp_path: Path
) -> None:
    around = Surroundings(
        spec(tmp_path / "m.wasm"),
        Grant(),
        Engines().get(STACK_BYTES_MIN),
        wasm_host.io,
        OPERATIONS,
        contextlib.nullcontext,
        is_command=False,
    )
    with pytest.raises(OperationError) as caught:
        perform(op, data, Run(around, Detached(), deadline_s=time.monotonic() + 60))
    assert caught.value.code in {Code.BAD_REQUEST, Code.DENIED, Code.TOO_LARGE}


def test_an_unknown_operation(ask: Ask) -> None:
    assert ask("no.such", {}) == (Code.UNKNOWN, "There is no operation no.such.")
    assert ask("x" * 300, {})[0] is Code.UNKNOWN


@pytest.mark.parametrize("request_text", ["", "[]", "{", '{"name": 3}', "{}", '{"name": 1e999}'])
def test_a_malformed_request(request_text: str, ask: Ask) -> None:
    assert ask("config.get", request_text)[0] is Code.BAD_REQUEST


def test_a_request_too_large(ask: Ask) -> None:
    code, sentence = ask("config.get", "", request_len=3 * 2**20 + 1)
    assert (code, sentence) == (Code.TOO_LARGE, "A request has at most 3145728 bytes.")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_config_get_gives_granted_values_in_parts_of_any_size(step: int, ask: Ask) -> None:
    grant = Grant(config={"booking_url": "http://127.0.0.1:5001/größe"})
    reply = ask("config.get", {"name": "booking_url"}, grant, step=step)
    assert reply == {"value": "http://127.0.0.1:5001/größe"}


def test_config_get_refuses_what_is_not_granted(ask: Ask) -> None:
    code, sentence = ask("config.get", {"name": "key"}, Grant(config={"other": "x"}))
    assert code is Code.DENIED
    assert sentence.startswith("The configuration key is not granted; ")


class Lock(Detached):
    def __init__(self, answer: bool | Exception) -> None:
        super().__init__()
        self.answer = answer
        self.asked_ms: list[int] = []
        self.thread = ""

    def extend_lock(self, lock_ms: int) -> bool:
        self.asked_ms.append(lock_ms)
        self.thread = threading.current_thread().name
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [True, False])
def test_extend_lock(answer: bool, ask: Ask) -> None:
    lock = Lock(answer)
    reply = ask("job.extend_lock", {"lock_ms": 60_000}, Grant(extend_lock=True), context=lock)
    assert reply == {"extended": answer}
    assert lock.asked_ms == [60_000]
    assert lock.thread != threading.current_thread().name


def test_extend_lock_refused(ask: Ask) -> None:
    assert ask("job.extend_lock", {"lock_ms": 1})[0] is Code.DENIED
    granted = Grant(extend_lock=True)
    for request in ({}, {"lock_ms": 0}, {"lock_ms": 3_600_001}, {"lock_ms": True}):
        assert ask("job.extend_lock", request, granted)[0] is Code.BAD_REQUEST


def test_a_context_that_raises_is_the_hosts_failure(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    lock = Lock(ValueError("bug"))
    reply = ask("job.extend_lock", {"lock_ms": 1}, Grant(extend_lock=True), context=lock)
    assert reply == (Code.HOST, "The host failed in job.extend_lock; its log says why.")
    assert "operation job.extend_lock failed" in caplog.text


def fetch(ask: Ask, origin: str, request: dict[str, Any], **grant: Any) -> Any:
    return ask("http.fetch", request, Grant(http_origins=(origin,), **grant))


def test_http_fetch_sends_what_it_was_told_and_nothing_of_the_environment(
    ask: Ask, hotel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    reply = fetch(
        ask,
        hotel,
        {
            "url": f"{hotel}/echo?guest=Ada%20L",
            "method": "POST",
            "headers": {"Idempotency-Key": "job-1", "content-type": "application/json"},
            "body": '{"größe":3}',
        },
    )
    assert reply["status"] == 200
    method, query, headers, body = json.loads(reply["body"])
    assert (method, query, body) == ("POST", "guest=Ada%20L", '{"größe":3}')
    assert headers == {
        "host": hotel.removeprefix("http://"),
        "idempotency-key": "job-1",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "content-length": "13",
    }


def test_http_fetch_keeps_no_cookies(ask: Ask, hotel: str) -> None:
    reply = fetch(ask, hotel, {"url": f"{hotel}/cookie"})
    assert reply["headers"]["set-cookie"] == "a=1, b=2"
    _, _, headers, _ = json.loads(fetch(ask, hotel, {"url": f"{hotel}/echo"})["body"])
    assert "cookie" not in headers


def test_http_fetch_statuses_and_bodies_are_replies(ask: Ask, hotel: str) -> None:
    assert fetch(ask, hotel, {"url": f"{hotel}/status?404"})["status"] == 404
    assert fetch(ask, hotel, {"url": f"{hotel}/status?500"})["body"] == "no"
    assert fetch(ask, hotel, {"url": f"{hotel}/bytes?ff00"})["body_base64"] == "/wA="
    assert "body" not in fetch(ask, hotel, {"url": f"{hotel}/bytes?ff00"})
    head = fetch(ask, hotel, {"url": f"{hotel}/bytes?00", "method": "HEAD"})
    assert (head["headers"]["content-length"], head["body"]) == ("1", "")
    sent = fetch(ask, hotel, {"url": f"{hotel}/echo", "method": "PUT", "body_base64": "eHl6"})
    assert json.loads(sent["body"])[3] == "xyz"


def test_http_fetch_bounds_the_answer(ask: Ask, hotel: str) -> None:
    assert len(fetch(ask, hotel, {"url": f"{hotel}/large?1000000"})["body"]) == 1_000_000
    code, sentence = fetch(ask, hotel, {"url": f"{hotel}/large?1048577"})
    assert code is Code.TOO_LARGE
    assert sentence == f"{hotel}/large answered more than 1048576 bytes."


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "https://{host}/",
        "http://localhost:{port}/",
        "http://127.0.0.1:{port}0/",
        "http://[::1]:{port}/",
        "http://exa mple/",
    ],
)
def test_http_fetch_refuses_another_origin(url: str, ask: Ask, hotel: str) -> None:
    host = hotel.removeprefix("http://")
    code, sentence = fetch(ask, hotel, {"url": url.format(host=host, port=host.partition(":")[2])})
    assert code in {Code.DENIED, Code.BAD_REQUEST}
    assert code is Code.BAD_REQUEST or "is not granted; request it" in sentence


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "/rooms",
        "//127.0.0.1/rooms",
        "file:///etc/passwd",
        "http://",
        "http://:80/",
        "http://user:pw@{host}/",
        "http://{host}:99999/",
        "http://{host}@evil.example/",
        "http://{host}/\n",
        "http://{host}/" + "x" * 9000,
    ],
)
def test_http_fetch_refuses_what_is_no_url(url: str | None, ask: Ask, hotel: str) -> None:
    text = None if url is None else url.replace("{host}", hotel.removeprefix("http://"))
    assert fetch(ask, hotel, {"url": text})[0] is Code.BAD_REQUEST


@pytest.mark.parametrize(
    "part",
    [
        {"method": "TRACE"},
        {"method": "GET / HTTP/1.1\r\nx: y"},
        {"method": 3},
        {"headers": []},
        {"headers": {"Host": "other"}},
        {"headers": {"Content-Length": "1"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"Proxy-Authorization": "x"}},
        {"headers": {"a": 1}},
        {"headers": {"a": "x\r\ny: z"}},
        {"headers": {"a\r\nb": "x"}},
        {"headers": {"": "x"}},
        {"headers": {str(i): "x" for i in range(65)}},
        {"body": 3},
        {"body": "a", "body_base64": "YQ=="},
        {"body_base64": "*"},
        {"timeout_ms": 0},
    ],
)
def test_http_fetch_refuses_malformed_parts(part: dict[str, Any], ask: Ask, hotel: str) -> None:
    assert fetch(ask, hotel, {"url": hotel, **part})[0] is Code.BAD_REQUEST


def test_http_fetch_refuses_a_body_too_large(ask: Ask, hotel: str) -> None:
    code, _ = fetch(ask, hotel, {"url": hotel, "method": "POST", "body": "x" * (2**20 + 1)})
    assert code is Code.TOO_LARGE


def test_redirects_come_back_unless_granted(ask: Ask, hotel: str) -> None:
    reply = fetch(ask, hotel, {"url": f"{hotel}/to?/echo"})
    assert (reply["status"], reply["headers"]["location"]) == (302, "/echo")


def test_granted_redirects_are_followed_to_granted_origins_only(ask: Ask, hotel: str) -> None:
    def follow(path: str, **request: Any) -> Any:
        return fetch(ask, hotel, {"url": hotel + path, **request}, redirects=True)

    assert json.loads(follow("/to?/echo")["body"])[0] == "GET"
    post = {"method": "POST", "body": "x", "headers": {"content-type": "a/b", "z": "1"}}
    for path in ("/see-other?/echo", "/to?/echo"):
        method, _, headers, body = json.loads(follow(path, **post)["body"])
        assert (method, body, headers["z"]) == ("GET", "", "1")
        assert not {"content-type", "content-length"} & set(headers)
    assert follow("/to?http://127.0.0.1:1/")[0] is Code.DENIED
    assert follow("/to?http://user@127.0.0.1:1/")[0] is Code.DENIED
    assert follow("/to?ftp://127.0.0.1/")[0] is Code.DENIED
    assert follow("/to?http://[/")[0] is Code.DENIED
    code, sentence = follow("/to?/to?/to?/to?/to?/to?/echo")
    assert (code, sentence) == (
        Code.UNAVAILABLE,
        f"More than 5 redirects, the last to {hotel}/echo.",
    )


def test_a_redirect_to_another_origin_carries_no_credentials(
    ask: Ask, hotel: str, other_hotel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = {
        "authorization": "Bearer a",
        "cookie": "b",
        "x-api-key": "c",
        "X-Auth-Token": "d",
        "x-session": "e",
    }
    others = {"z": "1", "idempotency-key": "job-1", "accept": "a/b"}

    def seen(origin: str) -> Any:
        monkeypatch.setattr(Hotel, "elsewhere", origin)
        request = {
            "url": f"{hotel}/elsewhere?/echo",
            "method": "POST",
            "body": "x",
            "headers": credentials | others,
        }
        reply = ask("http.fetch", request, Grant((hotel, other_hotel), redirects=True))
        method, _, headers, body = json.loads(reply["body"])
        assert (method, body) == ("POST", "x")
        assert others.items() <= headers.items()
        return {name.lower() for name in credentials} & set(headers)

    assert seen(other_hotel) == set()
    assert seen(hotel) == {name.lower() for name in credentials}


def test_a_redirect_to_another_origin_carries_no_secret_under_any_name(
    hotel: str,
    other_hotel: str,
    monkeypatch: pytest.MonkeyPatch,
    wasm_host: WasmHost,
    spec: Callable[..., ServiceSpec],
    tmp_path: Path,
) -> None:
    around = Surroundings(
        spec(tmp_path / "m.wasm"),
        Grant(
            (hotel, other_hotel),
            redirects=True,
            secrets={"shop": SecretSource(None, "SHOP", "hunter2")},
        ),
        Engines().get(STACK_BYTES_MIN),
        wasm_host.io,
        OPERATIONS,
        contextlib.nullcontext,
        is_command=False,
    )
    run = Run(around, Detached(), deadline_s=time.monotonic() + 60)
    given = json.loads(perform("secrets.get", b'{"name": "shop"}', run))["value"]
    monkeypatch.setattr(Hotel, "elsewhere", other_hotel)
    headers = {"x-shop": f"id {given}", "x-other": "1"}
    request = {"url": f"{hotel}/elsewhere?/echo", "headers": headers}
    reply = json.loads(perform("http.fetch", json.dumps(request).encode(), run))
    _, _, seen, _ = json.loads(reply["body"])
    assert (seen["x-other"], "x-shop" in seen) == ("1", False)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\xff" * 40,
        b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
    ],
)
def test_a_servers_junk_is_unavailable(
    answer: bytes, ask: Ask, junk_server: Callable[..., str]
) -> None:
    origin = junk_server(answer)
    code, sentence = fetch(ask, origin, {"url": origin})
    assert code is Code.UNAVAILABLE, sentence


def test_header_bytes_that_are_no_text_become_text(
    ask: Ask, junk_server: Callable[..., str]
) -> None:
    origin = junk_server(b"HTTP/1.1 200 OK\r\nx: \xff\xfe\r\ncontent-length: 0\r\n\r\n")
    assert fetch(ask, origin, {"url": origin})["status"] == 200


def test_nobody_listens(ask: Ask) -> None:
    with socket.socket() as unheard:  # bound, so that nobody else gets the port; not listening
        unheard.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        code, sentence = fetch(ask, origin, {"url": origin})
    assert code is Code.UNAVAILABLE
    assert sentence.startswith(f"{origin}/ gave no answer: ")


def test_a_silent_server_ends_with_the_requests_time(
    ask: Ask, junk_server: Callable[..., str]
) -> None:
    origin = junk_server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", hang_up=False)
    assert fetch(ask, origin, {"url": origin, "timeout_ms": 50}) == (
        Code.DEADLINE,
        f"{origin}/ did not answer within 50 ms.",
    )


def test_a_silent_server_ends_with_the_jobs_time(
    load: Load, run: RunJob, junk_server: Callable[..., str]
) -> None:
    origin = junk_server(b"", hang_up=False)
    worker = load(
        "caller",
        op="http.fetch",
        request=json.dumps({"url": origin}),
        grant=Grant(http_origins=(origin,)),
        limits={"time_ms_max": 100},
    )
    outcome = run(worker)
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker ran longer than its limit of 100 ms and was stopped."
