"""What a Camunda 8 does not tell itself, out of what its exporter told the gateway's sink, in
Camunda 7's words: its open incidents.

They are some seconds old. Where the sink never heard of the engine, or hears no more, there is
nothing here, and lists leave Camunda 8 out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gossamer_gateway.engine_rest.ids import definition_name, name_of
from gossamer_gateway.engine_rest.own import Own, Row, equals, is_among
from gossamer_gateway.sink.freshness import Watch
from gossamer_gateway.sink.reading import PAGE_MAX, Incident, View, look
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.wording7 import stamp

INCIDENTS_MAX = 20_000
"""That are looked through for one list; the oldest, where there are more."""

KINDS = {"JOB_NO_RETRIES": "failedExternalTask"}
"""Camunda 8's kinds of incidents for which Camunda 7 has a word; others stay what they are."""


@dataclass(frozen=True, slots=True)
class Sunk(Own):
    """A list that the sink tells."""

    view: Callable[[View, Upstream], list[Row]]

    def of(self, rows: Rows, eight: Upstream, now_ms: int, watch: Watch) -> list[Row] | None:
        view = look(rows, eight.name, now_ms, watch)
        return None if view is None else self.view(view, eight)


def _incidents(view: View, eight: Upstream) -> list[Row]:
    versions: dict[int, int] = {}
    found: list[Incident] = []
    while len(found) < INCIDENTS_MAX:
        page = view.incidents(after=found[-1].key if found else 0, limit=PAGE_MAX)
        found += page
        if len(page) < PAGE_MAX:
            break
    for process in sorted({one.process for one in found}):
        versions.update((one.key, one.version) for one in view.processes(process))
    return [_incident(one, eight, versions.get(one.definition)) for one in found]


def _incident(one: Incident, eight: Upstream, version: int | None) -> Row:
    id, instance = name_of(eight, one.key), name_of(eight, one.instance)
    definition = None
    if version is not None:
        definition = definition_name(eight, one.process, version, one.definition)
    return {
        "id": id,
        "processDefinitionId": definition,
        "processInstanceId": instance,
        "executionId": instance if one.element_key is None else name_of(eight, one.element_key),
        "incidentTimestamp": stamp(one.since_ms),
        "incidentType": KINDS.get(one.kind, one.kind),
        "activityId": one.element,
        "failedActivityId": one.element,
        "causeIncidentId": id,
        "rootCauseIncidentId": id,
        "configuration": name_of(eight, one.job) if one.job is not None and one.job > 0 else None,
        "incidentMessage": one.message,
        "tenantId": None,
        "jobDefinitionId": None,
        "annotation": None,
        "_process": one.process,
    }


SUNK: Mapping[str, Sunk] = {
    "/incident": Sunk(
        lambda _rows, _eight, _now_ms: [],
        {
            "incidentId": equals("id"),
            "incidentType": equals("incidentType"),
            "incidentMessage": equals("incidentMessage"),
            "processDefinitionId": equals("processDefinitionId"),
            "processDefinitionKeyIn": is_among("_process"),
            "processInstanceId": equals("processInstanceId"),
            "executionId": equals("executionId"),
            "activityId": equals("activityId"),
            "failedActivityId": equals("failedActivityId"),
            "causeIncidentId": equals("causeIncidentId"),
            "rootCauseIncidentId": equals("rootCauseIncidentId"),
            "configuration": equals("configuration"),
        },
        _incidents,
    )
}
"""By the list's path."""
