"""Whatever a worker or a hostile holder says, a claimer's call to its engine ends in an answer.

The way of an outcome: the holder packs it, the claimer unpacks it, and an adapter of either engine
makes a request of it. Nobody is at the engine's address, so each request that can be written ends
as unanswered; one that cannot is refused in words. Nothing is raised, or a node would end.
"""

import socket
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import LeaseId, TopicTerms
from gossamer_mesh.leases.work import Extend, Release, Report
from gossamer_node.engines.config import EngineConfig, Kind
from gossamer_node.engines.factory import open_engine
from gossamer_node.jobs import BpmnError, Completed, Failed, JobRef, Outcome
from gossamer_node.variables import Variables
from gossamer_node.work import settling
from gossamer_node.work.wire import (
    Uncarried,
    pack_outcome,
    pack_receipt,
    unpack_job,
    unpack_outcome,
    unpack_receipt,
)

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)

TEXT = st.text(st.characters(categories=["Cs", "L", "Cc"]) | st.sampled_from("\ud800\x00'\"{"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63 - 2, 2**64 + 2)
    | st.floats()
    | TEXT
    | st.binary(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(), inner, max_size=4)
    ),
    max_leaves=15,
)
KINDS = st.sampled_from(
    ["Long", "Integer", "Short", "Double", "Boolean", "String", "Date", "Bytes", "File", "Json",
     "Object", "Xml", "Null", "", "\ud800", "nothing known"]
)  # fmt: skip
TAGS = KINDS | st.fixed_dictionaries(
    {"type": KINDS},
    optional={
        "objectTypeName": SCALARS,
        "serializationDataFormat": SCALARS,
        "filename": SCALARS,
        "mimetype": SCALARS,
        "encoding": SCALARS,
    },
)
NAMES = TEXT | st.sampled_from(["a", "b"])
VARIABLES = st.builds(
    Variables,
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.dictionaries(NAMES, TAGS, max_size=3),
)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Completed, VARIABLES),
    st.builds(BpmnError, TEXT, TEXT, VARIABLES),
    st.builds(Failed, TEXT, st.none() | st.integers(), st.none() | st.integers(), TEXT),
)
REFS = st.builds(
    JobRef,
    engine=st.just("e"),
    key=TEXT | st.just("../../1"),
    topic=st.just("t"),
    worker_id=TEXT,
    retries=st.none() | st.integers(-5, 2**40),
    types=st.dictionaries(NAMES, TAGS, max_size=3),
)
WRITTEN = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda verb, rest: msgpack.packb([verb, *rest], unicode_errors="surrogatepass"),
        st.sampled_from(["completed", "bpmn_error", "failed"]),
        st.lists(
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT,
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(TEXT | st.integers(0, 5), inner, max_size=3)
                ),
                max_leaves=12,
            ),
            max_size=6,
        ),
    ),
)
TERMS = st.none() | st.builds(TopicTerms, st.just("t"), st.just(30_000), retries=st.integers(0, 9))


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A port of this machine where nobody listens, nor may meanwhile: it is bound."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        yield port


def lease_with(receipt: bytes, outcome: bytes | None) -> Lease:
    one = Lease(LeaseId("e/0", "1", "m", 1, 1, 1), "t", receipt, b"", 30_000, 30_000, "regrant", 0)
    one.outcome = outcome
    one.reason = "\ud800 lost"
    return one


def settle(kind: Kind, port: int, lease: Lease, terms: TopicTerms | None) -> None:
    """Everything that a claimer may ask of its engine for this lease."""

    async def ask() -> None:
        config = EngineConfig("e", kind, f"http://127.0.0.1:{port}")
        engine = open_engine(config)
        try:
            assert isinstance(await settling.report(engine, Report(lease, terms)), settling.Answer)
            assert await settling.extend(engine, Extend(lease)) in (None, False)
            assert isinstance(await settling.release(engine, Release(lease)), settling.Answer)
        finally:
            await engine.aclose()

    trio.run(ask)


def packed(outcome: Outcome) -> bytes:
    """As a holder packs what its worker said; a worker's nonsense becomes a failure."""
    try:
        return pack_outcome(outcome)
    except Uncarried as error:
        return pack_outcome(Failed(f"the outcome {error}"))


def receipt_of(ref: JobRef) -> bytes:
    """An engine sends text that can be written; a hostile claimer may send anything."""
    try:
        return pack_receipt(ref)
    except Uncarried:
        return b""


@FUZZ
@given(st.sampled_from(["camunda7", "camunda8"]), REFS, OUTCOMES, TERMS)
def test_an_outcome_of_any_worker_ends_in_an_answer(
    closed_port: int, kind: Kind, ref: JobRef, outcome: Outcome, terms: TopicTerms | None
) -> None:
    settle(kind, closed_port, lease_with(receipt_of(ref), packed(outcome)), terms)


@FUZZ
@given(st.sampled_from(["camunda7", "camunda8"]), REFS, WRITTEN, WRITTEN | st.none(), TERMS)
def test_whatever_a_hostile_holder_sends_ends_in_an_answer(
    closed_port: int,
    kind: Kind,
    ref: JobRef,
    written: bytes,
    receipt: bytes | None,
    terms: TopicTerms | None,
) -> None:
    one = lease_with(receipt_of(ref) if receipt is None else receipt, written)
    settle(kind, closed_port, one, terms)


@settings(max_examples=300, deadline=None)
@given(WRITTEN, WRITTEN)
def test_reading_is_total(one: bytes, other: bytes) -> None:
    unpack_outcome(one)
    unpack_receipt(one)
    unpack_job(one, other, 1_000)


@pytest.mark.parametrize("depth", [100, 510, 600, 5_000])
@pytest.mark.parametrize("kind", ["camunda7", "camunda8"])
def test_deep_nesting_ends_in_an_answer(closed_port: int, kind: Kind, depth: int) -> None:
    value: Any = None
    for _ in range(depth):
        value = [value]
    receipt = pack_receipt(JobRef("e", "1", "t", "w"))
    outcome = packed(Completed(Variables({"a": value}, {"a": "Json"})))
    settle(kind, closed_port, lease_with(receipt, outcome), None)
    settle(kind, closed_port, lease_with(receipt, b"\x91" * depth + b"\xc0"), None)
