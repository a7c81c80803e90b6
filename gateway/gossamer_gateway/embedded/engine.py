"""The engine's decisions: what each command of Camunda 7's dialect does to processes and tasks.

A command reads and writes the store, takes the time as an argument, does no other I/O and never
waits. It either returns, or raises with nothing decided: its caller takes back what it wrote
(`Store.all_or_nothing`). As in Camunda 7, a command walks on to the next external tasks within the
same transaction, so a next step that fails makes the command fail and the task stays locked.
Behaviour that is not obvious was measured on Camunda 7.24 and is asserted by the tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gossamer_gateway.embedded.definitions import Definitions
from gossamer_gateway.embedded.model import (
    Definition,
    Instance,
    InstanceState,
    ServiceTask,
    Task,
)
from gossamer_gateway.embedded.store import ALL_TASKS, Store, TaskFilter, TaskPlace
from gossamer_gateway.embedded.values import Wires
from gossamer_gateway.embedded.walk import Walk
from gossamer_gateway.errors import (
    BadRequest,
    NotLockedByWorker,
    UnknownInstance,
    UnknownTask,
)
from gossamer_gateway.wording7 import COMPLETE, EXTEND, FAILURE, LOCK, not_locked_by

LOCK_MS_MAX = 10 * 365 * 24 * 3_600_000
"""Ten years: no lock is meant to be longer, and no date is written past the year 9999."""
FETCH_BYTES_MAX = 16 * 2**20
"""Variables handed out by one fetch; tasks beyond it wait for the next. One task always goes."""
MESSAGE_CHARS_MAX = 666
"""Camunda 7 cuts an error message to its column's 4000 bytes, 666 characters."""


@dataclass(frozen=True, slots=True)
class TopicFetch:
    """What a worker wants of one topic.

    Attributes:
        lock_ms: how long a task is locked for it.
        wanted: which of the topic's tasks.
    """

    topic: str
    lock_ms: int
    wanted: TaskFilter = ALL_TASKS


@dataclass(frozen=True, slots=True)
class LockedTask:
    """A task handed out, with all that a worker may ask about it."""

    task: Task
    instance: Instance
    definition: Definition

    @property
    def node(self) -> ServiceTask:
        node = self.definition.process.nodes[self.task.node_id]
        assert isinstance(node, ServiceTask)
        return node


class Engine:
    """All commands. One at a time: whoever owns the store's transaction owns the engine."""

    def __init__(self, store: Store, new_id: Callable[[int], str]) -> None:
        """
        Args:
            new_id: makes an id that was never given before, from the time in milliseconds.
        """
        self._store = store
        self._new_id = new_id
        self.definitions = Definitions(store, new_id)
        self._awakened: set[str] = set()

    def take_awakened(self) -> set[str]:
        """Topics that have got a free task since the last call."""
        awakened, self._awakened = self._awakened, set()
        return awakened

    # --- instances ---

    def start(
        self, definition: Definition, *, business_key: str | None, variables: Wires, now_ms: int
    ) -> Instance:
        """Starts an instance and walks to its first tasks. It may have ended on return."""
        walk = self._walk(now_ms)
        instance = walk.begin(definition, business_key, variables)
        self._go(walk)
        return instance

    def delete_instance(self, instance_id: str, *, now_ms: int) -> None:
        """Ends an instance, all that it has called, and all that wait for its end.

        Raises: UnknownInstance.
        """
        instance = self._store.instance(instance_id)
        if instance is None or instance.state is not InstanceState.ACTIVE:
            raise UnknownInstance(f"No process instance found for id '{instance_id}'")
        # Camunda 7 deletes a callee's callers, too.
        while instance.super_id is not None:
            caller = self._store.instance(instance.super_id)
            assert caller is not None
            instance = caller
        walk = self._walk(now_ms)
        walk.terminate(instance)
        self._go(walk)

    def running_instance(self, instance_id: str) -> Instance:
        """Raises: UnknownInstance when there is none, or it has ended."""
        instance = self._store.instance(instance_id)
        if instance is None or instance.state is not InstanceState.ACTIVE:
            raise UnknownInstance(f"Process instance with id {instance_id} does not exist")
        return instance

    def set_variables(self, instance_id: str, changes: Wires, deletions: Sequence[str]) -> None:
        """Raises: UnknownInstance."""
        instance = self.running_instance(instance_id)
        instance.variables.update(changes)
        for name in deletions:
            instance.variables.pop(name, None)
        self._store.save_instance(instance)

    # --- external tasks ---

    def fetch_and_lock(
        self, worker_id: str, topics: Sequence[TopicFetch], *, tasks_max: int, now_ms: int
    ) -> list[LockedTask]:
        """Locks the first free tasks of all topics together: by priority, then by age."""
        for fetch in topics:
            _check_lock(fetch.lock_ms, "lockTime")
        found: dict[TaskPlace, TopicFetch] = {}
        for fetch in topics:
            for place in self._store.free_tasks(fetch.topic, now_ms, tasks_max, fetch.wanted):
                found.setdefault(place, fetch)
        locked: list[LockedTask] = []
        size = 0
        for place in sorted(found)[:tasks_max]:
            fetch, task = found[place], self._store.task_at(place)
            size += self._store.variables_bytes(task.instance_id)
            if locked and size > FETCH_BYTES_MAX:
                break
            instance = self._store.instance(task.instance_id)
            assert instance is not None
            task.worker_id, task.lock_until_ms = worker_id, now_ms + fetch.lock_ms
            self._store.lock_task(task)
            definition = self.definitions.get(instance.definition_id)
            locked.append(LockedTask(task, instance, definition))
        return locked

    def next_unlock_ms(self, topics: Sequence[TopicFetch], now_ms: int) -> int | None:
        """When a lock on one of these topics will run out next, if nobody touches it."""
        return self._store.next_unlock_ms([fetch.topic for fetch in topics], now_ms)

    def complete(self, task_id: str, worker_id: str, variables: Wires, *, now_ms: int) -> None:
        """Settles a task and walks on.

        Raises: UnknownTask; NotLockedByWorker; StepFailed when the way on fails.
        """
        task = self._task_of(task_id, worker_id, COMPLETE)
        walk = self._walk(now_ms)
        instance = walk.instance(task.instance_id)
        instance.variables.update(variables)
        self._store.remove_task(task.id)
        self._store.end_activity(task.activity_id, now_ms)
        walk.leave(instance, task.node_id)
        self._go(walk)

    def throw_error(
        self, task_id: str, worker_id: str, code: str, message: str | None, variables: Wires,
        *, now_ms: int,
    ) -> None:  # fmt: skip
        """Throws a BPMN error at a task; uncaught, the token ends there, as in Camunda 7.

        Raises: as `complete`.
        """
        task = self._task_of(
            task_id, worker_id, "Bpmn error of External Task {} cannot be reported by"
        )
        walk = self._walk(now_ms)
        instance = walk.instance(task.instance_id)
        instance.variables.update(variables)
        self._store.remove_task(task.id)
        walk.throw(instance, task.node_id, task.activity_id, code, message)
        self._go(walk)

    def fail(
        self, task_id: str, worker_id: str, *, retries: int, retry_ms: int, message: str | None,
        details: str | None, variables: Wires, local_variables: Wires, now_ms: int,
    ) -> None:  # fmt: skip
        """Reports a failure: with retries left it is free after `retry_ms`, else an incident.

        Raises: UnknownTask; NotLockedByWorker; BadRequest.
        """
        task = self._task_of(task_id, worker_id, FAILURE)
        if not 0 <= retry_ms <= LOCK_MS_MAX:
            raise BadRequest(f"retryTimeout must lie between 0 and {LOCK_MS_MAX} milliseconds")
        if variables:
            instance = self.running_instance(task.instance_id)
            instance.variables.update(variables)
            self._store.save_instance(instance)
        task.local_variables.update(local_variables)
        task.error_message = message[:MESSAGE_CHARS_MAX] if message is not None else None
        task.error_details = details
        task.lock_until_ms = now_ms + retry_ms
        self._set_retries(task, retries, now_ms)
        self._awakened.add(task.topic)  # its poll has a new time to wake at

    def set_retries(self, task_id: str, retries: int, *, now_ms: int) -> None:
        """Raises: UnknownTask; BadRequest."""
        task = self.task(task_id)
        self._set_retries(task, retries, now_ms)
        self._awakened.add(task.topic)

    def _set_retries(self, task: Task, retries: int, now_ms: int) -> None:
        if not 0 <= retries < 2**31:
            raise BadRequest("The number of retries must be 0 or more, and below 2^31")
        task.retries = retries
        if retries > 0:
            task.incident_id = task.incident_ms = None
        elif task.incident_id is None:
            task.incident_id, task.incident_ms = self._new_id(now_ms), now_ms
        self._store.save_task(task)

    def lock(self, task_id: str, worker_id: str, lock_ms: int, *, now_ms: int) -> None:
        """Locks a task that is free, or whose lock this worker holds.

        Raises: UnknownTask; NotLockedByWorker; BadRequest.
        """
        _check_lock(lock_ms, "lockDuration")
        task = self.task(task_id)
        if task.lock_until_ms > now_ms and task.worker_id != worker_id:
            raise _not_locked_by(task, worker_id, LOCK)
        task.worker_id, task.lock_until_ms = worker_id, now_ms + lock_ms
        self._store.lock_task(task)

    def extend_lock(self, task_id: str, worker_id: str, lock_ms: int, *, now_ms: int) -> None:
        """Keeps the lock for `lock_ms` from now on.

        Raises: UnknownTask; NotLockedByWorker, also when the lock has run out; BadRequest.
        """
        _check_lock(lock_ms, "lockTime")
        task = self._task_of(task_id, worker_id, EXTEND)
        if task.lock_until_ms < now_ms:
            raise NotLockedByWorker(f"Cannot extend a lock that expired: {task_id}")
        task.lock_until_ms = now_ms + lock_ms
        self._store.lock_task(task)

    def unlock(self, task_id: str) -> None:
        """Frees a task, whoever holds it. Raises: UnknownTask."""
        task = self.task(task_id)
        task.worker_id, task.lock_until_ms = None, 0
        self._store.lock_task(task)
        self._awakened.add(task.topic)

    def task(self, task_id: str) -> Task:
        """Raises: UnknownTask."""
        task = self._store.task(task_id)
        if task is None:
            raise UnknownTask(task_id)
        return task

    def _task_of(self, task_id: str, worker_id: str, refusal: str) -> Task:
        # The worker is checked and not the clock: a lock that ran out is still the worker's until
        # another takes it.
        task = self.task(task_id)
        if task.worker_id != worker_id:
            raise _not_locked_by(task, worker_id, refusal)
        return task

    def _walk(self, now_ms: int) -> Walk:
        return Walk(self._store, self.definitions, self._new_id, now_ms)

    def _go(self, walk: Walk) -> None:
        walk.go()
        self._awakened |= walk.awakened


def _not_locked_by(task: Task, worker_id: str, refusal: str) -> NotLockedByWorker:
    return NotLockedByWorker(not_locked_by(task.id, worker_id, task.worker_id, refusal))


def _check_lock(lock_ms: int, name: str) -> None:
    if lock_ms <= 0:
        raise BadRequest(f"{name} is not greater than 0")
    if lock_ms > LOCK_MS_MAX:
        raise BadRequest(f"{name} is greater than {LOCK_MS_MAX}")
