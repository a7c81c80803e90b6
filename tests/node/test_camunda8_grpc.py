"""Camunda 8 over gRPC where no engine is needed: credentials, the way back to REST, junk, and that
what is committed of the protocol is what protoc makes of it.
"""

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from tests.node.grpc_answers import Asked, Told, serve_grpc
from tests.node.http_peer import Request, answer, serve

from gossamer_node.engines import camunda8_either, zeebe
from gossamer_node.engines.config import Auth, BearerAuth, EngineConfig, NoAuth, OAuth2Auth
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Effect, Engine, Settlement, StreamingEngine, TopicRequest
from gossamer_node.engines.zeebe import gateway_pb2
from gossamer_node.errors import (
    EngineError,
    EngineRefused,
    EngineUnavailable,
    InputError,
    Unsupported,
)
from gossamer_node.grpc import Code
from gossamer_node.jobs import BpmnError, Completed, Failed, JobRef
from gossamer_node.variables import Variables

JOB = JobRef("mine", "1", "t", "w", retries=3)
NO_AUTH = NoAuth()
NOWHERE = "127.0.0.1:1"

VERBS: dict[str, Callable[[Engine], Awaitable[object]]] = {
    "Topology": lambda engine: engine.probe(),
    "ActivateJobs": lambda engine: engine.activate(
        [TopicRequest("t")], jobs_max=1, wait_ms=0, worker_id="w"
    ),
    "UpdateJobTimeout": lambda engine: engine.extend(JOB, 1_000),
    "CompleteJob": lambda engine: engine.complete(JOB, Completed(Variables({"a": 1}))),
    "FailJob": lambda engine: engine.fail(JOB, Failed("no", retries=1)),
    "ThrowError": lambda engine: engine.throw_error(JOB, BpmnError("CODE")),
    "DeployResource": lambda engine: engine.deploy({"a.bpmn": b"<a/>"}),
    "CreateProcessInstance": lambda engine: engine.start("p", variables=Variables()),
    "CreateProcessInstanceWithResult": lambda engine: engine.start_and_wait(
        "p", variables=Variables(), wait_ms=5_000
    ),
}

TOPOLOGY = gateway_pb2.TopologyResponse(
    gatewayVersion="8.6.0", brokers=[gateway_pb2.BrokerInfo(host="a", port=1)]
).SerializeToString()
REST_TOPOLOGY = answer(200, {"gatewayVersion": "8.6.0", "brokers": [{"host": "a", "port": 1}]})
REST_TOPOLOGY_WITH_ID = answer(
    200, {"gatewayVersion": "8.6.0", "brokers": [{"host": "a", "port": 1}], "clusterId": "c"}
)


def topology(asked: Asked) -> Told:
    assert asked.method == "Topology"
    return Told((TOPOLOGY,))


def config(grpc: str, url: str = f"http://{NOWHERE}", auth: Auth = NO_AUTH) -> EngineConfig:
    return EngineConfig("mine", "camunda8", url, auth=auth, grpc=grpc)


@pytest.mark.parametrize("rest_topology", [REST_TOPOLOGY, REST_TOPOLOGY_WITH_ID])
async def test_the_same_engine_has_one_fingerprint_over_both(
    nursery: trio.Nursery, rest_topology: bytes
) -> None:
    url = await serve(nursery, lambda request: rest_topology)
    grpc = await serve_grpc(nursery, topology)
    told = []
    for address, transport in ((grpc, "gRPC"), (NOWHERE, "REST")):
        engine = open_engine(config(address, url))
        told.append(await engine.probe())
        assert engine.transport == transport
        await engine.aclose()
    assert told[0] == told[1]
    nursery.cancel_scope.cancel()


async def test_rest_serves_while_grpc_does_not_answer(nursery: trio.Nursery) -> None:
    asked: list[str] = []

    def respond(request: Request) -> bytes:
        asked.append(request.target)
        return REST_TOPOLOGY if request.target == "/v2/topology" else answer(204)

    engine = open_engine(config(NOWHERE, await serve(nursery, respond)))
    assert await engine.complete(JOB, Completed()) == Settlement(Effect.APPLIED)
    assert asked == ["/v2/topology", "/v2/jobs/1/completion"]
    assert isinstance(engine, StreamingEngine)
    with pytest.raises(Unsupported, match="over REST alone; poll it"):
        async with engine.stream(TopicRequest("t"), worker_id="w"):
            pass
    await engine.aclose()
    nursery.cancel_scope.cancel()


async def test_grpc_that_comes_later_is_found(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camunda8_either, "LOOK_MS_MIN", 0)

    def respond(request: Request) -> bytes:
        return REST_TOPOLOGY if request.target == "/v2/topology" else answer(200, {"jobs": []})

    def respond_grpc(asked: Asked) -> Told:
        return topology(asked) if asked.method == "Topology" else Told()

    with socket.socket() as kept:  # bound: until the server listens there, nobody else does
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = kept.getsockname()[1]
        engine = open_engine(config(f"127.0.0.1:{port}", await serve(nursery, respond)))
        poll = VERBS["ActivateJobs"]
        for _ in range(2):
            assert await poll(engine) == [] and engine.transport == "REST"
        await serve_grpc(nursery, respond_grpc, port=port)
        assert await poll(engine) == [] and engine.transport == "gRPC"
        await engine.aclose()
    nursery.cancel_scope.cancel()


async def test_nobody_answers_at_all() -> None:
    engine = open_engine(config(NOWHERE))
    with pytest.raises(EngineUnavailable, match=r"cannot be reached.* Nor over gRPC: .*") as caught:
        await engine.probe()
    assert NOWHERE in str(caught.value)
    await engine.aclose()


async def test_credentials_go_with_every_call_and_are_renewed_once(nursery: trio.Nursery) -> None:
    tokens = iter(range(1, 9))
    accepted = "Bearer token1"

    def give(request: Request) -> bytes:
        return answer(200, {"access_token": f"token{next(tokens)}", "expires_in": 3600})

    def respond(asked: Asked) -> Told:
        return Told((TOPOLOGY,)) if asked.authorization == accepted else Told(status=16)

    url = await serve(nursery, give)
    grpc = await serve_grpc(nursery, respond)
    auth = OAuth2Auth(f"{url}/token", "me", "secret")
    engine = open_engine(config(grpc, auth=auth))
    await engine.probe()
    accepted = "Bearer token2"  # the engine forgets the first
    await engine.probe()
    accepted = "nothing that is ever issued"
    with pytest.raises(EngineRefused, match="refuses the credentials; check its auth"):
        await engine.probe()
    assert next(tokens) == 4  # one fresh try, and no loop
    await engine.aclose()
    engine = open_engine(config(grpc, auth=BearerAuth("mine")))
    with pytest.raises(EngineRefused, match="refuses the credentials"):
        await engine.probe()
    await engine.aclose()
    nursery.cancel_scope.cancel()


JUNK: dict[str, Told] = {
    "no protobuf": Told((b"\xff\xff\xff\xff",)),
    "no message": Told(),
    "two messages": Told((b"", b"")),
    "another status": Told(status=99, said="who knows"),
    "unavailable": Told(status=14),
    "not UTF-8": Told((b"\x2a\x02\xff\xfe", b"\xff")),
    "not JSON": Told((gateway_pb2.ActivateJobsResponse(
        jobs=[gateway_pb2.ActivatedJob(variables="{", customHeaders="{}")]
    ).SerializeToString(),)),
    "a list": Told((gateway_pb2.ActivateJobsResponse(
        jobs=[gateway_pb2.ActivatedJob(variables="[]", customHeaders="[]")]
    ).SerializeToString(),)),
    "deep": Told((gateway_pb2.ActivateJobsResponse(
        jobs=[gateway_pb2.ActivatedJob(variables="[" * 100_000)]
    ).SerializeToString()[:9_000],)),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
async def test_junk_raises_engine_errors_alone(verb: str, nursery: trio.Nursery) -> None:
    for name, told in JUNK.items():

        def respond(asked: Asked, told: Told = told) -> Told:
            return told if asked.method == verb else Told((TOPOLOGY,))

        engine = open_engine(config(await serve_grpc(nursery, respond)))
        settles = verb in ("UpdateJobTimeout", "CompleteJob", "FailJob", "ThrowError")
        try:
            given = await VERBS[verb](engine)
        except EngineError as error:
            assert str(error), name
        else:
            # Fields that nobody knows are no junk: an OK with one message settles a job.
            known = settles and told.status == 0 and len(told.messages) == 1
            assert known or given == [], (name, given)
        await engine.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("status", "effect"),
    [(Code.NOT_FOUND, Effect.GONE), (Code.FAILED_PRECONDITION, Effect.NOT_OURS)],
)
async def test_a_settlement_says_what_became_of_it(
    status: Code, effect: Effect, nursery: trio.Nursery
) -> None:
    def respond(asked: Asked) -> Told:
        return topology(asked) if asked.method == "Topology" else Told(status=status, said="so")

    engine = open_engine(config(await serve_grpc(nursery, respond)))
    assert await engine.complete(JOB, Completed()) == Settlement(effect, "so")
    with pytest.raises(EngineRefused, match="is no job key"):
        await engine.complete(JobRef("mine", "x", "t", "w"), Completed())
    with pytest.raises(EngineRefused, match="they are no JSON"):
        await engine.complete(JOB, Completed(Variables({"a": float("nan")})))
    await engine.aclose()
    nursery.cancel_scope.cancel()


async def test_too_much_at_once_is_told_with_a_pause(nursery: trio.Nursery) -> None:
    def respond(asked: Asked) -> Told:
        return Told(status=8, said="the request limit is exhausted")

    engine = open_engine(config(await serve_grpc(nursery, respond)))
    with pytest.raises(EngineUnavailable, match=r"Nor over gRPC: .*limit is exhausted"):
        await engine.probe()
    await engine.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("grpc", ["here", "here:", ":1", "h:0", "h:x", "u@h:1", "http://h:1", ""])
def test_an_address_that_is_none(grpc: str) -> None:
    with pytest.raises(InputError, match="is not HOST:PORT"):
        config(grpc)


def test_addresses_and_kinds() -> None:
    assert config("[::1]:26500").grpc_address() == ("::1", 26500)
    assert config("zeebe.example:26500").grpc_address() == ("zeebe.example", 26500)
    with pytest.raises(InputError, match="only Camunda 8 has gRPC"):
        EngineConfig("mine", "camunda7", "http://h:1", grpc="h:1")


def test_what_is_committed_is_what_protoc_makes(tmp_path: Path) -> None:
    folder = Path(zeebe.__file__).parent
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--python_out={tmp_path}"]
    subprocess.run([*command, f"--pyi_out={tmp_path}", str(folder / "gateway.proto")], check=True)
    made = {one.name: one.read_text().splitlines() for one in tmp_path.iterdir()}
    assert set(made) == {"gateway_pb2.py", "gateway_pb2.pyi"}
    for name, lines in made.items():
        told = (folder / name).read_text().splitlines()
        # Of two releases of protoc only the lines that name the release differ.
        different = [(a, b) for a, b in zip(told, lines, strict=True) if a != b]
        assert len(different) <= 4, (name, different)
