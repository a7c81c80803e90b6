"""The rules that a run of `lease_model` must keep, counted apart from what is under test.

One `Checks` watches one process: what it sends and starts, what its engine calls say. Each method
raises `InvariantBroken` when it sees a rule broken; the rules are listed in `lease_model`.
"""

from gossamer_mesh.leases.messages import Grant, Offer, Settled
from gossamer_mesh.leases.work import Release, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from gossamer_mesh.leases.claimer import Claimer
    from gossamer_mesh.leases.config import LeaseConfig
    from gossamer_mesh.leases.messages import Heartbeat, LeaseId, Message
    from gossamer_mesh.leases.work import EngineWork

GRANTS_MAX = 3
"""The first grant and two re-grants, as the design promises, whatever the configuration says."""


class InvariantBroken(AssertionError):
    """A run broke a rule. The message names the rule, the time and how to replay the run."""


def name_of(lease: "LeaseId") -> str:
    """All parts of an id, as outcomes quote it."""
    return "/".join(str(part) for part in lease.to_plain())


class ShadowCredit:
    """One holder's newest offer to one claimer, and the grants that it did not know of."""

    def __init__(self, session: int, heard_ms: int) -> None:
        self.session = session
        self.heard_ms = heard_ms
        self.sequence = -1
        self.slots_free = 0
        self.outstanding: dict[int, int] = {}


class Checks:
    """Watches one process.

    Args:
        granted: ids that were ever granted, by anybody.
        config: of the claimers and the holder.
    """

    def __init__(
        self,
        member_id: str,
        session: int,
        slots: int,
        bytes_max: int,
        granted: "set[LeaseId]",
        config: "LeaseConfig",
    ) -> None:
        self._member_id = member_id
        self._session = session
        self._slots = slots
        self._bytes_max = bytes_max
        self._granted = granted
        self._config = config
        self._started: set[LeaseId] = set()
        self._settled: set[LeaseId] = set()
        self._given_back: set[tuple[str, int]] = set()
        self._offers: dict[tuple[str, str], ShadowCredit] = {}
        self._grants: dict[tuple[str, int], int] = {}
        self._newest: dict[tuple[str, str], LeaseId] = {}

    # --- the holder

    def check_offer(self, offer: Offer, running: int) -> None:
        """Rule 2, the holder's half."""
        free = self._slots - running
        if not 0 <= offer.slots_free <= free:
            self._break(f"offers {offer.slots_free} of {free} slots")

    def check_run(self, lease: "LeaseId") -> None:
        """Rule 5, the holder's half."""
        if lease in self._started:
            self._break(f"runs {lease!r} a second time")
        self._started.add(lease)

    def check_bounds(self, running: "dict[LeaseId, int]", statistics: "dict[str, int]") -> None:
        """Rule 3. `running`: bytes of payload of each."""
        if len(running) > self._slots or statistics["running"] != len(running):
            self._break(f"runs {len(running)} on {self._slots} slots, and says {statistics}")
        if sum(running.values()) > self._bytes_max:
            self._break(f"holds {running} bytes of at most {self._bytes_max}")
        if statistics["running"] + statistics["unacknowledged"] > self._config.outcomes_kept_max:
            self._break(f"keeps {statistics} of at most {self._config.outcomes_kept_max}")

    # --- the claimer

    def note_state(self, sender: str, state: "Offer | Heartbeat", now_ms: int) -> None:
        """Keeps what a claimer is told of a holder's credit."""
        shadow = self._offers.get((state.group, sender))
        if shadow is None or shadow.session != state.session:
            shadow = ShadowCredit(state.session, now_ms)
            self._offers[(state.group, sender)] = shadow
        if now_ms - shadow.heard_ms >= self._config.silence_ms:
            # Silent for so long, it was lost, and what was sent to it is off its account.
            shadow.outstanding = {}
        if state.sequence <= shadow.sequence:
            return
        shadow.sequence = state.sequence
        shadow.heard_ms = now_ms
        if isinstance(state, Offer):
            shadow.slots_free = state.slots_free
            seen = state.counter_seen if state.claimer_session == self._session else 0
            shadow.outstanding = {
                counter: sent_ms
                for counter, sent_ms in shadow.outstanding.items()
                if counter > seen and sent_ms > now_ms - self._config.accept_ms
            }

    def note_member_lost(self, member_id: str) -> None:
        """A claimer forgets what a dead member offered."""
        for key in [key for key in self._offers if key[1] == member_id]:
            del self._offers[key]

    def note_back(self, claimer: "Claimer", lease: "LeaseId") -> None:
        """A grant that comes back in good order does not count."""
        for one in claimer.leases():
            if one.id == lease:
                activation = (claimer.group, one.activation)
                self._grants[activation] = self._grants.get(activation, 0) - 1

    def check_claimer_message(
        self, claimer: "Claimer", to: str, message: "Message", now_ms: int
    ) -> None:
        """Rules 2, 4, 5 and 6, for what a claimer sends."""
        if isinstance(message, Settled):
            if message.reason == "stale" and message.lease in self._settled:
                self._break(f"calls {message.lease!r} stale, having settled it")
        elif isinstance(message, Grant):
            self._check_grant(claimer, to, message.lease, now_ms)

    def check_call(self, work: "EngineWork") -> None:
        """Rules 1 and 6."""
        if isinstance(work, Report):
            self._check_report(work)
        elif isinstance(work, Release) and _activation(work) in self._given_back:
            self._break(f"gives {work.lease!r} back again, which another may have by now")

    def note_answered(self, work: "EngineWork") -> None:
        """The engine has answered a call."""
        if isinstance(work, Report):
            self._settled.add(work.lease)
        elif isinstance(work, Release):
            self._given_back.add(_activation(work))

    def _check_report(self, report: "Report") -> None:
        lease = report.lease
        if report.outcome is not None and not report.outcome.endswith(name_of(lease).encode()):
            self._break(f"reports {lease!r} with {report.outcome!r}")
        ours = lease.claimer == self._member_id and lease.session == self._session
        if ours and self._newest[(lease.group, lease.key)] != lease:
            self._break(f"reports {lease!r}, which it has granted to another since")
        if lease in self._settled:
            self._break(f"reports {lease!r} again after it was settled")

    def _check_grant(self, claimer: "Claimer", to: str, lease: "LeaseId", now_ms: int) -> None:
        if lease in self._granted:
            self._break(f"grants {lease!r} a second time")
        self._granted.add(lease)
        self._newest[(lease.group, lease.key)] = lease
        shadow = self._offers.get((claimer.group, to))
        if shadow is None:
            self._break(f"grants to {to}, which has offered nothing")
        shadow.outstanding[lease.counter] = now_ms
        if len(shadow.outstanding) > shadow.slots_free:
            sent = len(shadow.outstanding)
            self._break(f"has {sent} grants on their way to {to}, of {shadow.slots_free} offered")
        for one in claimer.leases():
            if one.id == lease:
                activation = (claimer.group, one.activation)
                self._grants[activation] = self._grants.get(activation, 0) + 1
                if self._grants[activation] > GRANTS_MAX:
                    self._break(f"grants {lease!r} more than {GRANTS_MAX} times")

    def _break(self, what: str) -> "NoReturn":
        raise InvariantBroken(f"{self._member_id} {what}")


def _activation(work: "EngineWork") -> "tuple[str, int]":
    """One activation of one job: each group's claimer counts its own."""
    return (work.lease.group, work.activation)
