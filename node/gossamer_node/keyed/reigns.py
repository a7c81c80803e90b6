"""How a home comes to reign over a key, and how it writes: asked for, agreed, on two disks.

A key begins with a *consultation*: the home asks every living member of the key's circle to follow
its ballot from now on, and to say which version it has and whether a job of the key runs there.
Only when all have answered, and none knows a living member that was not asked, the reign begins:
the newest version is put on the home's disk and on one other's, the *copy*, and a turn that goes on
is taken over. Whoever follows a higher ballot refuses a copy, so a home that was replaced without
its knowledge finds out with its next write, and consults again.

A reign holds while who works on the service stays the same. Nothing of it is on the disk but what
was written in it. What happens in one is for `homes` to say.
"""

from collections import OrderedDict

from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.entries import Entry, Turn, answers_of, copy_of
from gossamer_node.keyed.floor import Failure, Floor, Forked, Stored, Written
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.promises import Promises
from gossamer_node.keyed.versions import NOTHING, TERM_MAX, Version, forked, newer

CONSULT_MS = 300
"""Until members whose word is missing are asked again."""

COPY_MS = 1_000
"""Until a copy that nobody confirmed goes to the next of the circle as well."""


class Reigns:
    """All of a member's.

    Args:
        floor: shared.
        promises: shared: which ballots this member follows.
    """

    def __init__(self, floor: Floor, promises: Promises) -> None:
        self._floor = floor
        self._promises = promises
        self._entries: dict[Key, Entry] = {}
        self._active: dict[Key, Entry] = {}
        self._idle: OrderedDict[Key, int] = OrderedDict()
        self._nudged: dict[Key, set[str]] = {}
        self._queued = 0
        self.counts = {"consultations": 0, "forks": 0, "reigns_lost": 0}

    def _go_on(self, entry: Entry) -> None:
        """Whatever comes next for a key."""
        raise NotImplementedError

    # --- entries

    def _begin(self, key: Key) -> Entry:
        entry = self._entries[key] = self._active[key] = Entry(key)
        self._consult(entry, 0)
        return entry

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.key]
        self._active.pop(entry.key, None)
        self._idle.pop(entry.key, None)
        self._nudged.pop(entry.key, None)
        self._queued -= len(entry.queue)
        for one in entry.queue:
            self._refuse(one.member, one.ask, wire.NOT_HOME)
        if entry.keep is not None:
            self._refuse(*entry.keep, wire.NOT_HOME)

    def _refuse(self, member: str, message: wire.Ask | wire.Keep, why: str, text: str = "") -> None:
        refused = wire.Refuse(message.key, message.run, message.attempt, why, text)
        self._floor.send(member, refused)

    def _is_stale(self, entry: Entry) -> bool:
        return entry.stamp != self._floor.view.stamp(entry.key.service)

    def _leads(self, key: Key) -> bool:
        return self._floor.view.circle(key)[0] == self._floor.own

    def _is_there(self, member: str) -> bool:
        return member == self._floor.own or member in self._floor.view.peers

    # --- consulting

    def _consult_or_drop(self, entry: Entry) -> None:
        if self._leads(entry.key):
            self._consult(entry, entry.ballot[0])
        else:
            self._drop(entry)

    def _consult(self, entry: Entry, above: int) -> None:
        """Begins a reign's consultation, under a term above all that is known."""
        self.counts["consultations"] += 1
        entry.stored = None
        entry.replies = {}
        entry.circle = self._floor.view.circle(entry.key)
        entry.stamp = self._floor.view.stamp(entry.key.service)
        entry.awaited = tuple(entry.circle[1:])
        entry.sent_ms = self._floor.now_ms
        promised = self._promises.ballot(entry.key)
        term = max(above, promised[0]) + 1
        entry.ballot = (min(term, TERM_MAX), self._floor.own)
        ballot = entry.ballot

        def read(stored: Stored | Failure) -> None:
            if entry.ballot != ballot or self._entries.get(entry.key) is not entry:
                return
            if isinstance(stored, Failure):
                self._fail(entry, stored)
                return
            if stored.version.ballot >= entry.ballot:
                entry.ballot = (stored.version.ballot[0] + 1, self._floor.own)
            entry.stored = stored
            self._send_consult(entry)

        self._floor.read(entry.key, read)

    def _consult_again(self, entry: Entry) -> None:
        if not self._leads(entry.key):
            self._drop(entry)
        elif self._is_stale(entry):
            self._consult(entry, entry.ballot[0])
        else:
            self._send_consult(entry)

    def _send_consult(self, entry: Entry) -> None:
        """To all whose word is missing; to this member, too."""
        if entry.stored is None:
            return  # the disk has not answered
        entry.sent_ms = self._floor.now_ms
        missing = [one for one in entry.circle if one not in entry.replies]
        entry.awaited = tuple(missing)
        stored, circle = entry.stored, tuple(entry.circle)
        answered = tuple(one[3] for one in stored.answers)
        for member in missing:
            consult = wire.Consult(entry.key, entry.ballot, circle, stored.version, answered)
            self._floor.send(member, consult)

    def _agree(self, entry: Entry) -> None:
        entry.awaited = tuple(one for one in entry.circle if one not in entry.replies)
        if entry.awaited or entry.stored is None:
            return
        if self._is_stale(entry):
            self._consult_again(entry)
            return
        highest = max(has.version.ballot for has in entry.replies.values())
        if highest >= entry.ballot:
            # Who said so has forgotten whom it followed.
            entry.step("outbid")
            self._consult(entry, highest[0])
            return
        best, source = entry.stored, self._floor.own
        for member, has in sorted(entry.replies.items()):
            if has.state is not None and newer(has.version, best.version):
                best, source = Stored(has.version, has.state, has.answers), member
        versions = {member: has.version for member, has in entry.replies.items()}
        versions[self._floor.own] = entry.stored.version
        stale: list[str] = []
        for member, version in sorted(versions.items()):
            if forked(version, best.version):
                self.counts["forks"] += 1
                self._floor.forks.append(Forked(entry.key, best.version, version, member))
                if member != self._floor.own:
                    stale.append(member)
        self._take_over_turn(entry, best.version)
        found = answers_of(best.version, entry.replies)
        entry.is_here = source == self._floor.own and not found
        answers = wire.newest({*best.answers, *found}, len(best.state))
        best = Stored(best.version, best.state, answers)
        for member in stale:
            # So that the other history is found, and told of, once.
            self._floor.send(member, copy_of(entry, best))
        numbers = {one[3] for one in answers}
        entry.copies = {
            member
            for member, has in entry.replies.items()
            if has.version == best.version
            and numbers <= {*has.answered}
            and member != self._floor.own
        }
        entry.replies = {}
        entry.step("agreed")
        self._settle(entry, best)

    def _take_over_turn(self, entry: Entry, version: Version) -> None:
        """The turn that goes on. One that was given with another version is over: its node has
        yet to hear whether what it left was kept."""
        entry.turn = None
        now = self._floor.now_ms
        for member, has in sorted(entry.replies.items()):
            if has.run and has.base == version.number:
                entry.turn = Turn(member, has.run, has.attempt, now + has.left_ms, now)

    def _fail(self, entry: Entry, failure: Failure) -> None:
        """The disk is of no use: all that wait hear so."""
        for one in entry.queue:
            self._refuse(one.member, one.ask, wire.DISK, failure.text)
        if entry.keep is not None:
            self._refuse(*entry.keep, wire.DISK, failure.text)
        self._queued -= len(entry.queue)
        entry.queue.clear()
        entry.keep = None
        self._drop(entry)

    # --- settling

    def _settle(self, entry: Entry, stored: Stored) -> None:
        """Has a version on this disk and on another's."""
        entry.stored = stored
        entry.tries = 0
        ballot = entry.ballot
        if not entry.is_here:

            def written(result: Written | Failure) -> None:
                if entry.ballot != ballot or self._entries.get(entry.key) is not entry:
                    return
                if isinstance(result, Failure):
                    self._fail(entry, result)
                elif result.term:
                    entry.step("outbid")
                    self._consult(entry, result.term)
                else:
                    entry.is_here = True
                    self._settled(entry)

            self._floor.write(entry.key, ballot, stored, written)
        self._copy(entry)

    def _copy(self, entry: Entry) -> None:
        assert entry.stored is not None, "what is settled is there"
        circle = [one for one in self._floor.view.circle(entry.key) if one != self._floor.own]
        entry.sent_ms = self._floor.now_ms
        if not circle or entry.stored.version == NOTHING:
            entry.copied_to = ""
            entry.copies.add("")
        else:
            entry.copied_to = circle[entry.tries % len(circle)]
            # A former copy counts as long as its member is the one that should have it.
            entry.copies &= set(circle)
            if entry.copied_to not in entry.copies:
                self._floor.send(entry.copied_to, copy_of(entry, entry.stored))
        self._settled(entry)

    def _settled(self, entry: Entry) -> None:
        if entry.state != "settling" or not entry.is_here or not entry.stored:
            return
        is_first = entry.tries == 0
        if not (entry.copied_to in entry.copies if is_first else entry.copies):
            return
        entry.version = entry.stored.version
        entry.stored = None
        entry.step("settled")
        holders = tuple(sorted({self._floor.own, *entry.copies} - {""}))
        for member in sorted(self._nudged.pop(entry.key, ())):
            self._floor.send(member, wire.Settled(entry.key, entry.version, holders))
        if entry.keep is not None:
            member, keep = entry.keep
            if self._is_kept(entry, keep):
                entry.keep = None
                entry.turn = None
                self._floor.send(member, wire.Kept(entry.key, keep.run, entry.version))
        if entry.turn is not None:
            entry.step("taken over")
        self._go_on(entry)

    def _is_kept(self, entry: Entry, keep: wire.Keep) -> bool:
        """Whether the version that was settled is that of this keep."""
        ours = keep.base.next(entry.ballot)
        return entry.version == ours
