"""Which engine a request goes to, by the number in it.

Below 2⁵¹ the numbers are ours and stand for an id of Camunda 7 (`names.numbers`); all others are
the Camunda 8's own. A number that was never given is *unknown*; one of an engine that does not
answer, or that the configuration has no more, is *unavailable*.

This is also the place where it is known whose process a request is about, as far as anything here
knows it: `Place.process`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gossamer_gateway import handed
from gossamer_gateway.camunda8.fields import Fields
from gossamer_gateway.camunda8.refusals import UNAVAILABLE, Refused
from gossamer_gateway.desk import ENGINE_HEADER, Desk
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.handed import Handed
from gossamer_gateway.names.numbers import NUMBER_END, Named, named
from gossamer_gateway.storage.port import Rows
from gossamer_gateway.upstreams.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks, whichever its wire.

    Attributes:
        key: the one in the path; 0 where the path has none.
        body: in the form of REST v2.
        headers: HTTP's, or the metadata, in small letters.
        files: of a deployment, by name.
    """

    key: int = 0
    body: Fields = field(default_factory=lambda: Fields({}))
    headers: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes.

    Attributes:
        engine: a Camunda 8, which is asked in the client's own bytes, or one of Camunda 7's.
        id: Camunda 7's for the key; empty without a key, and for Camunda 8.
        handed: the row of a job that a client of this dialect took.
        process: the id of the process that it is about, None where nobody here knows it.
    """

    engine: Upstream
    id: str = ""
    handed: Handed | None = None
    process: str | None = None

    @property
    def is_eight(self) -> bool:
        return self.engine.kind == "camunda8"


def engine_named(desk: Desk, request: Request) -> Upstream | None:
    """The engine that a request names. Raises: BadRequest for one that isn't here."""
    named = request.headers.get(ENGINE_HEADER)
    if named is None:
        return None
    found = desk.engines.named(named)
    if found is None:
        known = ", ".join(one.name for one in desk.engines.all) or "none"
        raise BadRequest(f"There is no engine {named} here; there are {known}")
    return found


async def place_of(desk: Desk, key: int, unknown: Refused) -> Place:
    """The place of a key.

    Args:
        unknown: raised where nobody has such a thing.
    """
    if key >= NUMBER_END:
        if desk.engines.eight is None:
            raise unknown
        return Place(desk.engines.eight)

    def look(rows: Rows, _now_ms: int) -> tuple[Named, Handed | None] | None:
        found = named(rows, key)
        if found is None:
            return None
        return found, handed.find(rows, found.engine, found.id)

    known = await desk.storage.submit(look)
    if known is None:
        raise unknown
    name, row = known
    engine = desk.engines.named(name.engine)
    if engine is None:
        raise Refused(
            UNAVAILABLE,
            f"The key {key} belongs to the engine {name.engine}, which this gateway's "
            "configuration does not have any more",
        )
    return Place(engine, name.id, row)
