"""The numbers that a failure leaves open."""

import pytest

from gossamer_mesh.leases.messages import TopicTerms
from gossamer_node.jobs import Failed, JobRef
from gossamer_node.work.settling import RETRIES_DEFAULT, counted, with_numbers

TERMS = TopicTerms("t", 30_000, retries=5, backoff_ms=700)


def _ref(retries: int | None) -> JobRef:
    return JobRef("e", "k", "t", "w", retries)


@pytest.mark.parametrize(
    ("said", "engine", "terms", "retries"),
    [
        pytest.param(7, 2, TERMS, 7, id="the worker's word"),
        pytest.param(0, 2, TERMS, 0, id="the worker gives up"),
        pytest.param(None, 2, TERMS, 1, id="one less than the engine's"),
        pytest.param(None, 0, TERMS, 0, id="never below zero"),
        pytest.param(None, None, TERMS, 4, id="one less than the service's"),
        pytest.param(None, None, None, RETRIES_DEFAULT - 1, id="one less than the default"),
    ],
)
def test_retries(
    said: int | None, engine: int | None, terms: TopicTerms | None, retries: int
) -> None:
    assert with_numbers(Failed("m", said), counted(_ref(engine), terms), terms).retries == retries


@pytest.mark.parametrize(
    ("outcome", "terms", "backoff_ms"),
    [
        pytest.param(Failed("m", 1, 90), TERMS, 90, id="the worker's word"),
        pytest.param(Failed("m", 1, 0), TERMS, 0, id="the worker wants no pause"),
        pytest.param(Failed("m", 1), TERMS, 700, id="the service's"),
        pytest.param(Failed("m", 0), TERMS, 0, id="none before an incident"),
        pytest.param(Failed("m", 1), None, 0, id="none that anybody knows"),
    ],
)
def test_backoff(outcome: Failed, terms: TopicTerms | None, backoff_ms: int) -> None:
    assert with_numbers(outcome, _ref(3), terms).backoff_ms == backoff_ms
