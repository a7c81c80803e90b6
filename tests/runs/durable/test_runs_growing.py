"""Tables of workflows grow from their first form to the newest, and old runs go from them."""

from pathlib import Path

import msgspec
import pytest
from tests.postgres_fixture import Postgres
from tests.runs.durable.flows import BUSY, at_second, lines, work

from gossamer_gateway import tables
from gossamer_gateway.errors import InputError
from gossamer_gateway.runs import forgetting, forms
from gossamer_gateway.runs.checking import check
from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.model import deciding
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import evolve, fold
from gossamer_gateway.runs.store import shard_of
from gossamer_gateway.storage import Form, Part, Place, Rows, SqlitePlace, Storage, open_storage

FORM = tables.FORM


def with_steps(count: int) -> Form:
    """The gateway's tables when those of workflows had taken so many steps."""
    parts = (Part(forms.PART.name, forms.PART.subject, forms.PART.steps[:count]),)
    return Form(FORM.subject, FORM.option, FORM.application_id, FORM.version, FORM.schema, parts)


def write_as_at_first(rows: Rows, _: int) -> None:
    """A definition and two runs, as the first form had them: one is at work, one is cancelled."""
    definition: Definition = BUSY
    rows.execute(
        "INSERT INTO workflow_definitions (id, version, at_ms, digest, data)"
        " VALUES (?, 1, 5, 'x', ?)",
        (definition.id, msgspec.json.encode(definition)),
    )
    flow = Flow(definition)
    for id in ("at-work", "cancelled"):
        history = deciding.trigger(flow, id, {"n": 3}, 5)
        run = evolve(None, history[0])
        history += deciding.start(flow, run, 6)
        if id == "cancelled":
            history += deciding.cancel(flow, fold(history), 7)
        run = fold(history)
        rows.executemany(
            "INSERT INTO workflow_events (run, seq, data) VALUES (?, ?, ?)",
            [(id, one.seq, e.encode(one)) for one in history],
        )
        rows.execute(
            "INSERT INTO workflow_runs (id, workflow, version, executor, status, seq, shard,"
            " due_ms, triggered_ms, ended_ms) VALUES (?, ?, 1, 'own', ?, ?, ?, ?, ?, ?)",
            (id, run.workflow, run.status.value, run.seq, shard_of(id), run.due_ms,
             run.triggered_ms, run.ended_ms),
        )  # fmt: skip
    rows.execute(
        "INSERT INTO workflow_jobs (run, step, attempt, queue, due_ms, free_ms)"
        " VALUES ('at-work', 'first', 1, 'one', 300006, 6)"
    )


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place that may be opened again."""
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "rows.sqlite")
    server: Postgres = request.getfixturevalue("postgres")
    return server.place()


async def test_the_first_form_grows_into_the_newest(kept: Place) -> None:
    async with open_storage(kept, with_steps(1)) as storage:
        await storage.submit(write_as_at_first)
    for _ in range(2):  # the second time there is nothing to do
        async with open_storage(kept, FORM) as storage:
            assert await check(storage) == []
    async with open_storage(kept, FORM) as storage:
        engine = Engine(storage)
        (job,) = await engine.fetch(["one"], "w", jobs_max=9, lock_ms=60_000)
        assert (job.run, job.payload, job.workflow) == ("at-work", {"n": 3}, "busy")
        entries, _ = await engine.log.read(await engine.log.start(), 100, 0.0)
        assert len(entries) == (await engine.run("at-work")).seq + 3 + 2
        await engine.answer("at-work", at_second(job))
        assert await check(storage) == []


async def test_rows_without_workflows_get_their_tables(kept: Place) -> None:
    async with open_storage(kept, Form(*_without_parts())):
        pass
    async with open_storage(kept, FORM) as storage:
        await lines(Engine(storage), 1)
        assert await check(storage) == []


def _without_parts() -> tuple[str, str, int, int, str]:
    return FORM.subject, FORM.option, FORM.application_id, FORM.version, FORM.schema


async def test_a_step_that_fails_leaves_the_form_before_it(kept: Place) -> None:
    def breaks(rows: Rows) -> None:
        rows.execute("DELETE FROM workflow_runs")
        raise InputError("no")

    async with open_storage(kept, FORM) as storage:
        await lines(Engine(storage), 2)
    more = Part(
        forms.PART.name,
        forms.PART.subject,
        (*forms.PART.steps, "CREATE TABLE workflow_more (id TEXT)", breaks),
    )
    with pytest.raises(InputError, match="no"):
        async with open_storage(kept, Form(*_without_parts(), (more,))):
            pass
    async with open_storage(kept, FORM) as storage:
        assert await check(storage) == []
        assert await work(Engine(storage)) >= 0
        await storage.submit(lambda rows, _: rows.execute("CREATE TABLE workflow_more (id TEXT)"))


async def test_a_newer_form_is_refused(kept: Place) -> None:
    async with open_storage(kept, FORM):
        pass
    with pytest.raises(InputError, match=r"workflow tables of version \d+, and 1 is read here"):
        async with open_storage(kept, with_steps(1)):
            pass


async def test_runs_that_ended_long_ago_go(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "EVENTS_MAX", 12)
    engine = Engine(storage, outbox=True)
    ids = await lines(engine, 8)
    for id in ids[:7]:
        await engine.cancel(id)

    def publish(rows: Rows, _: int) -> None:
        rows.execute("DELETE FROM workflow_outbox WHERE run <> ?", (ids[0],))

    await storage.submit(publish)

    async def sweep(retention_ms: int) -> int:
        return await storage.submit(
            lambda rows, now_ms: forgetting.sweep(rows, now_ms, retention_ms=retention_ms)
        )

    assert await sweep(3_600_000) == 0
    assert await sweep(-1) == forgetting.SWEPT_MAX  # there are more
    assert await sweep(-1) == forgetting.SWEPT_MAX
    assert (await sweep(-1), await sweep(-1)) == (2, 0)
    left = await storage.submit(
        lambda rows, _: rows.execute("SELECT id FROM workflow_runs").fetchall()
    )
    assert sorted(left) == sorted([(ids[0],), (ids[7],)])
    assert await check(storage) == []
