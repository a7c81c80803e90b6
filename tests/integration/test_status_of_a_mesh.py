"""`gossamer status` against a running mesh: what it prints is so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from tests.integration.nodes import (
    EMBEDDED,
    agreed,
    deploy,
    instances,
    looked,
    new_topic,
    on,
    reaches,
    works,
    write_service,
)
from tests.integration.server import Server

from gossamer_hotel.demo.processes import Node, open_nodes
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Engine
from gossamer_node.local_engines.progress import silent


async def status(node: Node, *arguments: str) -> str:
    command = [sys.executable, "-m", "gossamer_node", "status"]
    command += ["--config", str(node.folder / "gossamer.yaml"), *arguments]
    done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT)
    return done.stdout.decode()


@pytest.mark.processes
@on(EMBEDDED)
async def test_status_says_what_is_so(
    engine: Engine, engine_config: EngineConfig, server: Server, telling: bytes, tmp_path: Path
) -> None:
    topic = new_topic()
    service = write_service(tmp_path / "telling", telling, [topic])
    settings = [reaches(engine_config), works(service, server.origin)]
    async with open_nodes(settings, tmp_path, silent) as nodes:
        claims, holds = nodes
        assert await agreed(nodes, "embedded") is claims
        process_id = await deploy(engine, [topic])
        async with instances(engine, process_id, 1):
            await server.asked_for(1)
            (key,) = server.asked
            told = json.loads(await status(claims, "--json"))
            text = (await status(claims)).splitlines()
            server.answer()
        await looked(holds)

    assert told["node"]["pid"] == claims.pid
    assert {one["name"]: one["address"] for one in told["members"]} == {
        node.name: node.status["node"]["address"] for node in nodes
    }
    (lease,) = told["leases"]
    assert (lease["job"], lease["topic"], lease["holder"]) == (key, topic, "node-2")
    (its_engine,) = told["engines"]
    assert (its_engine["name"], its_engine["reachable"]) == ("embedded", True)
    assert its_engine["jobs_activated"] == 1
    assert [one["member"] for one in told["claimers"]] == ["node-1"]
    assert told["services"] == []
    assert told["instances"] == {"registered": 0, "live": 0, "parked": 0}
    assert holds.status["instances"] == {"registered": 1, "live": 0, "parked": 0}
    known_by = {"name": "telling", "version": "1.0.0", "topics": [topic]}
    shown = {**known_by, "instances": 8, "waits": None}
    assert holds.status["services"] == [shown]

    known = {"registered": 1, "live": 1, "parked": 0, "waiting": 0, "draining": 0}
    assert holds.status["registry"] == known
    none = (
        "  services: 0 registered, 0 live, 0 parked, 0 waiting; dense instances: 0 live, 0 parked"
    )
    assert none in text
    rows = [line.split() for line in text]
    (first,) = [row for row in rows if row[:1] == ["node-1"]]
    assert first[-2:] == ["alive", "embedded"]
    assert any(row[:2] == [key, topic] and row[-1] == "node-2" for row in rows)


def test_status_without_a_node_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gossamer_node", "status", "--data-dir", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"gossamer: no node runs in {tmp_path}; start one with")
