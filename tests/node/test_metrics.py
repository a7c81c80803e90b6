"""Metrics: what Prometheus reads is well formed, behind a narrow door; and what scales by it."""

import configparser
import os
import re
import subprocess
from argparse import Namespace
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import yaml
from tests.patience import PATIENCE_S

from gossamer_node.address import Address
from gossamer_node.config import load
from gossamer_node.errors import InputError
from gossamer_node.metrics import CONNECTIONS_MAX, REQUEST_BYTES_MAX, serve_metrics, text
from gossamer_node.schema.source import Invalid
from gossamer_node.supervisor import open_node

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "scale-by-demand.md"
HERE = Address("127.0.0.1", 0)

LINE = re.compile(
    r'(gossamer_[a-z_]+)((?:\{[a-z]+="(?:[^"\\]|\\.)*"(?:,[a-z]+="(?:[^"\\]|\\.)*")*\})?) (\S+)'
)


def status(**changes: Any) -> dict[str, Any]:
    claimed = dict.fromkeys(
        ("granted", "regranted", "released", "settled", "stale", "open", "load_thousandths"), 7
    )
    return {
        "node": {"name": "hall", "mesh": "m", "version": "1", "up_seconds": 2.5},
        "members": [{"state": "alive"}, {"state": "alive"}, {"state": "suspect"}],
        "holding": {"slots": 8, "running": 3, "unacknowledged": 1},
        "outcomes": {"completed": 5, "failed": 1},
        "services": [{"name": "s", "instances": 4}],
        "registry": {"registered": 9, "live": 1, "parked": 2, "waiting": 3, "draining": 0},
        "instances": {"registered": 1, "live": 12, "parked": 2},
        "worker_lines_dropped": 7,
        "keyed": {"forks": 2},
        "demand": [{"engine": 'od"d\\\n', "demand": 9, "capacity": 8, "desired": 12, "parts": 1}],
        "engines": [
            {
                "name": "e",
                "reachable": True,
                "polls": 9,
                "polls_failed": 0,
                "jobs_activated": 4,
                "jobs_pushed": 3,
            }
        ],
        "claimed": {"e/0": claimed},
        **changes,
    }


def samples(exposed: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in exposed.splitlines():
        if not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match is not None, line
            assert match[1] + match[2] not in found
            found[match[1] + match[2]] = float(match[3])
    return found


def test_the_text_is_well_formed() -> None:
    exposed = text(status())
    found = samples(exposed)
    assert found["gossamer_slots_busy"] == 3
    assert found['gossamer_members{state="alive"}'] == 2
    assert found['gossamer_engine_desired{engine="od\\"d\\\\\\n"}'] == 12
    assert found['gossamer_claimer_load{group="e/0"}'] == 0.007
    assert found['gossamer_dense_instances{state="parked"}'] == 2
    names = {key.partition("{")[0] for key in found}
    assert names == set(re.findall("^# TYPE (\\w+) (?:gauge|counter)$", exposed, flags=re.M))
    assert all(
        name.endswith("_total")
        for name in re.findall("^# TYPE (\\w+) counter", exposed, flags=re.M)
    )


async def test_get_metrics_and_nothing_else() -> None:
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(partial(serve_metrics, HERE, status))
        url = f"http://{host}:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
            answer = await client.get("/metrics")
            assert answer.status_code == 200 and answer.text == text(status())
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert (await client.get("/")).status_code == 404
            assert (await client.get("/metrics/x")).status_code == 404
            assert (await client.post("/metrics", content=b"x")).status_code == 405
            assert (await client.head("/metrics")).status_code == 405
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "junk",
    [b"", b"\x16\x03\x01" + bytes(range(64, 128)), b"GET /metrics", b"GET  HTTP/9\r\n\r\n",
     b"x" * 70_000, b"GET /metrics HTTP/1.1\r\n\r\n",
     b"GET /metrics HTTP/1.1\r\nA: " + b"b" * REQUEST_BYTES_MAX],
)  # fmt: skip
async def test_junk_and_crowds_do_not_end_it(junk: bytes) -> None:
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(partial(serve_metrics, HERE, status))
        for _ in range(2 * CONNECTIONS_MAX):
            stream = await trio.open_tcp_stream(host, port)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(junk)
            await stream.aclose()
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert (await client.get(f"http://{host}:{port}/metrics")).status_code == 200
        nursery.cancel_scope.cancel()


async def test_an_address_that_is_taken_is_refused_in_a_sentence() -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="metrics"):
            await serve_metrics(Address(*taken.getsockname()), status)


def test_only_this_machine_may_read_unless_it_is_said_twice(tmp_path: Path) -> None:
    path = tmp_path / "gossamer.yaml"
    path.write_text("metrics: {listen: 0.0.0.0:9407}")
    with pytest.raises(Invalid, match="network: true"):
        load(Namespace(config=path), {})
    path.write_text("metrics: {listen: 0.0.0.0:9407, network: true}")
    assert load(Namespace(config=path), {}).metrics.network
    assert load(Namespace(), {}).metrics.listen is None


async def test_a_node_shows_its_metrics(tmp_path: Path) -> None:
    path = tmp_path / "gossamer.yaml"
    path.write_text(
        "name: one\nlisten: 127.0.0.1:0\ndata_dir: state\ncache_dir: cache\n"
        "metrics: {listen: 127.0.0.1:0}\n"
    )
    async with open_node(load(Namespace(config=path), {})) as node:
        found = samples(text(node.status()))
    assert found['gossamer_members{state="alive"}'] == 1
    assert found["gossamer_slots"] == 32


# --- the how-to's files


def shown(name: str) -> str:
    match = re.search(
        rf"^`{re.escape(name)}`:\n\n```\w+\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S
    )
    assert match is not None, name
    return match[1]


def test_the_autoscaler_scales_by_a_metric_that_there_is() -> None:
    scaler = yaml.safe_load(shown("autoscaler.yml"))
    assert scaler["kind"] == "HorizontalPodAutoscaler" and scaler["apiVersion"] == "autoscaling/v2"
    (metric,) = scaler["spec"]["metrics"]
    (rule,) = yaml.safe_load(shown("prometheus-adapter-rules.yml"))["externalRules"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    assert set(metric["external"]["metric"]["selector"]["matchLabels"]) == {"engine"}
    assert f"{rule['name']['as']}{{" in text(status())
    slots = int(metric["external"]["target"]["averageValue"])
    assert slots == load(Namespace(), {}).slots


@pytest.mark.parametrize(
    "name", ["gossamer@.service", "gossamer-scale.service", "gossamer-scale.timer"]
)
def test_the_units_are_units(name: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(shown(name))
    assert unit["Unit"]["Description"]
    assert ("Timer" in unit) == name.endswith(".timer")


@pytest.mark.parametrize(
    ("desired", "running", "told"),
    [(0, 1, ""), (40, 1, "start gossamer@2"), (64, 2, ""), (20, 2, "stop gossamer@2"),
     (999, 5, ""), (70, 2, "start gossamer@3")],
)  # fmt: skip
def test_the_script_starts_and_stops_one_node_at_a_time(
    tmp_path: Path, desired: int, running: int, told: str
) -> None:
    """It runs here, with a `systemctl` and a `gossamer` that only say what they were asked."""
    exposed = status(
        demand=[{"engine": "e", "demand": 1, "capacity": 1, "desired": desired, "parts": 1}]
    )
    (tmp_path / "exposed").write_text(text(exposed))
    tools = {
        "gossamer": f"cat {tmp_path}/exposed",
        "systemctl": (
            f'[ "$1" = is-active ] && {{ [ "${{3#gossamer@}}" -le {running} ]; exit; }}\n'
            f'echo "$@" >> {tmp_path}/told'
        ),
    }
    for name, does in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    script = shown("gossamer-scale.sh").replace(
        "/opt/gossamer/bin/gossamer", str(tmp_path / "gossamer")
    )
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", script], check=True, env=path)
    said = tmp_path / "told"
    assert (said.read_text().strip() if said.exists() else "") == told
