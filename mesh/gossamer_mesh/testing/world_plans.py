"""What a world is made of, and what goes wrong in it: the usual one, and some that are aimed.

The usual world has a little of everything. Some defects need several things in a row, which chance
seldom brings; a plan of their own makes these usual. What sound cores must bear is the same in all.
"""


class Plan:
    """The usual world; the others differ where they say so.

    Attributes:
        name: of the plan, for a replay.
        sizes: how many members there are, each as likely.
        engines_max: how many engines there are at most.
        reaches_percent: chance of a member to reach an engine; the first reaches all.
        engines_check: whether an engine checks worker ids, each as likely.
        locks_ms: of an engine's activations, each as likely.
        forgets_dead: an engine locks nothing for a poll whose asker is dead, and what was locked
            for a process in its last moment, when nobody else can know of it, is free again. Real
            ones do neither: it is what lets a world ask that nothing else waits for a lock.
        jobs_max: at most so many jobs, at least five.
        poison_percent: of jobs that kill some nodes that work on them.
        slow_percent, slow_ms: of jobs that take longer than a second, and how long at most.
        waits_percent: of members with a service that leaves a lost job to the lock.
        splits: whether an engine may be in parts from the start.
        troubles: names of what goes wrong, each as likely.
        troubles_min, troubles_max: so many.
        pace_ms: one trouble in each such time; 0: all at any time.
        calm_ms: before the first trouble.
        poison_kills: how many nodes such a job kills at most.
        claimers_work: whether only who claims has workers, so that what kills, kills claimers.
        poisoned_ms_min: how long a node that was killed so stays away at least.
        kills_max: how many nodes one job may kill before the engine counts a failure; 0: any.
        quiet_ms_max: how long the mesh may take to finish after all trouble.
    """

    name = "usual"
    sizes: "tuple[int, ...]" = (1, 2, 3, 3, 4, 5, 6, 9)
    engines_max = 2
    reaches_percent = 75
    engines_check: "tuple[bool, ...]" = (True, False)
    locks_ms: "tuple[int, ...]" = (10_000, 30_000)
    forgets_dead = False
    jobs_max = 25
    poison_percent = 8
    poison_kills = 5
    claimers_work = False
    poisoned_ms_min = 0
    kills_max = 0
    slow_percent = 25
    slow_ms: "tuple[int, ...]" = (5_000, 15_000, 40_000)
    waits_percent = 20
    splits = True
    troubles: "tuple[str, ...]" = (
        "crash", "crash", "crash claimer", "crash holder", "restart", "restart many", "vanish",
        "stall", "stall", "stall claimer", "stall holder", "stall holder", "stop",
        "part", "part", "cut one way", "break streams", "flap", "flap", "weather", "weather",
        "silence", "engine down", "lie", "lie", "replay", "split",
    )  # fmt: skip
    troubles_min = 0
    troubles_max = 14
    pace_ms = 0
    calm_ms = 0
    quiet_ms_max = 400_000
    """Some lock cycles for each retry."""

    def has_parts(self) -> bool:
        """Whether an engine may be in parts at any time."""
        return self.splits or "split" in self.troubles


class Rough(Plan):
    """More trouble and more work."""

    name = "rough"
    jobs_max = 60
    poison_percent = 20
    troubles_min = 25
    troubles_max = 50


class LateReports(Plan):
    """Holders stall until they are called dead, and report when others have their jobs."""

    name = "late-reports"
    sizes = (3, 4)
    engines_max = 1
    jobs_max = 40
    poison_percent = 0
    slow_percent = 90
    slow_ms = (8_000, 15_000)
    waits_percent = 0
    splits = False
    troubles = ("stall holder",)
    troubles_min = 8
    troubles_max = 16


class LostClaimers(Plan):
    """Claimers are lost one after the other, and no lock ends in time: a standby must help."""

    name = "lost-claimers"
    sizes = (3, 4, 5)
    engines_max = 1
    reaches_percent = 100
    locks_ms = (600_000,)
    forgets_dead = True
    jobs_max = 60
    poison_percent = 0
    slow_percent = 40
    slow_ms = (5_000, 10_000)
    waits_percent = 0
    splits = False
    troubles = ("crash claimer", "crash claimer", "restart claimer", "stop claimer")
    troubles_min = 2
    troubles_max = 2
    pace_ms = 20_000
    quiet_ms_max = 90_000
    """Far less than a lock."""


class UnreadPolls(LostClaimers):
    """A claimer is lost, alone or with its heir, and the engine gives jobs to the polls that it
    leaves behind, as Camunda 7 does: who claims next must find them. Once in a world: who is to
    find them must not be lost before it has."""

    name = "unread-polls"
    engines_check = (True,)
    forgets_dead = False
    troubles = ("crash claimer", "restart claimer", "stop claimer", "crash claimer and heir")
    troubles_min = 1
    troubles_max = 1
    calm_ms = 12_000
    """Until all know who has claimed, and the last poll has ended of who claimed while they met."""


class BrokenStreams(Plan):
    """Much short work, and streams that break all the time: answers are lost."""

    name = "broken-streams"
    sizes = (2, 3)
    engines_max = 1
    reaches_percent = 50
    jobs_max = 80
    poison_percent = 0
    slow_percent = 5
    splits = False
    troubles = ("flap", "flap", "break streams", "weather")
    troubles_min = 8
    troubles_max = 16


class Poison(Plan):
    """Most jobs kill whoever works on them."""

    name = "poison"
    sizes = (4, 5, 6)
    poison_percent = 70
    waits_percent = 0
    troubles_max = 4


class PoisonedClaimers(Plan):
    """Some jobs kill claimer after claimer, for good; nothing else goes wrong."""

    name = "poisoned-claimers"
    sizes = (5, 6)
    engines_max = 1
    reaches_percent = 100
    forgets_dead = True
    jobs_max = 5
    poison_percent = 40
    poison_kills = 20
    claimers_work = True
    poisoned_ms_min = 45_000
    kills_max = 3
    slow_percent = 100
    slow_ms = (1_000,)
    waits_percent = 0
    splits = False
    troubles_max = 0


class Liars(Plan):
    """Somebody with the mesh key lies and says old words again, while members come and go."""

    name = "liars"
    sizes = (3, 4)
    engines_max = 1
    jobs_max = 6
    poison_percent = 0
    slow_percent = 0
    troubles = ("lie", "lie", "replay", "restart", "stop", "crash", "stall", "part")
    troubles_min = 10
    troubles_max = 20
    quiet_ms_max = 120_000


class Restarts(Plan):
    """Members come and go and hear each other badly: what is believed of them is soon not true."""

    name = "restarts"
    sizes = (4, 5)
    engines_max = 1
    jobs_max = 6
    poison_percent = 0
    slow_percent = 0
    troubles = ("restart", "crash", "restart many", "vanish", "part", "cut one way", "silence")
    troubles_min = 10
    troubles_max = 20
    quiet_ms_max = 120_000


PLANS = (
    Plan,
    Rough,
    LateReports,
    LostClaimers,
    UnreadPolls,
    BrokenStreams,
    Poison,
    PoisonedClaimers,
    Liars,
    Restarts,
)


def plan_of(name: str) -> Plan:
    """The plan of this name.

    Raises:
        KeyError: there is none.
    """
    for plan in PLANS:
        if plan.name == name:
            return plan()
    raise KeyError(name)
