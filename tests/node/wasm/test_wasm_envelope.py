"""Bytes in, bytes out: the vectors of sdk-wasm/vectors, and any bytes at all."""

import json
import math
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossamer_node.errors import InputError
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef, Outcome
from gossamer_node.variables import Variables
from gossamer_node.wasm.envelope import (
    DEPTH_MAX,
    VALUES_MAX,
    Encoding,
    EnvelopeError,
    decode_outcome,
    encode_job,
    outcome_map,
    pack,
    read_job,
    unpack,
)

VECTORS = Path(__file__).parents[3] / "sdk-wasm" / "vectors"
OUTCOMES: list[dict[str, Any]] = json.loads((VECTORS / "outcomes.json").read_text())
WORKER: list[dict[str, Any]] = json.loads((VECTORS / "worker.json").read_text())

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
near_outcomes = st.dictionaries(
    st.sampled_from(["completed", "bpmn_error", "failed", "await", "x"]),
    junk
    | st.dictionaries(
        st.sampled_from(
            ["variables", "types", "code", "message", "retries", "backoff_ms", "details"]
        ),
        junk | st.dictionaries(st.sampled_from("ab"), junk),
    ),
)


@pytest.mark.parametrize("case", OUTCOMES, ids=lambda case: str(case["name"]))
def test_outcome_vectors(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"]) if "hex" in case else case["bytes"].encode()
    outcome = decode_outcome(data)
    if "malformed" in case:
        assert isinstance(outcome, Failed)
        assert outcome.message.startswith("The worker's outcome is malformed: ")
        assert case["malformed"] in outcome.message
    else:
        # As text, since 3 == 3.0 and True == 1.
        assert repr(outcome_map(outcome)) == repr(case["outcome"])


@given(st.binary())
def test_any_bytes_are_an_outcome(data: bytes) -> None:
    assert isinstance(decode_outcome(data), Completed | BpmnError | Failed)


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
)
@example("9223372036854775807")
@example("-9223372036854775809")
@example("0.9E0309")
@example("999999999999999999e+308")
def test_numbers_complete_a_job_if_they_fit_64_bits_or_a_double(number: str) -> None:
    """However they are spelt."""
    value = json.loads(number)
    fits = -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)
    outcome = decode_outcome(b'{"completed":{"variables":{"a":[[%s]]}}}' % number.encode())
    assert isinstance(outcome, Completed) == fits
    if isinstance(outcome, Completed):
        assert repr(outcome.variables.values["a"]) == repr([[value]])


@given(st.text('\\\\",[{}]a', min_size=1, max_size=60), st.integers(0, 1_000))
def test_what_stands_in_texts_is_no_value(text: str, shift: int) -> None:
    """However it is escaped, and wherever in it the host's look at an answer has a seam."""
    values = ["x" * shift] + [text + ","] * (VALUES_MAX // 2)
    assert isinstance(completed_with(values), Completed)


def test_an_answer_has_no_more_values_than_the_abi_says() -> None:
    # The list, what holds it, and what holds that are values, too.
    assert isinstance(completed_with(["a,b"] * (VALUES_MAX - 3)), Completed)
    failed = completed_with(["a,b"] * (VALUES_MAX + 1))
    assert isinstance(failed, Failed)
    assert "more than 50,000 values" in failed.message


def completed_with(values: list[str]) -> Outcome:
    return decode_outcome(json.dumps({"completed": {"variables": {"a": values}}}).encode())


def test_lists_are_nested_no_deeper_than_the_abi_says() -> None:
    def nested(levels: int) -> Outcome:
        lists = b"[" * levels + b"]" * levels
        return decode_outcome(b'{"completed":{"variables":{"a":%s}}}' % lists)

    # The answer, what it names and its variables are three.
    assert isinstance(nested(DEPTH_MAX - 3), Completed)
    failed = nested(DEPTH_MAX - 2)
    assert isinstance(failed, Failed)
    assert "variable a is nested more than 64 levels deep" in failed.message


@given(near_outcomes)
def test_whatever_an_outcome_holds_can_be_written_again(answer: dict[str, Any]) -> None:
    try:
        data: bytes = msgpack.packb(answer)
    except OverflowError:
        data = json.dumps(answer, default=str).encode()
    outcome = outcome_map(decode_outcome(data))
    for encoding in ("json", "msgpack"):
        assert unpack(pack(outcome, encoding))[0] == outcome


@given(st.binary(), st.sampled_from(OUTCOMES), st.integers(0, 100), st.integers(0, 5))
def test_damaged_outcomes_are_outcomes(
    junk_bytes: bytes, case: dict[str, Any], at: int, cut: int
) -> None:
    data = bytes.fromhex(case["hex"]) if "hex" in case else case["bytes"].encode()
    decode_outcome(data[:at] + junk_bytes + data[at + cut :])


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_the_input_is_as_abi_md_shows_it(encoding: Encoding) -> None:
    job = Job(
        JobRef("camunda8", "2251799813685262", "create-booking", "worker-7", retries=3),
        Variables({"guest": "Ada", "total": "9007199254740993"}, {"total": "Long"}),
        lock_ms=30_000,
        process_id="HotelReservationProcess",
        process_instance_key="2251799813685250",
        element_id="create-booking",
        headers={"room": "sea view"},
    )
    data = encode_job(job, deadline_ms=9985, encoding=encoding)
    assert unpack(data) == (
        {
            "job": {
                "key": "2251799813685262",
                "topic": "create-booking",
                "engine": "camunda8",
                "retries": 3,
                "deadline_ms": 9985,
                "business_key": None,
                "process_id": "HotelReservationProcess",
                "process_instance_key": "2251799813685250",
                "element_id": "create-booking",
                "tenant": None,
                "headers": {"room": "sea view"},
            },
            "variables": {"guest": "Ada", "total": "9007199254740993"},
            "types": {"total": "Long"},
        },
        encoding,
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_say_is_an_error_of_the_envelope(value: str | float) -> None:
    job = Job(JobRef("e", "k", "t", "w"), Variables({"x": value}), lock_ms=1)
    with pytest.raises(EnvelopeError, match="cannot be written as json"):
        encode_job(job, deadline_ms=1, encoding="json")


@pytest.mark.parametrize("case", WORKER, ids=lambda case: str(case["name"]))
def test_the_inputs_of_the_worker_vectors_are_jobs(case: dict[str, Any]) -> None:
    job = read_job(json.dumps(case["input"]).encode())
    written = unpack(encode_job(job, deadline_ms=9985, encoding="json"))[0]
    expected = case["input"]
    assert written["variables"] == expected["variables"]
    assert written["types"] == expected["types"]
    assert written["job"] == {key: expected["job"][key] for key in written["job"]}


def test_a_job_written_by_hand_needs_only_what_matters() -> None:
    job = read_job(b'{"variables": {"nights": 3}}')
    assert (job.ref.key, job.variables.values, job.business_key) == ("", {"nights": 3}, None)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "it is empty"),
        (b"[]", "neither JSON nor msgpack"),
        (b'{"job": []}', "the input.job is not a map"),
        (b'{"job": {"retries": -1}}', "job.retries is not an integer"),
        (b'{"job": {"headers": {"a": 1}}}', "job.headers holds what is not a string"),
        (b'{"variables": 3}', "the input.variables is not a map"),
    ],
)
def test_a_bad_job_file_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        read_job(data)
    assert str(caught.value).startswith("is not a job: ")
