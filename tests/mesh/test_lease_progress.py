"""How far workers say that they are: from the holder to the claimer, with the heartbeat."""

from typing import Any

import pytest

from gossamer_mesh.leases.holder import Holder
from gossamer_mesh.leases.messages import (
    PROGRESS_CHARS_MAX,
    PROGRESS_MAX,
    Grant,
    Heartbeat,
    LeaseId,
    TopicTerms,
    from_plain,
)
from gossamer_mesh.testing.lease_bench import CONFIG, ClaimerBench


def heartbeat(*leases: LeaseId, sequence: int = 100, **said: Any) -> Heartbeat:
    topics = [TopicTerms("t", 30_000)]
    return Heartbeat("e/a", 5, sequence, topics, list(leases), None, **said)


def test_the_last_word_goes_with_the_heartbeat() -> None:
    holder = Holder(5, 2, 100, CONFIG)
    holder.set_members({"c"})
    holder.set_claimer("e/a", "c")
    holder.serve("e/a", [TopicTerms("t", 30_000)])
    leases = [LeaseId("e/a", f"j{number}", "c", 7, 1, number) for number in (1, 2)]
    for lease in leases:
        holder.receive_message("c", Grant(lease, "t", 1_000, b"r", b"p"), 0)
    holder.note_progress(leases[1], 100, "one")
    holder.note_progress(leases[1], 250, "x" * 500)
    holder.note_progress(LeaseId("e/a", "other", "c", 7, 1, 9), 1, "of nobody's")

    def told(now_ms: int) -> list[tuple[int, int, str]]:
        holder.handle_timer(now_ms)
        (one,) = [each for _, each in holder.messages_to_send() if isinstance(each, Heartbeat)]
        return one.progress

    assert told(1_000) == [(1, 250, "x" * PROGRESS_CHARS_MAX)]
    assert told(2_000) == told(3_000)
    holder.finish(leases[1], b"out", 3_000)
    assert told(4_000) == []


def test_the_claimer_keeps_it_until_another_holder_has_the_lease() -> None:
    bench = ClaimerBench()
    bench.join("h1", 1)
    lease = bench.held()
    bench.tell("h1", heartbeat(lease, progress=[(0, 400, "row 4")]))
    (one,) = bench.claimer.leases()
    assert one.progress == (400, "row 4")
    bench.join("h2", 1)
    bench.tell("h1", heartbeat(sequence=101))
    (one,) = bench.claimer.leases()
    assert one.holder == "h2" and one.progress is None
    # The one before, which lags, has no say any more.
    bench.tell("h1", heartbeat(lease, sequence=102, progress=[(0, 900, "late")]))
    assert one.progress is None


@pytest.mark.parametrize(
    "progress",
    [
        [(1, 1, "no such lease")],
        [(0, 1_001, "")],
        [(0, -1, "")],
        [(0, 1, "x" * (PROGRESS_CHARS_MAX + 1))],
        [(0, 1, b"")],
        [(0, 1)],
        [(0, 1, "")] * (PROGRESS_MAX + 1),
        "junk",
    ],
)
def test_junk_is_no_message(progress: Any) -> None:
    plain = heartbeat(LeaseId("e/a", "j1", "c", 7, 1, 1)).to_plain()
    assert from_plain(plain) is not None
    plain[-1] = progress if isinstance(progress, str) else [list(one) for one in progress]
    assert from_plain(plain) is None
