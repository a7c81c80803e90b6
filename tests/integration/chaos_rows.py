"""What a chaos run found, as a row of a table: judged and measured.

*Lost* is a job that its engine did not see completed, *effective twice* one that it saw completed,
or whose variable it saw written, more than once; both must be 0. *Ran twice* counts jobs that the
sink was asked for more than once: that is allowed, and tells what a fault costs. The *recovery* of
a lease that the fault struck is the time from the fault until its job ran elsewhere or was
completed, whichever an outside witness saw first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.integration.chaos_witnesses import Account, Execution

COMPLAINTS_MAX = 10
"""Sentences of one row; the rest is counted."""


@dataclass(slots=True)
class Row:
    """One scenario on one engine. Times are in seconds; None where nothing was struck."""

    scenario: str
    engine: str
    jobs: int
    lost: int
    effective_twice: int
    ran_twice: int
    struck: int
    first_s: float | None
    median_s: float | None
    max_s: float | None
    detected_s: float | None
    false_deaths: int
    took_s: float
    seed: int
    commit: str
    complaints: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.effective_twice or self.complaints)


def judge(
    jobs: int, account: Account, ran: Mapping[str, int], unsure: int = 0
) -> tuple[int, int, list[str]]:
    """Counts what was lost and what took effect twice.

    Args:
        jobs: how many had to be done, one an instance.
        account: the engine's.
        ran: how often each key came to the sink.
        unsure: starts that failed and were tried again; the engine may have done them all the same.

    Returns: lost, effective twice, and a sentence for each complaint.
    """
    complaints = []
    if not jobs <= account.started <= jobs + unsure:
        complaints.append(f"{jobs} instances were to start, the engine knows {account.started}")
    jobs = max(jobs, account.started)
    lost = jobs - len(account.completions)
    if account.ended != jobs:
        complaints.append(f"{account.ended} of {jobs} instances ended")
        lost = max(lost, jobs - account.ended)
    twice = [key for key, moments in account.completions.items() if len(moments) > 1]
    complaints += [f"job {key} was completed more than once" for key in twice]
    written = [key for key, count in account.writes.items() if count > 1]
    complaints += [f"instance {key} had its variable written more than once" for key in written]
    if len(account.writes) != len(account.completions):
        complaints.append(
            f"{len(account.completions)} jobs completed, {len(account.writes)} variables written"
        )
    unseen = [key for key in account.completions if not ran.get(key)]
    complaints += [f"job {key} was completed, but nobody did its work" for key in unseen]
    if account.incidents:
        complaints.append(f"{account.incidents} incidents")
    return lost, len(twice) + len(written), complaints


def recoveries(
    struck: Iterable[str],
    moment_s: float,
    account: Account,
    executions: Sequence[Execution],
    lost_hosts: Iterable[str],
) -> list[float]:
    """How long each struck lease took to come back, sorted.

    Args:
        struck: its jobs' keys.
        moment_s: when the fault struck.
        executions: the sink's; those from `lost_hosts` don't count as elsewhere.
    """
    gone = set(lost_hosts)
    reruns: dict[str, float] = {}
    for one in executions:
        if one.began_s > moment_s and one.host not in gone:
            reruns.setdefault(one.key, one.began_s)
    found = []
    for key in struck:
        moments = [one for one in account.completions.get(key, ()) if one > moment_s]
        if key in reruns:
            moments.append(reruns[key])
        if moments:
            found.append(min(moments) - moment_s)
    return sorted(found)


def measured(times: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """First, median and last."""
    if not times:
        return None, None, None
    return round(times[0], 2), round(median(times), 2), round(times[-1], 2)


HEAD = (
    *("SCENARIO", "ENGINE", "JOBS", "LOST", "TWICE", "RAN 2x", "STRUCK"),
    *("FIRST s", "MEDIAN s", "MAX s", "KNOWN s", "FALSE", "TOOK s"),
)


def table(rows: Sequence[Row]) -> str:
    """The rows for a person."""
    cells = [
        HEAD,
        *(
            tuple(
                "-" if one is None else str(one)
                for one in (
                    *(row.scenario, row.engine, row.jobs, row.lost, row.effective_twice),
                    *(row.ran_twice, row.struck, row.first_s, row.median_s, row.max_s),
                    *(row.detected_s, row.false_deaths, row.took_s),
                )
            )
            for row in rows
        ),
    ]
    widths = [max(len(row[at]) for row in cells) for at in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
