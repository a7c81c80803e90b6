"""How leases pass from one claimer to the next: mirrored, taken over, handed over.

A claimer's heir has a picture of its table (`standby`) and takes its leases over when it is gone
(`takeover`), or when it says that it cannot reach the engine any more (`handover`). What no picture
shows, the holders name. Who answers for a lease is theirs to say. What nobody knows of, the engine
tells (`reclaiming`).
"""

from gossamer_mesh.leases import lease as states
from gossamer_mesh.leases import takeover
from gossamer_mesh.leases.config import LeaseConfig
from gossamer_mesh.leases.engine_side import EngineSide
from gossamer_mesh.leases.handover import HandOverSender
from gossamer_mesh.leases.lease import Lease
from gossamer_mesh.leases.losses import Losses
from gossamer_mesh.leases.messages import Inherit, Inherited, LeaseId
from gossamer_mesh.leases.mirroring import HandOver, Mirror, MirrorAsk, TakenOver
from gossamer_mesh.leases.reclaiming import Look, Searches
from gossamer_mesh.leases.standby import MirrorSender, Standby
from gossamer_mesh.leases.table import LeaseTable
from gossamer_mesh.leases.work import RECLAIMED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.mirroring import AboutMirror, Row
    from gossamer_mesh.leases.reclaiming import Locked
    from gossamer_mesh.leases.standby import Orphan

    Passing = Mirror | AboutMirror | HandOver | TakenOver
    """What claimers say to each other."""


class Inheriting(EngineSide):
    """The part of a `Claimer` that faces other claimers of its group.

    Args:
        group: the claim group.
        member_id: this member.
        session: a number that another run of this process will not have.
        config: bounds and intervals.
    """

    def __init__(self, group: str, member_id: str, session: int, config: LeaseConfig) -> None:
        mirror = MirrorSender(group, session, config)
        losses = Losses(config, mirror)
        super().__init__(group, config, LeaseTable(config, mirror), losses)
        self.elected = False
        self._member_id = member_id
        self._session = session
        self._mirror = mirror
        self._standby = Standby(group, config, losses)
        self._hand_over = HandOverSender(group, session, config)
        self._searches = Searches(config)
        self._looks: list[Look] = []
        self._alive: set[str] = {member_id}
        self._sessions: dict[str, int] = {}
        self._reaches = True

    # --- commands

    def set_members(
        self,
        alive: set[str],
        heir: str | None,
        now_ms: int,
        *,
        reaches: bool = True,
        sessions: "dict[str, int] | None" = None,
    ) -> None:
        """Says who lives, this member included, and who gets the leases when it dies.

        The heir is the group's standby; or, when another member claims, that one. `elect` first.

        Args:
            reaches: whether this member reaches the engine, as far as it knows. While it does not,
                another that claims gets the leases although this member lives.
            sessions: which process of a member lives, where that is known.
        """
        self._alive = set(alive)
        self._sessions = dict(sessions or {})
        self._reaches = reaches
        if heir not in alive or heir == self._member_id:
            heir = None
        former = self._mirror.set_heir(heir, self._mirror_keys(), now_ms)
        if former in alive:
            self._send(former, self._mirror.end())
        self._hand_over.set_heir(None if reaches or self.elected else heir, now_ms)

    def mirrored(self) -> list[LeaseId]:
        """Leases of others that this member looks after when those are gone."""
        return self._standby.leases()

    def losses_of(self, key: str, now_ms: int) -> int:
        """How often a job's node was lost before the job went back to the engine, as known here.

        Not of a job that is in this claimer's table: there its lease counts.
        """
        return max(self._losses.get(key, now_ms), self._standby.losses_of(key, now_ms))

    # --- what other claimers say

    def _receive_passing(self, sender: str, message: "Passing", now_ms: int) -> None:
        if sender == self._member_id:
            return
        if isinstance(message, Mirror):
            if self._standby.session_of(sender) not in (None, message.session):
                self._search(sender, None, now_ms)
            self._searches.begin_as_heir(sender, message.session, now_ms)
            ask, orphans = self._standby.receive(sender, message, now_ms)
            if ask is not None:
                self._send(sender, ask)
            self._take_over(orphans, now_ms)
        elif isinstance(message, MirrorAsk):
            self._mirror.ask(sender, message, self._mirror_keys(), now_ms)
        elif isinstance(message, HandOver):
            self._receive_hand_over(sender, message, now_ms)
        elif isinstance(message, TakenOver):
            self._receive_taken_over(sender, message, now_ms)
        else:
            self._standby.receive_end(sender, message)

    def _receive_hand_over(self, sender: str, message: HandOver, now_ms: int) -> None:
        """A claimer that lost its engine gives us its leases. All are taken, or, unread, none."""
        if not self._reaches or sender not in self._alive:
            return
        taken: list[LeaseId] = []
        for place in range(len(message.rows)):
            row, outcome = message.rows[place], message.outcomes[place]
            if row.lease.group == self.group:
                lock_end_ms = now_ms + row.remaining_ms
                self._take_over_one(row, lock_end_ms, now_ms, sender, outcome)
                taken.append(row.lease)
        self._send(sender, TakenOver(self.group, message.session, taken))

    def _receive_taken_over(self, sender: str, message: TakenOver, now_ms: int) -> None:
        """The heir answers for these; what has changed since they were offered is offered again."""
        if message.session != self._session or sender != self._hand_over.heir:
            return
        for lease_id in self._hand_over.take_answer(message.leases, now_ms):
            one = self._table.get(lease_id.key)
            if one is not None and one.id == lease_id and self._hand_over.is_as_offered(one):
                self._counts["handed_over"] += 1
                self._table.pass_on(one, "yield", sender, now_ms)

    def _say_next(self, now_ms: int) -> None:
        """What the heir is to be told now, if anything."""
        told = self._mirror.next_message(self._table.leases, self._losses, now_ms)
        if told is not None and self._mirror.heir is not None:
            self._send(self._mirror.heir, told)
        offered = self._hand_over.next_message(self._table.leases, now_ms)
        if offered is not None and self._hand_over.heir is not None:
            self._send(self._hand_over.heir, offered)
        self._looks += self._searches.due(self.elected, now_ms)

    def _mirror_keys(self) -> list[str]:
        """Jobs of which the heir is to know something."""
        return list(self._table.leases) + self._losses.keys()

    def _say_next_at_ms(self) -> "list[int | None]":
        """When there is something to tell the heir."""
        waits = self._hand_over.get_timer() if self._table.leases else None
        return [self._mirror.get_timer(), waits, self._searches.get_timer(self.elected)]

    # --- what nobody knows of

    def looks(self) -> list[Look]:
        """Questions to the engine, in order; taken once."""
        looks, self._looks = self._looks, []
        return looks

    def handle_locked(self, look: Look, locked: "list[Locked] | None", now_ms: int) -> None:
        """Ends a `Look`: what is locked for that claimer. None: the engine did not answer."""
        if locked is None:
            self._searches.take_no_answer(look, now_ms)
            return
        # What we mirror, another has: the process after the lost one, say, whose heir we are.
        known = set(self._standby.keys()) | set(self._table.leases)
        is_gone = look.claimer not in self._alive
        if not is_gone:
            session = self._sessions.get(look.claimer, self._session_of(look.claimer))
            is_gone = session not in (None, look.session)
        for key, topic, receipt in self._searches.take_answer(look, locked, known, is_gone, now_ms):
            end_ms = now_ms + self._config.poll_ms_max
            one = Lease(self._next_id(key), topic, receipt, b"", 0, end_ms, "regrant", now_ms)
            self._counts["reclaimed"] += 1
            one.regrants = self.losses_of(key, now_ms)
            self._table.put(one)
            # It may have run there, for less time than the mirror pauses, and be what killed it.
            self._table.assign(one, look.claimer)
            self._release(one, RECLAIMED, now_ms)

    def handle_cannot_tell(self, look: Look) -> None:
        """Ends a `Look` at an engine that is not to be asked this."""
        self._searches.end(look)

    def _search(self, member_id: str, session: "int | None", now_ms: int) -> None:
        """A claimer is gone, of whose table we have a picture, or that claimed in this session."""
        pictured = self._standby.session_of(member_id)
        if pictured is not None:
            self._searches.begin(member_id, pictured, True, now_ms)
        if session is not None and session != pictured:
            self._searches.expect(member_id, session, now_ms)

    # --- leases that come

    def _take_over(self, rows: "list[Orphan]", now_ms: int) -> None:
        """Looks after the leases of a claimer that is gone, as `takeover` decides."""
        for row, lock_end_ms in rows:
            self._take_over_one(row, lock_end_ms, now_ms, "", None)

    def _take_over_one(
        self,
        row: "Row",
        lock_end_ms: int,
        now_ms: int,
        former: str,
        outcome: "bytes | None",
    ) -> None:
        """Looks after one lease of a claimer that is gone; or that lives and is the `former`."""
        step = takeover.decide(row, lock_end_ms, self._alive, now_ms)
        ours = self._table.get(row.lease.key)
        if ours is not None and ours.id == row.lease and outcome is not None:
            if ours.may("outcome"):
                self._take_outcome(ours, outcome, now_ms)
            return
        if ours is not None and ours.id != row.lease and ours.state == states.RELEASING:
            # Released here, and then it was the other's: what that one saw counts on.
            ours.regrants = self._note_losses(row, ours.regrants, now_ms)
        known = ours or self._table.settled.get(row.lease)
        if known is not None:
            return
        if step == takeover.SKIP and outcome is None:
            self._note_losses(row, self._losses.get(row.lease.key, now_ms), now_ms)
            return
        one = takeover.inherit(row, lock_end_ms, now_ms)
        self._enter_inherited(one, row.holder or None, now_ms)
        if outcome is not None:
            self._take_outcome(one, outcome, now_ms)
        elif step == takeover.ASK:
            self._send(row.holder, Inherit(row.lease, former))
        elif step == takeover.LOSE:
            self._lose(one, now_ms)
        elif step == takeover.RELEASE:
            self._release(one, "its claimer was lost", now_ms)
        elif step == takeover.ABANDON:
            self._table.step(one, "abandon", now_ms)
        elif step == takeover.GIVE_UP:
            self._give_up(one, now_ms)

    def _note_losses(self, row: "Row", known: int, now_ms: int) -> int:
        """Remembers what a row says of a job that is at the engine by now; returns the count.

        There is no lease to give up: at the limit, the next activation is granted once more.
        """
        count = min(takeover.losses_of(row, known, self._alive), self._config.regrants_max)
        if count:
            self._losses.note(row.lease.key, count, now_ms)
        return count

    def _inherit_from(self, sender: str, message: Inherited, now_ms: int) -> None:
        """A holder names a lease that no picture has shown us."""
        lease_id = message.lease
        if self._is_ours(lease_id) or self._moved_to(lease_id):
            return
        if self._table.settled.get(lease_id) is not None:
            return
        terms = self._terms(message.topic)
        lock_ms = terms.lock_ms if terms else self._config.silence_ms
        on_lost = terms.on_lost if terms else "regrant"
        one = takeover.inherit_from_holder(
            lease_id, message.topic, message.receipt, lock_ms, on_lost, now_ms
        )
        self._enter_inherited(one, sender, now_ms)
        self._accept(one, now_ms)
        if lease_id.claimer not in self._alive:
            self._searches.begin(lease_id.claimer, lease_id.session, False, now_ms)

    def _enter_inherited(self, one: "Lease", holder: "str | None", now_ms: int) -> None:
        self._counts["inherited"] += 1
        # Not what pictures say: the one of a claimer that hands over has this very lease.
        one.regrants = max(one.regrants, self._losses.get(one.id.key, now_ms))
        one.activation = self._next_id(one.id.key).counter
        self._searches.note(one.id.key)
        self._table.put(one)
        self._table.assign(one, holder)

    # --- leases that go

    def _move(self, one: "Lease", now_ms: int) -> None:
        """Another claimer answers for it by now, as its holder says."""
        if one.holder is not None:
            self._searches.spare(one.id, one.holder, now_ms)
        if one.may("move"):
            self._table.pass_on(one, "move", "", now_ms)

    def _is_ours(self, lease_id: LeaseId) -> bool:
        """Whether we granted it, and nobody else has answered for it since."""
        return (
            lease_id.claimer == self._member_id
            and lease_id.session == self._session
            and self._table.moved.get(lease_id) is None
        )

    def _moved_to(self, lease_id: LeaseId) -> str:
        """The living member to which we handed a lease over that is not in our table; or empty."""
        member_id = self._table.moved.get(lease_id)
        return member_id if member_id is not None and member_id in self._alive else ""

    # --- the claimer's

    def _lose(self, one: "Lease", now_ms: int) -> None:
        raise NotImplementedError

    def _accept(self, one: "Lease", now_ms: int) -> None:
        raise NotImplementedError

    def _take_outcome(self, one: "Lease", outcome: bytes, now_ms: int) -> None:
        raise NotImplementedError

    def _session_of(self, member_id: str) -> "int | None":
        raise NotImplementedError

    def _next_id(self, key: str) -> LeaseId:
        raise NotImplementedError
