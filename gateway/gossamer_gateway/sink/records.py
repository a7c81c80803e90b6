"""Records of Zeebe's log: lines of a bulk in, changes of rows out. Pure: no I/O, no clock.

A partition's log has one order, and every record a position in it. The exporter sends them in that
order, and again from where it was sure, when it or the broker starts anew. So the position of the
last record that took effect is all that is needed to let each take effect once: what is not above
it was seen. One thing contradicts this: a position that was passed, with a time later than all that
was ever seen. No log says that of itself; it is another one, of a broker whose data are new. Then
the rows of the old one's partition are forgotten.

Reading a line is apart from `fold`, since the positions are known only within a transaction, where
there is no time to parse. What is not understood is counted and passed over: an exporter whose bulk
is refused would send it for ever, while the broker's disk fills.

The values are as in Zeebe's protocol, version 8.6 (`io.camunda.zeebe.protocol.record`).
"""

import base64
import json
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from xml.parsers import expat

VALUE_CHARACTERS_MAX = 8_192
"""Of a variable's JSON that is kept. Operate's default is as much (`variableSizeThreshold`)."""
MESSAGE_CHARACTERS_MAX = 4_000
"""Of an error's message that is kept: some sentences and the top of a stack trace."""
NAME_CHARACTERS_MAX = 1_000
"""Of ids, names, types and workers: longer ones are cut, and are found by nobody."""
MODEL_BYTES_MAX = 4 * 2**20
"""Of a process's XML; Zeebe's own bound for a message, and so for a deployment, is as much."""
NAMES_MAX = 10_000
"""Elements of a model that are looked at for the process's name."""

KEY_BITS = 51
"""A key's lower bits count, those above are its partition (Zeebe: `Protocol.KEY_BITS`)."""

UNCAUGHT = "NO_CATCH_EVENT_FOUND"
"""What stands for the element of a job whose error nobody catches, and of its incident."""

ACTIVE, COMPLETED, CANCELLED = "active", "completed", "cancelled"

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

Row = tuple[Any, ...]


class Record(NamedTuple):
    """One record, with what rows need of its value.

    Attributes:
        position: in its partition's log.
        at_ms: when it was written there, by the broker's clock.
        key: of what it speaks of; -1 for none.
        table: where its rows are, a field of `Changes`.
        intent: what happened.
        rows: by key; most records have one, a batch of jobs has many.
        instance: the instance that it belongs to, as a row that may be the first one hears of it.
    """

    partition: int
    position: int
    at_ms: int
    key: int
    table: str
    intent: str
    rows: tuple[tuple[int, Row], ...]
    instance: Row | None


class Mark(NamedTuple):
    """How far a partition's log was read.

    Attributes:
        position: of the last record.
        newest_ms: the latest time of any record so far.
        key_max: the highest key that was given in it.
        since_ms: the time of the first record that was heard.
    """

    position: int
    newest_ms: int
    key_max: int
    since_ms: int


class _Junk(Exception):
    """A line that is none of Zeebe's, or of a Zeebe that is not known here."""


@dataclass(slots=True)
class Bulk:
    """One bulk request as it comes in, piece by piece.

    Attributes:
        records: what is of interest, in the order of the lines.
        ends: per partition the last position, its time and the highest key, of every record.
        prefix: of the exporter's indices, by which it says which engine it belongs to.
        seen: records that were read, whether of interest or not.
        junk: lines that were not understood.
    """

    records: list[Record] = field(default_factory=list)
    ends: dict[int, Mark] = field(default_factory=dict)
    prefix: str | None = None
    seen: int = 0
    junk: int = 0
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Takes the next bytes. Never raises."""
        if b"\n" not in data:
            self._rest += data
            return
        first, *lines = data.split(b"\n")
        self._line(bytes(self._rest) + first if self._rest else first)
        self._rest = bytearray(lines.pop())
        for line in lines:
            self._line(line)

    def finish(self) -> None:
        """The bulk's last line may lack its end."""
        self._line(bytes(self._rest))
        self._rest.clear()

    def _line(self, line: bytes) -> None:
        if not line or line.isspace():
            return
        # Of every two lines the first says what to do with the second, and to all but the first
        # nobody listens: an exporter has one prefix.
        if self.prefix is not None and line.startswith(b'{"index":'):
            return
        try:
            told = json.loads(line)
            if type(told) is not dict:
                raise _Junk
            if "valueType" in told:
                self._record(told)
            else:
                self._action(told)
        except (_Junk, ValueError, RecursionError, KeyError):
            self.junk += 1

    def _action(self, told: Mapping[str, Any]) -> None:
        action = told.get("index") or told.get("create")
        if type(action) is not dict:
            raise _Junk
        self.prefix = _name(action["_index"]).partition("_")[0]

    def _record(self, told: Mapping[str, Any]) -> None:
        partition, position = _integer(told["partitionId"]), _integer(told["position"])
        at_ms, key = _integer(told["timestamp"]), _integer(told["key"])
        if partition < 1 or position < 0 or at_ms < 0:
            raise _Junk
        self.seen += 1
        if told["recordType"] != "EVENT":
            return
        record = _read(told, partition, position, at_ms, key)
        end = self.ends.get(partition)
        if key >> KEY_BITS != partition:
            key = -1  # of another partition, as all those of deployments are
        if end is None:
            self.ends[partition] = Mark(position, at_ms, key, at_ms)
        else:
            self.ends[partition] = Mark(
                max(end.position, position), max(end.newest_ms, at_ms), max(end.key_max, key),
                end.since_ms,
            )  # fmt: skip
        if record is not None:
            self.records.append(record)


def _read(
    told: Mapping[str, Any], partition: int, position: int, at_ms: int, key: int
) -> Record | None:
    value_type = told["valueType"]
    reader = READERS.get(value_type) if type(value_type) is str else None
    if reader is None:
        return None
    intent, value = told["intent"], told["value"]
    if type(intent) is not str or type(value) is not dict:
        raise _Junk
    return reader(_Head(partition, position, at_ms, key, intent), value)


class _Head(NamedTuple):
    partition: int
    position: int
    at_ms: int
    key: int
    intent: str

    def record(
        self, table: str, rows: tuple[tuple[int, Row], ...], instance: Row | None = None
    ) -> Record:
        return Record(*self[:4], table, self.intent, rows, instance)


def _instance_of(value: Mapping[str, Any], version: str = "processDefinitionVersion") -> Row:
    """Key, process, version, definition and tenant of the instance that a value belongs to."""
    return (
        _integer(value["processInstanceKey"]), _name(value["bpmnProcessId"]),
        _some(_integer(value.get(version, -1))), _some(_integer(value["processDefinitionKey"])),
        _name(value.get("tenantId", "")),
    )  # fmt: skip


def _process_instance(head: _Head, value: Mapping[str, Any]) -> Record | None:
    if head.intent not in STEPS:
        return None
    instance = _instance_of(value, "version")
    kind = _name(value["bpmnElementType"])
    if kind == "PROCESS":
        return head.record("instances", ((head.key, (
            *instance[1:], _some(_integer(value["parentProcessInstanceKey"])),
            _some(_integer(value["parentElementInstanceKey"])), head.at_ms,
        )),))  # fmt: skip
    if kind == "SEQUENCE_FLOW":
        return None
    row = (
        instance[0], instance[1], _name(value["elementId"]), kind,
        _some(_integer(value["flowScopeKey"])), head.at_ms,
    )  # fmt: skip
    return head.record("elements", ((head.key, row),), instance)


def _variable(head: _Head, value: Mapping[str, Any]) -> Record:
    told = _text(value["value"])
    row = (
        _integer(value["processInstanceKey"]), _integer(value["scopeKey"]),
        _name(value["name"]), told[:VALUE_CHARACTERS_MAX], len(told),
    )  # fmt: skip
    return head.record("variables", ((head.key, row),))


def _job(head: _Head, value: Mapping[str, Any]) -> Record:
    return head.record("jobs", ((head.key, _job_row(value)),), _instance_of(value))


def _job_row(value: Mapping[str, Any]) -> Row:
    deadline = _integer(value["deadline"])
    return (
        _integer(value["processInstanceKey"]), _name(value["bpmnProcessId"]),
        _name(value["elementId"]), _integer(value["elementInstanceKey"]), _name(value["type"]),
        _name(value["worker"]), _integer(value["retries"]), deadline if deadline > 0 else None,
        _name(value["errorCode"]), _text(value["errorMessage"])[:MESSAGE_CHARACTERS_MAX],
    )  # fmt: skip


def _job_batch(head: _Head, value: Mapping[str, Any]) -> Record | None:
    if head.intent != "ACTIVATED":
        return None
    keys, jobs = value["jobKeys"], value["jobs"]
    if type(keys) is not list or type(jobs) is not list or len(keys) != len(jobs):
        raise _Junk
    if not all(type(job) is dict for job in jobs):
        raise _Junk
    rows = tuple((_integer(key), _job_row(job)) for key, job in zip(keys, jobs, strict=True))
    return head.record("jobs", rows)


def _incident(head: _Head, value: Mapping[str, Any]) -> Record:
    row = (
        _integer(value["processInstanceKey"]), _name(value["bpmnProcessId"]),
        _integer(value["processDefinitionKey"]), _name(value["elementId"]),
        _some(_integer(value["elementInstanceKey"])), _some(_integer(value["jobKey"])),
        _name(value["errorType"]), _text(value["errorMessage"])[:MESSAGE_CHARACTERS_MAX],
        head.at_ms,
    )  # fmt: skip
    return head.record("incidents", ((head.key, row),), _instance_of(value))


def _waiting(head: _Head, value: Mapping[str, Any]) -> Record:
    row = (
        _name(value["messageName"]), _name(value["correlationKey"]),
        _integer(value["processInstanceKey"]), _name(value["bpmnProcessId"]),
        _name(value["elementId"]),
    )  # fmt: skip
    if head.intent == "CORRELATED" and value["interrupting"] is not True:
        head = head._replace(intent="CREATED")  # it waits for the next one
    return head.record("subscriptions", ((head.key, row),))


def _starting(head: _Head, value: Mapping[str, Any]) -> Record | None:
    if head.intent == "CORRELATED":
        return None  # and waits on
    row = (
        _name(value["messageName"]), None, None, _name(value["bpmnProcessId"]),
        _name(value["startEventId"]),
    )  # fmt: skip
    return head.record("subscriptions", ((head.key, row),))


def _process(head: _Head, value: Mapping[str, Any]) -> Record:
    process = _name(value["bpmnProcessId"])
    xml = _model(value.get("resource") or "")
    row = (
        process, _integer(value["version"]), _name(value.get("versionTag") or ""),
        process_name(xml, process) if xml is not None else None, _name(value["resourceName"]),
        _some(_integer(value.get("deploymentKey", -1))), _name(value.get("tenantId") or ""), xml,
        head.at_ms,
    )  # fmt: skip
    return head.record("processes", ((_integer(value["processDefinitionKey"]), row),))


READERS: Mapping[str, Callable[[_Head, Mapping[str, Any]], Record | None]] = {
    "PROCESS": _process,
    "PROCESS_INSTANCE": _process_instance,
    "VARIABLE": _variable,
    "JOB": _job,
    "JOB_BATCH": _job_batch,
    "INCIDENT": _incident,
    "PROCESS_MESSAGE_SUBSCRIPTION": _waiting,
    "MESSAGE_START_EVENT_SUBSCRIPTION": _starting,
}
"""What is read, by value type."""

STEPS = frozenset(
    {"ELEMENT_ACTIVATING", "ELEMENT_MIGRATED", "ELEMENT_COMPLETED", "ELEMENT_TERMINATED"}
)
"""What of an element's life changes a row; all the rest lies between these."""


# --- fields ---


def _integer(value: object) -> int:
    if type(value) is not int or not INTEGER_MIN <= value <= INTEGER_MAX:
        raise _Junk
    return value


def _some(key: int) -> int | None:
    """Zeebe writes -1 where there is none."""
    return None if key < 0 else key


def _text(value: object) -> str:
    if type(value) is not str:
        raise _Junk
    if not value.isascii() or "\0" in value:  # neither of which every database keeps
        value = value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    return value


def _name(value: object) -> str:
    return _text(value)[:NAME_CHARACTERS_MAX]


def _model(encoded: object) -> str | None:
    """A process's XML; None for none, and for what is none."""
    if type(encoded) is not str or not 0 < len(encoded) <= MODEL_BYTES_MAX * 4 // 3 + 4:
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8").replace("\0", "\ufffd")
    except (Base64Error, ValueError):
        return None


class _Enough(Exception):
    """Nobody needs to read on."""


def process_name(xml: str, process: str) -> str | None:
    """The name that a person gave a process in its model; None where there is none to be found."""
    found: str | None = None
    elements = 0

    def begin(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal found, elements
        elements += 1
        if tag.rpartition(":")[2] == "process" and attributes.get("id") == process:
            found = attributes.get("name")
            raise _Enough
        if elements >= NAMES_MAX:
            raise _Enough

    def entity(*_told: object) -> None:
        raise _Enough  # a model needs none, and some multiply

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EntityDeclHandler = entity
    with suppress(_Enough, expat.ExpatError, ValueError):
        parser.Parse(xml.encode("utf-8", "replace"), True)
    return None if found is None else found[:NAME_CHARACTERS_MAX].replace("\0", "\ufffd")


# --- changes ---


@dataclass(slots=True)
class Tally:
    """Instances of a process that began and ended."""

    started: int = 0
    completed: int = 0
    cancelled: int = 0


@dataclass(slots=True)
class Table:
    """What becomes of one table's rows, by key. None is both put and removed."""

    puts: dict[int, Row] = field(default_factory=dict)
    removals: set[int] = field(default_factory=set)
    born: set[int] = field(default_factory=set)
    """Put here for the first time ever, so that there is nothing to remove."""

    def put(self, key: int, row: Row, *, new: bool) -> None:
        self.removals.discard(key)
        if new:
            self.born.add(key)
        self.puts[key] = row

    def remove(self, key: int) -> None:
        self.puts.pop(key, None)
        if key in self.born:
            self.born.discard(key)
        else:
            self.removals.add(key)


@dataclass(slots=True)
class Changes:
    """What a bulk changes, each record once.

    Attributes:
        marks: how far each partition is read afterwards; those that the bulk speaks of.
        forgotten: partitions whose log began anew; their rows go before anything else.
        met: instances that records belong to, and that rows may lack: key → process, version,
            definition, tenant.
        instances: key → process, version, definition, tenant, parent, parent element, state,
            started, ended.
        jobs: as read, and the state; None where the record doesn't tell.
        applied, repeated: records that took effect, and that had before.
    """

    marks: dict[int, Mark] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)
    met: dict[int, Row] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    instances: Table = field(default_factory=Table)
    elements: Table = field(default_factory=Table)
    variables: Table = field(default_factory=Table)
    jobs: Table = field(default_factory=Table)
    incidents: Table = field(default_factory=Table)
    subscriptions: Table = field(default_factory=Table)
    processes: Table = field(default_factory=Table)
    applied: int = 0
    repeated: int = 0


def fold(bulk: Bulk, marks: Mapping[int, Mark]) -> Changes:
    """What a bulk changes where partitions were read that far."""
    changes = Changes(marks=dict(marks))
    for record in bulk.records:
        mark = changes.marks.get(record.partition)
        if mark is not None and record.position <= mark.position:
            if record.at_ms <= mark.newest_ms:
                changes.repeated += 1
                continue
            _begin_anew(changes, record.partition)
            mark = None
        at_ms = record.at_ms
        changes.marks[record.partition] = Mark(
            record.position, at_ms if mark is None else max(mark.newest_ms, at_ms),
            -1 if mark is None else mark.key_max, at_ms if mark is None else mark.since_ms,
        )  # fmt: skip
        _apply(changes, record)
        changes.applied += 1
    for partition, end in bulk.ends.items():  # what is of no interest was read as well
        mark = changes.marks.get(partition)
        if mark is None:
            changes.marks[partition] = end
        elif end.position >= mark.position:
            changes.marks[partition] = Mark(
                end.position, max(mark.newest_ms, end.newest_ms), max(mark.key_max, end.key_max),
                mark.since_ms,
            )  # fmt: skip
    return changes


def partition_of(key: int) -> int:
    """The partition that gave a key."""
    return key >> KEY_BITS


def _begin_anew(changes: Changes, partition: int) -> None:
    changes.forgotten.add(partition)
    for table in (changes.instances, changes.elements, changes.variables, changes.jobs,
                  changes.incidents, changes.subscriptions, changes.processes):  # fmt: skip
        for key in [key for key in table.puts if partition_of(key) == partition]:
            table.remove(key)
    for key in [key for key in changes.met if partition_of(key) == partition]:
        del changes.met[key]


def _apply(changes: Changes, record: Record) -> None:
    if record.table == "instances":
        _apply_instance(changes, record)
        return
    if record.instance is not None and record.instance[0] not in changes.instances.puts:
        changes.met.setdefault(record.instance[0], record.instance[1:])
    table: Table = getattr(changes, record.table)
    for key, row in record.rows:
        step = record.intent
        if record.table == "jobs":
            if step == "ERROR_THROWN" and row[2] != UNCAUGHT:
                step = "CANCELED"  # somebody caught it, and the job is gone
            row = (*row, JOB_STATES.get(step))  # noqa: PLW2901 - the same row, told whole
        if step in ENDS:
            table.remove(key)
        else:
            table.put(key, row, new=step == BIRTHS.get(record.table))


ENDS = frozenset(
    {"ELEMENT_COMPLETED", "ELEMENT_TERMINATED", "COMPLETED", "CANCELED", "CORRELATED", "DELETING",
     "DELETED", "RESOLVED"}
)  # fmt: skip
"""After these there is no such element, job, incident, subscription, definition any more."""

BIRTHS: Mapping[str, str] = {
    "elements": "ELEMENT_ACTIVATING",
    "jobs": "CREATED",
    "incidents": "CREATED",
    "subscriptions": "CREATING",
}
"""By table, what comes before all else. (A start's subscription has no CREATING.)"""

JOB_STATES: Mapping[str, str] = {
    "CREATED": "created",
    "ACTIVATED": "activated",
    "TIMED_OUT": "created",
    "YIELDED": "created",
    "RECURRED_AFTER_BACKOFF": "created",
    "FAILED": "failed",
    "ERROR_THROWN": "error thrown",
}
"""The state that a job is in after these; other intents leave it as it is."""


def _apply_instance(changes: Changes, record: Record) -> None:
    ((key, row),) = record.rows
    process, version, definition, tenant, parent, parent_element, at_ms = row
    known = changes.instances.puts.get(key)
    started_ms, ended_ms, state = (known[7], known[8], known[6]) if known else (None, None, ACTIVE)
    tally = changes.tallies.setdefault(process, Tally())
    if record.intent == "ELEMENT_ACTIVATING":
        tally.started += 1
        started_ms = at_ms
    elif record.intent == "ELEMENT_COMPLETED":
        tally.completed += 1
        state, ended_ms = COMPLETED, at_ms
    elif record.intent == "ELEMENT_TERMINATED":
        tally.cancelled += 1
        state, ended_ms = CANCELLED, at_ms
    changes.met.pop(key, None)
    changes.instances.put(
        key,
        (process, version, definition, tenant, parent, parent_element, state, started_ms, ended_ms),
        new=False,
    )
