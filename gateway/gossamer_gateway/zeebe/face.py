"""The gateway service: reads a message, finds its operation and its engine, sends the answer.

A call that goes to the Camunda 8 goes there in the client's own bytes when that has gRPC, fields
that nobody here knows included, and through the form of REST where it has not. A method that stands
in no table here goes to the Camunda 8, too.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import httpx
from google.protobuf.message import DecodeError

from gossamer_gateway.camunda8 import activation, instances, topology
from gossamer_gateway.camunda8.fields import Json
from gossamer_gateway.camunda8.operations import CREATE_INSTANCE, DEPLOY
from gossamer_gateway.camunda8.places import Request
from gossamer_gateway.camunda8.refusals import EXPECTED, of_error
from gossamer_gateway.desk import Desk
from gossamer_gateway.door.asking import check_process
from gossamer_gateway.grpc.server import ANY, Asked, Handler
from gossamer_gateway.upstreams.rpc import call
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.zeebe import forms, streams
from gossamer_gateway.zeebe.forms import FORMS, Form
from gossamer_node.engines.exchange import Answer
from gossamer_node.engines.rest import ANSWER_MS_MAX
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.errors import EngineUnavailable
from gossamer_node.grpc import Code, RpcError

log = logging.getLogger("gossamer.gateway")

SERVICE = "/gateway_protocol.Gateway/"

MESSAGE_JOBS_MAX = 64
"""Jobs in one message of an activation: Zeebe cuts its answers, too."""

MESSAGE_BYTES = 2**20
"""A message of an activation is closed once it is as large as this."""


def methods(desk: Desk) -> Mapping[str, Handler]:
    """The gateway service's methods, by their paths."""
    face = _Face(desk)
    table: dict[str, Callable[[Asked], Awaitable[None]]] = {
        SERVICE + name: partial(face.operate, form) for name, form in FORMS.items()
    }
    table[SERVICE + "ActivateJobs"] = face.activate
    table[SERVICE + "StreamActivatedJobs"] = face.stream
    table[SERVICE + "Topology"] = face.topology
    table[ANY] = face.other
    return {path: partial(_guarded, handler) for path, handler in table.items()}


async def _guarded(handler: Handler, asked: Asked) -> None:
    try:
        await handler(asked)
    except EXPECTED as error:
        refused = of_error(error)
        raise RpcError(refused.code, str(refused)) from error


class _Face:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def operate(self, form: Form, asked: Asked) -> None:
        """A method with one answer."""
        message = forms.read(form.request, asked.request)
        request = forms.request_of(form, message, _headers(asked))
        place = await form.operation.place(self._desk, request)
        check_process(place.process)
        if not place.is_eight:
            answer = await form.operation.seven(self._desk, place, request)
        elif place.engine.channel is not None:
            fields = request.body
            wait_ms = fields.number("requestTimeout") if fields.flag("awaitCompletion") else 0
            told = await _forward(place.engine, asked, wait_ms)
            if form.operation is CREATE_INSTANCE:
                await _keep(self._desk, place.engine, told)
            for one in told:
                await asked.send(one)
            return
        else:
            answer = await _by_rest(place.engine, form, message, request)
            try:
                await asked.send(form.answer(answer).SerializeToString())
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise place.engine.rest.nonsense(asked.path) from error
            return
        await asked.send(form.answer(answer or {}).SerializeToString())

    async def activate(self, asked: Asked) -> None:
        """Jobs, in as many messages as they need."""
        message = forms.read(zeebe.ActivateJobsRequest, asked.request)
        if not message.type.strip() or message.timeout <= 0 or message.maxJobsToActivate <= 0:
            return  # 8.6 finds no jobs then
        wanted = activation.read_wanted_message(self._desk, message)
        jobs_max = min(activation.JOBS_MAX, message.maxJobsToActivate)
        jobs = await activation.activate(wanted, jobs_max, message.requestTimeout)
        ends: list[int] = []  # of each message, the number of jobs up to it
        try:
            part = zeebe.ActivateJobsResponse()
            for number, (_, job) in enumerate(jobs, 1):
                part.jobs.append(forms.message_of(job.told))
                is_full = len(part.jobs) >= MESSAGE_JOBS_MAX or part.ByteSize() >= MESSAGE_BYTES
                if is_full or number == len(jobs):
                    ends.append(number)
                    await asked.send(part.SerializeToString())
                    part = zeebe.ActivateJobsResponse()
            await asked.wait_left()
        finally:
            told = ends[asked.left - 1] if asked.left else 0
            if late := jobs[told:]:
                self._desk.polling.hand_back(wanted, late)

    async def stream(self, asked: Asked) -> None:
        """Jobs, as long as the client likes."""
        message = forms.read(zeebe.StreamActivatedJobsRequest, asked.request)
        streams.check(message)
        await streams.JobStream(self._desk, asked, message).run()

    async def other(self, asked: Asked) -> None:
        """What nobody here knows."""
        check_process(None)
        eight = self._desk.engines.eight
        if eight is None or eight.channel is None:
            raise RpcError(Code.UNIMPLEMENTED, f"{asked.path} is not served here")
        for one in await _forward(eight, asked):
            await asked.send(one)

    async def topology(self, asked: Asked) -> None:
        """The cluster."""
        eight = self._desk.engines.eight
        told = topology.own(self._desk)
        if eight is not None:
            try:
                if eight.channel is not None:
                    for one in await _forward(eight, asked):
                        await asked.send(one)
                    return
                answer = await eight.ask("GET", "/v2/topology")
                told = answer.json_object() if answer.status == 200 else told
            except (RpcError, EngineUnavailable) as error:
                log.debug("the topology is the gateway's own: %s", error)
                told = topology.own(self._desk)
        await asked.send(forms.topology(told).SerializeToString())


async def _keep(desk: Desk, engine: Upstream, answers: Sequence[bytes]) -> None:
    """What the Camunda 8 started goes into the index."""
    for one in answers:
        # With a result and without, what counts has the same numbers.
        try:
            told = zeebe.CreateProcessInstanceResponse.FromString(one)
        except DecodeError:
            continue
        key, process = told.processInstanceKey, told.bpmnProcessId
        await instances.started_in_eight(desk, engine, key, process)


async def _forward(engine: Upstream, asked: Asked, wait_ms: int = 0) -> list[bytes]:
    timeout_ms = ANSWER_MS_MAX + max(0, wait_ms)
    if asked.timeout_ms is not None:
        timeout_ms = min(timeout_ms, asked.timeout_ms)
    return await call(engine, asked.path, asked.request, timeout_ms=timeout_ms, waits=wait_ms != 0)


async def _by_rest(engine: Upstream, form: Form, message: object, request: Request) -> Json:
    """Asks a Camunda 8 that has only REST."""
    key, body = form.ask(message)
    operation = form.operation
    if operation is DEPLOY:
        return await _deploy_by_rest(engine, message, request)
    wait_ms = max(0, int(body.get("requestTimeout") or 0))
    answer = await engine.ask(
        operation.method,
        "/v2" + operation.path.replace("{key}", str(key)),
        body,
        within_ms=ANSWER_MS_MAX + wait_ms,
    )
    return _told(engine, answer)


async def _deploy_by_rest(engine: Upstream, message: object, request: Request) -> Json:
    tenant = getattr(message, "tenantId", "")
    encoded = httpx.Request(
        "POST",
        "http://engine/",
        data={"tenantId": tenant} if tenant else None,
        files=[("resources", (name, data)) for name, data in request.files.items()],
    )
    headers = {"content-type": encoded.headers["content-type"], "accept": "application/json"}
    answer = await engine.forward(
        "POST", "/v2/deployments", content=encoded.read(), headers=headers
    )
    return _told(engine, answer)


def _told(engine: Upstream, answer: Answer) -> Json:
    """What REST answered. Raises: RpcError; EngineUnavailable."""
    if answer.status >= 300:
        title = str(answer.json_object().get("title"))
        raise RpcError(_code(answer.status, title), answer.sentence())
    told = answer.json_object()
    if answer.body and not told:
        raise EngineUnavailable(f"{engine.peer} gave an answer that makes no sense")
    return told


_CODES: Mapping[int, Code] = {
    400: Code.INVALID_ARGUMENT,
    401: Code.INTERNAL,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.FAILED_PRECONDITION,
    429: Code.RESOURCE_EXHAUSTED,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


def _code(status: int, title: str) -> Code:
    if status == 503 and "RESOURCE_EXHAUSTED" in title:
        return Code.RESOURCE_EXHAUSTED
    if status == 409 and "ALREADY_EXISTS" in title:
        return Code.ALREADY_EXISTS
    return _CODES.get(status, Code.INTERNAL)


def _headers(asked: Asked) -> dict[str, str]:
    return {
        name.decode("ascii", "replace"): value.decode("utf-8", "replace")
        for name, value in asked.metadata.items()
    }
