"""Ranges of versions mean what npm's documentation says that they do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_node.registry.ranges import RANGE_CHARS_MAX, parse_range
from gossamer_node.registry.semver import precedence

DOCUMENTED = [
    # Hyphen ranges.
    ("1.2.3 - 2.3.4", ">=1.2.3 <=2.3.4"),
    ("1.2 - 2.3.4", ">=1.2.0 <=2.3.4"),
    ("1.2.3 - 2.3", ">=1.2.3 <2.4.0-0"),
    ("1.2.3 - 2", ">=1.2.3 <3.0.0-0"),
    # X-ranges.
    ("*", ">=0.0.0"),
    ("1.x", ">=1.0.0 <2.0.0-0"),
    ("1.2.x", ">=1.2.0 <1.3.0-0"),
    ("1", ">=1.0.0 <2.0.0-0"),
    ("1.x.x", ">=1.0.0 <2.0.0-0"),
    ("1.2", ">=1.2.0 <1.3.0-0"),
    ("1.2.*", ">=1.2.0 <1.3.0-0"),
    ("X", "*"),
    # Tilde ranges.
    ("~1.2.3", ">=1.2.3 <1.3.0-0"),
    ("~1.2", ">=1.2.0 <1.3.0-0"),
    ("~1", ">=1.0.0 <2.0.0-0"),
    ("~0.2.3", ">=0.2.3 <0.3.0-0"),
    ("~0.2", ">=0.2.0 <0.3.0-0"),
    ("~0", ">=0.0.0 <1.0.0-0"),
    ("~1.2.3-beta.2", ">=1.2.3-beta.2 <1.3.0-0"),
    # Caret ranges.
    ("^1.2.3", ">=1.2.3 <2.0.0-0"),
    ("^0.2.3", ">=0.2.3 <0.3.0-0"),
    ("^0.0.3", ">=0.0.3 <0.0.4-0"),
    ("^1.2.3-beta.2", ">=1.2.3-beta.2 <2.0.0-0"),
    ("^0.0.3-beta", ">=0.0.3-beta <0.0.4-0"),
    ("^1.2.x", ">=1.2.0 <2.0.0-0"),
    ("^0.0.x", ">=0.0.0 <0.1.0-0"),
    ("^0.0", ">=0.0.0 <0.1.0-0"),
    ("^1.x", ">=1.0.0 <2.0.0-0"),
    ("^0.x", ">=0.0.0 <1.0.0-0"),
    # Comparators before fewer than three numbers, and what only looks another way.
    (">1", ">=2.0.0"),
    (">1.2", ">=1.3.0"),
    (">=1.2", ">=1.2.0"),
    ("<1.2", "<1.2.0-0"),
    ("<=1.2", "<1.3.0-0"),
    ("<=1", "<2.0.0-0"),
    ("=1.2", "1.2.x"),
    ("> 1.2.3", ">1.2.3"),
    ("~>1.2", "~1.2"),
    ("v1.2.3", "=1.2.3"),
    ("1.2.3+build", "1.2.3"),
    ("^1||^2", "^1 || ^2"),
    (">=1  <2", "1.x"),
    (">=*", "*"),
    ("<*", "<0.0.0-0"),
]
"""What the documentation of npm's `semver` writes, and what it says that this stands for."""

NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 9, 10])
PRES = st.sampled_from(["", "", "-0", "-1", "-alpha", "-beta.2", "-beta.10", "-rc"])
PARTS = ["^1.2", "~0.3", ">2.1", "<3.0.0-0", "1.x", "2.0.0-rc"]
VERSIONS = st.builds("{}.{}.{}{}".format, NUMBERS, NUMBERS, NUMBERS, PRES)

EDGES = [
    f"{major}.{minor}.{patch}{pre}"
    for major in (0, 1, 2, 3)
    for minor in (0, 1, 2, 3, 4)
    for patch in (0, 1, 2, 3, 4)
    for pre in ("", "-0", "-beta", "-beta.2", "-rc")
]


@pytest.mark.parametrize(("text", "meaning"), DOCUMENTED)
def test_each_form_means_what_the_documentation_says(text: str, meaning: str) -> None:
    ours, theirs = parse_range(text), parse_range(meaning)
    assert [one for one in EDGES if one in ours] == [one for one in EDGES if one in theirs]


@pytest.mark.parametrize(
    ("text", "within", "without"),
    [
        ("1.2.7 || >=1.2.9 <2.0.0", "1.2.7 1.2.9 1.4.6", "1.2.8 2.0.0"),
        (">=1.2.7 <1.3.0", "1.2.7 1.2.8 1.2.99", "1.2.6 1.3.0 1.1.0"),
        (">1.2.3-alpha.3", "1.2.3-alpha.7 3.4.5", "3.4.5-alpha.9 1.2.3-alpha.3"),
        ("^1.0.0", "1.0.0 1.99.0 1.0.0+build", "2.0.0 2.0.0-rc 1.1.0-rc 1.0.0-rc 0.9.9"),
        ("^1.2.3-beta.2", "1.2.3-beta.4 1.2.3 1.3.0", "1.2.4-beta.2 1.2.3-beta.1 2.0.0-0"),
        ("=1.2.3-rc", "1.2.3-rc 1.2.3-rc+build", "1.2.3 1.2.3-rc.1"),
        ("*", "0.0.0 7.7.7", "1.0.0-rc"),
        ("~1.2.3-beta.2 || 3.x", "1.2.3-beta.4 3.1.0", "1.2.4-beta.2 3.0.0-rc"),
        ("<1.0.0", "0.9.9", "1.0.0-rc 1.0.0"),
    ],
)
def test_versions_are_within_or_without(text: str, within: str, without: str) -> None:
    range_ = parse_range(text)
    assert [one for one in within.split() if one not in range_] == []
    assert [one for one in without.split() if one in range_] == []


@pytest.mark.parametrize(
    "text",
    [
        *("latest", "^", ">", "1.2.3.4", "01.2.3", "^1.02", "1.2.3-", "1.2.3-01", "1.2.3-a..b"),
        *("^^1", ">=<1", ">=1<2", "1 -2", "1 - ", "- 2", "1 - 2 - 3", "1 | 2", "1 ||| 2", "1,2"),
        *("*.2", "^x.1.2", "1.x.3", "1 - x.2", "vv1", "1.2.3 latest", "1\n", "\t1", "¹", "1.2.٣"),
        "1" * (RANGE_CHARS_MAX + 1),
    ],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"has no version|has the number|is longer"):
        parse_range(text)


@given(VERSIONS, VERSIONS)
def test_comparators_follow_the_precedence_of_versions(version: str, bound: str) -> None:
    ours, theirs = precedence(version)[:2], precedence(bound)[:2]
    is_allowed = "-" not in version or (
        "-" in bound and version.partition("-")[0] == bound.partition("-")[0]
    )
    assert (version in parse_range(f"<{bound}")) == (is_allowed and ours < theirs)
    assert (version in parse_range(f"<={bound}")) == (is_allowed and ours <= theirs)
    assert (version in parse_range(f">{bound}")) == (is_allowed and ours > theirs)
    assert (version in parse_range(f">={bound}")) == (is_allowed and ours >= theirs)
    assert (version in parse_range(bound)) == (ours == theirs)


@given(VERSIONS, VERSIONS)
def test_a_version_is_within_the_caret_and_the_tilde_of_itself(version: str, other: str) -> None:
    assert version in parse_range(f"^{version}") and version in parse_range(f"~{version}")
    if other in parse_range(f"~{version}"):
        assert other.split(".")[:2] == version.split(".")[:2]
        # A tilde never takes more than a caret, but for versions that begin with 0.0.
        assert other in parse_range(f"^{version}") or version.startswith("0.0.")


@given(st.lists(st.sampled_from(PARTS), max_size=8), VERSIONS)
def test_an_alternative_adds_and_a_comparator_takes_away(parts: list[str], version: str) -> None:
    found = [version in parse_range(one) for one in parts]
    either = parse_range(" || ".join(parts))
    assert (version in either) == (any(found) if parts else "-" not in version)
    if "-" not in version:
        assert (version in parse_range(" ".join(parts))) == all(found)


@given(st.text(alphabet="0123xX*.-+ ^~<>=|v\u0663ab", max_size=RANGE_CHARS_MAX), VERSIONS)
def test_any_text_is_a_range_or_a_value_error(text: str, version: str) -> None:
    try:
        range_ = parse_range(text)
    except ValueError:
        return
    assert (version in range_) in (True, False)
