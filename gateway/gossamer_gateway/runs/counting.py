"""What workflows count for Prometheus."""

from collections import Counter
from collections.abc import Iterator, Sequence

from gossamer_gateway.runs.jobs.polls import Polls
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.model.run import Run
from gossamer_gateway.storage import Rows
from gossamer_gateway.v1.metrics import Family


class Counts:
    """What happened to runs through this gateway, since it started."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def happened(self, _run: Run, events: Sequence[Event]) -> None:
        """A listener of the engine's."""
        for one in events:
            self.events[str(one.__struct_config__.tag)] += 1
            if isinstance(one, e.AttemptFailed):
                self.failures[one.failure.blame] += 1


def families(counts: Counts, polls: Polls) -> Iterator[Family]:
    """What is known without asking the rows."""
    yield Family(
        "workflow_events_total",
        "counter",
        "Events of runs that happened through this gateway, by kind.",
        tuple(({"kind": kind}, count) for kind, count in sorted(counts.events.items())),
    )
    yield Family(
        "workflow_attempts_failed_total",
        "counter",
        "Attempts at steps that failed through this gateway, by who is to blame.",
        tuple(({"blame": blame}, count) for blame, count in sorted(counts.failures.items())),
    )
    yield Family(
        "workflow_polls_waiting",
        "gauge",
        "Requests of workers that wait for jobs.",
        (({}, polls.waiting),),
    )
    yield Family(
        "workflow_jobs_fetched_total",
        "counter",
        "Jobs of workflows that this gateway handed out.",
        (({}, polls.fetched),),
    )


QUEUES_SHOWN_MAX = 100
"""Actions whose jobs are counted one by one; the names come from outside."""

LAG_MAX = 100_000
"""Events that are counted: with a Kafka that is away there may be any number."""


def of_rows(rows: Rows, now_ms: int) -> Iterator[Family]:
    """What the rows hold. Runs that have ended are in `workflow_events_total`: counting them here
    would take longer the more there were."""
    open_runs = rows.execute(
        "SELECT status, COUNT(*) FROM workflow_runs WHERE status IN ('Pending', 'Running')"
        " GROUP BY status"
    ).fetchall()
    found = {status: count for status, count in open_runs}
    yield Family(
        "workflow_runs_open",
        "gauge",
        "Runs that have not ended, on all gateways that share the rows, by status.",
        tuple(({"status": one}, found.get(one, 0)) for one in ("Pending", "Running")),
    )
    queues = rows.execute(
        "SELECT queue, COUNT(*), SUM(CASE WHEN free_ms <= ? THEN 1 ELSE 0 END) FROM workflow_jobs"
        " GROUP BY queue ORDER BY 2 DESC, queue LIMIT ?",
        (now_ms, QUEUES_SHOWN_MAX),
    ).fetchall()
    yield Family(
        "workflow_jobs_open",
        "gauge",
        "Attempts that workers fetch, by action: free ones, and those that a worker has.",
        tuple(
            ({"action": queue, "state": state}, count)
            for queue, total, free in queues
            for state, count in (("free", free), ("locked", total - free))
        ),
    )
    (waiting,) = rows.execute(
        "SELECT COALESCE(SUM(events), 0) FROM"
        " (SELECT events FROM workflow_outbox LIMIT ?) AS waiting",
        (LAG_MAX,),
    ).fetchone()
    yield Family(
        "workflow_outbox_events",
        "gauge",
        f"Events that are still to be published, on all gateways; {LAG_MAX} are that or more.",
        (({}, min(int(waiting), LAG_MAX)),),
    )
