"""StreamActivatedJobs from every engine, and clients that go: no job stays locked for nobody."""

import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest
import trio
from tests.gateway.ahead import Ahead
from tests.gateway.compatibility import WORKS, differs, proves
from tests.gateway.eight_clients import (
    LOCK_LONG_MS,
    Client,
    GrpcClient,
    Refusal,
    RestClient,
    WireJob,
    wire_job,
)
from tests.gateway.eight_engines import deploy_path, prefix
from tests.gateway.gate import Gate, open_gate
from tests.patience import patience, until

from gossamer_gateway.zeebe import streams
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.grpc import Channel

pytestmark = [
    pytest.mark.camunda7,
    pytest.mark.zeebe,
    pytest.mark.usefixtures("short_polls"),
]

PATH = "/gateway_protocol.Gateway/StreamActivatedJobs"
ENGINES = ["old", "small", "new", "rest"]
JOBS = 20
WAIT_MS = 600_000
"""Of clients that wait in earnest."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(request: pytest.FixtureRequest, engine: str) -> EngineConfig:
    def asked(name: str) -> str:
        return str(request.getfixturevalue(name))

    match engine:
        case "old":
            return EngineConfig("old", "camunda7", asked("camunda7_url"))
        case "small":
            return EngineConfig("small", "camunda7", asked("embedded_url"))
        case "new":
            address = asked("zeebe_grpc_address")
            return EngineConfig("new", "camunda8", asked("zeebe_url"), grpc=address)
        case _:
            return EngineConfig("rest", "camunda8", asked("zeebe_url"))


@dataclass
class Stage:
    gate: Gate
    client: GrpcClient
    process: str
    got: list[WireJob] = field(default_factory=list)

    def asked(self, **how: object) -> zeebe.StreamActivatedJobsRequest:
        wanted = {"type": f"{self.process}-work", "worker": "s", "timeout": LOCK_LONG_MS} | how
        return zeebe.StreamActivatedJobsRequest(**wanted)  # type: ignore[arg-type]

    async def start(self, count: int = 1, **variables: object) -> set[int]:
        return {(await self.client.create(self.process, variables)).instance for _ in range(count)}

    async def ready(self) -> None:
        """A stream is fed when a job of its type comes without anybody asking again."""
        opened = len(self.got)
        await self.start()
        await until(lambda: len(self.got) > opened)


@pytest.fixture
async def stage(config: EngineConfig) -> AsyncIterator[Stage]:
    async with open_gate(config) as gate:
        channel = grpc.insecure_channel(gate.grpc)
        try:
            process = await deploy_path(config, prefix())
            yield Stage(gate, GrpcClient(channel), process)
        finally:
            await trio.to_thread.run_sync(channel.close)


@asynccontextmanager
async def streaming(stage: Stage, **how: object) -> AsyncIterator[None]:
    """A client of grpcio that takes what its stream brings into `stage.got`, until the block ends
    and it cancels its call."""
    stub = stage.client.channel.unary_stream(
        PATH,
        request_serializer=zeebe.StreamActivatedJobsRequest.SerializeToString,
        response_deserializer=zeebe.ActivatedJob.FromString,
    )
    call = stub(stage.asked(**how))

    def read() -> None:
        try:
            for job in call:
                stage.got.append(wire_job(job))
        except grpc.RpcError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, read)
        try:
            yield
        finally:
            call.cancel()


async def drain(client: Client, type: str, count: int) -> list[WireJob]:
    """As many jobs, by polls."""
    jobs: list[WireJob] = []
    with patience():
        while len(jobs) < count:
            jobs += await client.activate(type, most=1_000, wait_ms=10_000)
    return jobs


@proves(
    "zeebe",
    "StreamActivatedJobs",
    camunda7=differs("fed by long polls of 32 jobs, and so with what was there before"),
    embedded=differs("as Camunda 7"),
    camunda8=WORKS,
)
async def test_jobs_come_by_themselves_and_are_settled(stage: Stage) -> None:
    async with streaming(stage):
        await stage.ready()
        first = stage.got.pop(0)
        instances = await stage.start(JOBS, a=1)
        await until(lambda: len(stage.got) == JOBS)
        assert {job.instance for job in stage.got} == instances
        assert all(job.variables["a"] == 1 and job.worker == "s" for job in stage.got)
        for job in (first, *stage.got):
            await stage.client.complete(job.key, {"done": True})
    after = await drain(stage.client, f"{stage.process}-after", JOBS + 1)
    assert all(job.variables["done"] for job in after)


async def test_what_comes_after_the_client_has_gone_is_locked_for_nobody(stage: Stage) -> None:
    async with streaming(stage):
        await stage.ready()
    taken = {job.instance for job in stage.got}
    instances = await stage.start(3)
    jobs = await drain(stage.client, f"{stage.process}-work", 3)
    assert {job.instance for job in jobs} == instances - taken


async def test_a_client_that_does_not_read_gets_no_more_and_loses_nothing(stage: Stage) -> None:
    # 300 jobs of 20 KB, for a client whose HTTP/2 window is full after a few of them.
    count = 300 if stage.gate.desk.engines.eight is None else 120
    host, _, port = stage.gate.grpc.rpartition(":")
    channel = Channel(host, int(port), tls=None, peer="the gateway")
    seen: set[int] = set()
    try:
        request = stage.asked().SerializeToString()
        async with channel.stream(PATH, request, server_ends_ms=600_000) as pushed:
            await stage.start()
            with patience():
                message = await pushed.receive()
                assert message is not None
                seen.add(zeebe.ActivatedJob.FromString(message).key)
            async with trio.open_nursery() as starting:
                for _ in range(10):
                    starting.start_soon(lambda: stage.start(count // 10, texts=["x" * 20_000]))
            while (one := pushed.receive_nowait()) is not None:
                seen.add(zeebe.ActivatedJob.FromString(one).key)
    finally:
        await channel.aclose()
    # What was on its way to the client is its own; the rest is here at once.
    jobs = await drain(stage.client, f"{stage.process}-work", (count + 1) // 3)
    assert not seen & {job.key for job in jobs}


async def test_a_stream_outlives_those_at_the_engine(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STREAM_S", 0.6)
    monkeypatch.setattr(streams, "OVERLAP_S", 0.3)
    began_s = trio.current_time()
    # A job that the engine itself loses at the end of a stream comes again after its lock.
    async with streaming(stage, timeout=5_000):
        await stage.ready()
        instances = {job.instance for job in stage.got}
        while trio.current_time() - began_s < 3 or len(instances) < JOBS:
            instances |= await stage.start()
        polled: set[int] = set()

        async def poll() -> None:  # as clients do beside their streams
            while True:
                jobs = await stage.client.activate(
                    f"{stage.process}-work", wait_ms=300, lock_ms=5_000
                )
                # A lock that ran out makes no job lost: its stream had brought it.
                polled.update(_instances(jobs) - _instances(stage.got))
                stage.got.extend(jobs)

        async with trio.open_nursery() as polling:
            polling.start_soon(poll)
            await until(lambda: _instances(stage.got) == instances)
            polling.cancel_scope.cancel()
    assert len(polled) <= len(instances) / 4


def _instances(jobs: Iterable[WireJob]) -> set[int]:
    return {job.instance for job in jobs}


async def test_a_stop_of_the_gateway_ends_streams_well(config: EngineConfig) -> None:
    process = await deploy_path(config, prefix())
    ended: list[object] = []
    async with trio.open_nursery() as nursery:
        async with open_gate(config) as gate:
            host, _, port = gate.grpc.rpartition(":")
            channel = Channel(host, int(port), tls=None, peer="the gateway")
            asked = zeebe.StreamActivatedJobsRequest(type=f"{process}-x", timeout=60_000)
            opened = trio.Event()

            async def read() -> None:
                request = asked.SerializeToString()
                async with channel.stream(PATH, request, server_ends_ms=600_000) as pushed:
                    opened.set()
                    ended.append(await pushed.receive())

            nursery.start_soon(read)
            await opened.wait()
            await until(
                lambda: gate.desk.polling.statistics()["open"] > 0 or config.grpc is not None
            )
        await until(lambda: bool(ended))
    await channel.aclose()
    assert ended == [None]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"type": ""}, "type to be present"), ({"timeout": 0}, "timeout to be greater than zero")],
)
async def test_a_wrong_stream_is_refused(
    zeebe_url: str, wrong: dict[str, object], said: str
) -> None:
    async with open_gate(EngineConfig("rest", "camunda8", zeebe_url)) as gate:
        channel = grpc.insecure_channel(gate.grpc)
        client = GrpcClient(channel)
        asked = zeebe.StreamActivatedJobsRequest(
            **({"type": "t", "timeout": 1_000} | wrong)  # type: ignore[arg-type]
        )
        with pytest.raises(Refusal) as refused:
            await client.call("StreamActivatedJobs", asked, zeebe.ActivatedJob, many=True)
        assert (refused.value.status, said in refused.value.said) == (400, True)
        channel.close()


# --- long polls whose client goes


async def poll_and_go(stage: Stage, how: str) -> None:
    """A long poll that is given up while it waits."""
    type = f"{stage.process}-work"
    host, _, port = stage.gate.grpc.rpartition(":")
    channel = Channel(host, int(port), tls=None, peer="the gateway")

    async def poll() -> None:
        if how == "rest":
            await RestClient(stage.gate.http).activate(type, wait_ms=600_000)
            return
        asked = zeebe.ActivateJobsRequest(
            type=type, timeout=LOCK_LONG_MS, maxJobsToActivate=5, requestTimeout=600_000
        )
        path = "/gateway_protocol.Gateway/ActivateJobs"
        await channel.call(path, asked.SerializeToString(), timeout_ms=600_000, waits=True)

    polling = stage.gate.desk.polling
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await until(lambda: polling.statistics() == {"waiting": 1, "open": 1})
        nursery.cancel_scope.cancel()
    await channel.aclose()


@pytest.mark.parametrize("how", ["rest", "grpc"])
async def test_a_long_poll_whose_client_went_locks_no_job(stage: Stage, how: str) -> None:
    await poll_and_go(stage, how)
    instances = await stage.start(2)
    jobs = await drain(stage.client, f"{stage.process}-work", 2)
    assert {job.instance for job in jobs} == instances


async def test_many_clients_wait_and_each_job_goes_to_one(stage: Stage, ahead: Ahead) -> None:
    clients, jobs = 300, 30
    got: list[int] = []
    idle = 0
    host, _, port = stage.gate.grpc.rpartition(":")
    channels = [Channel(host, int(port), tls=None, peer="the gateway") for _ in range(3)]
    asked = zeebe.ActivateJobsRequest(
        type=f"{stage.process}-work", timeout=LOCK_LONG_MS, maxJobsToActivate=1,
        requestTimeout=WAIT_MS,
    )  # fmt: skip

    async def wait(channel: Channel) -> None:
        nonlocal idle
        path = "/gateway_protocol.Gateway/ActivateJobs"
        told = await channel.call(path, asked.SerializeToString(), timeout_ms=WAIT_MS, waits=True)
        keys = [job.key for one in told for job in zeebe.ActivateJobsResponse.FromString(one).jobs]
        got.extend(keys)
        idle += not keys

    waiting: Callable[[], int] = lambda: stage.gate.desk.polling.statistics()["waiting"]  # noqa: E731
    with patience():
        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(wait, channels[number % 3])
            await until(lambda: waiting() == clients)
            await stage.start(jobs)
            await until(lambda: len(got) == jobs)
            ahead(stage.gate.desk.polling, WAIT_MS)
    assert len(set(got)) == jobs and idle == clients - jobs
    assert math.isclose(waiting(), 0)
    for channel in channels:
        await channel.aclose()


@pytest.mark.zeebe88
async def test_8_8_streams_and_polls_over_grpc_alone(
    zeebe88_url: str, zeebe88_grpc_address: str
) -> None:
    config = EngineConfig("88", "camunda8", zeebe88_url, grpc=zeebe88_grpc_address)
    async with open_gate(config) as gate:
        channel = grpc.insecure_channel(gate.grpc)
        stage = Stage(gate, GrpcClient(channel), await deploy_path(config, prefix()))
        async with streaming(stage):
            await stage.ready()
            await stage.start(JOBS)
            await until(lambda: len(stage.got) > JOBS)
            for job in stage.got:
                await stage.client.complete(job.key, {"done": True})
        after = await drain(stage.client, f"{stage.process}-after", JOBS + 1)
        assert {job.instance for job in after} == {job.instance for job in stage.got}
        assert await stage.client.activate(f"{stage.process}-work", wait_ms=500) == []
        await trio.to_thread.run_sync(channel.close)
