"""The mirror, and what an heir does with it when the claimer is gone."""

import pytest

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.losses import Losses
from gossamer_mesh.leases.messages import (
    Grant,
    HandBack,
    Heartbeat,
    Inherit,
    Inherited,
    Keep,
    LeaseId,
    Offer,
    Prolong,
    Refuse,
    Revoke,
    Settled,
    TopicTerms,
)
from gossamer_mesh.leases.mirroring import (
    FREE,
    GIVEN_UP,
    LEFT_ALONE,
    ROWS_MAX,
    TAKEN,
    Mirror,
    MirrorAsk,
    MirrorEnd,
    Row,
)
from gossamer_mesh.leases.standby import MIRRORS_MAX, OPENINGS, Standby
from gossamer_mesh.leases.work import Extend, Release, Report
from gossamer_mesh.testing.lease_bench import CONFIG, LOCK_MS, ClaimerBench
from gossamer_mesh.testing.lease_engine import EngineModel

DEAD = "dead"
"""The claimer that is lost."""


@pytest.fixture
def bench() -> ClaimerBench:
    """A claimer with the heir `s`."""
    one = ClaimerBench()
    one.claimer.set_members({"c", "s", "h1", "h2"}, "s", one.now_ms)
    return one


def lease_id(key: str = "j1", counter: int = 5) -> LeaseId:
    return LeaseId("e/a", key, DEAD, 9, 1, counter)


def row(standing: str, holder: str = "", key: str = "j1", **other: object) -> Row:
    fields: dict[str, object] = {
        "regrants": 0,
        "lock_ms": LOCK_MS,
        "remaining_ms": LOCK_MS,
        "on_lost": "regrant",
    }
    fields.update(other)
    return Row(lease_id(key), "t", b"receipt", holder, standing, **fields)  # type: ignore[arg-type]


def mirrored(*rows: Row, alive: str = "h1 h2") -> ClaimerBench:
    """An heir that has this picture of a claimer that dies now."""
    one = ClaimerBench()
    one.claimer.set_members({"c", DEAD, *alive.split()}, None, one.now_ms)
    one.tell(DEAD, Mirror("e/a", 9, 1, 0, list(rows), []))
    one.claimer.handle_member_lost(DEAD, one.now_ms)
    return one


def mirrors(bench: ClaimerBench) -> list[Mirror]:
    bench.claimer.handle_timer(bench.now_ms)
    return [one for to, one in bench.sent(Mirror) if to == "s"]


# --- the mirror


def test_a_first_picture_is_full_and_then_only_changes_are_told(bench: ClaimerBench) -> None:
    bench.join("h1", 2)
    lease = bench.held("j1")
    (first,) = mirrors(bench)
    assert (first.run, first.sequence, first.gone) == (1, 0, [])
    assert [(one.lease, one.holder, one.standing) for one in first.rows] == [(lease, "h1", TAKEN)]
    assert mirrors(bench) == []
    bench.activate("j2")
    bench.claimer.handle_timer(bench.now_ms)
    assert bench.sent(Mirror) == []  # not before its pause is over
    bench.now_ms += CONFIG.mirror_ms
    (second,) = mirrors(bench)
    assert [one.lease.key for one in second.rows] == ["j2"]
    bench.outcome("h1", lease)
    bench.claimer.handle_settled(bench.work(Report), "applied", bench.now_ms)
    bench.now_ms += CONFIG.mirror_ms
    (third,) = mirrors(bench)
    assert (third.sequence, third.rows, third.gone) == (2, [], ["j1"])


def test_what_came_and_went_between_two_messages_is_not_told(bench: ClaimerBench) -> None:
    bench.join("h1", 2)
    for _ in range(OPENINGS):
        assert [one.rows for one in mirrors(bench)] == [[]]
        bench.now_ms += CONFIG.heartbeat_ms
    bench.heartbeat("h1")
    lease = bench.held("j1")
    bench.outcome("h1", lease)
    bench.claimer.handle_settled(bench.work(Report), "applied", bench.now_ms)
    bench.now_ms += CONFIG.mirror_ms
    assert mirrors(bench) == []
    silence_ms = CONFIG.silence_ms - CONFIG.mirror_ms
    assert bench.claimer.get_timer() == bench.now_ms + silence_ms  # of the holder: no more to tell


def test_an_empty_message_each_heartbeat_shows_a_gap_at_the_end(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    mirrors(bench)
    assert bench.claimer.get_timer() == bench.now_ms + CONFIG.heartbeat_ms
    bench.now_ms += CONFIG.heartbeat_ms
    (beat,) = mirrors(bench)
    assert (beat.sequence, beat.rows, beat.gone) == (1, [], [])
    bench.outcome("h1", lease)
    bench.claimer.handle_settled(bench.work(Report), "applied", bench.now_ms)
    told = []
    for _ in range(4):
        bench.now_ms += CONFIG.heartbeat_ms
        told += mirrors(bench)
    assert [(one.sequence, one.gone) for one in told] == [(2, ["j1"]), (3, [])]  # then silence


def test_a_large_table_is_told_in_parts(bench: ClaimerBench) -> None:
    count = ROWS_MAX + 10
    bench.join("h1", count)
    bench.offer("h1", count, bytes_free=count)
    for number in range(count):
        bench.activate(f"j{number}")
    (first,) = mirrors(bench)
    assert len(first.rows) == ROWS_MAX
    bench.now_ms += CONFIG.mirror_ms
    (second,) = mirrors(bench)
    assert len(first.rows) + len(second.rows) == count


def test_a_standby_that_is_replaced_is_told_to_forget(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.held()
    mirrors(bench)
    bench.claimer.set_members({"c", "s", "h1"}, "h1", bench.now_ms)
    ((to, end),) = bench.sent(MirrorEnd)
    assert (to, end.session) == ("s", 77)
    bench.claimer.handle_timer(bench.now_ms)
    ((to, first),) = bench.sent(Mirror)
    assert (to, first.run, first.sequence) == ("h1", 2, 0)
    bench.claimer.set_members({"c"}, None, bench.now_ms)
    assert bench.sent(MirrorEnd) == []  # it is dead


def test_who_asks_gets_a_new_picture_but_not_without_pause(bench: ClaimerBench) -> None:
    bench.join("h1", 1)
    bench.held("j1")
    mirrors(bench)
    bench.tell("s", MirrorAsk("e/a", 77, 1))
    assert mirrors(bench) == []
    bench.now_ms += CONFIG.heartbeat_ms
    mirrors(bench)
    bench.tell("h1", MirrorAsk("e/a", 77, 1))
    assert mirrors(bench) == []
    bench.tell("s", MirrorAsk("e/a", 77, 1))
    (again,) = mirrors(bench)
    assert (again.run, again.sequence, len(again.rows)) == (2, 0, 1)


def test_a_gap_is_asked_about_once_a_heartbeat() -> None:
    standby = Standby("e/a", CONFIG, Losses(CONFIG))
    one = row(TAKEN, "h1")
    assert standby.receive("x", Mirror("e/a", 1, 1, 0, [one], []), 0) == (None, [])
    ask, _ = standby.receive("x", Mirror("e/a", 1, 1, 2, [], ["j1"]), 10)
    assert ask is not None and (ask.session, ask.run) == (1, 1)
    assert standby.receive("x", Mirror("e/a", 1, 1, 3, [], []), 20)[0] is None
    assert standby.keys() == ["j1"]
    assert standby.receive("x", Mirror("e/a", 1, 1, 4, [], []), 1_010)[0] is not None
    assert standby.receive("x", Mirror("e/a", 1, 2, 0, [], []), 1_020)[0] is None
    assert standby.keys() == []
    assert standby.receive("x", Mirror("e/a", 1, 1, 0, [one], []), 1_030)[0] is None
    assert standby.keys() == []  # of an earlier run


def test_another_process_of_the_claimer_orphans_its_rows() -> None:
    standby = Standby("e/a", CONFIG, Losses(CONFIG))
    one = row(TAKEN, "h1")
    standby.receive("x", Mirror("e/a", 1, 7, 0, [one], []), 0)
    ask, orphans = standby.receive("x", Mirror("e/a", 2, 1, 0, [], []), 10)
    assert ask is None
    assert orphans == [(one, LOCK_MS)]
    assert standby.keys() == []


def test_pictures_are_bounded_and_forgotten() -> None:
    standby = Standby("e/a", CONFIG, Losses(CONFIG))
    for number in range(MIRRORS_MAX + 1):
        one = row(TAKEN, "h1", key=f"j{number}")
        standby.receive(f"x{number}", Mirror("e/a", 1, 1, 0, [one], []), number)
    assert standby.keys() == [f"j{number}" for number in range(1, MIRRORS_MAX + 1)]
    for number in range(9):
        standby.receive(f"empty{number}", Mirror("e/a", 1, 1, 0, [], []), 9 + number)
    assert standby.keys() == ["j2", "j3", "j4"]  # of the empty ones, only the newest stayed
    standby.receive("x1", Mirror("e/a", 1, 9, 0, [row(TAKEN, "h1")], []), 99)
    standby.receive_end("x1", MirrorEnd("e/a", 2, 1))
    assert standby.keys()[0] == "j1"
    standby.receive_end("x1", MirrorEnd("e/a", 1, 1))
    assert standby.keys()[0] == "j2"
    assert standby.take("never heard of", 0) == []


# --- the take-over


def test_what_a_living_holder_has_is_renewed_and_asked_for_at_once() -> None:
    bench = mirrored(row(TAKEN, "h1"))
    assert bench.lease().state == states.INHERITED
    assert bench.sent(Inherit)[0][0] == "h1"
    bench.claimer.handle_timer(bench.now_ms)
    extend = bench.work(Extend)
    assert (extend.receipt, extend.lock_ms) == (b"receipt", LOCK_MS)
    bench.claimer.handle_extended(extend, True, bench.now_ms)
    bench.tell("h1", Inherited(lease_id(), "t", b"receipt"))
    assert bench.lease().state == states.INHERITED  # not before we could miss the holder
    bench.heartbeat("h1", lease_id())
    assert bench.lease().state == states.HELD
    bench.outcome("h1", lease_id())
    bench.claimer.handle_settled(bench.work(Report), "applied", bench.now_ms)
    assert bench.sent(Settled)[0][1].lease == lease_id()
    assert bench.claimer.leases() == []


def test_a_holder_that_stays_with_its_claimer_keeps_the_lease_there() -> None:
    bench = mirrored(row(TAKEN, "h1"))
    bench.tell("h1", Keep(lease_id(), "it lives"))
    assert (bench.claimer.leases(), bench.claimer.events()) == ([], [])
    bench.heartbeat("h1", lease_id())
    assert bench.sent(Inherit)[-1][1].lease == lease_id()  # should it turn to us later


@pytest.mark.parametrize("answer", ["refuses", "is silent", "dies", "hands back"])
def test_what_no_holder_confirms_is_released(answer: str) -> None:
    bench = mirrored(row(TAKEN, "h1"))
    bench.claimer.handle_timer(bench.now_ms)
    bench.claimer.handle_extended(bench.work(Extend), True, bench.now_ms)
    if answer == "refuses":
        bench.tell("h1", Refuse(lease_id(), "never had it"))
    elif answer == "is silent":
        bench.wait(CONFIG.accept_ms)
    elif answer == "dies":
        bench.claimer.handle_member_lost("h1", bench.now_ms)
    else:
        bench.tell("h1", HandBack(lease_id(), "stopping"))
    assert bench.work(Release).receipt == b"receipt"


@pytest.mark.parametrize("gone", [row(FREE), row(TAKEN, DEAD), row(TAKEN, "h9")])
def test_what_nobody_has_is_released_at_once(gone: Row) -> None:
    bench = mirrored(gone)
    assert bench.work(Release).lease == lease_id()


def test_what_an_heir_has_released_and_another_part_has_locked_since_stays_locked() -> None:
    """Camunda 8 does not ask who releases: a second release would run the job a second time."""
    gone = row(FREE)
    gone.receipt = b"j1|dead"
    bench = mirrored(gone)
    engine = EngineModel(checks_worker_id=False, backoff_ms=1_000)
    engine.add("j1", "t", 3)
    engine.activate({"t"}, 1, LOCK_MS, "dead", bench.now_ms)
    releases, activations = 0, 1
    for _ in range(2 * CONFIG.poll_ms_max // CONFIG.heartbeat_ms):
        for work in bench.claimer.events():
            assert isinstance(work, Release)
            releases += 1
            bench.claimer.handle_settled(work, engine.call(work, bench.now_ms), bench.now_ms)
        activations += len(engine.activate({"t"}, 1, LOCK_MS, "another part", bench.now_ms))
        bench.wait(CONFIG.heartbeat_ms)
    assert (releases, activations) == (1, 2)
    assert bench.claimer.leases() == []


def test_a_release_that_has_not_been_made_yet_is_not_wanted_once_the_job_is_here_again() -> None:
    bench = mirrored(row(FREE))
    release = bench.work(Release)
    assert bench.claimer.is_current(release)
    bench.join("h1", 1)
    bench.activate("j1")
    assert not bench.claimer.is_current(release)
    bench.wait(2_000, "h1")
    assert bench.claimer.events() == []


def test_a_service_that_waits_is_left_to_the_lock() -> None:
    for one in (row(TAKEN, DEAD, on_lost="wait"), row(LEFT_ALONE, "h1")):
        bench = mirrored(one)
        assert bench.lease().state == states.ABANDONED
        bench.wait(LOCK_MS)
        assert (bench.claimer.leases(), bench.claimer.events()) == ([], [])


def test_what_was_given_up_or_lost_too_often_is_given_up() -> None:
    for one in (row(GIVEN_UP), row(TAKEN, DEAD, regrants=CONFIG.regrants_max)):
        assert mirrored(one).work(Report).outcome is None


def test_what_the_lock_has_freed_already_is_left_alone() -> None:
    for one in (row(FREE), row(TAKEN, DEAD), row(LEFT_ALONE, "h1")):
        one.remaining_ms = 0
        assert mirrored(one).claimer.leases() == []


def test_what_we_have_or_have_settled_is_not_taken_over() -> None:
    bench = ClaimerBench()
    bench.claimer.set_members({"c", DEAD, "h1"}, None, bench.now_ms)
    bench.join("h1", 2)
    ours = bench.held("j1")
    bench.outcome("h1", lease_id("j2"))
    bench.claimer.handle_settled(bench.work(Report), "applied", bench.now_ms)
    rows = [row(FREE, key="j1"), row(FREE, key="j2")]
    bench.tell(DEAD, Mirror("e/a", 9, 1, 0, rows, []))
    bench.claimer.handle_member_lost(DEAD, bench.now_ms)
    assert [one.id for one in bench.claimer.leases()] == [ours]


@pytest.mark.parametrize("standing", [FREE, GIVEN_UP, TAKEN])
def test_what_the_engine_gave_out_anew_is_not_taken_over_when_that_is_done(standing: str) -> None:
    """A failure of the older lease, or its release, would reach the job in other hands."""
    bench = ClaimerBench()
    bench.claimer.set_members({"c", DEAD, "h1"}, None, bench.now_ms)
    bench.tell(DEAD, Mirror("e/a", 9, 1, 0, [row(standing, "h9", regrants=1)], []))
    bench.join("h1", 1)
    held = bench.held("j1")
    assert bench.lease().regrants == (2 if standing == FREE else 0)
    bench.outcome("h1", held)
    bench.claimer.handle_settled(bench.work(Report), "applied", bench.now_ms)
    bench.claimer.handle_member_lost(DEAD, bench.now_ms)
    assert (bench.claimer.leases(), bench.claimer.events()) == ([], [])


def test_without_a_mirror_holders_name_what_they_have() -> None:
    bench = ClaimerBench()
    bench.heartbeat("h1", lease_id())
    ((to, ask),) = bench.sent(Inherit)
    assert (to, ask.lease) == ("h1", lease_id())
    bench.tell("h1", Inherited(lease_id(), "t", b"receipt"))
    assert bench.lease().state == states.HELD
    bench.claimer.handle_timer(bench.now_ms)
    assert bench.work(Extend).lock_ms == LOCK_MS
    bench.heartbeat("h1")
    assert bench.lease().state == states.RELEASING  # no payload, so nobody else can have it


def test_a_lease_that_moved_to_another_claimer_is_dropped_without_a_word(
    bench: ClaimerBench,
) -> None:
    bench.join("h1", 1)
    lease = bench.held()
    bench.sequence += 1
    bench.tell("h1", Heartbeat("e/a", 5, bench.sequence, [TopicTerms("t", LOCK_MS)], [], [lease]))
    assert (bench.claimer.leases(), bench.claimer.events()) == ([], [])


def test_junk_about_mirrors_changes_nothing(bench: ClaimerBench) -> None:
    for message in (
        Mirror("e/other", 9, 1, 0, [row(FREE)], []),
        MirrorAsk("e/a", 1, 1),
        MirrorEnd("e/a", 1, 1),
        Keep(lease_id()),
        Inherited(lease_id(), "t", b""),
    ):
        bench.tell("h1", message)
    bench.tell("c", Mirror("e/a", 77, 1, 0, [row(FREE)], []))
    assert (bench.claimer.leases(), bench.claimer.mirrored()) == ([], [])


# --- a holder that makes no progress


def stuck_bench() -> tuple[ClaimerBench, LeaseId]:
    bench = ClaimerBench()
    for who, slots in (("h1", 2), ("h2", 1)):
        bench.tell(who, Heartbeat("e/a", 5, 1, [TopicTerms("t", LOCK_MS, held_ms_max=8_000)], []))
        bench.tell(who, Offer("e/a", 5, 2, slots, 1_000, 77, 0))
    bench.sequence = 2
    bench.activate("j1")
    to, lease = bench.grant()
    assert to == "h1"
    speak(bench, "h1", lease)
    return bench, lease


def speak(bench: ClaimerBench, who: str, *leases: LeaseId) -> None:
    bench.sequence += 1
    topics = [TopicTerms("t", LOCK_MS, held_ms_max=8_000)]
    bench.tell(who, Heartbeat("e/a", 5, bench.sequence, topics, list(leases)))


def pass_time(bench: ClaimerBench, pause_ms: int, lease: LeaseId) -> None:
    for _ in range(pause_ms // 500):
        bench.now_ms += 500
        speak(bench, "h1", lease)
        speak(bench, "h2")
        bench.claimer.handle_timer(bench.now_ms)


def test_a_holder_that_speaks_but_is_stuck_loses_the_job() -> None:
    bench, lease = stuck_bench()
    pass_time(bench, 7_500, lease)
    assert bench.lease().state == states.HELD
    pass_time(bench, 500, lease)
    messages = bench.claimer.messages_to_send()
    assert [(to, one.lease) for to, one in messages if isinstance(one, Revoke)] == [("h1", lease)]
    ((to, grant),) = [(to, one) for to, one in messages if isinstance(one, Grant)]
    assert (to, bench.lease().regrants) == ("h2", 1)
    assert grant.lease.counter > lease.counter


def test_a_worker_that_asks_for_time_gets_it() -> None:
    bench, lease = stuck_bench()
    pass_time(bench, 7_500, lease)
    bench.tell("h1", Prolong(lease, 20_000))
    pass_time(bench, 19_500, lease)
    assert (bench.lease().state, bench.sent(Revoke)) == (states.HELD, [])
    pass_time(bench, 500, lease)
    assert len(bench.sent(Revoke)) == 1


def test_claimers_without_heirs_say_nothing_of_their_tables() -> None:
    claimer = Claimer("e/a", "c", 1, CONFIG)
    claimer.set_members({"c"}, "c", 0)
    claimer.handle_timer(10_000)
    assert (claimer.messages_to_send(), claimer.get_timer()) == ([], None)
