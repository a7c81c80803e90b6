"""What the engine answers and what it leaves in its rows, in a file and on a PostgreSQL."""

import msgspec
import pytest
import trio
from tests.patience import patience, seen, until
from tests.runs.durable.flows import BUSY, LINE, QUEUES, at_second, lines, well, work

from gossamer_gateway import tables
from gossamer_gateway.errors import BadRequest, StorageFailed
from gossamer_gateway.runs import offers
from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.engine import Answer, Engine, UnknownRun, UnknownWorkflow, Verdict
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model.definition import Definition, Retry, Step
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.model.run import Status, fold
from gossamer_gateway.runs.store import Damaged
from gossamer_gateway.storage import Command, Rows, SqlitePlace, Storage, open_storage, sqlite


async def test_runs_go_through_and_leave_rows_that_agree(storage: Storage) -> None:
    engine = Engine(storage)
    await engine.define(BUSY)
    ids = [(await engine.trigger("busy", {"n": n})).id for n in range(9)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.keep_time)
        with patience():
            while not all([(await engine.run(id)).status.has_ended for id in ids]):
                assert await check(storage) == []
                await work(engine, at_second)
        nursery.cancel_scope.cancel()
    for id in ids:
        run = await engine.run(id)
        assert run.status is Status.COMPLETED
        assert fold(await engine.history(id)) == run
        assert (run.steps["first"].attempt, run.steps["right"].attempt) == (2, 2)
    assert await check(storage) == []


async def test_words_that_come_together_share_a_transaction_and_no_fate(storage: Storage) -> None:
    engine = Engine(storage)
    (id,) = await lines(engine, 1)
    told: dict[str, object] = {}

    async def say(name: str, word: object) -> None:
        try:
            told[name] = await word  # type: ignore[misc]
        except (UnknownRun, UnknownWorkflow, BadRequest) as error:
            told[name] = type(error)

    async with trio.open_nursery() as nursery:
        for name, word in {
            "nothing": engine.trigger("nothing", None),
            "bad": engine.trigger("line", float("nan")),
            "text": engine.trigger("line", "half \ud83d"),
            "key": engine.trigger("line", None, key="a\0b"),
            "version": engine.trigger("line", None, version=9),
            "nobody": engine.cancel("nobody"),
            "torn": engine.cancel("a\0b"),
            "early": engine.answer(id, Answer("three", 1)),
            "answer": engine.answer(id, Answer("one", 1, "x")),
            "again": engine.answer(id, Answer("one", 1, "x")),
            "stranger": engine.answer("stranger", Answer("one", 1)),
            "fine": engine.trigger("line", 1),
        }.items():
            nursery.start_soon(say, name, word)
    fine = told.pop("fine")
    assert getattr(fine, "status", None) is Status.RUNNING
    assert {told.pop("answer"), told.pop("again")} == {Verdict.TAKEN, Verdict.REPEATED}
    assert told == {
        "nothing": UnknownWorkflow, "bad": BadRequest, "text": BadRequest, "key": BadRequest,
        "version": UnknownWorkflow,
        "nobody": UnknownRun, "torn": UnknownRun, "early": Verdict.UNKNOWN,
        "stranger": Verdict.UNKNOWN,
    }  # fmt: skip
    assert (await engine.run(id)).steps["one"].output == "x"
    assert await check(storage) == []


async def test_many_answers_to_one_run_are_decided_in_turn(storage: Storage) -> None:
    engine = Engine(storage)
    (id,) = await lines(engine, 1)
    said = [(id, Answer(step, 1, step)) for step in ("one", "two", "three", "three")]
    verdicts = await engine.answer_all([*said, ("?\0", Answer("one", 1))])
    assert verdicts == [*3 * [Verdict.TAKEN], Verdict.REPEATED, Verdict.UNKNOWN]
    assert (await engine.run(id)).status is Status.COMPLETED
    assert await check(storage) == []


async def test_an_answer_after_the_end_is_late(storage: Storage) -> None:
    engine = Engine(storage)
    (id,) = await lines(engine, 1)
    await engine.cancel(id, reason="enough")
    assert await engine.answer(id, Answer("one", 1)) is Verdict.LATE
    assert await engine.answer(id, Answer("one", 1)) is Verdict.REPEATED
    assert await engine.fetch(QUEUES, "w", jobs_max=1, lock_ms=1) == []
    assert await check(storage) == []


async def test_a_run_that_ends_takes_its_jobs_along(storage: Storage) -> None:
    engine = Engine(storage)
    await engine.define(BUSY)
    cancelled, failed = [(await engine.trigger("busy", {"n": n})).id for n in range(2)]
    await engine.cancel(cancelled)
    assert await check(storage) == []
    assert await engine.answer(failed, Answer("first", 1)) is Verdict.TAKEN
    broken = Failure("Broken", retryable=False)
    assert await engine.answer(failed, Answer("left", 1, failure=broken)) is Verdict.TAKEN
    assert (await engine.run(failed)).status is Status.FAILED
    assert await check(storage) == []
    assert await engine.fetch(QUEUES, "w", jobs_max=9, lock_ms=1) == []


async def test_a_lock_is_of_one_attempt(storage: Storage) -> None:
    """Who is late with the one before has nothing to say of the next, though it be his as well."""
    engine = Engine(storage)
    await engine.define(BUSY)
    id = (await engine.trigger("busy", {"n": 1})).id
    (first,) = await engine.fetch(QUEUES, "w", jobs_max=9, lock_ms=60_000)
    await engine.answer(id, at_second(first))
    await engine.change(id, lambda flow, run, now: deciding.due(flow, run, now + 9, lambda: 0.0))
    (second,) = await seen(lambda: engine.fetch(QUEUES, "w", jobs_max=9, lock_ms=60_000))
    assert (first.attempt, second.attempt) == (1, 2)
    assert await engine.extend(id, "first", 1, "w", 90_000) is None
    assert not await engine.release(id, "first", 1, "w")
    assert await engine.extend(id, "first", 2, "w", 90_000) is not None


async def test_a_key_makes_one_run(storage: Storage) -> None:
    engine, other = Engine(storage), Engine(storage)
    await engine.define(LINE)
    ids: set[str] = set()

    async def trigger(engine: Engine) -> None:
        ids.add((await engine.trigger("line", 1, key="k")).id)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(trigger, engine)
            nursery.start_soon(trigger, other)
    assert len(ids) == 1
    assert (await engine.trigger("line", 1, key="other")).id not in ids
    assert await check(storage) == []


async def test_a_job_is_its_workers_until_its_lock_runs_out(storage: Storage) -> None:
    engine = Engine(storage)
    (id,) = await lines(engine, 1)
    (job,) = await engine.fetch(QUEUES, "a", jobs_max=5, lock_ms=60_000)
    assert (job.payload, job.workflow, job.key) == ({"n": 0}, "line", f"{id}:one")
    assert await engine.fetch(QUEUES, "b", jobs_max=5, lock_ms=60_000) == []
    assert await engine.extend(id, "one", 1, "b", 1) is None
    assert not await engine.release(id, "one", 1, "b")
    until_ms = await engine.extend(id, "one", 1, "a", 90_000)
    assert until_ms is not None and until_ms > job.locked_ms
    assert await engine.extend(id, "one", 1, "a", 1) is not None
    with patience():
        assert await engine.wait_free(["one"], trio.current_time() + 60)
    (again,) = await engine.fetch(QUEUES, "b", jobs_max=5, lock_ms=60_000)
    assert again.attempt == 1
    assert await engine.release(id, "one", 1, "b")
    assert await engine.wait_free(["one"], trio.current_time())


@pytest.mark.parametrize(("bytes_max", "counts"), [(250, [2, 1]), (1, [1, 1]), (9_000, [3, 0])])
async def test_a_fetch_takes_few_jobs_where_they_are_large(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, bytes_max: int, counts: list[int]
) -> None:
    monkeypatch.setattr(offers, "FETCH_BYTES_MAX", bytes_max)
    engine = Engine(storage)
    await engine.define(LINE)
    ids = [(await engine.trigger("line", "x" * 100)).id for _ in range(3)]
    taken: list[str] = []
    for count in counts:
        jobs = await engine.fetch(QUEUES, "w", jobs_max=5, lock_ms=60_000)
        assert len(jobs) == count
        taken += [one.run for one in jobs]
    assert len(set(taken)) == len(taken) == sum(counts) and set(taken) <= set(ids)


async def test_who_waits_for_jobs_is_woken_by_a_commit(storage: Storage) -> None:
    engine = Engine(storage)
    await engine.define(LINE)
    assert not await engine.wait_free(["one"], trio.current_time())
    woken: list[bool] = []

    async def wait() -> None:
        # On a file nobody looks again before this deadline, which is no patience's.
        woken.append(await engine.wait_free(["two", "one"], trio.current_time() + 3_600))

    with patience(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await engine.trigger("line", 1)
    assert woken == [True]


async def test_who_waits_for_jobs_is_woken_by_one_that_is_given_back(storage: Storage) -> None:
    engine = Engine(storage)
    (id,) = await lines(engine, 1)
    (_,) = await engine.fetch(["one"], "a", jobs_max=1, lock_ms=3_600_000)
    with patience(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.wait_free, ["one"], trio.current_time() + 3_600)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await engine.release(id, "one", 1, "a")
    (job,) = await seen(lambda: engine.fetch(["one"], "b", jobs_max=1, lock_ms=1))
    assert job.attempt == 1


async def test_who_waits_for_jobs_is_woken_by_a_lock_that_runs_out(storage: Storage) -> None:
    engine = Engine(storage)
    await lines(engine, 1)
    (_,) = await engine.fetch(["one"], "a", jobs_max=1, lock_ms=300)
    with patience(20):
        assert await engine.wait_free(["one"], trio.current_time() + 3_600)


async def test_the_clock_hears_of_what_is_due_sooner_than_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gossamer_gateway.runs.engine.CLOCK_S", 3_600)
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        engine = Engine(storage)
        news: list[Status] = []
        engine.listen(lambda run, _: news.append(run.status))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.keep_time)
            await lines(engine, 1)  # due in minutes
            await trio.testing.wait_all_tasks_blocked(0.05)
            step = Step("a", action="a", timeout_ms=50, retry=Retry(max_attempts=1))
            await engine.define(Definition("short", "a", {"a": step}))
            await engine.trigger("short", 1)
            await until(lambda: Status.FAILED in news, 20)
            nursery.cancel_scope.cancel()


async def test_attempts_that_are_not_offered_are_no_jobs(storage: Storage) -> None:
    offered = {"two"}.__contains__
    engine = Engine(storage, offered=offered)
    (id,) = await lines(engine, 1)
    assert await engine.fetch(QUEUES, "w", jobs_max=5, lock_ms=1) == []
    assert await engine.answer(id, Answer("one", 1)) is Verdict.TAKEN
    assert await work(engine) == 1
    assert await check(storage, offered) == []


async def test_a_gateway_with_an_old_state_decides_on_the_new_one(storage: Storage) -> None:
    here, there = Engine(storage), Engine(storage)
    (id,) = await lines(here, 1)
    # What another gateway wrote is left to it for a moment.
    await seen(lambda: work(there, queues=["one"]))
    (job,) = await seen(lambda: here.fetch(QUEUES, "w", jobs_max=5, lock_ms=60_000))
    assert job.payload == {"did": "one", "got": {"n": 0}}
    assert await here.answer(id, well(job)) is Verdict.TAKEN
    assert await there.answer(id, well(job)) is Verdict.REPEATED
    assert (await here.run(id)) == (await there.run(id))
    assert await check(storage) == []


async def test_who_gives_up_waiting_leaves_his_word(storage: Storage) -> None:
    engine = Engine(storage)
    (id,) = await lines(engine, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.answer, id, Answer("one", 1))
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert await engine.answer(id, Answer("one", 1)) is Verdict.REPEATED


async def test_the_clock_outlives_a_storage_that_is_away(
    storage: Storage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossamer_gateway.runs.engine.AWAY_S", 0.001)
    refusals = 5

    class Away:
        shared = storage.shared

        async def submit(self, command: object) -> object:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise StorageFailed("PostgreSQL is away")
            return await storage.submit(command)  # type: ignore[arg-type]

        submit_guarded = submit

    engine = Engine(storage)
    await engine.define(BUSY)
    id = (await engine.trigger("busy", {"n": 1})).id
    (job,) = await engine.fetch(["one"], "w", jobs_max=1, lock_ms=60_000)
    await engine.answer(id, at_second(job))
    late = Engine(Away())  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(late.keep_time)
        await seen(lambda: engine.fetch(["one"], "w", jobs_max=1, lock_ms=60_000))
        nursery.cancel_scope.cancel()
    assert refusals == 0
    assert len([one for one in caplog.records if "wait for their storage" in one.message]) == 1


async def test_a_run_whose_rows_are_damaged_harms_no_other(
    storage: Storage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossamer_gateway.runs.engine.AWAY_S", 0.001)
    bad, good = await lines(Engine(storage), 2)

    def damage(rows: Rows, _: int) -> None:
        rows.execute("DELETE FROM workflow_events WHERE run = ? AND seq > 2", (bad,))
        rows.execute("UPDATE workflow_runs SET due_ms = 1 WHERE id = ?", (bad,))

    await storage.submit(damage)
    engine = Engine(storage)
    told: list[object] = []

    async def answer(id: str) -> None:
        try:
            told.append(await engine.answer(id, Answer("one", 1)))
        except Damaged as error:
            told.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, bad)
        nursery.start_soon(answer, good)
    assert sorted(map(str, told)) == sorted(
        [f"the history of run {bad} does not end at its number 4", str(Verdict.TAKEN)]
    )
    assert any(bad in one for one in await check(storage))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.keep_time)
        await until(lambda: any("cannot go on" in one.message for one in caplog.records))
        assert await engine.answer(good, Answer("two", 1)) is Verdict.TAKEN
        nursery.cancel_scope.cancel()


async def test_what_is_too_large_is_refused_before_it_is_written(storage: Storage) -> None:
    engine = Engine(storage)
    huge = "x" * (1024 * 1024)
    (id,) = await lines(engine, 1)
    with pytest.raises(BadRequest, match="1048576"):
        await engine.trigger("line", huge)
    assert await engine.answer(id, Answer("one", 1, huge)) is Verdict.TAKEN
    run = await engine.run(id)
    assert run.status is Status.FAILED and run.failure is not None
    assert run.failure.code == "TooLarge"
    assert await check(storage) == []


async def test_a_run_has_so_many_events_and_no_more(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "FULL", 8)
    engine = Engine(storage)
    (id,) = await lines(engine, 1)
    await work(engine)
    run = await engine.run(id)
    assert run.status is Status.FAILED and run.failure is not None
    assert run.failure.code == "TooManyEvents" and run.seq <= 10
    assert await check(storage) == []


async def test_a_definition_that_was_taken_back_is_never_followed(storage: Storage) -> None:
    """A version that was read in a transaction that came to nothing is another's afterwards."""
    wrong = Definition("line", "wrong", {"wrong": Step("wrong", action="wrong")})

    class Full:
        """A disk that is full at the end of a transaction in which somebody defined, too."""

        shared = storage.shared

        async def submit(self, command: Command[object]) -> object:
            def both(rows: Rows, now_ms: int) -> None:
                rows.execute(
                    "INSERT INTO workflow_definitions VALUES ('line', 1, 0, '', ?)",
                    (msgspec.json.encode(wrong),),
                )
                command(rows, now_ms)
                raise StorageFailed("the disk is full")

            return await storage.submit(both)

        submit_guarded = submit

    engine = Engine(Full())  # type: ignore[arg-type]
    with pytest.raises(StorageFailed):
        await engine.trigger("line", 1)
    engine._storage = storage
    await engine.define(LINE)
    run = await engine.trigger("line", 1)
    assert (run.version, list(run.steps)) == (1, ["one"])
    assert await check(storage) == []


async def test_a_machine_that_slept_sees_to_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day goes on in its sleep, and what is waited by stands still."""
    slept_ms = 0
    monkeypatch.setattr("gossamer_gateway.runs.engine.CLOCK_S", 0.05)
    monkeypatch.setattr(sqlite, "clock_ms", lambda: 1_000 + slept_ms)
    async with open_storage(SqlitePlace(None), tables.FORM) as storage:
        engine = Engine(storage)
        (id,) = await lines(engine, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.keep_time)
            await trio.testing.wait_all_tasks_blocked(0.01)
            slept_ms = 8 * 3_600_000

            async def is_late() -> bool:
                state = (await engine.run(id)).steps["one"]
                return state.failure is not None and state.failure.code == "Timeout"

            await seen(is_late)
            nursery.cancel_scope.cancel()
