"""Who says what happened in a chaos run: the engine's own history, and an idempotent sink.

Neither is Gossamer. The sink is the service that every job calls: it has an effect once for each
key, as a real one has, and counts how often and from where each key came. Camunda 7 is asked for
its history. Zeebe 8.6 has nothing to ask, but exports its records; here comes what stands where it
expects an Elasticsearch, and takes them.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

INSTANCES_PER_QUERY = 500

SETTLED_S = 0.5
"""After a fault: by then the engine has answered a poll that was on its way. Nothing tells when,
as who would have read the answer is gone."""

EXPORT_S_MAX = 10.0
"""By then Zeebe has handed over its records, which it does each second. A later record
tells sooner; this is for an engine in which nothing happens any more."""

VARIABLE = "worked"
"""What the worker writes, once for each job."""


# --- the sink


@dataclass(frozen=True, slots=True)
class Execution:
    """One call of the sink: one worker that ran a job. Times are of the wall, in seconds."""

    key: str
    host: str
    began_s: float


class Sink:
    """What was asked of it.

    Attributes:
        origin: `http://HOST:PORT`.
        executions: every call, in order, answered or not.
        effects: keys that took effect: those that were answered.
    """

    def __init__(self, work_ms: int) -> None:
        self.origin = ""
        self.executions: list[Execution] = []
        self.effects: set[str] = set()
        self._work_ms = work_ms
        self._changed = trio.Event()

    def ran(self) -> Counter[str]:
        """How often each job was run."""
        return Counter(one.key for one in self.executions)

    async def effective(self, jobs: int) -> None:
        """Waits until so many jobs took effect."""
        while len(self.effects) < jobs:
            await self._changed.wait()

    async def take(self, key: str, host: str) -> None:
        """One call: some work, then the effect."""
        self.executions.append(Execution(key, host, _wall_s()))
        await trio.sleep(self._work_ms / 1_000)
        self.effects.add(key)
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def open_sink(host: str, work_ms: int) -> AsyncIterator[Sink]:
    """A sink on a free port of an address, for the length of a block."""
    sink = Sink(work_ms)
    app = QuartTrio("sink")

    @app.post("/<topic>")
    async def work(topic: str) -> str:
        await sink.take(request.headers["idempotency-key"], request.remote_addr or "")
        return topic

    async with _served(app, host) as origin:
        sink.origin = origin
        yield sink


@asynccontextmanager
async def _served(app: QuartTrio, host: str) -> AsyncIterator[str]:
    config = Config()
    config.bind = [f"{host}:0"]
    config.errorlog = None
    config.graceful_timeout = 0.1
    async with trio.open_nursery() as nursery:
        (origin,) = await nursery.start(partial(serve, app, config))
        yield origin
        nursery.cancel_scope.cancel()


# --- the engines


@dataclass(slots=True)
class Account:
    """What the engine says of one process. Times are of the wall, in seconds.

    Attributes:
        started, ended: its instances.
        completions: when a job was completed, by its key; twice is once too often.
        writes: how often `VARIABLE` was written, by instance.
        failures: jobs that failed, each try counted.
        incidents: jobs that wait for a person.
    """

    started: int = 0
    ended: int = 0
    completions: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    writes: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    incidents: int = 0


class Witness(Protocol):
    """An engine that can be asked what happened."""

    async def ended(self, process_id: str) -> int:
        """How many instances have ended; what is asked again and again."""

    async def account(self, process_id: str) -> Account:
        """All that happened."""

    async def locked(self, process_id: str, moment_s: float) -> set[str]:
        """Jobs that were locked for somebody at a moment just now (wall, seconds), by key; also
        those that the engine handed to a poll whose answer nobody read."""


class Camunda7History:
    """Camunda 7's own history, over REST.

    Args:
        url: of its REST API. It may be changed, for an engine that starts again elsewhere.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def ended(self, process_id: str) -> int:
        counted = await self._get(
            "/history/process-instance/count", processDefinitionKey=process_id, completed="true"
        )
        return int(counted["count"])

    async def account(self, process_id: str) -> Account:
        account = Account()
        instances = await self._all("/history/process-instance", processDefinitionKey=process_id)
        account.started = len(instances)
        account.ended = sum(one["state"] == "COMPLETED" for one in instances)
        log = await self._all("/history/external-task-log", processDefinitionKey=process_id)
        for one in log:
            if one["successLog"]:
                account.completions[one["externalTaskId"]].append(_seconds(one["timestamp"]))
            account.failures += one["failureLog"]
        ids = [one["id"] for one in instances]
        for at in range(0, len(ids), INSTANCES_PER_QUERY):
            asked = {"processInstanceIdIn": ids[at : at + INSTANCES_PER_QUERY]}
            for one in await self._post("/history/detail", {**asked, "variableUpdates": True}):
                if one["variableName"] == VARIABLE:
                    account.writes[one["processInstanceId"]] += 1
        incidents = await self._get("/history/incident/count", processDefinitionKey=process_id)
        account.incidents = int(incidents["count"])
        return account

    async def locked(self, process_id: str, moment_s: float) -> set[str]:
        await trio.sleep(SETTLED_S)
        # The fault struck who would have completed or unlocked them: they are all still there.
        locked = await self._get(
            "/external-task", processDefinitionKey=process_id, locked="true", maxResults="10000"
        )
        return {one["id"] for one in locked}

    async def _all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All rows in one answer: pages of rows that sort alike may repeat one and miss another."""
        count = (await self._get(f"{path}/count", **query))["count"]
        rows: list[dict[str, Any]] = await self._get(path, maxResults=str(count), **query)
        if len({one["id"] for one in rows}) != count:
            raise RuntimeError(f"{path}: {len(rows)} rows of {count}, while nothing was to happen")
        return rows

    async def _get(self, path: str, **query: str) -> Any:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            answer = await client.get(self.url + path, params=query)
        return answer.raise_for_status().json()

    async def _post(self, path: str, body: object) -> Any:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            answer = await client.post(self.url + path, json=body)
        return answer.raise_for_status().json()


class ZeebeRecords:
    """Zeebe's records, as its exporter hands them over. A record may come twice, after a restart of
    the broker: its position tells.

    Attributes:
        origin: `http://127.0.0.1:PORT`, for the exporter.
    """

    def __init__(self) -> None:
        self.origin = ""
        self._accounts: dict[str, Account] = defaultdict(Account)
        self._activated_s: dict[str, float] = {}
        self._jobs: dict[str, set[str]] = defaultdict(set)
        self._position = 0
        self._told_s = 0.0
        self._told = trio.Event()

    async def ended(self, process_id: str) -> int:
        return self._accounts[process_id].ended

    async def account(self, process_id: str) -> Account:
        return self.of(process_id)

    async def locked(self, process_id: str, moment_s: float) -> set[str]:
        with trio.move_on_after(SETTLED_S + EXPORT_S_MAX):
            while self._told_s <= moment_s + SETTLED_S:
                await self._told.wait()
        completed = self.of(process_id).completions
        return {
            key
            for key in self._jobs[process_id]
            if self._activated_s.get(key, math.inf) <= moment_s + SETTLED_S
            and not any(one <= moment_s for one in completed.get(key, ()))
        }

    def of(self, process_id: str) -> Account:
        """What came so far."""
        return self._accounts[process_id]

    def take(self, record: dict[str, Any]) -> None:
        """One record, in the order of its partition (there is one)."""
        if record["position"] <= self._position:
            return
        self._position = record["position"]
        self._told_s = record["timestamp"] / 1_000
        self._told.set()
        self._told = trio.Event()
        value, intent = record["value"], record["intent"]
        account = self._accounts[value.get("bpmnProcessId", "")]
        match record["valueType"]:
            case "JOB" if intent == "CREATED":
                self._jobs[value["bpmnProcessId"]].add(str(record["key"]))
            case "JOB_BATCH" if intent == "ACTIVATED":
                for key in value["jobKeys"]:
                    self._activated_s.setdefault(str(key), record["timestamp"] / 1_000)
            case "JOB" if intent == "COMPLETED":
                account.completions[str(record["key"])].append(record["timestamp"] / 1_000)
            case "JOB" if intent in ("FAILED", "ERROR_THROWN"):
                account.failures += 1
            case "INCIDENT" if intent == "CREATED":
                account.incidents += 1
            case "VARIABLE" if value["name"] == VARIABLE:
                account.writes[str(value["processInstanceKey"])] += 1
            case "PROCESS_INSTANCE" if value["bpmnElementType"] == "PROCESS":
                account.started += intent == "ELEMENT_ACTIVATED"
                account.ended += intent == "ELEMENT_COMPLETED"


@asynccontextmanager
async def open_records() -> AsyncIterator[ZeebeRecords]:
    """Takes an exporter's records for the length of a block."""
    records = ZeebeRecords()
    app = QuartTrio("records")
    app.config["MAX_CONTENT_LENGTH"] = 256 * 2**20

    @app.post("/_bulk")
    @app.put("/_bulk")
    async def bulk() -> Response:
        lines = (await request.get_data()).splitlines()
        for line in lines[1::2]:
            records.take(json.loads(line))
        items = [{"index": {"status": 201}} for _ in lines[1::2]]
        return _json({"took": 1, "errors": False, "items": items})

    @app.route("/", defaults={"path": ""}, methods=["GET", "HEAD", "PUT", "POST"])
    @app.route("/<path:path>", methods=["GET", "HEAD", "PUT", "POST"])
    async def other(path: str) -> Response:
        return _json({"acknowledged": True, "path": path})

    async with _served(app, "127.0.0.1") as origin:
        records.origin = origin
        yield records


def exporter(records: ZeebeRecords) -> dict[str, str]:
    """System properties that make Zeebe hand its records over."""
    name = "zeebe.broker.exporters.records"
    return {
        f"{name}.className": "io.camunda.zeebe.exporter.ElasticsearchExporter",
        f"{name}.args.url": records.origin,
        f"{name}.args.bulk.delay": "1",
        f"{name}.args.bulk.size": "2000",
        f"{name}.args.index.createTemplate": "false",
        f"{name}.args.index.jobBatch": "true",
    }


def _json(told: object) -> Response:
    # What Elasticsearch's own client looks for before it believes the answer.
    return Response(
        json.dumps(told),
        content_type="application/json",
        headers={"X-Elastic-Product": "Elasticsearch"},
    )


def _seconds(moment: str) -> float:
    return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def _wall_s() -> float:
    return datetime.now().timestamp()
