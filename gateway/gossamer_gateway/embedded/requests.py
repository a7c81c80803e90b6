"""What clients send, checked: JSON bodies and query parameters, before the engine sees them.

Whatever the network brings ends as a value of the right type or as a `BadRequest` that names the
field. Unknown fields of a body are passed over, as in Camunda 7, except those that would have
narrowed what is asked for (`UNKNOWN_FILTERS`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gossamer_gateway.embedded.engine import TopicFetch
from gossamer_gateway.embedded.queries import Query
from gossamer_gateway.embedded.store import TaskFilter
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.fields import Fields
from gossamer_node.variables import JsonValue

TOPICS_MAX = 200
"""Topics of one fetch."""
TASKS_MAX = 1_000
"""Tasks handed out by one fetch, whatever is asked for."""
WAIT_MS_MAX = 1_800_000
"""Camunda 7's longest `asyncResponseTimeout`."""

UNKNOWN_FILTERS = ("processVariables", "tenantIdIn", "processDefinitionVersionTag")
"""Of a fetched topic, in Camunda 7 and not here: to pass over one would hand out other tasks."""


@dataclass(frozen=True, slots=True)
class TopicView:
    """What of its tasks the worker of a topic wants to see."""

    names: tuple[str, ...] | None
    local_only: bool
    deserialize: bool
    with_properties: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """A fetchAndLock. Of a topic that is named twice the last counts, as in Camunda 7."""

    worker_id: str
    tasks_max: int
    wait_ms: int
    topics: Mapping[str, tuple[TopicFetch, TopicView]]


def parse_fetch(body: Fields) -> Fetch:
    """Raises: BadRequest."""
    wait_ms = body.number("asyncResponseTimeout")
    if wait_ms > WAIT_MS_MAX:
        raise BadRequest(
            "The asynchronous response timeout cannot be set to a value greater than "
            f"{WAIT_MS_MAX} milliseconds"
        )
    topics = body.objects("topics")
    if len(topics) > TOPICS_MAX:
        raise BadRequest(f"One fetch has at most {TOPICS_MAX} topics")
    if body.get("sorting"):
        raise BadRequest("sorting is not known here: tasks come by priority, then by age")
    return Fetch(
        worker_id=body.text("workerId"),
        tasks_max=max(0, min(body.number("maxTasks"), TASKS_MAX)),
        wait_ms=max(0, wait_ms),
        topics={topic.text("topicName"): _parse_topic(topic) for topic in topics},
    )


def _parse_topic(topic: Fields) -> tuple[TopicFetch, TopicView]:
    for name in UNKNOWN_FILTERS:
        if topic.get(name):
            raise BadRequest(f"The filter '{name}' of a topic is not known here")
    ids = (topic.maybe_texts("processDefinitionIdIn") or ()) + _one(topic, "processDefinitionId")
    keys = (topic.maybe_texts("processDefinitionKeyIn") or ()) + _one(topic, "processDefinitionKey")
    wanted = TaskFilter(topic.maybe_text("businessKey"), ids or None, keys or None)
    view = TopicView(
        names=topic.maybe_texts("variables"),
        local_only=topic.flag("localVariables"),
        deserialize=topic.flag("deserializeValues"),
        with_properties=topic.flag("includeExtensionProperties"),
    )
    return TopicFetch(topic.text("topicName"), topic.number("lockDuration"), wanted), view


def _one(topic: Fields, name: str) -> tuple[str, ...]:
    value = topic.maybe_text(name)
    return () if value is None else (value,)


def parse_query(parameters: Mapping[str, str], body: Fields | None) -> Query:
    """A list request: filters in the URL (GET) or in the body (POST); pages in the URL.

    Raises: BadRequest.
    """
    first = _page_number(parameters, "firstResult") or 0
    rows_max = _page_number(parameters, "maxResults")
    page = ("firstResult", "maxResults", "sortBy", "sortOrder", "deserializeValues")
    if body is None:
        by, order = parameters.get("sortBy"), parameters.get("sortOrder")
        if (by is None) != (order is None):
            raise BadRequest(
                "Only a single sorting parameter specified. sortBy and sortOrder required"
            )
        sorting = [] if by is None or order is None else [(by, _ascends(order))]
        filters: dict[str, JsonValue] = dict(parameters)
        filters = {name: value for name, value in filters.items() if name not in page}
    else:
        sorting = [
            (entry.text("sortBy"), _ascends(entry.text("sortOrder")))
            for entry in body.objects("sorting")
        ]
        filters = body.without("sorting")
    return Query(filters, sorting, first, rows_max)


def _ascends(order: str) -> bool:
    if order not in ("asc", "desc"):
        raise BadRequest(f"Cannot set query parameter 'sortOrder' to value '{order}'")
    return order == "asc"


def _page_number(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 12:
        raise BadRequest(f"Cannot set query parameter '{name}' to value '{text[:80]}'")
    return int(text)
