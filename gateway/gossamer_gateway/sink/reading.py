"""Questions about what runs in a Zeebe, asked of the rows that its exporter left.

Every answer comes of a `View`, which says as of when it holds. `look` gives none at all where the
sink never heard of the engine, or hears no more: what is not known is unknown, and never an empty
list. The rows are behind the engine by the exporter's delay, some seconds; nothing that decides
about a job may rest on them.

Zeebe 8.6 has no business keys. The gateway keeps those of instances that were started through it,
so a search by one begins there and comes here with the keys of instances.
"""

# ruff: noqa: S608 - what is put into statements are names of this module; values are bound

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gossamer_gateway.sink.freshness import DEAF_MS, Watch
from gossamer_gateway.sink.records import UNCAUGHT
from gossamer_gateway.sink.store import marks
from gossamer_gateway.storage.port import Rows, Value

PAGE_MAX = 1_000
"""Rows of one answer; who wants more asks again, beyond the last key."""
KEYS_MAX = 500
"""Instances that one question names. SQLite takes 999 values a statement, in its older builds."""
WAITING_MAX = 1_000
"""Subscriptions that one question about a message answers with."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """As of when something holds.

    Attributes:
        positions: the last position that was read, by partition.
        told_ms: the time of the newest record, by the broker's clock.
        heard_ms: when a bulk came last, by the gateway's clock.
        since_ms: the time of the first record: what ended before it is not known.
        behind_ms: how long the sink has lacked what the gateway was told by the engine; 0 for
            nothing.
        junk: lines of bulks that were not understood.
    """

    positions: Mapping[int, int]
    told_ms: int
    heard_ms: int
    since_ms: int
    behind_ms: int
    junk: int


@dataclass(frozen=True, slots=True)
class Process:
    """One version of a process."""

    key: int
    process: str
    version: int
    version_tag: str
    name: str | None
    resource: str
    deployment: int | None
    tenant: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance.

    Attributes:
        version, definition, started_ms: None where the sink heard of it too late.
        parent, parent_element: who called it; None for nobody.
        root: the instance at the top of the calls, itself where nobody called it.
        state: `active`, `completed` or `cancelled`.
        incidents: that are open in it.
    """

    key: int
    process: str
    version: int | None
    definition: int | None
    tenant: str
    parent: int | None
    parent_element: int | None
    root: int
    state: str
    started_ms: int | None
    ended_ms: int | None
    incidents: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances are meant; None leaves a thing open.

    Attributes:
        keys: at most `KEYS_MAX`; those of a business key, for one.
        parent: 0 for those that nobody called.
        incident: whether one is open in it.
        variable: name and JSON text of a variable of the instance itself.
    """

    process: str | None = None
    version: int | None = None
    state: str | None = None
    parent: int | None = None
    root: int | None = None
    incident: bool | None = None
    keys: Sequence[int] | None = None
    variable: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable.

    Attributes:
        scope: the instance's key, or that of the element which it is local to.
        value: its JSON, cut after `records.VALUE_CHARACTERS_MAX`.
        characters: how many the JSON has.
    """

    key: int
    instance: int
    scope: int
    name: str
    value: str
    characters: int

    @property
    def truncated(self) -> bool:
        return self.characters > len(self.value)


@dataclass(frozen=True, slots=True)
class Element:
    """An element with a token in it."""

    key: int
    instance: int
    process: str
    element: str
    kind: str
    scope: int | None
    since_ms: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job that is not done.

    Attributes:
        element: its id in the model, None where it isn't told.
        worker, deadline_ms: of the last activation. Unless the exporter sends batches of jobs, they
            are told only when the job fails or times out.
        state: `created`, `activated`, `failed`, `error thrown`; None where it is not known.
    """

    key: int
    instance: int
    process: str
    element: str | None
    element_key: int
    topic: str
    worker: str
    retries: int
    deadline_ms: int | None
    error_code: str
    error_message: str
    state: str | None


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident that is open."""

    key: int
    instance: int
    process: str
    definition: int
    element: str | None
    element_key: int | None
    job: int | None
    kind: str
    message: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """What waits for a message.

    Attributes:
        instance: that waits; None where the message starts a new one.
        correlation: None where the message starts an instance.
    """

    key: int
    message: str
    correlation: str | None
    instance: int | None
    process: str
    element: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Instances of one process, all versions together.

    Attributes:
        failed: those that live and have an open incident.
    """

    process: str
    live: int
    started: int
    completed: int
    cancelled: int
    failed: int


def look(
    rows: Rows, engine: str, now_ms: int, watch: Watch | None = None, deaf_ms: int = DEAF_MS
) -> "View | None":
    """What is known of an engine; None when the sink never heard of it, or is deaf.

    Args:
        watch: what this gateway was told by engines itself.
        deaf_ms: how far behind that the sink may be.
    """
    known = marks(rows, engine)
    if not known:
        return None
    behind_ms = 0
    if watch is not None:
        key_max = {part: mark.key_max for part, mark in known.items()}
        behind_ms = watch.behind_ms(engine, key_max, now_ms)
    if behind_ms > deaf_ms:
        return None
    heard_ms, junk = rows.execute(
        "SELECT max(heard_ms), sum(junk) FROM sink_log WHERE engine = ?", (engine,)
    ).fetchone()
    return View(
        rows,
        engine,
        AsOf(
            {part: mark.position for part, mark in sorted(known.items())},
            max(mark.newest_ms for mark in known.values()),
            heard_ms,
            min(mark.since_ms for mark in known.values()),
            behind_ms,
            int(junk),
        ),
    )


@dataclass(frozen=True, slots=True)
class View:
    """One engine's rows, within one transaction. Lists come by key, the oldest first."""

    rows: Rows
    engine: str
    as_of: AsOf

    def processes(self, process: str | None = None) -> list[Process]:
        """The versions of a process, or the newest of every one."""
        which, values = ("process = ?", [process]) if process is not None else (
            "NOT EXISTS (SELECT 1 FROM sink_process newer WHERE newer.engine = p.engine "
            "AND newer.process = p.process AND newer.tenant = p.tenant "
            "AND newer.version > p.version)", [],
        )  # fmt: skip
        found = self.rows.execute(
            "SELECT key, process, version, version_tag, name, resource, deployment, tenant, "
            "at_ms FROM sink_process p "
            f"WHERE engine = ? AND {which} ORDER BY process, version LIMIT ?",
            (self.engine, *values, PAGE_MAX),
        )
        return [Process(*row) for row in found]

    def xml(self, definition: int) -> str | None:
        """A definition's BPMN; None where the sink has none."""
        row = self.rows.execute(
            "SELECT xml FROM sink_process WHERE engine = ? AND key = ?", (self.engine, definition)
        ).fetchone()
        return row[0] if row else None

    def instances(
        self, wanted: Filter, *, after: int = 0, limit: int = 100, newest_first: bool = False
    ) -> list[Instance]:
        """A page of instances.

        Args:
            after: the last key of the page before; 0 for the first page.
        """
        where, values = _where(wanted)
        if after:
            where += f" AND i.key {'<' if newest_first else '>'} ?"
            values.append(after)
        found = self.rows.execute(
            "SELECT key, process, version, definition, tenant, parent, parent_element, root, "
            "state, started_ms, ended_ms, (SELECT count(*) FROM sink_incident n "
            "WHERE n.engine = i.engine AND n.instance = i.key) FROM sink_instance i "
            f"WHERE i.engine = ?{where} ORDER BY i.key {'DESC' if newest_first else 'ASC'} LIMIT ?",
            (self.engine, *values, _page(limit)),
        )
        return [Instance(*row) for row in found]

    def instance(self, key: int) -> Instance | None:
        """One instance; None for one that the sink has not heard of, or has forgotten."""
        found = self.instances(Filter(keys=(key,)))
        return found[0] if found else None

    def count(self, wanted: Filter) -> int:
        """How many instances there are of a kind."""
        where, values = _where(wanted)
        (count,) = self.rows.execute(
            f"SELECT count(*) FROM sink_instance i WHERE i.engine = ?{where}",
            (self.engine, *values),
        ).fetchone()
        return int(count)

    def variables(self, instance: int) -> list[Variable]:
        """An instance's variables, those of its elements among them."""
        return [
            Variable(*row)
            for row in self.rows.execute(
                "SELECT key, instance, scope, name, value, characters FROM sink_variable "
                "WHERE engine = ? AND instance = ? ORDER BY key LIMIT ?",
                (self.engine, instance, PAGE_MAX),
            )
        ]

    def elements(self, instance: int) -> list[Element]:
        """Where an instance's tokens are."""
        return [
            Element(*row)
            for row in self.rows.execute(
                "SELECT key, instance, process, element, kind, scope, since_ms FROM sink_element "
                "WHERE engine = ? AND instance = ? ORDER BY key LIMIT ?",
                (self.engine, instance, PAGE_MAX),
            )
        ]

    def tokens(self, process: str) -> dict[str, int]:
        """How many tokens are in each of a process's elements, in all its instances."""
        return dict(
            self.rows.execute(
                "SELECT element, count(*) FROM sink_element WHERE engine = ? AND process = ? "
                "GROUP BY element ORDER BY element",
                (self.engine, process),
            ).fetchall()
        )

    def incidents(
        self,
        *,
        instance: int | None = None,
        process: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[Incident]:
        """Open incidents, of an instance, a process or all."""
        where, values = _equal({"n.instance": instance, "n.process": process})
        found = self.rows.execute(
            # Of a job whose error nobody caught the engine does not name the element.
            "SELECT n.key, n.instance, n.process, n.definition, "
            "CASE WHEN n.element = ? THEN e.element ELSE n.element END, n.element_key, n.job, "
            "n.kind, n.message, n.since_ms FROM sink_incident n LEFT JOIN sink_element e "
            "ON e.engine = n.engine AND e.key = n.element_key "
            f"WHERE n.engine = ? AND n.key > ?{where} ORDER BY n.key LIMIT ?",
            (UNCAUGHT, self.engine, after, *values, _page(limit)),
        )
        return [Incident(*row) for row in found]

    def jobs(
        self,
        *,
        topic: str | None = None,
        instance: int | None = None,
        state: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[Job]:
        """Jobs that are not done, of a type, of an instance or all."""
        where, values = _equal({"j.topic": topic, "j.instance": instance, "j.state": state})
        found = self.rows.execute(
            "SELECT j.key, j.instance, j.process, "
            "CASE WHEN j.element = ? THEN e.element ELSE j.element END, j.element_key, j.topic, "
            "j.worker, j.retries, j.deadline_ms, j.error_code, j.error_message, j.state "
            "FROM sink_job j LEFT JOIN sink_element e "
            "ON e.engine = j.engine AND e.key = j.element_key "
            f"WHERE j.engine = ? AND j.key > ?{where} ORDER BY j.key LIMIT ?",
            (UNCAUGHT, self.engine, after, *values, _page(limit)),
        )
        return [Job(*row) for row in found]

    def waiting(self, message: str, correlation: str) -> list[Subscription]:
        """Instances that wait for just this message, and processes that it starts."""
        return [
            Subscription(*row)
            for row in self.rows.execute(
                "SELECT key, message, correlation, instance, process, element "
                "FROM sink_subscription WHERE engine = ? AND message = ? "
                "AND (correlation = ? OR correlation IS NULL) ORDER BY key LIMIT ?",
                (self.engine, message, correlation, WAITING_MAX),
            )
        ]

    def counts(self, process: str | None = None) -> list[Counts]:
        """Instances per process: those that live, and all that began and ended since `since_ms`."""
        where, values = _equal({"process": process})
        live: dict[str, int] = dict(
            self.rows.execute(
                "SELECT process, count(*) FROM sink_instance WHERE engine = ? "
                f"AND state = 'active'{where} GROUP BY process",
                (self.engine, *values),
            ).fetchall()
        )
        failed: dict[str, int] = dict(
            self.rows.execute(
                "SELECT process, count(DISTINCT instance) FROM sink_incident WHERE engine = ?"
                f"{where} GROUP BY process",
                (self.engine, *values),
            ).fetchall()
        )
        tallies: dict[str, tuple[int, int, int]] = {
            name: (started, completed, cancelled)
            for name, started, completed, cancelled in self.rows.execute(
                "SELECT process, started, completed, cancelled FROM sink_tally WHERE engine = ?"
                f"{where}",
                (self.engine, *values),
            )
        }
        deployed = {
            name
            for (name,) in self.rows.execute(
                f"SELECT DISTINCT process FROM sink_process WHERE engine = ?{where}",
                (self.engine, *values),
            )
        }
        return [
            Counts(name, live.get(name, 0), *tallies.get(name, (0, 0, 0)), failed.get(name, 0))
            for name in sorted({*live, *tallies, *deployed})
        ]


def _page(limit: int) -> int:
    return max(0, min(limit, PAGE_MAX))


def _equal(wanted: Mapping[str, Value]) -> tuple[str, list[Value]]:
    given = {column: value for column, value in wanted.items() if value is not None}
    return "".join(f" AND {column} = ?" for column in given), list(given.values())


def _where(wanted: Filter) -> tuple[str, list[Value]]:
    where, values = _equal(
        {
            "i.process": wanted.process,
            "i.version": wanted.version,
            "i.state": wanted.state,
            "i.parent": wanted.parent or None,
            "i.root": wanted.root,
        }
    )
    if wanted.parent == 0:
        where += " AND i.parent IS NULL"
    if wanted.incident is not None:
        where += (
            f" AND {'' if wanted.incident else 'NOT '}EXISTS (SELECT 1 FROM sink_incident n "
            "WHERE n.engine = i.engine AND n.instance = i.key)"
        )
    if wanted.keys is not None:
        keys = wanted.keys[:KEYS_MAX]
        where += f" AND i.key IN ({', '.join('?' * len(keys))})" if keys else " AND 1 = 0"
        values.extend(keys)
    if wanted.variable is not None:
        where += (
            " AND EXISTS (SELECT 1 FROM sink_variable v WHERE v.engine = i.engine "
            "AND v.instance = i.key AND v.scope = i.key AND v.name = ? AND v.value = ?)"
        )
        values.extend(wanted.variable)
    return where, values
