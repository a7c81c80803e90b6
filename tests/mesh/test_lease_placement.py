"""Rendezvous hashing: members agree, groups spread evenly, and little moves."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.leases.placement import rank

MEMBERS = st.lists(st.text(max_size=8), min_size=1, max_size=8, unique=True)


@given(st.text(max_size=12), MEMBERS, st.randoms(use_true_random=False))
def test_order_of_the_view_does_not_matter(group: str, members: list[str], rng: object) -> None:
    shuffled = list(members)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rank(group, shuffled) == rank(group, members)
    assert sorted(rank(group, members)) == sorted(members)


@given(st.text(max_size=12), MEMBERS, st.data())
def test_who_leaves_moves_only_its_own(group: str, members: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(members))
    before = rank(group, members)
    after = rank(group, [one for one in members if one != gone])
    assert after == [one for one in before if one != gone]


def test_nobody_to_rank() -> None:
    assert rank("e/a", []) == []


def test_groups_spread_evenly() -> None:
    members = [f"node-{number}" for number in range(10)]
    led = Counter(rank(f"engine/group-{number}", members)[0] for number in range(2_000))
    # 200 each on average; a standard deviation is 13, so this leaves five of them.
    assert set(led) == set(members)
    assert all(135 < count < 265 for count in led.values())
