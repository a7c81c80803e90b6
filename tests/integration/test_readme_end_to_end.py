"""A process that this repository has never seen, brought to work by following the README alone.

The commands are the README's and the template's own, with the names, addresses and URLs of the
person who follows them put in. What the README leaves to that person is here: the worker, its
service.yaml, and a process with two topics and an error of its own.
"""

import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.compiling import GUESTS
from tests.integration.nodes import CAMUNDA7, CAMUNDA8, DIALECTS, complete, on, until

from gossamer_hotel.demo.processes import gossamer_process, wait_until_ready
from gossamer_node import control
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Engine
from gossamer_node.errors import NodeError
from gossamer_node.local_engines.processes import free_ports
from gossamer_node.variables import Variables

README = (Path(__file__).parents[2] / "README.md").read_text()

SERVICE = "table-for-me"


def commands(text: str, heading: str = "") -> list[str]:
    """The shell lines below a heading, without their comments; all in the text, without one."""
    if heading:
        (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return [re.sub(r"\s+#.*", "", one) for block in blocks for one in block.splitlines()]


def process(kind: str, process_id: str) -> bytes:
    """Seat the guests, or turn them away; then write their card."""
    attributes, task = DIALECTS[kind]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:camunda="http://camunda.org/schema/1.0/bpmn"
    xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"
    id="definitions" targetNamespace="http://restaurant.example">
  <error id="full" name="full" errorCode="FULL"/>
  <process id="{process_id}" isExecutable="true" {attributes}>
    <startEvent id="hungry"/>
    <sequenceFlow id="in" sourceRef="hungry" targetRef="seat"/>
    {task.format(id="seat", topic="seat-guests")}
    <sequenceFlow id="seated" sourceRef="seat" targetRef="write"/>
    {task.format(id="write", topic="write-card")}
    <sequenceFlow id="written" sourceRef="write" targetRef="welcome"/>
    <endEvent id="welcome"/>
    <boundaryEvent id="no-table" attachedToRef="seat">
      <outgoing>out</outgoing>
      <errorEventDefinition errorRef="full"/>
    </boundaryEvent>
    <sequenceFlow id="out" sourceRef="no-table" targetRef="sorry"/>
    <endEvent id="sorry"/>
  </process>
</definitions>""".encode()


class Person:
    """Somebody at a terminal in a folder of their own, with Gossamer's environment active."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path}

    def types(self, lines: Sequence[str], where: Path | None = None) -> str:
        """Runs lines of a shell; returns what they printed."""
        done = subprocess.run(
            ["sh", "-ec", "\n".join(lines)],
            cwd=where or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`## Write a worker`, with another name, and another worker in the place of the template's."""
    person = Person(tmp_path_factory.mktemp("restaurant"))
    begin, look, check, run = (
        one.replace("greeter", SERVICE) for one in commands(README, "Write a worker")
    )
    template = person.types([begin, look])
    folder = person.folder / SERVICE
    build = commands(template)
    build = build[: 1 + next(n for n, one in enumerate(build) if not one.endswith("\\"))]
    person.types(build, folder)
    assert person.types([check]) == f"{SERVICE}/service.yaml: ok\n"
    assert "Hello, Ada!" in person.types([run])

    (folder / "worker.c").write_text((GUESTS / "table.c").read_text())
    file = folder / "service.yaml"
    described = yaml.safe_load(file.read_text())
    described["service"]["topics"] = [
        {"name": "seat-guests", "variables": ["guests"]},
        {"name": "write-card", "variables": ["guests", "name"]},
    ]
    file.write_text(yaml.safe_dump(described))
    person.types(build, folder)
    person.types([check])
    return folder


@pytest.mark.processes
@on(CAMUNDA7, CAMUNDA8)
async def test_a_process_never_seen_works_by_following_the_readme(
    engine: Engine,
    engine_config: EngineConfig,
    service: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("r")  # a short name: a Unix socket's path is bounded
    assert f"--engine kind={engine.kind},url=" in README
    ports = free_ports(2)
    here = {
        "10.0.0.1:7407": f"127.0.0.1:{ports[0]}",
        "10.0.0.2:7407": f"127.0.0.1:{ports[1]}",
        "./my-service": str(service),
        "mesh.key": str(folder / "mesh.key"),
        "kind=camunda7,url=http://localhost:8080/engine-rest": (
            f"kind={engine.kind},url={engine_config.url}"
        ),
    }
    lines = commands(README, "Join a second node")
    for there, place in here.items():
        assert any(there in one for one in lines)
        lines = [one.replace(there, place) for one in lines]
    make_key, first, second = lines
    Person(folder).types([make_key])
    async with AsyncExitStack() as stack:
        for name, line in (("one", first), ("two", second)):
            monkeypatch.setenv("XDG_STATE_HOME", str(folder / name))  # another machine's
            await _start(stack, folder / name, line)

        async def joined() -> bool:
            return all(len(_status(folder / name)["members"]) == 2 for name in ("one", "two"))

        await until(joined)
        process_id = f"restaurant-{uuid.uuid4().hex[:10]}"
        await engine.deploy({"restaurant.bpmn": process(engine.kind, process_id)})
        four, crowd = (Variables({"name": "Ada", "guests": guests}) for guests in (4, 12))
        assert (await complete(engine, process_id, four)).values["card"] == "Ada, party of 4"
        assert "card" not in (await complete(engine, process_id, crowd)).values


async def _start(stack: AsyncExitStack, home: Path, line: str) -> None:
    command, *arguments = shlex.split(line)
    assert command == "gossamer"
    process = await stack.enter_async_context(gossamer_process(arguments, home))

    async def ready() -> bool:
        return bool(_status(home))

    await wait_until_ready(line, process, home, ready)


def _status(home: Path) -> dict[str, Any]:
    """What the node of this machine says; nothing while it does not."""
    for data_dir in home.glob("gossamer/*"):
        with suppress(NodeError):
            return control.ask(data_dir, "status")
    return {}
