"""The way to a gateway: what cannot be is said at once, and a token is in one header alone."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gossamer_worker import Worker
from gossamer_worker.line import Gateway, Line, Trouble

SECRET = "gsk_a-secret"


class Echo(BaseHTTPRequestHandler):
    """Answers as its server says, with the token that it was shown."""

    seen: list[str | None]
    status: int

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        shown = self.headers["Authorization"]
        type(self).seen.append(shown)
        body = f'{{"detail": "you\\n said {shown}"}}'.encode()
        self.send_response(type(self).status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def echo() -> Any:
    handler = type("ThisEcho", (Echo,), {"seen": [], "status": 200})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield handler, f"http://127.0.0.1:{server.server_port}/behind"
        server.shutdown()
        thread.join()


def test_what_is_said_of_a_refusal_has_no_token(echo: Any) -> None:
    handler, url = echo
    line = Line(Gateway(url, SECRET, None, None))
    assert line.post("/jobs", "{}", 10) == {"detail": f"you\n said Bearer {SECRET}"}
    words = {
        401: "does not know this worker's token", 403: "needs the role `work`", 302: "answers 302",
        400: "answers 400", 503: "answers 503",
    }  # fmt: skip
    for status, said in words.items():
        handler.status = status
        with pytest.raises(Trouble, match=said) as caught:
            line.post("/jobs", "{}", 10)
        assert "you said Bearer …" in str(caught.value)
        assert SECRET not in str(caught.value)
        assert caught.value.kind == (str(status) if status in {400, 401, 403} else "")
    line.close()
    assert len(handler.seen) == 1 + len(words), "a redirect was followed"


def test_a_token_is_read_anew_from_its_file(echo: Any, tmp_path: Path) -> None:
    handler, url = echo
    file = tmp_path / "token"
    file.write_text("first\n")
    line = Line(Gateway(url, None, str(file), None))
    line.post("/jobs", "{}", 10)
    file.write_text("second\n")
    line.post("/jobs", "{}", 10)
    file.unlink()
    with pytest.raises(Trouble, match="no token could be read") as caught:
        line.post("/jobs", "{}", 10)
    assert caught.value.kind == "token"
    line.close()
    assert handler.seen == ["Bearer first", "Bearer second"]


def test_without_a_token_it_is_asked_for(echo: Any) -> None:
    handler, url = echo
    handler.status = 401
    line = Line(Gateway(url, None, None, None))
    with pytest.raises(Trouble, match=r"wants a token .* GOSSAMER_TOKEN_FILE"):
        line.post("/jobs", "{}", 10)
    line.close()
    assert handler.seen == [None]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "file:///etc"}, "http://host:port"),
        ({"url": f"http://me:{SECRET}@localhost"}, "without user, password"),
        ({"url": f"http://localhost/?key={SECRET}"}, "without user, password or query"),
        ({"url": "http://localhost:many"}, "http://host:port"),
        ({"url": "http://h", "token": f"{SECRET}\r\nX: y"}, "one word"),
        ({"url": "http://h", "token": SECRET, "token_file": "a"}, "name one of them"),
        ({"url": "http://h", "token_file": "/no/such/file"}, "/no/such/file: No such file"),
        ({"url": "http://h", "token_file": "/dev/null"}, "/dev/null: what it has is not one word"),
        ({"url": "https://h", "ca_file": "/no/such/file"}, "no authorities .* /no/such/file"),
        ({"url": "https://h", "ca_file": __file__}, "no authorities could be read"),
    ],
)
def test_what_cannot_be_is_said_at_once(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Worker(**given)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


def test_the_environment_says_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET)
    monkeypatch.setenv("GOSSAMER_URL", "http://h")
    monkeypatch.setenv("GOSSAMER_TOKEN_FILE", str(file))
    worker = Worker()
    assert worker._gateway is not None and worker._gateway.token() == SECRET
    assert SECRET not in repr(vars(worker)) and SECRET not in repr(worker)
    given = Worker(token="mine")._gateway  # an argument counts before the environment
    assert given is not None and given.token() == "mine"
    monkeypatch.setenv("GOSSAMER_TOKEN", SECRET)
    with pytest.raises(ValueError, match="name one of them"):
        Worker()
