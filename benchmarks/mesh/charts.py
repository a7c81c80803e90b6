"""Charts as small SVG files: lines over a logarithmic or linear axis, and bars.

Own code rather than a plotting library: a chart is 3 to 6 KB of text that a diff can show, it
follows the reader's light or dark page, and nothing has to be installed for it. Every series is
labelled at its end, so no legend has to be matched by colour; goals are dashed lines.
"""

import math
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 56, 48
COLOURS = ("#2f6fde", "#e07b39", "#2a9d6f", "#a04fc4", "#888888")
LABEL_PX_MIN = 14
"""Between two labels at the right side."""

STYLE = """
text{font:12px system-ui,sans-serif;fill:#444}
.title{font-size:15px;font-weight:600;fill:#222}
.axis{stroke:#999}.grid{stroke:#ddd}.goal{stroke:#c33;stroke-dasharray:5 4}.goaltext{fill:#c33}
@media(prefers-color-scheme:dark){text{fill:#bbb}.title{fill:#eee}.axis{stroke:#777}
.grid{stroke:#333}.goal{stroke:#f66}.goaltext{fill:#f66}}
"""


@dataclass(slots=True)
class Series:
    """Points of one kind; `y` None where there is no value."""

    name: str
    points: list[list[float | None]]
    dashed: bool = False


@dataclass(slots=True)
class Chart:
    """What to draw.

    Attributes:
        x_label, y_label: with the unit.
        series: at most five.
        goals: dashed horizontal lines, [value, label].
        log_x, log_y: logarithmic axes; all values on them are above zero.
        x_ticks: where the x axis is labelled, [value, label]; empty: the values that occur.
    """

    title: str
    x_label: str
    y_label: str
    series: list[Series]
    goals: list[list[float | str]] = field(default_factory=list)
    log_x: bool = False
    log_y: bool = False
    x_ticks: list[list[float | str]] = field(default_factory=list)


class _Axis:
    """From a value to a place. Zero is on a linear axis; a logarithmic one ends at decades."""

    def __init__(self, values: list[float], is_log: bool, first_px: float, last_px: float) -> None:
        self._is_log = is_log
        self._first_px, self._last_px = first_px, last_px
        top = max(values, default=1) or 1
        if is_log:
            self.least = 10.0 ** math.floor(math.log10(min(values)) + 1e-9)
            self.most = 10.0 ** math.ceil(math.log10(top) - 1e-9)
            if self.most <= self.least:
                self.most = self.least * 10
        else:
            step = _step(top)
            self.least, self.most = 0.0, math.ceil(top / step + 1e-9) * step

    def px(self, value: float) -> float:
        if self._is_log:
            share = math.log(value / self.least) / math.log(self.most / self.least)
        else:
            share = (value - self.least) / (self.most - self.least)
        return self._first_px + share * (self._last_px - self._first_px)

    def ticks(self) -> list[float]:
        if self._is_log:
            count = round(math.log10(self.most / self.least))
            return [self.least * 10**power for power in range(count + 1)]
        step = _step(self.most)
        return [step * number for number in range(round(self.most / step) + 1)]


def _step(top: float) -> float:
    """A round distance of ticks, four to eight of them up to `top`."""
    power: float = 10.0 ** math.floor(math.log10(top / 4))
    return next(power * one for one in (1, 2, 5, 10) if top / (power * one) <= 8)


def draw(chart: Chart) -> str:
    """The chart as an SVG document."""
    points = [
        (x, y)
        for one in chart.series
        for x, y in one.points
        if x is not None and y is not None and not (chart.log_y and y <= 0)
    ]
    goals = [float(value) for value, _ in chart.goals]
    xs = [x for x, _ in points] + [float(value) for value, _ in chart.x_ticks]
    x_axis = _Axis(xs, chart.log_x, LEFT, WIDTH - RIGHT)
    y_axis = _Axis([y for _, y in points] + goals, chart.log_y, HEIGHT - BOTTOM, TOP)
    if not chart.log_x and xs:
        x_axis.least, x_axis.most = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
    if chart.log_x and xs:
        x_axis.least = min(xs)
        x_axis.most = max(xs) if max(xs) > min(xs) else min(xs) * 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{escape(chart.title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(chart.title)}</text>',
        f'<text x="{LEFT}" y="42">{escape(chart.y_label)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">'
        f"{escape(chart.x_label)}</text>",
    ]
    for tick in y_axis.ticks():
        y = y_axis.px(tick)
        out.append(_line("grid", LEFT, y, WIDTH - RIGHT, y))
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{tick:,g}</text>')
    ticks = chart.x_ticks or [[x, f"{x:,g}"] for x in sorted({x for x, _ in points})]
    for value, label in ticks:
        x = x_axis.px(float(value))
        out.append(_line("axis", x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5))
        out.append(
            f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">'
            f"{escape(str(label))}</text>"
        )
    out.append(_line("axis", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM))
    labels: list[tuple[float, str, str]] = []
    for goal_value, label in chart.goals:
        y = y_axis.px(float(goal_value))
        out.append(_line("goal", LEFT, y, WIDTH - RIGHT, y))
        labels.append((y, "goaltext", str(label)))
    for number, series in enumerate(chart.series):
        colour = COLOURS[number % len(COLOURS)]
        places = [
            (x_axis.px(x), y_axis.px(y))
            for x, y in series.points
            if x is not None and y is not None and not (chart.log_y and y <= 0)
        ]
        if not places:
            continue
        dashes = ' stroke-dasharray="6 4"' if series.dashed else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2"{dashes}/>'
        )
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        labels.append((places[-1][1], f'" style="fill:{colour};font-weight:600', series.name))
    last_px = -math.inf
    for y, look, label in sorted(labels):
        last_px = max(y + 4, last_px + LABEL_PX_MIN)
        out.append(
            f'<text class="{look}" x="{WIDTH - RIGHT + 8}" y="{last_px:.0f}">{escape(label)}</text>'
        )
    out.append("</svg>\n")
    return "\n".join(out)


def _line(look: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{look}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
