"""What the gateway counts and traces of its requests, and what it writes into starts."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.collector import Collector, open_collector
from tests.integration.nodes import bpmn
from tests.patience import until

from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.limits import Limit
from gossamer_gateway.observing.hand_outs import JOBS_MAX, HandOuts
from gossamer_gateway.observing.starts import added, added_to_call, is_start
from gossamer_gateway.observing.tally import BOUNDS_S, Times
from gossamer_gateway.server import open_gateway
from gossamer_node.address import Address
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.grpc import Channel
from gossamer_node.tracing.opening import open_tracing
from gossamer_node.tracing_config import TracingConfig

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOT_KEPT = PARENT[:-1] + "0"
SEVEN = "/engine-rest/process-definition/key/P/start"
EIGHT = "/v2/process-instances"
CREATE = "/gateway_protocol.Gateway/CreateProcessInstance"
NOBODY = EngineConfig("away", "camunda7", "http://127.0.0.1:9/engine-rest")


@pytest.mark.parametrize(
    ("method", "path", "is_one"),
    [
        ("POST", SEVEN, True),
        ("POST", "/engine-rest/engine/default/process-definition/P:1:a/start", True),
        ("POST", "/engine-rest/process-definition/key/P/tenant-id/t/start", True),
        ("POST", EIGHT, True),
        ("GET", EIGHT, False),
        ("POST", "/v2/process-instances/search", False),
        ("POST", "/engine-rest/process-definition/key/P/x/start", False),
        ("POST", "/engine-rest/message", False),
    ],
)
def test_what_a_start_is(method: str, path: str, is_one: bool) -> None:
    assert is_start(method, path) is is_one


def test_a_start_gets_the_variable_in_its_dialect() -> None:
    seven = added(SEVEN, b'{"businessKey":"k","variables":null}', "trace", PARENT)
    assert seven is not None and json.loads(seven) == {
        "businessKey": "k",
        "variables": {"trace": {"value": PARENT, "type": "String"}},
    }
    eight = added(EIGHT, b'{"processDefinitionId":"P","variables":{"a":1}}', "trace", PARENT)
    assert eight is not None and json.loads(eight)["variables"] == {"a": 1, "trace": PARENT}
    assert added(SEVEN, b"", "trace", PARENT) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"junk",
        b"\xff",
        b'{"variables":7}',
        b'{"variables":{"trace":1}}',
        b'{"variables":{"a":NaN}}',
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("path", [SEVEN, EIGHT])
def test_what_cannot_take_it_stays_as_it_is(path: str, body: bytes) -> None:
    assert added(path, body, "trace", PARENT) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_no_other_variable_changes(variables: dict[str, Any]) -> None:
    told = added(EIGHT, json.dumps({"variables": variables}).encode(), "trace!", PARENT)
    assert told is not None
    assert json.loads(told)["variables"] == {**variables, "trace!": PARENT}


def test_a_start_over_grpc_gets_it_too() -> None:
    asked = zeebe.CreateProcessInstanceRequest(bpmnProcessId="P", variables='{"a": 1}')
    told = added_to_call(CREATE, asked.SerializeToString(), "trace", PARENT)
    read = zeebe.CreateProcessInstanceRequest.FromString(told)
    assert (read.bpmnProcessId, json.loads(read.variables)) == ("P", {"a": 1, "trace": PARENT})
    waits = zeebe.CreateProcessInstanceWithResultRequest(request=asked, requestTimeout=7)
    path = f"{CREATE}WithResult"
    told = added_to_call(path, waits.SerializeToString(), "trace", PARENT)
    both = zeebe.CreateProcessInstanceWithResultRequest.FromString(told)
    assert (both.requestTimeout, "trace" in both.request.variables) == (7, True)
    for junk in ('{},"x":1', "[1]", '{"trace": 0}', "NaN"):
        asked.variables = junk
        data = asked.SerializeToString()
        assert added_to_call(CREATE, data, "trace", PARENT) == data
    assert added_to_call(CREATE, b"\xff\xff", "trace", PARENT) == b"\xff\xff"


@given(st.integers(0, 10**12))
def test_a_time_is_in_the_first_bucket_that_holds_it(took_ns: int) -> None:
    times = Times()
    times.note(took_ns)
    (index,) = (place for place, count in enumerate(times.buckets) if count)
    bounds = [-1.0, *BOUNDS_S, float("inf")]
    assert bounds[index] < took_ns / 1e9 <= bounds[index + 1]


SETTLED = "POST /v2/jobs/{}/completion"


async def test_whose_trace_a_job_is_part_of_is_remembered_in_a_bound() -> None:
    async with (
        open_collector() as collector,
        open_tracing(TracingConfig(collector.url), "gateway", "g", "1") as tracing,
    ):
        hand_outs = HandOuts(tracing, "trace")
        text = json.dumps({"trace": PARENT})
        hand_outs.job("e", zeebe.ActivatedJob(key=7, type="t", variables=text))
        hand_outs.job("e", {"jobKey": "8", "type": "t", "variables": {"trace": PARENT}})
        hand_outs.task(
            "e", {"id": "9", "topicName": "t", "variables": {"trace": {"value": PARENT}}}
        )
        found = [hand_outs.of_request(SETTLED, f"/v2/jobs/{id}/completion") for id in "789"]
        assert [one and one.trace_id for one in found] == [int(PARENT[3:35], 16)] * 3
        done = zeebe.CompleteJobRequest(jobKey=7).SerializeToString()
        path = "/gateway_protocol.Gateway/CompleteJob"
        assert hand_outs.of_call(path, done) == found[0]
        assert hand_outs.of_call(path, b"\xff") is None
        assert hand_outs.of_request("GET /v2/jobs/{}", "/v2/jobs/7") is None
        for number in range(JOBS_MAX):
            told = {"key": 1_000 + number, "type": "t", "variables": {"trace": NOT_KEPT}}
            hand_outs.job("e", told)
        assert hand_outs.of_request(SETTLED, "/v2/jobs/7/completion") == found[0]
        for number in range(JOBS_MAX):
            hand_outs.job("e", {"key": 1_000 + number, "type": "t", "variables": {"trace": PARENT}})
        assert hand_outs.of_request(SETTLED, "/v2/jobs/7/completion") is None
        assert hand_outs.of_request(SETTLED, "/v2/jobs/1000/completion") is not None


@given(JSON)
def test_junk_for_variables_hands_jobs_out_all_the_same(junk: Any) -> None:
    hand_outs = HandOuts(variable="trace")
    for variables in (junk, {"trace": junk}):
        hand_outs.task("e", {"id": "1", "variables": variables})
        hand_outs.job("e", {"jobKey": "1", "variables": variables})
        text = json.dumps(variables)
        hand_outs.job("e", zeebe.ActivatedJob(key=1, type="t", variables=text))


@asynccontextmanager
async def serving(
    folder: Path, engine: EngineConfig, **more: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    config = GatewayConfig(
        name="gateway",
        data_dir=folder / "data",
        cache_dir=folder / "cache",
        http=Address("127.0.0.1", 0),
        grpc=Address("127.0.0.1", 0),
        engines=(engine,),
        **more,
    )
    async with (
        open_gateway(config) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=60) as http,
    ):
        yield http, gateway.grpc


async def test_metrics_name_rows_and_engines_and_nothing_of_a_clients(tmp_path: Path) -> None:
    limit = Limit("few", 1, 60_000, methods=("DELETE",))
    async with serving(tmp_path, NOBODY, door=DoorConfig(limits=(limit,))) as (http, _):
        for number in range(3):
            answer = await http.get(f"/engine-rest/process-instance/made-up-{number}")
            assert answer.status_code == 503
            await http.request(f"MADE{number}", f"/made/up/{number}")
        assert (await http.delete("/v2/made-up")).status_code == 501
        assert (await http.delete("/v2/made-up")).status_code == 429
        text = (await http.get("/v1/metrics")).text
    assert "made" not in text.lower()
    row = 'dialect="engine-rest",endpoint="GET /engine-rest/process-instance/{}",engine="away"'
    assert f'gossamer_gateway_requests_total{{{row},status="5xx"}} 3' in text
    assert f'gossamer_gateway_request_seconds_bucket{{{row},le="+Inf"}} 3' in text
    assert f"gossamer_gateway_request_seconds_count{{{row}}} 3" in text
    # The gateway itself looks at its engines, too.
    failures = re.search(r'upstream_failures_total{engine="away"} (\d+)', text)
    assert failures is not None and int(failures[1]) >= 3
    assert 'gossamer_gateway_door_refusals_total{status="429"} 1' in text
    assert 'gossamer_gateway_door_limits_hit_total{limit="few"} 1' in text
    assert 'endpoint="other",engine="none",status="4xx"}' in text
    for line in text.splitlines():
        assert line.startswith("#") or float(line.rpartition(" ")[2]) >= 0


@pytest.mark.parametrize("over_grpc", [False, True], ids=["camunda7", "grpc"])
async def test_a_job_that_a_client_works_is_part_of_its_starts_trace(
    tmp_path: Path, embedded_url: str, over_grpc: bool
) -> None:
    engine = EngineConfig("embedded", "camunda7", embedded_url)
    process = "TracedByGrpc" if over_grpc else "TracedBySeven"
    async with (
        open_collector() as collector,
        serving(tmp_path, engine, tracing=TracingConfig(collector.url, 100, "trace")) as (
            http,
            grpc,
        ),
    ):
        files = {"data": (f"{process}.bpmn", bpmn("camunda7", process, [process]).encode())}
        assert (await http.post("/engine-rest/deployment/create", files=files)).is_success
        start = f"/engine-rest/process-definition/key/{process}/start"
        assert (await http.post(start, headers={"traceparent": PARENT})).is_success
        settled = "CompleteJob" if over_grpc else "POST /engine-rest/external-task/{}/complete"
        await (_work_over_grpc(grpc, process) if over_grpc else _work(http, process))
        await until(lambda: bool(collector.named(settled)))
        _same_trace(collector, f"hand out {process}", settled)


async def _work(http: httpx.AsyncClient, topic: str) -> None:
    asked = {
        "workerId": "w",
        "maxTasks": 1,
        "asyncResponseTimeout": 20_000,
        "topics": [{"topicName": topic, "lockDuration": 60_000}],
    }
    (task,) = (await http.post("/engine-rest/external-task/fetchAndLock", json=asked)).json()
    url = f"/engine-rest/external-task/{task['id']}/complete"
    assert (await http.post(url, json={"workerId": "w"})).status_code == 204


async def _work_over_grpc(address: str, type: str) -> None:
    host, _, port = address.rpartition(":")
    channel = Channel(host, int(port), tls=None, peer="the gateway")
    try:
        asked = zeebe.ActivateJobsRequest(
            type=type, worker="w", timeout=60_000, maxJobsToActivate=1, requestTimeout=20_000
        )
        service = "/gateway_protocol.Gateway/"
        (answer,) = await channel.call(
            f"{service}ActivateJobs", asked.SerializeToString(), timeout_ms=30_000
        )
        (job,) = zeebe.ActivateJobsResponse.FromString(answer).jobs
        done = zeebe.CompleteJobRequest(jobKey=job.key)
        await channel.call(f"{service}CompleteJob", done.SerializeToString(), timeout_ms=30_000)
    finally:
        await channel.aclose()


def _same_trace(collector: Collector, handed: str, settled: str) -> None:
    (start,) = (one for one in collector.spans if one.parent == PARENT[36:52])
    (out,) = collector.named(handed)
    (end,) = collector.named(settled)
    assert (out.parent, end.parent) == (start.id, out.id)
    assert {one.trace for one in (start, out, end)} == {PARENT[3:35]}
