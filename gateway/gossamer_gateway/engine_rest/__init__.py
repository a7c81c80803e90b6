"""Camunda 7's REST, whatever engine holds the process.

A request about one thing goes to the engine that has it: the id says so for Camunda 8 (`ids`), and
the desk finds out for Camunda 7's dialect, where it goes on as it came (`reading`). What Camunda 8
has is asked for in its own words and answered in Camunda 7's (`eight`); what it can't do is refused
with a sentence. An engine that does not answer is unavailable; nothing falls through to another.

Each module has the handlers of some resources in a `table` of method, path and handler.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from quart import Blueprint
from werkzeug.exceptions import HTTPException

from gossamer_gateway.desk import Desk
from gossamer_gateway.engine_rest import answers
from gossamer_gateway.engine_rest.definitions import Definitions
from gossamer_gateway.engine_rest.deploying import Deploying
from gossamer_gateway.engine_rest.instances import Instances
from gossamer_gateway.engine_rest.lists import Lists
from gossamer_gateway.engine_rest.messages import Messages
from gossamer_gateway.engine_rest.passing import Passing
from gossamer_gateway.engine_rest.starting import Starting
from gossamer_gateway.engine_rest.tasks import Tasks
from gossamer_gateway.errors import GatewayError
from gossamer_gateway.polls.driver import NoEngineAnswered
from gossamer_node.errors import EngineError

ENGINE_NAME = "default"
"""As in `/engine/default/…`, which is the same as without."""


class Resource(Protocol):
    """The handlers of some paths."""

    def table(self) -> list[tuple[str, str, Any]]:
        """Method, path and handler of each."""


def resources(desk: Desk) -> Sequence[Resource]:
    """All of the dialect; the last has what is left."""
    return (
        Tasks(desk), Starting(desk), Deploying(desk), Definitions(desk), Instances(desk),
        Messages(desk), Lists(desk), Passing(desk),
    )  # fmt: skip


def create_blueprint(desk: Desk) -> Blueprint:
    """Everything under `/engine-rest`."""
    blueprint = Blueprint("engine_rest", __name__)
    for resource in resources(desk):
        for method, path, handler in resource.table():
            for root in ("", f"/engine/{ENGINE_NAME}"):
                rule = f"{root}{path}"
                blueprint.add_url_rule(rule, f"{method} {path} {root}", handler, methods=[method])
    for kind, answer in (
        (GatewayError, answers.refused),
        (EngineError, answers.unanswered),
        (NoEngineAnswered, answers.nobody),
        (HTTPException, answers.http_error),
        (Exception, answers.broken),
    ):
        blueprint.register_error_handler(kind, answer)
    return blueprint
