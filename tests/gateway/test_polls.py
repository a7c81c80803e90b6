"""Long polls wake for new tasks and for locks that run out; nothing is lost between.

The clock is the real one, because a virtual clock does not wait for the thread that commits. A poll
that failed to wake would sleep for `LONG_MS`; no test depends on how fast it wakes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from tests.gateway.bpmn_text import one_task
from tests.patience import until

from gossamer_gateway.embedded import polls as polls_module
from gossamer_gateway.embedded.engine import Engine, TopicFetch
from gossamer_gateway.embedded.polls import Polls
from gossamer_gateway.embedded.server import new_id, now_ms
from gossamer_gateway.embedded.store import Store
from gossamer_gateway.embedded.values import Wires
from gossamer_gateway.errors import Overloaded, StorageFailed, UnknownTask
from gossamer_gateway.storage.committer import Committer
from gossamer_gateway.storage.pending import PENDING_MAX

LOCK_MS = 50
TOPIC = [TopicFetch("t", LOCK_MS)]
LONG_MS = 1_000_000


class Desk:
    """The parts behind the HTTP API.

    Attributes:
        stopped_ms: the time, for a test that lets it pass by itself.
        commits: how many there were.
    """

    def __init__(self, store: Store) -> None:
        self.stopped_ms: int | None = None
        self.commits = 0
        self.store = store
        self.engine = Engine(store, new_id)
        self.committer = Committer(store, self._now_ms, self._committed)
        self.polls = Polls(self.engine, self.committer, self._now_ms)

    def _now_ms(self) -> int:
        return now_ms() if self.stopped_ms is None else self.stopped_ms

    def _committed(self) -> None:
        self.commits += 1
        self.polls.wake(self.engine.take_awakened())

    async def asleep(self, count: int) -> None:
        """Waits until so many polls have looked and found nothing."""
        await until(lambda: self.polls._asleep == count)

    async def deploy(self) -> None:
        await self.committer.submit(
            lambda now: self.engine.definitions.deploy(
                {"p.bpmn": one_task()}, name=None, source=None, now_ms=now
            )
        )

    async def start(self) -> None:
        await self.committer.submit(
            lambda now: self.engine.start(
                self.engine.definitions.newest("P"), business_key=None, variables={}, now_ms=now
            )
        )

    async def fetch(self, wait_ms: int = 0, worker: str = "w") -> list[str]:
        locked = await self.polls.fetch(worker, TOPIC, tasks_max=5, wait_ms=wait_ms)
        return [entry.task.id for entry in locked]

    @asynccontextmanager
    async def polled(self, worker: str = "w") -> AsyncIterator[list[str]]:
        """A poll that has found nothing when the block begins; its tasks are there at the end."""
        found: list[str] = []

        async def poll() -> None:
            found.extend(await self.fetch(LONG_MS, worker))

        async with trio.open_nursery() as polling:
            polling.start_soon(poll)
            await self.asleep(1)
            yield found


@pytest.fixture
async def desk(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Desk]:
    store = Store(tmp_path / "engine.sqlite")
    desk = Desk(store)
    nursery.start_soon(desk.committer.run)
    await desk.deploy()
    yield desk
    nursery.cancel_scope.cancel()
    store.close()


async def test_a_poll_wakes_when_a_task_is_created(desk: Desk) -> None:
    async with desk.polled() as found:
        await desk.start()
    assert len(found) == 1


async def test_one_task_wakes_many_polls_and_goes_to_one(desk: Desk) -> None:
    found: list[list[str]] = []

    async def poll(number: int) -> None:
        found.append(await desk.fetch(LONG_MS, f"w{number}"))

    async with trio.open_nursery() as polling:
        for number in range(5):
            polling.start_soon(poll, number)
        await desk.asleep(5)
        await desk.start()
        await until(lambda: len(found) == 1)
        await desk.asleep(4)
        desk.polls.stop()
    assert sorted(map(len, found)) == [0, 0, 0, 0, 1]


async def test_a_poll_wakes_when_a_lock_runs_out(desk: Desk) -> None:
    await desk.start()
    (task_id,) = await desk.fetch()
    assert await desk.fetch(LONG_MS, "v") == [task_id]


async def test_a_poll_that_waits_for_a_lock_learns_of_its_extension(desk: Desk) -> None:
    desk.stopped_ms = now_ms()
    await desk.start()
    (task_id,) = await desk.fetch()
    async with desk.polled("v") as found:
        await desk.committer.submit(
            lambda now: desk.engine.lock(task_id, "w", 2 * LOCK_MS, now_ms=now)
        )
        desk.stopped_ms += LOCK_MS  # the first lock would be over
        looked = desk.commits
        await until(lambda: desk.commits >= looked + 2)
        assert found == []
        desk.stopped_ms += LOCK_MS
    assert found == [task_id]


async def test_a_poll_wakes_when_a_back_off_ends(desk: Desk) -> None:
    await desk.start()
    (task_id,) = await desk.fetch()
    async with desk.polled("v") as found:
        await desk.committer.submit(
            lambda now: desk.engine.fail(
                task_id, "w", retries=1, retry_ms=100, message=None, details=None, variables={},
                local_variables={}, now_ms=now,
            )
        )  # fmt: skip
    assert found == [task_id]


async def test_a_poll_ends_empty_when_its_time_is_up(desk: Desk) -> None:
    assert await desk.fetch(20) == []
    assert await desk.fetch(0) == []


async def test_a_stopping_engine_answers_its_polls(desk: Desk) -> None:
    async with trio.open_nursery() as polling:
        polling.start_soon(desk.fetch, LONG_MS)
        await desk.asleep(1)
        desk.polls.stop()
    assert await desk.fetch(LONG_MS) == []


async def test_waiting_polls_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls_module, "ASLEEP_MAX", 2)
    async with trio.open_nursery() as polling:
        for _ in range(2):
            polling.start_soon(desk.fetch, LONG_MS)
        await desk.asleep(2)
        with pytest.raises(Overloaded, match="too many requests"):
            await desk.fetch(LONG_MS)
        assert await desk.fetch(0) == []  # one that does not wait is none too many
        polling.cancel_scope.cancel()


async def test_a_poll_whose_client_left_locks_nothing(desk: Desk) -> None:
    await desk.start()
    with trio.CancelScope() as gone:
        gone.cancel()  # the client is away before the answer is ready
        await desk.fetch(LONG_MS)
    assert gone.cancelled_caught
    assert len(await desk.fetch()) == 1


async def test_a_refused_command_does_not_hurt_its_neighbours(desk: Desk) -> None:
    outcomes: list[str] = []

    async def refused() -> None:
        with pytest.raises(UnknownTask):
            await desk.committer.submit(lambda _now: desk.engine.unlock("nothing"))
        outcomes.append("refused")

    async def broken() -> None:
        def command(now_ms: int) -> None:
            desk.engine.start(
                desk.engine.definitions.newest("P"), business_key="lost", variables={},
                now_ms=now_ms,
            )  # fmt: skip
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await desk.committer.submit(command)
        outcomes.append("broken")

    async with trio.open_nursery() as together:
        together.start_soon(desk.start)
        together.start_soon(refused)
        together.start_soon(broken)
        together.start_soon(desk.start)
    assert sorted(outcomes) == ["broken", "refused"]
    assert len(await desk.fetch()) == 2


async def test_what_the_disk_refuses_is_acknowledged_to_nobody(desk: Desk) -> None:
    # A full disk, as SQLite tells it: no page more than there are.
    execute = desk.store.connection.execute
    (pages,) = execute("PRAGMA page_count").fetchone()
    execute(f"PRAGMA max_page_count = {pages}").fetchall()
    large: Wires = {"v": {"type": "String", "value": "x" * 1_000_000, "valueInfo": {}}}
    with pytest.raises(StorageFailed):
        await desk.committer.submit(
            lambda now: desk.engine.start(
                desk.engine.definitions.newest("P"), business_key=None, variables=large,
                now_ms=now,
            )
        )  # fmt: skip
    execute("PRAGMA max_page_count = 1000000").fetchall()
    assert await desk.fetch() == []
    await desk.start()
    assert len(await desk.fetch()) == 1


async def test_waiting_commands_are_bounded(tmp_path: Path) -> None:
    store = Store(None)
    committer = Committer(store, lambda: 0, lambda: None)
    async with trio.open_nursery() as submitting:
        for _ in range(PENDING_MAX):
            submitting.start_soon(committer.submit, lambda _now: None)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await committer.submit(lambda _now: None)
        submitting.cancel_scope.cancel()
    store.close()
