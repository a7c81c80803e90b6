"""The page on compatibility is in step with what the dialects serve."""

import pytest
from tests.gateway import compatibility
from tests.gateway.compatibility import PAGE, UNTESTED, VERDICTS, Shown


@pytest.mark.parametrize("dialect", list(compatibility.ENDPOINTS))
def test_the_page_has_a_row_for_each_endpoint(dialect: str) -> None:
    """A mismatch is mended by `python -m tests.gateway.compatibility FILE`, see there."""
    rows = compatibility.rows_on(PAGE.read_text(), dialect)
    told = [row[0].strip("`") for row in rows]
    assert told == list(compatibility.endpoints_of(dialect))
    for row in rows:
        assert len(row) == 1 + len(compatibility.ENGINES), row
        for cell in row[1:]:
            verdict, _, note = cell.partition(":")
            assert verdict in (*VERDICTS, UNTESTED), row
            assert verdict in ("works", UNTESTED) or note.strip(), f"{row}: say how, or why"


def test_the_most_reserved_verdict_stands() -> None:
    endpoint = compatibility.endpoints_of("engine_rest")[0]
    shown = [
        Shown("engine_rest", endpoint, "camunda8", "works", ""),
        Shown("engine_rest", endpoint, "camunda8", "differs", "a"),
        Shown("engine_rest", endpoint, "camunda8", "differs", "b"),
        Shown("engine_rest", endpoint, "camunda7", "works", ""),
    ]
    page = "".join("".join(compatibility.marks(one)) for one in compatibility.ENDPOINTS)
    page = compatibility.rewritten(page, shown)
    assert compatibility.rows_on(page, "engine_rest")[0] == [
        f"`{endpoint}`", "works", UNTESTED, "differs: a; b",
    ]  # fmt: skip
    assert compatibility.rewritten(page, shown) == page
