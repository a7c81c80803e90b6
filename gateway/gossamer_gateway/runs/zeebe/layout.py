"""Where a process's elements are drawn, so that Operate and bpmn-js show a picture. Pure.

From left to right: an element is right of all that lead to it. Each belongs to the nearest of these
and takes its row, if it is the first that does; every other begins a row below all that belongs to
those before it. So no two elements share a place.

A flow goes straight where nothing is in between. Else it turns between columns, and runs along a
row in which nothing is on its way: of what it leads to when it goes down, of what it comes from
when it goes up; where neither is free, or the row has a flow from there already, between two rows.
What a flow says of itself stands above it, right of where it begins; columns make room for that.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

COLUMN = 170
WORDS = 110
"""More between two columns, where flows say something."""
ROW = 130
LEFT = 180
TOP = 140

TURN = 62
"""From the middle of an element to where its flows turn, which is beside every kind of them."""
APART = 5
"""Between lines that would else lie on each other."""

LINE_CHARACTERS = 17
LINE = 14
"""Of what a flow says, as bpmn-js writes it."""

SIZES = {"event": (36, 36), "gateway": (50, 50), "task": (100, 80)}

Point = tuple[int, int]


class Node(NamedTuple):
    """An element. `kind`: as in `SIZES`."""

    id: str
    kind: str


class Edge(NamedTuple):
    """A sequence flow, and what it says."""

    id: str
    source: str
    target: str
    name: str = ""


class _Place(NamedTuple):
    """Where an element is: its cell, and the middle and half the width of its shape."""

    row: int
    column: int
    x: int
    y: int
    half: int


def draw(nodes: Sequence[Node], edges: Sequence[Edge]) -> str:
    """The shapes and edges of a diagram. The first node is where all begins; no cycles."""
    ahead: dict[str, list[str]] = {node.id: [] for node in nodes}
    for edge in edges:
        ahead[edge.source].append(edge.target)
    order = _order(nodes[0].id, ahead)
    columns = dict.fromkeys(order, 0)
    for id in order:
        for next in ahead[id]:
            columns[next] = max(columns[next], columns[id] + 1)
    rows = _rows(order, ahead, columns)
    across = _across(columns, edges)
    places: dict[str, _Place] = {}
    drawn = []
    for node in (one for one in nodes if one.id in columns):
        width, height = SIZES[node.kind]
        row, column = rows[node.id], columns[node.id]
        at = _Place(row, column, across[column], TOP + row * ROW, width // 2)
        places[node.id] = at
        drawn.append(
            f"      <bpmndi:BPMNShape id={quoteattr(f'{node.id}_di')}"
            f" bpmnElement={quoteattr(node.id)}>{_box(at.x - width // 2, at.y - height // 2, *SIZES[node.kind])}"
            "</bpmndi:BPMNShape>"
        )
    streets = _Streets(places.values())
    for edge in edges:
        source = places[edge.source]
        points = streets.way(source, places[edge.target])
        way = "".join(f'<di:waypoint x="{x}" y="{y}"/>' for x, y in points)
        drawn.append(
            f'      <bpmndi:BPMNEdge id="{edge.id}_di" bpmnElement="{edge.id}">{way}'
            f"{_words(edge.name, source, points)}</bpmndi:BPMNEdge>"
        )
    return "\n".join(drawn)


class _Streets:
    """Ways between elements."""

    def __init__(self, places: Iterable[_Place]) -> None:
        self._taken = {(one.row, one.column) for one in places}
        self._used: set[tuple[int, int]] = set()
        self._between: Counter[int] = Counter()

    def way(self, source: _Place, target: _Place) -> list[Point]:
        begin, end = (source.x + source.half, source.y), (target.x - target.half, target.y)
        # Lines to different rows, or from such, turn beside each other.
        out = source.x + TURN + APART * (source.row % 4)
        into = target.x - TURN - APART * (target.row % 4)
        along = self._is_free(source.row, source, target)
        along = along and (source.row, source.column) not in self._used
        if target.row > source.row and self._is_free(target.row, source, target):
            return [begin, (out, source.y), (out, target.y), end]
        if along:
            self._used.add((source.row, source.column))
            if target.row == source.row:
                return [begin, end]
            return [begin, (into, source.y), (into, target.y), end]
        street = source.row if target.row <= source.row else source.row + 1
        count = self._between[street]
        self._between[street] += 1
        y = TOP + street * ROW - ROW // 2 + APART * _swing(count % 7)
        return [begin, (out, source.y), (out, y), (into, y), (into, target.y), end]

    def _is_free(self, row: int, source: _Place, target: _Place) -> bool:
        between = range(source.column + 1, target.column)
        return not any((row, column) in self._taken for column in between)


def _swing(count: int) -> int:
    """0, 1, -1, 2, -2 …"""
    return (count + 1) // 2 * (1 if count % 2 else -1)


def _across(columns: Mapping[str, int], edges: Sequence[Edge]) -> list[int]:
    """The middle of each column."""
    wide = {columns[one.source] for one in edges if one.name}
    found = [LEFT]
    for column in range(max(columns.values(), default=0)):
        found.append(found[-1] + COLUMN + (WORDS if column in wide else 0))
    return found


def _words(name: str, source: _Place, points: Sequence[Point]) -> str:
    """What a flow says, above the first piece of it that is its own."""
    if not name:
        return ""
    x = source.x + TURN + 4 * APART
    y = points[2][1] if points[1][0] < x else points[0][1]
    height = LINE * -(-len(name) // LINE_CHARACTERS)
    return f"<bpmndi:BPMNLabel>{_box(x, y - 3 - height, WORDS - 8, height)}</bpmndi:BPMNLabel>"


def _box(x: int, y: int, width: int, height: int) -> str:
    return f'<dc:Bounds x="{x}" y="{y}" width="{width}" height="{height}"/>'


def _order(start: str, ahead: dict[str, list[str]]) -> list[str]:
    """All that can be reached, each after everything that leads to it."""
    done: list[str] = []
    seen = {start}
    waiting = [(start, iter(ahead[start]))]
    while waiting:
        id, left = waiting[-1]
        for next in left:
            if next not in seen:
                seen.add(next)
                waiting.append((next, iter(ahead[next])))
                break
        else:
            waiting.pop()
            done.append(id)
    return done[::-1]


def _rows(
    order: Sequence[str], ahead: dict[str, list[str]], columns: dict[str, int]
) -> dict[str, int]:
    """A row for each, by the tree in which an element belongs to what leads to it from next by."""
    owner: dict[str, str] = {}
    for id in order:
        for next in ahead[id]:
            if next not in owner or columns[owner[next]] < columns[id]:
                owner[next] = id
    heights: dict[str, int] = {}
    owned: dict[str, list[str]] = {}
    for id in reversed(order):
        owned[id] = [next for next in dict.fromkeys(ahead[id]) if owner[next] == id]
        heights[id] = max(1, sum(heights[next] for next in owned[id]))
    rows = {order[0]: 0}
    for id in order:
        row = rows[id]
        for next in owned[id]:
            rows[next] = row
            row += heights[next]
    return rows
