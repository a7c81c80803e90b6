"""`/v2`: reads a request, finds its operation and its engine, writes the answer.

A request that goes to the Camunda 8 goes there in the client's own bytes, and its answer comes back
so: ids, fields and statuses that nobody here knows stay what they are. So does what no operation
here has a word for, which a gateway without a Camunda 8 answers with 501 and a sentence.
"""

import io
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import unquote

from quart import Blueprint, Response, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType
from werkzeug.formparser import FormDataParser

from gossamer_gateway.camunda8 import activation, deployments, instances, operations, topology
from gossamer_gateway.camunda8.fields import UNREADABLE, Fields, Json, key_of, read_object
from gossamer_gateway.camunda8.operations import CREATE_INSTANCE, DEPLOY, SET_VARIABLES, Operation
from gossamer_gateway.camunda8.places import Request
from gossamer_gateway.camunda8.refusals import (
    EXPECTED,
    INTERNAL,
    INVALID_ARGUMENT,
    UNSUPPORTED,
    Refused,
    of_error,
)
from gossamer_gateway.desk import Desk
from gossamer_gateway.door.asking import check_process
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.v2 import answers
from gossamer_node.engines.exchange import Answer
from gossamer_node.engines.polls import POLL_GRACE_MS
from gossamer_node.errors import EngineUnavailable

log = logging.getLogger("gossamer.gateway")

FORWARD_MS_MAX = 60_000
"""How long the engine may take for what is passed on: an awaited result may ask for more."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

Handler = Callable[..., Awaitable[Response]]


def create_blueprint(desk: Desk) -> Blueprint:
    """Everything under `/v2`."""
    routes = Blueprint("v2", __name__)
    face = Face(desk)
    for method, rule, handler in face.table():
        routes.add_url_rule(rule, f"{method} {rule}", partial(_guarded, handler), methods=[method])
    other = partial(_guarded, face.other)
    routes.add_url_rule("/<path:rest>", "other", other, methods=list(METHODS))
    routes.register_error_handler(HTTPException, _http_error)
    return routes


async def _guarded(handler: Handler, **arguments: str) -> Response:
    try:
        return await handler(**arguments)
    except EXPECTED as error:
        return answers.problem(of_error(error))
    except HTTPException as error:
        return await _http_error(error)
    except Exception:
        log.exception("%s %s failed by our mistake", request.method, request.path)
        sentence = "The gateway made a mistake; its log says which"
        return answers.problem(Refused(INTERNAL, sentence))


async def _http_error(failed: Exception) -> Response:
    assert isinstance(failed, HTTPException)
    refused = Refused(INVALID_ARGUMENT, f"HTTP {failed.code} {failed.name}")
    refused.status = failed.code or 500
    return answers.problem(refused)


class Face:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, rule and handler."""
        known: list[tuple[str, str, Handler]] = [
            (one.method, one.path.replace("{key}", "<key>"), partial(self._operate, one))
            for one in operations.ALL
        ]
        return [
            *known,
            ("POST", "/jobs/activation", self._activate),
            ("GET", "/topology", self._topology),
        ]

    async def _operate(self, operation: Operation, key: str = "") -> Response:
        data = await _data()
        body, files = _read_form(data) if operation is DEPLOY else (read_object(data), {})
        asked = Request(
            key_of(key, operation.key) if key else 0,
            Fields(body),
            {name.lower(): value for name, value in request.headers.items()},
            files,
        )
        place = await operation.place(self._desk, asked)
        check_process(place.process)
        if not place.is_eight:
            told = await operation.seven(self._desk, place, asked)
            return answers.told(None if operation is SET_VARIABLES else told)
        wait_ms = asked.body.number("requestTimeout")
        waits = operation is CREATE_INSTANCE and asked.body.flag("awaitCompletion")
        answer = await self._forward(
            place.engine, data, within_ms=wait_ms + POLL_GRACE_MS, waits=waits
        )
        if operation is CREATE_INSTANCE and answer.status == 200:
            await _keep(self._desk, place.engine, answer)
        return answers.passed_on(answer)

    async def _topology(self) -> Response:
        eight = self._desk.engines.eight
        if eight is not None:
            try:
                return await self._pass_on(eight, b"")
            except EngineUnavailable as error:
                log.debug("the topology is the gateway's own: %s", error)
        return answers.told(topology.own(self._desk))

    async def _activate(self) -> Response:
        body = Fields(read_object(await _data()))
        wanted, jobs_max, request_timeout_ms = activation.read_wanted(self._desk, body)
        jobs = await activation.activate(wanted, jobs_max, request_timeout_ms)
        return answers.told_jobs([job.told for _, job in jobs])

    async def other(self, rest: str) -> Response:
        """What nobody here knows."""
        check_process(None)
        eight = self._desk.engines.eight
        if eight is None:
            raise Refused(
                UNSUPPORTED,
                f"{request.method} {request.path} is Camunda 8's alone, and this gateway has none",
            )
        return await self._pass_on(eight, await _data())

    async def _pass_on(self, engine: Upstream, data: bytes) -> Response:
        return answers.passed_on(await self._forward(engine, data))

    async def _forward(
        self, engine: Upstream, data: bytes, *, within_ms: int = 0, waits: bool = False
    ) -> Answer:
        return await engine.forward(
            request.method,
            _target(),
            content=data or None,
            headers=answers.headers_to_pass_on(),
            within_ms=max(FORWARD_MS_MAX, within_ms),
            waits=waits,
        )


async def _keep(desk: Desk, engine: Upstream, answer: Answer) -> None:
    """What the Camunda 8 started goes into the index."""
    told = answer.json_object()
    try:
        key, process = int(told["processInstanceKey"]), str(told["processDefinitionId"])
    except (KeyError, TypeError, ValueError):
        return  # it is the client's to make sense of
    await instances.started_in_eight(desk, engine, key, process)


def _read_form(data: bytes) -> tuple[Json, Mapping[str, bytes]]:
    """A deployment: its fields, and its files by name. Raises: Refused."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType
    parser = FormDataParser(
        stream_factory=_in_memory, silent=False, max_form_parts=deployments.FILES_MAX + 20
    )
    try:
        _, form, uploads = parser.parse(
            io.BytesIO(data), request.mimetype, len(data), dict(request.mimetype_params)
        )
    except ValueError:
        raise Refused(INVALID_ARGUMENT, UNREADABLE) from None
    files = {one.filename or name: one.read() for name, one in uploads.items(multi=True)}
    return form.to_dict(), files


def _in_memory(*_: object, **__: object) -> io.BytesIO:
    return io.BytesIO()


async def _data() -> bytes:
    data = await request.get_data(as_text=False)
    assert isinstance(data, bytes)
    return data


def _target() -> str:
    """Path and query as the client encoded them. Raises: Refused for one that leaves `/v2`."""
    path = request.scope["raw_path"].decode("ascii", "replace")
    if any(part in (".", "..") for part in unquote(path).split("/")):
        raise Refused(INVALID_ARGUMENT, "A path may not have dots for its parts")
    query = request.query_string.decode("ascii", "replace")
    return f"{path}?{query}" if query else path
