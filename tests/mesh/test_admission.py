"""The list of members: reading, editing, and files with errors."""

from pathlib import Path

import pytest

from gossamer_mesh.admission import AllowList, edit, read_ids
from gossamer_mesh.errors import KeyFileError

ONE, TWO, OWN = "1" * 32, "2" * 32, "f" * 32


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_listed_and_oneself_are_admitted(tmp_path: Path) -> None:
    path = write(tmp_path / "members", f"# the hall\n{ONE}   # at the door\n\n")
    listed = AllowList(path, OWN)
    assert [listed.admits(each) for each in (ONE, TWO, OWN)] == [True, False, True]
    assert listed.ids() == [ONE]


def test_another_file_is_noticed_and_an_error_keeps_the_list(tmp_path: Path) -> None:
    path = write(tmp_path / "members", f"{ONE}\n")
    listed = AllowList(path, OWN)
    assert not listed.is_stale()
    write(path, f"{ONE}\n{TWO}\n")
    assert listed.is_stale()
    assert listed.reload() and listed.admits(TWO) and not listed.is_stale()
    write(path, f"{ONE}\nnobody\n")
    with pytest.raises(KeyFileError, match=r"line 2 of .* is no node id"):
        listed.reload()
    assert listed.admits(TWO)
    # It is said once, not at every look.
    assert not listed.is_stale()
    path.unlink()
    assert listed.is_stale()
    with pytest.raises(KeyFileError, match="No such file"):
        listed.reload()
    assert listed.admits(TWO)


def test_a_list_that_others_may_change_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "members", f"{ONE}\n", 0o664)
    with pytest.raises(KeyFileError, match=f"chmod go-w {path}"):
        AllowList(path, OWN)


def test_edits_keep_what_people_wrote(tmp_path: Path) -> None:
    path = tmp_path / "members"
    assert edit(path, ONE, remove=False)
    assert path.stat().st_mode & 0o777 == 0o600
    write(path, f"# the hall\n{ONE}  # at the door\n")
    assert edit(path, TWO, remove=False)
    assert not edit(path, TWO, remove=False)
    assert path.read_text() == f"# the hall\n{ONE}  # at the door\n{TWO}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert edit(path, ONE, remove=True)
    assert not edit(path, ONE, remove=True)
    assert read_ids(path) == [TWO]
    write(path, "junk\n")
    with pytest.raises(KeyFileError, match="line 1"):
        edit(path, ONE, remove=False)
    assert path.read_text() == "junk\n"
