"""`/v1` as its clients see it: what it answers, its document, its events, and no server error."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import openapi_spec_validator
import pytest
import trio
from tests.gateway.bpmn_text import bpmn, end, flow, start, task
from tests.gateway.v1_world import Gateway, open_gateway
from tests.patience import patience, seen, until
from trio_websocket import ConnectionClosed, open_websocket_url

from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.server import open_gateway as open_whole
from gossamer_gateway.watching import watching
from gossamer_mesh.keyring import Keyring
from gossamer_node.address import Address
from gossamer_node.engines.config import EngineConfig

RING = Keyring((bytes(range(32)),))

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method"
)


def embedded(url: str) -> EngineConfig:
    return EngineConfig("old", "camunda7", url)


NOWHERE = EngineConfig("new", "camunda8", "http://127.0.0.1:9")


async def answer(gateway: Gateway, path: str, status: int = 200) -> Any:
    """What a path answers, as JSON."""
    told = await gateway.http.get(f"/v1{path}")
    assert told.status_code == status, told.text
    return told.json()


async def test_an_engine_that_does_not_answer_is_unknown_and_not_nought(embedded_url: str) -> None:
    async with open_gateway(RING, embedded(embedded_url), NOWHERE) as gateway:

        async def looked_at() -> list[Any] | None:
            told: list[Any] = await answer(gateway, "/engines")
            return told if all(one["answers"] is not None for one in told) else None

        with gateway.watching.watch():
            old, new = await seen(looked_at)
            assert (old["answers"], old["silent_since_ms"], old["product"]) == (
                True, None, "gossamer"
            )  # fmt: skip
            assert new["answers"] is False and new["silent_since_ms"] is not None
            assert new["version"] is None
            health = await answer(gateway, "/health")
            assert health["status"] == "degraded"
            assert health["engines"] == {"old": True, "new": False}
            for path in ("/progress", "/instances", "/incidents", "/jobs"):
                assert "new" in (await answer(gateway, path))["unknown"]
        await answer(gateway, "/processes/nobody/diagram", 503)  # the other one may have it
        await answer(gateway, "/processes/nobody/diagram?engine=old", 404)
        metrics = (await gateway.http.get("/v1/metrics")).text
        assert 'gossamer_gateway_engine_answers{engine="new"} 0' in metrics


@pytest.mark.parametrize(
    ("path", "status", "about"),
    [
        ("/nodes?limit=0", 400, "limit"),
        ("/nodes?limit=1&limit=2", 400, "twice"),
        ("/nodes?limits=1", 400, "no parameter"),
        ("/nodes?state=ill", 400, "alive"),
        ("/nodes/nobody", 404, "nobody"),
        ("/instances?engine=none", 404, "no engine"),
        ("/incidents?limit=%F0%9F%90%88", 400, "limit"),
        ("/processes/x/diagram?engine=none", 404, "none"),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence(path: str, status: int, about: str) -> None:
    async with open_gateway(RING) as gateway:
        told = await gateway.http.get(f"/v1{path}")
        assert told.status_code == status
        assert told.headers["content-type"] == "application/problem+json"
        assert about in told.json()["detail"]


async def test_pages_follow_each_other() -> None:
    async with open_gateway(RING) as gateway:
        told = [one.id for one in gateway.watching.picture.nodes()]
        first = await answer(gateway, "/nodes?limit=1")
        assert [one["id"] for one in first["items"]] == told and first["next"] is None


async def test_events_over_both_ways() -> None:
    async with open_gateway(RING) as gateway:
        url = gateway.url.replace("http", "ws") + "/v1/events"
        async with open_websocket_url(url, subprotocols=["gossamer"]) as socket:
            assert socket.subprotocol == "gossamer"
            picture = json.loads(await socket.get_message())
            assert picture["kind"] == "picture"
            assert [one["id"] for one in picture["data"]["nodes"]] == [gateway.mesh.node_id]
            gateway.watching.tell("route.changed", "hotel", {"shares": {}})
            (event,) = json.loads(await socket.get_message())["events"]
            assert (event["kind"], event["subject"]) == ("route.changed", "hotel")
            assert event["number"] == picture["data"]["number"] + 1
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            told = b""
            with patience():
                while b"event: picture" not in told:
                    told += await stream.receive_some()
            assert b"content-type: text/event-stream" in told
            gateway.watching.tell("route.changed", "hotel", None)
            with patience():
                while b"event: route.changed" not in told:
                    told += await stream.receive_some()
        refused = await gateway.http.get("/v1/events", headers={"Accept": "image/png"})
        assert refused.status_code == 406


async def test_a_slow_reader_is_cut_off_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "WAITING_MAX", 50)
    async with open_gateway(RING) as gateway:
        url = gateway.url.replace("http", "ws") + "/v1/events"
        async with open_websocket_url(url, message_queue_size=1) as socket:
            await until(lambda: gateway.watching.watchers == 1)
            with pytest.raises(ConnectionClosed):
                await socket.get_message()
                for _ in range(51):
                    gateway.watching.tell("route.changed", "x", None)
                with patience():
                    while True:
                        await socket.get_message()
            await socket._stream.aclose()  # trio-websocket forgets it where the server closes
        await until(lambda: gateway.watching.watchers == 0)


@asynccontextmanager
async def whole(folder: Path, *engines: EngineConfig) -> AsyncIterator[str]:
    """The URL of a gateway with all that is under `/v1`."""
    config = GatewayConfig(
        name="gateway",
        data_dir=folder / "data",
        cache_dir=folder / "cache",
        http=Address("127.0.0.1", 0),
        grpc=Address("127.0.0.1", 0),
        engines=engines,
    )
    async with open_whole(config) as gateway:
        yield gateway.url


async def test_jobs_of_an_engine_are_told(embedded_url: str, tmp_path: Path) -> None:
    process, topic = f"p{token_hex(4)}", f"t{token_hex(4)}"
    model = bpmn(
        start(), flow("s", "work"), task("work", topic=topic), flow("work", "e"), end(),
        process_id=process,
    )  # fmt: skip
    rest = "/engine-rest"
    async with (
        whole(tmp_path, embedded(embedded_url)) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        await http.post(f"{rest}/deployment/create", files={"m": ("m.bpmn", model)})
        await http.post(f"{rest}/process-definition/key/{process}/start", json={})
        (waits,) = (await http.get(f"/v1/jobs?topic={topic}")).json()["items"]
        assert (waits["engine"], waits["process"], waits["worker"]) == ("old", process, None)
        fetch = {
            "workerId": "me",
            "maxTasks": 1,
            "topics": [{"topicName": topic, "lockDuration": 60_000}],
        }
        await http.post(f"{rest}/external-task/fetchAndLock", json=fetch)

        async def taken() -> bool:
            (one,) = (await http.get(f"/v1/jobs?topic={topic}")).json()["items"]
            return one["worker"] == "me" and one["locked_until_ms"] is not None

        await seen(taken)
        assert (await http.get("/v1/jobs?engine=nobody")).status_code == 404


async def test_the_document_is_right(tmp_path: Path) -> None:
    async with whole(tmp_path) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        told = (await http.get("/v1/openapi.json")).json()
    assert told["openapi"] == "3.1.0"
    openapi_spec_validator.validate(told)
    paths = {"/v1/nodes", "/v1/leases", "/v1/events", "/v1/progress", "/v1/routes/{process}"}
    assert paths <= set(told["paths"])


async def test_no_request_by_the_document_is_a_server_error(
    embedded_url: str, tmp_path: Path
) -> None:
    """schemathesis makes them up, right ones and wrong ones; its report names the seed."""
    async with whole(tmp_path, embedded(embedded_url)) as url:
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "run",
            f"{url}/v1/openapi.json", f"--checks={CHECKS}", "--max-examples=15",
            "--exclude-path=/v1/events", "--exclude-path-regex=^/(workflow|executions)",
            "--phases=examples,coverage,fuzzing",
            "--generation-database=none", "--request-timeout=120",
        ]  # fmt: skip
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, cwd=tmp_path
        )
    assert done.returncode == 0, done.stdout.decode()[-8_000:] + done.stderr.decode()[-2_000:]
