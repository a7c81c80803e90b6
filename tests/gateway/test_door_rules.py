"""The table of roles, row by row, against every role; and what is in no row."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.door_world import NOW_MS

from gossamer_gateway.door.certificates import Subjects
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.forms import Denied
from gossamer_gateway.door.gate import Gate
from gossamer_gateway.door.principals import ANYBODY, EVERYBODY, Grant, Principal, Role
from gossamer_gateway.door.rules import GRPC, HTTP, SERVICE, UNKNOWN, Need, Reach, Rule, need_of

PROTO = Path(__file__).parents[2] / "node/gossamer_node/engines/zeebe/gateway.proto"
GATE = Gate(DoorConfig((Subjects({}),)), now_ms=lambda: NOW_MS)


def path_of(rule: Rule) -> str:
    """A path of a row."""
    return rule.path.replace("{process}", "hotel").replace("{}", "a-1").replace("**", "x/y")


def named(rule: Rule) -> str:
    return f"{rule.method} {rule.path}"


def opens(principal: Principal, need: Need, path: str) -> bool:
    try:
        GATE.allow(principal, need, path)
    except Denied as denied:
        assert denied.status == (401 if principal.known_by == "nothing" else 403)
        return False
    return True


@pytest.mark.parametrize("rule", HTTP, ids=named)
def test_a_row_and_every_role(rule: Rule) -> None:
    path = path_of(rule)
    need = need_of(rule.method, path)
    assert (need.role, need.reach, need.waits) == (rule.role, rule.reach, rule.waits)
    judge(need, path)


@pytest.mark.parametrize("method", GRPC)
def test_a_method_and_every_role(method: str) -> None:
    judge(GRPC[method], method)


def judge(need: Need, path: str) -> None:
    assert opens(ANYBODY, need, path) == (need.role is None)
    assert opens(EVERYBODY, need, path)
    for role in Role:
        fits = need.role is None or role in (need.role, Role.ADMIN)
        may = {
            limits: opens(Principal("p", "api key", [Grant(role, *limits)]), need, path)
            for limits in (
                ((), ()),
                (("hotel",), ()),
                (("other",), ()),
                ((), (path,)),
                ((), ("/elsewhere",)),
            )
        }
        some = fits and (need.role is None or need.reach is not Reach.ALL)
        named_hotel = need.reach is not Reach.NAMED or need.role is None
        assert may == {
            ((), ()): fits,
            (("hotel",), ()): some,
            (("other",), ()): some and named_hotel,
            ((), (path,)): fits,
            ((), ("/elsewhere",)): need.role is None,
        }


def test_every_method_of_the_protocol_has_a_role() -> None:
    methods = re.findall(r"^  rpc (\w+) ?\(", PROTO.read_text(), re.M)
    assert {SERVICE + name for name in methods} == set(GRPC)


def test_what_needs_no_role_is_little() -> None:
    assert {named(rule) for rule in HTTP if rule.role is None} == {
        "GET /",
        "GET /page/**",
        "GET /live/**",
        "GET /favicon.ico",
        "GET /v1/health",
        "GET /v1/openapi.json",
        "GET /v1/docs",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("DELETE", "/engine-rest/version"),
        ("POST", "/engine-rest/version"),
        ("OPTIONS", "/engine-rest/version"),
        ("TRACE", "/"),
        ("get", "/engine-rest/version"),
        ("GET", "/engine-rest/version/"),
        ("GET", "//engine-rest/version"),
        ("GET", "/engine-rest//version"),
        ("GET", "/engine-rest/./version"),
        ("GET", "/engine-rest/../v1/health"),
        ("GET", "/page/../v1/keys"),
        ("GET", "/page//x"),
        ("GET", "/v1/health/x"),
        ("GET", "/ENGINE-REST/version"),
        ("GET", "/engine-rest/engine/default/../version"),
        ("GET", "/engine-rest/engine//version"),
        ("GET", "/engine-rest/engine/../version"),
        ("GET", "/engine-rest/engine/a/engine/b/version"),
        ("GET", "http://x/v1/health"),
        ("GET", ""),
        ("GET", "*"),
        ("POST", "/engine-rest/process-definition/key//start"),
    ],
)
def test_what_is_in_no_row_is_the_admins(method: str, path: str) -> None:
    assert need_of(method, path) == UNKNOWN


def test_an_engine_by_its_name_is_the_same() -> None:
    plain = need_of("POST", "/engine-rest/process-definition/key/hotel/start")
    named = need_of("POST", "/engine-rest/engine/default/process-definition/key/hotel/start")
    row = "POST /engine-rest/process-definition/key/{process}/start"
    assert plain == named == Need(Role.START, Reach.NAMED, False, "hotel", row)
    assert need_of("GET", "/engine-rest/engine").role is Role.READ


def test_head_is_get() -> None:
    assert need_of("HEAD", "/v1/nodes") == need_of("GET", "/v1/nodes")


def test_a_segments_own_name_comes_first() -> None:
    assert need_of("GET", "/engine-rest/external-task/count").reach is Reach.ALL
    assert need_of("GET", "/engine-rest/external-task/a-1").reach is Reach.ASKED
    assert need_of("GET", "/engine-rest/process-definition/key/count").process == "count"


@given(st.text(max_size=60), st.sampled_from(["GET", "POST", "DELETE"]))
def test_any_path_has_a_need(text: str, method: str) -> None:
    for path in (text, f"/{text}", f"/engine-rest/{text}", f"/v2/jobs/{text}/completion"):
        need = need_of(method, path)
        assert need.role is not None or path in ("/", "/favicon.ico") or path.startswith("/page/")


@given(st.text(st.characters(exclude_characters="/"), min_size=1, max_size=30))
def test_the_process_is_what_the_application_takes_it_for(process: str) -> None:
    need = need_of("GET", f"/v1/processes/{process}")
    assert need == UNKNOWN if process in (".", "..") else need.process == process
