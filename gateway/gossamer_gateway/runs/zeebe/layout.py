"""Where a process's elements are drawn, so that Operate and bpmn-js show a picture. Pure.

From left to right: an element is right of all that lead to it. Each belongs to the nearest of these
and takes its row, if it is the first that does; every other begins a row below all that belongs to
those before it. So no two elements share a place.

Flows turn between columns. One to an element that does not belong to where it comes from has a row:
that of its beginning where nothing follows there, else one of its own among what belongs to that.
So no flow runs through an element. What a flow says of itself stands above it, right of where it
begins; columns make room for that.
"""

from collections.abc import Mapping, Sequence
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
    """Where an element is: its row, and the middle and half the width of its shape."""

    row: int
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
    rows, lanes = _rows(order, ahead, columns)
    across = _across(columns, edges)
    places: dict[str, _Place] = {}
    drawn = []
    for node in (one for one in nodes if one.id in columns):
        width, height = SIZES[node.kind]
        x, y = across[columns[node.id]], TOP + rows[node.id] * ROW
        places[node.id] = _Place(rows[node.id], x, y, width // 2)
        drawn.append(
            f"      <bpmndi:BPMNShape id={quoteattr(f'{node.id}_di')}"
            f" bpmnElement={quoteattr(node.id)}>"
            f"{_box(x - width // 2, y - height // 2, width, height)}</bpmndi:BPMNShape>"
        )
    for edge in edges:
        source, target = places[edge.source], places[edge.target]
        points = _way(source, target, lanes.get((edge.source, edge.target), target.row))
        way = "".join(f'<di:waypoint x="{x}" y="{y}"/>' for x, y in points)
        drawn.append(
            f'      <bpmndi:BPMNEdge id="{edge.id}_di" bpmnElement="{edge.id}">{way}'
            f"{_words(edge.name, source, points)}</bpmndi:BPMNEdge>"
        )
    return "\n".join(drawn)


def _way(source: _Place, target: _Place, lane: int) -> list[Point]:
    """From one to the other, along a row."""
    begin, end = (source.x + source.half, source.y), (target.x - target.half, target.y)
    # Lines of different rows turn beside each other.
    out = source.x + TURN + APART * (source.row % 4)
    into = target.x - TURN - APART * (target.row % 4)
    y = TOP + lane * ROW
    there = [] if lane == source.row else [(out, source.y), (out, y)]
    back = [] if lane == target.row else [(into, y), (into, target.y)]
    return [begin, *there, *back, end]


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
    y = points[2][1] if len(points) > 2 and points[1][0] < x else points[0][1]
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
    order: Sequence[str], ahead: Mapping[str, Sequence[str]], columns: Mapping[str, int]
) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """A row for each, by the tree in which an element belongs to what leads to it from next by; and
    the rows of flows that lead elsewhere, by their ends."""
    owner: dict[str, str] = {}
    for id in order:
        for next in ahead[id]:
            if next not in owner or columns[owner[next]] < columns[id]:
                owner[next] = id
    heights: dict[str, int] = {}
    owned: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for id in reversed(order):
        nexts = dict.fromkeys(ahead[id])
        owned[id] = [next for next in nexts if owner[next] == id]
        others[id] = [next for next in nexts if owner[next] != id]
        heights[id] = max(1, sum(heights[next] for next in owned[id]) + len(others[id]))
    rows = {order[0]: 0}
    lanes: dict[tuple[str, str], int] = {}
    for id in order:
        row = rows[id]
        for next in owned[id]:
            rows[next] = row
            row += heights[next]
        for next in others[id]:
            lanes[id, next] = row
            row += 1
    return rows, lanes
