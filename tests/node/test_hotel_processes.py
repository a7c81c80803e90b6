"""The hotel's BPMN: one process in two dialects, each element drawn, each topic served."""

import xml.etree.ElementTree as ET
from typing import Literal

import pytest
from gossamer_hotel import PROCESS_ID, TOPICS, bpmn_files
from gossamer_hotel.reservations import Ending

BPMN = "{http://www.omg.org/spec/BPMN/20100524/MODEL}"
DI = "{http://www.omg.org/spec/BPMN/20100524/DI}"
CAMUNDA = "{http://camunda.org/schema/1.0/bpmn}"
ZEEBE = "{http://camunda.org/schema/zeebe/1.0}"
DIALECTS: tuple[Literal["camunda7", "camunda8"], ...] = ("camunda7", "camunda8")


def processes(dialect: Literal["camunda7", "camunda8"]) -> list[ET.Element]:
    return [ET.fromstring(data) for data in bpmn_files(dialect).values()]


def elements(root: ET.Element) -> dict[str, str]:
    """Tag by id of each flow node and sequence flow."""
    process = root.find(f"{BPMN}process")
    assert process is not None
    return {one.attrib["id"]: one.tag for one in process if "id" in one.attrib}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_element_is_drawn(dialect: Literal["camunda7", "camunda8"]) -> None:
    for root in processes(dialect):
        drawn = [
            one.attrib["bpmnElement"]
            for kind in ("BPMNShape", "BPMNEdge")
            for one in root.iter(f"{DI}{kind}")
        ]
        assert sorted(drawn) == sorted(elements(root))


def test_both_dialects_have_the_same_elements() -> None:
    seven, eight = ([elements(root) for root in processes(dialect)] for dialect in DIALECTS)
    assert seven == eight


def test_the_topics_are_those_of_the_workers() -> None:
    seven = [
        task.attrib[f"{CAMUNDA}topic"]
        for root in processes("camunda7")
        for task in root.iter(f"{BPMN}serviceTask")
    ]
    eight = [
        task.attrib["type"]
        for root in processes("camunda8")
        for task in root.iter(f"{ZEEBE}taskDefinition")
    ]
    assert sorted(seven) == sorted(eight) == sorted(TOPICS)


def test_each_ending_has_its_end_event() -> None:
    found = [root.find(f"{BPMN}process[@id='{PROCESS_ID}']") for root in processes("camunda7")]
    (hotel,) = [process for process in found if process is not None]
    ends = {one.attrib["id"] for one in hotel.iter(f"{BPMN}endEvent")}
    assert ends == {ending.end_event_id for ending in Ending}
