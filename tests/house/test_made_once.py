"""What the processes of a session share is made by one of them, and whole when another sees it."""

from pathlib import Path

import pytest
from tests.made_once import made_once


def test_the_second_one_finds_what_the_first_has_made(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("made" * len(made))

    first, second = (made_once(tmp_path_factory, "for-this-test", make) for _ in range(2))
    assert first == second and first.read_text() == "made" and made != [first]


def test_what_was_not_made_is_tried_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    def fail(path: Path) -> None:
        path.mkdir()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made_once(tmp_path_factory, "tried-again", fail)
    made = made_once(tmp_path_factory, "tried-again", lambda path: path.mkdir(exist_ok=True))
    assert made.is_dir()
