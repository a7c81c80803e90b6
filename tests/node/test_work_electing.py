"""Who claims: every member comes to the same answer, and one name means one engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.drivers import Member, Plain
from gossamer_node.errors import InputError
from gossamer_node.work.electing import (
    Election,
    elections,
    engine_of,
    group_of,
    namesake,
    refuse_too_many,
    tags,
    term_seen_max,
)

IDS = ["a" * 32, "b" * 32, "c" * 32]


def member(node_id: str, said: dict[str, Plain]) -> Member:
    return Member(node_id, node_id[0], ("127.0.0.1", 1), "alive", said, 1, 1)


@given(st.dictionaries(st.sampled_from(IDS), st.sets(st.sampled_from(["x", "y"])), min_size=1))
def test_all_who_see_the_same_name_the_same(reach: dict[str, set[str]]) -> None:
    members = [member(one, tags(dict.fromkeys(names, "f"), {})) for one, names in reach.items()]
    views = [elections(members, one, dict.fromkeys(reach[one], "f")) for one in reach]
    assert all(view == views[0] for view in views)
    assert set(views[0]) == {group_of(name) for name in set().union(*reach.values())}
    for group, one in views[0].items():
        assert engine_of(group) in reach[one.claimer]
        assert one.standby is None or engine_of(group) in reach[one.standby]


def test_the_standby_claims_when_the_claimer_is_gone() -> None:
    members = [member(one, tags({"x": "f"}, {})) for one in IDS]
    one = elections(members, IDS[0], {"x": "f"})["x/all"]
    assert one.standby is not None and one.standby != one.claimer
    left = [other for other in members if other.id != one.claimer]
    after = elections(left, left[0].id, {"x": "f"})["x/all"]
    assert after.claimer == one.standby
    (last,) = {other.id for other in left} - {after.claimer}
    assert after.standby == last
    alone = [other for other in left if other.id == last]
    assert elections(alone, last, {"x": "f"}) == {"x/all": Election(last, None)}


def test_a_member_knows_its_own_reach_before_its_tags_say_so() -> None:
    alone = [member(IDS[0], {})]
    assert elections(alone, IDS[0], {"x": "f"}) == {"x/all": Election(IDS[0], None)}
    assert elections([member(IDS[0], tags({"x": "f"}, {}))], IDS[0], {}) == {}


def test_the_claimers_of_several_engines_are_spread() -> None:
    names = [f"engine-{number}" for number in range(100)]
    said = tags(dict.fromkeys(names, "f"), {})
    found = elections([member(one, said) for one in IDS], IDS[0], dict.fromkeys(names, "f"))
    assert {one.claimer for one in found.values()} == set(IDS)
    assert {one.standby for one in found.values()} == set(IDS)


def test_one_name_means_one_engine() -> None:
    members = [member(one, tags({"x": "0123456789"}, {})) for one in IDS]
    assert namesake(members, IDS[0], "x", "0123456789", False) is None
    assert namesake(members, IDS[0], "x", "9876543210", False) in members[1:]
    assert namesake(members, IDS[0], "y", "9876543210", False) is None


def test_of_two_engines_with_one_name_one_stays() -> None:
    said = {IDS[0]: "0000", IDS[1]: "1111"}
    members = [member(one, tags({"x": fingerprint}, {})) for one, fingerprint in said.items()]
    out = [one for one in said if namesake(members, one, "x", said[one], True) is not None]
    assert out == [IDS[1]]
    newcomer = [member(IDS[1], tags({"x": "1111"}, {}))]
    assert namesake(newcomer, IDS[0], "x", "0000", False) == newcomer[0]


@pytest.mark.parametrize("junk", [None, 3, "x", [1], {"x": None}, {"x": "f"}])
def test_tags_of_another_form_say_nothing(junk: Plain) -> None:
    odd = member(IDS[1], {"engines": junk, "claims": junk})
    assert set(elections([odd], IDS[0], {})) <= {"x/all"}
    assert term_seen_max([odd], "x") == 0


def test_the_highest_term_counts() -> None:
    members = [
        member(one, tags({}, {"x/all": term})) for one, term in zip(IDS, (4, 9, 2), strict=True)
    ]
    assert term_seen_max(members, "x/all") == 9
    assert term_seen_max(members, "y/all") == 0


@pytest.mark.parametrize("term", [2**32, 2**64 - 1])
def test_a_term_that_leaves_no_room_for_the_next_is_not_believed(term: int) -> None:
    members = [member(IDS[0], tags({}, {"x/all": 7})), member(IDS[1], tags({}, {"x/all": term}))]
    assert term_seen_max(members, "x/all") == 7


def test_a_group_is_named_for_its_engine() -> None:
    assert engine_of(group_of("a/b")) == "a/b"


def test_more_engines_than_a_member_can_announce_are_refused_at_the_start() -> None:
    refuse_too_many(["camunda7", "camunda8", "embedded"])
    with pytest.raises(InputError, match="200 engines are more than one node can announce"):
        refuse_too_many([f"engine-{number}" for number in range(200)])
