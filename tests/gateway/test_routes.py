"""Routes as pure decisions: shares, stickers, and gateways that hear of changes in any order."""

import random

import pytest

from gossamer_gateway.routing import routes
from gossamer_gateway.routing.routes import ANY, CLOCK_MAX, WHOLE, Route, Routes, Version, choose

ONE = Version(1, "a")


def route(shares: dict[str, int], process: str = "hotel", version: Version = ONE) -> Route:
    return Route(process, shares, version)


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
        ({}, None),
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


def test_the_route_of_a_process_and_of_all_others() -> None:
    table = Routes("a")
    assert table.route_of("hotel") is None
    change = {"sticker": "", "who": "ada", "at_ms": 1}
    table.change(ANY, {"c7": WHOLE}, **change)  # type: ignore[arg-type]
    table.change("hotel", {"c8": WHOLE}, **change)  # type: ignore[arg-type]
    for process, engine in (("hotel", "c8"), ("car", "c7")):
        found = table.route_of(process)
        assert found is not None and choose(found, "") == engine
    table.change("hotel", {}, **change)  # type: ignore[arg-type]
    found = table.route_of("hotel")
    assert found is not None and found.process == ANY


@pytest.mark.parametrize("seed", range(200))
def test_gateways_agree_whatever_the_order(seed: int) -> None:
    luck = random.Random(seed)
    gateways = [Routes(name) for name in "abc"]
    said: list[Route] = []
    for at_ms in range(30):
        one = luck.choice(gateways)
        if said and luck.random() < 0.4:
            one.learn(luck.choice(said))
        else:
            shares = luck.choice([{}, {"c7": WHOLE}, {"c7": 1, "c8": WHOLE - 1}])
            process = luck.choice(["hotel", "car", ANY])
            said.append(one.change(process, shares, sticker="", who=one.gateway, at_ms=at_ms))
            assert one.route_of(process) == said[-1] or not shares
    for one in gateways:
        for route in luck.sample(said, len(said)):
            one.learn(route)
    assert gateways[0].all() == gateways[1].all() == gateways[2].all()
    assert len({one.digest() for one in gateways}) == 1
    last = gateways[0].change("hotel", {"c8": WHOLE}, sticker="", who="", at_ms=99)
    assert gateways[1].digest() != gateways[0].digest()
    assert gateways[1].learn(last) and not gateways[1].learn(last)
    assert gateways[1].route_of("hotel") == last


def test_clocks_that_would_win_for_ever_are_not_taken() -> None:
    table = Routes("a")
    for clock in (0, -1, CLOCK_MAX + 1):
        assert not table.learn(route({"c7": WHOLE}, version=Version(clock, "evil")))
    assert table.all() == [] and table.clock == 0
