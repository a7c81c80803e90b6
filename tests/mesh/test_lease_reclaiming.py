"""What a dead claimer's polls locked is freed, and nothing else is."""

import pytest

from gossamer_mesh.leases.messages import Heartbeat, Inherited, Keep, LeaseId
from gossamer_mesh.leases.mirroring import TAKEN, Mirror, Row
from gossamer_mesh.leases.reclaiming import SEARCHES_MAX, Look
from gossamer_mesh.leases.work import EngineWork, Extend, Release
from gossamer_mesh.testing.lease_bench import CONFIG, LOCK_MS, ClaimerBench

DEAD, SESSION = "dead", 9


def locked(*keys: str) -> list[tuple[str, str, bytes]]:
    return [(key, "t", f"receipt of {key}".encode()) for key in keys]


def heir(*rows: Row) -> ClaimerBench:
    """An heir whose claimer dies now, of which it has this picture."""
    one = ClaimerBench()
    one.claimer.set_members({"c", DEAD, "h1"}, None, one.now_ms)
    one.tell(DEAD, Mirror("e/a", SESSION, 1, 0, list(rows), []))
    one.claimer.handle_member_lost(DEAD, one.now_ms)
    one.claimer.handle_timer(one.now_ms)
    return one


def look(bench: ClaimerBench) -> Look:
    (one,) = bench.claimer.looks()
    assert (one.claimer, one.session) == (DEAD, SESSION)
    return one


def answer(bench: ClaimerBench, *keys: str, rest_ms: int = CONFIG.reclaim_ms) -> list[EngineWork]:
    """The engine names these; what it is asked for then. The next look is due afterwards."""
    bench.claimer.handle_locked(look(bench), locked(*keys), bench.now_ms)
    asked = bench.claimer.events()
    bench.wait(rest_ms)
    return asked


def freed(asked: list[EngineWork]) -> list[str]:
    return [one.lease.key for one in asked if isinstance(one, Release)]


def test_what_is_locked_in_two_looks_is_released_under_its_own_receipt() -> None:
    bench = heir()
    assert answer(bench, "j1", "j2") == []
    asked = answer(bench, "j1", "j2", "j3")
    assert freed(asked) == ["j1", "j2"]
    assert asked[0].receipt == b"receipt of j1"
    assert bench.claimer.statistics()["reclaimed"] == 2
    assert freed(answer(bench, "j1", "j2", "j3")) == ["j3"]  # the others are on their way


def test_what_the_picture_shows_is_left_to_its_holder() -> None:
    lease = LeaseId("e/a", "j1", DEAD, SESSION, 1, 5)
    bench = heir(Row(lease, "t", b"receipt", "h1", TAKEN, 0, LOCK_MS, LOCK_MS, "regrant"))
    bench.claimer.events()
    bench.tell("h1", Inherited(lease, "t", b"receipt"))
    for _ in range(3):
        assert freed(answer(bench, "j1")) == []


def test_what_a_holder_names_between_two_looks_is_not_released() -> None:
    bench = heir()
    bench.join("h1", 1)
    assert answer(bench, "j1", "j2") == []
    lease = LeaseId("e/a", "j1", DEAD, SESSION, 1, 5)
    bench.tell("h1", Inherited(lease, "t", b"receipt"))
    assert freed(answer(bench, "j1", "j2")) == ["j2"]


def test_a_claimer_that_settles_what_we_do_not_know_lives() -> None:
    bench = heir()
    for number in range(6):  # one job ends and another begins, from look to look
        assert freed(answer(bench, f"j{number}", f"j{number + 1}")) == []


def test_what_ends_in_our_own_table_does_not_say_that_the_claimer_lives() -> None:
    bench = heir()
    bench.join("h1", 1)
    assert answer(bench, "j1", "j2") == []
    lease = LeaseId("e/a", "j1", DEAD, SESSION, 1, 5)
    bench.tell("h1", Inherited(lease, "t", b"receipt"))
    bench.outcome("h1", lease)
    assert freed(answer(bench, "j2")) == ["j2"]


def test_nothing_is_released_while_the_member_lives_unless_in_another_process() -> None:
    bench = heir()
    answer(bench, "j1")
    bench.claimer.set_members({"c", DEAD, "h1"}, None, bench.now_ms)
    assert freed(answer(bench, "j1")) == []  # alive, and it has not said in which process
    bench.join(DEAD, 1, session=SESSION)
    assert freed(answer(bench, "j1")) == []
    bench.join(DEAD, 1, session=SESSION + 1)
    assert freed(answer(bench, "j1")) == ["j1"]


def test_a_claimer_that_restarts_unnoticed_is_asked_about_as_well() -> None:
    one = ClaimerBench()
    one.claimer.set_members({"c", DEAD}, None, one.now_ms)
    one.tell(DEAD, Mirror("e/a", SESSION, 1, 0, [], []))
    one.tell(DEAD, Mirror("e/a", SESSION + 1, 1, 0, [], []))
    one.claimer.handle_timer(one.now_ms)
    look(one)


def test_without_a_picture_the_holders_have_time_to_name_what_they_run() -> None:
    bench = ClaimerBench()
    bench.claimer.set_members({"c", "h1"}, None, bench.now_ms)
    bench.join("h1", 1)
    lease = LeaseId("e/a", "j1", DEAD, SESSION, 1, 5)
    bench.tell("h1", Inherited(lease, "t", b"receipt"))
    begun_ms = bench.now_ms
    bench.claimer.handle_timer(bench.now_ms)
    while not freed(answer(bench, "j1", "j2")):
        assert bench.now_ms < begun_ms + 2 * CONFIG.accept_ms
    assert bench.now_ms - CONFIG.reclaim_ms >= begun_ms + CONFIG.accept_ms


def bystander() -> ClaimerBench:
    """A member that neither claims nor mirrors, and sees a claimer die."""
    bench = ClaimerBench()
    bench.claimer.elect(False, 0)
    bench.claimer.set_members({"c", DEAD, "s"}, None, bench.now_ms)
    bench.claimer.handle_member_lost(DEAD, bench.now_ms, SESSION)
    return bench


def test_who_claims_after_claimer_and_heir_were_lost_at_once_searches_as_well() -> None:
    bench = bystander()
    bench.wait(1_000)
    assert bench.claimer.looks() == []  # the heir's, if it lives
    bench.claimer.handle_member_lost("s", bench.now_ms)
    bench.claimer.elect(True, 1)
    begun_ms = bench.now_ms
    assert bench.claimer.get_timer() is not None
    bench.claimer.handle_timer(bench.now_ms)
    while not freed(answer(bench, "j1", "j2")):
        assert bench.now_ms < begun_ms + 2 * CONFIG.accept_ms
    assert bench.now_ms - CONFIG.reclaim_ms >= begun_ms + CONFIG.accept_ms
    assert bench.claimer.statistics()["reclaimed"] == 2


def test_the_heir_of_a_restarted_claimer_searches_for_what_its_first_process_left() -> None:
    bench = bystander()
    bench.claimer.set_members({"c", DEAD}, DEAD, bench.now_ms, sessions={DEAD: SESSION + 1})
    bench.wait(1_000)
    assert bench.claimer.looks() == []
    lease = LeaseId("e/a", "j1", DEAD, SESSION, 1, 5)
    again = Row(lease, "t", b"receipt", "h1", TAKEN, 0, LOCK_MS, LOCK_MS, "regrant")
    bench.tell(DEAD, Mirror("e/a", SESSION + 1, 1, 0, [again], []))
    bench.claimer.handle_timer(bench.now_ms)
    keys: list[str] = []
    while not keys:
        assert bench.now_ms < 2 * CONFIG.poll_ms_max
        keys = freed(answer(bench, "j1", "j2"))
    assert keys == ["j2"]  # its holder has named the other to the new process


def test_who_claims_long_after_a_death_asks_nothing() -> None:
    bench = bystander()
    bench.wait(CONFIG.poll_ms_max)
    bench.claimer.elect(True, 1)
    bench.wait(CONFIG.poll_ms_max)
    assert bench.claimer.looks() == []


def test_nothing_is_asked_about_who_did_not_claim() -> None:
    bench = ClaimerBench()
    bench.claimer.set_members({"c", DEAD}, None, bench.now_ms)
    bench.claimer.handle_member_lost(DEAD, bench.now_ms)
    bench.wait(CONFIG.poll_ms_max)
    assert bench.claimer.looks() == []


def test_a_process_that_was_only_parted_and_dies_later_is_searched_for_again() -> None:
    bench = heir()
    bench.wait(2 * CONFIG.poll_ms_max)
    assert len(bench.claimer.looks()) == 1  # nobody answered it
    bench.tell(DEAD, Mirror("e/a", SESSION, 2, 0, [], []))
    bench.claimer.handle_member_lost(DEAD, bench.now_ms)
    bench.claimer.handle_timer(bench.now_ms)
    look(bench)


def test_it_is_asked_until_the_last_poll_has_ended_and_not_for_longer() -> None:
    bench = heir()
    begun_ms = bench.now_ms
    looks = 0
    while bench.now_ms < begun_ms + 3 * CONFIG.poll_ms_max:
        for one in bench.claimer.looks():
            looks += 1
            last_ms = bench.now_ms
            # One that is not answered is made again like the others.
            bench.claimer.handle_locked(one, None if looks % 2 else [], bench.now_ms)
        bench.wait(CONFIG.reclaim_ms)
    assert last_ms >= begun_ms + CONFIG.poll_ms_max + CONFIG.reclaim_ms
    assert looks <= CONFIG.poll_ms_max // CONFIG.reclaim_ms + 2


def test_an_engine_that_cannot_tell_is_asked_once() -> None:
    bench = heir()
    bench.claimer.handle_cannot_tell(look(bench))
    bench.wait(CONFIG.poll_ms_max)
    assert bench.claimer.looks() == []


def test_a_release_that_is_not_answered_is_repeated() -> None:
    bench = heir()
    answer(bench, "j1")
    (release,) = answer(bench, "j1", rest_ms=0)
    bench.claimer.handle_settled(release, None, bench.now_ms)
    bench.wait(1_000)
    assert freed(bench.claimer.events()) == ["j1"]


def test_many_deaths_are_bounded() -> None:
    bench = ClaimerBench()
    names = [f"m{number:03}" for number in range(3 * SEARCHES_MAX)]
    for name in names:
        bench.claimer.set_members({"c", name}, None, bench.now_ms)
        bench.tell(name, Mirror("e/a", SESSION, 1, 0, [], []))
        bench.claimer.handle_member_lost(name, bench.now_ms)
        bench.now_ms += 1
    bench.claimer.handle_timer(bench.now_ms)
    assert [one.claimer for one in bench.claimer.looks()] == names[-SEARCHES_MAX:]


def test_many_deaths_that_nobody_searches_for_yet_are_bounded() -> None:
    bench = bystander()
    names = [f"m{number:03}" for number in range(3 * SEARCHES_MAX)]
    for name in names:
        bench.now_ms += 1
        bench.claimer.handle_member_lost(name, bench.now_ms, SESSION)
    bench.claimer.elect(True, 1)
    bench.claimer.handle_timer(bench.now_ms)
    assert [one.claimer for one in bench.claimer.looks()] == names[-SEARCHES_MAX:]


def test_a_short_first_lock_is_renewed_at_its_third_to_the_services_own() -> None:
    bench = ClaimerBench()
    bench.join("h1", 1)
    first_ms = 9_000
    end_ms = bench.now_ms + first_ms
    bench.claimer.handle_activated("j1", "t", first_ms, end_ms, b"r", b"p", bench.now_ms)
    one = bench.lease()
    assert (one.lock_ms, one.lock_end_ms) == (LOCK_MS, end_ms)
    assert one.renew_at_ms == bench.now_ms + first_ms // 3


def kept(how: str) -> ClaimerBench:
    """An heir that asked for a lease, and was told that another answers for it."""
    lease = LeaseId("e/a", "j1", DEAD, SESSION, 1, 5)
    bench = heir(Row(lease, "t", b"receipt", "h1", TAKEN, 0, LOCK_MS, LOCK_MS, "regrant"))
    bench.join("h1", 1)
    bench.claimer.handle_extended(bench.work(Extend), True, bench.now_ms)
    if how == "kept":
        bench.tell("h1", Keep(lease, "it lives"))
    else:
        bench.tell("h1", Inherited(lease, "t", b"receipt"))
        bench.tell("h1", Heartbeat("e/a", 5, 100, [], [], [lease]))
    assert bench.claimer.leases() == []
    return bench


@pytest.mark.parametrize("how", ["kept", "moved"])
def test_what_a_holder_runs_for_a_claimer_that_it_sees_is_not_released(how: str) -> None:
    bench = kept(how)
    assert freed(answer(bench, "j1", "j2")) == []
    assert freed(answer(bench, "j1", "j2")) == ["j2"]
    assert freed(answer(bench, "j1", rest_ms=CONFIG.silence_ms)) == []  # it speaks to others
    assert freed(answer(bench, "j1")) == []
    lease = LeaseId("e/a", "j1", DEAD, SESSION, 1, 5)
    bench.sequence = 100
    bench.heartbeat("h1", lease)  # it has heard of the death, and turns to us
    bench.tell("h1", Inherited(lease, "t", b"receipt"))
    assert [one.id for one in bench.claimer.leases() if one.id.key == "j1"] == [lease]


@pytest.mark.parametrize("how", ["kept", "moved"])
def test_what_a_holder_had_for_another_is_released_when_it_is_lost_too(how: str) -> None:
    bench = kept(how)
    for _ in range(3):
        assert freed(answer(bench, "j1")) == []
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    assert freed(answer(bench, "j1")) == ["j1"]
