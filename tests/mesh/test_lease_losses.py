"""A job that kills whoever runs it is counted from claimer to claimer, and given up in the end."""

import pytest

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.losses import Losses
from gossamer_mesh.leases.messages import Accept, HandBack, Inherited, LeaseId
from gossamer_mesh.leases.mirroring import FREE, TAKEN, Mirror, MirrorEnd, Row
from gossamer_mesh.leases.reclaiming import Look
from gossamer_mesh.leases.work import Extend, Release, Report
from gossamer_mesh.testing.lease_bench import CONFIG, LOCK_MS, ClaimerBench

DEAD = "dead"
"""The claimer that is lost, and that had the job itself."""
KEPT_MS = CONFIG.losses_kept_ms


def row(
    standing: str = TAKEN,
    holder: str = DEAD,
    regrants: int = 0,
    *,
    remaining_ms: int = LOCK_MS,
    claimer: str = DEAD,
) -> Row:
    lease = LeaseId("e/a", "j1", claimer, 9, 1, 5)
    return Row(lease, "t", b"old", holder, standing, regrants, LOCK_MS, remaining_ms, "regrant")


def heir(
    *rows: Row, losses: list[tuple[str, int, int]] | None = None, dies: bool = True
) -> ClaimerBench:
    """Who mirrors a claimer that had these, and that dies now."""
    bench = ClaimerBench()
    bench.claimer.set_members({"c", "s", DEAD, "h1", "h2"}, "s", bench.now_ms)
    bench.tell(DEAD, Mirror("e/a", 9, 1, 0, list(rows), [], losses))
    if dies:
        bench.claimer.handle_member_lost(DEAD, bench.now_ms)
    return bench


def released(bench: ClaimerBench) -> None:
    """The engine has the job again, and no poll of the dead can undo it."""
    bench.wait(CONFIG.poll_ms_max)
    while bench.claimer.leases():
        for work in bench.claimer.events():
            bench.claimer.handle_settled(work, "released", bench.now_ms)
        bench.wait(CONFIG.heartbeat_ms)


def losses_told(bench: ClaimerBench) -> list[tuple[str, int, int]]:
    """What the heir of this claimer is told of losses now."""
    bench.now_ms += CONFIG.mirror_ms
    bench.claimer.handle_timer(bench.now_ms)
    return [loss for to, one in bench.sent(Mirror) if to == "s" for loss in one.losses]


def test_a_job_that_killed_its_claimer_begins_with_that_loss() -> None:
    bench = heir(row())
    released(bench)
    bench.join("h1", 1)
    bench.held("j1")
    assert bench.lease().regrants == 1
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.join("h2", 1)
    assert bench.lease().regrants == 2
    bench.claimer.handle_member_lost("h2", bench.now_ms)
    report = bench.work(Report)
    assert (report.outcome, report.reason) == (
        None,
        "3 nodes in a row were lost while they had this job",
    )


def test_the_third_claimer_that_dies_of_it_is_the_last() -> None:
    for regrants in (0, 1, 2):
        (work,) = heir(row(regrants=regrants)).claimer.events()
        assert isinstance(work, Release if regrants < 2 else Report)


def test_a_job_that_is_activated_again_while_it_is_released_keeps_its_count() -> None:
    bench = heir(row(regrants=1))
    bench.join("h1", 1)
    bench.activate("j1")
    assert (bench.lease().state, bench.lease().regrants) == (states.GRANTED, 2)


def test_what_nobody_had_or_came_back_in_good_order_is_no_loss() -> None:
    nobody = heir(row(FREE, ""))
    handed_back = heir(row(TAKEN, "h1"))
    lease = row().lease
    handed_back.tell("h1", Inherited(lease, "t", b"old"))
    handed_back.tell("h1", HandBack(lease, "stopping"))
    for bench in (nobody, handed_back):
        assert bench.lease().state == states.RELEASING
        assert bench.claimer.losses_of("j1", bench.now_ms) == 0


def test_a_lost_job_for_which_there_is_no_room_takes_its_count_to_the_engine() -> None:
    bench = ClaimerBench()
    bench.join("h1", 1)
    bench.held("j1")
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.wait(CONFIG.waiting_ms)
    bench.claimer.handle_settled(bench.work(Release), "released", bench.now_ms)
    assert bench.claimer.leases() == []
    bench.join("h2", 1)
    bench.activate("j1")
    assert bench.lease().regrants == 1


def test_a_lost_job_whose_lock_ends_while_it_waits_keeps_its_count() -> None:
    bench = ClaimerBench()
    bench.join("h1", 1)
    bench.held("j1")
    bench.claimer.handle_member_lost("h1", bench.now_ms)
    bench.activate("j1")
    assert bench.lease().regrants == 1


def test_a_lease_that_the_lock_had_freed_is_counted_all_the_same() -> None:
    for one in (row(remaining_ms=0), row(FREE, "h9", remaining_ms=0), row(FREE, "", 1)):
        bench = heir(one)
        assert bench.claimer.losses_of("j1", bench.now_ms) == 1


def test_the_heir_of_the_heir_is_told_when_the_job_is_nowhere() -> None:
    bench = heir(row())
    assert losses_told(bench) == []  # the lease is there, and says it
    released(bench)
    assert bench.claimer.losses_of("j1", bench.now_ms) == 1
    bench.claimer.set_members({"c", "h1"}, "h1", bench.now_ms)
    bench.claimer.handle_timer(bench.now_ms)
    ((_, first),) = [(to, one) for to, one in bench.sent(Mirror) if to == "h1"]
    ((key, count, remaining_ms),) = first.losses
    assert (key, count) == ("j1", 1)
    assert 0 < remaining_ms < KEPT_MS


def test_the_heir_is_told_of_what_another_claimer_that_is_gone_remembered() -> None:
    bench = heir(row(remaining_ms=0), losses=[("j2", 2, 5_000)], dies=False)
    assert losses_told(bench) == []
    bench.claimer.handle_member_lost(DEAD, bench.now_ms)
    assert losses_told(bench) == [("j1", 1, KEPT_MS - 25), ("j2", 2, 4_950)]


def test_a_lost_job_that_the_engine_takes_away_keeps_its_count() -> None:
    bench = ClaimerBench()
    for who in ("h1", "h2"):
        bench.join(who, 1)
    bench.activate("j1")
    (to, lease) = bench.grant()
    bench.tell(to, Accept(lease))
    bench.claimer.handle_member_lost(to, bench.now_ms)
    bench.wait(LOCK_MS // CONFIG.renew_fraction, "h1", "h2")
    bench.claimer.handle_extended(bench.work(Extend), False, bench.now_ms)
    assert bench.claimer.leases() == []
    assert bench.claimer.losses_of("j1", bench.now_ms) == 1


def test_an_heir_that_was_told_counts_on() -> None:
    for dies in (True, False):  # one that lives and claims no more may have released it
        bench = heir(losses=[("j1", 2, 5_000)], dies=dies)
        bench.join("h1", 1)
        bench.held("j1")
        assert bench.lease().regrants == 2
        bench.claimer.handle_member_lost("h1", bench.now_ms)
        assert bench.work(Report).outcome is None


def test_what_is_told_ends_with_its_time_and_with_its_teller() -> None:
    bench = heir(losses=[("j1", 1, 5_000)], dies=False)
    assert bench.claimer.losses_of("j1", bench.now_ms + 4_999) == 1
    assert bench.claimer.losses_of("j1", bench.now_ms + 5_000) == 0
    bench.tell(DEAD, MirrorEnd("e/a", 9, 1))
    assert bench.claimer.losses_of("j1", bench.now_ms) == 0
    junk = heir(losses=[("j1", 2**40, 2**40)])
    assert junk.claimer.losses_of("j1", junk.now_ms) == CONFIG.regrants_max
    assert junk.claimer.losses_of("j1", junk.now_ms + KEPT_MS) == 0


def test_a_lease_of_a_living_claimer_that_lost_its_holder_counts() -> None:
    bench = heir(row(FREE, "h9"), dies=False)
    assert bench.claimer.losses_of("j1", bench.now_ms) == 1


def test_a_claimer_that_had_not_heard_of_the_count_adds_to_it() -> None:
    bench = heir(row(regrants=1))  # is at the engine again, with two losses, and given to another
    assert bench.lease().regrants == 2
    again = heir(row())
    again.tell("s", Mirror("e/a", 8, 1, 0, [row(holder="s", claimer="s")], []))
    again.claimer.handle_member_lost("s", again.now_ms)
    assert (again.lease().state, again.lease().regrants) == (states.RELEASING, 2)
    later = heir(row())
    released(later)
    later.tell("s", Mirror("e/a", 8, 1, 0, [row(holder="s", claimer="s")], []))
    later.claimer.handle_member_lost("s", later.now_ms)
    assert later.lease().regrants == 2


def test_once_the_engine_has_counted_the_count_begins_anew() -> None:
    bench = heir(row())
    released(bench)
    bench.join("h1", 1)
    bench.outcome("h1", bench.held("j1"))
    bench.claimer.handle_settled(bench.work(Report), "failed", bench.now_ms)
    assert bench.claimer.losses_of("j1", bench.now_ms) == 0
    other = heir(row())
    released(other)
    other.tell("s", Mirror("e/a", 8, 1, 0, [], ["j1"]))  # settled by who claims now
    assert other.claimer.losses_of("j1", other.now_ms) == 0


def test_what_the_engine_alone_knew_of_counts_and_is_given_up_in_the_end() -> None:
    bench = heir()
    kinds = []
    for session in (9, 10, 11):
        look = Look(DEAD, session)
        bench.claimer._searches.begin(DEAD, session, True, bench.now_ms)
        for _ in range(2):
            bench.claimer.handle_locked(look, [("j1", "t", b"r")], bench.now_ms)
        (work,) = bench.claimer.events()
        kinds.append(type(work))
        bench.now_ms += CONFIG.poll_ms_max
        bench.claimer.handle_settled(work, "done", bench.now_ms)
    assert kinds == [Release, Release, Report]


@pytest.mark.parametrize("count", [1, 2])
def test_losses_are_bounded_and_the_first_to_end_makes_room(count: int) -> None:
    losses = Losses(LeaseConfig(losses_kept_max=2))
    losses.note("a", count, 0)
    losses.note("b", count, 1)
    losses.note("a", count, 2)
    losses.note("c", count, 3)
    assert losses.keys() == ["a", "c"]
    assert losses.remaining_ms("b", 3) == 0
    assert losses.get("a", 2 + KEPT_MS - 1) == count
    assert losses.get("a", 2 + KEPT_MS) == 0


def test_of_two_counts_the_higher_holds_and_what_is_forgotten_is_none() -> None:
    losses = Losses(CONFIG)
    losses.keep("a", 2, 100, 0)
    losses.keep("a", 1, 900, 99)
    assert (losses.get("a", 899), losses.get("a", 900)) == (2, 0)
    losses.forget("a")
    losses.forget("a")
    assert losses.get("a", 0) == 0


def test_a_count_that_has_ended_does_not_hide_a_new_one() -> None:
    losses = Losses(CONFIG)
    losses.keep("a", 2, 100, 0)
    losses.keep("a", 1, 900, 100)
    assert (losses.get("a", 100), losses.remaining_ms("a", 100)) == (1, 800)
    ours = Losses(CONFIG)
    ours.add(losses, 899)
    assert (ours.get("a", 899), ours.remaining_ms("a", 899)) == (1, 1)
    ours.forget("a")
    ours.add(losses, 900)
    assert ours.keys() == []


def test_what_has_ended_makes_room_for_what_an_heir_is_told() -> None:
    full = [(f"old{number}", 1, 5_000) for number in range(CONFIG.losses_kept_max)]
    bench = heir(losses=full, dies=False)
    bench.now_ms += 5_000
    bench.tell(DEAD, Mirror("e/a", 9, 1, 1, [], [], [("j1", 1, KEPT_MS)]))
    assert bench.claimer.losses_of("j1", bench.now_ms) == 1
