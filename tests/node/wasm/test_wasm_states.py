"""The states of keys on the disk: synced, bounded, and whole whatever ended the writing."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gossamer_node.errors import InputError
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.versions import Version
from gossamer_node.wasm.living.states import Kept, KeptAnswer, StateError, States
from gossamer_node.wasm.store import Change, Store


@pytest.fixture
def states_file(tmp_path: Path) -> Path:
    return tmp_path / "states.sqlite"


def test_a_commit_is_synced_to_the_disk(states_file: Path) -> None:
    states = States(states_file)
    pragmas = [
        states._store.database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]
    states.close()
    assert pragmas == ["wal", 2]


def test_a_log_that_ends_anywhere_has_a_state_with_its_answer(
    states_file: Path, tmp_path: Path
) -> None:
    """A machine that loses power may lose the end of the log, or have torn pages there."""
    key = Key("s", "", "k")
    states = States(states_file)
    for number in range(1, 6):
        states.keep(key, "e", f"job-{number}", b"%d" % number, b"answer %d" % number)
    whole, log = states_file.read_bytes(), Path(f"{states_file}-wal").read_bytes()
    states.close()
    found = set()
    for torn in (b"", b"\xff" * 512):
        # By less than a page, so each commit is cut before, in and after each of its pages.
        for end in range(0, len(log) + 1, 1_021):
            (tmp_path / "cut.sqlite").write_bytes(whole)
            (tmp_path / "cut.sqlite-wal").write_bytes(log[:end] + torn)
            (tmp_path / "cut.sqlite-shm").unlink(missing_ok=True)
            cut = States(tmp_path / "cut.sqlite")
            kept = cut.read(key)
            state = kept.state
            answers = [cut.answer(key, "e", f"job-{n}", kept.version) for n in range(1, 6)]
            cut.close()
            last = int(state or 0)
            assert kept.version.number == last
            assert answers == [b"answer %d" % n if n <= last else None for n in range(1, 6)]
            found.add(last)
    assert found >= {0, 1, 2, 3, 4}


def test_nobody_hears_that_a_state_is_kept_when_the_writer_failed(
    states_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread writes for those that wait; what fails it in whatever way tells none of success,
    and it goes on."""
    states = States(states_file)
    key = Key("s", "", "k")

    def fails(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(States, "_apply", fails)
        with pytest.raises(StateError, match="could not be written"):
            states.keep(key, "e", "job-2", b"2", b"{}")
    assert states.read(key) == Kept()
    states.keep(key, "e", "job-2", b"2", b"{}")
    assert states.read(key).state == b"2"
    states.close()


def test_who_gives_up_before_the_writer_begins_leaves_nothing(states_file: Path) -> None:
    class GaveUp(Exception):
        pass

    written: list[Change] = []
    began, go_on = threading.Event(), threading.Event()

    def write(_database: object, changes: Sequence[Change]) -> None:
        written.extend(changes)
        began.set()
        go_on.wait()

    store: Store[Change] = Store(states_file, "", write, subject="it", mending="mend it")
    first, second = Change(), Change()
    busy = threading.Thread(target=store.commit, args=(first,))
    busy.start()
    began.wait()

    def give_up(_event: threading.Event) -> None:
        raise GaveUp

    with pytest.raises(GaveUp):
        store.commit(second, give_up)
    go_on.set()
    busy.join()
    store.close()
    assert written == [first]
    with pytest.raises(StateError, match="could not be written"):
        store.commit(second)


def test_answers_are_bounded_and_the_oldest_go(
    states_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Key("s", "", "k")

    def kept(states: States) -> list[int]:
        version = states.read(key).version
        found = [states.answer(key, "e", f"job-{n}", version) for n in range(20)]
        return [n for n, one in enumerate(found) if one is not None]

    monkeypatch.setattr("gossamer_node.wasm.living.states.ANSWERS_BYTES_MAX", 1_000)
    monkeypatch.setattr("gossamer_node.wasm.living.states.ANSWERS_MAX", 5)
    states = States(states_file)
    for number in range(8):
        states.keep(key, "e", f"job-{number}", b"x", b"x" * 10)
    assert kept(states) == [3, 4, 5, 6, 7]
    states.keep(key, "e", "job-8", b"x", b"x" * 975)
    assert kept(states) == [6, 7, 8]
    states.close()
    states = States(states_file)
    states.keep(key, "e", "job-9", b"y", b"x" * 20)
    assert kept(states) == [8, 9]
    assert states.read(key).state == b"y"
    states.close()


def test_a_file_that_is_no_database_is_refused(states_file: Path) -> None:
    states_file.write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match="cannot be used"):
        States(states_file)


def test_many_threads_write_together(states_file: Path) -> None:
    states = States(states_file)

    def write(name: str) -> None:
        for number in range(20):
            states.keep(Key("s", "", name), "e", f"{name}-{number}", b"%d" % number, b"{}")

    threads = [threading.Thread(target=write, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [states.read(Key("s", "", str(n))).state for n in range(8)] == [b"19"] * 8
    assert states.kept("s") == 8
    states.close()
    again = States(states_file)
    assert again.kept("s") == 8
    again.close()


def test_what_a_home_says_is_kept_unless_a_later_one_was_there(states_file: Path) -> None:
    key = Key("s", "", "k")
    states = States(states_file, "me")
    assert not states.has_met
    states.keep(key, "e", "job-1", b"1", b"first")
    own = states.read(key).version
    assert own == Version(1, ((1, 1, "me"),))
    later = own.next((3, "home"))
    answer = KeptAnswer("e", "job-2", b"second", 2)
    assert states.put(key, (3, "home"), later, b"2", (answer,)) == 0
    assert states.has_met
    assert states.read(key) == Kept(later, b"2")
    assert states.answer(key, "e", "job-1", later) == b"first"
    assert states.put(key, (2, "old"), own.next((2, "old")), b"x", ()) == 3
    assert states.read(key) == Kept(later, b"2")
    # Alone again, this node goes on under a reign of its own.
    assert states.keep(key, "e", "job-3", b"3", b"third") == later.next((4, "me"))
    states.close()
    again = States(states_file, "me")
    assert again.has_met and again.read(key).state == b"3" and again.kept("s") == 1
    again.close()


def test_answers_of_a_history_that_lost_do_not_count(states_file: Path) -> None:
    key = Key("s", "", "k")
    states = States(states_file, "me")
    states.keep(key, "e", "job-1", b"1", b"first")
    states.keep(key, "e", "job-2", b"mine", b"mine")
    common = Version(1, ((1, 1, "me"),))
    won = common.next((2, "home")).next((2, "home"))
    answer = KeptAnswer("e", "job-3", b"theirs", 2)
    assert states.put(key, (2, "home"), won, b"theirs", (answer,)) == 0
    found = [states.answer(key, "e", f"job-{number}", won) for number in (1, 2, 3)]
    assert found == [b"first", None, b"theirs"]
    assert [one.job for one in states.answers(key, won, 8, 1_000)] == ["job-1", "job-3"]
    assert [one.job for one in states.answers(key, won, 8, 8)] == ["job-3"]
    states.close()


def test_an_emptied_key_is_remembered_once_there_are_others(
    states_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = Key("s", "", "k"), Key("s", "", "other")
    states = States(states_file, "me")
    states.keep(key, "e", "job-1", b"1", b"")
    assert states.keep(key, "e", "job-2", b"", b"") == Version()
    assert states.page(None, 10) == []
    states.meet()
    states.keep(key, "e", "job-3", b"1", b"")
    emptied = states.keep(key, "e", "job-4", b"", b"")
    assert states.read(key) == Kept(emptied, b"") and states.kept("s") == 0
    assert states.page(None, 10) == [(key, emptied)]
    monkeypatch.setattr("gossamer_node.wasm.living.states.EMPTIED_S", -1)
    states.keep(other, "e", "job-5", b"1", b"")
    states.keep(other, "e", "job-6", b"", b"")
    assert states.page(None, 10) == []
    states.close()


def test_an_old_copy_is_dropped_and_a_newer_one_is_not(states_file: Path) -> None:
    key = Key("s", "", "k")
    states = States(states_file, "me")
    for number in range(3):
        version = states.keep(key, "e", f"job-{number}", b"%d" % number, b"")
    states.drop(key, Version(2, version.line))
    assert states.read(key).version == version and states.kept("s") == 1
    states.drop(key, version)
    assert states.read(key) == Kept() and states.kept("s") == 0
    states.close()


def test_keys_are_read_by_pages(states_file: Path) -> None:
    states = States(states_file, "me")
    keys = [Key("s", tenant, str(number)) for tenant in ("", "t") for number in range(5)]
    for key in reversed(keys):
        states.keep(key, "e", "job", b"x", b"")
    found: list[Key] = []
    while page := states.page(found[-1] if found else None, 3):
        found += [key for key, _ in page]
    assert found == keys
    states.close()
