"""The engine's one SQLite file: what must be there, and in which transaction.

The file is the truth; nothing is kept in memory that a restart would miss. A process's BPMN is
stored once, an instance stores its variables and, by its open task or its open callee, where its
token waits.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeAlias

from gossamer_gateway.embedded.model import Activity, Instance, InstanceState, Task
from gossamer_gateway.embedded.values import Wires
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.storage.file import File, Form

SCHEMA_VERSION = 1
"""Kept in `user_version`; a file of another version is refused rather than guessed at."""
APPLICATION_ID = 0x676F7373
"""SQLite's mark of whose file it is: "goss"."""
VARIABLES_BYTES_MAX = 4 * 2**20
"""All variables of one instance together, which every step reads and writes whole."""

_SCHEMA = """
CREATE TABLE engine (id TEXT NOT NULL);
CREATE TABLE deployment (
    id TEXT PRIMARY KEY, name TEXT, source TEXT, time_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE resource (
    deployment_id TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (deployment_id, name)
);
CREATE TABLE definition (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, version INTEGER NOT NULL, name TEXT, version_tag TEXT,
    deployment_id TEXT NOT NULL, resource TEXT NOT NULL,
    UNIQUE (key, version)
) WITHOUT ROWID;
CREATE TABLE instance (
    id TEXT PRIMARY KEY, definition_id TEXT NOT NULL, business_key TEXT, super_id TEXT,
    super_activity_id TEXT, root_id TEXT NOT NULL, start_ms INTEGER NOT NULL,
    variables TEXT NOT NULL, state TEXT NOT NULL, end_ms INTEGER, delete_reason TEXT,
    CHECK ((state = 'ACTIVE') = (end_ms IS NULL))
);
CREATE INDEX instance_of ON instance (definition_id);
CREATE INDEX instance_business_key ON instance (business_key) WHERE business_key IS NOT NULL;
CREATE INDEX instance_super ON instance (super_id) WHERE super_id IS NOT NULL;
CREATE INDEX instance_active ON instance (start_ms) WHERE end_ms IS NULL;
CREATE TABLE activity (
    id TEXT PRIMARY KEY, instance_id TEXT NOT NULL, node_id TEXT NOT NULL, type TEXT NOT NULL,
    name TEXT, start_ms INTEGER NOT NULL, end_ms INTEGER, canceled INTEGER NOT NULL,
    called_instance_id TEXT
);
CREATE INDEX activity_of ON activity (instance_id);
CREATE TABLE task (
    id TEXT PRIMARY KEY, instance_id TEXT NOT NULL, activity_id TEXT NOT NULL,
    node_id TEXT NOT NULL, topic TEXT NOT NULL, priority INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, lock_until_ms INTEGER NOT NULL, worker_id TEXT, retries INTEGER,
    error_message TEXT, error_details TEXT, local_variables TEXT NOT NULL, incident_id TEXT,
    incident_ms INTEGER,
    CHECK ((retries IS 0) = (incident_id IS NOT NULL))
);
CREATE INDEX task_of ON task (instance_id);
CREATE INDEX task_free ON task (topic, lock_until_ms, priority DESC) WHERE incident_id IS NULL;
CREATE INDEX task_incident ON task (incident_id) WHERE incident_id IS NOT NULL;
"""
# Rows keep their order of insertion (rowid), which breaks ties where a millisecond holds several.


@dataclass(frozen=True, slots=True)
class DefinitionRow:
    """A definition without its process: `resource_data` has to be parsed for that."""

    id: str
    key: str
    version: int
    name: str | None
    version_tag: str | None
    deployment_id: str
    resource: str


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which of a topic's tasks a worker wants. None: all."""

    business_key: str | None = None
    definition_ids: tuple[str, ...] | None = None
    definition_keys: tuple[str, ...] | None = None


ALL_TASKS = TaskFilter()

TaskPlace: TypeAlias = tuple[int, int]
"""A task's place in line: its priority, negated, and its row, which tells its age."""


def dump(variables: Wires) -> str:
    """Variables as they are stored. ASCII, so that any string that JSON can carry is kept."""
    text = json.dumps(variables, separators=(",", ":"))
    if len(text) > VARIABLES_BYTES_MAX:
        raise BadRequest(
            f"The variables of one instance take {len(text)} bytes, {VARIABLES_BYTES_MAX} are "
            "allowed; pass a reference to large data instead"
        )
    return text


_FORM = Form("The engine's file", "--data", APPLICATION_ID, SCHEMA_VERSION, _SCHEMA)


class Store(File):
    """The engine's tables. `None` for a path keeps everything in memory, for tests.

    Raises: InputError, as `File` does.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__(path, _FORM)

    # --- the engine itself ---

    def engine_id(self) -> str | None:
        row = self.connection.execute("SELECT id FROM engine").fetchone()
        return row[0] if row else None

    def set_engine_id(self, engine_id: str) -> None:
        self.connection.execute("INSERT INTO engine VALUES (?)", (engine_id,))

    # --- definitions ---

    def add_deployment(
        self,
        deployment_id: str,
        name: str | None,
        source: str | None,
        time_ms: int,
        files: Mapping[str, bytes],
    ) -> None:
        self.connection.execute(
            "INSERT INTO deployment VALUES (?, ?, ?, ?)", (deployment_id, name, source, time_ms)
        )
        self.connection.executemany(
            "INSERT INTO resource VALUES (?, ?, ?)",
            [(deployment_id, file, data) for file, data in files.items()],
        )

    def add_definition(self, row: DefinitionRow) -> None:
        self.connection.execute("INSERT INTO definition VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(row))

    def definition(self, definition_id: str) -> DefinitionRow | None:
        return self._definition("id = ?", definition_id)

    def newest_definition(self, key: str) -> DefinitionRow | None:
        return self._definition("key = ? ORDER BY version DESC LIMIT 1", key)

    def _definition(self, where: str, value: str) -> DefinitionRow | None:
        row = self.connection.execute(
            f"SELECT * FROM definition WHERE {where}",  # noqa: S608
            (value,),
        ).fetchone()
        return DefinitionRow(*row) if row else None

    def resource_data(self, deployment_id: str, name: str) -> bytes:
        (data,) = self.connection.execute(
            "SELECT data FROM resource WHERE deployment_id = ? AND name = ?", (deployment_id, name)
        ).fetchone()
        return bytes(data)

    # --- instances ---

    def add_instance(self, instance: Instance) -> None:
        self.connection.execute(_insert("instance", Instance), _row(instance))

    def save_instance(self, instance: Instance) -> None:
        self.connection.execute(
            "UPDATE instance SET variables = ?, state = ?, end_ms = ?, delete_reason = ? "
            "WHERE id = ?",
            (dump(instance.variables), instance.state, instance.end_ms, instance.delete_reason,
             instance.id),
        )  # fmt: skip

    def instance(self, instance_id: str) -> Instance | None:
        row = self.connection.execute(
            f"SELECT {_columns(Instance)} FROM instance WHERE id = ?",  # noqa: S608
            (instance_id,),
        ).fetchone()
        return read_instance(row) if row else None

    def variables_bytes(self, instance_id: str) -> int:
        """How much the variables of an instance take."""
        (size,) = self.connection.execute(
            "SELECT length(variables) FROM instance WHERE id = ?", (instance_id,)
        ).fetchone()
        return int(size)

    def called_by(self, instance_id: str) -> list[str]:
        """Ids of the running instances that an instance has called."""
        rows = self.connection.execute(
            "SELECT id FROM instance WHERE super_id = ? AND end_ms IS NULL", (instance_id,)
        )
        return [row[0] for row in rows]

    # --- activities ---

    def add_activity(self, activity: Activity) -> None:
        self.connection.execute(_insert("activity", Activity), astuple(activity))

    def activity_node(self, activity_id: str) -> str:
        """The node that an activity is a visit of."""
        (node_id,) = self.connection.execute(
            "SELECT node_id FROM activity WHERE id = ?", (activity_id,)
        ).fetchone()
        return str(node_id)

    def end_activity(self, activity_id: str, now_ms: int, *, canceled: bool = False) -> None:
        self.connection.execute(
            "UPDATE activity SET end_ms = ?, canceled = ? WHERE id = ? AND end_ms IS NULL",
            (now_ms, canceled, activity_id),
        )

    def cancel_activities(self, instance_id: str, now_ms: int) -> None:
        """Ends, as canceled, all that an instance is still at; its tasks are gone."""
        self.connection.execute(
            "UPDATE activity SET end_ms = ?, canceled = 1 WHERE instance_id = ? AND end_ms IS NULL",
            (now_ms, instance_id),
        )
        self.connection.execute("DELETE FROM task WHERE instance_id = ?", (instance_id,))

    # --- external tasks ---

    def add_task(self, task: Task) -> None:
        self.connection.execute(_insert("task", Task), _row(task))

    def save_task(self, task: Task) -> None:
        self.connection.execute(
            "UPDATE task SET lock_until_ms = ?, worker_id = ?, retries = ?, error_message = ?, "
            "error_details = ?, local_variables = ?, incident_id = ?, incident_ms = ? WHERE id = ?",
            (task.lock_until_ms, task.worker_id, task.retries, task.error_message,
             task.error_details, dump(task.local_variables), task.incident_id, task.incident_ms,
             task.id),
        )  # fmt: skip

    def lock_task(self, task: Task) -> None:
        """`save_task` where only the lock has changed."""
        self.connection.execute(
            "UPDATE task SET lock_until_ms = ?, worker_id = ? WHERE id = ?",
            (task.lock_until_ms, task.worker_id, task.id),
        )

    def remove_task(self, task_id: str) -> None:
        self.connection.execute("DELETE FROM task WHERE id = ?", (task_id,))

    def task(self, task_id: str) -> Task | None:
        row = self.connection.execute(
            f"SELECT {_columns(Task)} FROM task WHERE id = ?",  # noqa: S608
            (task_id,),
        ).fetchone()
        return read_task(row) if row else None

    def free_tasks(
        self, topic: str, now_ms: int, limit: int, wanted: TaskFilter
    ) -> Iterator[TaskPlace]:
        """Where the tasks of a topic stand that may be locked; the smallest place goes first.

        Those never locked and those whose lock ran out stand apart in the index, so that a long
        backlog is never sorted.
        """
        where, values = _wanted(wanted)
        for lock, bound in (("= ?", 0), ("BETWEEN 1 AND ?", now_ms)):
            yield from self.connection.execute(
                f"SELECT -priority, task.rowid FROM task {where} "  # noqa: S608
                f"task.topic = ? AND lock_until_ms {lock} AND incident_id IS NULL "
                "ORDER BY priority DESC, task.rowid LIMIT ?",
                (*values, topic, bound, limit),
            )

    def task_at(self, place: TaskPlace) -> Task:
        row = self.connection.execute(
            f"SELECT {_columns(Task)} FROM task WHERE rowid = ?",  # noqa: S608
            (place[1],),
        ).fetchone()
        return read_task(row)

    def next_unlock_ms(self, topics: Sequence[str], now_ms: int) -> int | None:
        """When the next lock of these topics runs out, None if none will."""
        found = [
            self.connection.execute(
                "SELECT min(lock_until_ms) FROM task "
                "WHERE topic = ? AND lock_until_ms > ? AND incident_id IS NULL",
                (topic, now_ms),
            ).fetchone()[0]
            for topic in topics
        ]
        return min((time_ms for time_ms in found if time_ms is not None), default=None)


def _wanted(wanted: TaskFilter) -> tuple[str, list[str]]:
    if wanted == ALL_TASKS:
        return "WHERE", []
    join = (
        "JOIN instance ON instance.id = task.instance_id "
        "JOIN definition ON definition.id = instance.definition_id WHERE"
    )
    values: list[str] = []
    if wanted.business_key is not None:
        join += " business_key = ? AND"
        values.append(wanted.business_key)
    for column, names in (("id", wanted.definition_ids), ("key", wanted.definition_keys)):
        if names is not None:
            join += f" definition.{column} IN ({', '.join('?' * len(names))}) AND"
            values += names
    return join, values


Record = Instance | Activity | Task


def _columns(kind: type[Record]) -> str:
    return ", ".join(column.name for column in fields(kind))


def _insert(table: str, kind: type[Record]) -> str:
    marks = ", ".join("?" * len(fields(kind)))
    return f"INSERT INTO {table} ({_columns(kind)}) VALUES ({marks})"  # noqa: S608


def _row(record: Instance | Task) -> list[object]:
    values = [getattr(record, column.name) for column in fields(record)]
    return [dump(value) if isinstance(value, dict) else value for value in values]


def read_instance(row: Sequence[object]) -> Instance:
    """A row with the columns of `Instance`, in their order."""
    instance = Instance(*row)  # type: ignore[arg-type]
    instance.variables = json.loads(row[7])  # type: ignore[arg-type]
    instance.state = InstanceState(instance.state)
    return instance


def read_task(row: Sequence[object]) -> Task:
    """A row with the columns of `Task`, in their order."""
    task = Task(*row)  # type: ignore[arg-type]
    task.local_variables = json.loads(row[12])  # type: ignore[arg-type]
    return task
