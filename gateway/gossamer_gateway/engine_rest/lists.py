"""Lists and counts over all engines: asked of each, put together, sorted and cut anew.

With one engine of Camunda 7's dialect, and nothing of Camunda 8 to add, a list goes on as it came.
Otherwise each engine is asked for its part from the beginning up to the page's end, which bounds
how deep a page may lie. What Camunda 8 has comes from the gateway's own rows (`own`); a filter that
those can't answer leaves Camunda 8 out, and the header `Gossamer-Left-Out` says so. An engine that
does not answer makes the list unavailable: a part would be taken for the whole.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from quart import Response, request

from gossamer_gateway.desk import Desk
from gossamer_gateway.engine_rest.answers import CannotBe, passed
from gossamer_gateway.engine_rest.own import OWN, Own, Row
from gossamer_gateway.engine_rest.reading import forward
from gossamer_gateway.engine_rest.sunk import SUNK
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.fields import Fields
from gossamer_gateway.reading7 import read_body
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.exchange import Answer
from gossamer_node.variables import JsonValue

ROWS_MAX = 20_000
"""Rows of one answer, and how deep a page may lie."""

LEFT_OUT = "Gossamer-Left-Out"
"""Names the engines that had no part in a list, and why."""

PAGE = ("firstResult", "maxResults")
FORM = (*PAGE, "sortBy", "sortOrder", "deserializeValues", "deserializeValue")

RESOURCES = (
    "/process-definition", "/process-instance", "/external-task", "/deployment", "/incident",
    "/execution", "/variable-instance", "/event-subscription", "/job", "/job-definition", "/task",
    "/batch", "/decision-definition",
    "/history/process-instance", "/history/activity-instance", "/history/variable-instance",
    "/history/incident", "/history/external-task-log", "/history/job-log", "/history/task",
    "/history/detail", "/history/batch",
)  # fmt: skip
"""What can be listed, at the same path in every engine of Camunda 7's dialect."""

GET_ONLY = (
    "/process-definition", "/deployment", "/incident", "/event-subscription", "/job-definition",
    "/batch", "/decision-definition", "/history/incident", "/history/batch",
    "/history/detail",
)  # fmt: skip
"""Those whose filters come in the URL alone."""

SORT_FIELDS: Mapping[str, str] = {
    "instanceId": "id", "definitionId": "definitionId", "definitionKey": "definitionKey",
    "definitionVersion": "processDefinitionVersion", "definitionName": "processDefinitionName",
    "taskPriority": "priority", "startTime": "startTime", "endTime": "endTime",
    "duration": "durationInMillis", "variableName": "name",
    "activityInstanceId": "id", "occurrence": "startTime",
}  # fmt: skip
"""`sortBy` → the field of a row, where it is not the field's own name."""


class Lists:
    """The handlers of lists and counts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Any]]:
        table: list[tuple[str, str, Any]] = [
            ("GET", "/external-task/topic-names", self.topic_names)
        ]
        for path in RESOURCES:
            for method in ("GET",) if path in GET_ONLY else ("GET", "POST"):
                own = OWN.get(path) or SUNK.get(path)
                table.append((method, path, partial(self.rows, own)))
                table.append((method, f"{path}/count", partial(self.count, own)))
        return table

    async def rows(self, own: Own | None) -> Any:
        query = await _Query.read()
        rows, left_out = await self._own(own, query)
        sevens = self._desk.engines.sevens
        if len(sevens) == 1 and not rows:
            return _marked(passed(await forward(sevens[0])), left_out)
        first, rows_max = query.first, query.rows_max
        last = ROWS_MAX if rows_max is None else first + rows_max
        if last > ROWS_MAX:
            raise BadRequest(
                f"A list over several engines ends at row {ROWS_MAX}; narrow it by a filter"
            )
        page: dict[str, str] = {}
        if rows_max is not None or first:
            page = {"firstResult": "0", "maxResults": str(last)}
        found: list[Row] = []
        for engine in sevens:
            answer = await self._asked(engine, query, page)
            if answer.status != 200:
                return passed(answer)
            found += _rows(engine, answer)
        own_rows = [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]
        found = query.sorted(found + own_rows)
        if rows_max is None and len(found) > ROWS_MAX:
            raise BadRequest(f"One answer has at most {ROWS_MAX} rows; set maxResults")
        return _marked(_json(found[first : None if rows_max is None else last]), left_out)

    async def count(self, own: Own | None) -> Any:
        query = await _Query.read()
        rows, left_out = await self._own(own, query)
        total = len(rows)
        for engine in self._desk.engines.sevens:
            answer = await self._asked(engine, query, {})
            if answer.status != 200:
                return passed(answer)
            count = answer.json_object().get("count")
            if not isinstance(count, int):
                raise engine.rest.nonsense("count")
            total += count
        return _marked(_json({"count": total}), left_out)

    async def topic_names(self) -> Any:
        names: set[str] = set()
        own = OWN["/external-task"]
        rows, left_out = await self._own(own, await _Query.read(), known=())
        names.update(str(row["topicName"]) for row in rows)
        for engine in self._desk.engines.sevens:
            answer = await forward(engine)
            if answer.status == 404 and len(self._desk.engines.sevens) > 1:
                continue  # the embedded engine has no such list
            if answer.status != 200:
                return passed(answer)
            names.update(str(one) for one in _plain(engine, answer))
        return _marked(_json(sorted(names)), left_out)

    # --- inside

    async def _own(
        self, own: Own | None, query: "_Query", known: Sequence[str] | None = None
    ) -> tuple[list[Row], str]:
        """Camunda 8's part, and who is left out why."""
        eight = self._desk.engines.eight
        if eight is None:
            return [], ""
        if own is None:
            self._need_a_seven()
            return [], f"{eight.name}; it tells nothing of these"
        unknown = sorted(set(query.filters) - set(own.filters)) if known is None else []
        if unknown:
            self._need_a_seven()
            return [], f"{eight.name}; nothing is known there of {', '.join(unknown)}"[:500]
        filters = query.filters if known is None else {}
        watch = self._desk.watch
        rows = await self._desk.storage.submit(
            lambda tables, now: own.of(tables, eight, now, watch)
        )
        if rows is None:
            self._need_a_seven()
            return [], f"{eight.name}; its exporter tells this gateway nothing"
        return [row for row in rows if own.fits(row, filters)], ""

    def _need_a_seven(self) -> None:
        if not self._desk.engines.sevens:
            raise CannotBe(
                f"{request.path} can't be told of Camunda 8, and there is no other engine here."
            )

    async def _asked(self, engine: Upstream, query: "_Query", page: Mapping[str, str]) -> Answer:
        parameters = {k: v for k, v in query.parameters.items() if k not in PAGE} | dict(page)
        target = request.path[request.path.index(query.path) :]
        if parameters:
            target += f"?{urlencode(parameters)}"
        data = None if query.body is None else json.dumps(query.body.without()).encode()
        headers = {"accept": "application/json", "content-type": "application/json"}
        return await engine.forward(request.method, target, content=data, headers=headers)


class _Query:
    """A list request: filters in the URL (GET) or in the body (POST), pages in the URL."""

    def __init__(self, parameters: Mapping[str, str], body: Fields | None) -> None:
        self.parameters = parameters
        self.body = body
        self.path = ""
        self.first = _number(parameters, "firstResult") or 0
        self.rows_max = _number(parameters, "maxResults")
        self.filters: dict[str, JsonValue] = {}
        self.sorting: list[tuple[str, bool]] = []
        if body is None:
            self.filters.update(parameters)
            if parameters.get("sortBy"):
                self.sorting = [(parameters["sortBy"], parameters.get("sortOrder") != "desc")]
        else:
            self.filters.update(body.without("sorting"))
            self.sorting = [
                (one.text("sortBy"), one.maybe_text("sortOrder") != "desc")
                for one in body.objects("sorting")
            ]
        self.filters = {
            name: value
            for name, value in self.filters.items()
            if name not in FORM and value is not None
        }

    @classmethod
    async def read(cls) -> "_Query":
        query = cls(request.args.to_dict(), await read_body() if request.method == "POST" else None)
        query.path = max((path for path in RESOURCES if path in request.path), key=len)
        return query

    def sorted(self, rows: list[Row]) -> list[Row]:
        for name, ascends in reversed(self.sorting):
            field = SORT_FIELDS.get(name, name)
            rows = sorted(rows, key=partial(_sortable, field), reverse=not ascends)
        return rows


def _sortable(field: str, row: Row) -> tuple[int, float, str]:
    """Nothing first, then numbers, then texts, as databases of Camunda 7 do."""
    value = row.get(field)
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, int | float):
        return 1, value, ""
    return 2, 0.0, str(value)


def _number(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:
        raise BadRequest(f"Cannot set query parameter '{name}' to value '{text[:80]}'")
    return int(text)


def _plain(engine: Upstream, answer: Answer) -> list[Any]:
    try:
        rows = answer.json()
    except ValueError:
        rows = None
    if not isinstance(rows, list):
        raise engine.rest.nonsense("list")
    return rows


def _rows(engine: Upstream, answer: Answer) -> list[Row]:
    rows = _plain(engine, answer)
    if not all(isinstance(row, dict) for row in rows):
        raise engine.rest.nonsense("list")
    return rows


def _json(value: Any) -> Response:
    return Response(json.dumps(value), content_type="application/json")


def _marked(response: Response, left_out: str) -> Response:
    if left_out:
        response.headers[LEFT_OUT] = left_out.encode("ascii", "replace").decode()
    return response
