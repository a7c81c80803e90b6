"""Jobs in Camunda 8's dialect, over both wires, on every engine: what becomes of each outcome.

What became of a job is seen in the job that comes next, and in how the gateway refuses the rest.
"""

import math
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from tests.gateway.compatibility import WORKS, differs, proves
from tests.gateway.eight_clients import Client, Refusal, WireJob, open_client
from tests.gateway.eight_engines import deploy_path, prefix
from tests.gateway.gate import Gate, open_gate
from tests.patience import patience

from gossamer_gateway.names.numbers import NUMBER_END
from gossamer_node.engines.config import EngineConfig

pytestmark = [pytest.mark.camunda7, pytest.mark.zeebe]

Configs = Mapping[str, EngineConfig]

ENGINES = ["old", "small", "new", "rest"]
"""`rest` is the Camunda 8 without its gRPC."""

UNKNOWN = {"old": 7_777_777, "small": 7_777_777, "new": NUMBER_END + 999, "rest": NUMBER_END + 999}
"""Keys that nobody has."""


@pytest.fixture
def configs(
    camunda7_url: str, zeebe_url: str, zeebe_grpc_address: str, embedded_url: str
) -> Configs:
    return {
        "old": EngineConfig("old", "camunda7", camunda7_url),
        "small": EngineConfig("small", "camunda7", embedded_url),
        "new": EngineConfig("new", "camunda8", zeebe_url, grpc=zeebe_grpc_address),
        "rest": EngineConfig("rest", "camunda8", zeebe_url),
    }


@dataclass
class Stage:
    """A gateway in front of one engine, a client of it, and a process there."""

    gate: Gate
    client: Client
    engine: str
    process: str

    async def job(self, step: str = "work", **how: object) -> WireJob:
        """The one job of a step, as soon as it is there."""
        (job,) = await self.jobs(step, **how)
        return job

    async def jobs(self, step: str = "work", **how: object) -> list[WireJob]:
        with patience():
            while not (
                jobs := await self.client.activate(f"{self.process}-{step}", **how)  # type: ignore[arg-type]
            ):
                pass
        return jobs

    async def none(self, step: str = "work") -> bool:
        return not await self.client.activate(f"{self.process}-{step}", wait_ms=-1)

    async def start(self, **variables: object) -> int:
        return (await self.client.create(self.process, variables)).instance


@pytest.fixture(params=["rest", "grpc"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def stage(engine: str, configs: Configs, wire: str) -> AsyncIterator[Stage]:
    config = configs[engine]
    async with open_gate(config) as gate, open_client(gate, wire) as client:
        process = await deploy_path(config, prefix())
        yield Stage(gate, client, engine, process)


def is_seven(stage: Stage) -> bool:
    return stage.engine in ("old", "small")


@proves(
    "v2",
    "POST /jobs/activation",
    "POST /jobs/{key}/completion",
    camunda7=WORKS,
    embedded=WORKS,
    camunda8=WORKS,
)
@proves("zeebe", "ActivateJobs", "CompleteJob", camunda7=WORKS, embedded=WORKS, camunda8=WORKS)
async def test_a_job_is_told_and_completed(stage: Stage) -> None:
    values = {
        "text": "Grüße, 世界", "whole": 5, "long": 2**40, "huge": 2**60 + 1, "ratio": 0.1,
        "three": 3.0, "yes": True, "nothing": None, "list": [1, "a", None], "deep": {"a": {"b": 1}},
    }  # fmt: skip
    instance = await stage.start(**values)
    before_ms = time.time() * 1_000
    job = await stage.job(worker="me")
    assert dict(job.variables) == values
    assert isinstance(job.variables["three"], float)
    assert (job.type, job.process) == (f"{stage.process}-work", stage.process)
    assert job.instance == instance
    assert (job.worker, job.retries, job.tenant) == ("me", 3, "<default>")
    assert math.isclose(job.deadline, before_ms + 300_000, abs_tol=60_000)
    assert len({job.key, job.instance, job.element_instance, job.definition}) == 4
    assert (job.key < NUMBER_END) == is_seven(stage)
    await stage.client.complete(job.key, {"done": [1, 2], "text": None})
    after = await stage.job("after")
    assert after.variables["done"] == [1, 2]
    assert after.variables["text"] is None
    assert {name: after.variables[name] for name in values if name != "text"} == {
        name: value for name, value in values.items() if name != "text"
    }


async def test_only_the_variables_that_are_asked_for_are_told(stage: Stage) -> None:
    await stage.start(a=1, b=2)
    assert dict((await stage.job(names=("b",))).variables) == {"b": 2}


async def test_a_failure_with_retries_gives_the_job_again(stage: Stage) -> None:
    await stage.start()
    job = await stage.job()
    await stage.client.fail(job.key, retries=2, message="why")
    again = await stage.job()
    assert (again.key, again.retries) == (job.key, 2)


@proves("v2", "POST /jobs/{key}/failure", camunda7=WORKS, embedded=WORKS, camunda8=WORKS)
@proves("zeebe", "FailJob", camunda7=WORKS, embedded=WORKS, camunda8=WORKS)
async def test_a_failure_s_back_off_is_kept(stage: Stage) -> None:
    await stage.start()
    job = await stage.job()
    await stage.client.fail(job.key, retries=2, back_off_ms=300_000)
    assert await stage.none()
    with pytest.raises(Refusal) as refused:
        await stage.client.complete(job.key)
    assert (refused.value.status, "but it is in state 'FAILED'" in refused.value.said) == (
        409,
        True,
    )


@proves(
    "v2",
    "PATCH /jobs/{key}",
    camunda7=differs("new retries end the incident"),
    embedded=differs("new retries end the incident"),
    camunda8=WORKS,
)
@proves(
    "zeebe",
    "UpdateJobRetries",
    camunda7=differs("new retries end the incident"),
    embedded=differs("new retries end the incident"),
    camunda8=WORKS,
)
async def test_a_failure_without_retries_is_an_incident_until_it_has_some(stage: Stage) -> None:
    await stage.start()
    job = await stage.job()
    await stage.client.fail(job.key)
    assert await stage.none()
    for settle in (stage.client.complete(job.key), stage.client.fail(job.key, retries=1)):
        with pytest.raises(Refusal) as refused:
            await settle
        assert refused.value.status == 409
    with pytest.raises(Refusal) as refused:
        await stage.client.set_retries(job.key, 0)
    assert (refused.value.status, "positive amount of retries" in refused.value.said) == (400, True)
    await stage.client.set_retries(job.key, 4)
    if is_seven(stage):  # Camunda 8 wants its incident resolved first
        again = await stage.job()
        assert (again.key, again.retries) == (job.key, 4)


@proves(
    "v2",
    "POST /jobs/{key}/error",
    camunda7=differs(
        "nobody catches it: the instance ends; else its variables are the whole instance's"
    ),
    embedded=differs("as Camunda 7"),
    camunda8=WORKS,
)
@proves(
    "zeebe",
    "ThrowError",
    camunda7=differs(
        "nobody catches it: the instance ends; else its variables are the whole instance's"
    ),
    embedded=differs("as Camunda 7"),
    camunda8=WORKS,
)
async def test_an_error_takes_its_way(stage: Stage) -> None:
    await stage.start()
    job = await stage.job()
    await stage.client.throw(job.key, "CAUGHT", message="no", variables={"seen": 1})
    assert (await stage.job("recover")).instance == job.instance


async def test_what_is_no_more_is_not_found(stage: Stage) -> None:
    await stage.start()
    job = await stage.job()
    await stage.client.complete(job.key)
    for key in (job.key, UNKNOWN[stage.engine]):
        for doing, settle in {
            "complete job": stage.client.complete(key),
            "fail job": stage.client.fail(key),
            "throw an error for job": stage.client.throw(key, "X"),
            "update job": stage.client.set_retries(key, 1),
        }.items():
            with pytest.raises(Refusal) as refused:
                await settle
            assert refused.value.status == 404
            said = f"Expected to {doing} with key '{key}', but no such job was found"
            assert said in refused.value.said
        with pytest.raises(Refusal) as refused:
            await stage.client.set_timeout(key, 1_000)
        assert refused.value.status == 404


async def prolonged(stage: Stage) -> tuple[WireJob, int]:
    """A job with a lock that was prolonged, and how long that was at first: as short as it can be
    on this machine, where another second may pass before it is prolonged."""
    for lock_ms in (300, 3_000, 30_000):
        job = await stage.job(lock_ms=lock_ms)
        try:
            await stage.client.set_timeout(job.key, 300_000)
        except Refusal:
            continue  # it had run out
        return job, lock_ms
    pytest.fail("no lock could be prolonged")


@proves("v2", "PATCH /jobs/{key}", camunda7=WORKS, embedded=WORKS, camunda8=WORKS)
@proves("zeebe", "UpdateJobTimeout", camunda7=WORKS, embedded=WORKS, camunda8=WORKS)
async def test_the_lock_is_kept_prolonged_and_ended(stage: Stage) -> None:
    await stage.start()
    job = await stage.job()
    assert await stage.none()
    await stage.client.set_timeout(job.key, 1)  # so a client gives a job back
    again, lock_ms = await prolonged(stage)
    assert again.key == job.key
    await trio.sleep(lock_ms / 1_000 + 0.1)
    assert await stage.none()
    await stage.client.set_timeout(again.key, 0)  # the same
    await stage.client.complete((await stage.job()).key)


async def test_a_job_whose_lock_ran_out_comes_again(stage: Stage) -> None:
    await stage.start()
    job = await stage.job(lock_ms=200)
    # The end of a lock wakes no long poll of Camunda 7.
    assert (await stage.job(wait_ms=300)).key == job.key
    await stage.client.complete(job.key)  # nobody is asked who he is


@proves(
    "v2",
    "POST /process-instances/{key}/cancellation",
    camunda7=WORKS,
    embedded=WORKS,
    camunda8=WORKS,
)
@proves("zeebe", "CancelProcessInstance", camunda7=WORKS, embedded=WORKS, camunda8=WORKS)
async def test_an_instance_is_canceled(stage: Stage) -> None:
    instance = await stage.start()
    job = await stage.job()
    await stage.client.cancel(instance)
    with pytest.raises(Refusal) as refused:
        await stage.client.complete(job.key)
    assert refused.value.status == 404
    for key in (instance, UNKNOWN[stage.engine]):
        with pytest.raises(Refusal) as refused:
            await stage.client.cancel(key)
        assert refused.value.status == 404
        assert f"a process instance with key '{key}', but no such process was" in refused.value.said


@proves(
    "v2",
    "POST /process-instances",
    camunda7=WORKS,
    embedded=differs("no start instructions"),
    camunda8=WORKS,
)
@proves(
    "zeebe",
    "CreateProcessInstance",
    camunda7=WORKS,
    embedded=differs("no start instructions"),
    camunda8=WORKS,
)
async def test_starts_name_their_definition(stage: Stage) -> None:
    one = await stage.client.create(stage.process)
    two = await stage.client.create("", definition=one.definition)
    three = await stage.client.create(stage.process, version=1)
    assert one.definition == two.definition == three.definition
    assert (two.process, two.version, three.version) == (stage.process, 1, 1)
    assert len({job.instance for job in await stage.jobs()}) >= 1
    for refused_start, said in {
        stage.client.create("nobody's"): "process ID 'nobody's', but none found",
        stage.client.create(stage.process, version=77): "and version '77', but none found",
        stage.client.create("", definition=UNKNOWN[stage.engine]): "but none found",
    }.items():
        with pytest.raises(Refusal) as refused:
            await refused_start
        assert (refused.value.status, said in refused.value.said) == (404, True), refused.value


@proves(
    "zeebe",
    "CreateProcessInstanceWithResult",
    camunda7=differs("needs its history, at the level of activities"),
    embedded=WORKS,
    camunda8=WORKS,
)
async def test_the_result_of_an_instance_is_awaited(stage: Stage) -> None:
    found: list[Mapping[str, object]] = []

    async def run(names: tuple[str, ...]) -> None:
        made = await stage.client.create(
            stage.process, {"a": 1, "b": "x"}, wait_ms=60_000, names=names
        )
        found.append(made.variables)

    for names in ((), ("b",)):
        with patience():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, names)
                for step in ("work", "after"):
                    await stage.client.complete((await stage.job(step)).key, {step: True})
    whole, part = found
    assert {"a": 1, "b": "x", "work": True, "after": True}.items() <= dict(whole).items()
    assert dict(part) == {"b": "x"}


async def test_a_result_that_takes_too_long_is_not_waited_for(stage: Stage) -> None:
    with pytest.raises(Refusal) as refused:
        await stage.client.create(stage.process, wait_ms=300)
    assert refused.value.status == 504
    assert await stage.job()


@pytest.mark.parametrize("name", ["old", "new"])
async def test_a_key_outlives_the_gateway_that_told_it(
    configs: Configs, wire: str, name: str, tmp_path: Path
) -> None:
    config, file = configs[name], tmp_path / "gateway.sqlite"
    process = await deploy_path(config, prefix())
    typed = {"when": "2030-01-01T00:00:00.000+0000"}
    async with open_gate(config, path=file) as gate, open_client(gate, wire) as client:
        made = await client.create(process, typed)
        (job,) = await client.activate(f"{process}-work", wait_ms=60_000)
    async with open_gate(config, path=file) as gate, open_client(gate, wire) as client:
        await client.complete(job.key, {"done": 1})
        (after,) = await client.activate(f"{process}-after", wait_ms=60_000)
        assert (after.instance, after.definition) == (made.instance, job.definition)
        assert after.variables["done"] == 1
        with pytest.raises(Refusal) as refused:
            await client.complete(job.key)
        assert refused.value.status == 404
        await client.cancel(made.instance)
