"""The HTTP face of the sink: what Zeebe's exporter asks of an Elasticsearch.

The exporter knows a scheme, a host and a port, and no path, so these resources lie at the root of
the server, where nothing else of the gateway begins with an underscore. Which engine speaks is told
by the prefix of its indices; a gateway with one Camunda 8 takes any. Who may speak is decided
before, at the door: the exporter can send HTTP Basic.

Answers are what the exporter reads of them: of a bulk whether there were errors, of a template
that it was acknowledged. Templates, policies and settings are acknowledged and forgotten. What
cannot be kept now is answered 503: the exporter holds its position and sends the same again. A bulk
that names no engine is answered 400; it is repeated, too, and stands in the broker's log.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import trio
from quart import Blueprint, request

from gossamer_gateway.errors import Overloaded, StorageFailed
from gossamer_gateway.sink.records import Bulk
from gossamer_gateway.sink.store import Taken, take
from gossamer_gateway.storage.port import Command

BODY_BYTES_MAX = 16 * 2**20
"""Of a bulk. The exporter sends one once it has 10 MiB (`bulk.memoryLimit`), and the record that
made it so many may have 4 MiB itself."""

READ_S_MAX = 60.0
"""Until a bulk must be here. The exporter itself gives up after 30 s (`requestTimeoutMs`), and who
lets it trickle in holds a place that another partition waits for."""

SLICE_BYTES = 64 * 2**10
"""Read before others have their turn: about a hundred records, a millisecond or two."""

BULKS_MAX = 4
"""Read at a time; the rest wait. Each partition sends one at a time, so they are of several."""

PREFIX_DEFAULT = "zeebe-record"
"""The exporter's own."""

T = TypeVar("T")
Json = dict[str, Any]
Answer = tuple[Json, int, dict[str, str]]


class Submit(Protocol):
    """`Storage.submit`."""

    def __call__(self, command: Command[T], /) -> Awaitable[T]: ...


def create_blueprint(
    submit: Submit,
    engines: Sequence[str],
    taken: Callable[[str, Taken], None] = lambda _engine, _taken: None,
) -> Blueprint:
    """The resources, for the root of an application.

    Its `MAX_CONTENT_LENGTH` must not be below `BODY_BYTES_MAX`.

    Args:
        engines: the names of those whose exporter may come.
        taken: told of every bulk that is on disk.
    """
    routes = Blueprint("sink", __name__)
    places = trio.CapacityLimiter(BULKS_MAX)

    async def bulk() -> Answer:
        async with places:
            read = Bulk()
            with trio.move_on_after(READ_S_MAX) as scope:
                refused = await _read(read)
            if scope.cancelled_caught:
                reason = f"the bulk was not here within {READ_S_MAX:g} s"
                return _error(408, "timeout_exception", reason)
            return refused or await _keep(read)

    async def _read(read: Bulk) -> Answer | None:
        size = 0
        async for data in request.body:
            size += len(data)
            if size > BODY_BYTES_MAX:
                return _error(
                    413,
                    "content_too_long_exception",
                    f"a bulk has at most {BODY_BYTES_MAX} bytes here; set the exporter's "
                    "bulk.memoryLimit below that",
                )
            for begin in range(0, len(data), SLICE_BYTES):
                read.feed(data[begin : begin + SLICE_BYTES])
                await trio.lowlevel.checkpoint()
        read.finish()
        return None

    async def _keep(read: Bulk) -> Answer:
        engine = engine_of(read.prefix, engines)
        if engine is None:
            return _error(
                400,
                "illegal_argument_exception",
                f"no engine is called {read.prefix}; set the exporter's index.prefix to one of "
                f"{', '.join(engines) or 'none'}",
            )
        try:
            result = await submit(lambda rows, now_ms: take(rows, engine, read, now_ms))
        except (StorageFailed, Overloaded) as error:
            return _error(503, "unavailable_shards_exception", str(error))
        taken(engine, result)
        return {"took": 0, "errors": False, "items": []}, 200, _HEADERS

    async def acknowledge(**_named: str) -> Answer:
        return {"acknowledged": True}, 200, _HEADERS

    routes.add_url_rule("/_bulk", "bulk", bulk, methods=["POST"])
    for rule in ("/_index_template/<name>", "/_component_template/<name>", "/_ilm/policy/<name>",
                 "/<name>/_settings"):  # fmt: skip
        routes.add_url_rule(rule, rule, acknowledge, methods=["PUT"])
    return routes


_HEADERS = {"X-Elastic-Product": "Elasticsearch"}
"""By which Elastic's own clients know whom they speak to."""


def engine_of(prefix: str | None, engines: Sequence[str]) -> str | None:
    """Which engine an exporter belongs to that calls its indices so; None for none of them."""
    if prefix in engines:
        return prefix
    if len(engines) == 1 and prefix in (None, PREFIX_DEFAULT):
        return engines[0]
    return None


def _error(status: int, kind: str, reason: str) -> Answer:
    told = {"error": {"type": kind, "reason": reason}, "status": status}
    return told, status, _HEADERS | ({"Retry-After": "1"} if status == 503 else {})
