"""Calls as bytes: there and back, and junk that is no call."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_node.jobs import Job, JobRef
from gossamer_node.variables import Variables
from gossamer_node.work.call_wire import (
    CALL_BYTES_MAX,
    DEPTH_MAX,
    CallTerms,
    Link,
    pack_call,
    unpack_call,
)
from gossamer_node.work.wire import Uncarried

VARIABLES = Variables({"n": 3, "total": "9007199254740993"}, {"total": "Long"})
JOB = Job(
    JobRef("c7", "job-1/2", "price", "", types=VARIABLES.types),
    VARIABLES,
    lock_ms=700,
    process_id="Trip",
    process_instance_key="17",
    element_id="ask",
    business_key="B-1",
    tenant=None,
)
TERMS = CallTerms(JOB, "^1.2", (Link("trip"), Link("room", "\n17")))
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**63)
    | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def test_there_and_back() -> None:
    assert unpack_call("price", pack_call(TERMS), 700) == TERMS


def test_fields_of_a_later_version_are_ignored() -> None:
    plain = msgpack.unpackb(pack_call(TERMS))
    assert unpack_call("price", msgpack.packb([*plain, "new"]), 700) == TERMS


@pytest.mark.parametrize(
    ("variables", "why"),
    [({"x": "x" * CALL_BYTES_MAX}, "has 1,048,"), ({"x": 2**70}, "holds a value")],
)
def test_what_cannot_be_carried(variables: dict[str, Any], why: str) -> None:
    job = Job(JOB.ref, Variables(variables), 1)
    with pytest.raises(Uncarried, match=why):
        pack_call(CallTerms(job, "*", (Link("trip"),)))
    key = Job(JobRef("c7", "k" * 600, "price", ""), Variables(), 1)
    with pytest.raises(Uncarried, match="has a key of more than"):
        pack_call(CallTerms(key, "*", (Link("trip"),)))


@given(st.integers(0, 10), JUNK)
def test_junk_in_any_field_is_no_call(place: int, junk: Any) -> None:
    plain = msgpack.unpackb(pack_call(TERMS))
    plain[place] = junk
    found = unpack_call("price", msgpack.packb(plain), 700)
    assert found is None or (0 < len(found.chain) < DEPTH_MAX and isinstance(found.job, Job))


@given(st.binary(max_size=80))
def test_bytes_of_any_kind_are_read(data: bytes) -> None:
    unpack_call("price", data, 700)


@pytest.mark.parametrize("length", [0, DEPTH_MAX])
def test_a_chain_that_cannot_be(length: int) -> None:
    terms = CallTerms(JOB, "*", (Link("a"),) * length)
    assert unpack_call("price", pack_call(terms), 700) is None
