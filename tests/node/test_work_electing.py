"""Who claims: every member comes to the same answer, and one name means one engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.drivers import Member, Plain
from gossamer_mesh.leases.parts import PARTS_MAX
from gossamer_node.errors import InputError
from gossamer_node.work.electing import (
    Claim,
    Election,
    claims_of,
    elections,
    engine_of,
    group_of,
    group_to_serve,
    is_group,
    namesake,
    parts_told,
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
    views = [elections(members, one, dict.fromkeys(reach[one], "f"), {}) for one in reach]
    assert all(view == views[0] for view in views)
    assert set(views[0]) == {group_of(name) for name in set().union(*reach.values())}
    for group, one in views[0].items():
        assert engine_of(group) in reach[one.claimer]
        assert one.standby is None or engine_of(group) in reach[one.standby]


def test_the_standby_claims_when_the_claimer_is_gone() -> None:
    members = [member(one, tags({"x": "f"}, {})) for one in IDS]
    one = elections(members, IDS[0], {"x": "f"}, {})["x/0"]
    assert one.standby is not None and one.standby != one.claimer
    left = [other for other in members if other.id != one.claimer]
    after = elections(left, left[0].id, {"x": "f"}, {})["x/0"]
    assert after.claimer == one.standby
    (last,) = {other.id for other in left} - {after.claimer}
    assert after.standby == last
    alone = [other for other in left if other.id == last]
    assert elections(alone, last, {"x": "f"}, {}) == {"x/0": Election(last, None)}


def test_a_member_knows_its_own_reach_before_its_tags_say_so() -> None:
    alone = [member(IDS[0], {})]
    assert elections(alone, IDS[0], {"x": "f"}, {}) == {"x/0": Election(IDS[0], None)}
    assert elections([member(IDS[0], tags({"x": "f"}, {}))], IDS[0], {}, {}) == {}


def test_the_claimers_of_several_engines_are_spread() -> None:
    names = [f"engine-{number}" for number in range(100)]
    said = tags(dict.fromkeys(names, "f"), {})
    found = elections([member(one, said) for one in IDS], IDS[0], dict.fromkeys(names, "f"), {})
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
    assert set(elections([odd], IDS[0], {}, {})) <= {"x/0"}
    assert term_seen_max([odd], "x") == 0


def test_the_highest_term_counts() -> None:
    members = [
        member(one, tags({}, {"x/0": Claim(term)}))
        for one, term in zip(IDS, (4, 9, 2), strict=True)
    ]
    assert term_seen_max(members, "x/0") == 9
    assert term_seen_max(members, "y/0") == 0


@pytest.mark.parametrize("term", [2**32, 2**64 - 1])
def test_a_term_that_leaves_no_room_for_the_next_is_not_believed(term: int) -> None:
    members = [
        member(IDS[0], tags({}, {"x/0": Claim(7)})),
        member(IDS[1], tags({}, {"x/0": Claim(term)})),
    ]
    assert term_seen_max(members, "x/0") == 7


def test_a_group_is_named_for_its_engine() -> None:
    assert engine_of(group_of("a/b")) == "a/b"


def test_more_engines_than_a_member_can_announce_are_refused_at_the_start() -> None:
    refuse_too_many(["camunda7", "camunda8", "embedded"])
    with pytest.raises(InputError, match="200 engines are more than one node can announce"):
        refuse_too_many([f"engine-{number}" for number in range(200)])


# --- parts

MANY = [f"{number:032x}" for number in range(12)]


def test_each_part_has_a_claimer_of_its_own_and_a_standby() -> None:
    members = [member(one, tags({"x": "f"}, {})) for one in MANY]
    found = elections(members, MANY[0], {"x": "f"}, {"x": 4})
    assert set(found) == {f"x/{part}" for part in range(4)}
    assert len({one.claimer for one in found.values()}) == 4
    assert all(one.standby not in (None, one.claimer) for one in found.values())
    # The claimers of fewer parts are the same: to grow moves nobody.
    fewer = elections(members, MANY[0], {"x": "f"}, {"x": 2})
    assert all(found[group].claimer == one.claimer for group, one in fewer.items())


@given(st.integers(1, 12), st.integers(1, PARTS_MAX))
def test_no_member_claims_for_two_parts_and_the_standby_follows(count: int, parts: int) -> None:
    members = [member(one, tags({"x": "f"}, {})) for one in MANY[:count]]
    found = elections(members, MANY[0], {"x": "f"}, {"x": parts})
    assert len(found) == len({one.claimer for one in found.values()}) == min(parts, count)
    for group, one in found.items():
        left = [other for other in members if other.id != one.claimer]
        if one.standby is not None and left:
            after = elections(left, left[0].id, {"x": "f"}, {"x": parts})
            assert after[group].claimer == one.standby


def test_credit_goes_to_the_parts_evenly() -> None:
    members = [member(one, tags({"x": "f"}, {})) for one in MANY]
    found = elections(members, MANY[0], {"x": "f"}, {"x": 4})
    served = [group_to_serve(members, one, found, "x") for one in MANY]
    assert {served.count(group) for group in found} == {3}
    assert group_to_serve(members, MANY[0], found, "y") is None


def test_the_first_parts_claimer_says_how_many_there_are() -> None:
    said = tags({"x": "f"}, {"x/0": Claim(3, 5)})
    members = [member(one, tags({"x": "f"}, {})) for one in MANY]
    found = elections(members, MANY[0], {"x": "f"}, {})
    (first,) = [one for one in members if one.id == found["x/0"].claimer]
    assert parts_told(members, found, "x") == 0  # it has nothing to say yet: what was, holds
    others = [one for one in members if one != first]
    assert parts_told([member(first.id, said), *others], found, "x") == 5
    assert parts_told([first, *(member(one.id, said) for one in others)], found, "x") == 0


@pytest.mark.parametrize(
    "claim",
    [[1, 0, 1, 1], [1, 99, 1, 1], [1, 1, -1, 1], [1, 1, 1, 2**40], [1, 1, 1], [True] * 4, 7],
)
def test_a_claim_that_cannot_be_is_not_believed(claim: Plain) -> None:
    assert claims_of(member(IDS[0], {"claims": {"x/0": claim}})) == {}


def test_what_is_told_fits() -> None:
    """One claim for each engine at most, whatever the parts: its tags have room for that."""
    assert is_group("a/b/7") and not is_group("x/8") and not is_group("x/00") and not is_group("x")
    largest = Claim(2**32 - 1, PARTS_MAX, 2**20, 2**20)
    assert claims_of(member(IDS[0], tags({}, {"x/1": largest}))) == {"x/1": largest}
