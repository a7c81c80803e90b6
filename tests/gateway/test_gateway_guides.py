"""What the guides tell a newcomer to type works as written, against a gateway that runs.

The gateway is `gossamer gateway` in a process of its own; commands go through a shell, in a folder
that holds the files of the guides and nothing else. Only addresses are put in.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
import trio
import yaml
from tests.conformance.clients import install
from tests.patience import PATIENCE_S

from gossamer_node.local_engines import RunningCamunda7, RunningZeebe, silent

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"

FILE = re.compile(r"^ *`([\w./-]+)`:\n\n( *)```\w+\n(.*?)^\2```$", flags=re.M | re.S)


def blocks(page: str, language: str, heading: str = "") -> list[str]:
    """The code blocks of a guide, below a heading or all."""
    text = (HOW_TO / page).read_text("utf-8")
    if heading:
        (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.M | re.S)
    return [dedent(one) for one in found]


def files(page: str) -> dict[str, str]:
    return {name: dedent(text) for name, _, text in FILE.findall((HOW_TO / page).read_text())}


def answers(text: str) -> list[dict[str, object]]:
    """JSON objects, one after the other, as several calls of curl print them."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


@dataclass
class Newcomer:
    """Somebody at a terminal in a folder of their own.

    Attributes:
        here: what the guide writes for an address, and what it is on this machine.
    """

    folder: Path
    here: dict[str, str]

    def __post_init__(self) -> None:
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }

    def put(self, text: str) -> str:
        for there, place in self.here.items():
            text = text.replace(there, place)
        return text

    def types(self, text: str, status: int = 0) -> str:
        """Runs a block of a guide; returns what it printed."""
        done = subprocess.run(
            ["sh", "-c", self.put(text)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def runs(self, command: str) -> Iterator[dict[str, str]]:
        """A gateway, until the block is left. Yields what it says when it serves."""
        log = self.folder / "gateway.log"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                shlex.split(command),
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                assert line, log.read_text()
                yield json.loads(line)
            finally:
                process.terminate()


Ask = Callable[..., httpx.Response]
get: Ask = partial(httpx.get, timeout=PATIENCE_S)
post: Ask = partial(httpx.post, timeout=PATIENCE_S)
put: Ask = partial(httpx.put, timeout=PATIENCE_S)

GATEWAY = "gossamer gateway --config gateway.yaml --http 127.0.0.1:0 --grpc 127.0.0.1:0"


@pytest.mark.processes
def test_a_newcomer_adds_keys_limits_pages_and_overrides(
    embedded_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("g")  # a short name: a Unix socket's path is bounded
    door = {}
    for block in blocks("gateway-door.md", "yaml"):
        written = yaml.safe_load(block)
        ways = written["door"].get("authentication")
        if ways is None or ways == [{"type": "api_keys"}]:
            door.update(written["door"])
    assert set(door) == {"authentication", "limits", "waiting_max", "cors"}
    config = {
        "name": "gateway-1",
        "door": door,
        "engines": [
            {"name": "c7", "kind": "camunda7", "url": embedded_url},
            {"name": "c8", "kind": "camunda8", "url": "http://127.0.0.1:1"},
        ],
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config))
    person = Newcomer(folder, {})
    with person.runs(GATEWAY) as gateway:
        person.here["http://127.0.0.1:8090"] = gateway["http"]
        person.environment["GOSSAMER_GATEWAY"] = gateway["http"]
        _makes_keys(person)
        _asks_from_a_page(person)
        _answers_otherwise(person, gateway["http"])
        _exports(person, gateway["http"])


@pytest.mark.processes
@pytest.mark.camunda7
@pytest.mark.zeebe
@pytest.mark.parametrize("worker", ["worker7.py", "worker8.py"])
async def test_a_newcomer_moves_a_process_there_and_back(
    camunda7: RunningCamunda7,
    zeebe: RunningZeebe,
    worker: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    packages = await install.python_packages(silent)
    here = {
        "http://localhost:8080/engine-rest": camunda7.url,
        "http://localhost:8088": zeebe.url,
        "localhost:26500": zeebe.grpc_address,
    }
    person = Newcomer(tmp_path_factory.mktemp("g"), here)
    for name, text in files("gateway.md").items():
        (person.folder / name).write_text(person.put(text))
    await trio.to_thread.run_sync(_moves, person, worker, packages)


def _moves(person: Newcomer, worker: str, packages: Path) -> None:
    (_, start, look) = blocks("gateway.md", "sh", r"1\. Start a gateway")
    assert start.strip() in GATEWAY
    deploy, works, starts = (
        blocks("gateway.md", "sh", "2. Deploy the process to both")[0],
        next(
            one for one in blocks("gateway.md", "console", "3. Point your workers at it")
            if worker in one
        ),
        blocks("gateway.md", "sh", "3. Point your workers at it")[0],
    )  # fmt: skip
    quarter, more, back = blocks("gateway.md", "sh", "4. Move the process, step by step")
    with person.runs(GATEWAY) as gateway:
        person.here |= {
            "http://127.0.0.1:8090": gateway["http"],
            "127.0.0.1:8091": gateway["grpc"],
        }
        person.environment["GOSSAMER_GATEWAY"] = gateway["http"]
        version, topology, engines = (json.loads(person.types(one)) for one in look.splitlines())
        assert version["version"] and topology["brokers"]
        assert [one["name"] for one in engines] == ["c7", "c8"]
        person.types(deploy)
        command = shlex.split(person.put(works))
        environment = person.environment | {"PYTHONPATH": str(packages)}
        with subprocess.Popen(
            [sys.executable, "-S", *command[1:]],
            cwd=person.folder, env=environment, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                person.types(starts)
                packed = {process.stdout.readline() for _ in range(2)}
                assert packed == {"packed P-1\n", "packed P-2\n"}
                assert person.types(quarter) in (HOW_TO / "gateway.md").read_text("utf-8")
                person.types(more)
                # All goes to Camunda 8, in whose UUIDs a number stands; and back to Camunda 7.
                for step, lives_in_8 in (("", True), (back, False)):
                    person.types(step)
                    said = answers(person.types(starts))
                    assert str(said[0]["id"]).startswith("676f7373-") is lives_in_8
                    assert (int(str(said[1]["processInstanceKey"])) >= 2**51) is lives_in_8
                    packed = {process.stdout.readline() for _ in range(2)}
                    assert packed == {"packed P-1\n", "packed P-2\n"}
            finally:
                process.kill()
        progress, instances = blocks("gateway.md", "sh", "5. See how far it is")[0].splitlines()
        processes = json.loads(person.types(progress))["processes"]
        # The engines are everybody's, and so hold what other tests deployed.
        (told,) = (one for one in processes if one["process"] == "order")
        seven, eight = told["engines"]
        assert (seven["engine"], eight["engine"]) == ("c7", "c8")
        # Nobody exports from it, so what the gateway saw is all that there is.
        assert (eight["seen_by"], eight["live"]) == ("gateway", None) and eight["started"] > 0
        assert len(json.loads(person.types(instances))["items"]) >= 3


def _makes_keys(person: Newcomer) -> None:
    start, make, export, ask, lists, revoke = _keys()
    assert start in GATEWAY
    made = [line for line in person.types(make).splitlines() if line]
    assert [re.fullmatch(r"gsk_\w{16}_[\w-]{43}", one) is not None for one in made] == [True, True]
    person.environment["GOSSAMER_API_KEY_FILE"] = "ada.key"
    assert export == "export GOSSAMER_API_KEY_FILE=ada.key\n"
    assert '"version"' in person.types(ask)
    url = person.here["http://127.0.0.1:8090"]
    worker = {"X-API-Key": made[0]}
    poll = {"workerId": "w", "maxTasks": 1, "topics": [{"topicName": "t", "lockDuration": 1000}]}
    path = f"{url}/engine-rest/external-task/fetchAndLock"
    taken = post(path, json=poll, headers=worker)
    assert (taken.status_code, taken.json()) == (200, [])
    # A worker's polls are not counted; but for them the guide shows what each answer tells.
    key = (person.folder / "ada.key").read_text().strip()
    counted = get(f"{url}/engine-rest/version", headers={"X-API-Key": key})
    assert counted.headers["ratelimit-policy"] == '"all";q=600;w=60'
    assert post(path, json=poll).status_code == 401
    assert [line.split()[:2] for line in person.types(lists).splitlines()] == [
        ["NAME", "STATE"], ["ada", "works"], ["hotel-worker", "works"], ["web-shop", "works"],
    ]  # fmt: skip
    assert person.types(revoke) == "hotel-worker is revoked.\n"
    assert post(path, json=poll, headers=worker).status_code == 401


def _keys() -> tuple[str, str, str, str, str, str]:
    """The commands of the guide's steps about keys."""
    found = blocks("gateway-door.md", "(?:sh|console)", "Authentication by API keys")
    start, make, export, ask, end = found
    lists, revoke = end.splitlines()
    return start.strip(), make, export, ask, lists, revoke


def _asks_from_a_page(person: Newcomer) -> None:
    (ask,) = blocks("gateway-door.md", "(?:sh|console)", "A web page of another origin")
    answer = person.types(ask)
    assert answer.startswith("HTTP/1.1 204")
    assert "access-control-allow-origin: https://shop.example.org" in answer
    assert person.types(ask.replace("shop.", "other.")).startswith("HTTP/1.1 403")


def _answers_otherwise(person: Newcomer, url: str) -> None:
    for name, text in files("overrides.md").items():
        (person.folder / name).write_text(text)
    add, test, end, engine, upstream, *_, file = blocks("overrides.md", "sh")
    assert person.types(add) == ("closed: POST /engine-rest/message X-Tenant=acme* → respond 503\n")
    key = {"X-API-Key": (person.folder / "ada.key").read_text().strip()}
    message = {"messageName": "paid"}
    tenant = {"X-Tenant": "acme-north"}
    refused = post(f"{url}/engine-rest/message", json=message, headers={**key, **tenant})
    assert (refused.status_code, refused.json()) == (503, {"message": "closed until Monday"})
    nobody, somebody = test.splitlines()
    assert person.types(nobody, status=1) + person.types(somebody) in (
        HOW_TO / "overrides.md"
    ).read_text("utf-8")
    assert "closed: removed" in person.types(end)
    for block in (engine, upstream, file):
        assert "→" in person.types(block)
    gone = get(f"{url}/engine-rest/history/activity-instance", headers=key)
    assert (gone.status_code, gone.headers["x-moved-to"]) == (410, "reports.example")


def _exports(person: Newcomer, url: str) -> None:
    """The broker's key opens what its exporter asks for, and nothing else."""
    (make,) = [one for one in blocks("see-zeebe-86.md", "sh") if "gateway key" in one]
    broker = ("zeebe", person.types(make).strip())
    # The only Camunda 8 is known without its name.
    assert post(f"{url}/_bulk", content=b"", auth=broker).status_code == 200
    assert put(f"{url}/zeebe-record*/_settings", json={}, auth=broker).status_code == 200
    assert get(f"{url}/v1/routes", auth=broker).status_code == 403
    assert post(f"{url}/_bulk", content=b"").status_code == 401
