"""Roles, their limits, and what is left of them on a path."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.door.principals import ANYBODY, EVERYBODY, Grant, Principal, Role, fits

OTHERS = [role for role in Role if role is not Role.ADMIN]


def principal(*grants: Grant) -> Principal:
    return Principal("anna", "api key", grants)


@pytest.mark.parametrize("role", Role)
def test_admin_may_everything_and_nobody_else_does(role: Role) -> None:
    assert principal(Grant(Role.ADMIN)).may(role)
    assert principal(Grant(Role.ADMIN)).may(role, process="hotel")
    for other in OTHERS:
        assert principal(Grant(other)).may(role) == (role is other)


def test_nothing_is_granted_to_nobody() -> None:
    assert not any(ANYBODY.may(role) or ANYBODY.may_for_some(role) for role in Role)
    assert all(EVERYBODY.may(role) for role in Role)


@pytest.mark.parametrize(
    ("process", "may"),
    [("hotel", True), ("pay", True), ("payment", True), ("Hotel", False), ("hotels", False),
     ("", False), (None, False), ("hotel\n", False)],
)  # fmt: skip
def test_a_role_for_some_processes(process: str | None, may: bool) -> None:
    for role in (Role.START, Role.ADMIN):
        limited = principal(Grant(role, ("hotel", "pay*")))
        assert limited.may(Role.START, process=process) is may
        assert limited.may_for_some(Role.START)


def test_grants_add_up() -> None:
    both = principal(Grant(Role.READ, ("a",)), Grant(Role.READ, ("b",)), Grant(Role.WORK))
    assert both.may(Role.READ, process="a") and both.may(Role.READ, process="b")
    assert not both.may(Role.READ)
    assert both.may(Role.WORK)


def test_what_is_for_a_path_counts_there_alone() -> None:
    limited = principal(
        Grant(Role.READ, (), ("/engine-rest/*",)), Grant(Role.START, ("hotel",), ("/v2/*",))
    )
    assert not limited.may_for_some(Role.READ), "before it is known which path"
    assert limited.on_path("/engine-rest/version").may(Role.READ)
    assert not limited.on_path("/engine-rest").may(Role.READ)
    assert not limited.on_path("/v2/topology").may(Role.READ)
    assert limited.on_path("/v2/process-instances").may(Role.START, process="hotel")
    assert not limited.on_path("/v2/process-instances").may(Role.START)
    assert not limited.on_path("/engine-rest/x").may(Role.START, process="hotel")


def test_what_somebody_was_asked_does_not_stay_with_others() -> None:
    limited = principal(Grant(Role.READ, ("hotel",)))
    one, two = limited.on_path("/v2/a"), limited.on_path("/v2/b")
    one.may(Role.READ, process="hotel")
    assert (one.was_asked, two.was_asked) == (True, False)


@given(st.text(max_size=30))
def test_a_pattern_without_star_is_its_text(text: str) -> None:
    if "*" not in text:
        assert fits((text,), text)
        assert not fits((text,), text + "x")
    assert fits(("*",), text)


def test_many_stars_do_not_take_long() -> None:
    assert not fits(("*a" * 12 + "b",), "a" * 2_000)
    assert fits(("*" * 400,), "x" * 2_000)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_star_is_any_text(pattern: str, text: str) -> None:
    expected = re.fullmatch(pattern.replace("*", ".*"), text) if len(pattern) else not text
    assert fits((pattern,), text) == bool(expected)
