"""Deployments, messages, signals and changes of instances in Camunda 8's dialect, on every engine.

Both wires mean the same, so each thing is asked over both; what only one has is asked there.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.gateway.compatibility import WORKS, differs, proves, refused
from tests.gateway.eight_clients import GrpcClient, Refusal, RestClient, WireJob, open_client
from tests.gateway.eight_engines import PATHS, prefix
from tests.gateway.gate import Gate, open_gate
from tests.patience import patience

from gossamer_gateway.camunda8 import operations
from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_gateway.names.numbers import NUMBER_END
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.grpc import Channel, Code, RpcError

pytestmark = [pytest.mark.camunda7, pytest.mark.zeebe]

Configs = Mapping[str, EngineConfig]

BPMN = 'xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL"'
CAMUNDA = 'xmlns:camunda="http://camunda.org/schema/1.0/bpmn"'
ZEEBE = 'xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"'

WAITS = f"""<bpmn:definitions {BPMN} {CAMUNDA} id="d" targetNamespace="t">
<bpmn:message id="m" name="NAME-paid"/><bpmn:signal id="g" name="NAME-go"/>
<bpmn:process id="NAME" isExecutable="true" camunda:historyTimeToLive="P1D">
<bpmn:startEvent id="s"/><bpmn:sequenceFlow id="f1" sourceRef="s" targetRef="paid"/>
<bpmn:intermediateCatchEvent id="paid"><bpmn:messageEventDefinition messageRef="m"/>
</bpmn:intermediateCatchEvent><bpmn:sequenceFlow id="f2" sourceRef="paid" targetRef="go"/>
<bpmn:intermediateCatchEvent id="go"><bpmn:signalEventDefinition signalRef="g"/>
</bpmn:intermediateCatchEvent><bpmn:sequenceFlow id="f3" sourceRef="go" targetRef="e"/>
<bpmn:endEvent id="e"/></bpmn:process></bpmn:definitions>"""


@pytest.fixture
def configs(
    camunda7_url: str, zeebe_url: str, zeebe_grpc_address: str, embedded_url: str
) -> Configs:
    return {
        "old": EngineConfig("old", "camunda7", camunda7_url),
        "new": EngineConfig("new", "camunda8", zeebe_url, grpc=zeebe_grpc_address),
        "small": EngineConfig("small", "camunda7", embedded_url),
    }


@dataclass
class Stage:
    """A gateway in front of all engines, and both clients."""

    gate: Gate
    rest: RestClient
    grpc: GrpcClient

    async def deploy(self, wire: str, files: Mapping[str, str], engine: str | None = None) -> Any:
        """Returns (key, [(process, version, definition)])."""
        if wire == "rest":
            told = await self.gate.http.post(
                "/v2/deployments",
                files=[("resources", (name, text)) for name, text in files.items()],
                headers={ENGINE_HEADER: engine} if engine else {},
            )
            if told.status_code != 200:
                raise Refusal(told.status_code, told.json()["detail"])
            found = [one["processDefinition"] for one in told.json()["deployments"]]
            return told.json()["deploymentKey"], [
                (one["processDefinitionId"], one["processDefinitionVersion"],
                 one["processDefinitionKey"])
                for one in found
            ]  # fmt: skip
        asked = zeebe.DeployResourceRequest(
            resources=[zeebe.Resource(name=name, content=t.encode()) for name, t in files.items()]
        )
        told = await self.grpc.call(
            "DeployResource", asked, zeebe.DeployResourceResponse,
            metadata=[(ENGINE_HEADER, engine)] if engine else [],
        )  # fmt: skip
        return told.key, [
            (one.process.bpmnProcessId, one.process.version, one.process.processDefinitionKey)
            for one in told.deployments
        ]

    async def path(self, kind: str, engine: str | None = None) -> tuple[str, int]:
        """Deploys the process `path`; returns its name and its definition's key."""
        named = prefix()
        text = (PATHS / f"path.{kind}.bpmn").read_text().replace("conf-", named)
        _, ((process, _, definition),) = await self.deploy("rest", {f"{named}.bpmn": text}, engine)
        return process, definition

    async def job(self, process: str, step: str = "work") -> WireJob:
        with patience():
            while not (jobs := await self.rest.activate(f"{process}-{step}", wait_ms=1_000)):
                pass
        (job,) = jobs
        return job

    async def search(self, what: str, engine: str, **filter: Any) -> list[Any]:
        told = await self.rest.send(
            "POST", f"/{what}/search", {"filter": filter}, headers={ENGINE_HEADER: engine}
        )
        assert told["page"]["totalItems"] == len(told["items"])
        return list(told["items"])


@pytest.fixture
async def stage(configs: Configs) -> AsyncIterator[Stage]:
    async with open_gate(*configs.values()) as gate, open_client(gate, "grpc") as client:
        assert isinstance(client, GrpcClient)
        yield Stage(gate, RestClient(gate.http), client)


WIRES = pytest.mark.parametrize("wire", ["rest", "grpc"])


@WIRES
@pytest.mark.parametrize("kind", ["camunda7", "camunda8"])
@proves("v2", "POST /deployments", camunda7=WORKS, camunda8=WORKS)
@proves("zeebe", "DeployResource", camunda7=WORKS, camunda8=WORKS)
async def test_a_model_goes_where_it_was_drawn_for(stage: Stage, wire: str, kind: str) -> None:
    named = prefix()
    text = (PATHS / f"path.{kind}.bpmn").read_text().replace("conf-", named)
    key, ((process, version, definition),) = await stage.deploy(wire, {f"{named}.bpmn": text})
    assert (process, version) == (f"{named}path", 1)
    for number in (key, definition):
        assert (number < NUMBER_END) == (kind == "camunda7")
    assert (await stage.rest.create("", definition=definition)).process == process
    assert (await stage.job(process)).definition == definition
    again = await stage.deploy(wire, {f"{named}.bpmn": text})
    assert again[1] == [(process, 1, definition)], "nothing had changed"


@proves("v2", "POST /deployments", embedded=differs("every deployment makes new versions"))
@proves("zeebe", "DeployResource", embedded=differs("every deployment makes new versions"))
async def test_the_engine_may_be_named_and_what_fits_nowhere_is_refused(stage: Stage) -> None:
    _, definition = await stage.path("camunda7", "small")
    assert definition < NUMBER_END
    mixed = f"<a {CAMUNDA} {ZEEBE}><camunda:x/><zeebe:y/></a>"
    for wire in ("rest", "grpc"):
        for files, status, said in [
            ({"a.bpmn": mixed}, 400, "deploy each kind by itself"),
            ({"a.bpmn": "no BPMN at all"}, 400, ""),
        ]:
            with pytest.raises(Refusal) as refusal:
                await stage.deploy(wire, files)
            assert refusal.value.status == status and said in refusal.value.said
        with pytest.raises(Refusal, match="There is no engine nowhere here"):
            await stage.deploy(wire, {"a.bpmn": mixed}, "nowhere")


@proves("zeebe", "DeployProcess", camunda7=WORKS, camunda8=WORKS)
@pytest.mark.parametrize("kind", ["camunda7", "camunda8"])
async def test_the_old_deployment_of_grpc_goes_there_too(stage: Stage, kind: str) -> None:
    named = prefix()
    text = (PATHS / f"path.{kind}.bpmn").read_text().replace("conf-", named)
    asked = zeebe.DeployProcessRequest()
    asked.processes.add(name=f"{named}.bpmn", definition=text.encode())
    told = await stage.grpc.call("DeployProcess", asked, zeebe.DeployProcessResponse)
    (process,) = told.processes
    assert (process.bpmnProcessId, process.version) == (f"{named}path", 1)
    made = await stage.rest.create("", definition=process.processDefinitionKey)
    assert made.process == process.bpmnProcessId
    for key in (told.key, made.instance):
        assert (key < NUMBER_END) == (kind == "camunda7")


@proves(
    "v2",
    "POST /messages/publication",
    camunda7=differs(
        "correlated by business key, now or not at all, to one execution; no message ids"
    ),
    camunda8=WORKS,
)
@proves(
    "zeebe",
    "PublishMessage",
    camunda7=differs(
        "correlated by business key, now or not at all, to one execution; no message ids"
    ),
    camunda8=WORKS,
)
@proves(
    "v2",
    "POST /messages/correlation",
    camunda7=differs("correlated by business key"),
    camunda8=WORKS,
)
@proves("v2", "POST /signals/broadcast", camunda7=WORKS, camunda8=WORKS)
@proves("zeebe", "BroadcastSignal", camunda7=WORKS, camunda8=WORKS)
async def test_messages_and_signals_reach_who_waits(stage: Stage) -> None:
    named = prefix()
    await stage.deploy("rest", {f"{named}.bpmn": WAITS.replace("NAME", named)})
    # The business key is what a client of Camunda 8 has no word for: it starts by Camunda 7's.
    at = next(one for one in stage.gate.desk.engines.sevens if one.name == "old")

    async def start(key: str) -> str:
        path = f"/process-definition/key/{named}/start"
        return str((await at.ask("POST", path, {"businessKey": key})).json()["id"])

    async def is_running(id: str) -> bool:
        return (await at.ask("GET", f"/process-instance/{id}")).status == 200

    one, two = await start("A"), await start("B")
    told = await stage.rest.send(
        "POST", "/messages/correlation", {"name": f"{named}-paid", "correlationKey": "A"}
    )
    assert 0 < told["messageKey"] < NUMBER_END
    assert await stage.search(
        "process-instances", "old", processInstanceKey=told["processInstanceKey"]
    )
    asked = zeebe.PublishMessageRequest(
        name=f"{named}-paid", correlationKey="B", timeToLive=60_000, variables='{"by": 8}'
    )
    published = await stage.grpc.call("PublishMessage", asked, zeebe.PublishMessageResponse)
    assert 0 < published.key < NUMBER_END
    variables = await at.ask("GET", f"/process-instance/{two}/variables")
    assert variables.json()["by"]["value"] == 8
    # Nobody in Camunda 7 waits for it any more: it is the Camunda 8's.
    published = await stage.grpc.call("PublishMessage", asked, zeebe.PublishMessageResponse)
    assert published.key >= NUMBER_END
    assert await is_running(one) and await is_running(two)
    signal = await stage.rest.send("POST", "/signals/broadcast", {"signalName": f"{named}-go"})
    assert signal["signalKey"] >= NUMBER_END
    assert not await is_running(one) and not await is_running(two)


async def test_camunda_7_keeps_no_message_and_says_so(configs: Configs) -> None:
    async with open_gate(configs["old"]) as gate:
        client = RestClient(gate.http)
        body = {"name": "nobody-waits", "correlationKey": "x"}
        told = await client.send("POST", "/messages/publication", {**body, "timeToLive": 0})
        assert told["messageKey"] > 0
        with pytest.raises(Refusal, match="publish it again later") as refusal:
            await client.send("POST", "/messages/publication", {**body, "timeToLive": 1_000})
        assert refusal.value.status == 404
        with pytest.raises(Refusal, match="Expected to find subscription"):
            await client.send("POST", "/messages/correlation", body)
        told = await client.send("POST", "/signals/broadcast", {"signalName": "nobody"})
        assert told["signalKey"] > 0


@WIRES
@pytest.mark.parametrize("engine", ["old", "new", "small"])
@proves(
    "v2",
    "PUT /element-instances/{key}/variables",
    camunda7=differs("without local always the whole instance's"),
    embedded=differs("the whole instance alone"),
    camunda8=WORKS,
)
@proves(
    "zeebe",
    "SetVariables",
    camunda7=differs("without local always the whole instance's"),
    embedded=differs("the whole instance alone"),
    camunda8=WORKS,
)
async def test_variables_of_an_instance_are_set(stage: Stage, wire: str, engine: str) -> None:
    process, definition = await stage.path("camunda8" if engine == "new" else "camunda7", engine)
    made = await stage.rest.create("", {"a": 1}, definition=definition)
    new = {"a": 2, "b": [1, {"c": None}]}
    if wire == "rest":
        path = f"/element-instances/{made.instance}/variables"
        assert await stage.rest.send("PUT", path, {"variables": new}) is None
    else:
        asked = zeebe.SetVariablesRequest(
            elementInstanceKey=made.instance, variables=json.dumps(new)
        )
        told = await stage.grpc.call("SetVariables", asked, zeebe.SetVariablesResponse)
        assert told.key > 0
    assert dict((await stage.job(process)).variables) == new


@WIRES
@pytest.mark.parametrize("engine", ["old", "new"])
@proves("v2", "POST /process-instances/{key}/modification", camunda7=WORKS, camunda8=WORKS)
@proves("zeebe", "ModifyProcessInstance", camunda7=WORKS, camunda8=WORKS)
async def test_an_instance_is_modified(stage: Stage, wire: str, engine: str) -> None:
    process, definition = await stage.path("camunda8" if engine == "new" else "camunda7", engine)
    made = await stage.rest.create("", definition=definition)
    job = await stage.job(process)
    other = job.element.replace("work", "after")
    if wire == "rest":
        body = {
            "activateInstructions": [{"elementId": other}],
            "terminateInstructions": [{"elementInstanceKey": job.element_instance}],
        }
        path = f"/process-instances/{made.instance}/modification"
        assert await stage.rest.send("POST", path, body) is None
    else:
        asked = zeebe.ModifyProcessInstanceRequest(processInstanceKey=made.instance)
        asked.activateInstructions.add(elementId=other)
        asked.terminateInstructions.add(elementInstanceKey=job.element_instance)
        await stage.grpc.call("ModifyProcessInstance", asked, zeebe.ModifyProcessInstanceResponse)
    assert (await stage.job(process, "after")).instance == made.instance
    with pytest.raises(Refusal) as refusal:
        await stage.rest.complete(job.key)
    assert refusal.value.status == 404


@WIRES
@proves("v2", "POST /process-instances/{key}/migration", camunda7=WORKS)
@proves("zeebe", "MigrateProcessInstance", camunda7=WORKS)
async def test_an_instance_is_migrated_within_its_engine(stage: Stage, wire: str) -> None:
    process, definition = await stage.path("camunda7", "old")
    _, goal = await stage.path("camunda7", "old")
    made = await stage.rest.create("", definition=definition)
    job = await stage.job(process)
    if wire == "rest":
        body = {
            "targetProcessDefinitionKey": goal,
            "mappingInstructions": [
                {"sourceElementId": job.element, "targetElementId": job.element}
            ],
        }
        path = f"/process-instances/{made.instance}/migration"
        assert await stage.rest.send("POST", path, body) is None
    else:
        asked = zeebe.MigrateProcessInstanceRequest(processInstanceKey=made.instance)
        asked.migrationPlan.targetProcessDefinitionKey = goal
        asked.migrationPlan.mappingInstructions.add(
            sourceElementId=job.element, targetElementId=job.element
        )
        await stage.grpc.call("MigrateProcessInstance", asked, zeebe.MigrateProcessInstanceResponse)
    (row,) = await stage.search("process-instances", "old", processInstanceKey=made.instance)
    assert row["processDefinitionKey"] == goal
    _, elsewhere = await stage.path("camunda8")
    with pytest.raises(Refusal, match="cannot move between engines"):
        await stage.rest.send(
            "POST", f"/process-instances/{made.instance}/migration",
            {"targetProcessDefinitionKey": elsewhere,
             "mappingInstructions": [{"sourceElementId": "a", "targetElementId": "b"}]},
        )  # fmt: skip


@WIRES
@proves(
    "v2",
    "POST /incidents/{key}/resolution",
    camunda7=differs("gives one retry; one that is resolved already is no error"),
)
@proves(
    "zeebe",
    "ResolveIncident",
    camunda7=differs("gives one retry; one that is resolved already is no error"),
)
async def test_an_incident_is_found_and_resolved(stage: Stage, wire: str) -> None:
    process, definition = await stage.path("camunda7", "old")
    made = await stage.rest.create("", definition=definition)
    job = await stage.job(process)
    await stage.rest.fail(job.key, message="it broke")
    (row,) = await stage.search("incidents", "old", processInstanceKey=made.instance)
    assert (row["errorMessage"], row["jobKey"], row["errorType"]) == (
        "it broke", job.key, "JOB_NO_RETRIES",
    )  # fmt: skip
    (found,) = await stage.search("jobs", "old", processInstanceKey=made.instance)
    assert (found["jobKey"], found["retries"], found["state"]) == (job.key, 0, "FAILED")
    for _ in range(2):  # one that is resolved needs nothing more
        if wire == "rest":
            await stage.rest.send("POST", f"/incidents/{row['incidentKey']}/resolution", {})
        else:
            asked = zeebe.ResolveIncidentRequest(incidentKey=row["incidentKey"])
            await stage.grpc.call("ResolveIncident", asked, zeebe.ResolveIncidentResponse)
    assert (await stage.job(process)).key == job.key
    assert not await stage.search("incidents", "old", processInstanceKey=made.instance)


@proves(
    "v2",
    "POST /process-instances/search",
    "POST /variables/search",
    "POST /incidents/search",
    "POST /jobs/search",
    camunda7=differs("one engine at a time, few filters, no sorting"),
    camunda8=refused("8.6 has no search without a database of its own"),
)
async def test_what_camunda_7_has_is_searched_and_a_part_is_never_the_whole(stage: Stage) -> None:
    process, definition = await stage.path("camunda7", "old")
    made = await stage.rest.create("", {"a": [1], "b": "x"}, definition=definition)
    (row,) = await stage.search("process-instances", "old", processDefinitionId=process)
    assert (row["processInstanceKey"], row["state"]) == (made.instance, "ACTIVE")
    assert row["processDefinitionKey"] == definition
    rows = await stage.search("variables", "old", processInstanceKey=made.instance)
    assert {one["name"]: json.loads(one["value"]) for one in rows} == {"a": [1], "b": "x"}
    for what in ("process-instances", "variables", "incidents", "jobs"):
        with pytest.raises(Refusal, match="several engines") as refusal:
            await stage.rest.send("POST", f"/{what}/search", {})
        assert refusal.value.status == 501
        with pytest.raises(Refusal, match="cannot filter by colour"):
            await stage.search(what, "old", colour="red")
        answer = await stage.gate.http.post(
            f"/v2/{what}/search", json={}, headers={ENGINE_HEADER: "new"}
        )
        assert answer.status_code in (404, 405), "8.6 has no search without a database"


@proves(
    "v2",
    "GET /topology",
    camunda7=differs("without a Camunda 8 the gateway stands for a broker"),
    embedded=differs("as Camunda 7"),
    camunda8=WORKS,
)
@proves(
    "zeebe",
    "Topology",
    camunda7=differs("without a Camunda 8 the gateway stands for a broker"),
    embedded=differs("as Camunda 7"),
    camunda8=WORKS,
)
async def test_clients_find_a_cluster(stage: Stage, configs: Configs) -> None:
    real = await stage.rest.send("GET", "/topology")
    assert real["gatewayVersion"] == "8.6.0" and real["brokers"][0]["host"] == "127.0.0.1"
    asked = zeebe.TopologyRequest()
    told = await stage.grpc.call("Topology", asked, zeebe.TopologyResponse)
    assert told.brokers[0].host == "127.0.0.1"
    absent = EngineConfig("new", "camunda8", "http://127.0.0.1:1", grpc="127.0.0.1:1")
    for others in ((configs["old"],), (configs["old"], absent)):
        async with open_gate(*others) as gate, open_client(gate, "grpc") as client:
            own = await RestClient(gate.http).send("GET", "/topology")
            health = "healthy" if len(others) == 1 else "unhealthy"
            assert own["brokers"][0]["partitions"][0]["health"] == health
            assert isinstance(client, GrpcClient)
            told = await client.call("Topology", asked, zeebe.TopologyResponse)
            assert (told.clusterSize, told.partitionsCount, len(told.brokers)) == (1, 1, 1)


@proves(
    "v2",
    "POST /user-tasks/{key}/completion",
    camunda7=refused("user tasks are not reached by this API"),
)
@proves("v2", "anything else", camunda7=refused("it is Camunda 8's alone"), camunda8=WORKS)
@proves("zeebe", "anything else", camunda7=refused("it is Camunda 8's alone"), camunda8=WORKS)
@proves("v2", "POST /resources/{key}/deletion", camunda7=WORKS)
@proves("zeebe", "DeleteResource", camunda7=WORKS)
async def test_what_has_no_meaning_here_is_camunda_8_s(stage: Stage, configs: Configs) -> None:
    assert (await stage.gate.http.get("/v2/license")).json()["licenseType"] == "unknown"
    process, definition = await stage.path("camunda7", "old")
    made = await stage.rest.create("", definition=definition)
    with pytest.raises(Refusal, match="whose user tasks are not reached") as refusal:
        await stage.rest.send("POST", f"/user-tasks/{made.instance}/completion", {})
    assert refusal.value.status == 501
    with pytest.raises(Refusal, match="no decision found for id"):
        await stage.grpc.call(
            "EvaluateDecision", zeebe.EvaluateDecisionRequest(decisionId="x"),
            zeebe.EvaluateDecisionResponse,
        )  # fmt: skip
    with pytest.raises(Refusal) as refusal:
        await stage.grpc.call("NoSuchMethod", zeebe.TopologyRequest(), zeebe.TopologyResponse)
    assert refusal.value.status == 501
    async with open_gate(configs["old"]) as gate:
        with pytest.raises(Refusal, match="Camunda 8's alone"):
            await RestClient(gate.http).send("POST", "/decision-definitions/evaluation", {})
        (other,) = [one for one in gate.desk.engines.all]
        assert other.kind == "camunda7"
    job = await stage.job(process)
    await stage.rest.cancel(job.instance)
    asked = zeebe.DeleteResourceRequest(resourceKey=definition)
    await stage.grpc.call("DeleteResource", asked, zeebe.DeleteResourceResponse)
    with pytest.raises(Refusal, match="Expected to delete resource but no resource found"):
        await stage.rest.send("POST", f"/resources/{definition}/deletion", {})
    with pytest.raises(Refusal) as refusal:
        await stage.rest.create("", definition=definition)
    assert refusal.value.status == 404


async def test_an_engine_that_is_away_is_unavailable_and_nobody_else_is_asked(
    configs: Configs,
) -> None:
    absent = EngineConfig("gone", "camunda8", "http://127.0.0.1:1", grpc="127.0.0.1:1")
    async with open_gate(configs["old"], absent) as gate, open_client(gate, "grpc") as client:
        rest = RestClient(gate.http)
        assert isinstance(client, GrpcClient)
        for one in (rest, client):
            with pytest.raises(Refusal) as refusal:
                await one.create("anything")
            assert refusal.value.status == 503
            with pytest.raises(Refusal) as refusal:
                await one.complete(NUMBER_END + 5)
            assert refusal.value.status == 503
            assert await one.activate("nothing-of-this", wait_ms=300) == []  # Camunda 7 says so


async def test_keys_are_text_for_who_wants_them_so(stage: Stage) -> None:
    process, definition = await stage.path("camunda7", "old")
    accept = {"accept": "application/vnd.camunda.api.keys.string+json"}
    for key in (definition, str(definition)):
        answer = await stage.gate.http.post(
            "/v2/process-instances", json={"processDefinitionKey": key}, headers=accept
        )
        assert answer.json()["processDefinitionKey"] == str(definition)
        assert answer.json()["processInstanceKey"].isdecimal()
    eight, at_eight = await stage.path("camunda8")
    body = {"processDefinitionId": eight, "variables": {"someKey": 5}}
    answer = await stage.gate.http.post("/v2/process-instances", json=body, headers=accept)
    assert answer.json()["processDefinitionKey"] == str(at_eight)
    wanted = {"type": f"{eight}-work", "timeout": 60_000, "maxJobsToActivate": 1}
    answer = await stage.gate.http.post("/v2/jobs/activation", json=wanted, headers=accept)
    (job,) = answer.json()["jobs"]
    assert job["key"] == job["jobKey"] and job["variables"] == {"someKey": 5}
    strict = {"user-agent": "zeebe-client-java/8.6.0"}
    wanted["type"] = f"{process}-work"
    answer = await stage.gate.http.post("/v2/jobs/activation", json=wanted, headers=strict)
    (job,) = answer.json()["jobs"]
    assert "jobKey" not in job and isinstance(job["key"], int)


# --- junk

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["variables", "retries", "changeset", "type", "timeout", "maxJobsToActivate", "requestTimeout",
     "processDefinitionId", "processDefinitionKey", "name", "correlationKey", "signalName",
     "filter", "errorCode", "activateInstructions", "terminateInstructions", "tenantIds",
     "fetchVariable", "startInstructions", "migrationPlan", "page"]
)  # fmt: skip
ASKED = [("POST", "/jobs/activation"), *((one.method, one.path) for one in operations.ALL)]
KEYS = st.sampled_from(["0", "1", "-1", "7", "x", "99999999999999999999", "%00", "1/2", "..", "é"])


async def test_no_junk_over_rest_is_the_gateway_s_mistake(configs: Configs) -> None:
    async with open_gate(configs["small"]) as gate:

        async def send(method: str, path: str, content: bytes) -> None:
            kind = {"content-type": "application/json"}
            answer = await gate.http.request(method, path, content=content, headers=kind)
            assert answer.status_code < 500 or answer.status_code == 501, (
                method, path, content, answer.status_code, answer.text,
            )  # fmt: skip

        examples: list[tuple[str, str, bytes]] = []

        @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)
        @given(
            st.sampled_from(ASKED),
            KEYS,
            st.dictionaries(FIELDS, JSON, max_size=4).map(lambda v: json.dumps(v).encode())
            | st.binary(max_size=40),
        )  # fmt: skip
        def collect(operation: tuple[str, str], key: str, content: bytes) -> None:
            method, path = operation
            examples.append((method, "/v2" + path.replace("{key}", key), content))

        collect()
        for method, path, content in examples:
            with patience(), suppress(httpx.InvalidURL):  # the client itself refuses some
                await send(method, path, content.replace(b"requestTimeout", b"another"))


async def test_no_junk_over_grpc_is_the_gateway_s_mistake(configs: Configs) -> None:
    examples: list[tuple[str, bytes]] = []
    names = [one.name for one in zeebe.DESCRIPTOR.services_by_name["Gateway"].methods]

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(names), st.binary(max_size=60))
    def collect(name: str, data: bytes) -> None:
        examples.append((name, data))

    collect()
    async with open_gate(configs["small"]) as gate:
        host, _, port = gate.grpc.rpartition(":")
        channel = Channel(host, int(port), tls=None, peer="the gateway")
        for name, data in examples:
            try:
                path = f"/gateway_protocol.Gateway/{name}"
                await channel.call(path, data, timeout_ms=500, waits=True)
            except RpcError as error:
                assert error.code not in (Code.INTERNAL, Code.UNKNOWN), (name, data, error)
        await channel.aclose()
