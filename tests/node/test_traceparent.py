"""What comes as a `traceparent` is a parent or none, and never an error."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossamer_node.tracing.traceparent import CHARS_MAX, Traceparent, read

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_the_specifications_own_examples() -> None:
    kept = read(f"00-{TRACE}-{SPAN}-01")
    assert kept == Traceparent(int(TRACE, 16), int(SPAN, 16), sampled=True)
    not_kept = read(f"00-{TRACE}-{SPAN}-00")
    assert not_kept is not None and not not_kept.sampled


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
@example(1, 1, True)
def test_what_is_written_is_read(trace: int, span: int, sampled: bool) -> None:
    one = Traceparent(trace, span, sampled)
    assert read(str(one)) == one
    assert len(str(one)) == 55


def test_a_later_version_is_read_as_far_as_this_one_goes() -> None:
    assert read(f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like") is not None
    assert read(f"cc-{TRACE}-{SPAN}-01.what") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        7,
        b"00",
        ["00"],
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-0",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-{'x' * CHARS_MAX}",
    ],
)
def test_junk_is_no_parent(text: object) -> None:
    assert read(text) is None


@given(
    st.one_of(
        st.text(max_size=80),
        st.text("0123456789abcdef-", max_size=70),
        st.from_regex(r"[0-9a-g]{2}-[0-9a-f]{31,33}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?"),
        st.recursive(st.none() | st.integers() | st.binary(), st.lists),
    )
)
def test_anything_is_a_parent_or_none(text: object) -> None:
    one = read(text)
    assert one is None or (isinstance(text, str) and str(one)[3:52] == text[3:52])
