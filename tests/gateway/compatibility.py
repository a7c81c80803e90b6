"""What each endpoint does on each engine, as tests showed it: recorded by a run, written to a page.

A test says what it shows, for one endpoint and any engines, and may say so several times:

    @proves("engine_rest", "POST /message", camunda7=WORKS, camunda8=differs("by a key alone"))

A test that has a parameter `engine` shows it for that engine alone (`OF_STAGE` knows what the
stages call them). When it passes, that is kept; a run with GOSSAMER_COMPATIBILITY=FILE in its
environment appends what was kept, a line of JSON each. Then

    python -m tests.gateway.compatibility FILE

writes the tables of gateway/COMPATIBILITY.md, between their marks. Endpoints are those that the
dialects serve (`ENDPOINTS`), and a cell that no test showed says so. Of several verdicts on a cell
the most reserved stands, with what all of them note.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import pytest

from gossamer_gateway import v2, zeebe
from gossamer_gateway.desk import Desk
from gossamer_gateway.engine_rest import resources
from gossamer_gateway.grpc.server import ANY

PAGE = Path(__file__).parents[2] / "gateway" / "COMPATIBILITY.md"
FILE = "GOSSAMER_COMPATIBILITY"
ENGINES = {"camunda7": "Camunda 7", "embedded": "embedded", "camunda8": "Camunda 8"}
OF_STAGE = {"old": "camunda7", "new": "camunda8", "small": "embedded"} | {e: e for e in ENGINES}
OF_STAGE["rest"] = "camunda8"  # without its gRPC
VERDICTS = ("works", "differs", "refused")
UNTESTED = "not tested"


@dataclass(frozen=True)
class Verdict:
    """What an endpoint does. `note` is a few words without a full stop."""

    verdict: str
    note: str = ""


WORKS = Verdict("works")


def differs(how: str) -> Verdict:
    """It answers as its dialect does, but for this."""
    return Verdict("differs", how)


def refused(why: str) -> Verdict:
    """It is refused with a sentence in its dialect's form."""
    return Verdict("refused", why)


@dataclass(frozen=True)
class Shown:
    """One cell, as one test showed it."""

    dialect: str
    endpoint: str
    engine: str
    verdict: str
    note: str


def proves(dialect: str, *endpoints: str, **verdicts: Verdict) -> pytest.MarkDecorator:
    """Marks a test.

    Args:
        endpoints: as `ENDPOINTS` spells them.
        verdicts: by `ENGINES`.
    """
    known = endpoints_of(dialect)
    for one in endpoints:
        assert one in known, f"{dialect} has no {one}"
    assert set(verdicts) <= set(ENGINES), verdicts
    return pytest.mark.proves(dialect, endpoints, verdicts)


def endpoints_of(dialect: str) -> Sequence[str]:
    """All endpoints of a dialect, in the order of its page."""
    return ENDPOINTS[dialect]()


def _engine_rest() -> Sequence[str]:
    found = [
        f"{method} {path}".replace("<path:", "{").replace("<", "{").replace(">", "}")
        for resource in resources(cast("Desk", None))
        for method, path, _ in resource.table()
    ]
    return [one for one in found if not one.endswith("/{rest}")] + [ANYTHING_ELSE]


ANYTHING_ELSE = "anything else"


def _v2() -> Sequence[str]:
    found = [
        f"{method} {path}".replace("<", "{").replace(">", "}")
        for method, path, _ in v2.Face(cast("Desk", None)).table()
    ]
    return [*found, ANYTHING_ELSE]


def _zeebe() -> Sequence[str]:
    found = [path.rpartition("/")[2] for path in zeebe.methods(cast("Desk", None))]
    return [one for one in found if one != ANY] + [ANYTHING_ELSE]


ENDPOINTS: Mapping[str, Callable[[], Sequence[str]]] = {
    "engine_rest": _engine_rest,
    "v2": _v2,
    "zeebe": _zeebe,
}
"""By dialect; its page has a table between `<!-- table NAME -->` and `<!-- end -->` for each."""


def shown_by(item: pytest.Item) -> list[Shown]:
    """What a test shows when it passes."""
    callspec = getattr(item, "callspec", None)
    engine = OF_STAGE.get(callspec.params.get("engine", "")) if callspec else None
    return [
        Shown(dialect, endpoint, name, verdict.verdict, verdict.note)
        for mark in item.iter_markers("proves")
        for dialect, endpoints, verdicts in [mark.args]
        for endpoint in endpoints
        for name, verdict in verdicts.items()
        if engine in (None, name)
    ]


_shown: list[Shown] = []


def keep(item: pytest.Item, report: pytest.TestReport) -> None:
    """For the hook that sees each test's end."""
    if report.when == "call" and report.passed:
        _shown.extend(shown_by(item))


def write_kept() -> None:
    """For the hook at the session's end."""
    name = os.environ.get(FILE)
    if name and _shown:
        with Path(name).open("a") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in _shown)
        _shown.clear()


# --- the page


def table(dialect: str, shown: Iterable[Shown]) -> str:
    """A dialect's table, of what was shown."""
    cells: dict[tuple[str, str], list[Shown]] = {}
    for one in shown:
        if one.dialect == dialect:
            cells.setdefault((one.endpoint, one.engine), []).append(one)
    lines = [f"| Endpoint | {' | '.join(ENGINES.values())} |", "|---|---|---|---|"]
    for endpoint in endpoints_of(dialect):
        row = [_cell(cells.get((endpoint, engine), [])) for engine in ENGINES]
        lines.append(f"| `{endpoint}` | {' | '.join(row)} |")
    return "\n".join(lines)


def _cell(shown: Sequence[Shown]) -> str:
    if not shown:
        return UNTESTED
    verdict = max((one.verdict for one in shown), key=VERDICTS.index)
    notes = list(dict.fromkeys(one.note for one in shown if one.note))
    return f"{verdict}: {'; '.join(notes)}" if notes else verdict


def marks(dialect: str) -> tuple[str, str]:
    """Between them stands a table."""
    return f"<!-- table {dialect} -->\n", "\n<!-- end -->"


def rewritten(page: str, shown: Sequence[Shown]) -> str:
    """The page with those tables anew of which something was shown."""
    for dialect in ENDPOINTS:
        if not any(one.dialect == dialect for one in shown):
            continue
        begin, end = marks(dialect)
        before, found, rest = page.partition(begin)
        assert found, f"the page has no place for {dialect}"
        page = f"{before}{begin}{table(dialect, shown)}{rest[rest.index(end) :]}"
    return page


def rows_on(page: str, dialect: str) -> list[list[str]]:
    """The cells of a table on the page, without its head."""
    begin, end = marks(dialect)
    text = page.partition(begin)[2].partition(end)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]


def main(arguments: Sequence[str]) -> None:
    lines = [line for name in arguments for line in Path(name).read_text().splitlines()]
    shown = [Shown(**json.loads(line)) for line in lines]
    PAGE.write_text(rewritten(PAGE.read_text(), shown))


if __name__ == "__main__":
    main(sys.argv[1:])
