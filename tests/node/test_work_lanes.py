"""A lane's window: an idle topic ties up one credit, a busy one grows."""

from hypothesis import given
from hypothesis import strategies as st

from gossamer_node.work.claiming import JOBS_PER_POLL_MAX, Lane


def test_a_full_poll_doubles_the_window_and_an_empty_one_closes_it() -> None:
    lane = Lane()
    windows = [lane.window_jobs]
    for asked, brought in [(1, 1), (2, 2), (4, 4), (8, 3), (8, 8), (16, 0)]:
        lane.note_poll(asked, brought)
        windows.append(lane.window_jobs)
    assert windows == [1, 2, 4, 8, 8, 16, 1]


@given(st.lists(st.tuples(st.integers(1, 1_000), st.integers(0, 1_000))))
def test_the_window_keeps_its_bounds(polls: list[tuple[int, int]]) -> None:
    lane = Lane()
    for asked, brought in polls:
        lane.note_poll(min(asked, lane.window_jobs), brought)
        assert 1 <= lane.window_jobs <= JOBS_PER_POLL_MAX
