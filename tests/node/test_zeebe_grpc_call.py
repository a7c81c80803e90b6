"""The worker of the how-to page, built and run as it stands, gets the topology of a real Zeebe: a
Camunda 8 worker "via gRPC API", at localhost:26500, with proto-files.
"""

import errno
import json
import runpy
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from tests.made_once import made_once
from tests.node.test_service_load import FIRST_SERVICE
from tests.patience import seen

from gossamer_node import cli, config
from gossamer_node.engines import zeebe
from gossamer_node.jobs import Completed, Failed, Job, JobRef, Outcome
from gossamer_node.service import load
from gossamer_node.service.grants import Grants
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, WasmHost

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk-wasm"
PAGE = (ROOT / "docs" / "how-to" / "call-grpc.md").read_text()
PROTO = Path(zeebe.__file__).with_name("gateway.proto")
PORT = 26_500
JOB = Job(JobRef("e", "1", "topology", "w"), Variables(), lock_ms=1)


def shown(name: str) -> str:
    """A file that the page shows."""
    return PAGE.split(f"`{name}`:\n\n```")[1].partition("\n")[2].partition("```")[0]


@pytest.fixture(scope="module", params=["worker.c", "worker.ts"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's folder, with a worker in one of its languages."""

    def build(folder: Path) -> None:
        folder.mkdir()
        for name in ("service.yaml", "gossamer.yaml", request.param):
            (folder / name).write_text(shown(name))
        shutil.copy(PROTO, folder / "camunda8.proto")
        shutil.copy(SDK / "assemblyscript" / "job1.ts", folder)
        compile_worker = runpy.run_path(str(SDK / "build.py"))["compile_worker"]
        compile_worker(folder / request.param, folder / "worker.wasm")

    return made_once(tmp_path_factory, f"topology-{request.param}", build)


@pytest.fixture
def service(built: Path, tmp_path: Path) -> Path:
    """A copy of it, for the test to change."""
    return Path(shutil.copytree(built, tmp_path / "topology"))


def grants(service: Path) -> Grants:
    return config.load_grants(service / "gossamer.yaml")["Camunda8Worker"]


async def work(service: Path, granted: Grants) -> Outcome:
    spec = load.load(service / "service.yaml")
    grant, refused = granted.bind(spec)
    assert len(refused) == (0 if granted.grpc else 1)
    async with WasmHost(service / "modules", threads=1) as host:
        worker = await host.load(spec, grant)
        return await worker.run(JOB, deadline_ms=60_000, context=Detached())


def test_the_block_is_the_one_that_came_first() -> None:
    page, first = shown("service.yaml"), FIRST_SERVICE.decode()
    assert page.partition("  grpc:")[2] == first.partition("  grpc:")[2]
    assert 'description: "Worker service for interacting with Camunda 8 via gRPC API"' in page


def test_the_service_is_checked_with_its_proto_files(
    service: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["service", "check", str(service)]) == 0
    (service / "camunda8.proto").write_text('syntax = "proto3";\nmessage M {\n  string = 1;\n}\n')
    assert cli.main(["service", "check", str(service)]) == 2
    told = capsys.readouterr().out
    assert f"{service / 'camunda8.proto'}:3:10: expected the field's name, found '='." in told


@pytest.fixture
async def at_its_port(zeebe_grpc_address: str, nursery: trio.Nursery) -> None:
    """The shared Zeebe, which has any port, at the one that the service names."""
    host, _, port = zeebe_grpc_address.rpartition(":")

    async def forward(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream(host, int(port))
        async with near, far, trio.open_nursery() as both:
            both.start_soon(pump, near, far)
            await pump(far, near)
            both.cancel_scope.cancel()

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await sink.send_all(data)

    async def listen() -> list[trio.SocketListener] | None:
        try:
            return await trio.open_tcp_listeners(PORT, host="127.0.0.1")
        except OSError as error:
            # Another process of these tests has it, for as long as its test takes.
            assert error.errno == errno.EADDRINUSE, error
            return None

    nursery.start_soon(trio.serve_listeners, forward, await seen(listen))


async def test_a_worker_gets_the_topology_of_a_real_zeebe(service: Path, at_its_port: None) -> None:
    outcome = await work(service, grants(service))
    assert isinstance(outcome, Completed), outcome
    told = outcome.variables.values
    assert told["version"] == "8.6.0"
    (broker,) = json.loads(json.dumps(told["brokers"]))
    assert broker["partitions"] == [{"partitionId": 1, "role": "LEADER", "health": "HEALTHY"}]


async def test_without_the_grant_it_gets_nothing(service: Path) -> None:
    outcome = await work(service, Grants())
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith(
        "Camunda gave no topology: The gRPC server localhost:26500 is not granted; grant it"
    )
