"""`gossamer demo failover`, as a person runs it: real runtimes, a real gateway, two outages."""

import json
import signal
import subprocess
import sys
from functools import partial

import httpx
import pytest
import trio
from tests.patience import patience

from gossamer_gateway.runs.providers.demo.command import is_good
from gossamer_gateway.runs.providers.demo.play import Payment

pytestmark = pytest.mark.processes

COMMAND = [sys.executable, "-m", "gossamer_node", "demo", "failover"]


async def test_every_payment_goes_through_and_none_twice() -> None:
    done = await trio.run_process([*COMMAND, "--json"], capture_stdout=True, capture_stderr=True)
    assert done.stdout.count(b"\n") == 1
    told = json.loads(done.stdout)
    assert told["good"] is True
    first, second = told["payments"]
    assert (first["killed"], first["output"]["chargedBy"], first["charged"]) == ("AWS", "GCP", 1)
    assert (second["killed"], second["output"]["chargedBy"], second["charged"]) == (
        ("GCP", "AZURE", 1)
    )
    aws, gcp, azure = told["providers"]
    assert [one["name"] for one in (aws, gcp, azure)] == ["AWS", "GCP", "AZURE"]
    assert aws["regions"][0]["failures"]["ConnectRefused"] >= 2
    assert aws["regions"][0]["circuit"] != "closed" and aws["regions"][0]["refused"] >= 1
    assert azure["regions"][0]["failed"] == 0


async def test_it_is_told_as_it_happens_and_stays_up_when_asked() -> None:
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process, [*COMMAND, "--hold"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        text = ""
        with patience(120.0, lambda: text):
            while "until Ctrl-C" not in text:
                more = await process.stdout.receive_some()
                assert more, text
                text += more.decode()
        for said in (
            "AWS is gone: its functions were killed in the middle.",
            "AWS → GCP", "GCP is gone", "GCP → AZURE", "the money was taken once.",
            "Every payment went through, and none twice.",
        ):  # fmt: skip
            assert said in text
        page = next(one for one in text.split() if one.endswith("/live/"))
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(page.replace("/live/", "/v1/health"))).status_code == 200
        process.send_signal(signal.SIGINT)
        with patience(60.0, lambda: text):
            while await process.stdout.receive_some():
                pass
            assert await process.wait() == 0


def test_what_is_good() -> None:
    good = [
        Payment("a", "AWS", "Completed", {"chargedBy": "GCP"}, charged=1),
        Payment("b", "GCP", "Completed", {"chargedBy": "AZURE"}, charged=1),
    ]
    assert is_good(good)
    assert not is_good(good[:1])
    assert not is_good([good[0], Payment("b", "GCP", "Failed", {}, charged=0)])
    twice = Payment("b", "GCP", "Completed", {"chargedBy": "AZURE"}, charged=2)
    assert not is_good([good[0], twice])
