"""What a node tells those who watch the mesh: how it is, its services, the leases it answers for.

A gateway has no slots and no claimers, so what it shows to people it asks each node for, on links
of their own. A question is a section and where to go on; an answer is a page of rows and where the
next one begins. Pages go by the names of things, not by numbers of rows, so that what comes and
goes in between neither repeats a row nor hides one that stays.

Whoever has the mesh key may ask. What is told is what `gossamer status` shows to a person on the
node, less its addresses and its process: names of services, topics and engines, keys of jobs, and
the sentence in which a worker said how far it is. Never variables, errors, URLs or secrets: those
go from claimer to holder and no further. A leaf has no mesh key, opens no link, is told nothing.

A status costs the node what the leases do, so one serves everybody who asks within `FRESH_MS`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import trio

from gossamer_mesh.drivers import Mesh
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import WATCH
from gossamer_mesh.packing import pack, unpack

NODE, SERVICES, LEASES = "node", "services", "leases"
"""The sections."""

ROWS_MAX = 200
"""Of one answer."""

TEXT_CHARACTERS_MAX = 256
"""Of any text that is told: longer names and sentences are cut."""

NAMES_MAX = 32
"""Topics of a service that are told; engines and groups of a node."""

REQUEST_BYTES_MAX = 2_048

ANSWER_BYTES_MAX = 512 * 2**10
"""A page of the longest rows that there may be: 200 services with 32 topics of 64 characters."""

TIMEOUT_S = 5.0

FRESH_MS = 200
"""How old a status may be that is told."""

GOSSIP = (
    "members_present",
    "suspicions",
    "health_score",
    "broadcasts_waiting",
    "datagrams_received",
    "datagrams_sent",
    "frames_rejected",
)
"""What is told of the membership protocol on this node."""

Status = Callable[[], Mapping[str, Any]]
Answer = Callable[[str, list[str]], list[Any]]


class Told:
    """Answers for one member, from when it is made.

    Args:
        mesh: the running member.
        answer: gives a page for a section and what to go on after.
    """

    def __init__(self, mesh: Mesh, answer: Answer) -> None:
        self._page = answer
        self.counts: Counter[str] = Counter()
        mesh.handle(WATCH, Handler(self._answer, REQUEST_BYTES_MAX, TIMEOUT_S, ANSWER_BYTES_MAX))

    async def _answer(self, _sender: str, data: bytes) -> bytes:
        try:
            question = unpack(data)
        except Exception:  # msgpack raises a dozen kinds for junk
            question = None
        if not is_question(question):
            self.counts["questions_refused"] += 1
            return pack(None)
        self.counts["questions"] += 1
        packed = pack(self._page(question[0], question[1]))
        return packed if len(packed) <= ANSWER_BYTES_MAX else pack(None)


def of_status(status: Status) -> Answer:
    """Answers out of what `Node.status` gives, looked at again after `FRESH_MS`."""
    last: tuple[float, Mapping[str, Any]] | None = None

    def page(section: str, after: list[str]) -> list[Any]:
        nonlocal last
        now_s = trio.current_time()
        if last is None or now_s - last[0] > FRESH_MS / 1_000:
            last = now_s, status()
        return answer(last[1], section, after)

    return page


def is_question(question: Any) -> bool:
    """Whether something that came is one: a section, and names to go on after."""
    match question:
        case ["node" | "services" | "leases", list(after), *_]:
            return len(after) <= 2 and all(isinstance(one, str) for one in after)
    return False


def answer(status: Mapping[str, Any], section: str, after: list[str]) -> list[Any]:
    """A page: its rows, and after what to ask for the next; an empty list where there is none.

    Args:
        section: `NODE`, `SERVICES` or `LEASES`.
        after: what the page before said; empty for the first one.
    """
    if section == NODE:
        return [[_node(status)], []]
    if section == SERVICES:
        rows = sorted((_service(one) for one in status["services"]), key=lambda row: row[:2])
    else:
        rows = sorted((_lease(one) for one in status["leases"]), key=lambda row: row[:2])
    rest = [row for row in rows if row[:2] > after]
    page = rest[:ROWS_MAX]
    return [page, page[-1][:2] if len(rest) > len(page) else []]


def _node(status: Mapping[str, Any]) -> dict[str, Any]:
    node, holding, network = status["node"], status["holding"], status["network"]
    return {
        "role": "node",
        "version": _cut(node["version"]),
        "up_ms": round(node["up_seconds"] * 1_000),
        "slots": holding["slots"],
        "running": holding["running"],
        "unacknowledged": holding["unacknowledged"],
        "outcomes": {_cut(kind): count for kind, count in status["outcomes"].items()},
        "engines": [
            {
                "name": _cut(one["name"]),
                "kind": _cut(one["kind"]),
                "reachable": one["reachable"],
                "product": _cut(one["product"]),
                "version": _cut(one["version"]),
                "transport": _cut(one["transport"]),
                "polls_open": one["polls_open"],
                "streams_open": one["streams_open"],
                "jobs_activated": one["jobs_activated"],
            }
            for one in _some(status["engines"])
        ],
        "claimed": {
            _cut(group): {
                "open": one["open"],
                "granted": one["granted"],
                "regranted": one["regranted"],
                "settled": one["settled"],
                "released": one["released"],
                "stale": one["stale"],
                "load_thousandths": one["load_thousandths"],
            }
            for group, one in _some(sorted(status["claimed"].items()))
        },
        "services": len(status["services"]),
        "leases": len(status["leases"]),
        "gossip": {name: network.get(name, 0) for name in GOSSIP},
    }


def _service(one: Mapping[str, Any]) -> list[Any]:
    topics = [_cut(topic) for topic in _some(one["topics"])]
    return [_cut(one["name"]), _cut(one["version"]), topics, one["instances"], _cut(one["waits"])]


def _lease(one: Mapping[str, Any]) -> list[Any]:
    done = None if one["done"] is None else round(one["done"] * 1_000)
    return [
        _cut(one["group"]),
        _cut(one["job"]),
        _cut(one["topic"]),
        one["epoch"],
        one["state"],
        one["holder_id"],
        one["regrants"],
        done,
        _cut(one["doing"]),
    ]


def _some(many: Iterable[Any]) -> list[Any]:
    return list(many)[:NAMES_MAX]


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:TEXT_CHARACTERS_MAX]
