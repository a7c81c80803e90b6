"""Process instances, as the gateway has seen them.

A row comes when the gateway starts an instance, when it first sees one of its jobs, or when an
engine tells of it, in any order; what comes later adds what the row lacks. States are as last seen:
an end is final, since what is told late is told of earlier times. Ended instances are swept
after a while. Others stay until somebody learns that they ended.

An id is the engine's own: a UUID of Camunda 7, the decimal text of a number of Camunda 8. All
functions read and write within the caller's transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any

from gossamer_gateway.storage.port import Rows, Value

KEPT_MS = 30 * 24 * 3_600_000
"""How long an instance that ended is known: a month, as reports look back."""

SWEPT_MAX = 1_000
"""Rows that one sweep removes: a transaction of some milliseconds."""

LISTED_MAX = 1_000
"""Rows of one page."""

_TOGETHER_MAX = 100
"""Ids in one statement."""


class State(StrEnum):
    """What an instance was last seen to be."""

    ACTIVE = "active"
    INCIDENT = "incident"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


_LIVING = "state IN ('active', 'incident')"
_ENDED = "state IN ('completed', 'cancelled')"
"""Said as the indexes say it: their conditions are compared by the letter."""


class Source(StrEnum):
    """How an instance came to be known first, for people who wonder about one."""

    GATEWAY = "gateway"
    """Started through a gateway."""
    JOB = "job"
    """Seen at one of its jobs; it may have been started any time before."""
    ENGINE = "engine"
    """The engine told of it, or was asked."""


SCHEMA = """
CREATE TABLE instance (
    engine TEXT NOT NULL, id TEXT NOT NULL, process TEXT NOT NULL, business_key TEXT,
    started_ms INTEGER NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL,
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (id, engine)
);
CREATE INDEX instance_business_key ON instance (business_key, engine)
    WHERE business_key IS NOT NULL;
CREATE INDEX instance_process ON instance (process, started_ms, id, engine);
CREATE INDEX instance_count ON instance (process, engine, state);
CREATE INDEX instance_living ON instance (engine, seen_ms)
    WHERE state IN ('active', 'incident');
CREATE INDEX instance_ended ON instance (seen_ms) WHERE state IN ('completed', 'cancelled')
"""

_COLUMNS = "engine, id, process, business_key, started_ms, source, state, seen_ms"


@dataclass(frozen=True, slots=True)
class Instance:
    """One process instance.

    Attributes:
        engine, id: whose, and its id there.
        process: the id of its process in the model, which Camunda 7 calls its definition's key.
        started_ms: in milliseconds since 1970; when it was first seen, where nobody told.
        state, seen_ms: what it was when it was last seen, and when that was.
    """

    engine: str
    id: str
    process: str
    business_key: str | None
    started_ms: int
    source: Source
    state: State
    seen_ms: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many instances of a process an engine has in a state, as far as is known here."""

    process: str
    engine: str
    state: State
    count: int


def saw(rows: Rows, seen: Iterable[Instance]) -> None:
    """Keeps instances that were started, or seen with all that is known of them.

    What is known already of one is kept, but for this: the first to tell a business key is
    believed; others than jobs know when it was started; and a living instance takes the newer
    state from them, while a job doesn't tell of incidents.
    """
    told = f"excluded.source <> '{Source.JOB}'"
    guess = f"instance.source = '{Source.JOB}' AND {told}"
    living = f"instance.{_LIVING} AND {told} AND excluded.seen_ms >= instance.seen_ms"
    rows.executemany(
        f"INSERT INTO instance ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
        "ON CONFLICT (id, engine) DO UPDATE SET "
        "business_key = coalesce(instance.business_key, excluded.business_key), "
        f"started_ms = CASE WHEN {guess} THEN excluded.started_ms ELSE instance.started_ms END, "
        f"source = CASE WHEN {guess} THEN excluded.source ELSE instance.source END, "
        f"state = CASE WHEN {living} THEN excluded.state ELSE instance.state END, "
        f"seen_ms = CASE WHEN {living} THEN excluded.seen_ms ELSE instance.seen_ms END",
        [astuple(one) for one in seen],
    )


def started(
    rows: Rows, engine: str, id: str, process: str, business_key: str | None, now_ms: int
) -> None:
    """The gateway started an instance."""
    saw(rows, [Instance(engine, id, process, business_key, now_ms, Source.GATEWAY, State.ACTIVE,
                        now_ms)])  # fmt: skip


def state_changed(rows: Rows, engine: str, id: str, state: State, now_ms: int) -> bool:
    """An instance was seen in a state, the same or another.

    Returns: whether that was taken: nothing is known of an instance that has no row, and one that
        has ended stays so.
    """
    return bool(
        rows.execute(
            "UPDATE instance SET state = ?, seen_ms = ? "  # noqa: S608
            f"WHERE id = ? AND engine = ? AND {_LIVING}",
            (state, now_ms, id, engine),
        ).rowcount
    )


def instance(rows: Rows, engine: str, id: str) -> Instance | None:
    """What is known of an instance."""
    found = rows.execute(
        f"SELECT {_COLUMNS} FROM instance WHERE id = ? AND engine = ?",  # noqa: S608
        (id, engine),
    ).fetchone()
    return _instance(found) if found else None


def engine_of(rows: Rows, id: str) -> str | None:
    """Which engine has an instance; None when none is known to, or two are."""
    found = rows.execute("SELECT engine FROM instance WHERE id = ? LIMIT 2", (id,)).fetchall()
    return found[0][0] if len(found) == 1 else None


def business_keys(rows: Rows, engine: str, ids: Iterable[str]) -> Mapping[str, str]:
    """The business keys of those of an engine's instances that are known to have one."""
    found: dict[str, str] = {}
    asked = sorted(set(ids))
    for first in range(0, len(asked), _TOGETHER_MAX):
        some = asked[first : first + _TOGETHER_MAX]
        found |= rows.execute(
            "SELECT id, business_key FROM instance WHERE business_key IS NOT NULL "  # noqa: S608
            f"AND engine = ? AND id IN ({', '.join('?' * len(some))})",
            (engine, *some),
        ).fetchall()
    return found


def by_business_key(
    rows: Rows,
    business_key: str,
    *,
    engine: str | None = None,
    process: str | None = None,
    living: bool = False,
    limit: int = LISTED_MAX,
) -> list[Instance]:
    """Instances that have a business key, the newest first.

    Args:
        engine, process: of these alone.
        living: none that has ended.
    """
    return _list(
        rows,
        limit,
        ("business_key = ?", (business_key,)),
        ("engine = ?", (engine,)) if engine is not None else None,
        ("process = ?", (process,)) if process is not None else None,
        (_LIVING, ()) if living else None,
    )


def by_process(
    rows: Rows,
    process: str,
    *,
    engine: str | None = None,
    state: State | None = None,
    before: Instance | None = None,
    limit: int = LISTED_MAX,
) -> list[Instance]:
    """A page of a process's instances, the newest first.

    Args:
        engine, state: of these alone.
        before: the last of the page before this one. What was started in the meantime is on
            neither.
    """
    place = before and (before.started_ms, before.id, before.engine)
    return _list(
        rows,
        limit,
        ("process = ?", (process,)),
        ("engine = ?", (engine,)) if engine is not None else None,
        ("state = ?", (state,)) if state is not None else None,
        ("(started_ms, id, engine) < (?, ?, ?)", place) if place else None,
    )


def counts(rows: Rows, process: str | None = None) -> list[Count]:
    """How many instances there are, by process, engine and state; of one process, or of all.

    What has none of a kind isn't listed. An index is counted: 4 ms for the 20,000 of one process,
    a quarter of a second for a million, in which a file does nothing else; so ask seldom.
    """
    where, values = ("", ()) if process is None else ("WHERE process = ?", (process,))
    return [
        Count(name, engine, State(state), count)
        for name, engine, state, count in rows.execute(
            f"SELECT process, engine, state, count(*) FROM instance {where} "  # noqa: S608
            "GROUP BY process, engine, state ORDER BY process, engine, state",
            values,
        )
    ]


def sweep(rows: Rows, now_ms: int) -> int:
    """Forgets instances that ended long ago; returns how many, `SWEPT_MAX` at most."""
    return rows.execute(
        "DELETE FROM instance WHERE (id, engine) IN (SELECT id, engine FROM instance "  # noqa: S608
        f"WHERE {_ENDED} AND seen_ms < ? ORDER BY seen_ms LIMIT ?)",
        (now_ms - KEPT_MS, SWEPT_MAX),
    ).rowcount


_Condition = tuple[str, tuple[Value, ...]]


def _list(rows: Rows, limit: int, *conditions: _Condition | None) -> list[Instance]:
    given = [one for one in conditions if one is not None]
    where = " AND ".join(text for text, _ in given)
    return [
        _instance(row)
        for row in rows.execute(
            f"SELECT {_COLUMNS} FROM instance WHERE {where} "  # noqa: S608
            "ORDER BY started_ms DESC, id DESC, engine DESC LIMIT ?",
            [*(value for _, values in given for value in values), _page(limit)],
        )
    ]


def _page(limit: int) -> int:
    return max(0, min(limit, LISTED_MAX))


def _instance(row: Any) -> Instance:
    engine, id, process, business_key, started_ms, source, state, seen_ms = row
    return Instance(
        engine, id, process, business_key, started_ms, Source(source), State(state), seen_ms
    )
