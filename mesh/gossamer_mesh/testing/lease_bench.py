"""A claimer at work and the time, for tests that play its holders and its engine."""

from typing import TypeVar

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.messages import (
    Accept,
    Grant,
    Heartbeat,
    LeaseId,
    Offer,
    OutcomeReport,
    TopicTerms,
)

CONFIG = LeaseConfig()
SESSION = 77
"""Of the claimer's process."""
LOCK_MS = 30_000
Kind = TypeVar("Kind")


class ClaimerBench:
    """A claimer at work, and the time."""

    def __init__(self, config: LeaseConfig = CONFIG) -> None:
        self.now_ms = 1_000
        self.claimer = Claimer("e/a", "c", SESSION, config)
        self.claimer.elect(True, 0)
        self.sequence = 0

    def offer(
        self, who: str, slots: int, *, seen: int = 0, bytes_free: int = 1_000, session: int = 5
    ) -> None:
        self.sequence += 1
        self.tell(who, Offer("e/a", session, self.sequence, slots, bytes_free, SESSION, seen))

    def heartbeat(
        self, who: str, *leases: LeaseId, on_lost: str = "regrant", session: int = 5
    ) -> None:
        self.sequence += 1
        topics = [TopicTerms("t", LOCK_MS, None, on_lost)]
        self.tell(who, Heartbeat("e/a", session, self.sequence, topics, list(leases)))

    def join(self, who: str, slots: int, on_lost: str = "regrant", session: int = 5) -> None:
        self.heartbeat(who, on_lost=on_lost, session=session)
        self.offer(who, slots, session=session)

    def tell(self, who: str, message: object) -> None:
        self.claimer.receive_message(who, message, self.now_ms)  # type: ignore[arg-type]

    def activate(self, key: str, payload: bytes = b"p") -> None:
        self.claimer.handle_activated(
            key, "t", LOCK_MS, self.now_ms + LOCK_MS, b"receipt", payload, self.now_ms
        )

    def sent(self, kind: type[Kind]) -> list[tuple[str, Kind]]:
        messages = self.claimer.messages_to_send()
        return [(to, one) for to, one in messages if isinstance(one, kind)]

    def grant(self) -> tuple[str, LeaseId]:
        """The only grant that was sent."""
        ((to, grant),) = self.sent(Grant)
        return to, grant.lease

    def held(self, key: str = "j1", who: str = "h1") -> LeaseId:
        """A job that this holder has accepted."""
        self.activate(key)
        to, lease = self.grant()
        assert to == who
        self.tell(who, Accept(lease))
        return lease

    def outcome(self, who: str, lease: LeaseId, outcome: bytes = b"done") -> None:
        self.tell(who, OutcomeReport(lease, "t", b"receipt", outcome))

    def work(self, kind: type[Kind]) -> Kind:
        """The only call to the engine that is asked for."""
        (one,) = self.claimer.events()
        assert isinstance(one, kind)
        return one

    def lease(self, key: str = "j1") -> Lease:
        return next(one for one in self.claimer.leases() if one.id.key == key)

    def wait(self, pause_ms: int, *alive: str) -> None:
        """Time passes as for a driver: it wakes when it asked to; these holders speak."""
        end_ms = self.now_ms + pause_ms
        while self.now_ms < end_ms:
            timer_ms = self.claimer.get_timer()
            due_ms = end_ms if timer_ms is None else max(timer_ms, self.now_ms)
            self.now_ms = min(end_ms, self.now_ms + 500, due_ms)
            for who in alive:
                mine = self.claimer.leases()
                self.heartbeat(who, *[one.id for one in mine if one.holder == who])
            self.claimer.handle_timer(self.now_ms)
