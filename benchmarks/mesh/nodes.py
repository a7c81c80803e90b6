"""Light nodes: the real driver, the real leasing and the real engine adapter, without WebAssembly.

A node is a process of its own, made by fork, with one service on one topic. Its worker is a Python
function that says when a job starts and ends it when it is told to (or at once). Kills are SIGKILL.
What happens in it comes through a pipe with moments of the machine's monotonic clock.
"""

import json
import logging
import multiprocessing
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

import trio

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_node import logs
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.jobs import Completed, Job, Outcome
from gossamer_node.service.spec import ServiceSpec, Topic
from gossamer_node.wasm import JobContext
from gossamer_node.work.executing import Executor
from gossamer_node.work.leasing import Leasing

ENGINE = "bench"
PATIENCE_S = 120.0

_BPMN = """<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d" targetNamespace="http://bench">
  <process id="{id}" isExecutable="true" camunda:historyTimeToLive="P1D">
    <startEvent id="start"/>{tasks}<endEvent id="end"/>{flows}
  </process>
</definitions>"""


def bpmn(process_id: str, topic: str, tasks: int) -> bytes:
    """A process of external tasks in a row."""
    steps = ["start", *(f"t{number}" for number in range(tasks)), "end"]
    return _BPMN.format(
        id=process_id,
        tasks="".join(
            f'<serviceTask id="{one}" camunda:type="external" camunda:topic="{topic}"/>'
            for one in steps[1:-1]
        ),
        flows="".join(
            f'<sequenceFlow id="f{number}" sourceRef="{one}" targetRef="{steps[number + 1]}"/>'
            for number, one in enumerate(steps[:-1])
        ),
    ).encode()


@contextmanager
def embedded_engine(folder: Path) -> Iterator[str]:
    """Gossamer's own engine as a process; gives its URL."""
    command = [sys.executable, "-m", "gossamer_node", "engine", "--port", "0"]
    with (folder / "engine.log").open("a") as log:
        process = subprocess.Popen(
            [*command, "--data", str(folder / "engine.sqlite")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"no engine: {(folder / 'engine.log').read_text()[-2_000:]}")
        yield json.loads(line)["url"]
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def engine_at(url: str) -> Engine:
    """The Camunda 7 adapter for it."""
    return open_engine(EngineConfig(name=ENGINE, kind="camunda7", url=url))


def spec(topic: str, lock_ms: int, on_lost: Literal["regrant", "wait"] = "regrant") -> ServiceSpec:
    """A service that works on one topic."""
    return ServiceSpec(
        path=Path("service.yaml"),
        name="bench",
        version="1.0.0",
        topics=(Topic(topic, lock_ms=lock_ms),),
        concurrency=1_000,
        on_holder_lost=on_lost,
    )


@dataclass(slots=True)
class Settings:
    """How one node runs.

    Attributes:
        make_engine: called in the node's own process.
        serves: whether it works, or only claims.
        holds_jobs: workers end a job only when told `finish`; else at once.
    """

    topic: str
    make_engine: Callable[[], Engine]
    slots: int = 4
    serves: bool = True
    claims: bool = True
    holds_jobs: bool = True
    lock_ms: int = 30_000


class Worker:
    """Says when a job starts; ends it when told to."""

    def __init__(self, say: Callable[[str, Any], None], holds_jobs: bool) -> None:
        self._say = say
        self._holds = holds_jobs
        self._finish = trio.Event()

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        del deadline_ms, context
        self._say("started", job.ref.key)
        if self._holds:
            await self._finish.wait()
        return Completed()

    def finish(self) -> None:
        """Ends all that run."""
        self._finish.set()
        self._finish = trio.Event()


@dataclass(slots=True)
class Node:
    """A node's process as its parent sees it."""

    id: str
    pipe: Connection
    process: Any
    address: tuple[str, int] | None = None
    members: int = 0
    claimer: str = ""
    status: dict[str, Any] | None = None


@dataclass(slots=True)
class Said:
    """Something that happened on a node."""

    node: str
    kind: str
    value: Any
    at_s: float


@dataclass
class Nodes:
    """A mesh of light nodes. Use as a context: its end kills what runs."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    nodes: dict[str, Node] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    alone: bool = False
    """Whether every node is a mesh of its own: independent pollers."""

    def __enter__(self) -> "Nodes":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for node in self.nodes.values():
            node.process.kill()
            node.process.join()
            node.pipe.close()

    def start(self, settings: Settings) -> Node:
        """One more node; returns when it runs."""
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        identity = Identity.generate()
        seeds = [one.address for one in self.nodes.values() if one.address][:2]
        config = MeshConfig(
            identity=identity,
            keyring=Keyring((self.key,)),
            seeds=() if self.alone else tuple(one for one in seeds if one is not None),
            mesh_name=identity.node_id if self.alone else "bench",
        )
        process = context.Process(target=_run_node, args=(there, config, settings), daemon=True)
        process.start()
        there.close()
        node = Node(identity.node_id, here, process)
        self.nodes[node.id] = node
        self.until(lambda: node.address is not None)
        return node

    def agree(self) -> str:
        """Waits until all see each other and one claimer; returns its id."""
        count = len(self.nodes)

        def agreed() -> bool:
            claimers = {one.claimer for one in self.nodes.values()}
            seen = all(one.members == count for one in self.nodes.values())
            return seen and len(claimers) == 1 and claimers <= set(self.nodes)

        self.until(agreed)
        return next(iter(self.nodes.values())).claimer

    def kill(self, id: str) -> float:
        """SIGKILL; returns the moment."""
        node = self.nodes.pop(id)
        at_s = time.monotonic()
        os.kill(node.process.pid, signal.SIGKILL)
        node.process.join()
        node.pipe.close()
        return at_s

    def tell(self, order: str) -> None:
        """To all: `finish` or `status`."""
        for node in self.nodes.values():
            node.status = None
            node.pipe.send(order)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """What each node's leasing says of itself, and its CPU."""
        self.tell("status")
        self.until(lambda: all(one.status is not None for one in self.nodes.values()))
        return {one.id: one.status or {} for one in self.nodes.values()}

    def listen(self, within_s: float) -> None:
        """Takes what is said, once."""
        pipes = {one.pipe: one for one in self.nodes.values()}
        for pipe in wait(list(pipes), within_s):
            assert isinstance(pipe, Connection)
            node = pipes[pipe]
            try:
                kind, value, at_s = pipe.recv()
            except EOFError:
                raise RuntimeError(f"node {node.id} ended by itself") from None
            if kind in ("address", "members", "claimer", "status"):
                setattr(node, kind, value)
            self.said.append(Said(node.id, kind, value, at_s))

    def until(self, done: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        """Listens until it is so.

        Raises:
            TimeoutError: it is not.
        """
        end_s = time.monotonic() + within_s
        while not done():
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"not so within {within_s:.0f} s")
            self.listen(left_s)

    def first(self, kind: str, value: Any, after_s: float, by: str | None = None) -> float | None:
        """When this was first said after a moment (by one node or any), in seconds after it."""
        for one in self.said:
            said = (one.kind, one.value) == (kind, value) and by in (None, one.node)
            if said and one.at_s >= after_s:
                return one.at_s - after_s
        return None


class _Overhear(logging.Handler):
    """Takes from the log who died and who claims."""

    def __init__(self, say: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        if record.getMessage() == "member" and fields.get("change") == "died":
            self._say("died", fields["id"])
        elif record.getMessage() == "claimer":
            self._say("claimer", fields["member"])


def _run_node(pipe: Connection, config: MeshConfig, settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(_node, pipe, config, settings)


async def _node(pipe: Connection, config: MeshConfig, settings: Settings) -> None:
    def say(kind: str, value: Any) -> None:
        pipe.send((kind, value, time.monotonic()))

    logs.setup("json", "info")
    logging.getLogger().handlers[:] = [_Overhear(say)]
    worker = Worker(say, settings.holds_jobs)
    workers = [(spec(settings.topic, settings.lock_ms), worker)] if settings.serves else []
    engine = settings.make_engine()
    async with open_mesh(config) as mesh, trio.open_nursery() as nursery:
        leasing = Leasing(
            mesh, {ENGINE: engine}, Executor(workers), slots=settings.slots, claims=settings.claims
        )
        await nursery.start(leasing.run)
        say("address", mesh.address)
        nursery.start_soon(_obey, pipe, worker, leasing, say)
        members = 0
        while True:
            if len(mesh.members()) != members:
                members = len(mesh.members())
                say("members", members)
            await trio.sleep(0.05)


async def _obey(
    pipe: Connection, worker: Worker, leasing: Leasing, say: Callable[[str, Any], None]
) -> None:
    while True:
        await trio.lowlevel.wait_readable(pipe.fileno())
        if pipe.recv() == "finish":
            worker.finish()
        else:
            say("status", {**leasing.status(), "cpu_s": time.process_time()})
