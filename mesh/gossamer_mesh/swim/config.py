"""What can be tuned, with the unit, the bound, the formula and the reason of each default.

The defaults suit a mesh of a few to a thousand members in one network, on busy small machines.
A crash is known everywhere in about

    until a probe meets it + probe_interval_ms + suspicion + gossip
    ≈ 0.5 s + 0.5 s + 2 s + 0.2 s for three members
    ≈ 0.5 s + 0.5 s + 3 s + 0.2 s for a hundred (the first term 2.3 s in one case of a hundred)
    ≈ 0.5 s + 0.5 s + 4 s + 0.4 s for a thousand

while a process that stalls for a second is suspected at worst: it has two seconds to object.
"memberlist" below means its DefaultLANConfig. Plain SWIM, for comparison, is indirect_rounds 1,
awareness_max 1, suspicion_confirmations 0, buddy_system 0, deaths_are_doubted 0, stall_ms 0,
gossip_to_dead_ms 0.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.swim.codec import FRAME_BYTES_MAX, FRAME_BYTES_MIN

BOUNDS = {
    "probe_interval_ms": (50, 60_000),
    "probe_timeout_ms": (20, 30_000),
    "indirect_probes": (0, 16),
    "indirect_rounds": (1, 4),
    "awareness_max": (1, 64),
    "buddy_system": (0, 1),
    "deaths_are_doubted": (0, 1),
    "suspicion_multiplier": (1, 32),
    "suspicion_max_multiplier": (1, 32),
    "suspicion_confirmations": (0, 16),
    "retransmit_multiplier": (1, 32),
    "gossip_interval_ms": (20, 60_000),
    "gossip_fanout": (1, 16),
    "gossip_to_dead_ms": (0, 3_600_000),
    "sync_interval_ms": (500, 3_600_000),
    "sync_again_ms": (100, 3_600_000),
    "sync_frames_max": (1, 1_024),
    "reconnect_interval_ms": (500, 3_600_000),
    "join_retry_ms": (50, 60_000),
    "join_attempts": (1, 100),
    "leave_timeout_ms": (0, 60_000),
    "stall_ms": (0, 60_000),
    "tombstone_ms": (1_000, 30 * 86_400_000),
    "members_max": (2, 100_000),
    "gone_max": (1, 100_000),
    "broadcasts_max": (16, 100_000),
    "datagrams_max": (16, 100_000),
    "stream_frames_max": (1, 1_024),
    "events_max": (16, 100_000),
    "relays_max": (1, 10_000),
    "frame_bytes_max": (FRAME_BYTES_MIN, FRAME_BYTES_MAX),
}
"""Field → least and greatest value."""


class Config:
    """The fields are the class's attributes; an instance overrides some of them.

    Raises:
        MisuseError: an unknown field, a value out of `BOUNDS`, or a probe timeout that is not
            shorter than the probe interval.
    """

    probe_interval_ms = 500
    """How often one member is probed, and how long a probe takes at most, the indirect part
    included. memberlist 1,000: halved because detection grows with it twice (waiting for a probe,
    and suspicion), and a probe costs 200 bytes."""

    probe_timeout_ms = 250
    """How long a direct ping may take before others are asked. Bound: less than the interval.
    memberlist 500, half the interval too. A round trip is 1 ms; the rest is for busy hosts."""

    indirect_probes = 3
    """Members asked to ping for us when a direct ping stays unanswered. memberlist 3."""

    indirect_rounds = 2
    """How often others are asked within one probe: at the timeout, half-way from there to the end,
    and so on; each time others, with another direct ping, and each relay pings twice. It costs
    nothing while members answer. memberlist 1: with 25 % of all datagrams lost a live member then
    fails a probe in 44 % (direct) · 32 % (three relays) = 14 % of cases, and each brings a false
    suspicion and an objection: more than the frames of 300 members carry, so that other news does
    not come round. With 2 it is 8.4 % (three direct) · 2.6 % (six relays) = 0.2 %."""

    awareness_max = 8
    """Local health: interval and timeout of a probe are multiplied by 1 to this, by a score of what
    speaks against ourselves (`awareness.DELTAS`). 1: off. memberlist 8 (`AwarenessMaxMultiplier`):
    a member that hears nobody probes every 4 s."""

    buddy_system = 1
    """1: any frame to a suspect carries the suspicion first of all, so that it objects at once;
    0: it hears of it by gossip. memberlist: with pings only, not to be switched off. It costs
    nothing while nobody is suspected. Off for comparisons only."""

    suspicion_multiplier = 2
    """Suspicion lasts at least multiplier · (1 + max(1, log10 N)) · probe interval: 2 s up to ten
    members, 3 s at a hundred, 4 s at a thousand. memberlist 4 · max(1, log10 N) · interval: as
    long up to ten members, a third longer at a hundred, half as long again at a thousand (6 s).
    What grows with N is the way of the news and of the objection, half a second each at a
    thousand with a quarter of all datagrams lost; what the suspect needs to wake up does not."""

    suspicion_max_multiplier = 6
    """Suspicion lasts at most so many times the least: as long as nobody confirms it. 12 s for
    four members, 18 s at a hundred. 1: always the least. memberlist 6."""

    suspicion_confirmations = 2
    """Other members that must find the same until a suspicion lasts the least; where fewer than
    that are left it does from the beginning. memberlist `SuspicionMult` - 2 = 2. With 3 the last
    one took so long that deaths at a hundred members were known 1.6 s later (p99)."""

    deaths_are_doubted = 1
    """1: a death that another saw is believed once we ourselves have known of the suspicion for
    the least time; 0: at once, as SWIM and memberlist do. Everyone hears of a suspicion at nearly
    the same time, so nothing is known later; but a member that heard nobody for long and then
    speaks again kills no one. Off for comparisons only."""

    retransmit_multiplier = 4
    """An update is handed on multiplier · max(2, ⌈log10(N + 1)⌉) times by each member. memberlist
    4, without the least of 2: see `retransmit_limit`."""

    gossip_interval_ms = 200
    """How often waiting updates go to `gossip_fanout` members, besides riding on probes. Nothing
    is sent while nothing waits. memberlist 200."""

    gossip_fanout = 3
    """Members at a time. memberlist 3. The first time at once: in a quiet mesh of a thousand 99 %
    know an update after 0.25 s, with a quarter of all datagrams lost."""

    gossip_to_dead_ms = 30_000
    """For so long the dead are among those whom gossip goes to, as its first word is their death:
    who lives objects within a second or so, not when `reconnect_interval_ms` comes round to it.
    memberlist 30,000 (`GossipToTheDeadTime`)."""

    sync_interval_ms = 10_000
    """How often our table is compared with one member's, for what gossip missed. Longer in large
    meshes, see `sync_interval_ms` below. memberlist 30,000, the whole table over TCP each time: a
    digest is one datagram, so a missed update is repaired sooner."""

    sync_again_ms = 5_000
    """Who compared and found a difference compares again after this, if not earlier: where one
    member knew more, another may. So two hundred members that start at once agree after 8 s and
    not after 32. While tables agree it costs nothing. memberlist has no such rule."""

    sync_frames_max = 8
    """Frames of one answer: eight datagrams have about 40 members' words, eight stream frames about
    2,000. What is more takes several exchanges, each from a random place. Keeps a burst within a
    socket's buffer. memberlist: one TCP stream, without a bound."""

    reconnect_interval_ms = 10_000
    """How often one of the dead, or a seed that is no member, is asked again: what heals a
    partition. Serf 30,000."""

    join_retry_ms = 500
    """How often a seed that has not answered is asked again."""

    join_attempts = 6
    """Then it has not answered: 3 s in all."""

    leave_timeout_ms = 2_000
    """How long a goodbye may take to be handed on. Serf 5,000; memberlist asks its caller."""

    stall_ms = 250
    """A timer that fires later than this shows that we were asleep ourselves: running probes and
    suspicions are put off by the same time, as answers may lie unread, and our health is worse by
    one. 0: off. memberlist has no such rule. Longer than the hiccups of an interpreter, shorter
    than a probe's interval."""

    tombstone_ms = 86_400_000
    """How long the dead and the departed are remembered, so that an old word does not revive them
    and a healed partition finds them. Serf 24 h; memberlist 30 s."""

    members_max = 10_000
    """Members present; further ones are not taken in (counted)."""

    gone_max = 1_024
    """Tombstones; the oldest goes first."""

    broadcasts_max = 4_096
    """Updates waiting for gossip; the most often sent goes first."""

    datagrams_max = 4_096
    """Datagrams waiting for the driver; further ones are dropped (counted), as a network may."""

    stream_frames_max = 64
    """Stream frames waiting for the driver; further ones are dropped (counted). They are few, a
    ping or a table, and each may hold `codec.STREAM_FRAME_BYTES_MAX` bytes: 16 MiB at the worst."""

    events_max = 4_096
    """Events waiting for the driver, which takes them after each call; the oldest is dropped."""

    relays_max = 256
    """Pings that we do for others at one time."""

    frame_bytes_max = FRAME_BYTES_MAX
    """One frame: 1,400 bytes of datagram less what the seal adds. memberlist 1,400."""

    def __init__(self, **overrides: int) -> None:
        for name in sorted(overrides):
            if name not in BOUNDS:
                raise MisuseError(f"swim.Config has no field {name!r}; see swim/config.py.")
            least, greatest = BOUNDS[name]
            if not least <= overrides[name] <= greatest:
                raise MisuseError(
                    f"swim.Config.{name} is {overrides[name]}; give {least} to {greatest}."
                )
            setattr(self, name, overrides[name])
        if self.probe_timeout_ms >= self.probe_interval_ms:
            raise MisuseError(
                f"swim.Config.probe_timeout_ms is {self.probe_timeout_ms}, not shorter than "
                f"probe_interval_ms ({self.probe_interval_ms}); make it half of that."
            )


def log10_hundredths(count: int) -> int:
    """⌊100 · log10 count⌋ for count ≥ 1, in whole numbers: the digits of count¹⁰⁰, less one."""
    return len(str(count**100)) - 1


def suspicion_timeout_ms(config: Config, member_count: int) -> int:
    """multiplier · (1 + max(1, log10 N)) · probe interval: the least a suspicion lasts.

    memberlist `suspicionTimeout` has no 1 in the brackets: with its 4 the same up to ten members,
    and a third longer at a hundred. News takes log N of gossip to come round; what the suspect
    needs to wake up and object does not grow with N.
    """
    scale = 100 + max(100, log10_hundredths(member_count))
    return config.suspicion_multiplier * scale * config.probe_interval_ms // 100


def confirmations_wanted(config: Config, member_count: int) -> int:
    """The configured number, or none where there are not so many others to confirm.

    memberlist the same: `SuspicionMult` - 2, and none when N - 2 is less: without the accuser
    and the suspect.
    """
    wanted = config.suspicion_confirmations
    return wanted if member_count - 2 >= wanted else 0


def asking_ms(config: Config) -> list[int]:
    """When a probe asks others, from its beginning: what its timeout leaves, in equal parts."""
    timeout_ms, rounds = config.probe_timeout_ms, config.indirect_rounds
    rest_ms = config.probe_interval_ms - timeout_ms
    return [timeout_ms + rest_ms * turn // rounds for turn in range(rounds)]


def nack_after_ms(config: Config) -> int:
    """4 ÷ 5 of what remains to the asker: its interval less when it asks last, in good health.

    The last fifth is for the nack's way (Lifeguard §IV.A: at 80 % of the timeout).
    """
    return (config.probe_interval_ms - asking_ms(config)[-1]) * 4 // 5


def retransmit_limit(config: Config, member_count: int) -> int:
    """multiplier · max(2, ⌈log10(N + 1)⌉), the logarithm being the number of digits of N.

    memberlist `retransmitLimit` without the least of 2: below ten members each would then hear
    an update four times on average, and with a quarter of all datagrams lost one in twenty never.
    """
    return config.retransmit_multiplier * max(2, len(str(member_count)))


def sync_interval_ms(config: Config, member_count: int) -> int:
    """interval · (1 + ⌈log4(N ÷ 32)⌉ beyond 32 members): 10 s, 20 s at 100, 40 s at 1,000.

    memberlist `pushPullScale` has log2, for its exchange grows with N; ours is one datagram while
    nothing differs, so the interval may grow half as fast.
    """
    scale = 1
    covered = 32
    while covered < member_count:
        covered *= 4
        scale += 1
    return config.sync_interval_ms * scale
