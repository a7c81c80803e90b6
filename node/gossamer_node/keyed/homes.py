"""The home's side: the keys that this member gives turns for.

Turns are given, in the order in which they were asked for, once the key's reign has begun
(`reigns`). What the job of a turn leaves is a version more; its keeper hears of it when it is on
both disks. After a change of who works on the service the next turn waits for another consultation.
"""

from gossamer_node.keyed import messages as wire
from gossamer_node.keyed.circle import CIRCLE_MAX
from gossamer_node.keyed.entries import (
    Entry,
    State,
    Turn,
    Waiting,
    has_turn,
)
from gossamer_node.keyed.floor import Failure, Stored
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.reigns import CONSULT_MS, COPY_MS, Reigns
from gossamer_node.keyed.runs import KEEP_MS
from gossamer_node.keyed.versions import Ballot, Version, newer

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


class Homes(Reigns):
    """All of a member's."""

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

    def _reign(self, key: Key, ballot: Ballot, state: State) -> Entry | None:
        entry = self._entries.get(key)
        is_it = entry is not None and entry.state == state and entry.ballot == ballot
        return entry if is_it else None

    def _is_wanted(self, entry: Entry) -> bool:
        """Whether anything waits for the end of its turn."""
        return bool(entry.queue) or entry.key in self._nudged or self._is_stale(entry)

    def _forget_silent(self, entry: Entry) -> None:
        before = self._floor.now_ms - SEEN_MS
        for one in [one for one in entry.queue if one.seen_ms < before]:
            entry.queue.remove(one)
            self._queued -= 1

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
