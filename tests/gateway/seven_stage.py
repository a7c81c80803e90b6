"""What tests of Camunda 7's dialect stand on: small processes in both Camundas, and a gateway.

The processes differ by a name that a test makes for itself, for all tests share the engines.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from tests.gateway.gate import Gate, open_gate
from tests.patience import seen

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_node.engines.config import EngineConfig

OLD, SMALL, NEW = "old", "small", "new"

SHORT_MS = 200

HEAD = (
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" '
    'xmlns:camunda="http://camunda.org/schema/1.0/bpmn" '
    'xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" '
    'id="d" targetNamespace="http://example.com">'
)


def one_task(name: str, kind: str, catches: str = "CODE") -> bytes:
    """A process with one task of the topic `name`, and an end of its own for an error."""
    if kind == "camunda7":
        attributes, inside = f'camunda:type="external" camunda:topic="{name}"', ""
        process = f'<process id="{name}" isExecutable="true" camunda:historyTimeToLive="1">'
    else:
        attributes = ""
        inside = (
            f'<extensionElements><zeebe:taskDefinition type="{name}"/><zeebe:taskHeaders>'
            '<zeebe:header key="colour" value="blue"/></zeebe:taskHeaders>'
            "</extensionElements>"
        )
        process = f'<process id="{name}" isExecutable="true">'
    return (
        f'{HEAD}<error id="e" errorCode="{catches}"/>{process}'
        '<startEvent id="begin"><outgoing>a</outgoing></startEvent>'
        f'<serviceTask id="work" {attributes}>{inside}'
        "<incoming>a</incoming><outgoing>b</outgoing></serviceTask>"
        '<endEvent id="done"><incoming>b</incoming></endEvent>'
        '<boundaryEvent id="caught" attachedToRef="work"><outgoing>c</outgoing>'
        '<errorEventDefinition errorRef="e"/></boundaryEvent>'
        '<endEvent id="refused"><incoming>c</incoming></endEvent>'
        '<sequenceFlow id="a" sourceRef="begin" targetRef="work"/>'
        '<sequenceFlow id="b" sourceRef="work" targetRef="done"/>'
        '<sequenceFlow id="c" sourceRef="caught" targetRef="refused"/></process></definitions>'
    ).encode()


@dataclass(frozen=True)
class Stage:
    """A gateway in front of both Camundas, or of more.

    Attributes:
        name: of this test's process and topic.
    """

    gate: Gate
    http: httpx.AsyncClient
    name: str

    async def deploy(self, kind: str = "", **more: str) -> list[httpx.Response]:
        """Deploys the process in all engines, or in those of a kind."""
        answers = []
        for one in self.gate.desk.engines.all:
            if kind in ("", one.kind):
                files = {"model": (f"{self.name}.bpmn", one_task(self.name, one.kind))}
                headers = {ENGINE_HEADER: one.name}
                answers.append(
                    await self.post("/deployment/create", files=files, data=more, headers=headers)
                )
                assert answers[-1].status_code == 200, answers[-1].text
        return answers

    async def start(
        self, engine: str, variables: Mapping[str, Any] | None = None, **more: Any
    ) -> Any:
        answer = await self.post(
            f"/process-definition/key/{self.name}/start",
            json={"variables": variables or {}, **more},
            headers={ENGINE_HEADER: engine},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def fetch(self, worker: str = "w", tasks: int = 1, **more: Any) -> Any:
        """The next tasks of this test's topic; `more` goes to the topic. It asks in short polls:
        a gateway that stops waits for the polls that it has at engines."""
        return await seen(lambda: self.look(worker, tasks, SHORT_MS, **more))

    async def look(self, worker: str = "w", tasks: int = 1, wait_ms: int = 0, **more: Any) -> Any:
        """What one fetch brings, perhaps nothing."""
        wish = self.wish(worker, tasks, wait_ms, **more)
        answer = await self.post("/external-task/fetchAndLock", json=wish)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    def wish(self, worker: str, tasks: int, wait_ms: int, **more: Any) -> dict[str, Any]:
        topic = {"topicName": self.name, "lockDuration": 60_000, **more}
        return {
            "workerId": worker,
            "maxTasks": tasks,
            "asyncResponseTimeout": wait_ms,
            "topics": [topic],
        }

    async def settle(
        self, task: Mapping[str, Any], verb: str, worker: str = "w", /, **more: Any
    ) -> httpx.Response:
        return await self.post(
            f"/external-task/{task['id']}/{verb}", json={"workerId": worker, **more}
        )

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.get(path, **more)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.post(path, **more)


@asynccontextmanager
async def open_stage(*engines: EngineConfig) -> AsyncIterator[Stage]:
    """A gateway before these engines."""
    async with (
        open_gate(*engines) as gate,
        httpx.AsyncClient(base_url=f"{gate.url}/engine-rest", timeout=60) as http,
    ):
        yield Stage(gate, http, f"t{uuid4().hex}")


def old(url: str) -> EngineConfig:
    return EngineConfig(OLD, "camunda7", url)


def small(url: str) -> EngineConfig:
    return EngineConfig(SMALL, "camunda7", url)


def new(url: str) -> EngineConfig:
    return EngineConfig(NEW, "camunda8", url)
