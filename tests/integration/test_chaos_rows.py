"""The judge of chaos runs: it must see what is lost and what took effect twice."""

import pytest
import trio
from tests.integration.chaos_rows import Row, judge, measured, recoveries, table
from tests.integration.chaos_witnesses import (
    EXPORT_S_MAX,
    SETTLED_S,
    Account,
    Execution,
    ZeebeRecords,
)
from trio.testing import MockClock

JOBS = 3


def account() -> Account:
    good = Account(started=JOBS, ended=JOBS)
    for number in range(JOBS):
        good.completions[f"job-{number}"].append(10.0 + number)
        good.writes[f"instance-{number}"] = 1
    return good


RAN = {"job-0": 1, "job-1": 2, "job-2": 1}


def test_a_good_run_has_no_complaints() -> None:
    assert judge(JOBS, account(), RAN) == (0, 0, [])


def test_a_lost_job_is_seen() -> None:
    bad = account()
    del bad.completions["job-1"], bad.writes["instance-1"]
    bad.ended -= 1
    lost, twice, complaints = judge(JOBS, bad, RAN)
    assert (lost, twice) == (1, 0) and complaints == ["2 of 3 instances ended"]


def test_an_instance_that_never_started_is_seen() -> None:
    bad = account()
    bad.started -= 1
    assert judge(JOBS, bad, RAN)[2] == ["3 instances were to start, the engine knows 2"]


def test_an_instance_too_many_is_seen_unless_its_start_failed() -> None:
    bad = account()
    assert judge(JOBS - 1, bad, RAN)[2] == ["2 instances were to start, the engine knows 3"]
    assert judge(JOBS - 1, bad, RAN, unsure=1) == (0, 0, [])
    del bad.completions["job-1"], bad.writes["instance-1"]
    assert judge(JOBS - 1, bad, RAN, unsure=1)[0] == 1


def test_a_second_completion_is_seen() -> None:
    bad = account()
    bad.completions["job-1"].append(12.5)
    assert judge(JOBS, bad, RAN)[1:] == (1, ["job job-1 was completed more than once"])


def test_a_second_write_is_seen() -> None:
    bad = account()
    bad.writes["instance-2"] += 1
    lost, twice, complaints = judge(JOBS, bad, RAN)
    assert (lost, twice) == (0, 1) and "instance-2" in complaints[0]


def test_work_that_nobody_did_is_seen() -> None:
    assert judge(JOBS, account(), {"job-0": 1, "job-2": 1})[2] == [
        "job job-1 was completed, but nobody did its work"
    ]


def test_incidents_are_seen() -> None:
    bad = account()
    bad.incidents = 2
    assert judge(JOBS, bad, RAN)[2] == ["2 incidents"]


def test_recovery_is_the_first_that_a_witness_saw() -> None:
    executions = [
        Execution("job-0", "gone", 10.5),
        Execution("job-1", "here", 8.0),
        Execution("job-1", "here", 10.25),
    ]
    struck = ["job-0", "job-1", "job-2", "settled before"]
    # job-0 ran on a lost host alone, and was completed before the fault; job-2 after it.
    assert recoveries(struck, 10.0, account(), executions, ["gone"]) == [0.25, 2.0]
    assert measured([0.25, 1.0, 2.0]) == (0.25, 1.0, 2.0)
    assert measured([]) == (None, None, None)


def test_a_record_that_comes_again_counts_once() -> None:
    records = ZeebeRecords()
    job = {
        "position": 7,
        "key": 42,
        "timestamp": 5_000,
        "valueType": "JOB",
        "intent": "COMPLETED",
        "value": {"bpmnProcessId": "p"},
    }
    records.take(job)
    records.take(job)
    assert records.of("p").completions == {"42": [5.0]}
    records.take(job | {"position": 8})
    assert records.of("p").completions == {"42": [5.0, 5.0]}


async def test_what_was_locked_is_known_when_a_later_record_has_come(
    autojump_clock: MockClock,
) -> None:
    records = ZeebeRecords()

    def tell(position: int, at_ms: int, kind: str, intent: str, key: int) -> None:
        value = {"bpmnProcessId": "p", "jobKeys": [key]}
        record = {"position": position, "timestamp": at_ms, "key": key, "value": value}
        records.take({**record, "valueType": kind, "intent": intent})

    async def hand_over() -> None:
        await trio.sleep(EXPORT_S_MAX / 2)
        tell(3, 10_100, "JOB_BATCH", "ACTIVATED", 42)
        tell(4, 10_001 + round(SETTLED_S * 1_000), "JOB_BATCH", "ACTIVATED", 43)

    tell(1, 9_000, "JOB", "CREATED", 42)
    tell(2, 9_000, "JOB", "CREATED", 43)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hand_over)
        assert await records.locked("p", 10.0) == {"42"}
        assert trio.current_time() == EXPORT_S_MAX / 2
    # Nothing comes any more: it has had the time.
    assert await records.locked("p", 20.0) == {"42", "43"}
    assert trio.current_time() == 1.5 * EXPORT_S_MAX + SETTLED_S


@pytest.mark.parametrize("complaints", [(), ("leases are left over",)])
def test_a_complaint_makes_a_row_bad(complaints: tuple[str, ...]) -> None:
    row = Row(
        scenario="kill-holder",
        engine="camunda7",
        jobs=JOBS,
        lost=0,
        effective_twice=0,
        ran_twice=1,
        struck=2,
        first_s=0.1,
        median_s=0.2,
        max_s=0.3,
        detected_s=None,
        false_deaths=0,
        took_s=9.0,
        seed=1,
        commit="abc",
        complaints=complaints,
    )
    assert row.is_good == (not complaints)
    assert table([row]).splitlines()[1].split()[:3] == ["kill-holder", "camunda7", "3"]
