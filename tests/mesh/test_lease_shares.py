"""A holder's slots among claim groups: fair, never offered twice, quick to follow the use."""

from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.holder import Holder
from gossamer_mesh.leases.messages import Grant, LeaseId, Offer, Refuse, TopicTerms
from gossamer_mesh.leases.shares import Shares, split

WANTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50))


@given(st.integers(0, 60), WANTS, st.integers(0, 9))
def test_a_split_is_max_min_fair(slots: int, wants: dict[str, int], turn: int) -> None:
    shares = split(slots, wants, turn)
    assert shares.keys() == wants.keys()
    assert sum(shares.values()) == min(slots, sum(wants.values()))
    for name, share in shares.items():
        assert 0 <= share <= wants[name]
        if share < wants[name]:
            # Nobody has two more than one who would take more.
            assert all(other <= share + 1 for other in shares.values())


def test_with_fewer_slots_than_groups_each_has_its_turn() -> None:
    wants = dict.fromkeys("abc", 5)
    served = [name for turn in range(6) for name, share in split(1, wants, turn).items() if share]
    assert sorted(served) == ["a", "a", "b", "b", "c", "c"]


def test_an_idle_group_ties_up_one_slot_and_a_busy_one_gets_the_rest() -> None:
    shares = Shares()
    running = {"busy": 0}
    offers = shares.offers(16, ["busy", "idle"], running)
    rounds = 0
    while running["busy"] < 15:
        assert offers["idle"] == 1 and offers["busy"] > 0
        for _ in range(offers["busy"]):
            shares.note_grant("busy")
            running["busy"] += 1
        offers = shares.offers(16 - running["busy"], ["busy", "idle"], running)
        rounds += 1
    assert rounds <= 4
    assert offers == {"busy": 0, "idle": 1}


def test_a_free_slot_that_its_group_has_no_use_for_is_offered_to_the_others_in_turn() -> None:
    """One that runs less than its part would keep the slot for ever, while another has a job."""
    shares = Shares()
    running = {"a": 2, "b": 1, "c": 4}
    offered = []
    for _ in range(6):
        shares.note_heartbeat()
        offers = shares.offers(1, list(running), running)
        offered += [group for group in offers if offers[group]]
        assert sum(offers.values()) == 1
    assert sorted(offered) == ["a", "a", "b", "b", "c", "c"]


def test_two_busy_groups_come_to_half_each_also_when_one_was_there_first() -> None:
    shares = Shares()
    groups = ["first", "second"]
    running = dict.fromkeys(groups, 0)
    for step in range(400):
        if step % 20 == 0:
            shares.note_heartbeat()
        free = 16 - sum(running.values())
        wanting = groups if step > 50 else groups[:1]
        offers = shares.offers(free, groups, running)
        for group in wanting:
            for _ in range(offers[group]):
                shares.note_grant(group)
                running[group] += 1
        # The oldest job of whoever has more ends: jobs of both take equally long.
        ends = groups[step % 2] if step > 50 else "first"
        running[ends] = max(0, running[ends] - 1)
        if step == 50:
            assert running["first"] >= 14
    assert abs(running["first"] - running["second"]) <= 2, running


def test_an_unused_window_closes_within_a_few_heartbeats() -> None:
    shares = Shares()
    for _ in range(31):
        shares.note_grant("a")
    assert shares.offers(32, ["a", "b"], {})["a"] == 31
    shares.note_heartbeat()  # it was used just now
    shares.note_heartbeat()
    assert shares.offers(32, ["a", "b"], {}) == {"a": 1, "b": 1}


@given(
    st.integers(0, 40),
    st.lists(st.sampled_from("abcd"), max_size=60),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 20)),
)
def test_no_slot_is_offered_twice(
    slots_free: int, grants: list[str], running: dict[str, int]
) -> None:
    shares = Shares()
    for group in grants:
        shares.note_grant(group)
    for groups in (["a"], ["a", "b"], list("abcd")):
        offers = shares.offers(slots_free, groups, running)
        assert set(offers) == set(groups)
        assert sum(offers.values()) <= slots_free


def test_a_holder_of_two_engines_refuses_no_grant_that_it_offered() -> None:
    """With all its slots offered to both, half of the jobs found none and went back."""
    holder = Holder(1, 8, 2**20, LeaseConfig())
    holder.set_members({"c", "d"})
    for engine, claimer in (("x/0", "c"), ("y/0", "d")):
        holder.serve(engine, [TopicTerms("t", 30_000)])
        holder.set_claimer(engine, claimer)
    counter = 0
    refused = granted = 0
    for now_ms in range(0, 5_000, 100):
        holder.handle_timer(now_ms)
        for claimer, message in holder.messages_to_send():
            refused += isinstance(message, Refuse)
            if isinstance(message, Offer):
                for _ in range(message.slots_free):
                    counter += 1
                    granted += 1
                    lease = LeaseId(message.group, f"j{counter}", claimer, 7, 1, counter)
                    holder.receive_message(claimer, Grant(lease, "t", 30_000, b"", b""), now_ms)
    assert granted == 8 and refused == 0
