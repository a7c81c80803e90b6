"""The home's side: the keys that this member gives turns for.

A key begins with a *consultation*: the home asks every living member of the key's circle to follow
its ballot from now on, and to say which version it has and whether a job of the key runs there.
Only when all have answered, and none knows a living member that was not asked, the reign begins:
the newest version is put on the home's disk and on one other's, the *copy*, a turn that goes on is
taken over, and turns are given, in the order in which they were asked for. What the job of a turn
leaves is a version more; its keeper hears of it when it is on both disks. Whoever follows a higher
ballot refuses a copy, so a home that was replaced without its knowledge finds out with its next
write, and consults again.

A reign holds while who works on the service stays the same. After a change the next turn waits for
another consultation. Nothing of a reign is on the disk but what was written in it.
"""

from collections import OrderedDict

from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.circle import CIRCLE_MAX
from gossamer_node.keyed.entries import (
    Entry,
    State,
    Turn,
    Waiting,
    answers_of,
    copy_of,
    has_turn,
)
from gossamer_node.keyed.floor import Failure, Floor, Forked, Stored, Written
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.promises import Promises
from gossamer_node.keyed.runs import KEEP_MS
from gossamer_node.keyed.versions import NOTHING, TERM_MAX, Ballot, Version, forked, newer

CONSULT_MS = 300
"""Until members whose word is missing are asked again."""

COPY_MS = 1_000
"""Until a copy that nobody confirmed goes to the next of the circle as well."""

STILL_MS = 1_000
"""While anything waits: between two questions to the holder of the turn."""

SEEN_MS = 5_000
"""An asker that was silent for so long does not wait any more; it repeats itself each second."""

IDLE_MS = 60_000
"""A reign without a job for so long is forgotten; the next job costs a consultation."""

ENTRIES_MAX = 20_000
"""Reigns at one time. Beyond, the longest idle one is forgotten; with none idle, jobs are refused.
"""

QUEUED_MAX = 10_000
"""Jobs that wait here for turns, over all keys."""


class Homes:
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

    def __len__(self) -> int:
        return len(self._entries)

    def has(self, key: Key) -> bool:
        return key in self._entries

    def busy(self) -> int:
        """Entries that somebody waits for."""
        return len(self._active)

    # --- what askers say

    def ask(self, sender: str, ask: wire.Ask) -> None:
        entry = self._open(sender, ask)
        if entry is None:
            return
        if not self._put(entry, sender, ask):
            self._refuse(sender, ask, wire.FULL)
            self._rest(entry)
            return
        self._go_on(entry)
        if entry.key in self._entries and any(one.ask is ask for one in entry.queue):
            awaited = entry.awaited if entry.state == "consulting" else ()
            if entry.state == "settling":
                awaited = (entry.copied_to,) if entry.copied_to not in entry.copies else ()
            said = wire.Queued(ask.key, ask.run, ask.attempt, awaited)
            self._floor.send(sender, said)

    def _put(self, entry: Entry, sender: str, ask: wire.Ask) -> bool:
        """Into the queue; whether there is room for it."""
        for one in entry.queue:
            if (one.member, one.ask.run) == (sender, ask.run):
                one.ask, one.seen_ms = ask, self._floor.now_ms
                return True
        if self._queued >= QUEUED_MAX:
            return False
        one = Waiting(sender, ask, self._floor.now_ms)
        if has_turn(entry, sender, ask.run):
            # The grant was lost, or was void when it arrived: the turn is granted anew.
            if entry.state == "taken":
                self._end_turn(entry)
            entry.queue.appendleft(one)
        elif len(entry.queue) >= max(1, ask.waiting_max):
            return False
        else:
            entry.queue.append(one)
        self._queued += 1
        return True

    def keep(self, sender: str, keep: wire.Keep) -> None:
        entry = self._open(sender, keep)
        if entry is None:
            return
        if entry.keep is None and len(keep.state) + len(keep.answer[2]) <= wire.CONTENT_BYTES_MAX:
            entry.keep = (sender, keep)
        self._go_on(entry)

    def release(self, sender: str, message: wire.Release) -> None:
        entry = self._entries.get(message.key)
        if entry is None:
            return
        for one in entry.queue:
            if (one.member, one.ask.run) == (sender, message.run):
                entry.queue.remove(one)
                self._queued -= 1
                break
        turn = entry.turn
        is_over = has_turn(entry, sender, message.run)
        if is_over and turn is not None and turn.attempt == message.attempt:
            if entry.state == "taken":
                self._end_turn(entry)
            elif entry.state == "consulting":
                entry.turn = None
        self._go_on(entry)

    def touch(self, key: Key, member: str, version: Version) -> None:
        """Have the key and its copy where they belong, though no job wants it now; and say so.

        Args:
            version: what the member has. A newer one than this home knows was written by a side
                of the mesh that did not see it, while it saw no change.
        """
        if key not in self._entries:
            if len(self._entries) >= ENTRIES_MAX or not self._is_there(member):
                return
            self._begin(key)
        entry = self._entries[key]
        self._nudged.setdefault(key, set()).add(member)
        if entry.state != "consulting" and newer(version, entry.version):
            entry.stamp = -1
        self._go_on(entry)

    # --- what members of the circle say

    def has_it(self, sender: str, message: wire.Has) -> None:
        entry = self._reign(message.key, message.ballot, "consulting")
        if entry is None or sender not in entry.circle:
            return
        if not message.busy:
            entry.replies[sender] = message
        self._agree(entry)

    def others(self, sender: str, message: wire.Others) -> None:
        entry = self._reign(message.key, message.ballot, "consulting")
        if entry is not None and sender in entry.circle:
            entry.awaited = tuple({*entry.awaited, *message.missing})[:CIRCLE_MAX]

    def outbid(self, sender: str, message: wire.Outbid) -> None:
        entry = self._entries.get(message.key)
        if entry is None or entry.ballot != message.ballot or not self._is_there(sender):
            return
        if entry.state in ("consulting", "settling"):
            entry.step("outbid")
            self._consult(entry, message.term)

    def copied(self, sender: str, message: wire.Copied) -> None:
        entry = self._reign(message.key, message.ballot, "settling")
        if entry is not None and entry.stored and entry.stored.version == message.version:
            entry.copies.add(sender)
            self._settled(entry)

    def yield_to(self, key: Key, home: str) -> None:
        """Another home was promised to be followed."""
        entry = self._entries.get(key)
        if entry is not None and home != self._floor.own:
            self.counts["reigns_lost"] += 1
            self._drop(entry)

    # --- membership and time

    def members_changed(self) -> None:
        """Turns of those that are gone are over; who awaited them looks again."""
        for entry in list(self._active.values()):
            if entry.turn is not None and not self._is_there(entry.turn.member):
                if entry.state == "taken":
                    self._end_turn(entry)
                elif entry.state in ("consulting", "settling"):
                    entry.turn = None
            if entry.state == "consulting":
                self._consult_again(entry)
            elif entry.state == "settling":
                self._copy(entry)
            else:
                self._go_on(entry)
        for key in [one for one in self._idle if self._is_stale(self._entries[one])]:
            self._drop(self._entries[key])

    def handle_timer(self) -> None:
        now = self._floor.now_ms
        for entry in list(self._active.values()):
            self._forget_silent(entry)
            if entry.state == "consulting" and now >= entry.sent_ms + CONSULT_MS:
                self._consult_again(entry)
            elif entry.state == "settling" and now >= entry.sent_ms + COPY_MS:
                entry.tries += 1
                self._copy(entry)
            elif entry.state == "taken" and entry.turn is not None:
                turn = entry.turn
                if now >= turn.until_ms:
                    self._end_turn(entry)
                elif self._is_wanted(entry) and now >= turn.asked_ms + STILL_MS:
                    turn.asked_ms = now
                    self._floor.send(turn.member, wire.Still(entry.key, turn.run, turn.attempt))
            if entry.key in self._entries:
                self._go_on(entry)
        while self._idle:
            key, since_ms = next(iter(self._idle.items()))
            if now < since_ms + IDLE_MS:
                break
            self._drop(self._entries[key])

    # --- entries

    def _open(self, sender: str, message: wire.Ask | wire.Keep) -> Entry | None:
        """The key's entry; None when the asker was refused."""
        key = message.key
        entry = self._entries.get(key)
        # An asker that this member has not heard of shows that it has yet to hear of others, too.
        is_mine = self._is_there(sender) and self._leads(key)
        if entry is not None and (is_mine or entry.turn is not None):
            return entry
        if not is_mine:
            if entry is not None:
                self._drop(entry)
            self._refuse(sender, message, wire.NOT_HOME)
            return None
        if len(self._entries) >= ENTRIES_MAX:
            if not self._idle:
                self._refuse(sender, message, wire.FULL)
                return None
            self._drop(self._entries[next(iter(self._idle))])
        return self._begin(key)

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

    def _reign(self, key: Key, ballot: Ballot, state: State) -> Entry | None:
        entry = self._entries.get(key)
        is_it = entry is not None and entry.state == state and entry.ballot == ballot
        return entry if is_it else None

    def _is_stale(self, entry: Entry) -> bool:
        return entry.stamp != self._floor.view.stamp(entry.key.service)

    def _is_wanted(self, entry: Entry) -> bool:
        """Whether anything waits for the end of its turn."""
        return bool(entry.queue) or entry.key in self._nudged or self._is_stale(entry)

    def _leads(self, key: Key) -> bool:
        return self._floor.view.circle(key)[0] == self._floor.own

    def _is_there(self, member: str) -> bool:
        return member == self._floor.own or member in self._floor.view.peers

    def _forget_silent(self, entry: Entry) -> None:
        before = self._floor.now_ms - SEEN_MS
        for one in [one for one in entry.queue if one.seen_ms < before]:
            entry.queue.remove(one)
            self._queued -= 1

    # --- consulting

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

    # --- turns

    def _go_on(self, entry: Entry) -> None:
        """Whatever comes next for a key."""
        if entry.state == "taken" and entry.keep is not None:
            self._take_keep(entry)
        elif entry.state == "open":
            if self._is_stale(entry):
                entry.step("changed")
                self._consult_or_drop(entry)
            elif entry.keep is not None:
                self._take_keep(entry)
            elif entry.queue:
                entry.step("asked")
                self._read(entry, entry.queue.popleft())
        self._rest(entry)

    def _consult_or_drop(self, entry: Entry) -> None:
        if self._leads(entry.key):
            self._consult(entry, entry.ballot[0])
        else:
            self._drop(entry)

    def _rest(self, entry: Entry) -> None:
        """An open key that nobody wants grows idle."""
        if self._entries.get(entry.key) is not entry:
            return
        if entry.state == "open" and not entry.queue and entry.keep is None:
            if entry.key not in self._idle:
                self._idle[entry.key] = self._floor.now_ms
                del self._active[entry.key]
            for member in sorted(self._nudged.pop(entry.key, ())):
                holders = (self._floor.own, *sorted(entry.copies - {""}))
                self._floor.send(member, wire.Settled(entry.key, entry.version, holders))
        else:
            self._idle.pop(entry.key, None)
            self._active[entry.key] = entry

    def _read(self, entry: Entry, one: Waiting) -> None:
        """Finds the state for a turn, or the answer that makes it needless."""
        self._queued -= 1
        ballot = entry.ballot

        def read(stored: Stored | Failure) -> None:
            if self._entries.get(entry.key) is not entry or entry.ballot != ballot:
                self._refuse(one.member, one.ask, wire.NOT_HOME)
                return
            if isinstance(stored, Failure):
                self._refuse(one.member, one.ask, wire.DISK, stored.text)
                self._fail(entry, stored)
                return
            self._grant(entry, one, stored)

        self._floor.read(entry.key, read, (one.ask.engine, one.ask.job))

    def _grant(self, entry: Entry, one: Waiting, stored: Stored) -> None:
        ask = one.ask
        if stored.found is not None:
            entry.step("known")
            known = wire.Answered(ask.key, ask.run, ask.attempt, stored.found)
            self._floor.send(one.member, known)
        elif not self._is_there(one.member):
            entry.step("gone")
        else:
            entry.step("granted")
            now = self._floor.now_ms
            until_ms = now + ask.limit_ms + KEEP_MS
            entry.turn = Turn(one.member, ask.run, ask.attempt, until_ms, now)
            self._floor.send(
                one.member,
                wire.Grant(ask.key, ask.run, ask.attempt, stored.version, stored.state),
            )
        self._go_on(entry)

    def _end_turn(self, entry: Entry) -> None:
        entry.turn = None
        entry.step("over")

    def _take_keep(self, entry: Entry) -> None:
        """Writes what a turn leaves, if nothing was written since the turn was given."""
        assert entry.keep is not None, "asked for with a keep"
        member, keep = entry.keep
        is_its_turn = has_turn(entry, member, keep.run)
        if keep.base == entry.version and (entry.turn is None or is_its_turn):
            entry.step("keep")
            entry.is_here = False
            entry.copies = set()
            version = entry.version.next(entry.ballot)
            answer = (*keep.answer[:3], version.number)
            self._settle(entry, Stored(version, keep.state, (answer,)))
            return
        entry.keep = None
        if is_its_turn:
            self._end_turn(entry)

        def read(stored: Stored | Failure) -> None:
            if isinstance(stored, Stored) and stored.found is not None:
                # It was kept before, by another home or before the answer was lost.
                self._floor.send(member, wire.Kept(entry.key, keep.run, stored.version))
            else:
                self._refuse(member, keep, wire.STALE)

        self._floor.read(entry.key, read, keep.answer[:2])
        self._go_on(entry)
