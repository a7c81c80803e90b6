"""Jobs and outcomes cross the mesh unchanged, and no bytes raise."""

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.leases.messages import NAME_LENGTH_MAX
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef
from gossamer_node.variables import JsonValue, TypeTag, Variables
from gossamer_node.work.wire import (
    JOB_BYTES_MAX,
    RECEIPT_BYTES_MAX,
    Uncarried,
    pack_job,
    pack_outcome,
    pack_payload,
    pack_receipt,
    unpack_job,
    unpack_outcome,
    unpack_receipt,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TAGS: st.SearchStrategy[TypeTag] = st.sampled_from(
    ["Long", "Date", {"type": "Object", "objectTypeName": "a.B"}]
)
VARIABLES = st.builds(
    Variables, st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(st.text(), TAGS)
)
REFS = st.builds(
    JobRef,
    engine=st.text(),
    key=st.text(),
    topic=st.text(),
    worker_id=st.text(),
    retries=st.none() | st.integers(0, 2**31),
    types=st.dictionaries(st.text(), TAGS, max_size=3),
)
JOBS = st.builds(
    lambda ref, variables, **rest: Job(replace(ref, types=variables.types), variables, **rest),
    ref=REFS,
    variables=VARIABLES,
    lock_ms=st.just(30_000),
    process_id=st.text(),
    process_instance_key=st.text(),
    element_id=st.text(),
    business_key=st.none() | st.text(),
    tenant=st.none() | st.text(),
    headers=st.dictionaries(st.text(), st.text(), max_size=3),
    priority=st.integers(-(2**31), 2**31),
)
OUTCOMES = (
    st.builds(Completed, VARIABLES)
    | st.builds(BpmnError, st.text(), st.text(), VARIABLES)
    | st.builds(
        Failed,
        st.text(),
        st.none() | st.integers(0, 100),
        st.none() | st.integers(0, 10_000),
        st.text(),
    )
)


@given(JOBS)
def test_a_job_arrives_as_it_was_sent(job: Job) -> None:
    assert unpack_job(pack_receipt(job.ref), pack_payload(job), job.lock_ms) == job


@given(OUTCOMES)
def test_an_outcome_arrives_as_it_was_sent(outcome: Completed | BpmnError | Failed) -> None:
    assert unpack_outcome(pack_outcome(outcome)) == outcome


@given(st.binary() | JSON.map(msgpack.packb))
def test_other_bytes_are_nothing_and_never_raise(data: bytes) -> None:
    assert unpack_receipt(data) is None
    assert unpack_job(data, data, 1) is None
    assert unpack_outcome(data) is None or isinstance(unpack_outcome(data), (Completed, Failed))


@pytest.mark.parametrize("tag", [5, b"Json", ["Json"], {}, {"type": 5}])
def test_a_type_that_is_none_is_not_handed_to_an_engine(tag: object) -> None:
    types = {"a": tag}
    assert unpack_outcome(msgpack.packb(["completed", {"a": 1}, types])) is None
    assert unpack_outcome(msgpack.packb(["bpmn_error", {"a": 1}, types, "c", ""])) is None
    assert unpack_receipt(msgpack.packb(["e", "k", "t", "w", None, types])) is None


def test_a_receipt_that_would_crowd_out_the_outcome_is_refused() -> None:
    types: dict[str, TypeTag] = {"x" * RECEIPT_BYTES_MAX: "Double"}
    with pytest.raises(Uncarried, match="names and types of variables"):
        pack_job(Job(JobRef("e", "k", "t", "w", types=types), Variables(), 30_000))


def test_a_reader_ignores_what_a_later_version_appends() -> None:
    values: dict[str, JsonValue] = {"a": 1}
    data = msgpack.packb([*msgpack.unpackb(pack_outcome(Completed(Variables(values)))), "new"])
    assert unpack_outcome(data) == Completed(Variables(values))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(2**64, "holds a value that cannot be carried", id="an integer past 64 bits"),
        pytest.param("\ud800", "holds a value that cannot be carried", id="no Unicode"),
        pytest.param("x" * JOB_BYTES_MAX, "bytes of variables; a node takes", id="too much"),
    ],
)
def test_what_the_mesh_cannot_carry_is_said(value: JsonValue, why: str) -> None:
    job = Job(JobRef("e", "k", "t", "w"), Variables({"a": [value]}), 30_000)
    with pytest.raises(Uncarried, match=why):
        pack_job(job)


def test_a_job_as_large_as_may_be_is_carried() -> None:
    job = Job(JobRef("e", "k", "t", "w"), Variables({"a": "x" * (JOB_BYTES_MAX - 100)}), 30_000)
    assert unpack_job(*pack_job(job), 30_000) == job


def test_a_key_that_no_lease_could_name_is_refused() -> None:
    job = Job(JobRef("e", "k" * (NAME_LENGTH_MAX + 1), "t", "w"), Variables(), 30_000)
    with pytest.raises(Uncarried, match="a key or topic of more than 512 characters"):
        pack_job(job)
