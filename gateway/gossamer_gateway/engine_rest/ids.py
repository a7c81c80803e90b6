"""What a client calls what lives in Camunda 8: UUIDs that hold a number, `key:version:UUID`.

Any text may come in an id's place. One that is no name of ours is Camunda 7's affair; one that
names an engine that is not configured is unknown, like a number that the engine never gave.
"""

from gossamer_gateway.names.forms import from_uuid, to_uuid
from gossamer_gateway.names.numbers import NUMBER_END
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams

NOBODYS = -1
"""A number that no engine has: the name is of our form, and of no engine here, or of no partition
of Camunda 8 (its keys count from `NUMBER_END`; it calls itself unavailable for any other)."""


def of_eight(engines: Upstreams, id: str) -> int | None:
    """Camunda 8's number in an id; `NOBODYS` of another Camunda 8; None for Camunda 7's ids."""
    found = from_uuid(id)
    if found is None:
        return None
    tag, number = found
    engine = engines.tagged(tag)
    mine = engine is not None and engine is engines.eight and number >= NUMBER_END
    return number if mine else NOBODYS


def definition_of_eight(engines: Upstreams, id: str) -> int | None:
    """As `of_eight`, for the id of a definition: `key:version:UUID`."""
    return of_eight(engines, id.rpartition(":")[2])


def name_of(eight: Upstream, number: int) -> str:
    """The id of a number of Camunda 8."""
    return to_uuid(eight.tag, number)


def definition_name(eight: Upstream, process: str, version: int, number: int) -> str:
    """The id of a definition of Camunda 8."""
    return f"{process}:{version}:{name_of(eight, number)}"
