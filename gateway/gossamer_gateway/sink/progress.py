"""How far processes have moved from engine to engine: instances per process and engine. Pure.

There are three that can tell, and each figure names its own. An *engine* that can be asked knows
best. The *exporter* of one that cannot has told the sink, some seconds ago. The *gateway* knows
what was started through itself, and nothing of what others started. What nobody can tell is
unknown: it is None here, null in JSON, `?` in a table, and never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

ENGINE, EXPORTER, GATEWAY = "engine", "exporter", "gateway"
"""Who told."""

FIGURES = ("live", "started", "finished", "failed")


@dataclass(frozen=True, slots=True)
class Figures:
    """Instances of one process in one engine, all its versions together; None is unknown.

    Attributes:
        live: that run now.
        started: that began, ended ones among them.
        finished: that ended in whatever way.
        failed: of the live ones, those that have an open incident.
    """

    live: int | None = None
    started: int | None = None
    finished: int | None = None
    failed: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What one source says.

    Attributes:
        source: `ENGINE`, `EXPORTER` or `GATEWAY`.
        as_of_ms: when this was so.
        since_ms: what is `started` and `finished` counts from then on; None for all there ever was,
            as far as the source keeps it.
    """

    source: str
    figures: Figures
    as_of_ms: int
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """One process in one engine.

    Attributes:
        sources: who told each figure that is known.
        as_of_ms: when all of the figures were so; None when none is known.
        since_ms: as in `Told`, the latest of them.
    """

    process: str
    engine: str
    figures: Figures
    sources: Mapping[str, str]
    as_of_ms: int | None
    since_ms: int | None


def combine(process: str, engine: str, told: Sequence[Told | None]) -> Progress:
    """The best that is known, figure by figure.

    Args:
        told: of every source that was asked; None of one that knows nothing.
    """
    ranked = sorted(
        (one for one in told if one is not None),
        key=lambda one: (ENGINE, EXPORTER, GATEWAY).index(one.source),
    )
    found: dict[str, int] = {}
    by: dict[str, Told] = {}
    for one in ranked:
        for name in FIGURES:
            value = getattr(one.figures, name)
            if value is not None and name not in found:
                found[name], by[name] = value, one
    since = [one.since_ms for one in by.values() if one.since_ms is not None]
    return Progress(
        process,
        engine,
        Figures(**found),
        {name: one.source for name, one in by.items()},
        min((one.as_of_ms for one in by.values()), default=None),
        max(since, default=None),
    )


def to_json(progress: Sequence[Progress]) -> dict[str, Any]:
    """The body of `/v1/progress`: processes by name, and in each its engines by name."""
    processes: dict[str, list[dict[str, Any]]] = {}
    for one in sorted(progress, key=lambda one: (one.process, one.engine)):
        processes.setdefault(one.process, []).append(
            {
                "engine": one.engine,
                **{name: getattr(one.figures, name) for name in FIGURES},
                "sources": dict(one.sources),
                "asOf": one.as_of_ms,
                "since": one.since_ms,
            }
        )
    return {
        "processes": [
            {"process": process, "engines": engines} for process, engines in processes.items()
        ]
    }


def from_json(told: Mapping[str, Any]) -> list[Progress]:
    """What `to_json` wrote, as a command reads it from a gateway.

    Raises: KeyError, TypeError for anything else.
    """
    return [
        Progress(
            process["process"],
            one["engine"],
            Figures(**{field.name: one[field.name] for field in fields(Figures)}),
            one["sources"],
            one["asOf"],
            one["since"],
        )
        for process in told["processes"]
        for one in process["engines"]
    ]


def to_table(progress: Sequence[Progress], now_ms: int) -> str:
    """For a terminal: a line for each process and engine, and what the marks mean."""
    rows: list[tuple[str, ...]] = [("process", "engine", *FIGURES, "as of")]
    shown = set()
    for one in sorted(progress, key=lambda one: (one.process, one.engine)):
        cells = []
        for name in FIGURES:
            value, source = getattr(one.figures, name), one.sources.get(name)
            mark = "?" if value is None else MARKS[source or ENGINE]
            cells.append("?" if value is None else f"{value}{mark}")
            shown.add(mark)
        rows.append((one.process, one.engine, *cells, _ago(one.as_of_ms, now_ms)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 or column == len(widths) - 1 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    notes = [note for mark, note in NOTES.items() if mark in shown]
    return "\n".join([*lines, *([""] if notes else []), *notes])


MARKS = {ENGINE: "", EXPORTER: "~", GATEWAY: "*"}

NOTES = {
    "~": "~ as the engine's exporter told, since it was first heard",
    "*": "* as the gateways saw; what was started past them is not in it",
    "?": "? unknown",
}


def _ago(as_of_ms: int | None, now_ms: int) -> str:
    if as_of_ms is None:
        return "-"
    seconds = max(0, now_ms - as_of_ms) // 1_000
    if seconds < 2:
        return "now"
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7_200 else f"{seconds // 3_600} h ago"
