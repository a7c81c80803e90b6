"""How one core finds out who is gone, and how it doubts: others, and itself."""

from tests.mesh.swim_bench import ADDRESSES, CODEC, US, A, B, Bench, C, claim

from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.swim.codec import (
    ACK,
    GOSSIP,
    NACK,
    PING,
    PING_REQUEST,
    STATE,
    Codec,
    Frame,
    Profile,
)
from gossamer_mesh.swim.config import Config, nack_after_ms, suspicion_timeout_ms
from gossamer_mesh.swim.state import ALIVE, DEAD, SUSPECT
from gossamer_mesh.testing.toy_signing import ToySigner


def test_a_silent_member_is_asked_through_others_then_suspected_then_dead() -> None:
    bench = Bench(Config(sync_interval_ms=60_000))
    bench.hear(A, claim(A))
    bench.hear(A, claim(B))
    bench.said()
    asked = False
    while bench.state_of(A) != DEAD:
        bench.advance(bench.now_ms + 10)
        for frame, _ in bench.sent():
            if frame.kind == PING and frame.target == B:
                bench.hear(B, kind=ACK, target=B, sequence=frame.sequence)
            asked = asked or (frame.kind == PING_REQUEST and frame.target == A)
        assert bench.now_ms < 10_000
    assert asked
    assert bench.said() == ["suspected aa", "died aa"]
    assert bench.state_of(B) == ALIVE


def test_an_indirect_answer_saves_a_member() -> None:
    bench = Bench()
    bench.hear(A, claim(A))
    bench.hear(A, claim(B))
    bench.said()
    for _ in range(500):
        bench.advance(bench.now_ms + 10)
        for frame, _ in bench.sent():
            if frame.kind == PING and frame.target == B:
                bench.hear(B, kind=ACK, target=B, sequence=frame.sequence)
            elif frame.kind == PING_REQUEST:
                bench.hear(B, kind=ACK, target=A, sequence=frame.sequence)
    assert bench.said() == []
    assert bench.swim.statistics()["probes"] >= 9


def test_we_ping_for_others_and_hand_the_answer_back() -> None:
    bench = Bench()
    data = CODEC.encode(PING_REQUEST, A, 40, target=B, address=ADDRESSES[B], updates=[])
    bench.swim.receive_datagram(data, ADDRESSES[A], bench.now_ms)
    [(ping, address)] = bench.sent()
    assert (ping.kind, ping.target, address) == (PING, B, ADDRESSES[B])
    bench.hear(B, kind=ACK, target=B, sequence=ping.sequence)
    [(ack, address)] = bench.sent()
    assert (ack.kind, ack.target, ack.sequence, address) == (ACK, B, 40, ADDRESSES[A])


def test_a_suspect_that_objects_is_cleared() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B))
    bench.hear(A, CODEC.verdict(SUSPECT, B, 1, A))
    bench.hear(A, claim(B, 1))
    assert bench.state_of(B) == SUSPECT
    bench.hear(A, claim(B, 2))
    assert bench.said() == ["joined aa", "joined bb", "suspected bb", "cleared bb"]
    assert bench.swim.statistics()["suspicions"] == 0


def test_a_death_that_another_saw_is_a_suspicion_until_its_time_is_up_by_our_clock() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B), claim(C))
    bench.hear(A, CODEC.verdict(DEAD, B, 1, A), kind=STATE, target=US)
    bench.hear(A, CODEC.verdict(DEAD, C, 1, A))
    assert (bench.state_of(B), bench.state_of(C)) == (SUSPECT, SUSPECT)
    bench.now_ms += 100
    bench.hear(A, claim(B, 2))
    bench.now_ms += suspicion_timeout_ms(bench.config, 4) - 101
    bench.hear(A, CODEC.verdict(DEAD, C, 1, A))
    assert (bench.state_of(B), bench.state_of(C)) == (ALIVE, SUSPECT)
    bench.now_ms += 1
    bench.hear(A, CODEC.verdict(DEAD, C, 1, A))
    assert (bench.state_of(B), bench.state_of(C)) == (ALIVE, DEAD)


def test_a_death_makes_a_long_suspicion_a_short_one() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B), claim(C))
    least_ms = suspicion_timeout_ms(bench.config, 4)
    bench.hear(A, CODEC.verdict(SUSPECT, C, 1, A))
    bench.now_ms += least_ms
    assert bench.state_of(C) == SUSPECT
    bench.hear(A, CODEC.verdict(DEAD, C, 1, A))
    assert bench.state_of(C) == DEAD


def test_plain_swim_believes_a_death_at_once() -> None:
    bench = Bench(Config(deaths_are_doubted=0))
    bench.hear(A, claim(A), claim(B))
    bench.hear(A, CODEC.verdict(DEAD, B, 1, A))
    assert bench.state_of(B) == DEAD


def test_other_accusers_confirm_a_suspicion_and_are_handed_on_while_that_is_wanted() -> None:
    bench = Bench()
    others = [f"{number:032x}" for number in range(1, 9)]
    bench.hear(A, claim(A), claim(B), *(claim(id) for id in others))
    bench.advance(bench.now_ms + 5_000)
    bench.hear(A, claim(C))
    bench.hear(A, CODEC.verdict(SUSPECT, C, 1, A))
    accusers = [A, "ee" * 16, B, B, others[0], others[1]]
    for by in accusers:
        bench.hear(A, CODEC.verdict(SUSPECT, C, 1, by))
    assert bench.swim.statistics()["confirmations"] == 2
    assert bench.swim.statistics()["suspicions"] >= 1
    bench.sent()
    bench.advance(bench.now_ms + 200)
    said = [each.by for frame, _ in bench.sent() for each in frame.updates if each.id == C]
    assert others[0] in said


def test_a_relay_that_gets_no_answer_says_so() -> None:
    bench = Bench()
    data = CODEC.encode(PING_REQUEST, A, 40, target=B, address=ADDRESSES[B], updates=[])
    bench.swim.receive_datagram(data, ADDRESSES[A], bench.now_ms)
    asked_ms = bench.now_ms
    bench.sent()
    bench.advance(asked_ms + nack_after_ms(bench.config) - 1)
    assert bench.sent(NACK) == []
    bench.advance(asked_ms + nack_after_ms(bench.config))
    [(nack, address)] = bench.sent(NACK)
    assert (nack.target, nack.sequence, address) == (B, 40, ADDRESSES[A])


def test_a_relay_pings_twice_but_in_plain_swim() -> None:
    for rounds in (1, 2):
        bench = Bench(Config(indirect_rounds=rounds))
        data = CODEC.encode(PING_REQUEST, A, 40, target=B, address=ADDRESSES[B], updates=[])
        bench.swim.receive_datagram(data, ADDRESSES[A], bench.now_ms)
        [(first, _)] = bench.sent(PING)
        bench.advance(bench.now_ms + nack_after_ms(bench.config))
        again = [
            (frame.sequence, to)
            for frame, to in bench.sent()
            if (frame.kind, frame.target) == (PING, B)
        ]
        assert again == [(first.sequence, ADDRESSES[B])] * (rounds - 1)
        bench.hear(B, kind=ACK, target=B, sequence=first.sequence)
        [(ack, address)] = bench.sent(ACK)
        assert (ack.target, ack.sequence, address) == (B, 40, ADDRESSES[A])


def test_a_probe_asks_again_and_asks_others_but_in_plain_swim() -> None:
    for rounds, moments in ((1, [250]), (2, [250, 375])):
        bench = Bench(Config(indirect_rounds=rounds, sync_interval_ms=60_000))
        others = [f"{number:032x}" for number in range(1, 9)]
        claims = [
            Codec(pack, unpack, ToySigner(id)).claim(1, Profile("10.0.0.7", port, id, b"", 1))
            for port, id in enumerate(others, start=1)
        ]
        bench.hear(A, claim(A), *claims)
        while not (pings := bench.sent(PING)):
            bench.advance(bench.now_ms + 1)
        target, began_ms, streams = pings[0][0].target, bench.now_ms, len(bench.sent_by_stream())
        direct, asked = [], []
        for after_ms in range(5, 500, 5):
            bench.advance(began_ms + after_ms)
            for frame, address in bench.sent():
                if frame.target == target and frame.kind == PING:
                    direct.append(after_ms)
                elif frame.kind == PING_REQUEST:
                    asked.append((after_ms, address))
            streams += len(bench.sent_by_stream())
        assert direct == (moments if rounds > 1 else [])
        assert [after_ms for after_ms, _ in asked] == [each for each in moments for _ in range(3)]
        assert len({address for _, address in asked}) == 3 * rounds
        assert streams == 1


def test_a_relay_that_died_itself_does_not_speak_against_us() -> None:
    for is_known in (True, False):
        bench = Bench(Config(sync_interval_ms=60_000))
        bench.hear(A, claim(A), claim(B))
        while not (requests := bench.sent(PING_REQUEST)):
            bench.advance(bench.now_ms + 5)
        relay = {ADDRESSES[id]: id for id in ADDRESSES}[requests[0][1]]
        if is_known:
            bench.hear(C, CODEC.verdict(SUSPECT, relay, 1, C))
        while bench.swim.statistics().get("probes_failed", 0) < 1:
            bench.advance(bench.now_ms + 5)
        assert bench.swim.statistics()["health_score"] == (0 if is_known else 1)


def test_missing_nacks_speak_against_us_and_nacks_for_us() -> None:
    for answers in (True, False):
        bench = Bench()
        bench.hear(A, claim(A), claim(B), claim(C))
        while bench.swim.statistics().get("probes_failed", 0) < 1:
            bench.advance(bench.now_ms + 10)
            for frame, address in bench.sent(PING_REQUEST):
                if answers:
                    relay = {ADDRESSES[id]: id for id in ADDRESSES}[address]
                    bench.hear(relay, kind=NACK, target=frame.target, sequence=frame.sequence)
        assert bench.swim.statistics()["health_score"] == (0 if answers else 2)


def test_who_is_unwell_waits_longer_for_an_answer() -> None:
    for refutations in (0, 1, 3):
        bench = Bench(Config(sync_interval_ms=60_000))
        bench.hear(A, claim(A))
        for _ in range(refutations):
            bench.hear(A, CODEC.verdict(SUSPECT, US, bench.swim.own.incarnation, A))
        assert bench.swim.statistics()["health_score"] == refutations
        while not bench.sent(PING):
            bench.advance(bench.now_ms + 1)
        asked_ms = bench.now_ms
        while not bench.sent_by_stream():
            bench.advance(bench.now_ms + 1)
        assert bench.now_ms - asked_ms == bench.config.probe_timeout_ms * (refutations + 1)


def test_an_answer_in_time_speaks_for_us_and_one_that_we_slept_over_does_not() -> None:
    for sleeps in (False, True):
        bench = Bench()
        bench.hear(A, claim(A))
        bench.hear(A, CODEC.verdict(SUSPECT, US, 10, A))
        pings: list[tuple[Frame, tuple[str, int]]] = []
        while not pings:
            bench.advance(bench.now_ms + 10)
            pings = bench.sent(PING)
        if sleeps:
            bench.now_ms += 3_000
            bench.swim.handle_timer(bench.now_ms)
        bench.hear(A, kind=ACK, target=A, sequence=pings[0][0].sequence)
        assert bench.swim.statistics()["health_score"] == (2 if sleeps else 0)


def test_a_suspect_is_told_first_of_all_unless_the_buddy_system_is_off() -> None:
    for buddy in (1, 0):
        bench = Bench(Config(buddy_system=buddy))
        bench.hear(A, claim(A))
        bench.hear(A, CODEC.verdict(SUSPECT, A, 1, B))
        bench.sent()
        bench.swim._broadcasts.clear()
        bench.hear(A, kind=PING, target=US)
        [(ack, _)] = bench.sent(ACK)
        assert [each.state for each in ack.updates] == [SUSPECT, ALIVE][: 2 * buddy]


def test_the_recently_dead_hear_gossip_and_so_of_their_death() -> None:
    bench = Bench(Config(gossip_to_dead_ms=5_000, reconnect_interval_ms=3_600_000))
    bench.hear(A, claim(A))
    bench.bury(A)
    bench.sent()
    bench.swim.set_tags(b"news", bench.now_ms)
    bench.advance(bench.now_ms + 1)
    told = [frame for frame, address in bench.sent(GOSSIP) if address == ADDRESSES[A]]
    assert [(each.id, each.state) for each in told[0].updates[:1]] == [(A, DEAD)]
    bench.advance(bench.now_ms + 6_000)
    bench.sent()
    bench.swim.set_tags(b"more", bench.now_ms)
    bench.advance(bench.now_ms + 1_000)
    assert bench.sent(GOSSIP) == []


def test_our_own_stall_puts_deadlines_off() -> None:
    bench = Bench()
    bench.hear(A, claim(A), claim(B))
    bench.hear(A, CODEC.verdict(SUSPECT, B, 1, A))
    bench.now_ms += 30_000
    bench.swim.handle_timer(bench.now_ms)
    assert bench.swim.statistics()["stalls"] == 1
    assert bench.state_of(B) == SUSPECT


def test_an_answer_over_a_stream_saves_a_member_that_datagrams_do_not_reach() -> None:
    bench = Bench()
    bench.hear(A, claim(A))
    bench.said()
    for _ in range(500):
        bench.advance(bench.now_ms + 10)
        bench.sent()
        for frame, address, receiver in bench.sent_by_stream():
            assert (frame.kind, address, receiver) == (PING, ADDRESSES[A], A)
            bench.hear_by_stream(A, kind=ACK, target=A, sequence=frame.sequence)
    assert bench.said() == []
    assert bench.swim.statistics()["probes_by_stream"] >= 9
