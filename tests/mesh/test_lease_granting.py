"""Who gets a waiting job: credit, then a warm module, then chance; by priority, then by age."""

from collections import Counter

import pytest

from gossamer_mesh.leases import granting
from gossamer_mesh.leases.credit import HolderView
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import Grant, LeaseId, Offer, TopicTerms
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.testing import two_choices
from gossamer_mesh.testing.lease_bench import CONFIG, LOCK_MS, ClaimerBench


def view(
    slots: int, *, warm: bool = False, topic: str = "t", room_bytes: int = 1_000
) -> HolderView:
    holder = HolderView(1, 0)
    holder.topics = {topic: TopicTerms(topic, LOCK_MS, warm=warm)}
    holder.offer(slots, room_bytes, 0, 0)
    return holder


def job(key: str = "j", *, payload: bytes = b"", priority: int = 0, counter: int = 1) -> Lease:
    lease_id = LeaseId("e/a", key, "c", 1, 1, counter)
    one = Lease(lease_id, "t", b"", payload, LOCK_MS, LOCK_MS, "regrant", 0)
    one.priority = priority
    return one


def chosen(holders: dict[str, HolderView], one: Lease | None = None, tries: int = 60) -> set[str]:
    rng = Rng(3)
    found = {granting.choose(holders, one or job(), CONFIG, rng) for _ in range(tries)}
    return {each for each in found if each is not None}


def test_only_who_serves_the_topic_and_has_room_is_chosen() -> None:
    holders = {
        "other": view(9, topic="u"),
        "small": view(9, room_bytes=2),
        "busy": view(0),
        "fits": view(1),
    }
    assert chosen(holders, job(payload=b"xxx")) == {"fits"}
    del holders["fits"]
    assert chosen(holders, job(payload=b"xxx")) == set()


def test_a_warm_module_comes_before_more_credit_until_the_node_is_crowded() -> None:
    holders = {"cold": view(8), "warm": view(4, warm=True)}
    assert chosen(holders) == {"warm"}
    holders["warm"].grant(1, 0, 0)
    assert chosen(holders) == {"cold"}


def test_of_two_warm_nodes_the_one_with_more_credit_is_chosen() -> None:
    assert chosen({"a": view(4, warm=True), "b": view(5, warm=True), "c": view(6)}) == {"b"}


def test_between_equals_no_node_is_always_the_first() -> None:
    rng = Rng(7)
    holders = {f"h{number}": view(5) for number in range(4)}
    counted = Counter(granting.choose(holders, job(), CONFIG, rng) for _ in range(400))
    assert set(counted) == set(holders) and min(counted.values()) > 60, counted


def test_the_same_seed_chooses_the_same() -> None:
    holders = {f"h{number}": view(5) for number in range(4)}
    again = dict(reversed(holders.items()))  # a dict has no order that counts
    one, other = Rng(5), Rng(5)
    assert [granting.choose(holders, job(), CONFIG, one) for _ in range(50)] == [
        granting.choose(again, job(), CONFIG, other) for _ in range(50)
    ]


def test_the_highest_priority_goes_first_and_then_the_oldest() -> None:
    waiting = {
        one.id.key: one
        for one in (
            job("young", counter=3),
            job("urgent", counter=4, priority=9),
            job("old", counter=2),
            job("humble", counter=1, priority=-1),
        )
    }
    taken = []
    while (one := granting.pick({"h": view(9)}, waiting, "h", True, CONFIG)) is not None:
        taken.append(one.id.key)
        del waiting[one.id.key]
    assert taken == ["urgent", "old", "young", "humble"]


def test_a_claimer_grants_what_it_got_back_by_priority() -> None:
    bench = ClaimerBench()
    bench.join("h1", 2)
    for key, priority in (("low", 1), ("high", 7)):
        bench.claimer.handle_activated(
            key, "t", LOCK_MS, bench.now_ms + LOCK_MS, b"", b"", bench.now_ms, priority
        )
    assert len(bench.sent(Grant)) == 2
    bench.join("h2", 0)
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    assert bench.sent(Grant) == []  # nobody has a slot
    bench.tell("h2", Offer("e/a", 5, 50, 1, 1_000, 0, 0))
    assert [grant.lease.key for _, grant in bench.sent(Grant)] == ["high"]


@pytest.mark.parametrize("holders", [3, 10, 50])
def test_a_lost_lease_runs_sooner_in_the_next_free_slot_of_all_than_in_one_of_two(
    holders: int,
) -> None:
    """Why there is no backlog at a holder: the choice that was left out would be the slower one."""
    for work_ms in (1_000, 10_000):
        for varies in (True, False):
            next_ms = two_choices.percentiles_ms(1, holders, work_ms, False, varies)
            two_ms = two_choices.percentiles_ms(1, holders, work_ms, True, varies)
            assert next_ms[0] < two_ms[0] and next_ms[1] < two_ms[1]


def test_large_payloads_go_one_after_the_other_and_are_not_given_back() -> None:
    """With all under way at once, the last arrive after their grants were taken for lost."""
    half = CONFIG.under_way_bytes_max // 2
    bench = ClaimerBench()
    bench.heartbeat("h1")
    bench.offer("h1", 9, bytes_free=2**26)
    for key in ("j1", "j2", "j3", "j4"):
        bench.activate(key, payload=bytes(half))
    sent = bench.sent(Grant)
    assert [grant.lease.key for _, grant in sent] == ["j1", "j2"]
    assert bench.claimer.events() == []
    assert bench.claimer.credit() == 5
    bench.offer("h1", 7, seen=sent[-1][1].lease.counter, bytes_free=2**26)
    assert [grant.lease.key for _, grant in bench.sent(Grant)] == ["j3", "j4"]


def test_a_payload_beyond_the_bound_goes_alone() -> None:
    bench = ClaimerBench()
    bench.heartbeat("h1")
    bench.offer("h1", 9, bytes_free=2**26)
    bench.activate("j1", payload=bytes(CONFIG.under_way_bytes_max + 1))
    bench.activate("j2")
    assert [grant.lease.key for _, grant in bench.sent(Grant)] == ["j1"]
