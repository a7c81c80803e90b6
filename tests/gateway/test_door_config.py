"""The door's settings: read, refused with a sentence, and their bounds."""

import re
from argparse import ArgumentParser
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gossamer_gateway.door import key_command
from gossamer_gateway.door.certificates import Subjects
from gossamer_gateway.door.config import DOOR, ApiKeys, DoorConfig, exposed
from gossamer_gateway.door.cors import CorsRule
from gossamer_gateway.door.key_desk import read_grant
from gossamer_gateway.door.limits import Limit, Limits
from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.door.tokens import Issuer
from gossamer_node.address import Address
from gossamer_node.schema.pages import page
from gossamer_node.schema.source import Invalid, Source, parse

HERE, ANYWHERE = Address("127.0.0.1", 8080), Address("0.0.0.0", 8080)


def read(text: str) -> DoorConfig:
    return DOOR.read(parse(text.encode(), Source("door.yaml", Path())), "door")


FULL = """
authentication:
  - type: api_keys
  - type: jwt
    issuer: https://login.test/realms/hotel
    audience: gossamer
    jwks_url: https://login.test/realms/hotel/certs
    algorithms: [RS256]
    roles_claim: realm_access.roles
    name_claim: preferred_username
    leeway: 1m
    grants:
      workers: [{role: work}]
      shop: [{role: start, processes: [hotel, pay*]}, {role: read, paths: [/engine-rest/*]}]
  - type: certificates
    grants:
      dns:worker.test: [{role: work}]
hosts: [Gateway.test]
limits:
  - {name: all, requests: 100, window: 1m}
  - {name: starts, requests: 5, window: 1s, by: address, methods: [POST], paths: ["*/start"]}
waiting_max: 50
cors:
  - origins: [https://app.test, http://localhost:3000]
    paths: [/v2/*]
    credentials: true
    max_age: 1h
body: 1MiB
body_time: 5s
"""


def test_everything_is_read() -> None:
    config = read(FULL)
    assert config == DoorConfig(
        (
            ApiKeys(),
            Issuer(
                "https://login.test/realms/hotel",
                "gossamer",
                "https://login.test/realms/hotel/certs",
                {
                    "workers": (Grant(Role.WORK),),
                    "shop": (
                        Grant(Role.START, ("hotel", "pay*")),
                        Grant(Role.READ, (), ("/engine-rest/*",)),
                    ),
                },
                ("RS256",),
                "preferred_username",
                "realm_access.roles",
                60_000,
            ),
            Subjects({"dns:worker.test": (Grant(Role.WORK),)}),
        ),
        ("gateway.test",),
        (
            Limit("all", 100, 60_000),
            Limit("starts", 5, 1_000, "address", ("POST",), ("*/start",)),
        ),
        50,
        (
            CorsRule(
                ("https://app.test", "http://localhost:3000"),
                ("/v2/*",),
                credentials=True,
                max_age_ms=3_600_000,
            ),
        ),
        2**20,
        5_000,
    )
    assert config.takes_keys and config.issuer and config.subjects and not config.is_open


@pytest.mark.parametrize(
    ("text", "authentication"),
    [("body: 1MiB", None), ("authentication: none", ()), ("authentication: [{type: api_keys}]", 1)],
)
def test_none_is_said(text: str, authentication: Any) -> None:
    found = read(text).authentication
    assert found == authentication if authentication != 1 else found == (ApiKeys(),)


def test_whoever_listens_for_others_says_who_may() -> None:
    unsaid, none, keys = DoorConfig(), DoorConfig(()), DoorConfig((ApiKeys(),))
    assert "write `none`" in str(exposed(unsaid, [HERE, ANYWHERE]))
    assert exposed(unsaid, [HERE, Address("::1", 1), Address("localhost", 1)]) is None
    for config in (none, keys):
        assert exposed(config, [ANYWHERE]) is None
    assert unsaid.is_open and none.is_open and not keys.is_open


LIMIT = "{name: a, requests: 1, window: 1s}"


def jwt(**more: str) -> str:
    rows = {
        "type": "jwt", "issuer": "i", "audience": "a", "jwks_url": "https://a.test/k",
        "grants": "{x: [{role: work}]}",
    } | more  # fmt: skip
    return "authentication: [{" + ", ".join(f"{k}: {v}" for k, v in rows.items() if v) + "}]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("authentication: nobody", "write `none`, or a list"),
        ("authentication: []", "write `none`, or a list"),
        ("authentication: {type: api_keys}", "write `none`, or a list"),
        ("authentication: [{type: api_keys}, {type: api_keys}]", "the same as"),
        ("authentication: [{type: password}]", "none of the choices"),
        ("authentication: [none]", "`type`"),
        (jwt(algorithms="[none]"), "algorithms"),
        (jwt(algorithms="[HS256]"), "algorithms"),
        (jwt(algorithms="[]"), "algorithms"),
        (jwt(jwks_url="http://a.test/k"), "unprotected"),
        (jwt(audience=""), "`audience` is missing"),
        (jwt(grants="{}") + "\nx: 1", "unknown key"),
        (jwt(grants="{x: []}"), "at least 1"),
        (jwt(grants="{x: [{role: boss}]}"), "none of the choices"),
        (jwt(grants="{x: [{role: read, paths: [v2]}]}"), "won't do"),
        ("authentication: [{type: certificates, grants: {worker: [{role: work}]}}]", "won't do"),
        ("hosts: ['a b']", "is no name of a host"),
        ("hosts: ['a:80']", "is no name of a host"),
        ("limits: [{name: a, requests: 0, window: 1s}]", "out of bounds"),
        ("limits: [{name: a, requests: 1, window: 1ms}]", "out of bounds"),
        ("limits: [{name: 'a\"', requests: 1, window: 1s}]", "won't do"),
        (f"limits: [{LIMIT}, {LIMIT}]", "same"),
        ("limits: [{name: a, requests: 1, window: 1s, by: team}]", "none of the choices"),
        ("cors: [{origins: []}]", "at least 1"),
        ("cors: [{origins: [app.test]}]", "is no origin"),
        ("cors: [{origins: ['https://app.test:443']}]", "browsers leave out"),
        ("cors: [{origins: ['*'], credentials: true}]", "name the origins"),
        ("cors: [{origins: ['*'], headers: ['a b']}]", "won't do"),
        ("body: 100", "has no unit"),
        ("body_time: 0s", "out of bounds"),
        ("waiting_max: 0", "out of bounds"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence_at_its_line(text: str, said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read(text)
    assert any(said in str(one) for one in refusal.value.problems), refusal.value.problems
    assert str(refusal.value).startswith("door.yaml:")


def test_it_has_a_page_and_a_schema() -> None:
    text = page("Door", DOOR, "")
    for words in ("## Limit: `limits[]`", "## Pages: `cors[]`", "(type: jwt)", "| `waiting_max` |"):
        assert words in text
    assert DOOR.json_schema()["additionalProperties"] is False
    assert DOOR.plain(DoorConfig(()))["authentication"] == "none"  # type: ignore[index,call-overload]


GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "gateway-door.md"


def shown() -> list[str]:
    """What the guide tells people to write under `door`."""
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```$", GUIDE.read_text("utf-8"), re.M | re.S)
    return [dedent(dedent(block).partition("door:\n")[2]) for block in blocks]


@pytest.mark.parametrize("text", shown())
def test_what_the_guide_shows_is_read(text: str) -> None:
    assert read(text) != DoorConfig()


def test_the_guide_tells_what_clients_see() -> None:
    text = GUIDE.read_text("utf-8")
    limit = next(one for block in shown() for one in read(block).limits if one.name == "all")
    told = Limits([limit]).take([(limit, "a")], 0)
    assert f"RateLimit-Policy: {told.policy}\n" in text and f"RateLimit: {told.left}\n" in text
    for role in Role:
        assert f"| `{role}` |" in text


def keys_commands() -> list[str]:
    found = re.findall(r"gossamer gateway key (.*) --config", GUIDE.read_text("utf-8"))
    assert len(found) == 5
    return found


@pytest.mark.parametrize("command", keys_commands())
def test_a_command_of_the_guide_is_one(command: str) -> None:
    parser = ArgumentParser()
    key_command.configure(parser, lambda action: None)
    for role in parser.parse_args(command.split()).__dict__.get("roles", ()):
        read_grant(role)
