"""Which Camunda a file was drawn for: by the extensions that it uses, not by what it declares.

Elements and attributes of Zeebe's namespace are Camunda 8's, of Camunda's own Camunda 7's; a model
without either may say its platform. What is no XML, or a DMN table, or says nothing, is for either.
A document with a type declaration says nothing here: nothing of it is read, so that none of its
entities is ever opened.
"""

from collections.abc import Mapping
from typing import Literal
from xml.parsers import expat

Kind = Literal["camunda7", "camunda8"]

ZEEBE = "http://camunda.org/schema/zeebe/1.0"
CAMUNDA = "http://camunda.org/schema/1.0/bpmn"
MODELER = "http://camunda.org/schema/modeler/1.0"

PLATFORMS: Mapping[str, Kind] = {"Camunda Platform": "camunda7", "Camunda Cloud": "camunda8"}


class _Declared(Exception):
    """A document type."""


def drawn_for(content: bytes) -> frozenset[Kind]:
    """The Camundas that a file is for; none when it doesn't say, both when it is for neither."""
    used: set[Kind] = set()
    said: set[Kind] = set()

    def element(name: str, attributes: dict[str, str]) -> None:
        for one in (name, *attributes):
            namespace = one.rpartition(" ")[0]
            if namespace == ZEEBE:
                used.add("camunda8")
            elif namespace == CAMUNDA:
                used.add("camunda7")
        platform = PLATFORMS.get(attributes.get(f"{MODELER} executionPlatform", ""))
        if platform is not None:
            said.add(platform)

    def declared(*_: object) -> None:
        raise _Declared

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = element
    parser.StartDoctypeDeclHandler = declared
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, _Declared, ValueError):
        return frozenset()
    return frozenset(used or said)
