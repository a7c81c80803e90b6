"""Camunda 8 over its REST API v2, from 8.6 on.

One activation takes one job type. Nobody checks who settles a job: the engine's only question is
whether the job is still active, so a job that failed, or whose error nobody caught, answers 409
or 400 and counts as not ours any more. `retries` goes with every failure, because one left out
means 0, an incident. A job is given back by a lock time of 1 ms. Keys are 64-bit numbers on 8.6's
wire and strings inside. State can't be read back: 8.6 has no search without its exporters.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import trio

from gossamer_node.engines.camunda8_variables import from_json, to_json
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.exchange import Answer, text, whole
from gossamer_node.engines.polls import POLL_GRACE_MS, Polls
from gossamer_node.engines.port import (
    WAIT_MS_MAX,
    Capability,
    Effect,
    EngineInfo,
    ProcessInstance,
    Settlement,
    TopicRequest,
)
from gossamer_node.engines.rest import POLLS_MAX, FormFile, RestClient
from gossamer_node.errors import EngineRefused, Unsupported
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef
from gossamer_node.variables import Variables

BASE_PATH = "/v2"

RELEASE_MS = 1
"""Lock time that gives a job back; 0 is refused. Active again within half a second, measured."""

RESULT_GRACE_MS = 1_000
"""How long past `wait_ms` an awaited result may take to arrive. 8.6.0 ignores the requestTimeout
of this call and answers after 15 s (measured), so the deadline is ours."""

MESSAGE_CHARS_MAX = 8_000
"""A failure's message and details go into one text here; more than this is cut off."""

NO_VARIABLE = " "
"""Fetching an empty list of names means all of them; no variable has this name."""


class Camunda8:
    """One Camunda 8. See `port.Engine` for what each method does and raises."""

    kind: str = "camunda8"
    transport: str = "REST"
    topics_per_activation_max: int | None = 1
    capabilities: frozenset[Capability] = frozenset(
        (Capability.DEPLOY, Capability.START, Capability.START_AND_WAIT)
    )

    def __init__(self, config: EngineConfig, rest: RestClient | None = None) -> None:
        self.name = config.name
        self._tenant = config.tenant
        # Over gRPC there is no id of the cluster: what is asked over both is known by its brokers.
        self._by_brokers = config.grpc is not None
        self._rest = rest or RestClient(config, base_path=BASE_PATH)
        self._polls = Polls(self._rest.peer, POLLS_MAX)

    async def probe(self) -> EngineInfo:
        answer = await self._rest.send("GET", "/topology")
        if answer.status == 404:
            raise EngineRefused(
                f"{self._rest.peer} has no Camunda 8 REST API (404); "
                "give the gateway's REST address, without /v2."
            )
        told = self._object(answer, "tell its version")
        try:
            version = told["gatewayVersion"]
            # 8.6 has no id of the cluster: its brokers must do, as they know each other.
            brokers = [(broker["host"], broker["port"]) for broker in told["brokers"]]
        except (KeyError, TypeError) as error:
            raise self._rest.nonsense("tell its version") from error
        if not isinstance(version, str):
            raise self._rest.nonsense("tell its version")
        cluster_id = None if self._by_brokers else told.get("clusterId")
        identity = fingerprint(cluster_id, brokers, self._tenant)
        return EngineInfo(self.kind, version, identity)

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        if not topics or jobs_max <= 0:
            return []
        if len(topics) > 1:
            raise no_group(self._rest.peer, len(topics))
        (topic,) = topics
        wait_ms = min(wait_ms, WAIT_MS_MAX)
        body: dict[str, Any] = {
            "type": topic.name,
            "worker": worker_id,
            "timeout": topic.lock_ms,
            "maxJobsToActivate": jobs_max,
            # 0 would mean the server's own long poll; negative answers at once.
            "requestTimeout": wait_ms if wait_ms > 0 else -1,
        }
        if topic.variables is not None:
            body["fetchVariable"] = topic.variables or (NO_VARIABLE,)
        if self._tenant is not None:
            body["tenantIds"] = [self._tenant]

        async def poll() -> list[Job]:
            answer = await self._rest.send(
                "POST", "/jobs/activation", body=body, within_ms=wait_ms + POLL_GRACE_MS
            )
            told = self._object(answer, f"hand out jobs of {topic.name}")
            try:
                return [self._job(job, topic.lock_ms, worker_id) for job in told["jobs"]]
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise self._rest.nonsense(f"hand out jobs of {topic.name}") from error

        return await self._polls.run(poll, self.release)

    def _job(self, job: Mapping[str, Any], lock_ms: int, worker_id: str) -> Job:
        variables = from_json(job["variables"])
        tenant = text(job["tenantId"])
        return Job(
            JobRef(
                self.name,
                _key(job["jobKey"] if "jobKey" in job else job["key"]),
                text(job["type"]),
                worker_id,
                whole(job["retries"]),
                variables.types,
            ),
            variables,
            lock_ms,
            process_id=text(job["processDefinitionId"]),
            process_instance_key=_key(job["processInstanceKey"]),
            element_id=text(job["elementId"]),
            tenant=None if tenant == "<default>" else tenant,
            headers=dict(job["customHeaders"]),
        )

    async def extend(self, job: JobRef, lock_ms: int) -> Settlement:
        return await self._set_timeout(job, lock_ms)

    async def release(self, job: JobRef) -> Settlement:
        return await self._set_timeout(job, RELEASE_MS)

    async def locked_by(self, worker_id: str) -> list[JobRef] | None:
        return None  # 8.6 has no search of jobs.

    async def _set_timeout(self, job: JobRef, timeout_ms: int) -> Settlement:
        return await self._settle(job, "PATCH", "", {"changeset": {"timeout": timeout_ms}})

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        body = {"variables": to_json(outcome.variables, job.types)}
        return await self._settle(job, "POST", "/completion", body)

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        retries = (job.retries or 0) - 1 if outcome.retries is None else outcome.retries
        message = f"{outcome.message}\n{outcome.details}" if outcome.details else outcome.message
        body = {
            "retries": max(0, retries),
            "errorMessage": message[:MESSAGE_CHARS_MAX],
            "retryBackOff": max(0, outcome.backoff_ms or 0),
        }
        return await self._settle(job, "POST", "/failure", body)

    async def throw_error(self, job: JobRef, outcome: BpmnError) -> Settlement:
        body = {
            "errorCode": outcome.code,
            "errorMessage": outcome.message,
            "variables": to_json(outcome.variables, job.types),
        }
        return await self._settle(job, "POST", "/error", body)

    async def _settle(
        self, job: JobRef, method: str, verb: str, body: Mapping[str, Any]
    ) -> Settlement:
        path = f"/jobs/{quote(job.key, safe='')}{verb}"
        answer = await self._rest.send(method, path, body=body)
        if answer.status == 204:
            return Settlement(Effect.APPLIED)
        if answer.status == 404 and answer.json_object().get("title") == "NOT_FOUND":
            return Settlement(Effect.GONE, answer.sentence())
        # A job that isn't active is INVALID_STATE (409) to an outcome, and to a new lock time,
        # which can have nothing else wrong with it, INVALID_ARGUMENT (400).
        if answer.status == 409 or (answer.status == 400 and method == "PATCH"):
            return Settlement(Effect.NOT_OURS, answer.sentence())
        error = self._rest.error(answer, f"take {verb[1:] or 'lock time'} of job {job.key}")
        raise EngineRefused(str(error)) if is_too_large(answer.sentence()) else error

    async def deploy(self, resources: Mapping[str, bytes]) -> list[str]:
        doing = f"deploy {', '.join(resources)}"
        files: list[tuple[str, FormFile]] = [
            ("resources", (name, content, "application/octet-stream"))
            for name, content in resources.items()
        ]
        form = None if self._tenant is None else {"tenantId": self._tenant}
        told = self._object(
            await self._rest.send("POST", "/deployments", form=form, files=files), doing
        )
        try:
            return [
                text(deployed["processDefinition"]["processDefinitionId"])
                for deployed in told["deployments"]
                if deployed.get("processDefinition")
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise self._rest.nonsense(doing) from error

    async def start(
        self, process_id: str, *, variables: Variables, business_key: str | None = None
    ) -> str:
        if business_key is not None:
            raise no_business_key(self._rest.peer, process_id)
        doing = f"start {process_id}"
        body = self._start_body(process_id, variables)
        told = self._object(await self._rest.send("POST", "/process-instances", body=body), doing)
        try:
            return _key(told["processInstanceKey"])
        except (KeyError, TypeError) as error:
            raise self._rest.nonsense(doing) from error

    async def start_and_wait(
        self, process_id: str, *, variables: Variables, wait_ms: int
    ) -> Variables | None:
        doing = f"start {process_id} and wait for its end"
        body = self._start_body(process_id, variables)
        body |= {"awaitCompletion": True, "requestTimeout": wait_ms}
        told: dict[str, Any] | None = None
        with trio.move_on_after((wait_ms + RESULT_GRACE_MS) / 1000):
            answer = await self._rest.send(
                "POST",
                "/process-instances",
                body=body,
                within_ms=wait_ms + RESULT_GRACE_MS + POLL_GRACE_MS,
            )
            # 504: it was started, and did not end in time.
            told = None if answer.status == 504 else self._object(answer, doing)
        if told is None:
            return None
        try:
            return from_json(told["variables"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._rest.nonsense(doing) from error

    def _start_body(self, process_id: str, variables: Variables) -> dict[str, Any]:
        body: dict[str, Any] = {
            "processDefinitionId": process_id,
            "variables": to_json(variables, {}),
        }
        if self._tenant is not None:
            body["tenantId"] = self._tenant
        return body

    async def read_variables(self, instance_key: str) -> Variables:
        raise unreadable(self._rest.peer, f"the variables of instance {instance_key}")

    async def list_instances(self, process_id: str) -> list[ProcessInstance]:
        raise unreadable(self._rest.peer, f"the instances of {process_id}")

    async def aclose(self) -> None:
        await self._polls.drain()
        await self._rest.aclose()

    def _object(self, answer: Answer, doing: str) -> dict[str, Any]:
        if answer.status != 200:
            raise self._rest.error(answer, doing)
        try:
            value = answer.json()
        except ValueError as error:
            raise self._rest.nonsense(doing) from error
        if not isinstance(value, dict):
            raise self._rest.nonsense(doing)
        return value


def _key(value: object) -> str:
    # A number on 8.6, a string of digits from 8.8 on.
    return str(value) if isinstance(value, int) else text(value)


def fingerprint(cluster_id: object, brokers: list[tuple[str, int]], tenant: str | None) -> str:
    """Which Camunda 8 this is: by its cluster's id, which newer ones than 8.6 tell over REST (8.8
    does not over gRPC), or else by its brokers, which are the same over both."""
    identity = json.dumps([cluster_id or sorted(brokers), tenant])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def is_too_large(said: str) -> bool:
    """Whether an outcome was refused for its size. 8.6 says so as if it were in trouble itself, so
    that it would be told the same again and again: past 4 MB in one of two ways, and over 2 MB."""
    return any(
        words in said
        for words in (
            "EXCEEDED_BATCH_RECORD_SIZE",
            "above configured maxMessageSize",
            "message exceeds maximum size",
        )
    )


def no_group(peer: str, topics: int) -> Unsupported:
    """For an activation of several topics."""
    return Unsupported(f"{peer} activates one topic at a time, not {topics}; poll each by itself.")


def no_business_key(peer: str, process_id: str) -> Unsupported:
    """For a start with a business key."""
    return Unsupported(f"{peer} has no business keys; start {process_id} with a variable.")


def unreadable(peer: str, what: str) -> Unsupported:
    """For state that can't be read back."""
    return Unsupported(
        f"{peer} can't read back {what}; look in Operate, "
        "or start instances with their result awaited."
    )
