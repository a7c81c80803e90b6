"""Due times by name, against a plain dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.leases.timers import Timers

NAMES = st.sampled_from([("lease", "a"), ("lease", "b"), ("holder", "a")])
STEPS = st.lists(st.tuples(NAMES, st.none() | st.integers(0, 30)) | st.integers(0, 30))


@given(STEPS)
def test_as_a_dictionary_would(
    steps: list[tuple[tuple[str, str], int | None] | int],
) -> None:
    timers = Timers()
    plain: dict[tuple[str, str], int] = {}
    for step in steps:
        if isinstance(step, int):
            due = sorted(name for name, due_ms in plain.items() if due_ms <= step)
            popped = []
            while (name := timers.pop(step)) is not None:
                popped.append(name)
            assert sorted(popped) == due
            for one in due:
                del plain[one]
        else:
            name, due_ms = step
            timers.set(name, due_ms)
            plain.pop(name, None)
            if due_ms is not None:
                plain[name] = due_ms
        assert timers.next_ms() == min(plain.values(), default=None)


def test_earliest_first() -> None:
    timers = Timers()
    for key, due_ms in (("a", 30), ("b", 10), ("c", 20)):
        timers.set(("lease", key), due_ms)
    assert [timers.pop(25), timers.pop(25), timers.pop(25)] == [
        ("lease", "b"),
        ("lease", "c"),
        None,
    ]


def test_moving_later_adds_no_entries() -> None:
    timers = Timers()
    for due_ms in range(1_000):
        timers.set(("lease", "a"), due_ms)
    assert len(timers._heap) == 1
    assert timers.next_ms() == 999
