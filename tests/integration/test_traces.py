"""One trace from a start at the gateway, through an engine, a claimer and a worker elsewhere, to
its settlement: processes of their own, and a collector that decodes what they send.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.collector import Collector, Told, open_collector
from tests.integration.nodes import EMBEDDED, bpmn, on, reaches
from tests.patience import until

from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.server import open_gateway
from gossamer_hotel.demo.processes import open_nodes
from gossamer_node.address import Address
from gossamer_node.engines.config import EngineConfig
from gossamer_node.local_engines.progress import silent
from gossamer_node.tracing_config import TracingConfig

pytestmark = pytest.mark.processes

SERVICE = Path(__file__).parents[2] / "sdk-wasm" / "examples" / "wasi-command"
TOPIC = "count-words"
VARIABLE = "traceparent"
SECRET = "nobody-may-read-this-in-a-trace"

CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE, PARENT = CLIENT.split("-")[1:3]

START = "POST /engine-rest/process-definition/key/{process}/start"
SPANS = {START, "POST embedded", *(f"{it} {TOPIC}" for it in ("claim", "grant", "run", "settle"))}


def a_gateway(folder: Path, engine: EngineConfig, tracing: TracingConfig) -> GatewayConfig:
    return GatewayConfig(
        name="gateway",
        data_dir=folder / "gateway",
        cache_dir=folder / "cache",
        http=Address("127.0.0.1", 0),
        grpc=Address("127.0.0.1", 0),
        engines=(engine,),
        tracing=tracing,
    )


async def start(http: httpx.AsyncClient, headers: Mapping[str, str]) -> str:
    files = {"data": ("counted.bpmn", bpmn("camunda7", "Counted", [TOPIC]).encode())}
    assert (await http.post("/engine-rest/deployment/create", files=files)).status_code == 200
    body = {"variables": {"text": {"value": f"two {SECRET}", "type": "String"}}}
    url = "/engine-rest/process-definition/key/Counted/start"
    answer = await http.post(url, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@on(EMBEDDED)
async def test_one_trace_from_a_start_to_its_settlement(
    tmp_path: Path, engine_config: EngineConfig
) -> None:
    async with open_collector() as collector:
        told: dict[str, Any] = {
            "tracing": {"endpoint": collector.url, "percent": 0, "variable": VARIABLE}
        }
        settings = [
            {**reaches(engine_config), **told},
            {"services": [str(SERVICE)], **told},
        ]
        tracing = TracingConfig(collector.url, 100, VARIABLE)
        config = a_gateway(tmp_path, engine_config, tracing)
        async with (
            open_nodes(settings, tmp_path, silent) as (claimer, worker),
            open_gateway(config) as gateway,
            httpx.AsyncClient(base_url=gateway.url, timeout=60) as http,
        ):
            id = await start(http, {"traceparent": CLIENT})
            await until(lambda: bool(collector.named(f"settle {TOPIC}")))
            ended = await http.get(f"/engine-rest/process-instance/{id}")
            assert ended.status_code == 404
            # What a process has not told when it ends, it need not tell any more.
            await until(lambda: collector.names_in(TRACE) >= SPANS)
            ids = {one.name: one.status["node"]["id"] for one in (claimer, worker)}
        _one_trace(collector, ids)
        assert SECRET.encode() not in b"".join(collector.raw)


def _one_trace(collector: Collector, ids: Mapping[str, str]) -> None:
    def only(name: str) -> Told:
        (one,) = (each for each in collector.named(name) if each.trace == TRACE)
        return one

    request = only(START)
    assert (request.service, request.parent) == ("gossamer-gateway", PARENT)
    assert request.attributes["http.response.status_code"] == 200
    call = only("POST embedded")
    assert call.parent == request.id
    claimed, run = only(f"claim {TOPIC}"), only(f"run {TOPIC}")
    assert claimed.parent == request.id
    assert {one.parent for one in (run, only(f"grant {TOPIC}"), only(f"settle {TOPIC}"))} == {
        claimed.id
    }
    assert claimed.instance == only(f"settle {TOPIC}").instance == ids["node-1"]
    assert run.instance == ids["node-2"]
    assert run.attributes["gossamer.outcome"] == "completed"
    assert only(f"settle {TOPIC}").attributes["gossamer.outcome"] == "applied"
    assert not any(one.failed for one in collector.spans if one.trace == request.trace)
