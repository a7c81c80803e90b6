"""A table's digest: short enough for one frame, kept up to date change by change.

Members present fall into buckets by the first bits of their ids, which are hashes and so spread
evenly. A bucket's digest is the exclusive or of a hash of each (id, incarnation) in it: a change
costs two hashes, whatever the table's size, and the order of changes does not matter. 256 buckets
are kept; fewer, a power of two, are folded from them, for small tables and small frames.

Suspicions are left out, for they end by themselves, and so are the dead and departed: two tables
that hold the same members present at the same incarnations agree.

Two tables that differ look alike in one of 2³² cases per bucket, until the next change in it.
"""

from hashlib import sha256

BUCKETS_MAX = 256
BUCKET_BYTES = 4

_MEMBERS_PER_BUCKET = 4


class Digest:
    """The digest of one table."""

    def __init__(self) -> None:
        self._leaves = [0] * BUCKETS_MAX

    def toggle(self, id: str, incarnation: int) -> None:
        """Puts a member in, or takes the same one out again."""
        said = sha256(id.encode() + incarnation.to_bytes(8, "big")).digest()
        leaf = bucket_of(id, BUCKETS_MAX)
        self._leaves[leaf] ^= int.from_bytes(said[:BUCKET_BYTES], "big")

    def folded(self, count: int) -> bytes:
        """The digests of `count` buckets, `BUCKET_BYTES` each."""
        width = BUCKETS_MAX // count
        parts = []
        for first in range(0, BUCKETS_MAX, width):
            folded = 0
            for leaf in range(first, first + width):
                folded ^= self._leaves[leaf]
            parts.append(folded.to_bytes(BUCKET_BYTES, "big"))
        return b"".join(parts)

    def differing(self, count: int, other: bytes) -> list[int]:
        """Which of `count` buckets another table's `folded(count)` has otherwise."""
        own = self.folded(count)
        return [
            bucket
            for bucket in range(count)
            if own[bucket * BUCKET_BYTES : (bucket + 1) * BUCKET_BYTES]
            != other[bucket * BUCKET_BYTES : (bucket + 1) * BUCKET_BYTES]
        ]


def bucket_of(id: str, count: int) -> int:
    """The bucket of a member among `count`."""
    return int(id[:2], 16) * count // BUCKETS_MAX


def buckets_for(members: int, room_bytes: int) -> int:
    """How many buckets a digest of `members` has: about one for four members, so that one change
    moves about a kilobyte; a power of two, at most what fits in `room_bytes`, at least one."""
    count = 1
    while (
        count < BUCKETS_MAX
        and count * _MEMBERS_PER_BUCKET < members
        and 2 * count * BUCKET_BYTES <= room_bytes
    ):
        count *= 2
    return count


def mask_of(buckets: list[int], count: int) -> bytes:
    """A set of buckets as bits."""
    mask = bytearray((count + 7) // 8)
    for bucket in buckets:
        mask[bucket // 8] |= 1 << (bucket % 8)
    return bytes(mask)


def buckets_of(mask: bytes, count: int) -> list[int]:
    """The set again, in order."""
    return [bucket for bucket in range(count) if mask[bucket // 8] & (1 << (bucket % 8))]
