"""What a part found, as data, as Markdown and as files.

A part's JSON holds everything, so a page is written from the folder alone: one part may be run
again without the others. Every goal is a row of its own with what was measured; one that is missed
says why.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.mesh.charts import Chart, Series, draw

Say = Callable[[str], None]
"""Tells a person how far it is."""

Cell = str | int | float | None

SCALES = ("full", "quick", "tiny")
"""full: the figures that are committed. quick: two minutes, to see that nothing broke. tiny: the
harness's own test."""


@dataclass(slots=True)
class Table:
    """Rows under columns; what has no value is None.

    Attributes:
        note: what one must know to read it.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""


@dataclass(slots=True)
class Goal:
    """Something promised, and what was measured.

    Attributes:
        text: what is measured, for a person.
        bound: how much it may be (or, if `at_least`, must be).
        measured: None when this run was too small to say.
        why: shown when the goal is missed.
    """

    text: str
    bound: float
    unit: str
    measured: float | None
    at_least: bool = False
    why: str = ""

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


@dataclass(slots=True)
class Part:
    """What one part found.

    Attributes:
        how: how it was measured, in whole sentences.
        seeds: of everything that was drawn.
    """

    name: str
    title: str
    how: str
    seeds: list[int]
    tables: list[Table]
    goals: list[Goal] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    seconds: float = 0.0
    scale: str = "full"
    commit: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Part":
        plain = json.loads(text)
        plain["tables"] = [Table(**one) for one in plain["tables"]]
        plain["goals"] = [Goal(**one) for one in plain["goals"]]
        plain["charts"] = [
            Chart(**{**one, "series": [Series(**each) for each in one["series"]]})
            for one in plain["charts"]
        ]
        return cls(**plain)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of all are not above (nearest rank)."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def number(cell: Cell) -> float | None:
    """A cell that is one, or empty."""
    return None if cell is None else float(cell)


def shown(value: Cell) -> str:
    """A cell as a person reads it: three digits that count, thousands apart."""
    if value is None:
        return "–"
    if isinstance(value, float):
        if value == 0 or abs(value) >= 100:
            return f"{value:,.0f}"
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else value


def table_lines(table: Table) -> list[str]:
    """As Markdown, numbers to the right."""
    numeric = [
        any(not isinstance(row[column], str) for row in table.rows)
        for column in range(len(table.columns))
    ]
    lines = [f"**{table.title}**", "", "| " + " | ".join(table.columns) + " |"]
    lines.append("|" + "|".join("--:" if one else "---" for one in numeric) + "|")
    lines += ["| " + " | ".join(shown(cell) for cell in row) + " |" for row in table.rows]
    return lines + (["", table.note] if table.note else [])


def goals_lines(parts: Sequence[Part]) -> list[str]:
    """All goals in one table, and below it why some are missed."""
    lines = ["| Goal | Bound | Measured | |", "|---|--:|--:|---|"]
    missed = []
    for part in parts:
        for goal in part.goals:
            sign = "≥" if goal.at_least else "≤"
            verdict = {True: "met", False: "**missed**", None: "not measured"}[goal.met]
            bound = shown(int(goal.bound) if goal.bound == int(goal.bound) else goal.bound)
            lines.append(
                f"| [{goal.text}](#{_anchor(part.title)}) | {sign} {bound} {goal.unit} | "
                f"{shown(goal.measured)} {goal.unit} | {verdict} |"
            )
            if goal.met is False and goal.why:
                missed.append(f"- {goal.text}: {goal.why}")
    return lines + (["", "Why a goal is missed:", "", *missed] if missed else [])


def part_lines(part: Part, pictures: str) -> list[str]:
    """One part as Markdown. `pictures` is the way from the page to the folder of the charts."""
    lines = [part.how.strip(), ""]
    for number, chart in enumerate(part.charts, 1):
        lines += [f"![{chart.title}]({pictures}{_picture(part, number)})", ""]
    for table in part.tables:
        lines += [*table_lines(table), ""]
    seeds = ", ".join(str(one) for one in part.seeds) or "none: nothing is drawn from one"
    size = (
        "" if part.scale == "full" else f" This was the {part.scale} form, smaller than the full."
    )
    lines += [f"Seeds: {seeds}. Took {part.seconds:.0f} s at `{part.commit}`.{size}", ""]
    return lines


def write_part(part: Part, folder: Path) -> None:
    """The part's JSON, Markdown and charts, in place of an earlier run's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part.name}.json").write_text(part.to_json(), encoding="utf-8")
    text = "\n".join([f"# {part.title}", "", *part_lines(part, "")]).rstrip() + "\n"
    (folder / f"{part.name}.md").write_text(text, encoding="utf-8")
    for number, chart in enumerate(part.charts, 1):
        (folder / _picture(part, number)).write_text(draw(chart), encoding="utf-8")


def read_parts(folder: Path, names: Sequence[str]) -> list[Part]:
    """Those that the folder has, in the order of `names`."""
    files = [folder / f"{name}.json" for name in names]
    return [Part.from_json(one.read_text(encoding="utf-8")) for one in files if one.exists()]


def _anchor(title: str) -> str:
    """Of a heading, as GitHub makes them."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _picture(part: Part, number: int) -> str:
    return f"{part.name}-{number}.svg"
