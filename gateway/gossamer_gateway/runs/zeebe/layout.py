"""Where a process's elements are drawn, so that Operate and bpmn-js show a picture. Pure.

From left to right: an element is right of all that lead to it. Each belongs to the nearest of these
and takes its row, if it is the first that does; every other begins a row below all that belongs to
those before it. So no two elements share a place.
"""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

COLUMN = 170
ROW = 130
LEFT = 180
TOP = 140

SIZES = {"event": (36, 36), "gateway": (50, 50), "task": (100, 80)}


class Node(NamedTuple):
    """An element. `kind`: as in `SIZES`."""

    id: str
    kind: str


class Edge(NamedTuple):
    """A sequence flow."""

    id: str
    source: str
    target: str


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
    kinds = {node.id: node.kind for node in nodes}
    middle = {
        id: (LEFT + columns[id] * COLUMN, TOP + rows[id] * ROW) for id in order
    }  # fmt: skip
    drawn = []
    for id in (node.id for node in nodes if node.id in middle):
        (x, y), (width, height) = middle[id], SIZES[kinds[id]]
        drawn.append(
            f"      <bpmndi:BPMNShape id={quoteattr(f'{id}_di')} bpmnElement={quoteattr(id)}>"
            f'<dc:Bounds x="{x - width // 2}" y="{y - height // 2}"'
            f' width="{width}" height="{height}"/></bpmndi:BPMNShape>'
        )
    for edge in edges:
        begins = middle[edge.source][0] + SIZES[kinds[edge.source]][0] // 2
        ends = middle[edge.target][0] - SIZES[kinds[edge.target]][0] // 2
        from_y, to_y = middle[edge.source][1], middle[edge.target][1]
        points = [(begins, from_y), (ends, to_y)]
        if from_y != to_y:
            bend = ends - 20
            points[1:1] = [(bend, from_y), (bend, to_y)]
            if from_y < to_y:  # down at once, so that the row above stays free
                bend = begins + 15
                points[1:3] = [(bend, from_y), (bend, to_y)]
        elif columns[edge.target] - columns[edge.source] > 1:  # over what is in between
            over = from_y - ROW // 2
            points[1:1] = [(begins + 15, from_y), (begins + 15, over), (ends - 15, over)]
            points.insert(4, (ends - 15, to_y))
        way = "".join(f'<di:waypoint x="{x}" y="{y}"/>' for x, y in points)
        drawn.append(
            f'      <bpmndi:BPMNEdge id="{edge.id}_di" bpmnElement="{edge.id}">{way}'
            "</bpmndi:BPMNEdge>"
        )
    return "\n".join(drawn)


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
