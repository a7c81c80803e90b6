"""The fast path: what came together changes runs together, in one transaction.

The engine gathers words while the last group is being committed, and hands them here as one command
of the storage. Each word is decided in turn, on the state that the words before it left: a run of
which ten answers came is read once and written once. Reading is one statement, for the numbers of
all runs that are meant; a state in memory that has its run's number is that run, so it needs no
fold. Writing is one statement for each table.

A word that is refused changes nothing and leaves the others alone. A group is decided anew from its
beginning when the storage says so; so nothing here keeps anything but in what it returns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from gossamer_gateway.errors import RequestError
from gossamer_gateway.runs import store
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.deciding import Answer, Chance, Verdict
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import OutOfPlace, Run, evolve
from gossamer_gateway.runs.store import Damaged, Written
from gossamer_gateway.storage import Command, Rows

FLOWS_MAX = 1_000
"""Definitions in memory."""


class UnknownWorkflow(RequestError):
    """No such workflow is defined."""


class UnknownRun(RequestError):
    """There is no such run."""


MISTAKES = (OutOfPlace, LookupError, TypeError, ValueError, AttributeError, AssertionError)
"""Of ours, in deciding. Whatever else is raised is the storage's, and ends the group."""

Decide = Callable[[Flow, Run, int], list[Event]]
"""Takes a run and the time; gives what happens, maybe nothing."""


@dataclass(slots=True, eq=False)
class Word:
    """Something said to the engine, and what became of it.

    Attributes:
        settled: set then, where somebody waits for this one.
        rung: the number of the bell for free jobs (`news`), when it was settled.
    """

    settled: trio.Event | None = field(default=None, init=False)
    result: Any = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)
    rung: int = field(default=0, init=False)


@dataclass(slots=True, eq=False)
class Trigger(Word):
    """There is to be a run. Its result: the state of it, or of the one that has its key."""

    id: str
    workflow: str
    version: int | None
    given: Any
    key: str | None


@dataclass(slots=True, eq=False)
class Change(Word):
    """A run is to change. Its result: the state, and the events that led there."""

    run: str
    decide: Decide


@dataclass(slots=True, eq=False)
class Answered(Word):
    """A worker answered. Its result: a verdict."""

    run: str
    said: Answer


@dataclass(slots=True, eq=False)
class Errand(Word):
    """Something with rows that changes no run, done after what does. Its result: the command's."""

    command: Command[Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """What an engine goes by: see `Engine`."""

    chance: Chance
    executor: str
    offered: store.Offered
    outbox: bool
    writer: int


@dataclass(slots=True)
class Outcome:
    """What a group came to: true once it is on disk.

    Attributes:
        results, errors: by the word's place in the group.
        runs: the states of all that were looked at, and the bytes of their events where known.
        happened: what to tell those who listen, in order.
        queues: those that have new jobs.
        flows: definitions that were read.
    """

    results: dict[int, Any] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)
    runs: dict[str, tuple[Run, int]] = field(default_factory=dict)
    happened: list[tuple[Run, Sequence[Event]]] = field(default_factory=list)
    written: Sequence[Written] = ()
    queues: set[str] = field(default_factory=set)
    flows: dict[tuple[str, int], Flow] = field(default_factory=dict)


class Flows:
    """Definitions that are followed. A version never changes, so what is kept of it is right.

    Only what was on disk is kept: a group may see a version that is taken back along with it, and
    then another definition gets its number.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Flow] = {}

    def get(self, workflow: str, version: int) -> Flow | None:
        """The one of a version, if it is kept."""
        return self._kept.get((workflow, version))

    def keep(self, found: Mapping[tuple[str, int], Flow]) -> None:
        """Keeps what a group has read, once that is on disk."""
        for named, flow in found.items():
            if len(self._kept) >= FLOWS_MAX:
                self._kept.pop(next(iter(self._kept)), None)
            self._kept[named] = flow


def work(
    rows: Rows, now_ms: int, words: Sequence[Word], known: Mapping[str, tuple[Run, int]],
    flows: Flows, rules: Rules,
) -> Outcome:  # fmt: skip
    """Does what the words say: a command, but for its last arguments.

    Args:
        known: states of runs, and the bytes of their events; any may be old.
    """
    group = _Group(rows, now_ms, known, flows, rules)
    group.expect([one.run for one in words if isinstance(one, Change | Answered)])
    outcome = group.outcome
    for place, word in enumerate(words):
        if isinstance(word, Errand):
            continue
        try:
            outcome.results[place] = group.take(word)
        except (RequestError, Damaged, *MISTAKES) as error:  # its neighbours don't care
            outcome.errors[place] = error
    group.write()
    for place, word in enumerate(words):
        if isinstance(word, Errand):
            try:
                outcome.results[place] = word.command(rows, now_ms)
            except RequestError as error:  # said before it wrote anything
                outcome.errors[place] = error
    return outcome


class _Group:
    """Words of one transaction, being decided."""

    def __init__(
        self, rows: Rows, now_ms: int, known: Mapping[str, tuple[Run, int]], flows: Flows,
        rules: Rules,
    ) -> None:  # fmt: skip
        self.outcome = Outcome()
        self._rows = rows
        self._now_ms = now_ms
        self._known = known
        self._flows = flows
        self._rules = rules
        self._seqs: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._written: dict[str, Written] = {}

    def expect(self, runs: Sequence[str]) -> None:
        if runs:
            self._seqs = store.read_seqs(self._rows, runs)

    def take(self, word: Word) -> Any:
        if isinstance(word, Answered):
            return self._answer(word)
        if isinstance(word, Change):
            run = self._state(word.run)
            if run is None:
                raise UnknownRun(f"there is no run {word.run}")
            return self._change(run, word.decide)
        assert isinstance(word, Trigger), "there are no other words that change runs"
        return self._trigger(word)

    def write(self) -> None:
        if self._written:
            self.outcome.written = list(self._written.values())
            self.outcome.queues = store.write(
                self._rows, self.outcome.written, self._flow, self._rules.offered,
                outbox=self._rules.outbox, writer=self._rules.writer,
            )  # fmt: skip

    def _flow(self, run: Run) -> Flow:
        return self._flow_of(run.workflow, run.version)

    def _flow_of(self, workflow: str, version: int) -> Flow:
        named = workflow, version
        flow = self._flows.get(*named) or self.outcome.flows.get(named)
        if flow is None:
            definition = store.read_definition(self._rows, *named)
            if definition is None:
                raise Damaged(f"version {version} of workflow {workflow} is missing")
            flow = self.outcome.flows[named] = Flow(definition)
        return flow

    def _state(self, id: str) -> Run | None:
        if id in self.outcome.runs:
            return self.outcome.runs[id][0]
        seq = self._seqs.get(id)
        if seq is None:
            return None
        known = self._known.get(id)
        if known is None or known[0].seq != seq:
            known = store.read_run(self._rows, id)
            if known is None or known[0].seq != seq:
                raise Damaged(f"the history of run {id} does not end at its number {seq}")
        self.outcome.runs[id] = known
        return known[0]

    def _trigger(self, word: Trigger) -> Run:
        if word.key is not None and (known := self._with_key(word.workflow, word.key)):
            return known
        version = word.version
        if version is None:
            if word.workflow not in self._newest:
                self._newest[word.workflow] = store.newest_version(self._rows, word.workflow)
            version = self._newest[word.workflow]
        elif store.read_definition(self._rows, word.workflow, version) is None:
            raise UnknownWorkflow(f"there is no version {version} of workflow {word.workflow}")
        if version == 0:
            raise UnknownWorkflow(f"there is no workflow {word.workflow}; define it first")
        flow = self._flow_of(word.workflow, version)
        executor = self._rules.executor
        events = deciding.trigger(
            flow, word.id, word.given, self._now_ms, key=word.key, executor=executor
        )
        run = evolve(None, events[0])
        if executor == deciding.OWN:
            more = deciding.start(flow, run, self._now_ms)
            run = deciding.after(run, more)
            events += more
        self._add(run, events, 0)
        if word.key is not None:
            self._keys[word.workflow, word.key] = word.id
        return run

    def _with_key(self, workflow: str, key: str) -> Run | None:
        id = self._keys.get((workflow, key))
        if id is None:
            found = self._rows.execute(
                "SELECT id, seq FROM workflow_runs WHERE workflow = ? AND idempotency_key = ?",
                (workflow, key),
            ).fetchone()
            if not found:
                return None
            id = self._keys[workflow, key] = found[0]
            self._seqs[id] = found[1]
        return self._state(id)

    def _answer(self, word: Answered) -> Verdict:
        run = self._state(word.run)
        if run is None:
            return Verdict.UNKNOWN
        verdict = deciding.verdict(run, word.said)
        self._change(
            run,
            lambda flow, run, now: deciding.answer(flow, run, word.said, now, self._rules.chance),
        )
        return verdict

    def _change(self, run: Run, decide: Decide) -> tuple[Run, list[Event]]:
        events = decide(self._flow(run), run, self._now_ms)
        if events:
            run = deciding.after(run, events)
            self._add(run, events, self.outcome.runs[run.id][1])
        return run, events

    def _add(self, run: Run, events: list[Event], size: int) -> None:
        data = [e.encode(one) for one in events]
        before = self._written.get(run.id)
        if before is not None:
            together = Written(run, [*before.events, *events], [*before.data, *data])
        else:
            together = Written(run, events, data)
        self._written[run.id] = together
        self.outcome.runs[run.id] = run, size + sum(map(len, data))
        self.outcome.happened.append((run, events))
