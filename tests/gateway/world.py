"""An engine on a store in memory, and the time, for tests of its decisions."""

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from gossamer_gateway.embedded import queries
from gossamer_gateway.embedded.engine import Engine, LockedTask, TopicFetch
from gossamer_gateway.embedded.model import Instance
from gossamer_gateway.embedded.queries import Listing, Query
from gossamer_gateway.embedded.store import Store, TaskFilter
from gossamer_gateway.embedded.values import Wires, read_variables

T = TypeVar("T")
LOCK_MS = 1_000


def variables(**values: Any) -> Wires:
    return read_variables({name: {"value": value} for name, value in values.items()})


class World:
    """An engine, its store and the time."""

    def __init__(self) -> None:
        numbers = itertools.count(1)
        self.store = Store(None)
        self.engine = Engine(self.store, lambda _now: f"id{next(numbers):06d}")
        self.now_ms = 1_000_000

    def do(self, command: Callable[[], T]) -> T:
        """One transaction: whole or not at all."""
        self.store.begin()
        try:
            with self.store.all_or_nothing():
                return command()
        finally:
            self.store.commit()

    def deploy(self, **files: bytes) -> None:
        named = {f"{name}.bpmn": data for name, data in files.items()}
        definitions = self.engine.definitions
        self.do(lambda: definitions.deploy(named, name=None, source=None, now_ms=self.now_ms))

    def start(self, key: str = "P", business_key: str | None = None, **values: Any) -> Instance:
        return self.do(
            lambda: self.engine.start(
                self.engine.definitions.newest(key),
                business_key=business_key,
                variables=variables(**values),
                now_ms=self.now_ms,
            )
        )

    def fetch(
        self, *topics: str, worker: str = "w", tasks_max: int = 10, wanted: TaskFilter | None = None
    ) -> list[LockedTask]:
        fetches = [TopicFetch(topic, LOCK_MS, wanted or TaskFilter()) for topic in topics]
        return self.do(
            lambda: self.engine.fetch_and_lock(
                worker, fetches, tasks_max=tasks_max, now_ms=self.now_ms
            )
        )

    def fetch_id(self, topic: str) -> str:
        (locked,) = self.fetch(topic)
        return locked.task.id

    def complete(self, topic: str, **values: Any) -> None:
        task_id = self.fetch_id(topic)
        self.do(lambda: self.engine.complete(task_id, "w", variables(**values), now_ms=self.now_ms))

    def throw(self, topic: str, code: str, message: str | None = None, **values: Any) -> None:
        task_id = self.fetch_id(topic)
        self.do(
            lambda: self.engine.throw_error(
                task_id, "w", code, message, variables(**values), now_ms=self.now_ms
            )
        )

    def fail(self, task_id: str, retries: int, retry_ms: int = 0, **local: Any) -> None:
        self.do(
            lambda: self.engine.fail(
                task_id, "w", retries=retries, retry_ms=retry_ms, message="why", details="where",
                variables={}, local_variables=variables(**local), now_ms=self.now_ms,
            )
        )  # fmt: skip

    def instance(self, instance_id: str) -> Instance:
        found = self.store.instance(instance_id)
        assert found is not None
        return found

    def rows(self, listing: Listing, **filters: Any) -> list[dict[str, Any]]:
        return queries.find(self.store, listing, Query(filters), self.now_ms)

    def way(self, instance_id: str) -> list[tuple[str, str, bool]]:
        """Node, type and whether it was canceled, of each visit in order; open ones end in …"""
        return [
            (row["node_id"] + ("" if row["end_ms"] else "…"), row["type"], bool(row["canceled"]))
            for row in self.rows(queries.HISTORIC_ACTIVITIES, processInstanceId=instance_id)
        ]

    def child(self, instance_id: str) -> Instance:
        (row,) = self.rows(queries.HISTORIC_INSTANCES, superProcessInstanceId=instance_id)
        return self.instance(row["id"])


def plain(wires: Wires) -> dict[str, Any]:
    return {name: wire["value"] for name, wire in wires.items()}
