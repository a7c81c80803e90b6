"""`gossamer engine` as a process: who is let in, hostile traffic, and how it starts and ends."""

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from tests.embedded_fixture import EmbeddedEngine
from tests.gateway.bpmn_text import one_task

from gossamer_gateway.embedded import api, requests
from gossamer_node.cli import main

pytestmark = pytest.mark.processes


@pytest.fixture
async def http(embedded_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=embedded_url, timeout=60, verify=False) as http:
        yield http


async def test_it_says_who_it_is(http: httpx.AsyncClient) -> None:
    assert (await http.get("/version")).json()["product"] == "gossamer"
    identity = (await http.get("/telemetry/data")).json()["installation"]
    assert identity == (await http.get("/engine/default/telemetry/data")).json()["installation"]


async def test_a_refused_request_leaves_its_connection_usable(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    large = b"x" * (api.BODY_BYTES_MAX + 1)
    for path, content, status in (
        ("/external-task/fetchAndLock", large, 413),
        ("/nowhere", b"{}", 404),
        ("/deployment/create", b"{}", 415),
    ):
        answer = await http.post(path, content=content, headers=headers)
        assert answer.status_code == status
        assert answer.json()["type"]
        assert (await http.get("/version")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.test"}, {"Host": "evil.test"}, {"Host": "evil.test:8070"},
     {"Host": "127.0.0.1.evil.test"}],
)  # fmt: skip
async def test_browsers_are_kept_out(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await http.get("/version", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"workerId": "\ud800", "maxTasks": 1, "topics": []},
        {"workerId": "x" * 5_000, "maxTasks": 1, "topics": []},
        {"workerId": "w", "maxTasks": 2**70, "topics": []},
        {"workerId": "w", "maxTasks": 1, "topics": [5]},
        {"workerId": "w", "maxTasks": 1, "topics": [{"topicName": "t"}]},
        {"workerId": "w", "maxTasks": 1, "topics": [{"topicName": "t", "lockDuration": True}]},
        {"workerId": "w", "maxTasks": 1,
         "topics": [{"topicName": "t", "lockDuration": 1, "processVariables": {"a": 1}}]},
        {"workerId": "w", "maxTasks": 1,
         "topics": [{"topicName": str(n), "lockDuration": 1}
                    for n in range(requests.TOPICS_MAX + 1)]},
    ],
)  # fmt: skip
async def test_a_senseless_fetch_is_refused(http: httpx.AsyncClient, body: Any) -> None:
    content = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    answer = await http.post("/external-task/fetchAndLock", content=content, headers=headers)
    assert answer.status_code == 400, answer.text


async def test_junk_on_the_socket_ends_nothing(http: httpx.AsyncClient, embedded_url: str) -> None:
    host, port = httpx.URL(embedded_url).host, httpx.URL(embedded_url).port
    assert port is not None
    for junk in (b"\x00" * 100, b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"PRI * HTTP/2.0"):
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(junk)
            await stream.send_eof()
            with trio.move_on_after(5):
                async for _ in stream:
                    pass
    assert (await http.get("/version")).status_code == 200


async def test_without_the_password_nobody_is_served(
    embedded_engine: EmbeddedEngine, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("me:p:w\n")
    secret.chmod(0o600)
    url = embedded_engine.start("--password-file", str(secret))
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:
        for auth in (None, ("me", "wrong"), ("other", "p:w")):
            answer = await http.get("/version", auth=auth)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic")
        assert (await http.get("/version", auth=("me", "p:w"))).status_code == 200
    assert (embedded_engine.stop(), embedded_engine.log()) == (0, "")


async def test_a_stop_answers_the_waiting_and_keeps_all(
    embedded_engine: EmbeddedEngine, tmp_path: Path
) -> None:
    url_file = tmp_path / "url"
    url = embedded_engine.start("--url-file", str(url_file))
    assert url_file.read_text() == url
    polled: list[httpx.Response] = []
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:
        deployed = await http.post("/deployment/create", files={"p.bpmn": ("p.bpmn", one_task())})
        assert deployed.status_code == 200
        waiting = {
            "workerId": "w", "maxTasks": 1, "asyncResponseTimeout": 50_000,
            "topics": [{"topicName": "none", "lockDuration": 1_000}],
        }  # fmt: skip

        sent = trio.Event()

        async def trace(event: str, _: object) -> None:
            if event == "http11.send_request_body.complete":
                sent.set()

        async def poll() -> None:
            path, more = "/external-task/fetchAndLock", {"trace": trace}
            polled.append(await http.post(path, json=waiting, extensions=more))

        async with trio.open_nursery() as polling:
            polling.start_soon(poll)
            await sent.wait()  # the start goes after it, and is answered later than it is read
            started = await http.post("/process-definition/key/P/start", json={})
            status = await trio.to_thread.run_sync(embedded_engine.stop)
    assert (status, embedded_engine.log()) == (0, "")
    assert [(answer.status_code, answer.json()) for answer in polled] == [(200, [])]
    url = embedded_engine.start()
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:
        answer = await http.get(f"/process-instance/{started.json()['id']}")
        assert answer.json()["definitionKey"] == "P"


def test_what_cannot_be_used_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "engine.sqlite")]
    open_file, empty = tmp_path / "open", tmp_path / "empty"
    open_file.write_text("a:b")
    open_file.chmod(0o644)
    empty.write_text("no colon")
    empty.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, said in (
            (["--host", "0.0.0.0", "--port", "0"], "--password-file"),
            (["--port", port], f"127.0.0.1:{port}"),
            (["--port", "70000"], "--port"),
            (["--port", "0", "--password-file", str(open_file)], "chmod 600"),
            (["--port", "0", "--password-file", str(empty)], "user:password"),
            (["--port", "0", "--password-file", str(tmp_path / "none")], "can't be read"),
            (["--port", "0", "--data", str(tmp_path)], "--data"),
        ):
            assert main(["engine", *data, *arguments]) == 2
            out, err = capsys.readouterr()
            assert said in err and err.count("\n") == 1 and out == ""
