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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import trio
import yaml

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.topics import brokers
from gossamer_gateway.runs.stack import parts, postgres, redis
from gossamer_gateway.runs.stack.broker import start_kafka
from gossamer_gateway.runs.stack.parts import Part, StackError
from gossamer_gateway.runs.stack.relay import relay
from gossamer_gateway.runs.stack.settings import HOST, Settings, check_ports
from gossamer_gateway.runs.stack.workers import EXAMPLES, Example, LeftOut, start_worker
from gossamer_gateway.serving import listen
from gossamer_node.control import hold_folder
from gossamer_node.errors import InputError as NodeInputError
from gossamer_node.local_engines import Progress
from gossamer_node.local_engines.processes import EngineProcess, free_ports

STATE = "stack.json"


@dataclass(slots=True)
class Stack:
    """What runs, and where. `without`: parts that are left out, with why.

    Attributes:
        pid: of the program that holds all of it.
        http: URLs of the gateway, the first is its own.
    """

    pid: int
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
    settings = _with_ports(settings)
    bin_folder = None if settings.postgres else postgres.check(settings.folder / "postgres")
    settings.folder.mkdir(parents=True, exist_ok=True)
    logs = settings.folder / "logs"
    stack = Stack(os.getpid(), logs=str(logs))
    async with AsyncExitStack() as opened:
        ends = await opened.enter_async_context(Ends.watching())
        try:
            opened.enter_context(hold_folder(settings.folder))
        except NodeInputError:
            raise InputError(
                f"a stack runs in {settings.folder} already; name another folder with --dir, or "
                "end it with `gossamer stack down`."
            ) from None
        check_ports(settings)
        if bin_folder is None:
            assert settings.postgres is not None, "one or the other"
            stack.postgres = settings.postgres
        else:
            progress("starting PostgreSQL", None)
            part, stack.postgres = await opened.enter_async_context(
                postgres.start_postgres(
                    bin_folder, settings.folder / "postgres", settings.postgres_port,
                    logs / "postgres.log",
                )
            )  # fmt: skip
            ends.watch(part)
        await _start_redis(settings, stack, opened, ends, progress)
        await _start_kafka(settings, stack, opened, ends, progress)
        await _start_gateway(settings, stack, opened, ends, progress)
        await _start_workers(settings, stack, opened, ends, progress)
        state = settings.folder / STATE
        state.write_text(json.dumps(asdict(stack), indent=1), encoding="utf-8")
        opened.callback(state.unlink, missing_ok=True)
        yield stack, ends


def _with_ports(settings: Settings) -> Settings:
    """With free ports in place of zeros."""
    found = iter(free_ports(len(settings.http_ports) + 3))
    return replace(
        settings,
        http_ports=tuple(port or next(found) for port in settings.http_ports),
        kafka_port=settings.kafka_port or next(found),
        postgres_port=settings.postgres_port or next(found),
        redis_port=settings.redis_port or next(found),
    )


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


async def _start_redis(
    settings: Settings, stack: Stack, opened: AsyncExitStack, ends: Ends, progress: Progress
) -> None:
    if settings.redis is not None:
        stack.redis = settings.redis
        return
    path = redis.binary()
    if path is None:
        stack.without["Redis"] = f"states are in memory alone; to have it, {redis.OWN}"
        return
    progress("starting Redis", None)
    part, stack.redis = await opened.enter_async_context(
        redis.start_redis(
            path, settings.folder / "redis", settings.redis_port,
            settings.folder / "logs" / "redis.log",
        )
    )  # fmt: skip
    ends.watch(part)


async def _start_kafka(
    settings: Settings, stack: Stack, opened: AsyncExitStack, ends: Ends, progress: Progress
) -> None:
    if settings.kafka is not None:
        if not await brokers(Cluster(settings.kafka)):
            raise StackError(
                f"no Kafka answers at {settings.kafka}; start it, or leave out --kafka."
            )
        stack.kafka = settings.kafka
        return
    kafka = await opened.enter_async_context(
        start_kafka(progress=progress, port=settings.kafka_port, folder=settings.folder / "kafka")
    )
    stack.kafka = kafka.address
    ends.watch(kafka.process)


POSTGRES_VARIABLE = "GOSSAMER_STACK_POSTGRES"
REDIS_VARIABLE = "GOSSAMER_STACK_REDIS"


def gateway_config(settings: Settings, stack: Stack) -> dict[str, Any]:
    """The file of the gateway, without its secrets: a DSN may have a password."""
    workflows: dict[str, Any] = {"kafka": {"servers": stack.kafka.split(",")}}
    if stack.redis is not None:
        workflows["redis"] = {"env": REDIS_VARIABLE}
    return {
        "name": "stack",
        "http": f"{HOST}:{settings.http_ports[0]}",
        "grpc": f"{HOST}:0",
        "data_dir": str(settings.folder / "gateway"),
        "storage": {"postgres": {"env": POSTGRES_VARIABLE}},
        "workflows": workflows,
    }


async def _start_gateway(
    settings: Settings, stack: Stack, opened: AsyncExitStack, ends: Ends, progress: Progress
) -> None:
    progress("starting the gateway", None)
    url = f"http://{HOST}:{settings.http_ports[0]}"
    file = settings.folder / "gateway.yaml"
    text = yaml.safe_dump(gateway_config(settings, stack), sort_keys=False)
    file.write_text(text, encoding="utf-8")
    client = await opened.enter_async_context(httpx.AsyncClient(timeout=5, trust_env=False))

    async def ready() -> bool:
        try:
            return (await client.get(f"{url}/v1/health")).status_code == 200
        except httpx.HTTPError:
            return False

    command: list[str | Path] = [sys.executable, "-m", "gossamer_node", "gateway", "--config", file]
    log_path = settings.folder / "logs" / "gateway.log"
    env = {POSTGRES_VARIABLE: stack.postgres, REDIS_VARIABLE: stack.redis or ""}
    ends.watch(
        await opened.enter_async_context(
            parts.running("The gateway", command, log_path, ready, env=env)
        )
    )
    stack.http.append(url)
    relays = await opened.enter_async_context(trio.open_nursery())
    opened.callback(relays.cancel_scope.cancel)
    for port in settings.http_ports[1:]:
        # Bound before, a port that was free a moment ago is refused in a sentence.
        listener = listen(HOST, port, who="The stack", options="--http")
        listener.setblocking(False)
        streams = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        await relays.start(relay, streams, HOST, settings.http_ports[0])
        stack.http.append(f"http://{HOST}:{port}")


async def _start_workers(
    settings: Settings, stack: Stack, opened: AsyncExitStack, ends: Ends, progress: Progress
) -> None:
    if not settings.workers:
        return
    progress("building and starting the example workers", None)
    found: dict[str, Part] = {}
    workers = await opened.enter_async_context(trio.open_nursery())
    opened.callback(workers.cancel_scope.cancel)

    async def run(example: Example, settled: trio.Event) -> None:
        log_path = settings.folder / "logs" / f"worker-{example.name}.log"
        try:
            async with start_worker(
                example, stack.kafka, settings.folder / "workers", log_path
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
            ends.watch(found[one.name], lambda sentence: progress(sentence, None))


def read_state(folder: Path) -> Stack | None:
    """What was written of a stack that runs, or ran."""
    try:
        return Stack(**json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
