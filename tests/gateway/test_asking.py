"""Whereabouts of what several engines of Camunda 7's dialect may have: real ones are asked."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.embedded_fixture import EmbeddedEngine
from tests.gateway.bpmn_text import one_task

from gossamer_gateway import tables
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.index import instances
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_gateway.upstreams.asking import Asking
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.config import EngineConfig
from gossamer_node.errors import EngineUnavailable

pytestmark = pytest.mark.processes


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[dict[str, EmbeddedEngine]]:
    with ExitStack() as stack:
        found = {}
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            found[name] = EmbeddedEngine(folder)
            found[name].start()
            stack.callback(found[name].kill)
        yield found


async def start_instance(url: str) -> str:
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:
        files = {"p.bpmn": ("p.bpmn", one_task("P"))}
        (await http.post("/deployment/create", files=files)).raise_for_status()
        answer = await http.post("/process-definition/key/P/start", json={})
        return str(answer.json()["id"])


async def test_two_engines_are_asked_and_silence_is_no_no(
    engines: dict[str, EmbeddedEngine],
) -> None:
    ids = {name: await start_instance(one.url) for name, one in engines.items()}
    upstreams = {
        name: Upstream(EngineConfig(name=name, kind="camunda7", url=one.url))
        for name, one in engines.items()
    }
    what = "process-instance"
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        asking = Asking(tuple(upstreams.values()), storage)
        for name, id in ids.items():
            assert await asking.seven_of(what, id) is upstreams[name]
        for nobody in ("nobody", "a/b?c=d", "ä"):
            assert await asking.seven_of(what, nobody) is None
        with pytest.raises(BadRequest):
            await asking.seven_of(what, "\0")
        engines["one"].stop()
        # What is in memory or on disk needs no asking; who says yes is believed all the same.
        assert await asking.seven_of(what, ids["one"]) is upstreams["one"]
        await storage.submit(
            lambda rows, now_ms: instances.started(rows, "one", "told", "P", None, now_ms)
        )
        fresh = Asking(tuple(upstreams.values()), storage)
        assert await fresh.seven_of(what, "told") is upstreams["one"]
        assert await fresh.seven_of(what, ids["two"]) is upstreams["two"]
        for id in (ids["one"], "nobody"):
            with pytest.raises(EngineUnavailable, match=f"has {what} {id}, and one gave no"):
                await fresh.seven_of(what, id)
    for one in upstreams.values():
        await one.aclose()
