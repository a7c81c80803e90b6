"""Where messages go: every rule against everything that can be known."""

from itertools import chain, combinations, product

import pytest

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.routing.messages import (
    ALL_TO,
    Deliver,
    Facts,
    MessageRule,
    NotNow,
    NotOne,
    read_value,
    value_of,
    where,
)

ENGINES = ("c7", "c8", "old")
SETS = [
    frozenset(one)
    for one in chain.from_iterable(combinations(ENGINES, count) for count in range(4))
]


def rule(to: str) -> MessageRule:
    return read_value("paid", {"to": to, "process": "hotel"} if to == "start" else {"to": to})


@pytest.mark.parametrize("to", ALL_TO)
def test_nothing_goes_where_it_must_not(to: str) -> None:
    """Of all that can be known: never to a silent engine, never beside the one that holds it."""
    for named, holders, silent, routed in product(
        (None, *ENGINES), SETS, SETS, (None, "c8", "old")
    ):
        facts = Facts(ENGINES, "c7", named, holders, silent, routed)
        found = where(rule(to), facts)
        if isinstance(found, NotNow):
            assert silent, facts
            continue
        if isinstance(found, NotOne):
            assert len(holders) > 1 and named is None and to != "all", facts
            continue
        went = set(found.engines)
        if named is not None:
            assert went == {named} and named not in silent, facts
        elif to == "all":
            assert found.engines == ENGINES and not silent, facts
        elif holders:
            assert went == holders and not went & silent, facts
        else:
            # An engine that could not be asked may have the instance.
            assert not silent and len(went) == 1, facts


@pytest.mark.parametrize(
    ("to", "facts", "found"),
    [
        ("instance", {}, Deliver(("c7",))),
        ("instance", {"holders": {"c8"}}, Deliver(("c8",))),
        ("instance", {"routed": "c8"}, Deliver(("c7",))),
        ("start", {"routed": "c8"}, Deliver(("c8",))),
        ("start", {"routed": "c8", "holders": {"c7"}}, Deliver(("c7",))),
        ("start", {}, Deliver(("c7",))),
        ("all", {"holders": {"c8"}}, Deliver(ENGINES)),
        ("all", {"named": "old"}, Deliver(("old",))),
        ("instance", {"holders": {"c8"}, "silent": {"c7"}}, Deliver(("c8",))),
    ],
)
def test_where_it_goes(to: str, facts: dict[str, object], found: Deliver) -> None:
    given = {
        name: frozenset(value) if isinstance(value, set) else value for name, value in facts.items()
    }
    assert where(rule(to), Facts(ENGINES, "c7", **given)) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("to", "facts", "sentence"),
    [
        ("instance", {"silent": {"c8"}}, "an instance in c8 may wait for paid, and it does not"),
        ("instance", {"holders": {"c8"}, "silent": {"c8"}}, "the instance lives in c8, which"),
        ("all", {"silent": {"c8", "old"}}, "messages paid go to every engine, and c8, old does"),
        ("instance", {"named": "c8", "silent": {"c8"}}, "the instance lives in c8, which does"),
        ("start", {"holders": {"c7", "c8"}}, "instances in c7 and c8 wait for paid; name one"),
    ],
)
def test_why_it_goes_nowhere(to: str, facts: dict[str, object], sentence: str) -> None:
    given = {
        name: frozenset(value) if isinstance(value, set) else value for name, value in facts.items()
    }
    found = where(rule(to), Facts(ENGINES, "c7", **given))  # type: ignore[arg-type]
    assert isinstance(found, NotNow | NotOne) and found.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "to is None; write one of instance, start, all."),
        ({"to": "c8"}, "to is 'c8'"),
        ({"to": ["all"]}, "to is ['all']"),
        ({"to": "start"}, "to: start needs process"),
        ({"to": "start", "process": 7}, "process is the id"),
        ({"to": "all", "process": "hotel"}, "process is for to: start alone"),
    ],
)
def test_what_is_no_rule(value: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_value("paid", value)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("to", ALL_TO)
def test_a_rule_comes_back_from_its_value(to: str) -> None:
    assert read_value("paid", value_of(rule(to))) == rule(to)
