"""Who holds which job, for clients whose dialect asks by more than the engine checks."""

import sqlite3
from collections.abc import Iterator

import pytest

from gossamer_gateway import handed
from gossamer_gateway.errors import NotLockedByWorker, UnknownTask
from gossamer_gateway.handed import KEPT_MS, SWEPT_MAX, Handed
from gossamer_gateway.storage.file import File, Form


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    file = File(None, Form("The gateway's file", "--data", 1, 1, handed.SCHEMA))
    yield file.connection
    file.close()


def test_only_who_holds_it_may_work_it(database: sqlite3.Connection) -> None:
    one = Handed("new", "7", "ada", 1_000, "up", {"when": "Date", "o": {"type": "Object"}})
    handed.hand_out(database, [one])

    def held_by(worker: str, now_ms: int = 0, job: str = "7", engine: str = "new") -> Handed:
        return handed.held(database, engine, job, worker, told="a-uuid", now_ms=now_ms)

    assert held_by("ada", 999) == one
    with pytest.raises(NotLockedByWorker, match=r"worker 'bob'. It is locked by worker 'ada'"):
        held_by("bob")
    with pytest.raises(NotLockedByWorker, match=r"a-uuid .* its lock has run out"):
        held_by("ada", 1_000)
    for job, engine in (("8", "new"), ("7", "old")):
        with pytest.raises(UnknownTask, match="External task with id a-uuid does not exist"):
            held_by("ada", job=job, engine=engine)
    handed.prolong(database, one, 2_000)
    assert held_by("ada", 1_999).until_ms == 2_000
    # Taken again, by another: who was late is told so.
    handed.hand_out(database, [Handed("new", "7", "bob", 3_000)])
    assert held_by("bob").types == {}
    with pytest.raises(NotLockedByWorker, match="'bob'"):
        held_by("ada")
    handed.settled(database, "new", "7")
    with pytest.raises(UnknownTask):
        held_by("bob")


def test_old_locks_are_forgotten_some_at_a_time(database: sqlite3.Connection) -> None:
    handed.hand_out(database, [Handed("e", str(n), "w", n) for n in range(SWEPT_MAX + 10)])
    now_ms = KEPT_MS + SWEPT_MAX + 5
    assert handed.sweep(database, now_ms) == SWEPT_MAX
    assert handed.find(database, "e", "0") is None
    assert handed.sweep(database, now_ms) == 5
    assert handed.sweep(database, now_ms) == 0
    assert handed.find(database, "e", str(SWEPT_MAX + 5)) is not None
