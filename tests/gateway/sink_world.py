"""A real Zeebe whose exporter posts to a real sink, and what drives processes in it.

`python -m tests.gateway.sink_world` runs the orders of `play` and records the bulks that came, line
by line, in `sink_records.ndjson.gz`.
"""

import functools
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio
from tests.conftest import engine_for_session
from tests.patience import until

from gossamer_gateway import tables
from gossamer_gateway.errors import StorageFailed
from gossamer_gateway.sink.bulk import BODY_BYTES_MAX, create_blueprint
from gossamer_gateway.sink.reading import View, look
from gossamer_gateway.sink.store import Taken
from gossamer_gateway.storage import SqlitePlace, Storage, open_storage
from gossamer_gateway.storage.port import Command
from gossamer_node.local_engines import Progress, RunningZeebe, silent, start_zeebe

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "sink_records.ndjson.gz"
PROCESSES = HERE / "sink_order.bpmn"
ENGINE = "new"

T = TypeVar("T")

EXPORTER: Mapping[str, str] = {
    "className": "io.camunda.zeebe.exporter.ElasticsearchExporter",
    "args.bulk.delay": "1",
    "args.index.jobBatch": "true",
}
"""What is set of the exporter, below `zeebe.broker.exporters.gossamer`."""

NOTHING: Mapping[str, str] = {}


@dataclass
class Sink:
    """A sink that listens.

    Attributes:
        away: while it is set, the storage refuses what comes.
        refused: how many bulks it refused.
        answered: how many requests had their answer.
        asked: method and path of each request.
        authorized: what requests had in their Authorization.
        bodies: of the requests, where they are recorded.
    """

    url: str
    storage: Storage
    away: bool = False
    refused: int = 0
    answered: int = 0
    taken: list[Taken] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    authorized: set[bytes | None] = field(default_factory=set)
    bodies: list[bytes] | None = None

    async def submit(self, command: Command[T], /) -> T:
        if self.away:
            self.refused += 1
            raise StorageFailed("The file could not be written: it is away")
        return await self.storage.submit(command)


@asynccontextmanager
async def sinking(
    storage: Storage, *engines: str, bodies: list[bytes] | None = None
) -> AsyncIterator[Sink]:
    """Serves a sink on a free port for the length of a block."""
    app = QuartTrio("sink")
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX
    sink = Sink("", storage, bodies=bodies)
    app.register_blueprint(
        create_blueprint(
            sink.submit, engines or (ENGINE,), lambda _name, one: sink.taken.append(one)
        )
    )

    async def recording(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        sink.asked.append(f"{scope['method']} {scope['path']}")
        sink.authorized.add(dict(scope["headers"]).get(b"authorization"))
        pieces: list[bytes] = []

        async def heard() -> Any:
            event = await receive()
            pieces.append(event.get("body", b""))
            return event

        await app(scope, heard, send)
        sink.answered += 1
        if sink.bodies is not None and scope["path"] == "/_bulk":
            sink.bodies.append(b"".join(pieces))

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(
            functools.partial(serve, recording, config, shutdown_trigger=stop.wait, mode="asgi")
        )
        sink.url = url
        try:
            yield sink
        finally:
            stop.set()


@asynccontextmanager
async def zeebe_exporting(
    sink: Sink,
    progress: Progress = silent,
    exporter: Mapping[str, str] = EXPORTER,
    properties: Mapping[str, str] = NOTHING,
) -> AsyncIterator[RunningZeebe]:
    """Runs a Zeebe that exports to a sink."""
    settings = {**exporter, "args.url": sink.url}
    exporting = {
        f"zeebe.broker.exporters.gossamer.{name}": value for name, value in settings.items()
    }
    async with start_zeebe(progress=progress, properties={**exporting, **properties}) as zeebe:
        yield zeebe


@dataclass
class ZeebeWithSink:
    """Both, in a loop of their own."""

    zeebe: RunningZeebe
    sink: Sink
    token: trio.lowlevel.TrioToken

    async def there(self, function: Callable[[], Awaitable[T]]) -> T:
        """Calls a function in that loop, out of a test's."""
        return await trio.to_thread.run_sync(
            lambda: trio.from_thread.run(function, trio_token=self.token)
        )

    async def view(self, question: Callable[[View], T]) -> T | None:
        """What the sink answers; None where it knows nothing."""

        def ask(rows: Any, now_ms: int) -> T | None:
            view = look(rows, ENGINE, now_ms)
            return None if view is None else question(view)

        return await self.there(lambda: self.sink.storage.submit(ask))


@asynccontextmanager
async def _both(progress: Progress) -> AsyncIterator[ZeebeWithSink]:
    async with (
        open_storage(SqlitePlace(None), tables.FORM) as storage,
        sinking(storage) as sink,
        zeebe_exporting(sink, progress) as zeebe,
    ):
        yield ZeebeWithSink(zeebe, sink, trio.lowlevel.current_trio_token())


@pytest.fixture(scope="session")
def zeebe_with_sink(request: pytest.FixtureRequest) -> Iterator[ZeebeWithSink]:
    """A real Zeebe with the exporter turned on, that the tests of the sink share."""
    yield from engine_for_session(request, _both)


class Driver:
    """Calls a Zeebe's REST API. Names are made unique, so that tests don't meet."""

    def __init__(self, client: httpx.AsyncClient, mark: str) -> None:
        self._client = client
        self.mark = mark

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = await self._client.post(path, json=body)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def deploy(self) -> dict[str, int]:
        """The processes of `sink_order.bpmn` under names of their own → their keys."""
        xml = PROCESSES.read_text()
        for name in ("order", "payment"):
            xml = xml.replace(f'process id="{name}"', f'process id="{self.mark}{name}"')
        xml = xml.replace('processId="payment"', f'processId="{self.mark}payment"')
        xml = xml.replace('process id="inquiry"', f'process id="{self.mark}inquiry"')
        for name in ("reserve", "charge", "answer"):
            xml = xml.replace(f'Definition type="{name}"', f'Definition type="{self.mark}{name}"')
        for name in ("paid", "inquiry"):
            xml = xml.replace(
                f'id="m-{name}" name="{name}"', f'id="m-{name}" name="{self.mark}{name}"'
            )
        files = {"resources": ("order.bpmn", xml.encode())}
        answer = await self._client.post("/deployments", files=files)
        assert answer.is_success, answer.text
        return {
            told["processDefinition"]["processDefinitionId"].removeprefix(self.mark): told[
                "processDefinition"
            ]["processDefinitionKey"]
            for told in answer.json()["deployments"]
        }

    async def start(self, **variables: Any) -> int:
        told = await self._post(
            "/process-instances",
            {"processDefinitionId": f"{self.mark}order", "variables": variables},
        )
        return int(told["processInstanceKey"])

    async def job(self, kind: str) -> int:
        body = {"type": self.mark + kind, "timeout": 600_000, "maxJobsToActivate": 1,
                "worker": "ada", "requestTimeout": 30_000}  # fmt: skip
        told = await self._post("/jobs/activation", body)
        return int(told["jobs"][0]["key"])

    async def complete(self, kind: str, **variables: Any) -> None:
        await self._post(f"/jobs/{await self.job(kind)}/completion", {"variables": variables})

    async def fail(self, kind: str, *, retries: int, message: str, back_off_ms: int = 0) -> int:
        key = await self.job(kind)
        body = {"retries": retries, "errorMessage": message, "retryBackOff": back_off_ms}
        await self._post(f"/jobs/{key}/failure", body)
        return key

    async def throw(self, kind: str, code: str, message: str = "") -> None:
        key = await self.job(kind)
        await self._post(f"/jobs/{key}/error", {"errorCode": code, "errorMessage": message})

    async def publish(self, name: str, correlation: str, **variables: Any) -> None:
        body = {"name": self.mark + name, "correlationKey": correlation, "timeToLive": 30_000,
                "variables": variables}  # fmt: skip
        await self._post("/messages/publication", body)

    async def cancel(self, instance: int) -> None:
        await self._post(f"/process-instances/{instance}/cancellation", {})

    async def set_variables(self, scope: int, **variables: Any) -> None:
        answer = await self._client.put(
            f"/element-instances/{scope}/variables", json={"variables": variables}
        )
        assert answer.is_success, answer.text

    async def set_retries(self, job: int, retries: int) -> None:
        answer = await self._client.patch(f"/jobs/{job}", json={"changeset": {"retries": retries}})
        assert answer.is_success, answer.text

    async def resolve(self, incident: int) -> None:
        await self._post(f"/incidents/{incident}/resolution", {})


@asynccontextmanager
async def driving(zeebe: RunningZeebe, mark: str = "") -> AsyncIterator[Driver]:
    async with httpx.AsyncClient(base_url=f"{zeebe.url}/v2", timeout=60, trust_env=False) as client:
        yield Driver(client, mark)


async def play(driver: Driver) -> dict[str, int]:
    """Orders that go every way there is. Returns their keys, by what becomes of them."""
    await driver.deploy()
    orders = {"waits": await driver.start(order="a", note="ö" * 20_000)}
    await driver.complete("reserve", room=7)
    await driver.complete("charge", charged=True)
    orders["stuck"] = await driver.start(order="b")
    await driver.fail("reserve", retries=0, message="no rooms today")
    orders["refused"] = await driver.start(order="c")
    await driver.fail("reserve", retries=1, message="later", back_off_ms=100)
    await driver.throw("reserve", "NONE")
    orders["thrown"] = await driver.start(order="d")
    await driver.throw("reserve", "OTHER", "what is this")
    orders["cancelled"] = await driver.start(order="e")
    await driver.cancel(orders["cancelled"])
    orders["waited and cancelled"] = await driver.start(order="f")
    await driver.complete("reserve")
    await driver.complete("charge")
    await driver.cancel(orders["waited and cancelled"])
    orders["stuck and cancelled"] = await driver.start(order="g")
    await driver.fail("reserve", retries=0, message="no more")
    await driver.cancel(orders["stuck and cancelled"])
    orders["paid"] = await driver.start(order="h")
    await driver.complete("reserve")
    await driver.complete("charge")
    await driver.publish("paid", "h", by="card")
    await driver.publish("inquiry", "", about="b")
    orders["in hand"] = await driver.start(order="i")
    await driver.set_variables(orders["in hand"], order="changed")
    await driver.job("reserve")
    return orders


async def _record() -> None:
    bodies: list[bytes] = []
    async with (
        open_storage(SqlitePlace(None), tables.FORM) as storage,
        sinking(storage, bodies=bodies) as sink,
        zeebe_exporting(sink) as zeebe,
        driving(zeebe) as driver,
    ):
        orders = await play(driver)
        await until(
            lambda: (
                b'"order":"changed"' in b"".join(bodies)
                or b'"value":"\\"changed\\""' in b"".join(bodies)
            )
        )
        await until(lambda: b"JOB_BATCH" in bodies[-1])
    lines = b"".join(bodies)
    with gzip.GzipFile(RECORDED, "wb", mtime=0) as file:
        file.write(json.dumps(orders).encode() + b"\n" + lines)
    print(f"{lines.count(b'valueType')} records in {len(bodies)} bulks: {RECORDED.name}")


def recorded() -> tuple[dict[str, int], bytes]:
    """What `play` did, and the lines that the exporter sent."""
    orders, _, lines = gzip.decompress(RECORDED.read_bytes()).partition(b"\n")
    return json.loads(orders), lines


if __name__ == "__main__":
    trio.run(_record)
