"""`gossamer route` and `gossamer override` against the resources that they ask, over real HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from tests.gateway.settings_world import ALL_FORMS, ENGINES, MESH

from gossamer_gateway import tables
from gossamer_gateway.overrides.api import create_blueprint as create_overrides
from gossamer_gateway.overrides.forwarding import open_forwarder
from gossamer_gateway.overrides.overrides import Overrides
from gossamer_gateway.routing.api import create_blueprint as create_routes
from gossamer_gateway.routing.messages import MessageRule
from gossamer_gateway.routing.router import Router
from gossamer_gateway.serving import listen, serve_http, url_of
from gossamer_gateway.settings.book import Book
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_mesh.identity import Identity
from gossamer_node import cli


@dataclass
class Served:
    """The resources of one gateway, and what answers in its stead for the command line."""

    url: str
    router: Router
    overrides: Overrides
    http: httpx.AsyncClient

    async def run(self, *arguments: str) -> int:
        """A command's exit status. It blocks, so it has a thread."""
        given = [*arguments, "--gateway", self.url]
        return await trio.to_thread.run_sync(cli.main, given)


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    async with (
        open_storage(SqlitePlace(None), tables.FORM) as storage,
        open_forwarder("gossamer-test") as forwarder,
        trio.open_nursery() as nursery,
    ):
        book = Book(storage, Identity.generate(), MESH, ALL_FORMS)
        router, rules = Router(book, ENGINES), Overrides(book, ENGINES, forwarder)
        app = QuartTrio(__name__)
        app.json.sort_keys = False  # type: ignore[attr-defined]

        def who() -> str:
            return request.headers.get("X-API-Key", "nobody")

        app.register_blueprint(create_routes(router, who), url_prefix="/v1")
        app.register_blueprint(create_overrides(rules, who), url_prefix="/v1")
        listener = listen("127.0.0.1", 0, who="A test", options="none")
        url = url_of(listener)
        stopping = trio.Event()

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await serve_http(
                app, listener, stop=stopping.wait, wind_up=_nothing, task_status=task_status
            )

        await nursery.start(serve)
        async with httpx.AsyncClient(base_url=f"{url}/v1", timeout=60) as http:
            yield Served(url, router, rules, http)
        stopping.set()


async def _nothing() -> None:
    pass


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served() as one:
        yield one


async def test_routes_by_command(
    gateway: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("ada\n")
    key.chmod(0o600)
    assert await gateway.run("route", "show") == 0
    assert capsys.readouterr().out == "no routes; the engines are c7, c8\n"
    with_key = ("--api-key-file", str(key))
    assert await gateway.run("route", "set", "hotel", "c8=25%", *with_key) == 0
    assert capsys.readouterr().out == "hotel: c7 75 %, c8 25 %\n"
    assert await gateway.run("route", "set", "*", "c7=99.5", "c8=.5") == 2
    assert "'c8=.5' is no share; write" in capsys.readouterr().err
    sticky = ("--sticky", "header:X-Tenant")
    assert await gateway.run("route", "set", "*", "c7=99.5", "c8=0.5", *sticky) == 0
    assert capsys.readouterr().out == "*: c7 99.5 %, c8 0.5 %, sticky by header:X-Tenant\n"
    assert await gateway.run("route", "set", "car", "c8=100", "--sticky", "none", "--json") == 0
    assert json.loads(capsys.readouterr().out)["sticky"] == ""
    assert await gateway.run("route", "show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["PROCESS", "SHARES", "STICKY", "CHANGED", "BY"]
    assert [line.split()[0] for line in lines[1:]] == ["*", "car", "hotel"]
    assert lines[3].endswith("  ada") and lines[2].endswith("  nobody")
    assert await gateway.run("route", "remove", "car") == 0
    assert capsys.readouterr().out == "car: removed\n"
    assert await gateway.run("route", "remove", "car") == 2
    assert capsys.readouterr().err == "gossamer: there is no route car here.\n"
    assert await gateway.run("route", "show", "car") == 2
    assert await gateway.run("route", "history", "car", "--json") == 0
    captured = capsys.readouterr().out
    changes = json.loads(captured)["changes"]
    assert [one["is"] for one in changes] == [None, {"shares": {"c8": 100.0}, "sticky": ""}]
    assert await gateway.run("route", "history", "--limit", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "removed" in lines[1]
    before = lines[2].split()[0]
    assert await gateway.run("route", "history", "--before", before) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


async def test_rules_for_messages_by_command(
    gateway: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await gateway.run("route", "message") == 0
    assert await gateway.run("route", "message", "a/b c", "--to", "all") == 0
    paid = ("route", "message", "paid")
    assert await gateway.run(*paid, "--to", "start", "--process", "hotel") == 0
    assert await gateway.run("route", "message") == 0
    assert capsys.readouterr().out.splitlines() == [
        "no rules; messages go to where instances are",
        "a/b c: to all",
        "paid: to start, by the route of hotel",
        "MESSAGE  TO     PROCESS",
        "a/b c    all",
        "paid     start  hotel",
    ]
    assert gateway.router.rule_of("a/b c") == MessageRule("a/b c", "all")
    assert await gateway.run(*paid, "--to", "all", "--process", "hotel") == 2
    assert await gateway.run(*paid) == 2
    assert await gateway.run("route", "message", "--to", "all") == 2
    assert await gateway.run("route", "message", "a/b c", "--remove") == 0
    assert gateway.router.rule_of("a/b c") is None
    found = (await gateway.http.get("/message-history", params={"name": "a/b c"})).json()
    assert [one["is"] for one in found["changes"]] == [None, {"to": "all"}]


async def test_overrides_by_command(
    gateway: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    add = ("override", "add")
    path = ("--path", "/engine-rest/{what}")
    body = ("--respond", "503", "--body", '{"a": 1}')
    header = ("--header", "X-Tenant=acme*")
    assert await gateway.run(*add, "closed", *path, "--method", "post", *header, *body) == 0
    assert await gateway.run(*add, "to-8", "--path", "/v2/*", "--engine", "c8") == 0
    assert (
        await gateway.run(*add, "old", *path, "--upstream", "http://old/{what}", "--position", "7")
        == 0
    )
    assert await gateway.run(*add, "hotel", *path, "--process", "hotel", "--service", "prices") == 0
    assert await gateway.run("override", "list") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[-5:]] == [
        ["POSITION", "NAME", "MATCHES", "ACTION", "BY"],
        ["7", "old", "/engine-rest/{what}", "upstream", "http://old/{what}", "nobody"],
        [
            "100",
            "closed",
            "POST",
            "/engine-rest/{what}",
            "X-Tenant=acme*",
            "respond",
            "503",
            "nobody",
        ],
        ["100", "hotel", "/engine-rest/{what}", "process", "hotel", "service", "prices", "nobody"],
        ["100", "to-8", "/v2/*", "engine", "c8", "nobody"],
    ]
    assert await gateway.run("override", "remove", "old") == 0
    asked = ("override", "test", "post", "/engine-rest/message?a=b")
    assert await gateway.run(*asked, "--process", "hotel") == 0
    assert capsys.readouterr().out.splitlines() == [
        "old: removed",
        "closed: no, there is no header x-tenant",
        "hotel: yes → service prices",
        "  {what} is message",
    ]
    assert await gateway.run(*asked, "--header", "X-TENANT=acme1") == 0
    assert capsys.readouterr().out.startswith("closed: yes → respond 503\n")
    assert await gateway.run("override", "test", "GET", "/engine-rest/a/b") == 1
    assert capsys.readouterr().out.endswith("no rule matches; the engine of the request answers\n")
    start = ("override", "test", "POST", "/v2/process-instances")
    started = ("--body", '{"processDefinitionId": "car"}', "--json")
    assert await gateway.run(*start, *started) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["process"], found["rule"]["name"]) == ("car", "to-8")

    file = tmp_path / "rule.json"
    rule = {"match": {"path": "/v2/topology"}, "respond": {"headers": {"X-A": "b"}}}
    file.write_text(json.dumps(rule))
    assert await gateway.run(*add, "from-file", "--file", str(file), "--position", "1") == 0
    assert (await gateway.http.get("/overrides/from-file")).json()["position"] == 1
    assert await gateway.run("override", "history", "from-file") == 0
    for arguments, said in (
        ((*path, "--engine", "c9"), "engine is 'c9'; there are c7, c8."),
        ((*path,), "say what happens: --engine"),
        (("--engine", "c8"), "say with --path which requests"),
        (("--file", str(file), *path), "a rule comes from --file or from --path"),
        (("--file", str(tmp_path / "none")), "cannot be read"),
        ((*path, "--engine", "c8", "--header", "a"), "'a' is no header; write NAME=TEXT."),
    ):
        assert await gateway.run(*add, "wrong", *arguments) == 2
        assert said in capsys.readouterr().err


async def test_what_answers_is_no_gateway(
    gateway: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def run(*arguments: str) -> int:
        return await trio.to_thread.run_sync(cli.main, list(arguments))

    assert await run("route", "show", "--gateway", "http://127.0.0.1:1") == 1
    assert "gives no answer" in capsys.readouterr().err
    assert await run("route", "show", "--gateway", "nonsense") == 2
    assert "nonsense is no URL" in capsys.readouterr().err
    assert await run("route", "show", "--gateway", f"{gateway.url}/elsewhere") == 2
    assert "answered 404" in capsys.readouterr().err
    open_to_all = tmp_path / "key"
    open_to_all.write_text("ada")
    open_to_all.chmod(0o644)
    assert await gateway.run("route", "show", "--api-key-file", str(open_to_all)) != 0
    assert "chmod 600" in capsys.readouterr().err


BAD: list[tuple[str, str, Any]] = [
    ("PUT", "/routes/hotel", None),
    ("PUT", "/routes/hotel", []),
    ("PUT", "/routes/hotel", {}),
    ("PUT", "/routes/hotel", {"shares": {"c8": "25"}}),
    ("PUT", "/routes/hotel", {"shares": {"c8": True}}),
    ("PUT", "/routes/hotel", {"shares": {"c8": 25.001}}),
    ("PUT", "/routes/hotel", {"shares": {"c8": 1e300}}),
    ("PUT", "/routes/hotel", {"shares": {"c8": 101}}),
    ("PUT", "/routes/hotel", {"shares": {"c9": 100}}),
    ("PUT", "/routes/hotel", {"shares": {"c7": 50, "c8": 60}}),
    ("PUT", "/routes/hotel", {"shares": {"c8": 25}, "sticky": 7}),
    ("PUT", "/routes/hotel", {"shares": {"c8": 25}, "color": 7}),
    ("PUT", "/routes/" + "h" * 257, {"shares": {"c8": 25}}),
    ("GET", "/route-history?limit=0", None),
    ("GET", "/route-history?limit=201", None),
    ("GET", "/route-history?before=x", None),
    ("GET", "/routes/hotel/history?before=" + "9" * 40, None),
    ("PUT", "/messages/paid", {"to": "moon"}),
    ("PUT", "/messages/paid", {"to": "all", "color": 7}),
    ("PUT", "/overrides/A", {"match": {"path": "/a"}, "engine": "c8"}),
    ("PUT", "/overrides/a", {"match": {"path": "/a"}}),
    ("POST", "/overrides/test", {}),
    ("POST", "/overrides/test", {"path": "/a", "headers": {"a": 1}}),
    ("POST", "/overrides/test", {"path": "/a", "color": 1}),
]


@pytest.mark.parametrize(("method", "path", "body"), BAD, ids=range(len(BAD)))
async def test_wrong_requests_are_problems(
    gateway: Served, method: str, path: str, body: Any
) -> None:
    answer = await gateway.http.request(method, path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400 and problem["title"] and problem["detail"].endswith(".")
    assert gateway.router.routes() == [] and gateway.overrides.rules() == []


@pytest.mark.parametrize("name", ["a/b c", "a\n", "\x8a\n\u2028b", "ä?%"])
async def test_a_message_may_have_any_name(gateway: Served, name: str) -> None:
    path = f"/messages/{quote(name)}"
    put = await gateway.http.put(path, json={"to": "all"})
    assert put.status_code == 200, put.text
    assert (await gateway.http.get(path)).json()["message"] == name
    assert gateway.router.rule_of(name) == MessageRule(name, "all")
    assert (await gateway.http.delete(path)).status_code == 204


async def test_what_is_not_there_is_404(gateway: Served) -> None:
    for method in ("GET", "DELETE"):
        for path in ("/routes/car", "/messages/paid", "/overrides/a"):
            answer = await gateway.http.request(method, path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
    for content in (b"{", b"[" * 99_999, b"\xff", b'{"shares": {"c8": NaN}}'):
        answer = await gateway.http.put("/routes/hotel", content=content)
        assert answer.status_code == 400
