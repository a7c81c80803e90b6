"""Everything up in order, and down again: PostgreSQL, Redis, Kafka, the gateway, its workers.

What a person may have got wrong is looked at first. Then each part is started when those that it
needs are well; the first of them that ends by itself ends all, but for a worker, which is only
said. Down goes the other way round. All of them are under guards, so none outlives this program.
"""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import trio
import yaml

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.stack import parts, postgres, redis, there
from gossamer_gateway.runs.stack.broker import start_kafka
from gossamer_gateway.runs.stack.parts import Part, StackError
from gossamer_gateway.runs.stack.relay import relay
from gossamer_gateway.runs.stack.settings import (
    GATEWAY,
    HOST,
    Settings,
    refuse,
    taken,
    unfit_folder,
    with_ports,
)
from gossamer_gateway.runs.stack.workers import EXAMPLES, Example, LeftOut, start_worker
from gossamer_gateway.serving import listen
from gossamer_node.control import hold_folder
from gossamer_node.errors import InputError as NodeInputError
from gossamer_node.local_engines import Progress
from gossamer_node.local_engines.processes import EngineProcess

STATE = "stack.json"

STARTING, RUNNING, ENDING = "starting", "running", "ending"


@dataclass(slots=True)
class Stack:
    """What runs, and where; no password is in it. `without`: parts that are left out, with why.

    Attributes:
        pid: of the program that holds all of it.
        phase: `starting`, `running` or `ending`.
        http: URLs of the gateway, the first is its own.
    """

    pid: int
    phase: str = STARTING
    http: list[str] = field(default_factory=list)
    kafka: str = ""
    postgres: str = ""
    redis: str | None = None
    workers: list[str] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)
    logs: str = ""


@asynccontextmanager
async def open_stack(settings: Settings, progress: Progress) -> AsyncIterator[tuple[Stack, "Ends"]]:
    """Starts all of it; leaving the block stops it in good order.

    Raises: InputError for whatever a person must mend, and nothing was started; StackError or
        LocalEngineError when a part did not start, and nothing runs any more.
    """
    settings = with_ports(settings)
    problems = [*there.unreadable(settings), *unfit_folder(settings.folder)]
    if settings.postgres is None:
        problems += postgres.unfit(settings.folder / "postgres")
    refuse(problems)
    stack = Stack(os.getpid(), logs=str(settings.folder / "logs"))
    async with AsyncExitStack() as opened:
        ends = await opened.enter_async_context(Ends.watching())
        try:
            opened.enter_context(hold_folder(settings.folder))
        except NodeInputError:
            raise InputError(
                f"a stack runs in {settings.folder} already; name another folder with --dir, or "
                "end it with `gossamer stack down`."
            ) from None

        def tell(phase: str) -> None:
            stack.phase = phase
            _write_state(settings.folder, stack)

        opened.callback((settings.folder / STATE).unlink, missing_ok=True)
        tell(STARTING)
        refuse([*taken(settings), *await there.unfit(settings)])
        rising = _Rising(settings, stack, opened, ends, progress)
        await rising.postgres()
        await rising.redis()
        await rising.kafka()
        await rising.gateway()
        await rising.workers()
        tell(RUNNING)
        opened.callback(tell, ENDING)
        yield stack, ends


class Ends:
    """Waits for the first part that ends by itself."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._said: list[str] = []
        self._told = trio.Event()

    @staticmethod
    @asynccontextmanager
    async def watching() -> AsyncIterator["Ends"]:
        async with trio.open_nursery() as nursery:
            yield Ends(nursery)
            nursery.cancel_scope.cancel()

    def watch(
        self, part: "Part | EngineProcess", told: Callable[[str], None] | None = None
    ) -> None:
        """Its end is everybody's, or is only told."""
        self._nursery.start_soon(self._watch, part, told)

    async def wait(self) -> str:
        """A sentence about it."""
        await self._told.wait()
        return self._said[0]

    async def _watch(
        self, part: "Part | EngineProcess", told: Callable[[str], None] | None
    ) -> None:
        sentence = await part.wait_ended()
        if told is not None:
            told(sentence)
        else:
            self._said.append(sentence)
            self._told.set()


POSTGRES_VARIABLE = "GOSSAMER_STACK_POSTGRES"
REDIS_VARIABLE = "GOSSAMER_STACK_REDIS"


OVERRULED = frozenset(
    {
        "GOSSAMER_NAME",
        "GOSSAMER_HTTP",
        "GOSSAMER_GRPC",
        "GOSSAMER_DATA_DIR",
        "GOSSAMER_STORAGE_POSTGRES",
        "GOSSAMER_WORKFLOWS_KAFKA_SERVERS",
        "GOSSAMER_WORKFLOWS_REDIS",
        "GOSSAMER_TLS_CERT_FILE",
        "GOSSAMER_TLS_KEY_FILE",
        "GOSSAMER_TLS_CLIENT_CA",
    }
)
"""Variables by which a gateway is told what the stack tells it itself; they would win over its
file. All others reach it: they are how its other settings are set."""

OFFERED_VARIABLE = "GOSSAMER_WORKFLOWS_OFFERED"


def gateway_config(settings: Settings, stack: Stack) -> dict[str, Any]:
    """The file of the gateway, without its secrets: a DSN may have a password."""
    workflows: dict[str, Any] = {"kafka": {"servers": stack.kafka.split(",")}}
    if stack.redis is not None:
        workflows["redis"] = {"env": REDIS_VARIABLE}
    if settings.offered:
        workflows["offered"] = list(settings.offered)
    return {
        "name": "stack",
        "http": f"{HOST}:{settings.http_ports[0]}",
        "grpc": f"{HOST}:0",
        "data_dir": str(settings.folder / GATEWAY),
        "storage": {"postgres": {"env": POSTGRES_VARIABLE}},
        "workflows": workflows,
    }


@dataclass(slots=True)
class _Rising:
    """A stack on its way up. What it starts is ended by `opened`, in the other order.

    Attributes:
        secrets: environment of the gateway.
    """

    settings: Settings
    stack: Stack
    opened: AsyncExitStack
    ends: Ends
    progress: Progress
    secrets: dict[str, str] = field(default_factory=dict)

    def log(self, name: str) -> Path:
        return self.settings.folder / "logs" / f"{name}.log"

    def ends_with(self, part: "Part | EngineProcess", what: str) -> None:
        """It is up. Its end is everybody's; on the way down a person sees that it is at it."""
        self.ends.watch(part)
        self.opened.callback(self.progress, f"stopping {what}", None)

    async def postgres(self) -> None:
        dsn = self.settings.postgres
        if dsn is None:
            self.progress("starting PostgreSQL", None)
            found = postgres.binaries()
            assert found is not None, "it was looked for"
            part, made = await self.opened.enter_async_context(
                postgres.start_postgres(
                    found, self.settings.folder / "postgres", self.settings.postgres_port,
                    self.log("postgres"),
                )
            )  # fmt: skip
            self.ends_with(part, "PostgreSQL")
            dsn = made
        self.secrets[POSTGRES_VARIABLE] = dsn
        self.stack.postgres = there.shown(dsn)

    async def redis(self) -> None:
        url = self.settings.redis
        if url is None:
            path = redis.binary()
            if path is None:
                self.stack.without["Redis"] = f"states are in memory alone; to have it, {redis.OWN}"
                return
            self.progress("starting Redis", None)
            part, made = await self.opened.enter_async_context(
                redis.start_redis(
                    path, self.settings.folder / "redis", self.settings.redis_port,
                    self.log("redis"),
                )
            )  # fmt: skip
            self.ends_with(part, "Redis")
            url = made
        self.secrets[REDIS_VARIABLE] = url
        self.stack.redis = there.shown(url)

    async def kafka(self) -> None:
        if self.settings.kafka is not None:
            self.stack.kafka = ",".join(one.strip() for one in self.settings.kafka.split(","))
            return
        kafka = await self.opened.enter_async_context(
            start_kafka(
                progress=self.progress,
                port=self.settings.kafka_port,
                folder=self.settings.folder / "kafka",
            )
        )
        self.stack.kafka = kafka.address
        self.ends_with(kafka.process, "Kafka")

    async def gateway(self) -> None:
        self.progress("starting the gateway", None)
        settings, stack = self.settings, self.stack
        url = f"http://{HOST}:{settings.http_ports[0]}"
        file = settings.folder / "gateway.yaml"
        text = yaml.safe_dump(gateway_config(settings, stack), sort_keys=False)
        file.write_text(text, encoding="utf-8")
        client = await self.opened.enter_async_context(
            httpx.AsyncClient(timeout=5, trust_env=False)
        )

        async def ready() -> bool:
            try:
                return (await client.get(f"{url}/v1/health")).status_code == 200
            except httpx.HTTPError:
                return False

        command: list[str | Path] = [
            sys.executable, "-m", "gossamer_node", "gateway", "--config", file
        ]  # fmt: skip
        overruled = OVERRULED | ({OFFERED_VARIABLE} if settings.offered else set())
        part = await self.opened.enter_async_context(
            parts.running(
                "The gateway", command, self.log("gateway"), ready,
                env=self.secrets, without=overruled,
            )
        )  # fmt: skip
        self.ends_with(part, "the gateway")
        stack.http.append(url)
        relays = await self.opened.enter_async_context(trio.open_nursery())
        self.opened.callback(relays.cancel_scope.cancel)
        for port in settings.http_ports[1:]:
            # Bound before, a port that was free a moment ago is refused in a sentence.
            listener = listen(HOST, port, who="The stack", options="--http")
            listener.setblocking(False)
            streams = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
            await relays.start(relay, streams, HOST, settings.http_ports[0])
            stack.http.append(f"http://{HOST}:{port}")

    async def workers(self) -> None:
        settings, stack = self.settings, self.stack
        found: dict[str, Part] = {}
        workers = await self.opened.enter_async_context(trio.open_nursery())
        self.opened.callback(workers.cancel_scope.cancel)
        if settings.workers:
            self.opened.callback(self.progress, "stopping the workers", None)

        async def run(example: Example, settled: trio.Event) -> None:
            log_path = self.log(f"worker-{example.name}")
            try:
                async with start_worker(
                    example, stack.kafka, settings.folder / "workers", log_path, self.progress
                ) as part:
                    found[example.name] = part
                    settled.set()
                    await trio.sleep_forever()
            except (LeftOut, StackError) as error:
                stack.without[f"the {example.name} worker"] = str(error)
            finally:
                settled.set()

        wanted = [(one, trio.Event()) for one in EXAMPLES if one.name in settings.workers]
        for one, settled in wanted:
            workers.start_soon(run, one, settled)
        for one, settled in wanted:
            await settled.wait()
            if one.name in found:
                stack.workers.append(one.name)
                self.ends.watch(found[one.name], lambda sentence: self.progress(sentence, None))


def _write_state(folder: Path, stack: Stack) -> None:
    whole = folder / f"{STATE}.new"
    whole.write_text(json.dumps(asdict(stack), indent=1), encoding="utf-8")
    whole.replace(folder / STATE)  # who reads it has all of it


def read_state(folder: Path) -> Stack | None:
    """What was written of a stack that runs, or ran."""
    try:
        return Stack(**json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
