"""Messages on the wire: round trips, and junk that never raises."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.leases.messages import (
    HOLDINGS_MAX,
    NAME_LENGTH_MAX,
    TOPICS_MAX,
    Accept,
    Grant,
    HandBack,
    Heartbeat,
    Inherit,
    Inherited,
    Keep,
    LeaseId,
    Offer,
    OutcomeReport,
    Prolong,
    Refuse,
    Revoke,
    Settled,
    TopicTerms,
    Yield,
    from_plain,
)
from gossamer_mesh.leases.mirroring import (
    FREE,
    ROWS_MAX,
    TAKEN,
    HandOver,
    Mirror,
    MirrorAsk,
    MirrorEnd,
    Row,
    TakenOver,
)

LEASE = LeaseId("e/a", "j1", "m1", 2**40, 3, 17)
TOPIC = TopicTerms("book", 30_000, ["guest", "room"], "wait", 5, 250, 60_000)
ROW = Row(LEASE, "book", b"receipt", "m2", TAKEN, 1, 30_000, 12_000, "wait")
MESSAGES: list[Any] = [
    Offer("e/a", 5, 9, 4, 1_000, 6, 17),
    Heartbeat("e/a", 5, 10, [TOPIC, TopicTerms("pay", 1)], [LEASE], [LEASE], [(0, 400, "row 4")]),
    Grant(LEASE, "book", 29_000, b"receipt", b"payload"),
    OutcomeReport(LEASE, "book", b"receipt", b"outcome"),
    Accept(LEASE),
    Refuse(LEASE, "no free slot"),
    HandBack(LEASE, "stopping"),
    Settled(LEASE, "completed"),
    Revoke(LEASE, "stale"),
    Prolong(LEASE, 60_000),
    Inherit(LEASE),
    Inherited(LEASE, "book", b"receipt"),
    Keep(LEASE, "m3 answers for it"),
    Yield(LEASE, "m3"),
    Mirror(
        "e/a",
        5,
        1,
        0,
        [ROW, Row(LEASE, "pay", b"", "", FREE, 0, 1, 0, "regrant")],
        ["j2"],
        [("j3", 1, 2)],
    ),
    MirrorAsk("e/a", 5, 1),
    MirrorEnd("e/a", 5, 1),
    HandOver("e/a", 5, [ROW, ROW], [b"outcome", None]),
    TakenOver("e/a", 5, [LEASE]),
]
ABOUT_A_LEASE = [message for message in MESSAGES if hasattr(message, "lease")]
KINDS = [message.kind for message in MESSAGES]

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from([*KINDS, "regrant", "wait"]),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=30,
)


@pytest.mark.parametrize("message", MESSAGES, ids=KINDS)
def test_round_trip(message: Any) -> None:
    again = from_plain(deepcopy(message.to_plain()))
    assert again is not None
    assert type(again) is type(message)
    assert again.to_plain() == message.to_plain()


@pytest.mark.parametrize("message", MESSAGES, ids=KINDS)
def test_fields_of_a_later_version_are_ignored(message: Any) -> None:
    again = from_plain([*_longer(message.to_plain()), {"later": 1}, None])
    assert again is not None
    assert again.to_plain() == message.to_plain()


def _longer(plain: list[object]) -> list[object]:
    """Also the lease ids and topics inside have grown a field."""
    ids = LEASE.to_plain(), TOPIC.to_plain(), TopicTerms("pay", 1).to_plain()
    grown: list[object] = []
    for field in plain:
        if field in ids and isinstance(field, list):
            grown.append([*field, "later"])
        elif isinstance(field, list) and field and isinstance(field[0], list):
            grown.append([[*one, "later"] for one in field])
        else:
            grown.append(field)
    return grown


@pytest.mark.parametrize("message", MESSAGES, ids=KINDS)
def test_a_field_too_few_is_no_message(message: Any) -> None:
    plain = message.to_plain()
    assert [from_plain(plain[:length]) for length in range(len(plain))] == [None] * len(plain)


@given(PLAIN)
def test_any_value_gives_a_message_or_none(value: object) -> None:
    message = from_plain(value)
    assert message is None or message.kind in KINDS


@given(st.sampled_from(MESSAGES), st.integers(0, 12), PLAIN)
def test_one_wrong_field_never_raises(message: Any, index: int, junk: object) -> None:
    plain = message.to_plain()
    plain[index % len(plain)] = junk
    again = from_plain(plain)
    if again is not None:
        # What was understood can be said again, and means the same.
        once_more = from_plain(again.to_plain())
        assert once_more is not None and once_more.to_plain() == again.to_plain()


@given(st.sampled_from(ABOUT_A_LEASE), st.integers(0, 5), PLAIN)
def test_a_wrong_lease_id_never_raises(message: Any, index: int, junk: object) -> None:
    plain = message.to_plain()
    plain[1][index] = junk
    again = from_plain(plain)
    assert again is None or again.to_plain() == plain


@pytest.mark.parametrize(
    "plain",
    [
        ["offer", "e/a", 5, 9, -1, 1_000, 6, 17],
        ["offer", "e/a", 5, 9, True, 1_000, 6, 17],
        ["offer", "e/a", 5, 9, 2**63, 1_000, 6, 17],
        ["offer", "x" * (NAME_LENGTH_MAX + 1), 5, 9, 4, 1_000, 6, 17],
        ["heartbeat", "e/a", 5, 9, [TOPIC.to_plain()] * (TOPICS_MAX + 1), [], []],
        ["heartbeat", "e/a", 5, 9, [], [LEASE.to_plain()] * (HOLDINGS_MAX + 1), []],
        ["heartbeat", "e/a", 5, 9, [], [], [LEASE.to_plain()] * (HOLDINGS_MAX + 1)],
        ["heartbeat", "e/a", 5, 9, [["book", 1, None, "shrug", 3, 1, 0, False]], [], []],
        ["heartbeat", "e/a", 5, 9, [["book", 1, ["a", 2], "wait", 3, 1, 0, False]], [], []],
        ["heartbeat", "e/a", 5, 9, [["book", 1, ["a"], "wait", 3, 1, -1, False]], [], []],
        ["heartbeat", "e/a", 5, 9, [["book", 1, None, "wait", 3, 1, 0, 1]], [], []],
        ["mirror", "e/a", 5, 1, 0, [ROW.to_plain()] * (ROWS_MAX + 1), [], []],
        ["mirror", "e/a", 5, 1, 0, [], ["k"] * (ROWS_MAX + 1), []],
        ["mirror", "e/a", 5, 1, 0, [], [], [["j", 1]]],
        ["mirror", "e/a", 5, 1, 0, [], [], [["j", -1, 1]]],
        ["mirror", "e/a", 5, 1, 0, [], [], [["j", 1, 1]] * (ROWS_MAX + 1)],
        ["mirror", "e/a", 5, 1, 0, [[*ROW.to_plain()[:4], "lost", 1, 1, 1, "wait"]], [], []],
        ["mirror", "e/a", 5, 1, 0, [[*ROW.to_plain()[:8], "shrug"]], [], []],
        ["hand_over", "e/a", 5, [ROW.to_plain()], []],
        ["hand_over", "e/a", 5, [ROW.to_plain()], ["text"]],
        ["taken_over", "e/a", 5, [LEASE.to_plain()] * (ROWS_MAX + 1)],
        ["grant", LEASE.to_plain(), "book", 1, "text", b""],
        ["never heard of", LEASE.to_plain(), ""],
        [7],
        [],
        ("offer", "e/a", 5, 9, 4, 1_000, 6, 17),
    ],
)
def test_out_of_bounds_is_no_message(plain: object) -> None:
    assert from_plain(plain) is None


def test_long_reason_is_cut_so_that_it_arrives() -> None:
    settled = from_plain(Settled(LEASE, "engine says " + "x" * 5_000).to_plain())
    assert isinstance(settled, Settled)
    assert len(settled.reason) == NAME_LENGTH_MAX


def test_lease_id_is_equal_in_all_parts_only() -> None:
    parts = LEASE.to_plain()
    assert LeaseId(*parts) == LEASE
    assert hash(LeaseId(*parts)) == hash(LEASE)
    for index, part in enumerate(parts):
        other = list(parts)
        other[index] = part + ("x" if isinstance(part, str) else 1)
        assert LeaseId(*other) != LEASE
    assert tuple(parts) != LEASE
