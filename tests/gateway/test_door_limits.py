"""Token buckets and places, against what they promise: never more, and exactly as much."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.door_world import NOW_MS

from gossamer_gateway.door.limits import FREE, Limit, Limits, Places

LIMIT = Limit("all", 10, 60_000)


def test_a_burst_and_then_a_rate() -> None:
    limits = Limits([LIMIT])
    told = [limits.take([(LIMIT, "a")], NOW_MS) for _ in range(12)]
    assert [one.allowed for one in told] == [True] * 10 + [False] * 2
    assert [one.left for one in told[:2]] == ['"all";r=9;t=6', '"all";r=8;t=12']
    assert told[9].left == '"all";r=0;t=60'
    assert (told[10].left, told[10].retry_s) == ('"all";r=0;t=60', 6)
    assert told[0].policy == '"all";q=10;w=60'
    assert not limits.take([(LIMIT, "a")], NOW_MS + 5_999).allowed
    assert limits.take([(LIMIT, "a")], NOW_MS + 6_000).allowed
    assert not limits.take([(LIMIT, "a")], NOW_MS + 6_001).allowed
    assert limits.take([(LIMIT, "b")], NOW_MS).left == '"all";r=9;t=6'


def test_after_the_time_that_it_tells_there_is_one() -> None:
    limits = Limits([LIMIT])
    now_ms = NOW_MS
    for _ in range(100):
        told = limits.take([(LIMIT, "a")], now_ms)
        if not told.allowed:
            assert told.retry_s > 0
            now_ms += told.retry_s * 1_000
            assert limits.take([(LIMIT, "a")], now_ms).allowed


@pytest.mark.parametrize("requests", [1, 2, 3, 7, 999, 1_000, 1_000_000])
@pytest.mark.parametrize("window_ms", [1_000, 7_000, 86_400_000])
def test_a_full_bucket_has_all_its_tokens(requests: int, window_ms: int) -> None:
    limit = Limit("x", requests, window_ms)
    limits = Limits([limit])
    count = min(requests, 2_000)
    limits._full_at["x", "a"] = NOW_MS * requests + (requests - count) * window_ms
    told = [limits.take([(limit, "a")], NOW_MS).allowed for _ in range(count + 1)]
    assert told == [True] * count + [False]


@given(
    st.integers(1, 20),
    st.integers(1_000, 100_000),
    st.lists(st.integers(0, 20_000), min_size=1, max_size=80),
)
def test_it_is_the_bucket_of_the_books(requests: int, window_ms: int, gaps: list[int]) -> None:
    """Beside a bucket of fractions that fills by the clock."""
    limit, now_ms = Limit("x", requests, window_ms), NOW_MS
    limits, tokens = Limits([limit]), Fraction(requests)
    for gap in gaps:
        now_ms += gap
        tokens = min(Fraction(requests), tokens + Fraction(gap * requests, window_ms))
        told = limits.take([(limit, "a")], now_ms)
        assert told.allowed == (tokens >= 1)
        tokens -= told.allowed
        assert f";r={int(tokens)};" in told.left


def test_who_is_refused_by_one_limit_takes_of_none() -> None:
    wide, narrow = Limit("wide", 10, 60_000), Limit("narrow", 1, 60_000)
    limits = Limits([wide, narrow])
    both = [(wide, "a"), (narrow, "a")]
    assert limits.take(both, NOW_MS).left == '"wide";r=9;t=6, "narrow";r=0;t=60'
    refused = limits.take(both, NOW_MS)
    assert (refused.allowed, refused.retry_s) == (False, 60)
    assert limits.take([(wide, "a")], NOW_MS).left == '"wide";r=8;t=12'


def test_a_limit_names_requests() -> None:
    limit = Limit("x", 1, 1_000, methods=("POST",), paths=("/v2/*", "/engine-rest/message"))
    assert limit.names("POST", "/v2/jobs/activation")
    assert limit.names("POST", "/engine-rest/message")
    assert not limit.names("GET", "/v2/topology")
    assert not limit.names("POST", "/engine-rest/message/x")
    assert LIMIT.names("DELETE", "/anything")


def test_nothing_is_told_where_nothing_is_limited() -> None:
    assert Limits([LIMIT]).take([], NOW_MS) is FREE


def test_buckets_are_bounded_and_the_unused_go_first() -> None:
    limits = Limits([LIMIT], buckets_max=3)
    for whose in "abc":
        limits.take([(LIMIT, whose)], NOW_MS)
    limits.take([(LIMIT, "a")], NOW_MS)
    limits.take([(LIMIT, "d")], NOW_MS)
    assert len(limits) == 3
    assert limits.take([(LIMIT, "a")], NOW_MS).left.startswith('"all";r=7;')
    assert limits.take([(LIMIT, "b")], NOW_MS).left.startswith('"all";r=9;')


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    limits = Limits([LIMIT])
    for _ in range(10):
        limits.take([(LIMIT, "a")], NOW_MS)
    assert not limits.take([(LIMIT, "a")], NOW_MS - 1_000_000_000).allowed
    assert limits.take([(LIMIT, "a")], NOW_MS - 1_000_000_000).retry_s == 86_400


def test_places_are_each_ones_own_and_come_back() -> None:
    places = Places(2)
    assert [places.enter("a") for _ in range(3)] == [True, True, False]
    assert places.enter("b")
    places.leave("a")
    assert places.enter("a") and not places.enter("a")
    for whose in "aab":
        places.leave(whose)
    assert (places.taken("a"), places.taken("b"), places._taken) == (0, 0, {})
