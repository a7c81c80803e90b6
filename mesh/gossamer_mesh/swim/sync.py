"""Tables compared and brought together: what gossip missed, in few bytes where nothing was missed.

    asker ──SYNC: own claim, digest──▶ answerer       equal: an empty STATE back, and that is all
    asker ◀──STATE: words of the buckets that differ, and which buckets are complete here──
    asker ──STATE: words on those buckets that the answerer had not, or not so new──▶

A few words go in datagrams, many in stream frames, bounded by `sync_frames_max` frames either way
and from a random place, so that what was left out of one exchange is in another. With many words
some go in datagrams too, for there are networks where streams do not pass; and an asker that hears
nothing asks once more over a stream, for there are networks where datagrams do not.

Every frame stands for itself: it says which buckets it has in full, and the answer to it is about
those. So frames may be lost, doubled or overtaken, and nobody keeps a state of an exchange but for
the one number that a missing answer is noticed by.
"""

from gossamer_mesh.swim import config as tuning
from gossamer_mesh.swim.codec import STATE, SYNC
from gossamer_mesh.swim.digest import (
    BUCKET_BYTES,
    BUCKETS_MAX,
    bucket_of,
    buckets_for,
    buckets_of,
    mask_of,
)
from gossamer_mesh.swim.state import ALIVE, supersedes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gossamer_mesh.swim.codec import Codec, Frame
    from gossamer_mesh.swim.config import Config
    from gossamer_mesh.swim.members import Member, Members
    from gossamer_mesh.swim.outbox import Outbox
    from gossamer_mesh.swim.rng import Rng

    Address = tuple[str, int]


TABLE_FRAME_BYTES_MAX = 65_536
"""Of one stream frame with words of a table, some 270 claims: who takes it checks that many
signatures at once, for 30 ms, and does nothing else meanwhile."""


class Sync:
    """One member's side of all comparisons."""

    def __init__(
        self,
        *,
        node_id: str,
        config: "Config",
        codec: "Codec",
        rng: "Rng",
        members: "Members",
        outbox: "Outbox",
        next_sequence: "Callable[[], int]",
        count: "Callable[[str], None]",
        now_ms: int,
    ) -> None:
        self._node_id = node_id
        self._config = config
        self._codec = codec
        self._rng = rng
        self._members = members
        self._outbox = outbox
        self._next_sequence = next_sequence
        self._count = count
        self._returned: list[str] = []
        self._unanswered: _Unanswered | None = None
        # Members that start together must not speak together.
        self._next_ms = now_ms + rng.below(config.sync_interval_ms)

    @property
    def timer_ms(self) -> int:
        """When `handle_timer` has something to do."""
        if self._unanswered is None:
            return self._next_ms
        return min(self._next_ms, self._unanswered.end_ms)

    @property
    def is_due_ms(self) -> int:
        """When the next comparison begins."""
        return self._next_ms

    def hurry(self, id: str, now_ms: int) -> None:
        """One came back from the dead: its side of a healed partition knows more."""
        if len(self._returned) < self._config.gone_max:
            self._returned.append(id)
        self._next_ms = min(self._next_ms, now_ms + self._config.gossip_interval_ms)

    def handle_timer(self, now_ms: int) -> None:
        """Asks again over a stream whom a datagram did not reach; asks the next when it is time."""
        unanswered = self._unanswered
        if unanswered is not None and unanswered.end_ms <= now_ms:
            self._unanswered = None
            member = self._members.get(unanswered.id)
            if member is not None and member.is_present:
                self._count("syncs_by_stream")
                self.ask(member.address, member.id, unanswered.sequence, by_stream=True)
        if self._next_ms > now_ms:
            return
        self._next_ms = now_ms + tuning.sync_interval_ms(self._config, len(self._members.present()))
        partner = self._partner(now_ms)
        if partner is not None:
            self._count("syncs")
            sequence = self._next_sequence()
            end_ms = now_ms + self._config.join_retry_ms
            self._unanswered = _Unanswered(partner.id, sequence, end_ms)
            self.ask(partner.address, partner.id, sequence)

    def ask(
        self, address: "Address", receiver: str, sequence: int, *, by_stream: bool = False
    ) -> None:
        """SYNC with our own claim and our table's digest, to somebody we may know or not."""
        own = self._members.get(self._node_id)
        assert own is not None
        words = own.words()
        for word in self._words_for(receiver):
            if self._codec.digest_room(words + [word]) >= BUCKET_BYTES:
                words.append(word)
        room = self._codec.digest_room(words)
        members = len(self._members.present())
        buckets = buckets_for(members, room)
        digest = (members, buckets, self._members.digest.folded(buckets))
        self._outbox.put(
            SYNC, address, receiver, sequence, words, digest=digest, by_stream=by_stream
        )

    def handle_sync(self, frame: "Frame", address: "Address", *, by_stream: bool) -> None:
        """Answers with what the asker may lack. Its own words have been heard."""
        assert frame.digest is not None  # the codec refuses a SYNC without it
        members, count, data = frame.digest
        differing = self._members.digest.differing(count, data)
        if not differing:
            words = self._words_for(frame.sender)
            self._outbox.put(
                STATE, address, frame.sender, frame.sequence, words, by_stream=by_stream
            )
            return
        self._count("syncs_differing")
        fine = max(count, buckets_for(len(self._members.present()), BUCKET_BYTES * BUCKETS_MAX))
        split = fine // count
        wanted = [bucket * split + part for bucket in differing for part in range(split)]
        # To a newcomer the dead and departed mean nothing.
        groups = self._groups(wanted, fine, with_gone=members > 1)
        self._send(frame, address, groups, fine, by_stream=by_stream)

    def handle_state(
        self, frame: "Frame", address: "Address", now_ms: int, *, by_stream: bool
    ) -> None:
        """The other side of an answer: our words on the buckets that it has in full."""
        if self._unanswered is not None and self._unanswered.sequence == frame.sequence:
            self._unanswered = None
        if frame.digest is None:
            return
        # We asked, and our tables differed: others' may know more still.
        self._next_ms = min(self._next_ms, now_ms + self._config.sync_again_ms)
        _, count, mask = frame.digest
        said = {update.id: (update.incarnation, ALIVE - 1) for update in frame.updates}
        for update in frame.updates:
            said[update.id] = max(said[update.id], (update.incarnation, update.state))
        words: list[list[bytes]] = []
        groups = self._members_by_bucket(buckets_of(mask, count), count)
        for bucket in sorted(groups):
            for member in groups[bucket]:
                heard = said.get(member.id)
                if heard is None:
                    is_news = member.is_present
                else:
                    is_news = supersedes(member.incarnation, member.state, heard[0], heard[1])
                if is_news and member.id != frame.sender:
                    words.append(member.words())
        if words:
            self._send(frame, address, [(None, words)], 0, by_stream=by_stream)

    def _partner(self, now_ms: int) -> "Member | None":
        while self._returned:
            member = self._members.get(self._returned.pop())
            if member is not None and member.is_present:
                # One partner at a time; the next when this exchange had time to be answered.
                if self._returned:
                    self._next_ms = now_ms + self._config.probe_interval_ms
                return member
        present = self._members.present()
        if len(present) < 2:
            return None
        place = self._rng.below(len(present))
        if present[place] == self._node_id:
            place = (place + 1 + self._rng.below(len(present) - 1)) % len(present)
        return self._members.get(present[place])

    def _groups(
        self, buckets: list[int], count: int, *, with_gone: bool
    ) -> "list[tuple[int | None, list[list[bytes]]]]":
        """Words by bucket, from a random one on."""
        members = self._members_by_bucket(buckets, count)
        start = self._rng.below(len(buckets))
        return [
            (
                bucket,
                [each.words() for each in members[bucket] if with_gone or each.is_present],
            )
            for bucket in buckets[start:] + buckets[:start]
        ]

    def _members_by_bucket(self, buckets: list[int], count: int) -> "dict[int, list[Member]]":
        """Members of these buckets, sorted by id within each."""
        groups: dict[int, list[Member]] = {bucket: [] for bucket in buckets}
        for id in self._members.ids():
            member = self._members.get(id)
            bucket = bucket_of(id, count)
            if member is not None and bucket in groups:
                groups[bucket].append(member)
        return groups

    def _words_for(self, receiver: str) -> list[bytes]:
        held = self._members.get(receiver)
        return [] if held is None else held.words_for_itself()

    def _send(
        self,
        frame: "Frame",
        address: "Address",
        groups: "list[tuple[int | None, list[list[bytes]]]]",
        count: int,
        *,
        by_stream: bool,
    ) -> None:
        """Answers `frame` in as few frames as it takes, or in as many as may be."""
        room = self._codec.room_beside_mask()
        total = 0
        for _, members in groups:
            for words in members:
                for word in words:
                    total += self._codec.cost(word)
        frames_max = self._config.sync_frames_max
        if by_stream or total > room * frames_max:
            own = self._members.get(self._node_id)
            assert own is not None
            stream_room = min(self._codec.room_beside_mask(by_stream=True), TABLE_FRAME_BYTES_MAX)
            # Our own claim comes first: the far end answers only those whom it knows.
            first = own.words() + self._words_for(frame.sender)
            for filled in _filled(groups, count, stream_room, first, self._codec)[:frames_max]:
                self._put(frame, address, filled, count, by_stream=True)
        if not by_stream:
            first = self._words_for(frame.sender)
            for filled in _filled(groups, count, room, first, self._codec)[:frames_max]:
                self._put(frame, address, filled, count, by_stream=False)

    def _put(
        self, frame: "Frame", address: "Address", filled: "_Filled", count: int, *, by_stream: bool
    ) -> None:
        digest = None
        if filled.complete:
            digest = (0, count, mask_of(filled.complete, count))
        self._outbox.put(
            STATE,
            address,
            frame.sender,
            frame.sequence,
            filled.words,
            digest=digest,
            by_stream=by_stream,
        )


class _Unanswered:
    """Whom we asked last, until an answer comes or time is up."""

    def __init__(self, id: str, sequence: int, end_ms: int) -> None:
        self.id = id
        self.sequence = sequence
        self.end_ms = end_ms


class _Filled:
    """One frame's words, and the buckets that it has in full."""

    def __init__(self, words: list[bytes], room: int) -> None:
        self.words = words
        self.complete: list[int] = []
        self.room = room


def _filled(
    groups: "list[tuple[int | None, list[list[bytes]]]]",
    count: int,
    room: int,
    first: list[bytes],
    codec: "Codec",
) -> list[_Filled]:
    """Frames of words, `first` in the first. A bucket is kept whole where a frame can hold it, and
    the words on one member always are."""
    frames = [_Filled(first, room - sum(codec.cost(word) for word in first))]
    for bucket, members in groups:
        bucket_cost = sum(codec.cost(word) for words in members for word in words)
        if frames[-1].room < bucket_cost <= room:
            frames.append(_Filled([], room))
        is_whole = bucket_cost <= frames[-1].room
        for words in members:
            cost = sum(codec.cost(word) for word in words)
            if cost > frames[-1].room:
                frames.append(_Filled([], room))
            frames[-1].words.extend(words)
            frames[-1].room -= cost
        if is_whole and bucket is not None:
            frames[-1].complete.append(bucket)
    return frames
