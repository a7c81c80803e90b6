"""The routes of workflows, made of their rows, and what is answered when something is wrong."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from quart import Blueprint, Response
from werkzeug.exceptions import HTTPException

from gossamer_gateway.errors import (
    Forbidden,
    GatewayError,
    Overloaded,
    RequestError,
    StorageFailed,
)
from gossamer_gateway.runs.api.rows import rows
from gossamer_gateway.runs.api.serving import Conflict, Serving
from gossamer_gateway.runs.api.shapes import Refused
from gossamer_gateway.runs.engine import UnknownRun, UnknownWorkflow
from gossamer_gateway.runs.jobs import dialect
from gossamer_gateway.runs.jobs import http as jobs
from gossamer_gateway.runs.model.problems import DefinitionRefused
from gossamer_gateway.runs.opening import Workflows
from gossamer_gateway.runs.providers import api as providers
from gossamer_gateway.runs.strict import TooLarge
from gossamer_gateway.v1.operations import Operation, broken, http_error, json_response, problem

_STATUSES: tuple[tuple[type[GatewayError], int], ...] = (
    (UnknownWorkflow, 404),
    (UnknownRun, 404),
    (TooLarge, 413),
    (Conflict, 409),
    (Forbidden, 403),
    (Overloaded, 503),
    (StorageFailed, 503),
    (RequestError, 400),
)


def operations(workflows: Workflows, who: Callable[[], str]) -> tuple[Operation, ...]:
    """All endpoints, for the routes and for the OpenAPI document."""
    return (
        *rows(Serving(workflows, who)),
        *jobs.rows(workflows.engine, workflows.polls, workflows.config.is_offered),
        *providers.rows(workflows.invoker),
    )


def create_blueprints(workflows: Workflows, rows: tuple[Operation, ...]) -> tuple[Blueprint, ...]:
    """All routes, from the root."""
    tasks = dialect.create_blueprint(workflows.engine, workflows.polls, workflows.storage)
    return _of_rows(rows), tasks


def _of_rows(rows: tuple[Operation, ...]) -> Blueprint:
    routes = Blueprint("workflows", __name__)
    for one in rows:
        rule = f"{one.base}{one.path}".replace("{", "<").replace("}", ">")
        view = partial(one.respond)
        routes.add_url_rule(rule, one.id, view, methods=[one.method], strict_slashes=False)
    routes.register_error_handler(GatewayError, _refused)
    routes.register_error_handler(HTTPException, http_error)
    routes.register_error_handler(Exception, broken)
    return routes


async def _refused(error: Exception) -> Response:
    if isinstance(error, DefinitionRefused):
        told = Refused("Bad Request", 400, str(error), list(error.problems), error.left_out)
        return json_response(told, 400, "application/problem+json")
    said = str(error)
    if isinstance(error, UnknownRun):
        said += "; GET /workflow/runs lists those that are kept"
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return problem(status, HTTPStatus(status).phrase, said)
    return await broken(error)
