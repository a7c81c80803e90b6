"""One SQLite file that one process owns, and its transactions.

WAL with synchronous FULL: a committed transaction survives a kill at any moment, and a torn one is
not there at all. The lock is exclusive, so a second process cannot open the file. Nothing here
commits by itself: `committer` draws the lines.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gossamer_gateway.errors import InputError
from gossamer_gateway.storage.parts import Part

CACHE_KIB = 16 * 1024
LOCKED_WAIT_S = 2.0
"""How long a process that was just stopped may take to let go of its file."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is in a file.

    Attributes:
        subject: how sentences name it: `The engine's file`.
        option: the flag or setting that names another.
        application_id: SQLite's mark of whose file it is.
        version: kept in `user_version`; a file of another is refused rather than guessed at.
        schema: what makes the tables of a new file.
        parts: tables that grow by steps of their own, whatever `version` is.
    """

    subject: str
    option: str
    application_id: int
    version: int
    schema: str
    parts: Sequence[Part] = ()


class File:
    """One open file. Not for several threads at once, though not bound to one.

    Args:
        path: None keeps everything in memory, for tests.

    Raises: InputError when it is not of the form, or another process has it open.
    """

    def __init__(self, path: Path | None, form: Form) -> None:
        self._path = path
        self._form = form
        try:
            if path is not None:
                path.touch(mode=0o600)  # what is in it is its owner's affair
            self.connection = sqlite3.connect(
                ":memory:" if path is None else path,
                isolation_level=None,
                check_same_thread=False,
                timeout=LOCKED_WAIT_S,
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from error
        except InputError:
            self.close()
            raise

    def _unusable(self, error: Exception) -> InputError:
        reason = "another process has it open" if "locked" in str(error) else str(error)
        return InputError(
            f"{self._form.subject} {self._path} can't be used: {reason}; name another with "
            f"{self._form.option}."
        )

    def _prepare(self) -> None:
        form, execute = self._form, self.connection.execute
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL",
                       f"cache_size = -{CACHE_KIB}", "temp_store = MEMORY"):  # fmt: skip
            execute(f"PRAGMA {pragma}").fetchall()
        execute("BEGIN EXCLUSIVE")  # taken now, and by locking_mode kept
        (version,) = execute("PRAGMA user_version").fetchone()
        (application,) = execute("PRAGMA application_id").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0:
            for statement in form.schema.split(";"):
                execute(statement)
            execute(f"PRAGMA application_id = {form.application_id}")
            execute(f"PRAGMA user_version = {form.version}")
        elif application != form.application_id:
            raise InputError(
                f"{self._path} is another program's file; name another with {form.option}."
            )
        elif version != form.version:
            raise InputError(
                f"{self._path} has version {version}, and {form.version} is read here; use the "
                "Gossamer that wrote it."
            )
        execute("COMMIT")

    def close(self) -> None:
        self.connection.close()

    def begin(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """A part of the open transaction that takes effect whole, or not at all when it raises."""
        self.connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:  # SQLite ends it by itself when the disk is full
                self.connection.execute("ROLLBACK TO part")
                self.connection.execute("RELEASE part")
            raise
        self.connection.execute("RELEASE part")
