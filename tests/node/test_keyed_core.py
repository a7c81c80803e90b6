"""What one member does about keys, step by step, and what it makes of junk."""

from random import Random
from typing import Any

import pytest

from gossamer_mesh.drivers import streams
from gossamer_mesh.packing import pack, unpack
from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.circle import FILTER_BYTES, Peer, View, filter_of, is_named
from gossamer_node.keyed.core import LONELY_MS, Core
from gossamer_node.keyed.floor import Failure, Reading, Stored, Writing, Written
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.promises import PROMISES_MAX, Promises
from gossamer_node.keyed.runs import KEEP_MS, UNHEARD_MS, Done, Granted, Lost
from gossamer_node.keyed.sweeping import REPEAT_MS, WINDOW, Sweep
from gossamer_node.keyed.versions import LINE_MAX, NOTHING, Version, forked, newer

SERVICE = "count"
PEER = Peer(1, filter_of([SERVICE]))
OWN, OTHER, THIRD = "me", "other", "third"


def key_led_by(member: str, *members: str) -> Key:
    """A key whose home is a member."""
    view = View(member)
    view.set(dict.fromkeys(set(members) - {member}, PEER))
    for number in range(1_000):
        key = Key(SERVICE, "", f"k{number}")
        if view.circle(key)[0] == member:
            return key
    raise AssertionError("a thousand keys are led by others")


class Member:
    """A core whose disk answers at once."""

    def __init__(self, *others: str, busy: bool = False, lonely_until_ms: int = 0) -> None:
        self.now_ms = 0
        self.busy = busy
        self.core = Core(OWN, 7, lambda key: self.busy, lonely_until_ms)
        self.disk: dict[Key, Stored] = {}
        self.fails = False
        self.see(*others)

    def see(self, *others: str) -> None:
        self.core.set_members(dict.fromkeys(others, PEER), self.now_ms)
        self.work()

    def work(self) -> None:
        while asks := self.core.disk_asks():
            for ask in asks:
                self.core.disk_did(ask.number, self._did(ask), self.now_ms)

    def _did(self, ask: Reading | Writing) -> Stored | Written | Failure:
        if self.fails:
            return Failure("could not be read, as its disk is gone")
        before = self.disk.get(ask.key, Stored())
        if isinstance(ask, Reading):
            return before
        if before.version.ballot > ask.ballot:
            return Written(before.version.ballot[0])
        self.disk[ask.key] = Stored(ask.version, ask.state, ask.answers)
        return Written()

    def hear(self, sender: str, message: wire.Message) -> list[tuple[str, wire.Message]]:
        self.core.receive(sender, message, self.now_ms)
        self.work()
        return self.core.messages_to_send()

    def later(self, delay_ms: int) -> list[tuple[str, wire.Message]]:
        self.now_ms += delay_ms
        self.core.handle_timer(self.now_ms)
        self.work()
        return self.core.messages_to_send()

    def enter(self, key: Key, job: str = "1", limit_ms: int = 1_000) -> int:
        number = self.core.enter(key, "e", job, limit_ms, 8, self.now_ms)
        self.work()
        return number


def consult(key: Key, term: int, home: str, *circle: str) -> wire.Consult:
    return wire.Consult(key, (term, home), circle or (home, OWN), NOTHING, ())


def test_a_home_that_has_not_asked_all_hears_whom_it_left_out() -> None:
    member = Member(OTHER, THIRD)
    key = key_led_by(OTHER, OWN, OTHER, THIRD)
    ((to, said),) = member.hear(OTHER, consult(key, 1, OTHER, OTHER, OWN))
    assert (to, said) == (OTHER, wire.Others(key, (1, OTHER), (THIRD,)))


def test_who_follows_a_ballot_refuses_lower_ones() -> None:
    member = Member(OTHER, THIRD)
    key = key_led_by(OTHER, OWN, OTHER, THIRD)
    all_of_them = (OTHER, THIRD, OWN)
    assert isinstance(member.hear(OTHER, consult(key, 5, OTHER, *all_of_them))[0][1], wire.Has)
    ((_, said),) = member.hear(THIRD, consult(key, 4, THIRD, *all_of_them))
    assert said == wire.Outbid(key, (4, THIRD), 5)
    version = NOTHING.next((4, THIRD))
    ((_, said),) = member.hear(THIRD, wire.Copy(key, (4, THIRD), version, b"x", ()))
    assert said == wire.Outbid(key, (4, THIRD), 5)
    assert key not in member.disk


def test_a_grant_of_a_home_that_was_replaced_is_void() -> None:
    member = Member(OTHER, THIRD)
    key = key_led_by(OTHER, OWN, OTHER, THIRD)
    run = member.enter(key)
    ((to, ask),) = member.core.messages_to_send()
    assert to == OTHER and isinstance(ask, wire.Ask)
    member.hear(THIRD, consult(key, 9, THIRD, OTHER, THIRD, OWN))
    member.hear(OTHER, wire.Grant(key, run, ask.attempt, NOTHING, b""))
    assert member.core.told() == []


def test_a_turn_goes_on_under_the_next_home() -> None:
    member = Member(OTHER, THIRD)
    key = key_led_by(OTHER, OWN, OTHER, THIRD)
    run = member.enter(key)
    ((_, ask),) = member.core.messages_to_send()
    assert isinstance(ask, wire.Ask)
    member.hear(OTHER, wire.Grant(key, run, ask.attempt, NOTHING, b""))
    assert member.core.told() == [Granted(run, NOTHING, b"")]
    ((_, has),) = member.hear(THIRD, consult(key, 9, THIRD, OTHER, THIRD, OWN))
    assert isinstance(has, wire.Has)
    assert (has.run, has.attempt, has.left_ms) == (run, ask.attempt, 1_000 + KEEP_MS)
    member.see(THIRD)
    member.core.keep(run, b"state", b"outcome", member.now_ms)
    ((to, keep),) = member.core.messages_to_send()
    assert to == THIRD and isinstance(keep, wire.Keep)
    version = NOTHING.next((9, THIRD))
    member.hear(THIRD, wire.Kept(key, run, version))
    assert member.core.told() == [Done(run, version)]


def test_a_job_that_runs_here_without_a_turn_holds_a_new_home_up() -> None:
    member = Member(OTHER, busy=True)
    key = key_led_by(OTHER, OWN, OTHER)
    ((_, has),) = member.hear(OTHER, consult(key, 1, OTHER))
    assert isinstance(has, wire.Has) and has.busy
    member.busy = False
    ((_, has),) = member.hear(OTHER, consult(key, 1, OTHER))
    assert isinstance(has, wire.Has) and not has.busy


def test_a_home_that_nobody_has_heard_of_yet_is_followed() -> None:
    member = Member()
    key = Key(SERVICE, "", "k")
    assert member.core.is_alone(key, 0)
    member.hear(OTHER, consult(key, 1, OTHER))
    assert not member.core.is_alone(key, 0)
    member.enter(key)
    assert [to for to, _ in member.core.messages_to_send()] == [OTHER]
    assert member.core.is_alone(Key(SERVICE, "", "another"), 0)


def test_who_followed_a_home_that_is_gone_writes_above_its_ballot() -> None:
    member = Member(OTHER)
    key = key_led_by(OTHER, OWN, OTHER)
    member.hear(OTHER, consult(key, 5, OTHER))
    member.see()
    member.now_ms += 60_000
    assert not member.core.is_alone(key, member.now_ms)
    run = member.enter(key)
    assert member.core.told() == [Granted(run, NOTHING, b"")]
    member.core.keep(run, b"state", b"outcome", member.now_ms)
    member.work()
    assert member.disk[key].version == NOTHING.next((6, OWN))
    late = wire.Copy(key, (5, OTHER), NOTHING.next((5, OTHER)), b"late", ())
    assert member.hear(OTHER, late) == [(OTHER, wire.Outbid(key, (5, OTHER), 6))]


def test_a_job_whose_home_is_silent_is_lost_in_time_and_says_for_whom_it_waited() -> None:
    member = Member(OTHER)
    run = member.enter(key_led_by(OTHER, OWN, OTHER), limit_ms=60_000)
    for _ in range(UNHEARD_MS // 500):
        assert member.core.told() == []
        member.later(500)
    assert member.core.told() == [Lost(run, "unheard", members=(OTHER,))]
    assert member.core.statistics()["runs"] == 0


def test_a_job_whose_time_is_over_says_that_others_had_the_turn() -> None:
    member = Member(OTHER)
    key = key_led_by(OWN, OWN, OTHER)
    first = member.enter(key)
    for to, said in member.core.messages_to_send():
        assert to == OTHER and isinstance(said, wire.Consult)
        member.hear(OTHER, wire.Has(key, said.ballot, NOTHING, None, (), (), 0, 0, 0, 0, False))
    assert member.core.told() == [Granted(first, NOTHING, b"")]
    second = member.enter(key, "2")
    member.later(900)
    assert member.core.told() == []
    member.later(100)
    assert member.core.told() == [Lost(second, "waited", members=(OWN,))]


def test_a_home_waits_for_the_word_of_all_and_says_for_whose() -> None:
    member = Member(OTHER, THIRD)
    key = key_led_by(OWN, OWN, OTHER, THIRD)
    run = member.enter(key, limit_ms=60_000)
    asked = {to: said for to, said in member.core.messages_to_send() if said.WORD == "consult"}
    assert set(asked) == {OTHER, THIRD}
    one = asked[OTHER]
    assert isinstance(one, wire.Consult)
    member.hear(OTHER, wire.Has(key, one.ballot, NOTHING, None, (), (), 0, 0, 0, 0, False))
    for _ in range(UNHEARD_MS // 500):
        assert member.core.told() == []
        member.later(500)
    assert member.core.told() == [Lost(run, "unheard", members=(THIRD,))]


def test_a_disk_that_fails_fails_the_job_with_its_sentence() -> None:
    member = Member(OTHER)
    member.fails = True
    run = member.enter(key_led_by(OWN, OWN, OTHER))
    (lost,) = member.core.told()
    assert lost == Lost(run, wire.DISK, "could not be read, as its disk is gone")


def test_a_node_that_has_met_others_waits_for_them_before_it_works_alone() -> None:
    member = Member(lonely_until_ms=LONELY_MS)
    key = Key(SERVICE, "", "k")
    assert not member.core.is_alone(key, 0)
    run = member.enter(key, limit_ms=60_000)
    member.later(LONELY_MS - 1)
    assert member.core.told() == []
    member.later(1_000)
    assert member.core.told() == [Granted(run, NOTHING, b"")]
    assert not member.core.is_alone(key, member.now_ms)  # the run's turn is still there


def test_fewer_wait_than_the_asker_allows() -> None:
    member = Member(OTHER)
    key = key_led_by(OWN, OWN, OTHER)
    refused = 0
    for number in range(5):
        ask = wire.Ask(key, number, 1, "e", str(number), 1_000, 3)
        said = [one for to, one in member.hear(OTHER, ask) if isinstance(one, wire.Refuse)]
        refused += len(said)
        assert all(one.why == wire.FULL for one in said)
    assert refused == 2


def test_versions_tell_their_histories_apart() -> None:
    first = NOTHING
    for _ in range(5):
        first = first.next((1, "a"))
    one, other = first.next((1, "a")), first.next((2, "b"))
    assert forked(one, other) and newer(other, one)
    assert not forked(first, one) and not forked(first, other) and not forked(NOTHING, one)
    longer = one.next((1, "a"))
    assert forked(longer, other) and newer(longer, other)
    for term in range(3, 20):
        other = other.next((term, "b"))
    assert len(other.line) == LINE_MAX
    assert other.reign_at(3) is None and not forked(first, other)


def test_a_filter_names_what_was_put_in() -> None:
    names = [f"service-{number}" for number in range(16)]
    made = filter_of(names)
    assert len(made) == FILTER_BYTES and all(is_named(made, one) for one in names)
    wrong = sum(is_named(made, f"other-{number}") for number in range(2_000))
    assert wrong < 40
    assert filter_of([]) == b"" and not is_named(b"", "any")


def test_promises_are_bounded() -> None:
    promises = Promises()
    for number in range(PROMISES_MAX + 10):
        promises.follow(Key(SERVICE, "", str(number)), (1, OTHER), 0)
    assert len(promises) == PROMISES_MAX
    assert promises.get(Key(SERVICE, "", "9")) is None


def test_a_walk_tells_of_each_key_until_it_is_answered() -> None:
    sweep = Sweep()
    assert sweep.is_over()
    sweep.begin()
    version = NOTHING.next((1, "a"))
    keys = [Key(SERVICE, "", f"{number:03}") for number in range(100)]
    sweep.add([(key, version) for key in keys[:WINDOW]], sweep.room(), lambda key: True)
    assert sweep.room() == 0 and len(sweep.due(0)) == WINDOW and sweep.due(1) == []
    assert not sweep.settled(wire.Settled(keys[0], NOTHING, ()))
    assert sweep.settled(wire.Settled(keys[0], version, ()))
    assert sweep.room() == 1 and len(sweep.due(REPEAT_MS)) == WINDOW - 1
    for key in keys[1:WINDOW]:
        sweep.settled(wire.Settled(key, version, ()))
    rest = [(key, version) for key in keys[WINDOW:]]
    sweep.add([*rest, (KEY, version)], sweep.room(), lambda key: key != KEY)
    assert not sweep.is_over()
    for key in keys[WINDOW:]:
        sweep.settled(wire.Settled(key, version, ()))
    assert sweep.is_over()


# Junk.

KEY = Key(SERVICE, "t", "k")
VERSION = NOTHING.next((1, OTHER)).next((2, OWN))
MESSAGES: list[wire.Message] = [
    wire.Ask(KEY, 1, 1, "e", "j", 1_000, 8),
    wire.Queued(KEY, 1, 1, (OTHER,)),
    wire.Grant(KEY, 1, 1, VERSION, b"s"),
    wire.Answered(KEY, 1, 1, b"o"),
    wire.Refuse(KEY, 1, 1, wire.FULL, ""),
    wire.Keep(KEY, 1, 1, VERSION, b"s", ("e", "j", b"o", 0)),
    wire.Kept(KEY, 1, VERSION),
    wire.Release(KEY, 1, 1),
    wire.Still(KEY, 1, 1),
    wire.Consult(KEY, (3, OTHER), (OTHER, OWN), VERSION, (1, 2)),
    wire.Has(KEY, (3, OWN), VERSION, b"s", (("e", "j", b"o", 2),), (1, 2), 1, 1, 2, 500, False),
    wire.Others(KEY, (3, OWN), (THIRD,)),
    wire.Outbid(KEY, (3, OWN), 9),
    wire.Copy(KEY, (3, OTHER), VERSION, b"s", (("e", "j", b"o", 2),)),
    wire.Copied(KEY, (3, OWN), VERSION),
    wire.Nudge(KEY, VERSION),
    wire.Settled(KEY, VERSION, (OTHER, OWN)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: one.WORD)
def test_messages_come_through_as_they_were(message: wire.Message) -> None:
    data = wire.to_bytes(message)
    assert wire.from_bytes(data) == message
    assert wire.from_bytes(pack([*unpack(data), "of a later version"])) == message
    assert wire.from_bytes(data[:-1]) is None


@pytest.mark.parametrize(
    "plain",
    [
        None,
        7,
        [],
        ["ask"],
        ["unknown", "a", "b", "c"],
        ["release", "a", "b", "c", -1, 0],
        ["release", "a", "b", "c", True, 0],
        ["release", "a", "b", "c" * 2_000, 1, 0],
        ["kept", "a", "b", "c", 1, [5, []]],
        ["kept", "a", "b", "c", 1, [1, [[2, 1, "a"]]]],
        ["kept", "a", "b", "c", 1, [9, [[5, 1, "a"], [2, 1, "b"]]]],
        ["kept", "a", "b", "c", 1, [9, [[1, 1, "a"]] * 9]],
        ["grant", "a", "b", "c", 1, 1, [0, []], bytes(2**20 + 1)],
        ["others", "a", "b", "c", [1, "a"], ["x"] * 33],
    ],
    ids=str,
)
def test_what_is_no_message_is_none(plain: Any) -> None:
    assert wire.from_bytes(pack(plain)) is None


@pytest.mark.parametrize("seed", range(20))
def test_no_message_breaks_a_member_and_its_tables_stay_small(seed: int) -> None:
    """Every message with every sender, in any order, with numbers that mean something or not."""
    chance = Random(seed)
    member = Member(OTHER, THIRD)
    keys = [KEY, key_led_by(OWN, OWN, OTHER, THIRD), key_led_by(OTHER, OWN, OTHER, THIRD)]
    senders = [OTHER, THIRD, "stranger", OWN]
    for _ in range(1_500):
        plain = unpack(wire.to_bytes(chance.choice(MESSAGES)))
        key = chance.choice(keys)
        plain[1:4] = [key.service, key.tenant, key.value]
        for index in range(4, len(plain)):
            if chance.random() < 0.3:
                plain[index] = chance.choice(
                    [0, 1, 2, 7 << 32 | 1, [1, OTHER], [9, OWN], [0, []], "", b"", None, (), []]
                )
        read = wire.from_bytes(pack(plain))
        if read is not None:
            member.hear(chance.choice(senders), read)
        if chance.random() < 0.05:
            member.enter(chance.choice(keys))
        if chance.random() < 0.05:
            member.see(*chance.sample([OTHER, THIRD], chance.randint(0, 2)))
        member.later(chance.randint(0, 300))
    member.see()
    for _ in range(300):
        member.later(500)
    assert member.core.statistics()["runs"] <= sum(
        isinstance(one, Granted) for one in member.core.told()
    )


def test_the_longest_message_fits_the_streams() -> None:
    assert wire.MESSAGE_BYTES_MAX == streams.MESSAGE_BYTES_MAX
    name = "\U0001f512" * 255
    line = tuple((number, 2**62, name) for number in range(1, LINE_MAX + 1))
    room = wire.CONTENT_BYTES_MAX - wire.STATE_BYTES_MAX
    size = room // wire.ANSWERS_MAX
    answers = [(name, name, bytes(size), number) for number in range(1, wire.ANSWERS_MAX + 1)]
    version = Version(2**62, line)
    taken = wire.newest(answers, wire.STATE_BYTES_MAX)
    assert 0 < len(taken) < len(answers) and taken == tuple(answers[-len(taken) :])
    copy = wire.Copy(Key(name, name, name), (1, name), version, bytes(2**20), taken)
    assert len(wire.to_bytes(copy)) <= wire.MESSAGE_BYTES_MAX
