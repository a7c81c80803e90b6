"""Digests of tables: what is equal looks equal, what differs is found, in few bytes."""

from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.swim.digest import (
    BUCKET_BYTES,
    BUCKETS_MAX,
    Digest,
    bucket_of,
    buckets_for,
    buckets_of,
    mask_of,
)

ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
tables = st.dictionaries(ids, st.integers(0, 2**53), max_size=20)
counts = st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 256])


def digest_of(table: dict[str, int]) -> Digest:
    digest = Digest()
    for id, incarnation in table.items():
        digest.toggle(id, incarnation)
    return digest


@given(tables, tables, counts)
def test_exactly_the_buckets_that_differ_are_found(
    one: dict[str, int], other: dict[str, int], count: int
) -> None:
    differing = {bucket_of(id, count) for id, _ in set(one.items()) ^ set(other.items())}
    folded = digest_of(other).folded(count)
    assert len(folded) == count * BUCKET_BYTES
    assert digest_of(one).differing(count, folded) == sorted(differing)


@given(tables, tables)
def test_a_digest_follows_changes_in_any_order(one: dict[str, int], other: dict[str, int]) -> None:
    changed = digest_of(one)
    for id, incarnation in sorted(one.items(), reverse=True):
        changed.toggle(id, incarnation)
    for id, incarnation in other.items():
        changed.toggle(id, incarnation)
    assert changed.folded(BUCKETS_MAX) == digest_of(other).folded(BUCKETS_MAX)


@given(counts, st.data())
def test_masks_are_read_as_written(count: int, data: st.DataObject) -> None:
    buckets = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    mask = mask_of(buckets, count)
    assert len(mask) == (count + 7) // 8
    assert buckets_of(mask, count) == buckets


@given(ids, counts)
def test_a_finer_bucket_lies_within_a_coarser(id: str, count: int) -> None:
    assert bucket_of(id, BUCKETS_MAX) // (BUCKETS_MAX // count) == bucket_of(id, count)


@given(st.integers(1, 10**6), st.integers(0, 2_000))
def test_the_number_of_buckets_grows_with_the_mesh_within_its_room(members: int, room: int) -> None:
    count = buckets_for(members, room)
    assert count & (count - 1) == 0
    assert 1 <= count <= BUCKETS_MAX
    assert count == 1 or count * BUCKET_BYTES <= room
    assert count < 2 * max(1, members // 2)


def test_about_four_members_share_a_bucket() -> None:
    assert [buckets_for(members, 1_100) for members in (1, 4, 5, 100, 1_000, 10_000)] == [
        1, 1, 2, 32, 256, 256,
    ]  # fmt: skip
