"""The mesh's benchmark in its smallest form: the shape of what it says, and nothing timed."""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
from benchmarks.mesh import rumour
from benchmarks.mesh.__main__ import NAMES, main, page, run_part
from benchmarks.mesh.charts import Chart, Series, draw
from benchmarks.mesh.counting import Requests
from benchmarks.mesh.report import Goal, Part, Table, percentile, read_parts, write_part

SIMULATED = ("spread", "stalls")
"""Parts that start no processes of nodes; the others are longer than a unit test may be."""


@pytest.mark.parametrize("name", SIMULATED)
def test_a_part_fills_its_tables_and_comes_back_from_its_files(name: str, tmp_path: Path) -> None:
    part = run_part(name, "tiny", tmp_path)
    assert part.seeds and part.how.strip()
    for table in part.tables:
        assert table.rows and all(len(row) == len(table.columns) for row in table.rows)
    write_part(part, tmp_path)
    assert read_parts(tmp_path, NAMES) == [Part.from_json(part.to_json())]
    assert part.title in page([part], "")
    for picture in tmp_path.glob("*.svg"):
        ET.fromstring(picture.read_text())


def test_a_seed_repeats_a_run_of_the_model() -> None:
    terms = rumour.ours(50)
    assert rumour.Rumour(terms, 7, 25).crash() == rumour.Rumour(terms, 7, 25).crash()
    assert rumour.Rumour(terms, 7).crash() != rumour.Rumour(terms, 8).crash()


def test_in_the_model_nobody_knows_a_death_before_the_least_suspicion() -> None:
    terms = rumour.ours(30)
    known = [one for one in rumour.Rumour(terms, 1).crash() if one is not None]
    assert len(known) == 30 and min(known) >= terms.suspicion_ms[-1]


def test_requests_are_counted_however_they_are_cut() -> None:
    body = b'{"maxTasks": 1}'
    one = b"POST /engine-rest/external-task/fetchAndLock HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s"
    data = one % (len(body), body) + b"GET /engine-rest/version?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"
    for length in (1, 7, len(data)):
        counts: Counter[str] = Counter()
        requests = Requests(counts)
        for start in range(0, len(data), length):
            requests.feed(data[start : start + length])
        assert counts == {"POST fetchAndLock": 1, "GET version": 1}


def test_a_missed_goal_says_why() -> None:
    goals = [Goal("fast", 1, "s", 2.0, why="slow"), Goal("many", 20, "times", 50.0, at_least=True)]
    part = Part("p", "P", "how", [], [Table("t", ["a"])], goals)
    text = page([part], "")
    assert "**missed**" in text and "- fast: slow" in text and "met" in text


def test_percentiles_are_of_values_that_were_there() -> None:
    assert percentile([], 0.5) is None
    assert (percentile([3, 1, 2], 0.5), percentile([3, 1, 2], 0.99)) == (2, 3)


def test_a_chart_leaves_out_what_its_axis_has_no_place_for() -> None:
    chart = Chart("t", "x", "y", [Series("s", [[1, 0], [10, 5], [100, None]])], log_y=True)
    assert draw(chart).count("<circle") == 1


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "there are detection" in capsys.readouterr().err


def test_the_figures_that_are_committed_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "benchmarks" / "results" / "mesh"
    for file in folder.glob("*.json"):
        assert json.loads(file.read_text())["scale"] in ("full", "quick")
        Part.from_json(file.read_text())
    assert all(file.stat().st_size < 100_000 for file in folder.iterdir())
