"""Settled leases are remembered, and only so many."""

from gossamer_mesh.leases.messages import LeaseId
from gossamer_mesh.leases.tombstones import Tombstones


def lease(counter: int) -> LeaseId:
    return LeaseId("e/all", "j", "c", 1, 1, counter)


def test_the_oldest_is_forgotten_first() -> None:
    kept = Tombstones(3)
    for counter in range(5):
        kept.put(lease(counter), f"result {counter}")
    results = [kept.get(lease(counter)) for counter in range(6)]
    assert results == [None, None, "result 2", "result 3", "result 4", None]
