"""What members answer, read: plain values in, shapes or None out. Pure.

Whoever has the mesh key may answer anything. What has not the form of `gossamer_node.watching` is
None; texts are cut and lose what cannot be printed, numbers have bounds, lists end.
"""

from dataclasses import dataclass
from typing import Any

from gossamer_gateway.watching.shapes import Claimed, EngineSeen, Role
from gossamer_node.watching import NAMES_MAX, ROWS_MAX, TEXT_CHARACTERS_MAX

NUMBER_MAX = 2**53
"""What JSON carries everywhere without loss."""


@dataclass(frozen=True, slots=True)
class NodeSaid:
    """The section `node`."""

    role: Role
    version: str
    up_ms: int
    slots: int | None = None
    running: int | None = None
    unacknowledged: int | None = None
    services: int | None = None
    leases: int | None = None
    outcomes: tuple[tuple[str, int], ...] = ()
    engines: tuple[EngineSeen, ...] = ()
    claimed: tuple[tuple[str, Claimed], ...] = ()
    gossip: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceSaid:
    """A row of the section `services`."""

    name: str
    version: str
    topics: tuple[str, ...]
    instances: int
    waits: str | None


@dataclass(frozen=True, slots=True)
class LeaseSaid:
    """A row of the section `leases`."""

    group: str
    job: str
    topic: str
    epoch: str
    state: str
    holder: str | None
    regrants: int
    done_thousandths: int | None
    doing: str | None


class _Junk(Exception):
    """An answer of no form that is known here."""


def page(answer: Any) -> tuple[list[Any], list[str]] | None:
    """An answer's rows, and after what the next page is to be asked for."""
    match answer:
        case [list(rows), list(after), *_] if len(rows) <= ROWS_MAX and len(after) in (0, 2):
            if all(isinstance(one, str) for one in after):
                return rows, after
    return None


def node(row: Any) -> NodeSaid | None:
    """The one row of the section `node`."""
    try:
        said = _map(row)
        if said.get("role") == "gateway":
            return NodeSaid("gateway", _text(said.get("version")), _number(said.get("up_ms")))
        claimed = sorted(_map(said.get("claimed")).items())[:NAMES_MAX]
        return NodeSaid(
            "node",
            version=_text(said.get("version")),
            up_ms=_number(said.get("up_ms")),
            slots=_number(said.get("slots")),
            running=_number(said.get("running")),
            unacknowledged=_number(said.get("unacknowledged")),
            services=_number(said.get("services")),
            leases=_number(said.get("leases")),
            outcomes=_counts(said.get("outcomes")),
            engines=tuple(_engine(_map(one)) for one in _list(said.get("engines"))),
            claimed=tuple((_text(group), _claimed(_map(one))) for group, one in claimed),
            gossip=_counts(said.get("gossip")),
        )
    except (_Junk, TypeError):  # keys that cannot be sorted
        return None


def service(row: Any) -> ServiceSaid | None:
    """A row of the section `services`."""
    try:
        match row:
            case [name, version, list(topics), instances, waits, *_]:
                shown = tuple(_text(one) for one in topics[:NAMES_MAX])
                number = _number(instances)
                return ServiceSaid(_text(name), _text(version), shown, number, _maybe(waits))
    except _Junk:
        pass
    return None


def lease(row: Any) -> LeaseSaid | None:
    """A row of the section `leases`."""
    try:
        match row:
            case [group, job, topic, epoch, state, holder, regrants, done, doing, *_]:
                return LeaseSaid(
                    _text(group),
                    _text(job),
                    _text(topic),
                    _text(epoch),
                    _text(state),
                    _maybe(holder),
                    _number(regrants),
                    None if done is None else min(1_000, _number(done)),
                    _maybe(doing),
                )
    except _Junk:
        pass
    return None


def _engine(said: dict[Any, Any]) -> EngineSeen:
    return EngineSeen(
        _text(said.get("name")),
        _text(said.get("kind")),
        said.get("reachable") is True,
        _maybe(said.get("product")),
        _maybe(said.get("version")),
        _maybe(said.get("transport")),
        _number(said.get("polls_open")),
        _number(said.get("streams_open")),
        _number(said.get("jobs_activated")),
    )


def _claimed(said: dict[Any, Any]) -> Claimed:
    names = ("open", "granted", "regranted", "settled", "released", "stale", "load_thousandths")
    return Claimed(*(_number(said.get(name)) for name in names))


def _counts(value: Any) -> tuple[tuple[str, int], ...]:
    counted = [(_text(name), _number(one)) for name, one in _map(value).items()]
    return tuple(sorted(counted)[:NAMES_MAX])


def _map(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _Junk
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _Junk
    return value[:NAMES_MAX]


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise _Junk
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Junk
    return "".join(one if one.isprintable() else " " for one in value[:TEXT_CHARACTERS_MAX])


def _maybe(value: Any) -> str | None:
    return None if value is None else _text(value)
