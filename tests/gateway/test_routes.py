"""Routes as pure decisions: shares, stickers, and what a person may leave out."""

import random

import pytest

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.routing import routes
from gossamer_gateway.routing.routes import WHOLE, Route, choose


def route(shares: dict[str, int], process: str = "hotel") -> Route:
    return Route(process, shares)


@pytest.mark.parametrize(
    "shares",
    [
        {"c7": 10_000},
        {"c7": 5_000, "c8": 5_000},
        {"c7": 7_500, "c8": 2_500},
        {"c7": 9_950, "c8": 50},
        {"c7": 1_000, "c8": 6_000, "small": 3_000},
    ],
)
def test_each_engine_gets_its_share(shares: dict[str, int]) -> None:
    starts = 20_000
    found = [choose(route(shares), f"key-{count}") for count in range(starts)]
    for name, share in shares.items():
        expected = starts * share / WHOLE
        # Five standard deviations of a binomial distribution; the stickers are always the same.
        bound = 5 * (expected * (1 - share / WHOLE)) ** 0.5
        assert abs(found.count(name) - expected) <= bound


@pytest.mark.parametrize("seed", range(100))
def test_a_share_that_grows_takes_from_the_others_alone(seed: int) -> None:
    luck = random.Random(seed)
    before = {"a": luck.randrange(1, 3_000), "b": luck.randrange(1, 3_000)}
    before["c"] = WHOLE - sum(before.values())
    grown = luck.randrange(1, before["c"])
    # The others keep their proportion.
    after = {"a": before["a"] + grown, "b": before["b"], "c": before["c"] - grown}
    for count in range(300):
        was, now = (choose(route(one), f"{seed}-{count}") for one in (before, after))
        assert now in (was, "a") or was == "c"


def test_equal_stickers_stay_together_and_processes_do_not_follow_each_other() -> None:
    even = {"c7": 5_000, "c8": 5_000}
    first = [choose(route(even), f"key-{count}") for count in range(1_000)]
    assert first == [choose(route(even), f"key-{count}") for count in range(1_000)]
    other = [choose(route(even, "car"), f"key-{count}") for count in range(1_000)]
    together = sum(a == b for a, b in zip(first, other, strict=True))
    assert 400 < together < 600
    assert choose(route(even), "\ud800") in even


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"c7": 10_000}, None),
        ({}, "the shares make 0 % together; they must make 100 %."),
        ({"c9": 10_000}, "there is no engine c9 here; there are c7, c8."),
        ({"c7": 0, "c8": 10_000}, "the share of c7 is 0 %; it must be above 0 %"),
        ({"c7": 9_950}, "the shares make 99.5 % together; they must make 100 %."),
        ({"c7": 10_000, "c8": 2_500}, "the shares make 125 % together"),
        ({"c7": -1, "c8": 10_001}, "the share of c7 is -0.01 %"),
    ],
)
def test_what_is_wrong_with_shares(shares: dict[str, int], said: str | None) -> None:
    found = routes.check(shares, ["c8", "c7"])
    assert found == said if said is None else found is not None and found.startswith(said)


@pytest.mark.parametrize(
    ("given", "engines", "whole"),
    [
        ({"c8": 2_500}, ["c7", "c8"], {"c8": 2_500, "c7": 7_500}),
        ({"c8": WHOLE}, ["c7", "c8"], {"c8": WHOLE}),
        ({"c8": 0}, ["c7", "c8"], {"c7": WHOLE}),
        ({"c8": 0, "c7": WHOLE}, ["c7", "c8"], {"c7": WHOLE}),
        ({"c8": 2_500}, ["c7", "c8", "old"], {"c8": 2_500}),
        ({"c8": 2_500, "c7": 2_500}, ["c7", "c8", "old"], {"c8": 2_500, "c7": 2_500}),
        ({"c8": 2_500}, ["c8"], {"c8": 2_500}),
        ({"c9": 2_500}, ["c7", "c8"], {"c9": 2_500}),
        ({"c8": 12_000}, ["c7", "c8"], {"c8": 12_000}),
    ],
)
def test_the_rest_goes_to_the_other_of_two(
    given: dict[str, int], engines: list[str], whole: dict[str, int]
) -> None:
    assert routes.complete(given, engines) == whole


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "shares are engines with whole hundredths"),
        ({"shares": {}}, "shares are engines with whole hundredths"),
        ({"shares": {"c7": True}}, "shares are engines with whole hundredths"),
        ({"shares": {"c7": 0.5}}, "shares are engines with whole hundredths"),
        ({"shares": {f"c{n}": 1 for n in range(65)}}, "shares are engines with whole hundredths"),
        ({"shares": {"c7": 1}}, "the shares make 0.01 % together"),
        ({"shares": {"c7": WHOLE}, "sticky": "luck"}, "sticky is 'luck'; write business-key"),
        ({"shares": {"c7": WHOLE}, "sticky": "header:"}, "sticky is 'header:'"),
        ({"shares": {"c7": WHOLE}, "sticky": "header:a b"}, "sticky is 'header:a b'"),
        ({"shares": {"c7": WHOLE}, "sticky": ["a"]}, "sticky is ['a']"),
    ],
)
def test_what_is_no_route(value: dict[str, object], said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        routes.read_value("hotel", value)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("sticker", ["", "business-key", "header:X-Tenant"])
def test_a_route_comes_back_from_its_value(sticker: str) -> None:
    shares = {"c7": 1, "c8": WHOLE - 1}
    found = routes.read_value("hotel", routes.value_of(shares, sticker))
    assert found == Route("hotel", shares, sticker)
