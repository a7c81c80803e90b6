"""The tables of workflows, as the steps by which they grew (see `storage.parts`).

`workflow_events` is the truth. All others are derived from it and change in the transaction that
adds the events, so they never differ from it (`checking` compares them):

- `workflow_runs`: a row of each run, which lists and clocks ask.
- `workflow_jobs`: attempts that workers may take, with what they are given.
- `workflow_outbox`: changes whose events are still to be published, where they are at all.

`workflow_shards` and `workflow_gateways` say who sees to what, and are true for seconds.
"""

from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.run import fold
from gossamer_gateway.runs.store import insert_jobs, read_definition, standing_jobs
from gossamer_gateway.storage import Part, Rows

FIRST = """
CREATE TABLE IF NOT EXISTS workflow_definitions (
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    digest TEXT NOT NULL,  -- of what was sent, to know it again
    data BLOB NOT NULL,    -- a Definition as JSON
    PRIMARY KEY (id, version)
);
CREATE TABLE IF NOT EXISTS workflow_runs (
    id TEXT NOT NULL PRIMARY KEY,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    executor TEXT NOT NULL,
    status TEXT NOT NULL,
    seq INTEGER NOT NULL,        -- of its newest event
    shard INTEGER NOT NULL,
    due_ms INTEGER,              -- when something happens by itself
    triggered_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    idempotency_key TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS workflow_runs_key ON workflow_runs (workflow, idempotency_key);
CREATE INDEX IF NOT EXISTS workflow_runs_due ON workflow_runs (shard, due_ms);
CREATE INDEX IF NOT EXISTS workflow_runs_newest ON workflow_runs (triggered_ms, id);
CREATE TABLE IF NOT EXISTS workflow_events (
    position INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL           -- an event as JSON
);
CREATE UNIQUE INDEX IF NOT EXISTS workflow_events_run ON workflow_events (run, seq);
CREATE TABLE IF NOT EXISTS workflow_jobs (
    run TEXT NOT NULL,
    step TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    queue TEXT NOT NULL,         -- an action, or `provider:NAME`
    due_ms INTEGER NOT NULL,
    free_ms INTEGER NOT NULL,    -- when it may be taken (again)
    worker TEXT,
    PRIMARY KEY (run, step)
);
CREATE INDEX IF NOT EXISTS workflow_jobs_free ON workflow_jobs (queue, free_ms);
"""

SHARED = """
ALTER TABLE workflow_events ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
CREATE INDEX workflow_events_log ON workflow_events (number, position);
DROP INDEX workflow_runs_due;
CREATE INDEX workflow_runs_due ON workflow_runs (shard, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX workflow_runs_ended ON workflow_runs (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE INDEX workflow_runs_status ON workflow_runs (status, triggered_ms, id);
CREATE INDEX workflow_runs_workflow ON workflow_runs (workflow, triggered_ms, id);
DROP TABLE workflow_jobs;
CREATE TABLE workflow_jobs (
    run TEXT NOT NULL,
    step TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    writer INTEGER NOT NULL,     -- the gateway that wrote it: its workers come first
    queue TEXT NOT NULL,         -- an action, or `provider:NAME`
    due_ms INTEGER NOT NULL,
    free_ms INTEGER NOT NULL,    -- when it may be taken (again)
    worker TEXT,                 -- who took it last
    payload BLOB NOT NULL,       -- JSON
    PRIMARY KEY (run, step)
);
CREATE INDEX workflow_jobs_free ON workflow_jobs (queue, free_ms);
CREATE TABLE workflow_outbox (
    position INTEGER PRIMARY KEY,
    shard INTEGER NOT NULL,
    run TEXT NOT NULL,
    seq INTEGER NOT NULL
);
CREATE UNIQUE INDEX workflow_outbox_run ON workflow_outbox (run, seq);
CREATE INDEX workflow_outbox_shard ON workflow_outbox (shard, position);
CREATE TABLE workflow_shards (
    shard INTEGER PRIMARY KEY,
    owner TEXT,
    epoch INTEGER NOT NULL,      -- grows whenever it changes hands
    until_ms INTEGER NOT NULL
);
CREATE TABLE workflow_gateways (
    id TEXT NOT NULL PRIMARY KEY,
    until_ms INTEGER NOT NULL    -- it is thought to live until then
);
"""


def _jobs_again(rows: Rows) -> None:
    """Jobs were made without their payloads: they are made anew, free to be taken."""
    open_runs = rows.execute(
        "SELECT id FROM workflow_runs WHERE status IN ('Pending', 'Running')"
    ).fetchall()
    flows: dict[tuple[str, int], Flow] = {}
    for (id,) in open_runs:
        found = rows.execute("SELECT data FROM workflow_events WHERE run = ? ORDER BY seq", (id,))
        run = fold(e.decode(data) for (data,) in found)
        named = run.workflow, run.version
        if named not in flows:
            definition = read_definition(rows, *named)
            assert isinstance(definition, Definition), "a run's definition is kept"
            flows[named] = Flow(definition)
        insert_jobs(rows, standing_jobs(run, flows[named], lambda _: True), 0)


CHANGES = """
ALTER TABLE workflow_outbox ADD COLUMN events INTEGER NOT NULL DEFAULT 1;
ALTER TABLE workflow_outbox ADD COLUMN writer INTEGER NOT NULL DEFAULT 0;
"""
"""A row of the outbox is of so many events, from `seq` on, and of the gateway that wrote it."""

PART = Part("workflows", "workflow tables", (FIRST, SHARED, _jobs_again, CHANGES))
