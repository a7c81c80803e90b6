"""Override rules as pure decisions: what is wrong with one, which one matches, and why not."""

import random
import time
from typing import Any

import pytest

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.overrides.deciding import Request, decide, explain, ordered
from gossamer_gateway.overrides.forwarding import target
from gossamer_gateway.overrides.rules import (
    Engine,
    Respond,
    Rule,
    Service,
    ToUrl,
    read_value,
)
from gossamer_gateway.overrides.subjects import process_of

MESSAGE = "/engine-rest/message"


def rule(name: str = "a", position: int = 100, **match: Any) -> Rule:
    match = {"path": MESSAGE, **match}
    value = {"position": position, "match": match, "respond": {"status": 200}}
    return read_value(name, value)


def asked(path: str = MESSAGE, process: str | None = None, **headers: str) -> Request:
    method = "POST"
    return Request(method, path, [(k.replace("_", "-"), v) for k, v in headers.items()], process)


@pytest.mark.parametrize(
    ("match", "request_", "why_not"),
    [
        ({}, asked(), None),
        ({"method": "GET"}, asked(), "the method is POST, not GET"),
        ({"method": ["PUT", "POST"]}, asked(), None),
        ({"path": "/engine-rest/*"}, asked(), None),
        ({"path": "/engine-rest/*"}, asked("/engine-rest/a/b/c"), None),
        ({"path": "/engine-rest/*"}, asked("/engine-rest"), "the path is not /engine-rest/*"),
        ({"path": "/*"}, asked("/v2/topology"), None),
        ({"path": "/v2/*/completion"}, asked("/v2/jobs/7/completion"), None),
        ({"path": "/v2/{kind}/completion"}, asked("/v2/jobs/7/completion"), "the path is not"),
        ({"path": "/v2/{kind}/{key}"}, asked("/v2/jobs/7"), None),
        ({"path": "/v2/{kind}"}, asked("/v2/"), "the path is not /v2/{kind}"),
        ({"path": "/v2/a.c"}, asked("/v2/abc"), "the path is not /v2/a.c"),
        ({"path": "/v2/a"}, asked("/v2/a\n"), "the path is not /v2/a"),
        ({"headers": {"X-Tenant": "acme"}}, asked(), "there is no header x-tenant"),
        ({"headers": {"X-Tenant": "acme"}}, asked(x_tenant="other"), "the header x-tenant is not"),
        ({"headers": {"X-Tenant": "acme"}}, asked(x_tenant="acme"), None),
        ({"headers": {"X-Tenant": "a*e"}}, asked(x_tenant="acme"), None),
        ({"headers": {"X-Tenant": "a*e"}}, asked(x_tenant="acmes"), "the header x-tenant is not"),
        ({"headers": {"X-Tenant": "ab*ba"}}, asked(x_tenant="aba"), "the header x-tenant is not"),
        ({"headers": {"X-Tenant": "*a*b*"}}, asked(x_tenant="xaxxb"), None),
        ({"headers": {"X-Tenant": "*"}}, asked(x_tenant=""), None),
        ({"process": "hotel"}, asked(process="hotel"), None),
        ({"process": "hotel"}, asked(process="car"), "the process is car, not hotel"),
        ({"process": "hotel"}, asked(), "the process is not known, not hotel"),
        ({"path": "/*"}, asked("/v1/overrides"), "/v1/overrides is no path of an engine's dialect"),
        ({"path": "/*"}, asked("/"), "/ is no path of an engine's dialect"),
        ({"path": "/*"}, asked("/v21"), "/v21 is no path of an engine's dialect"),
    ],
)
def test_what_a_rule_matches(match: dict[str, Any], request_: Request, why_not: str | None) -> None:
    (verdict,) = explain([rule(**match)], request_)
    if why_not is None:
        assert verdict.why_not is None
    else:
        assert verdict.why_not is not None and verdict.why_not.startswith(why_not)


def test_one_of_several_headers_of_a_name_is_enough() -> None:
    request = Request("POST", MESSAGE, [("x-tenant", "other"), ("x-tenant", "acme")])
    assert decide([rule(headers={"x-tenant": "acme"})], request) is not None


def test_parts_of_the_path_are_caught() -> None:
    found = decide([rule(path="/v2/{kind}/{key}/*")], asked("/v2/jobs/7/a/b"))
    assert found is not None and found.caught == {"kind": "jobs", "key": "7", "*": "a/b"}


KINDS: list[dict[str, Any]] = [
    {},
    {"method": "GET"},
    {"process": "car"},
    {"path": "/v2/*"},
]


@pytest.mark.parametrize("seed", range(50))
def test_the_first_in_order_answers_and_explain_says_the_same(seed: int) -> None:
    luck = random.Random(seed)
    rules = [
        rule(
            f"r{number}",
            luck.randrange(4),
            **luck.choice(KINDS),
        )
        for number in range(luck.randrange(8))
    ]
    in_order = ordered(luck.sample(rules, len(rules)))
    assert in_order == ordered(rules)
    assert [(one.position, one.name) for one in in_order] == sorted(
        (one.position, one.name) for one in rules
    )
    request = asked(process="car")
    found = decide(in_order, request)
    verdicts = explain(in_order, request)
    matching = [one for one in verdicts if one.why_not is None]
    assert matching == ([] if found is None else [found])
    if found is None:
        assert len(verdicts) == len(rules)
    else:
        assert verdicts[-1] == found
        assert in_order[: len(verdicts)] == [one.rule for one in verdicts], f"seed {seed}"


def test_no_path_and_no_header_is_slow_to_match() -> None:
    slow = rule(
        path="/v2/" + "/".join(f"{{p{n}}}" for n in range(60)) + "/*x", headers={"h": "*a" * 500}
    )
    path = "/v2/" + "/".join("a" * 30 for _ in range(2_000))
    began = time.process_time()
    assert decide([slow], asked(path, h="a" * 8_000)) is None
    assert decide([rule(headers={"h": "*a" * 500 + "b"})], asked(h="a" * 8_000)) is None
    assert time.process_time() - began < 0.5


GOOD: dict[str, Any] = {"match": {"path": MESSAGE}, "respond": {}}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"match": None}, "match is missing; write one."),
        ({"match": 7}, "match is no object; write one."),
        ({"match": {}}, "match.path is None; write one that begins with a slash"),
        ({"match": {"path": "engine-rest"}}, "match.path is 'engine-rest'; write one"),
        ({"match": {"path": "/a*b*"}}, "match.path /a*b* has more than one *"),
        (
            {"match": {"path": "/a{b}"}},
            "match.path has 'a{b}'; a part in braces stands",
        ),
        ({"match": {"path": "/{a}/{a}"}}, "match.path names a part 'a'; write letters, each name"),
        ({"match": {"path": "/{}"}}, "match.path names a part ''"),
        ({"match": {"path": "/a", "verb": "POST"}}, "match.verb is no field of a rule; there are"),
        ({"match": {"path": "/a", "method": "post"}}, "match.method is 'post'; write one such as"),
        ({"match": {"path": "/a", "method": 7}}, "match.method is 7"),
        ({"match": {"path": "/a", "headers": []}}, "match.headers is no object; write one."),
        (
            {"match": {"path": "/a", "headers": {"a b": "c"}}},
            "match.headers has 'a b', which",
        ),
        ({"match": {"path": "/a", "headers": {"a": "\n"}}}, "match.headers.a is '\\n'"),
        (
            {"match": {"path": "/a", "headers": {"a": "", "A": ""}}},
            "match.headers names a header",
        ),
        ({"match": {"path": "/a", "process": 7}}, "match.process is 7; write a process's id"),
        ({"position": -1}, "position is -1; write a whole number, 0 to 1000000."),
        ({"position": True}, "position is True"),
        ({"color": 1}, "color is no field of a rule; there are position, match, engine"),
        ({"engine": "c8"}, "the rule has engine and respond; write exactly one of engine"),
        ({"respond": {"status": 99}}, "respond.status is 99; write one from 200 to 599."),
        ({"respond": {"status": 204, "body": ""}}, "respond.body goes with no 204; leave it out."),
        (
            {"respond": {"headers": {"Connection": "close"}}},
            "respond.headers has connection",
        ),
        ({"respond": {"headers": {"A": "b\r\nc: d"}}}, "respond.headers.A is"),
        ({"respond": {"body": "\ud800"}}, "respond.body has half a character"),
        ({"respond": 7}, "respond is no object; write one."),
    ],
)
def test_what_is_wrong_with_a_rule(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_value("a", GOOD | changed)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ({}, "the rule has no action; write exactly one of engine, upstream, respond, service."),
        ({"engine": ""}, "engine is ''; write the name of one."),
        ({"upstream": "ftp://host/"}, "upstream.url is 'ftp://host/'; write http:// or https://"),
        ({"upstream": "http:///a"}, "upstream.url is 'http:///a'"),
        ({"upstream": "http://host:x/"}, "upstream.url is 'http://host:x/'"),
        ({"upstream": "http://host/a b"}, "upstream.url is 'http://host/a b'"),
        ({"upstream": "http://host\\@evil/"}, "upstream.url is"),
        ({"upstream": "http://me:secret@host/"}, "upstream.url has a user in it"),
        ({"upstream": "http://host/?a=b"}, "upstream.url ends with its path"),
        ({"upstream": "http://host/#a"}, "upstream.url ends with its path"),
        ({"upstream": "http://{key}/"}, "upstream.url has parts of the request in its host"),
        (
            {"upstream": "http://host/{other}"},
            "upstream.url has {other}, which match.path does",
        ),
        ({"upstream": "http://host/{key"}, "upstream.url has a brace without its other half."),
        ({"upstream": {"url": "http://host/", "timeout_ms": 0}}, "upstream.timeout_ms is 0"),
        ({"upstream": {"to": "http://host/"}}, "upstream.to is no field of a rule; there are url"),
        ({"service": ""}, "service.name is ''"),
        ({"service": {"name": "a", "version": 1}}, "service.version is 1"),
    ],
)
def test_what_is_wrong_with_an_action(action: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_value("a", {"match": {"path": "/v2/{key}"}, **action})
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "a/b", "a" * 65, "ü"])
def test_what_names_no_rule(name: str) -> None:
    with pytest.raises(BadRequest, match="cannot name a rule; write"):
        read_value(name, GOOD)


@pytest.mark.parametrize(
    ("action", "found"),
    [
        ({"engine": "c8"}, Engine("c8")),
        ({"upstream": "http://host/{key}"}, ToUrl("http://host/{key}", 30_000)),
        ({"upstream": {"url": "http://host", "timeout_ms": 5}}, ToUrl("http://host", 5)),
        ({"service": "prices"}, Service("prices", "*", 30_000)),
        ({"respond": {"status": 204}}, Respond(204, (), b"")),
        (
            {"respond": {"body": {"a": 1}}},
            Respond(200, (("content-type", "application/json"),), b'{"a": 1}'),
        ),
        (
            {"respond": {"body": "hi", "headers": {"Content-Type": "text/x", "X-A": "b"}}},
            Respond(200, (("content-type", "text/x"), ("x-a", "b")), b"hi"),
        ),
    ],
)
def test_actions(action: dict[str, Any], found: object) -> None:
    assert read_value("a", {"match": {"path": "/v2/{key}"}, **action}).action == found


@pytest.mark.parametrize(
    ("part", "text", "filled"),
    [
        ("{key}", "7", "http://host/base/7"),
        ("{key}", "a b?c#d%/", "http://host/base/a%20b%3Fc%23d%25%2F"),
        ("{*}", "a/b c", "http://host/base/a/b%20c"),
        ("{*}", "\udc80", "http://host/base/%80"),
        ("{*}", "//evil/x", "http://host/base///evil/x"),
    ],
)
def test_what_the_path_caught_goes_encoded(part: str, text: str, filled: str) -> None:
    assert target(f"http://host/base/{part}", {part.strip("{}"): text}) == filled


@pytest.mark.parametrize("text", ["..", ".", "../a", "a/../../b", "a/..", "..\\a"])
def test_what_climbs_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match=r"\.\. in it"):
        target("http://host/base/{*}", {"*": text})


@pytest.mark.parametrize(
    ("method", "path", "body", "process"),
    [
        ("POST", "/engine-rest/process-definition/key/hotel/start", b"", "hotel"),
        ("GET", "/engine-rest/engine/default/process-definition/key/hotel", b"", "hotel"),
        ("POST", "/engine-rest/process-definition/hotel:1:2/start", b"", None),
        ("POST", "/v2/process-instances", b'{"processDefinitionId": "hotel"}', "hotel"),
        ("POST", "/v2/process-instances", b'{"bpmnProcessId": "hotel"}', "hotel"),
        ("POST", "/v2/process-instances", b'{"processDefinitionId": 7}', None),
        ("POST", "/v2/process-instances", b'["hotel"]', None),
        ("POST", "/v2/process-instances", b"[" * 9_999, None),
        ("POST", "/v2/process-instances", b"\xff", None),
        ("GET", "/v2/process-instances", b'{"processDefinitionId": "hotel"}', None),
    ],
)
def test_which_process_a_request_is_about(
    method: str, path: str, body: bytes, process: str | None
) -> None:
    assert process_of(method, path, body) == process
