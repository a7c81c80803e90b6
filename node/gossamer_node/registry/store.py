"""The registry: which versions of which services a node knows, in one SQLite file.

A row is one version of a service: its service.yaml, the hashes of its module and of its proto-files
if it has some, the operator's order if there is one, and what became of it here. What the hashes
name is in files beside the database (`contents`).
Nothing reads all rows but who asks for a list: opening the file costs the same with one row and
with a hundred thousand.

A removal stays as a row, or the next member would bring the version back; which decision on a
version counts is in `rows`. Of each name one version is *chosen*: the highest that is there, has
its module here, and was not refused.

`digest` stands for all signed rows: the sum of eight bytes of each one's hash. Two nodes with the
same orders have the same digest, in whatever order these came.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gossamer_node.errors import InputError, NodeError
from gossamer_node.registry.contents import Contents
from gossamer_node.registry.packed import pack_spec
from gossamer_node.registry.rows import (
    COLUMNS,
    Facts,
    Row,
    mark_of,
    overrules,
    row_of,
    topics_of,
    values_of,
)
from gossamer_node.registry.semver import precedence
from gossamer_node.service.spec import ServiceSpec

FOLDER_NAME = "services"
"""In the node's data folder."""

ROWS_MAX = 1_000_000
"""Versions, removed ones included; ten times what a node is meant to know."""

PAGE_BYTES_MAX = 48 * 2**10
"""Of orders in one answer to another node."""

LISTED_AT_ONCE = 500
"""Rows that a list reads at a time, so that nothing else waits for it."""

_BUSY_MS = 5_000

_DIGEST_MODULUS = 2**64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS services (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL, version TEXT NOT NULL, number INTEGER NOT NULL, there INTEGER NOT NULL,
    description BLOB NOT NULL, module TEXT NOT NULL, size INTEGER NOT NULL, profile TEXT NOT NULL,
    topics TEXT NOT NULL, spec BLOB NOT NULL, word BLOB, here INTEGER NOT NULL,
    refused TEXT NOT NULL, chosen INTEGER NOT NULL, added_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL, files TEXT NOT NULL, files_size INTEGER NOT NULL,
    UNIQUE (name, version)
);
CREATE INDEX IF NOT EXISTS by_use ON services (chosen, used_ms);
CREATE INDEX IF NOT EXISTS by_module ON services (module);
CREATE INDEX IF NOT EXISTS by_files ON services (files) WHERE files <> '';
CREATE INDEX IF NOT EXISTS wanted ON services (seq) WHERE there AND NOT here;
CREATE INDEX IF NOT EXISTS refusals ON services (seq) WHERE refused <> '';
CREATE INDEX IF NOT EXISTS signed ON services (seq) WHERE word IS NOT NULL;
CREATE TABLE IF NOT EXISTS totals (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Registry:
    """The registry in a folder. Safe to use from several threads, not from several processes:
    who writes holds the node's data folder."""

    def __init__(self, folder: Path) -> None:
        """Open or make it. Raises: InputError, for a file that is none of ours."""
        self.folder = folder
        self.contents = Contents(folder)
        self._lock, self._reading = threading.RLock(), threading.Lock()
        file = folder / "registry.sqlite"
        opened: list[sqlite3.Connection] = []
        try:
            self.contents.make()
            self._database = _connect(file, opened)
            self._database.execute("PRAGMA journal_mode=WAL").fetchone()
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            self._digest = int(self._total("digest"))
            self._known = int(self._total("known"))
            self._chosen = int(self._total("chosen"))
            self._choices = 0
            # Who asks from the node's loop never waits until a change is on the disk.
            self._reader = _connect(file, opened)
        except (sqlite3.Error, OSError, ValueError) as error:
            for one in opened:
                one.close()
            raise InputError(
                f"the registry {file} cannot be used ({error}); see to the disk, or move the file "
                "away and add the services again."
            ) from None

    def close(self) -> None:
        with self._lock, self._reading:
            self._reader.close()
            self._database.close()

    # --- what is asked

    def digest(self) -> bytes:
        """Eight bytes that stand for all signed decisions; none where there are none."""
        return self._digest.to_bytes(8, "big") if self._digest else b""

    def known(self) -> int:
        """Versions that are there, chosen or not."""
        return self._known

    def chosen_count(self) -> int:
        """Names of which a version is chosen."""
        return self._chosen

    def choices(self) -> int:
        """How often another version was chosen for any name, since the registry was opened."""
        return self._choices

    def get(self, name: str, version: str) -> Row | None:
        """One version, removed or not."""
        found = self._select("WHERE name = ? AND version = ?", (name, version))
        return found[0] if found else None

    def chosen(self, name: str) -> Row | None:
        """The version of a name that is to work here."""
        found = self._select("WHERE name = ? AND chosen", (name,))
        return found[0] if found else None

    def most_used(self, count: int) -> list[Row]:
        """Chosen versions, the one that was used last first."""
        return self._select("WHERE chosen = 1 ORDER BY used_ms DESC LIMIT ?", (count,))

    def versions(self, name: str) -> list[Row]:
        """All versions of a name that are there, the highest first."""
        found = self._select("WHERE name = ? AND there", (name,))
        return sorted(found, key=lambda one: precedence(one.version), reverse=True)

    def listed(self, only: str = "") -> Iterator[Row]:
        """All that are there, by name, or all of one name; without their descriptions."""
        name, version = only, ""
        columns = COLUMNS.replace("description", "x''").replace(
            "spec, word", "x'', word IS NOT NULL"
        )
        while True:
            with self._asking():
                rows = self._reader.execute(
                    f"SELECT {columns} FROM services "  # noqa: S608 - no value in it
                    "WHERE (name, version) > (?, ?) ORDER BY name, version LIMIT ?",
                    (name, version, LISTED_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            name, version = rows[-1][0], rows[-1][1]
            for one in rows:
                if only not in ("", one[0]):
                    return
                if one[3]:
                    yield row_of((*one[:10], b"1" if one[10] else None, *one[11:]))

    def wanted(self) -> list[Row]:
        """Versions that are to be there, and something of them has not come yet."""
        return self._select(
            "WHERE there AND NOT here AND refused = '' ORDER BY seq LIMIT ?", (LISTED_AT_ONCE,)
        )

    def travels(self, content: str) -> bool:
        """Whether a module, or packed files, are of a version that an operator signed, so that
        others may have them."""
        with self._asking():
            found = self._reader.execute(
                "SELECT 1 FROM services WHERE module = ?1 AND here AND word IS NOT NULL "
                "UNION ALL SELECT 1 FROM services WHERE files <> '' AND files = ?1 AND here "
                "AND word IS NOT NULL LIMIT 1",
                (content,),
            ).fetchone()
        return found is not None

    def last_place(self) -> int:
        """The place of the newest signed decision; `words` counts down from there."""
        with self._asking():
            found = self._reader.execute(
                "SELECT seq FROM services WHERE word IS NOT NULL ORDER BY seq DESC LIMIT 1"
            ).fetchone()
        return int(found[0]) if found else 0

    def words(self, before: int) -> tuple[int, list[bytes]]:
        """Signed orders, the newest first, as many as an answer takes.

        Args:
            before: the place that the last page ended at; 0 for the first one.

        Returns: the place that this page ends at, 0 for the last one, and the orders.
        """
        orders: list[bytes] = []
        size, place = 0, before
        with self._asking():
            found = self._reader.execute(
                "SELECT seq, word FROM services WHERE word IS NOT NULL AND (? = 0 OR seq < ?) "
                "ORDER BY seq DESC",
                (before, before),
            )
            for seq, word in found:
                size += len(word) + 5
                if orders and size > PAGE_BYTES_MAX:
                    found.close()
                    return place, orders
                place = seq
                orders.append(word)
        return 0, orders

    # --- what changes

    def put(
        self,
        rows: Sequence[Row],
        *,
        over_own: bool = False,
        counts: Callable[[bytes], bool] = lambda word: True,
    ) -> list[Row]:
        """Takes decisions; what a later decision on the same version overrules is left out.

        Args:
            over_own: takes an operator's decision also over a later one of this node's own.
            counts: whether an operator's order that was taken before still counts. One that does
                not, as its operator is trusted no more, yields to whatever comes.

        Returns: what was taken. Raises: NodeError when the disk does not take it.
        """
        taken: list[Row] = []
        with self._writing():
            for row in rows:
                before = self._facts(row.name, row.version)
                if before is not None and not overrules(row, before, counts, over_own=over_own):
                    continue
                if before is None and self._known >= ROWS_MAX:
                    raise NodeError(
                        f"the registry has its {ROWS_MAX:,} services; remove some of them first."
                    )
                if before is not None:
                    self._choices += before.chosen
                    self._uncount(before)
                    self._database.execute(
                        "DELETE FROM services WHERE name = ? AND version = ?",
                        (row.name, row.version),
                    )
                self._database.execute(
                    f"INSERT INTO services ({COLUMNS}) "  # noqa: S608
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
                    values_of(row),
                )
                self._count(row)
                taken.append(row)
            for name in {one.name for one in taken}:
                self._choose(name)
        return taken

    def fill(
        self, row: Row, spec: ServiceSpec | None, description: bytes, *, here: bool, refused: str
    ) -> None:
        """Notes what came of a version that was decided before, or why it is not served."""
        with self._writing():
            self._database.execute(
                "UPDATE services SET description = ?, here = ?, refused = ?, profile = ?, "
                "topics = ?, spec = ? WHERE name = ? AND version = ? AND number = ? AND word IS ?",
                (
                    description,
                    here,
                    refused,
                    spec.profile if spec else "",
                    topics_of(spec) if spec else "",
                    pack_spec(spec) if spec else b"",
                    row.name,
                    row.version,
                    row.number,
                    row.word,
                ),
            )
            self._choose(row.name)

    def refuse(self, row: Row, why: str) -> None:
        """Notes why this node does not serve a version; empty: it may."""
        with self._writing():
            self._database.execute(
                "UPDATE services SET refused = ? "
                "WHERE name = ? AND version = ? AND number = ? AND word IS ?",
                (why, row.name, row.version, row.number, row.word),
            )
            self._choose(row.name)

    def ask_anew(self, after: int = 0) -> tuple[int, list[str]]:
        """Forgets why versions are not served, of some hundreds of them: a node does so when it
        starts, perhaps with another configuration.

        Args:
            after: the place that the call before returned; 0 for the first one.

        Returns: the place that this one ended at, 0 when there are no more, and the names.
        """
        with self._writing():
            found = self._database.execute(
                "SELECT seq, name, version FROM services WHERE refused <> '' AND seq > ? "
                "ORDER BY seq LIMIT ?",
                (after, LISTED_AT_ONCE),
            ).fetchall()
            self._database.executemany(
                "UPDATE services SET refused = '' WHERE name = ? AND version = ?",
                [one[1:] for one in found],
            )
            names = sorted({one[1] for one in found})
            for name in names:
                self._choose(name)
        return (int(found[-1][0]) if len(found) == LISTED_AT_ONCE else 0), names

    def used(self, names: Sequence[str]) -> None:
        """Notes that services have worked; on the disk with the next change."""
        now_ms = time.time_ns() // 1_000_000
        with self._writing():
            self._database.executemany(
                "UPDATE services SET used_ms = ? WHERE name = ? AND +chosen = 1",
                [(now_ms, one) for one in names],
            )

    def forget(self, module: str, files: str) -> None:
        """Deletes a module's file, and packed files, that no version has any more.

        Raises: NodeError.
        """
        try:
            with self._lock:
                for column, content, path in (
                    ("module", module, self.contents.module(module)),
                    ("files", files, self.contents.files(files)),
                ):
                    found = self._database.execute(
                        f"SELECT 1 FROM services WHERE {column} = ? AND {column} <> '' "  # noqa: S608
                        "AND there LIMIT 1",
                        (content,),
                    ).fetchone()
                    if found is None and content:
                        path.unlink(missing_ok=True)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable("written", error) from error

    # --- inside

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            before = self._digest, self._known, self._chosen
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                if (self._digest, self._known, self._chosen) != before:
                    self._keep_totals()
                self._database.execute("COMMIT")
            except BaseException as error:
                self._digest, self._known, self._chosen = before
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise self._unusable("written", error) from error
                raise

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._reading:
            try:
                yield
            except sqlite3.Error as error:
                raise self._unusable("read", error) from error

    def _unusable(self, what: str, error: Exception) -> NodeError:
        # Of SQLite's errors those two are not operational: the file itself is broken.
        broken = isinstance(error, sqlite3.DatabaseError) and type(error) is sqlite3.DatabaseError
        remedy = (
            "move its registry.sqlite away, start the node, and add the services again that no "
            "operator signed; the others come from the other nodes."
            if broken
            else "see to the disk and run it again."
        )
        return NodeError(f"the registry in {self.folder} cannot be {what} ({error}); {remedy}")

    def _select(self, where: str, values: tuple[object, ...]) -> list[Row]:
        with self._asking():
            found = self._reader.execute(
                f"SELECT {COLUMNS} FROM services {where}",  # noqa: S608 - our own clauses
                values,
            ).fetchall()
        return [row_of(one) for one in found]

    def _facts(self, name: str, version: str) -> Facts | None:
        found = self._database.execute(
            "SELECT number, there, word, chosen FROM services WHERE name = ? AND version = ?",
            (name, version),
        ).fetchone()
        return Facts(*found) if found else None

    def _count(self, row: Row) -> None:
        self._known += row.there
        if row.word is not None:
            self._digest = (self._digest + mark_of(row.word)) % _DIGEST_MODULUS

    def _uncount(self, before: Facts) -> None:
        self._known -= before.there
        self._chosen -= before.chosen
        if before.word is not None:
            self._digest = (self._digest - mark_of(before.word)) % _DIGEST_MODULUS

    def _choose(self, name: str) -> None:
        found = self._database.execute(
            "SELECT version FROM services WHERE name = ? AND there AND here AND refused = ''",
            (name,),
        ).fetchall()
        best = max((one[0] for one in found), key=precedence, default=None)
        # The plus keeps SQLite from asking the index of all that are chosen.
        (was,) = self._database.execute(
            "SELECT count(*) FROM services WHERE name = ? AND +chosen = 1", (name,)
        ).fetchone()
        self._chosen += (best is not None) - was
        changed = self._database.execute(
            "UPDATE services SET chosen = (version IS ?) WHERE name = ? "
            "AND chosen <> (version IS ?)",
            (best, name, best),
        )
        self._choices += changed.rowcount > 0

    def _total(self, key: str) -> str:
        found = self._database.execute("SELECT value FROM totals WHERE key = ?", (key,)).fetchone()
        return str(found[0]) if found else "0"

    def _keep_totals(self) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO totals VALUES (?, ?)",
            [
                ("digest", str(self._digest)),
                ("known", str(self._known)),
                ("chosen", str(self._chosen)),
            ],
        )


def _connect(file: Path, opened: list[sqlite3.Connection]) -> sqlite3.Connection:
    opened.append(
        sqlite3.connect(
            file, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1_000
        )
    )
    return opened[-1]
