"""How Camunda 7's requests are read before any engine hears of them."""

import json
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.seven_stage import HEAD, one_task

from gossamer_gateway.desk import Desk
from gossamer_gateway.engine_rest.fetching import Fetch, read_fetch
from gossamer_gateway.engine_rest.ids import NOBODYS, definition_of_eight, name_of, of_eight
from gossamer_gateway.engine_rest.models import drawn_for
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.fields import parse_object
from gossamer_gateway.index.sightings import Sightings
from gossamer_gateway.names.forms import NUMBER_MAX, to_uuid
from gossamer_gateway.names.numbers import NUMBER_END
from gossamer_gateway.polls.driver import Polling
from gossamer_gateway.routing.router import FORMS, Router
from gossamer_gateway.settings.book import Book
from gossamer_gateway.storage import SqlitePlace, open_storage
from gossamer_gateway.tables import FORM
from gossamer_gateway.upstreams.asking import Asking
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_mesh.identity import Identity
from gossamer_node.engines.config import EngineConfig

OLD = Upstream(EngineConfig("old", "camunda7", "http://localhost:1/engine-rest"))
NEW = Upstream(EngineConfig("new", "camunda8", "http://localhost:2"))


def desk_of(*engines: Upstream) -> Desk:
    """A desk for reading alone: its storage is closed."""
    upstreams = Upstreams(engines)

    async def make() -> Desk:
        async with open_storage(SqlitePlace(None), FORM) as storage:
            router = Router(Book(storage, Identity.generate(), "m", FORMS), upstreams)
            return Desk(
                upstreams, Polling({}), storage, router, Asking(upstreams.sevens, storage), "w",
                Sightings(storage),
            )  # fmt: skip

    return trio.run(make)


BOTH, EIGHT_ALONE, SEVEN_ALONE = desk_of(OLD, NEW), desk_of(NEW), desk_of(OLD)


def read(desk: Desk, **body: Any) -> Fetch | None:
    return read_fetch(parse_object(json.dumps(body).encode()), desk)


def wish(**topic: Any) -> dict[str, Any]:
    return {"workerId": "w", "maxTasks": 1, "topics": [
        {"topicName": "t", "lockDuration": 1_000, **topic}
    ]}  # fmt: skip


def test_every_engine_is_asked_what_it_can_be_asked_for() -> None:
    fetch = read(BOTH, **wish())
    assert fetch is not None
    assert [one.name for one in fetch.engines] == ["old", "new"]
    assert fetch.parts == {"new": ["t"]}
    alone = read(SEVEN_ALONE, **wish())
    assert alone is not None and alone.parts == {}
    for filters in ({"processVariables": {"a": 1}}, {"processDefinitionVersionTag": "v"},
                    {"processDefinitionId": "p:1:0"}):  # fmt: skip
        left_out = read(BOTH, **wish(**filters))
        assert left_out is not None and [one.name for one in left_out.engines] == ["old"]
        with pytest.raises(BadRequest, match="No engine here can serve this"):
            read(EIGHT_ALONE, **wish(**filters))


def test_what_the_java_client_leaves_empty_filters_nothing() -> None:
    empty: dict[str, Any] = {
        "variables": None, "businessKey": None, "processDefinitionId": None,
        "processDefinitionIdIn": None, "processDefinitionKey": None,
        "processDefinitionKeyIn": None, "processDefinitionVersionTag": None,
        "processVariables": {}, "tenantIdIn": None, "withoutTenantId": False,
        "localVariables": False, "includeExtensionProperties": False,
    }  # fmt: skip
    fetch = read(BOTH, **wish(**empty), sorting=None, usePriority=True)
    assert fetch is not None and fetch.parts == {"new": ["t"]}
    (topic,) = fetch.shape.topics
    assert (topic.processes, topic.definitions, topic.tenants) == (None, None, None)


def test_replicas_have_one_shape_and_others_have_not() -> None:
    shapes = [read(BOTH, **wish(), asyncResponseTimeout=ms) for ms in (0, 5, 30_000)]
    assert len({one.shape for one in shapes if one is not None}) == 1
    other = read(BOTH, **wish(variables=["a"]))
    assert other is not None and shapes[0] is not None and other.shape != shapes[0].shape


def test_a_fetch_for_nothing_and_a_wrong_one() -> None:
    assert read(BOTH, workerId="w", maxTasks=5, topics=[]) is None
    assert read(BOTH, **(wish() | {"maxTasks": 0})) is None
    for body in (
        {},
        {"workerId": ""},
        wish(lockDuration=0),
        wish(lockDuration=None),
        wish(variables="a"),
        wish() | {"asyncResponseTimeout": 1_800_001},
        wish() | {"topics": [{}] * 201},
        wish() | {"maxTasks": "1"},
    ):
        with pytest.raises(BadRequest):
            read(BOTH, **body)


NAMES = st.sampled_from(
    ("workerId", "maxTasks", "topics", "topicName", "lockDuration", "variables", "businessKey",
     "processDefinitionId", "processDefinitionIdIn", "tenantIdIn", "withoutTenantId",
     "asyncResponseTimeout", "sorting", "usePriority", "processVariables")
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, JSON, max_size=8))
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    try:
        fetch = read(BOTH, **body)
    except BadRequest:
        return
    assert fetch is None or fetch.tasks_max > 0


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(BadRequest):
        parse_object(data)


@given(st.integers(NUMBER_END, NUMBER_MAX))
def test_a_number_of_camunda_8_is_found_in_its_name(number: int) -> None:
    engines = BOTH.engines
    name = name_of(NEW, number)
    assert of_eight(engines, name) == number
    assert definition_of_eight(engines, f"a:b:7:{name}") == number
    assert of_eight(SEVEN_ALONE.engines, name) == NOBODYS
    assert of_eight(engines, to_uuid((NEW.tag + 1) % 2**16, number)) in (NOBODYS, None)


@given(st.text(max_size=40))
def test_any_other_text_is_camunda_7s(text: str) -> None:
    assert of_eight(BOTH.engines, text) is None
    assert definition_of_eight(BOTH.engines, text) is None


def test_numbers_of_no_partition_are_nobodys() -> None:
    """Zeebe calls itself unavailable for them, and would for ever."""
    for number in (0, 1, NUMBER_END - 1):
        assert of_eight(BOTH.engines, name_of(NEW, number)) == NOBODYS


def test_a_file_says_whose_it_is_by_what_it_uses() -> None:
    assert drawn_for(one_task("p", "camunda7")) == {"camunda7"}
    assert drawn_for(one_task("p", "camunda8")) == {"camunda8"}
    assert drawn_for(f"{HEAD}</definitions>".encode()) == frozenset()
    both = one_task("p", "camunda7").replace(b"</process>", b"<zeebe:x/></process>")
    assert drawn_for(both) == {"camunda7", "camunda8"}
    cloud = (
        '<d xmlns:modeler="http://camunda.org/schema/modeler/1.0" '
        'modeler:executionPlatform="Camunda Cloud"/>'
    )
    assert drawn_for(cloud.encode()) == drawn_for(cloud.encode("utf-16")) == {"camunda8"}
    for junk in (b"", b"<", b"not xml", b"<!DOCTYPE d [<!ENTITY a 'b'>]><d>&a;</d>", b"\xff\xfe"):
        assert drawn_for(junk) == frozenset()


@given(st.binary(max_size=200))
def test_any_file_is_looked_at(data: bytes) -> None:
    drawn_for(data)
