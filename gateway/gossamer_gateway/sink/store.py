"""The rows that Zeebe's records leave, and how they come and go.

`take` is a bulk's one transaction: the marks of the partitions are read, what is new beyond them is
folded and written with the new marks. So each record takes effect once or, when the disk refuses,
not at all, and is sent again.

Rows of what runs go when it ends. Instances stay, with their variables and how they ended, until
`sweep` removes them by age or by number. How many began and ended is counted apart, and stays.
"""

# ruff: noqa: S608 - what is put into statements are names of this module; values are bound

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gossamer_gateway.sink.records import (
    ACTIVE,
    KEY_BITS,
    Bulk,
    Changes,
    Mark,
    Table,
    fold,
)
from gossamer_gateway.storage.port import Rows, Value

SCHEMA = """
CREATE TABLE sink_log (
    engine TEXT NOT NULL, part INTEGER NOT NULL, log_position INTEGER NOT NULL,
    newest_ms INTEGER NOT NULL, key_max INTEGER NOT NULL, since_ms INTEGER NOT NULL,
    heard_ms INTEGER NOT NULL, records INTEGER NOT NULL, junk INTEGER NOT NULL,
    PRIMARY KEY (engine, part)
);
CREATE TABLE sink_process (
    engine TEXT NOT NULL, key INTEGER NOT NULL, process TEXT NOT NULL, version INTEGER NOT NULL,
    version_tag TEXT NOT NULL, name TEXT, resource TEXT NOT NULL, deployment INTEGER,
    tenant TEXT NOT NULL, xml TEXT, at_ms INTEGER NOT NULL,
    PRIMARY KEY (engine, key)
);
CREATE TABLE sink_tally (
    engine TEXT NOT NULL, process TEXT NOT NULL, started INTEGER NOT NULL,
    completed INTEGER NOT NULL, cancelled INTEGER NOT NULL,
    PRIMARY KEY (engine, process)
);
CREATE TABLE sink_instance (
    engine TEXT NOT NULL, key INTEGER NOT NULL, process TEXT NOT NULL, version INTEGER,
    definition INTEGER, tenant TEXT NOT NULL, parent INTEGER, parent_element INTEGER,
    root INTEGER NOT NULL, state TEXT NOT NULL, started_ms INTEGER, ended_ms INTEGER,
    PRIMARY KEY (engine, key)
);
CREATE INDEX sink_instance_process ON sink_instance (engine, process, state, key);
CREATE INDEX sink_instance_state ON sink_instance (engine, state, key);
CREATE INDEX sink_instance_parent ON sink_instance (engine, parent) WHERE parent IS NOT NULL;
CREATE INDEX sink_instance_ended ON sink_instance (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE TABLE sink_element (
    engine TEXT NOT NULL, key INTEGER NOT NULL, instance INTEGER NOT NULL, process TEXT NOT NULL,
    element TEXT NOT NULL, kind TEXT NOT NULL, scope INTEGER, since_ms INTEGER NOT NULL,
    PRIMARY KEY (engine, key)
);
CREATE INDEX sink_element_instance ON sink_element (engine, instance);
CREATE INDEX sink_element_process ON sink_element (engine, process, element);
CREATE TABLE sink_variable (
    engine TEXT NOT NULL, key INTEGER NOT NULL, instance INTEGER NOT NULL, scope INTEGER NOT NULL,
    name TEXT NOT NULL, value TEXT NOT NULL, characters INTEGER NOT NULL,
    PRIMARY KEY (engine, key)
);
CREATE INDEX sink_variable_instance ON sink_variable (engine, instance);
CREATE TABLE sink_job (
    engine TEXT NOT NULL, key INTEGER NOT NULL, instance INTEGER NOT NULL, process TEXT NOT NULL,
    element TEXT NOT NULL, element_key INTEGER NOT NULL, topic TEXT NOT NULL, worker TEXT NOT NULL,
    retries INTEGER NOT NULL, deadline_ms INTEGER, error_code TEXT NOT NULL,
    error_message TEXT NOT NULL, state TEXT,
    PRIMARY KEY (engine, key)
);
CREATE INDEX sink_job_topic ON sink_job (engine, topic, key);
CREATE INDEX sink_job_instance ON sink_job (engine, instance);
CREATE TABLE sink_incident (
    engine TEXT NOT NULL, key INTEGER NOT NULL, instance INTEGER NOT NULL, process TEXT NOT NULL,
    definition INTEGER NOT NULL, element TEXT NOT NULL, element_key INTEGER, job INTEGER,
    kind TEXT NOT NULL, message TEXT NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (engine, key)
);
CREATE INDEX sink_incident_instance ON sink_incident (engine, instance);
CREATE INDEX sink_incident_process ON sink_incident (engine, process);
CREATE TABLE sink_subscription (
    engine TEXT NOT NULL, key INTEGER NOT NULL, message TEXT NOT NULL, correlation TEXT,
    instance INTEGER, process TEXT NOT NULL, element TEXT NOT NULL,
    PRIMARY KEY (engine, key)
);
CREATE INDEX sink_subscription_message ON sink_subscription (engine, message, correlation)
"""

TABLES: dict[str, tuple[str, ...]] = {
    "elements": ("element", "instance", "process", "element", "kind", "scope", "since_ms"),
    "variables": ("variable", "instance", "scope", "name", "value", "characters"),
    "jobs": (
        "job", "instance", "process", "element", "element_key", "topic", "worker", "retries",
        "deadline_ms", "error_code", "error_message", "state",
    ),
    "incidents": (
        "incident", "instance", "process", "definition", "element", "element_key", "job", "kind",
        "message", "since_ms",
    ),
    "subscriptions": (
        "subscription", "message", "correlation", "instance", "process", "element",
    ),
    "processes": (
        "process", "process", "version", "version_tag", "name", "resource", "deployment", "tenant",
        "xml", "at_ms",
    ),
}  # fmt: skip
"""Of each table that a bulk changes as a whole: its name, and its columns after the key."""

STATEFUL = {"elements": ("since_ms",), "jobs": ("state",), "processes": ("xml", "name", "at_ms")}
"""Columns that keep what they had: since when, and what a record doesn't tell."""

KEPT_MS = 7 * 24 * 3_600_000
"""How long an ended instance can be looked at: a week, so that a Monday sees the week before."""
ENDED_MAX = 100_000
"""Ended instances that are kept; with their variables some hundreds of megabytes at most."""
SWEPT_MAX = 500
"""Instances that one sweep removes: a transaction of some tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a bulk.

    Attributes:
        applied: records that changed rows.
        repeated: that had done so before.
        junk: lines that were not understood.
        anew: partitions whose log began anew, so that all of them was forgotten.
    """

    applied: int
    repeated: int
    junk: int
    anew: tuple[int, ...]


def take(rows: Rows, engine: str, bulk: Bulk, now_ms: int) -> Taken:
    """Lets a bulk take effect, within the caller's transaction."""
    changes = fold(bulk, marks(rows, engine))
    for partition in sorted(changes.forgotten):
        _forget(rows, engine, partition)
    for name in TABLES:
        _write(rows, engine, name, getattr(changes, name))
    _write_instances(rows, engine, changes)
    if changes.tallies:
        _count(rows, engine, changes)
    heard = sorted(bulk.ends)
    if heard:
        _mark(rows, engine, bulk, changes, heard, now_ms)
    anew = tuple(sorted(changes.forgotten))
    return Taken(changes.applied, changes.repeated, bulk.junk, anew)


def _count(rows: Rows, engine: str, changes: Changes) -> None:
    rows.executemany(
        "INSERT INTO sink_tally VALUES (?, ?, ?, ?, ?) ON CONFLICT (engine, process) DO UPDATE SET "
        "started = sink_tally.started + excluded.started, "
        "completed = sink_tally.completed + excluded.completed, "
        "cancelled = sink_tally.cancelled + excluded.cancelled",
        [
            (engine, process, tally.started, tally.completed, tally.cancelled)
            for process, tally in sorted(changes.tallies.items())
        ],
    )


def _mark(
    rows: Rows, engine: str, bulk: Bulk, changes: Changes, heard: Sequence[int], now_ms: int
) -> None:
    rows.executemany(
        "INSERT INTO sink_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (engine, part) "
        "DO UPDATE SET log_position = excluded.log_position, newest_ms = excluded.newest_ms, "
        "key_max = excluded.key_max, since_ms = excluded.since_ms, heard_ms = excluded.heard_ms, "
        "records = sink_log.records + excluded.records, junk = sink_log.junk + excluded.junk",
        [
            (engine, part, *changes.marks[part], now_ms, *_counted(bulk, changes, part == heard[0]))
            for part in heard
        ],
    )


def _counted(bulk: Bulk, changes: Changes, first: bool) -> tuple[int, int]:
    """A bulk is one partition's; should one be of several, its counts go to the first."""
    return (changes.applied, bulk.junk) if first else (0, 0)


def marks(rows: Rows, engine: str) -> dict[int, Mark]:
    """How far each partition of an engine was read."""
    return {
        part: Mark(*mark)
        for part, *mark in rows.execute(
            "SELECT part, log_position, newest_ms, key_max, since_ms FROM sink_log "
            "WHERE engine = ?",
            (engine,),
        )
    }


def _write(rows: Rows, engine: str, name: str, table: Table) -> None:
    short, *columns = TABLES[name]
    if table.removals:
        rows.executemany(
            f"DELETE FROM sink_{short} WHERE engine = ? AND key = ?",
            [(engine, key) for key in sorted(table.removals)],
        )
    if not table.puts:
        return
    kept = STATEFUL.get(name, ())
    updates = ", ".join(
        f"{column} = COALESCE(excluded.{column}, sink_{short}.{column})"
        if column in kept
        else f"{column} = excluded.{column}"
        for column in columns
    )
    rows.executemany(
        f"INSERT INTO sink_{short} (engine, key, {', '.join(columns)}) "
        f"VALUES (?, ?{', ?' * len(columns)}) ON CONFLICT (engine, key) DO UPDATE SET {updates}",
        [(engine, key, *row) for key, row in table.puts.items()],
    )


def _write_instances(rows: Rows, engine: str, changes: Changes) -> None:
    if changes.met:
        rows.executemany(
            "INSERT INTO sink_instance (engine, key, process, version, definition, tenant, root, "
            "state) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (engine, key) DO NOTHING",
            [(engine, key, *row, key, ACTIVE) for key, row in changes.met.items()],
        )
    if not changes.instances.puts:
        return
    roots = _roots(rows, engine, changes)
    rows.executemany(
        "INSERT INTO sink_instance (engine, key, process, version, definition, tenant, parent, "
        "parent_element, state, started_ms, ended_ms, root) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (engine, key) DO UPDATE SET "
        "process = excluded.process, version = excluded.version, definition = excluded.definition, "
        "parent = excluded.parent, parent_element = excluded.parent_element, root = excluded.root, "
        "state = excluded.state, "
        "started_ms = COALESCE(excluded.started_ms, sink_instance.started_ms), "
        "ended_ms = COALESCE(excluded.ended_ms, sink_instance.ended_ms)",
        [(engine, key, *row, roots[key]) for key, row in changes.instances.puts.items()],
    )


def _roots(rows: Rows, engine: str, changes: Changes) -> dict[int, int]:
    """Of each instance the one that nobody called. A caller begins before what it calls."""
    puts = changes.instances.puts
    asked = sorted({row[4] for row in puts.values() if row[4] is not None and row[4] not in puts})
    roots: dict[int, int] = {}
    for parent in asked:
        found = rows.execute(
            "SELECT root FROM sink_instance WHERE engine = ? AND key = ?", (engine, parent)
        ).fetchone()
        roots[parent] = found[0] if found else parent
    for key in sorted(puts):
        parent = puts[key][4]
        roots[key] = key if parent is None else roots.get(parent, parent)
    return roots


def _forget(rows: Rows, engine: str, partition: int) -> None:
    """Removes what a log told that is gone. The tallies stay: those instances began and ended."""
    span = (engine, partition << KEY_BITS, (partition + 1) << KEY_BITS)
    for short in ("instance", *(columns[0] for columns in TABLES.values())):
        rows.execute(
            f"DELETE FROM sink_{short} WHERE engine = ? AND key >= ? AND key < ?",
            span,
        )


def sweep(rows: Rows, now_ms: int, *, kept_ms: int = KEPT_MS, ended_max: int = ENDED_MAX) -> int:
    """Removes ended instances, the oldest first: those past their time, and those too many.

    Returns:
        How many were removed, `SWEPT_MAX` at most; what is left waits for the next sweep.
    """
    (ended,) = rows.execute(
        "SELECT count(*) FROM sink_instance WHERE ended_ms IS NOT NULL"
    ).fetchone()
    oldest: Sequence[tuple[str, int, int]] = rows.execute(
        "SELECT engine, key, ended_ms FROM sink_instance WHERE ended_ms IS NOT NULL "
        "ORDER BY ended_ms LIMIT ?",
        (SWEPT_MAX,),
    ).fetchall()
    surplus = ended - ended_max
    gone: list[tuple[str, int]] = [
        (engine, key)
        for place, (engine, key, ended_ms) in enumerate(oldest)
        if place < surplus or ended_ms < now_ms - kept_ms
    ]
    _remove(rows, gone)
    return len(gone)


def _remove(rows: Rows, instances: Iterable[tuple[str, int]]) -> None:
    keys: list[Sequence[Value]] = list(instances)
    if not keys:
        return
    for short in ("element", "variable", "job", "incident", "subscription"):
        rows.executemany(
            f"DELETE FROM sink_{short} WHERE engine = ? AND instance = ?",
            keys,
        )
    rows.executemany("DELETE FROM sink_instance WHERE engine = ? AND key = ?", keys)
