"""Overrides in front of an application, over real HTTP: who answers, and what the others see."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from tests.gateway.settings_world import ALL_FORMS, ENGINES, MESH

from gossamer_gateway import tables
from gossamer_gateway.overrides.forwarding import open_forwarder
from gossamer_gateway.overrides.hook import install
from gossamer_gateway.overrides.overrides import Overrides
from gossamer_gateway.serving import listen, serve_http, url_of
from gossamer_gateway.settings.book import Book
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_mesh.identity import Identity


async def _nothing() -> None:
    pass


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Overrides, httpx.AsyncClient]]:
    """An application that tells what it was asked, and the rules before it."""
    async with (
        open_storage(SqlitePlace(None), tables.FORM) as storage,
        open_forwarder("gossamer-test") as forwarder,
        trio.open_nursery() as nursery,
    ):
        overrides = Overrides(
            Book(storage, Identity.generate(), MESH, ALL_FORMS), ENGINES, forwarder
        )
        app = QuartTrio(__name__)

        async def tell(path: str) -> dict[str, object]:
            data = await request.get_data(as_text=True)
            engine = request.headers.getlist("Gossamer-Engine")
            return {"path": path, "body": data, "engine": engine}

        app.add_url_rule("/<path:path>", "tell", tell, methods=["GET", "POST"])
        install(app, overrides)
        listener = listen("127.0.0.1", 0, who="A test", options="none")
        url = url_of(listener)
        stopping = trio.Event()

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await serve_http(
                app,
                listener,
                stop=stopping.wait,
                wind_up=_nothing,
                task_status=task_status,
            )

        await nursery.start(serve)
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            yield overrides, http
        stopping.set()


START = "/v2/process-instances"


async def test_who_answers() -> None:
    async with opened() as (overrides, http):
        body = json.dumps({"processDefinitionId": "hotel", "more": "x" * 100_000})
        told = {"path": START[1:], "body": body, "engine": []}
        assert (await http.post(START, content=body)).json() == told
        rule = {"match": {"path": "/v2/*", "process": "hotel"}}
        await overrides.set("a", {**rule, "engine": "c7"}, "ada")
        mine = {"Gossamer-Engine": "c8"}
        found = (await http.post(START, content=body, headers=mine)).json()
        assert found == {**told, "engine": ["c7"]}
        other = body.replace("hotel", "car")
        found = (await http.post(START, content=other, headers=mine)).json()
        assert found == {**told, "body": other, "engine": ["c8"]}
        await overrides.set("a", {**rule, "respond": {"status": 410, "body": "gone"}}, "ada")
        answer = await http.post(START, content=body)
        assert (answer.status_code, answer.text) == (410, "gone")
        assert (await http.post("/v1/routes", content=body)).status_code == 200
        await overrides.remove("a", "ada")
        assert (await http.post(START, content=body)).json() == told


@pytest.mark.parametrize("status", [200, 204, 304, 404])
async def test_answers_without_a_body(status: int) -> None:
    async with opened() as (overrides, http):
        rule = {"match": {"path": "/v2/*"}, "respond": {"status": status}}
        await overrides.set("a", rule, "ada")
        for method in ("GET", "POST", "HEAD"):
            answer = await http.request(method, "/v2/topology")
            assert (answer.status_code, answer.content) == (status, b"")


async def test_what_fails_is_a_problem() -> None:
    async with opened() as (overrides, http):
        rule = {"match": {"path": "/v2/*"}, "upstream": "http://127.0.0.1:1/{*}"}
        await overrides.set("a", rule, "ada")
        for path, status in (("/v2/topology", 502), ("/v2/%2e%2e/a", 400)):
            answer = await http.get(path)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status
        url = str(http.base_url)
        await overrides.set("a", {**rule, "upstream": f"{url}/v2/{{*}}"}, "ada")
        circle = await http.get("/v2/topology")
        assert circle.status_code == 508
