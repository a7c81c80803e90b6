"""Camunda 7's REST resources over HTTP: reads the request, asks the engine, writes the answer.

Nothing is decided here. The statuses are Camunda 7's but for three, where it answers 500, which
on a completion means a failed next step: 503 where the engine cannot serve now (too many polls or
requests, a disk that refuses), 400 for a wrong field, 404 for what is not deployed or not running.
"""

import base64
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any

from quart import Blueprint, Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from gossamer_gateway.embedded import dialect, queries
from gossamer_gateway.embedded.engine import Engine
from gossamer_gateway.embedded.model import Instance
from gossamer_gateway.embedded.polls import Polls
from gossamer_gateway.embedded.queries import Listing
from gossamer_gateway.embedded.requests import parse_fetch, parse_query
from gossamer_gateway.embedded.store import Store
from gossamer_gateway.embedded.values import binary, read_variable, read_variables
from gossamer_gateway.errors import (
    BadRequest,
    GatewayError,
    ProcessRefused,
    UnknownInstance,
    UnknownTask,
)
from gossamer_gateway.fields import DETAILS_CHARS_MAX, parse_object
from gossamer_gateway.reading7 import read_body
from gossamer_gateway.storage.committer import Committer
from gossamer_gateway.wording7 import HTTP_ERRORS, STATUSES, Json, error, task_row

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 4 * 2**20
"""Larger bodies are answered 413."""
FILES_MAX = 100
"""Files of one deployment."""
ENGINE_NAME = "default"


@dataclass(frozen=True, slots=True)
class Desk:
    """What requests are served with.

    Attributes:
        version: Gossamer's.
        credentials: `user:password` that every request must carry, None for none.
    """

    engine: Engine
    store: Store
    committer: Committer
    polls: Polls
    engine_id: str
    version: str
    credentials: str | None = None


def create_app(desk: Desk) -> QuartTrio:
    """The HTTP application: everything under `/engine-rest`."""
    app = QuartTrio(__name__)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX
    app.json.sort_keys = False  # type: ignore[attr-defined]
    routes = Blueprint("engine_rest", __name__)
    resources = _Resources(desk)
    for method, rule, view in resources.table():
        routes.add_url_rule(rule, f"{method} {rule}", view, methods=[method])
    app.register_blueprint(routes, url_prefix="/engine-rest")
    named = f"/engine-rest/engine/{ENGINE_NAME}"
    app.register_blueprint(routes, url_prefix=named, name="named_engine")
    app.register_error_handler(GatewayError, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _broken)
    app.before_request(partial(_admit, desk.credentials))
    return app


async def _admit(credentials: str | None) -> tuple[Json, int, dict[str, str]] | None:
    """Refuses what has no business here, before it is read."""
    # A page in a browser on this machine could reach a loopback port: by its Origin, or, where a
    # foreign name was made to point here, by that name. Browsers are the gateway's affair.
    if "Origin" in request.headers or (credentials is None and not _is_local(request.host)):
        return error("ForbiddenException", "Browsers are not served here"), 403, {}
    if credentials is not None:
        wanted = base64.b64encode(credentials.encode())
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic" or not hmac.compare_digest(given.strip().encode(), wanted):
            asked = {"WWW-Authenticate": 'Basic realm="gossamer"'}
            return error("NotAuthorizedException", "User and password, please"), 401, asked
    return None


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


async def _refused(refused: Exception) -> tuple[Json, int, dict[str, str]]:
    if isinstance(refused, ProcessRefused):
        return dialect.parse_error(refused), 400, {}
    status, kind = STATUSES[type(refused)]  # type: ignore[index]
    later = {"Retry-After": "1"} if status == 503 else {}
    return error(kind, str(refused), 0), status, later


async def _http_error(failed: Exception) -> tuple[Json, int]:
    assert isinstance(failed, HTTPException)
    status = failed.code or 500
    kind = HTTP_ERRORS.get(status, "RestException")
    return error(kind, f"HTTP {status} {failed.name}"), status


async def _broken(mistake: Exception) -> tuple[Json, int]:
    log.error("A request failed by a mistake of the engine.", exc_info=mistake)
    return error("InternalError", "The engine made a mistake; its log says which"), 500


View = Callable[..., Awaitable[Any]]
NOTHING = ("", 204)


def _wants_objects_open() -> bool:
    return request.args.get("deserializeValues", "true").lower() != "false"


def _url() -> str:
    return f"{request.host_url}engine-rest"


class _Resources:
    """The views, by resource."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._engine = desk.engine
        self._submit = desk.committer.submit

    def table(self) -> list[tuple[str, str, View]]:
        """Method, rule and view of every resource."""
        lists: list[tuple[str, Listing, Callable[[Mapping[str, Any]], Json]]] = [
            ("/process-definition", queries.DEFINITIONS, dialect.definition_row),
            ("/process-instance", queries.INSTANCES, dialect.instance_row),
            ("/external-task", queries.TASKS, task_row),
            ("/incident", queries.INCIDENTS, dialect.incident_row),
            ("/history/process-instance", queries.HISTORIC_INSTANCES,
             dialect.historic_instance_row),
            ("/history/activity-instance", queries.HISTORIC_ACTIVITIES,
             dialect.historic_activity_row),
            ("/history/variable-instance", queries.HISTORIC_VARIABLES, _historic_variable),
        ]  # fmt: skip
        table: list[tuple[str, str, View]] = []
        for rule, listing, write in lists:
            for method in ("GET", "POST"):
                table.append((method, rule, partial(self._list, listing, write)))
                table.append((method, f"{rule}/count", partial(self._count, listing)))
        task, instance = "/external-task/<task_id>", "/process-instance/<instance_id>"
        variable = f"{instance}/variables/<path:name>"
        return [
            *table,
            ("GET", "/version", self._version),
            ("GET", "/engine", self._engines),
            ("GET", "/telemetry/data", self._telemetry),
            ("POST", "/deployment/create", self._deploy),
            ("GET", "/process-definition/<definition_id>", self._definition),
            ("GET", "/process-definition/key/<key>", self._definition),
            ("GET", "/process-definition/<definition_id>/xml", self._definition_xml),
            ("GET", "/process-definition/key/<key>/xml", self._definition_xml),
            ("POST", "/process-definition/<definition_id>/start", self._start),
            ("POST", "/process-definition/key/<key>/start", self._start),
            ("GET", instance, self._instance),
            ("DELETE", instance, self._delete_instance),
            ("GET", f"{instance}/variables", self._variables),
            ("POST", f"{instance}/variables", self._modify_variables),
            ("GET", variable, self._variable),
            ("GET", f"{variable}/data", self._variable_bytes),
            ("PUT", variable, self._put_variable),
            ("DELETE", variable, self._delete_variable),
            ("POST", "/external-task/fetchAndLock", self._fetch),
            ("GET", task, self._task),
            ("GET", f"{task}/errorDetails", self._error_details),
            ("POST", f"{task}/complete", self._complete),
            ("POST", f"{task}/bpmnError", self._bpmn_error),
            ("POST", f"{task}/failure", self._failure),
            ("POST", f"{task}/extendLock", self._extend_lock),
            ("POST", f"{task}/lock", self._lock),
            ("POST", f"{task}/unlock", self._unlock),
            ("PUT", f"{task}/retries", self._retries),
            ("GET", "/history/process-instance/<instance_id>", self._historic_instance),
            ("GET", "/history/variable-instance/<variable_id>/data", self._variable_data),
        ]

    # --- the engine itself ---

    async def _version(self) -> Json:
        return {"version": self._desk.version, "product": "gossamer"}

    async def _engines(self) -> list[Json]:
        return [{"name": ENGINE_NAME}]

    async def _telemetry(self) -> Json:
        return {
            "installation": self._desk.engine_id,
            "product": {"name": "Gossamer", "version": self._desk.version, "edition": "embedded"},
        }

    # --- lists ---

    async def _query(self) -> queries.Query:
        body = await read_body() if request.method == "POST" else None
        return parse_query(request.args.to_dict(), body)

    async def _list(
        self, listing: Listing, write: Callable[[Mapping[str, Any]], Json]
    ) -> list[Json]:
        query = await self._query()
        rows = await self._submit(lambda now: queries.find(self._desk.store, listing, query, now))
        return [write(row) for row in rows]

    async def _count(self, listing: Listing) -> Json:
        query = await self._query()
        rows = await self._submit(lambda now: queries.count(self._desk.store, listing, query, now))
        return {"count": rows}

    async def _find_one(self, listing: Listing, name: str, value: str) -> dict[str, Any] | None:
        query = queries.Query({name: value})
        rows = await self._submit(lambda now: queries.find(self._desk.store, listing, query, now))
        return rows[0] if rows else None

    # --- definitions ---

    async def _deploy(self) -> Json:
        if request.mimetype != "multipart/form-data":
            raise UnsupportedMediaType
        form, uploads = await request.form, await request.files
        files = {
            entry.filename or field: entry.read()
            for field, entry in uploads.items(multi=True)
        }  # fmt: skip
        if not 0 < len(files) <= FILES_MAX:
            raise BadRequest(f"A deployment has 1 to {FILES_MAX} files, not {len(files)}")
        made = await self._submit(
            lambda now: self._engine.definitions.deploy(
                files,
                name=form.get("deployment-name"),
                source=form.get("deployment-source"),
                now_ms=now,
            )
        )
        return dialect.deployment(made, _url())

    async def _definition(self, definition_id: str = "", key: str = "") -> Json:
        definitions = self._engine.definitions
        found = await self._submit(
            lambda _now: definitions.newest(key) if key else definitions.get(definition_id)
        )
        return dialect.definition(found)

    async def _definition_xml(self, definition_id: str = "", key: str = "") -> Json:
        definitions = self._engine.definitions

        def read(_now: int) -> Json:
            found = definitions.newest(key) if key else definitions.get(definition_id)
            data = self._desk.store.resource_data(found.deployment_id, found.resource)
            return {"id": found.id, "bpmn20Xml": data.decode("utf-8", "replace")}

        return await self._submit(read)

    async def _start(self, definition_id: str = "", key: str = "") -> Json:
        body = await read_body()
        if body.get("startInstructions"):
            raise BadRequest(
                "startInstructions are not known here; an instance begins at its start"
            )
        variables = read_variables(body.get("variables"))
        business_key = body.maybe_text("businessKey")
        definitions = self._engine.definitions

        def start(now_ms: int) -> Json:
            definition = definitions.newest(key) if key else definitions.get(definition_id)
            instance = self._engine.start(
                definition, business_key=business_key, variables=variables, now_ms=now_ms
            )
            answer = dialect.started(instance, definition.key, url)
            if body.flag("withVariablesInReturn"):
                answer["variables"] = dialect.variables(instance.variables, deserialize=False)
            return answer

        url = _url()
        return await self._submit(start)

    # --- instances ---

    async def _instance(self, instance_id: str) -> Json:
        row = await self._find_one(queries.INSTANCES, "processInstanceIds", instance_id)
        if row is None:
            raise UnknownInstance(f"Process instance with id {instance_id} does not exist")
        return dialect.instance_row(row)

    async def _delete_instance(self, instance_id: str) -> tuple[str, int]:
        await self._submit(lambda now: self._engine.delete_instance(instance_id, now_ms=now))
        return NOTHING

    async def _variables(self, instance_id: str) -> Json:
        instance = await self._submit(lambda _now: self._engine.running_instance(instance_id))
        return dialect.variables(instance.variables, deserialize=_wants_objects_open())

    async def _variable(self, instance_id: str, name: str) -> Json:
        variables = await self._variables(instance_id)
        if name not in variables:
            raise UnknownInstance(f"process instance variable with name {name} does not exist")
        found: Json = variables[name]
        return found

    async def _variable_bytes(self, instance_id: str, name: str) -> Response:
        instance = await self._submit(lambda _now: self._engine.running_instance(instance_id))
        return _bytes_of(instance, name)

    async def _modify_variables(self, instance_id: str) -> tuple[str, int]:
        body = await read_body()
        changes = read_variables(body.get("modifications"), "modifications")
        deletions = body.maybe_texts("deletions") or ()
        await self._submit(lambda _now: self._engine.set_variables(instance_id, changes, deletions))
        return NOTHING

    async def _put_variable(self, instance_id: str, name: str) -> tuple[str, int]:
        body = await read_body()
        changes = {name: read_variable(name, body.without())}
        await self._submit(lambda _now: self._engine.set_variables(instance_id, changes, ()))
        return NOTHING

    async def _delete_variable(self, instance_id: str, name: str) -> tuple[str, int]:
        await self._submit(lambda _now: self._engine.set_variables(instance_id, {}, [name]))
        return NOTHING

    # --- external tasks ---

    async def _fetch(self) -> list[Json]:
        fetch = parse_fetch(await read_body())
        if not fetch.topics or fetch.tasks_max == 0:
            return []
        locked = await self._desk.polls.fetch(
            fetch.worker_id,
            [topic for topic, _ in fetch.topics.values()],
            tasks_max=fetch.tasks_max,
            wait_ms=fetch.wait_ms,
        )
        answers = []
        for entry in locked:
            _, view = fetch.topics[entry.task.topic]
            answer = dialect.locked_task(
                entry, names=view.names, local_only=view.local_only, deserialize=view.deserialize
            )
            if view.with_properties:
                answer["extensionProperties"] = entry.node.properties
            answers.append(answer)
        return answers

    async def _task(self, task_id: str) -> Json:
        row = await self._find_one(queries.TASKS, "externalTaskId", task_id)
        if row is None:
            raise UnknownTask(task_id)
        return task_row(row)

    async def _error_details(self, task_id: str) -> tuple[str, int] | Response:
        task = await self._submit(lambda _now: self._engine.task(task_id))
        if task.error_details is None:
            return NOTHING
        return Response(task.error_details, mimetype="text/plain")

    async def _complete(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        worker_id = body.text("workerId")
        variables = read_variables(body.get("variables"))
        # Local variables end with their task, so that once they are checked nothing is left to do.
        read_variables(body.get("localVariables"), "localVariables")
        await self._submit(
            lambda now: self._engine.complete(task_id, worker_id, variables, now_ms=now)
        )
        return NOTHING

    async def _bpmn_error(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        worker_id, code = body.text("workerId"), body.text("errorCode")
        message = body.maybe_text("errorMessage")
        variables = read_variables(body.get("variables"))
        await self._submit(
            lambda now: self._engine.throw_error(
                task_id, worker_id, code, message, variables, now_ms=now
            )
        )
        return NOTHING

    async def _failure(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        failure = partial(
            self._engine.fail,
            task_id,
            body.text("workerId"),
            retries=body.number("retries"),
            retry_ms=body.number("retryTimeout"),
            message=body.maybe_text("errorMessage"),
            details=body.maybe_text("errorDetails", DETAILS_CHARS_MAX),
            variables=read_variables(body.get("variables")),
            local_variables=read_variables(body.get("localVariables"), "localVariables"),
        )
        await self._submit(lambda now: failure(now_ms=now))
        return NOTHING

    async def _extend_lock(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        worker_id, lock_ms = body.text("workerId"), body.number("newDuration")
        await self._submit(
            lambda now: self._engine.extend_lock(task_id, worker_id, lock_ms, now_ms=now)
        )
        return NOTHING

    async def _lock(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        worker_id, lock_ms = body.text("workerId"), body.number("lockDuration")
        await self._submit(lambda now: self._engine.lock(task_id, worker_id, lock_ms, now_ms=now))
        return NOTHING

    async def _unlock(self, task_id: str) -> tuple[str, int]:
        await self._submit(lambda _now: self._engine.unlock(task_id))
        return NOTHING

    async def _retries(self, task_id: str) -> tuple[str, int]:
        body = await read_body()
        if body.get("retries") is None:
            raise BadRequest("The number of retries cannot be null.")
        retries = body.number("retries")
        await self._submit(lambda now: self._engine.set_retries(task_id, retries, now_ms=now))
        return NOTHING

    # --- history ---

    async def _historic_instance(self, instance_id: str) -> Json:
        row = await self._find_one(queries.HISTORIC_INSTANCES, "processInstanceId", instance_id)
        if row is None:
            raise UnknownInstance(f"Historic process instance with id {instance_id} does not exist")
        return dialect.historic_instance_row(row)

    async def _variable_data(self, variable_id: str) -> Response:
        try:
            instance_id, name = dialect.variable_of(variable_id)
        except ValueError:
            instance_id, name = "", ""
        instance = await self._submit(lambda _now: self._desk.store.instance(instance_id))
        return _bytes_of(instance, name)


def _bytes_of(instance: Instance | None, name: str) -> Response:
    data = binary(instance.variables[name]) if instance and name in instance.variables else None
    if data is None:
        raise UnknownInstance(f"There is no variable '{name}' with a binary value")
    return Response(data, mimetype="application/octet-stream")


def _historic_variable(row: Mapping[str, Any]) -> Json:
    wire = parse_object(row["wire"].encode()).without()
    return dialect.historic_variable(row, wire, deserialize=_wants_objects_open())
