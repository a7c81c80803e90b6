"""The core's parts, each by itself: precedence, formulas, queues, rounds, choices."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.swim.awareness import (
    ANSWERED,
    FAILED,
    NACK_MISSING,
    REFUTED,
    WOKE_LATE,
    Awareness,
)
from gossamer_mesh.swim.broadcast import MISFITS_MAX, Broadcasts
from gossamer_mesh.swim.codec import Profile
from gossamer_mesh.swim.config import (
    BOUNDS,
    Config,
    confirmations_wanted,
    log10_hundredths,
    retransmit_limit,
    suspicion_timeout_ms,
    sync_interval_ms,
)
from gossamer_mesh.swim.members import Member, Members
from gossamer_mesh.swim.probe import ANSWERED as ROUND_ANSWERED
from gossamer_mesh.swim.probe import FAILED as ROUND_FAILED
from gossamer_mesh.swim.probe import INDIRECT, Relay, Relays, Ring, Round
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.swim.state import ALIVE, DEAD, LEFT, SUSPECT, TRANSITIONS, UNKNOWN, supersedes
from gossamer_mesh.swim.suspicion import Suspicions, timeout_ms

STATES = (ALIVE, SUSPECT, DEAD, LEFT)
WORDS = [(incarnation, state) for incarnation in range(3) for state in STATES]


def test_words_are_in_a_total_order_so_all_agree_on_the_winner() -> None:
    for one, other in itertools.product(WORDS, WORDS):
        assert supersedes(*one, *other) + supersedes(*other, *one) == (one != other)
    for a, b, c in itertools.product(WORDS, WORDS, WORDS):
        if supersedes(*a, *b) and supersedes(*b, *c):
            assert supersedes(*a, *c)


@pytest.mark.parametrize("state", STATES)
def test_only_a_newer_claim_brings_a_member_back(state: int) -> None:
    assert not supersedes(5, ALIVE, 5, state)
    assert supersedes(6, ALIVE, 5, state)


def test_the_table_knows_every_change_that_can_win() -> None:
    ignored = {(held, heard) for held in (UNKNOWN, *STATES) for heard in STATES} - {*TRANSITIONS}
    assert ignored == {
        (UNKNOWN, SUSPECT),
        (UNKNOWN, DEAD),
        (UNKNOWN, LEFT),
        (DEAD, SUSPECT),
        (LEFT, SUSPECT),
    }


@given(st.integers(1, 10**7))
def test_the_logarithm_is_exact(count: int) -> None:
    hundredths = log10_hundredths(count)
    assert 10**hundredths <= count**100 < 10 ** (hundredths + 1)


@pytest.mark.parametrize(
    ("members", "suspicion_ms", "retransmits", "sync_ms"),
    [(1, 2_000, 8, 10_000), (9, 2_000, 8, 10_000), (10, 2_000, 8, 10_000), (32, 2_500, 8, 10_000),
     (33, 2_510, 8, 20_000), (100, 3_000, 12, 20_000), (1_000, 4_000, 16, 40_000)],
)  # fmt: skip
def test_formulas(members: int, suspicion_ms: int, retransmits: int, sync_ms: int) -> None:
    config = Config()
    assert suspicion_timeout_ms(config, members) == suspicion_ms
    assert retransmit_limit(config, members) == retransmits
    assert sync_interval_ms(config, members) == sync_ms


def test_every_field_has_bounds_and_a_default_within() -> None:
    fields = {name for name in vars(Config) if not name.startswith("_")}
    assert fields == set(BOUNDS)
    for name, (least, greatest) in BOUNDS.items():
        assert least <= getattr(Config, name) <= greatest


@pytest.mark.parametrize(
    "wrong", [{"probe_interval_ms": 1}, {"members_max": 10**9}, {"probe_timeout_ms": 500}, {"x": 1}]
)
def test_a_wrong_field_is_named(wrong: dict[str, int]) -> None:
    with pytest.raises(MisuseError, match=next(iter(wrong))):
        Config(**wrong)


def test_updates_go_least_sent_first_and_newest_among_them() -> None:
    queue = Broadcasts(waiting_max=10)
    queue.put("a", b"aaa")
    assert queue.take(100, 0, 3) == [b"aaa"]
    queue.put("b", b"bbb")
    queue.put("c", b"ccc")
    assert queue.take(6, 0, 3) == [b"ccc", b"bbb"]
    assert queue.take(9, 0, 3) == [b"ccc", b"bbb", b"aaa"]
    assert queue.take(9, 0, 3) == [b"ccc", b"bbb", b"aaa"]
    assert queue.take(9, 0, 3) == []


def test_a_newer_update_replaces_the_older_and_starts_anew() -> None:
    queue = Broadcasts(waiting_max=10)
    queue.put("a", b"old")
    queue.take(100, 0, 2)
    queue.put("a", b"new")
    assert [queue.take(100, 0, 2) for _ in range(3)] == [[b"new"], [b"new"], []]


def test_what_does_not_fit_waits_for_a_larger_room() -> None:
    queue = Broadcasts(waiting_max=10)
    queue.put("large", bytes(50))
    queue.put("small", bytes(5))
    assert queue.take(10, 3, 1) == [bytes(5)]
    assert queue.take(53, 3, 1) == [bytes(50)]


def test_a_full_queue_drops_what_was_sent_most() -> None:
    queue = Broadcasts(waiting_max=2)
    queue.put("a", b"a")
    queue.take(100, 0, 9)
    queue.put("b", b"b")
    queue.put("c", b"c")
    assert (len(queue), queue.dropped) == (2, 1)
    assert queue.take(100, 0, 9) == [b"c", b"b"]


def test_thousands_of_updates_cost_neither_time_nor_memory() -> None:
    queue = Broadcasts(waiting_max=4_096)
    for number in range(10_000):
        queue.put(str(number % 5_000), bytes(40))
        assert len(queue._heap) <= 2 * len(queue) + 16
    assert len(queue) <= 4_096
    assert queue.dropped >= 904
    queue = Broadcasts(waiting_max=4_096)
    for number in range(MISFITS_MAX):
        queue.put(str(number), bytes(900))
    queue.put("small and older", bytes(5))
    queue.take(10, 3, 9)
    for number in range(MISFITS_MAX):
        queue.put(str(number), bytes(900))
    # So many long ones in front of it are passed over, and then the frame goes out as it is.
    assert queue.take(10, 3, 9) == []
    assert len(queue) == MISFITS_MAX + 1


def test_a_round_asks_directly_then_indirectly_then_gives_up() -> None:
    probe = Round("target", 7, asking_ms=[100, 200], end_ms=300)
    assert probe.timer_ms == 100
    assert probe.take_timeout() == INDIRECT
    assert probe.timer_ms == 200
    assert probe.take_timeout() == INDIRECT
    assert probe.timer_ms == 300
    assert not probe.is_answered_by(7, "other")
    assert not probe.is_answered_by(8, "target")
    assert probe.is_answered_by(7, "target")
    assert probe.take_timeout() == ROUND_FAILED
    assert probe.timer_ms is None
    assert not probe.is_answered_by(7, "target")
    with pytest.raises(KeyError):
        probe.take("ack")


def test_an_answer_ends_a_round() -> None:
    probe = Round("target", 7, asking_ms=[100, 200], end_ms=300)
    assert probe.take("ack") == ROUND_ANSWERED
    assert probe.timer_ms is None


def test_each_relay_that_says_nothing_counts_and_each_nack_once() -> None:
    probe = Round("target", 7, asking_ms=[100, 200], end_ms=300)
    probe.take_nack(7, "a")
    probe.take_timeout()
    probe.ask(["a", "b"])
    probe.take_timeout()
    probe.ask(["c", "b"])
    for sequence, relay in [(7, "a"), (7, "a"), (8, "b"), (7, "stranger")]:
        probe.take_nack(sequence, relay)
    assert (probe.asked, probe.unheard) == (["a", "b", "c"], ["b", "c"])
    probe.take_timeout()
    probe.take_nack(7, "b")
    assert probe.unheard == ["b", "c"]


def test_every_member_has_its_turn_once_per_round() -> None:
    ring, rng = Ring(), Rng(1)
    members = ["a", "b", "c", "d", "us"]
    for _ in range(5):
        assert sorted(str(ring.next(members, "us", rng)) for _ in range(4)) == members[:4]
    assert ring.next(["us"], "us", rng) is None


def test_a_new_member_takes_part_in_the_running_round_and_a_gone_one_does_not() -> None:
    ring, rng = Ring(), Rng(1)
    members = ["a", "b", "c"]
    seen = [ring.next(members, "us", rng)]
    ring.add("d", rng)
    ring.add("d", rng)
    gone = "b" if seen == ["a"] else "a"
    ring.remove(gone)
    ring.remove(gone)
    members = sorted({*members, "d"} - {gone})
    seen += [ring.next(members, "us", rng) for _ in range(2)]
    assert gone not in seen
    assert "d" in seen


def relay_of(target: str, now_ms: int) -> Relay:
    asker, place = ("10.0.0.1", 1), ("10.0.0.2", 1)
    return Relay(
        target, place, asker=asker, asked_sequence=9, nack_ms=now_ms + 200, end_ms=now_ms + 500
    )


def test_relays_answer_once_and_are_bounded() -> None:
    relays = Relays(running_max=2)
    assert relays.start(1, relay_of("t", 0))
    assert relays.start(2, relay_of("t", 10))
    assert not relays.start(3, relay_of("t", 20))
    assert relays.answered(1, "other") is None
    answered = relays.answered(1, "t")
    assert answered is not None
    assert (answered.asker, answered.asked_sequence) == (("10.0.0.1", 1), 9)
    assert relays.answered(1, "t") is None
    assert len(relays) == 1


def test_a_relay_says_no_in_time_and_still_hands_on_a_late_answer() -> None:
    relays = Relays(running_max=9)
    relays.start(1, relay_of("t", 0))
    relays.start(2, relay_of("u", 100))
    assert relays.timer_ms() == 200
    assert relays.refused(199) == []
    assert [(number, each.target) for number, each in relays.refused(200)] == [(1, "t")]
    assert relays.timer_ms() == 300
    assert relays.answered(1, "t") is not None
    assert [(number, each.target) for number, each in relays.refused(300)] == [(2, "u")]
    assert relays.refused(599) == []
    assert len(relays) == 1
    assert relays.refused(600) == []
    assert (len(relays), relays.timer_ms()) == (0, None)


def test_a_relay_that_slept_says_no_once_and_is_over() -> None:
    relays = Relays(running_max=9)
    relays.start(1, relay_of("t", 0))
    assert len(relays.refused(9_000)) == 1
    assert (len(relays), relays.timer_ms()) == (0, None)


@pytest.mark.parametrize(
    ("confirmed", "wanted", "lasts_ms"),
    [(0, 0, 2_000), (0, 2, 12_000), (1, 2, 5_618), (2, 2, 2_000), (9, 2, 2_000),
     (0, 3, 12_000), (1, 3, 7_000), (2, 3, 4_167), (3, 3, 2_000), (0, 1, 12_000), (1, 1, 2_000)],
)  # fmt: skip
def test_a_suspicion_gets_shorter_with_each_confirmation(
    confirmed: int, wanted: int, lasts_ms: int
) -> None:
    assert timeout_ms(confirmed, wanted, 2_000, 12_000) == lasts_ms


@pytest.mark.parametrize(
    ("members", "wanted"), [(1, 0), (2, 0), (3, 0), (4, 2), (5, 2), (1_000, 2)]
)
def test_nobody_waits_for_confirmations_of_members_that_are_not_there(
    members: int, wanted: int
) -> None:
    assert confirmations_wanted(Config(), members) == wanted


def suspicions_of(wanted: int = 0) -> Suspicions:
    """Of ten members: they last from 200 to 1,200 ms."""
    config = Config(probe_interval_ms=50, probe_timeout_ms=20, suspicion_confirmations=wanted)
    return Suspicions(config)


def suspect(suspicions: Suspicions, id: str, now_ms: int) -> None:
    suspicions.start(id, "x", 10, now_ms)


def test_suspicions_expire_in_their_time() -> None:
    suspicions = suspicions_of()
    assert suspicions.timer_ms() is None
    suspect(suspicions, "b", 0)
    suspect(suspicions, "a", 0)
    suspect(suspicions, "c", 100)
    assert suspicions.timer_ms() == 200
    assert suspicions.expired(199) == []
    assert suspicions.expired(200) == ["a", "b"]
    suspicions.put_off(50)
    assert suspicions.expired(249) == []
    suspicions.end("a")
    assert suspicions.timer_ms() == 250
    assert suspicions.expired(250) == ["b"]
    suspicions.end("b")
    assert suspicions.timer_ms() == 350


def test_confirmations_count_once_for_each_accuser_and_only_while_wanted() -> None:
    suspicions = suspicions_of(wanted=2)
    assert not suspicions.confirm("a", "y")
    suspect(suspicions, "a", 0)
    assert suspicions.timer_ms() == 1_200
    assert not suspicions.confirm("a", "x")
    assert suspicions.confirm("a", "y")
    assert not suspicions.confirm("a", "y")
    assert suspicions.timer_ms() == 562
    assert suspicions.confirm("a", "z")
    assert not suspicions.confirm("a", "w")
    assert suspicions.timer_ms() == 200
    # A newer incarnation is suspected anew.
    suspect(suspicions, "a", 100)
    assert suspicions.timer_ms() == 1_300
    assert suspicions.shorten("a") == 300
    assert suspicions.timer_ms() == 300
    assert suspicions.shorten("b") is None


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 5), st.integers(0, 400))))
def test_the_next_deadline_of_suspicions_is_always_the_earliest(
    steps: list[tuple[str, int, int]],
) -> None:
    suspicions = suspicions_of(wanted=2)
    now_ms = 0
    for id, what, number in steps:
        now_ms += number
        if what < 2:
            suspect(suspicions, id, now_ms)
        elif what == 2:
            suspicions.confirm(id, str(number))
        elif what == 3:
            suspicions.end(id)
        elif what == 4:
            suspicions.put_off(number)
        else:
            suspicions.shorten(id)
        next_ms = suspicions.timer_ms()
        assert (next_ms is None) == (len(suspicions) == 0)
        if next_ms is not None:
            assert suspicions.expired(next_ms - 1) == []
            assert suspicions.expired(next_ms) != []


def test_health_stays_within_its_bounds_and_scales_what_it_is_asked() -> None:
    health = Awareness(4)
    assert health.scale(500) == 500
    health.take(ANSWERED)
    assert health.score == 0
    health.take(NACK_MISSING, 2)
    health.take(WOKE_LATE)
    health.take(FAILED)
    health.take(REFUTED)
    assert (health.score, health.scale(500)) == (3, 2_000)
    health.take(ANSWERED)
    assert health.score == 2
    off = Awareness(1)
    off.take(NACK_MISSING, 3)
    assert off.scale(500) == 500


def member(id: str, state: int, since_ms: int = 0) -> Member:
    profile = Profile("10.0.0.1", 1, "", b"", 0)
    return Member(
        id=id,
        state=state,
        incarnation=0,
        profile=profile,
        claim=b"",
        verdict=b"",
        since_ms=since_ms,
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(STATES), st.integers(0, 3))))
def test_the_orders_of_the_table_are_kept(steps: list[tuple[int, int, int]]) -> None:
    members, plain, now_ms = Members("00"), dict[str, Member](), 0
    for number, state, later_ms in steps:
        now_ms += later_ms
        changed = member(f"{number:02}", state, now_ms)
        members.put(changed)
        plain[changed.id] = changed
        present = sorted(id for id in plain if plain[id].is_present)
        gone = [each for each in plain.values() if not each.is_present]
        assert members.present() == present
        assert members.gone() == sorted(gone, key=lambda each: (each.since_ms, each.id))
        assert members.peer_count() == len([id for id in present if id != "00"])
        assert members.has_gone_since(now_ms) == any(each.since_ms == now_ms for each in gone)


@pytest.mark.parametrize("size", [1, 3, 16, 17, 200])
def test_members_are_drawn_fairly_without_ourselves_and_the_long_gone(size: int) -> None:
    members, rng = Members("000"), Rng(size)
    for number in range(size):
        members.put(member(f"{number:03}", SUSPECT if number % 2 else ALIVE))
    members.put(member("x", DEAD, since_ms=5))
    members.put(member("y", DEAD, since_ms=10))
    members.put(member("z", LEFT, since_ms=10))
    counts: dict[str, int] = {}
    for _ in range(200):
        drawn = members.draw(rng, 3, is_wanted=lambda each: each.state != LEFT, gone_since_ms=10)
        assert len({each.id for each in drawn}) == len(drawn) == min(3, size)
        for each in drawn:
            counts[each.id] = counts.get(each.id, 0) + 1
    assert not {"000", "x", "z"} & {*counts}
    assert len(counts) >= min(size, 150)


def test_tombstones_go_by_age_and_number_the_oldest_first() -> None:
    members = Members("us")
    for number in range(6):
        members.put(member(str(number), DEAD, since_ms=number))
    members.put(member("us", LEFT, since_ms=1))
    assert members.forget_surplus(2, 99) == ["0", "1"]
    assert members.forget_surplus(2, 3) == ["2", "3"]
    assert [each.id for each in members.gone()] == ["us", "4", "5"]


def test_choices_repeat_with_their_seed_and_are_fair() -> None:
    one, same, other = Rng(5), Rng(5), Rng(6)
    assert [one.bits() for _ in range(9)] == [same.bits() for _ in range(9)]
    assert [one.bits() for _ in range(9)] != [other.bits() for _ in range(9)]
    counts = [0] * 10
    for _ in range(20_000):
        counts[one.below(10)] += 1
    assert min(counts) > 1_800
    # The reference: Marsaglia's triple (13, 17, 5) from state 1.
    reference = Rng(0)
    reference._state = 1
    assert [reference.bits() for _ in range(3)] == [270369, 67634689, 2647435461]


@given(st.lists(st.integers(), unique=True, max_size=30), st.integers(0, 40), st.integers())
def test_samples_are_different_items(items: list[int], count: int, seed: int) -> None:
    sample = Rng(seed).sample(items, count)
    assert len(sample) == len(set(sample)) == min(count, len(items))
    assert set(sample) <= set(items)
