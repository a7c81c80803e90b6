"""The gateway's reference page says what its table says."""

from pathlib import Path

from gossamer_gateway import reference as ours
from gossamer_node import reference

ROOT = Path(__file__).parents[2]


def test_the_made_page_agrees_with_its_table() -> None:
    assert reference.stale(ROOT, ours.pages()) == []
