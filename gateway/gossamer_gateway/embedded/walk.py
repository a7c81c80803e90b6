"""One command's way through the processes: where tokens go, and what that writes.

A token that leaves a node walks on, through calls and returns, until it waits at an external task
or has ended; an error goes outwards until an event catches it. All of it happens within the
command's transaction. Behaviour that is not obvious was measured on Camunda 7.24.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from gossamer_gateway.embedded.definitions import Definitions
from gossamer_gateway.embedded.expressions import Value
from gossamer_gateway.embedded.model import (
    Activity,
    CallActivity,
    Definition,
    EndEvent,
    ErrorEndEvent,
    Instance,
    InstanceState,
    Node,
    Process,
    ServiceTask,
    Task,
    Transfer,
)
from gossamer_gateway.embedded.store import Store
from gossamer_gateway.embedded.values import NULL, Wire, Wires, to_value
from gossamer_gateway.errors import StepFailed, UnknownDefinition

VISITS_MAX = 1_000
"""Nodes that one command may visit before every token waits. Only processes that call each other
in a circle come near it, and they would never end."""


class _InstanceScope:
    """What expressions see of an instance."""

    def __init__(self, instance: Instance) -> None:
        self._variables = instance.variables
        self.business_key = instance.business_key
        self.instance_id = instance.id

    def lookup(self, name: str) -> Value:
        return to_value(self._variables[name])


class Walk:
    """One command's tokens on their way, and the instances that it has touched.

    Calls and returns are worked off from a list, so that processes that call each other deeply
    cost no stack; each instance is read once and written once.

    Attributes:
        awakened: topics that got a task.
    """

    def __init__(
        self, store: Store, definitions: Definitions, new_id: Callable[[int], str], now_ms: int
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._new_id = new_id
        self._now_ms = now_ms
        self.awakened: set[str] = set()
        self._instances: dict[str, Instance] = {}
        self._leaving: deque[tuple[Instance, str]] = deque()
        self._visits = 0

    def instance(self, instance_id: str) -> Instance:
        found = self._instances.get(instance_id)
        if found is None:
            found = self._store.instance(instance_id)
            assert found is not None, f"instance {instance_id} is missing"
            self._instances[instance_id] = found
        return found

    def leave(self, instance: Instance, node_id: str) -> None:
        self._leaving.append((instance, node_id))

    def go(self) -> None:
        """Walks until every token waits or has ended, then writes the instances."""
        while self._leaving:
            instance, node_id = self._leaving.popleft()
            flow = self._definitions.flow(instance.definition_id)
            for node in flow.walk(node_id, _InstanceScope(instance)):
                self._visit(instance, node)
        for instance in self._instances.values():
            self._store.save_instance(instance)

    def begin(
        self,
        definition: Definition,
        business_key: str | None,
        variables: Wires,
        caller: Instance | None = None,
        caller_activity_id: str | None = None,
    ) -> Instance:
        instance_id = self._new_id(self._now_ms)
        instance = Instance(
            id=instance_id,
            definition_id=definition.id,
            business_key=business_key,
            super_id=caller.id if caller else None,
            super_activity_id=caller_activity_id,
            root_id=caller.root_id if caller else instance_id,
            start_ms=self._now_ms,
            variables=dict(variables),
        )
        self._store.add_instance(instance)
        self._instances[instance.id] = instance
        start = definition.process.start
        self._visit(instance, start)
        self.leave(instance, start.id)
        return instance

    def _visit(self, instance: Instance, node: Node) -> None:
        self._visits += 1
        if self._visits > VISITS_MAX:
            raise StepFailed(
                f"The step visits more than {VISITS_MAX} elements without a task to "
                "wait for; do its processes call each other in a circle?"
            )
        activity = Activity(
            id=f"{node.id}:{self._new_id(self._now_ms)}",
            instance_id=instance.id,
            node_id=node.id,
            type=node.activity_type,
            name=node.name,
            start_ms=self._now_ms,
        )
        match node:
            case ServiceTask():
                self._store.add_activity(activity)
                self._create_task(instance, activity, node)
            case CallActivity():
                self._call(instance, activity, node)
            case ErrorEndEvent():
                self._store.add_activity(activity)
                self.throw(instance, node.id, activity.id, node.code, node.message)
            case _:
                activity.end_ms = self._now_ms
                self._store.add_activity(activity)
                if isinstance(node, EndEvent):
                    self._end(instance)

    def _create_task(self, instance: Instance, activity: Activity, node: ServiceTask) -> None:
        self._store.add_task(
            Task(
                id=self._new_id(self._now_ms),
                instance_id=instance.id,
                activity_id=activity.id,
                node_id=node.id,
                topic=node.topic,
                priority=node.priority,
                created_ms=self._now_ms,
            )
        )
        self.awakened.add(node.topic)

    def _call(self, caller: Instance, activity: Activity, node: CallActivity) -> None:
        try:
            definition = self._definitions.newest(node.called_process)
        except UnknownDefinition:
            raise StepFailed(
                f"The call activity '{node.id}' calls '{node.called_process}', which is not "
                "deployed"
            ) from None
        business_key = None
        if node.business_key is not None:
            value = node.business_key.evaluate(_InstanceScope(caller))
            business_key = None if value is None else str(value)
        variables: Wires = {}
        _transfer(node.inputs, caller.variables, variables)
        called = self.begin(definition, business_key, variables, caller, activity.id)
        activity.called_instance_id = called.id
        self._store.add_activity(activity)

    def _end(self, instance: Instance) -> None:
        instance.state, instance.end_ms = InstanceState.COMPLETED, self._now_ms
        if instance.super_id is None:
            return
        caller, node_id = self._return_to_caller(instance)
        assert instance.super_activity_id is not None
        self._store.end_activity(instance.super_activity_id, self._now_ms)
        self.leave(caller, node_id)

    def _return_to_caller(self, instance: Instance) -> tuple[Instance, str]:
        """Hands the outputs of a callee to its caller; gives the caller and its call activity."""
        assert instance.super_id is not None and instance.super_activity_id is not None
        caller = self.instance(instance.super_id)
        node_id = self._store.activity_node(instance.super_activity_id)
        call = self._process(caller).nodes[node_id]
        assert isinstance(call, CallActivity)
        _transfer(call.outputs, instance.variables, caller.variables)
        return caller, node_id

    def _process(self, instance: Instance) -> Process:
        return self._definitions.get(instance.definition_id).process

    def throw(
        self, instance: Instance, node_id: str, activity_id: str, code: str, message: str | None
    ) -> None:
        """An error goes outwards, from the activity to its callers, until an event catches it."""
        for holder, at in self._outwards(instance, node_id):
            event = self._process(holder).catching(at, code)
            if event is None:
                continue
            self._unwind(instance, holder, f"Cancel scope activity Activity({event.id}) executed.")
            self._store.cancel_activities(holder.id, self._now_ms)
            if event.code_variable:
                holder.variables[event.code_variable] = _text(code)
            if event.message_variable:
                holder.variables[event.message_variable] = _text(message)
            self._visit(holder, event)
            self.leave(holder, event.id)
            return
        # Nobody catches it: Camunda 7 ends the token there, and the process goes on without it.
        self._store.end_activity(activity_id, self._now_ms)
        self._end(instance)

    def _outwards(self, instance: Instance, node_id: str) -> Iterator[tuple[Instance, str]]:
        yield instance, node_id
        while instance.super_id is not None:
            assert instance.super_activity_id is not None
            node_id = self._store.activity_node(instance.super_activity_id)
            instance = self.instance(instance.super_id)
            yield instance, node_id

    def _unwind(self, instance: Instance, holder: Instance, reason: str) -> None:
        """Ends the instances from the one that threw up to the one that catches; outputs are
        handed over on the way, as they are in Camunda 7."""
        while instance is not holder:
            caller, _ = self._return_to_caller(instance)
            self._terminate_one(instance, InstanceState.INTERNALLY_TERMINATED, reason)
            instance = caller

    def terminate(self, instance: Instance) -> None:
        """Ends, from outside, an instance and all that it has called."""
        ending = deque([instance.id])
        while ending:
            at = self.instance(ending.popleft())
            ending.extend(self._store.called_by(at.id))
            self._terminate_one(at, InstanceState.EXTERNALLY_TERMINATED, None)

    def _terminate_one(self, instance: Instance, state: InstanceState, reason: str | None) -> None:
        self._store.cancel_activities(instance.id, self._now_ms)
        instance.state, instance.end_ms = state, self._now_ms
        instance.delete_reason = reason


def _transfer(transfers: Sequence[Transfer], source: Wires, target: Wires) -> None:
    """A variable that is not there is handed over as null, as in Camunda 7."""
    for transfer in transfers:
        if transfer.source is None or transfer.target is None:
            target.update(source)
        else:
            target[transfer.target] = source.get(transfer.source, NULL)


def _text(value: str | None) -> Wire:
    return NULL if value is None else {"type": "String", "value": value, "valueInfo": {}}
