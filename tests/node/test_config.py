"""The node's configuration: layers, references, and settings that are wrong together."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_node import config
from gossamer_node.address import PORT_DEFAULT, Address, parse_address
from gossamer_node.config import NodeConfig
from gossamer_node.engines.config import (
    BasicAuth,
    BearerAuth,
    EngineConfig,
    NoAuth,
    OAuth2Auth,
)
from gossamer_node.errors import InputError
from gossamer_node.schema.source import Invalid
from gossamer_node.service.grants import Grants

HOME = {"HOME": "/ada"}


def load(*flags: str, environ: Mapping[str, str] = HOME) -> NodeConfig:
    parser = argparse.ArgumentParser()
    config.add_flags(parser)
    return config.load(parser.parse_args(flags), environ)


def load_file(
    folder: Path, text: str, *flags: str, environ: Mapping[str, str] = HOME
) -> NodeConfig:
    file = folder / "gossamer.yaml"
    file.write_text(text)
    return load("--config", str(file), *flags, environ=environ)


def test_nothing_need_be_said() -> None:
    made = load("--name", "n1")
    assert made == NodeConfig(
        "n1", Path("/ada/.local/state/gossamer/n1"), Path("/ada/.cache/gossamer")
    )
    assert made.listen.is_loopback


def test_folders_follow_xdg() -> None:
    environ = HOME | {
        "XDG_STATE_HOME": "/state",
        "XDG_CACHE_HOME": "relative",
        "GOSSAMER_NAME": "n",
    }
    made = load(environ=environ)
    assert made.data_dir == Path("/state/gossamer/n")
    assert made.cache_dir == Path("/ada/.cache/gossamer")


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(tmp_path: Path) -> None:
    text = "slots: 1\nname: file\nmesh: {name: file}\nlog: {level: debug}\nclaim: false\n"
    environ = HOME | {"GOSSAMER_NAME": "variable", "GOSSAMER_MESH_NAME": "variable"}
    made = load_file(tmp_path, text, "--mesh", "flag", environ=environ)
    assert (made.mesh.name, made.name, made.slots, made.claim) == ("flag", "variable", 1, False)
    assert (made.log.level, made.log.format, made.discovery) == ("debug", "logfmt", False)


def test_the_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("slots: 7")
    assert load(environ=HOME | {"GOSSAMER_CONFIG": str(tmp_path / "g.yaml")}).slots == 7


def test_paths_start_at_the_file_that_names_them(tmp_path: Path) -> None:
    made = load_file(tmp_path, "services: [a, /b, ~/c]\ndata_dir: state")
    assert made.services == (tmp_path / "a", Path("/b"), Path("/ada/c"))
    assert made.data_dir == tmp_path / "state"
    assert load("--service", "a", "--service", "b").services == (Path("a"), Path("b"))


def test_everything_of_an_engine(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0k3n\n")
    text = """
engines:
  - kind: camunda7
    url: http://localhost:8080/engine-rest/
    tenant: hotel
    ca_file: ca.pem
    auth: {type: basic, username: demo, password: {env: PASSWORD}}
  - {name: saas, kind: camunda8, url: https://x.example.org, auth: {type: oauth2,
      token_url: https://login.example.org/token, client_id: id,
      client_secret: {env: PASSWORD}, audience: zeebe-api}}
  - {name: fixed, kind: camunda8, url: http://h:1, auth: {type: bearer, token: {file: token}}}
  - {name: open, kind: camunda8, url: http://h:1, auth: {type: none}}
"""
    made = load_file(tmp_path, text, environ=HOME | {"PASSWORD": "swordfish"})
    assert made.engines == (
        EngineConfig(
            "camunda7",
            "camunda7",
            "http://localhost:8080/engine-rest",
            "hotel",
            BasicAuth("demo", "swordfish"),
            tmp_path / "ca.pem",
        ),
        EngineConfig(
            "saas",
            "camunda8",
            "https://x.example.org",
            auth=OAuth2Auth(
                "https://login.example.org/token", "id", "swordfish", audience="zeebe-api"
            ),
        ),
        EngineConfig("fixed", "camunda8", "http://h:1", auth=BearerAuth("t0k3n")),
        EngineConfig("open", "camunda8", "http://h:1", auth=NoAuth()),
    )
    assert "swordfish" not in repr(made) and "t0k3n" not in repr(made)


def test_an_engine_on_the_command_line() -> None:
    text = (
        "kind=camunda7,url=http://h:1/engine-rest,auth.type=basic,auth.username=demo,"
        "auth.password.env=PASSWORD"
    )
    environ = HOME | {"PASSWORD": "swordfish"}
    made = load("--engine", text, "--engine", "kind=camunda8,url=http://h:2", environ=environ)
    assert [one.name for one in made.engines] == ["camunda7", "camunda8"]
    assert made.engines[0].auth == BasicAuth("demo", "swordfish")
    both = f"{text}; kind=camunda8,url=http://h:2"
    assert load(environ=environ | {"GOSSAMER_ENGINES": both}) == load(
        "--engine", text, "--engine", "kind=camunda8,url=http://h:2", environ=environ
    )


def test_an_engine_that_is_only_a_url() -> None:
    with pytest.raises(Invalid, match=r"'http://h:1' is no KEY=VALUE; the keys are name, kind"):
        load("--engine", "http://h:1")


def test_grants(tmp_path: Path) -> None:
    text = """
grants:
  hotel:
    http: [https://api.example.org]
    origins: {booking: http://127.0.0.1:5001/}
    redirects: true
    config: {currency: EUR}
    extend_lock: true
"""
    made = load_file(tmp_path, text)
    booking = {"booking": "http://127.0.0.1:5001"}
    assert made.grants_of("hotel") == Grants(
        ("https://api.example.org",), booking, True, {"currency": "EUR"}, True
    )
    assert made.grants_of("another") == Grants()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("node-2.example.org", Address("node-2.example.org", PORT_DEFAULT)),
        ("[::1]:7000", Address("::1", 7000)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", ":1", "a:b", "a:65536", "::1:7000", "[x]:1", "a b:1", "[1]:2"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="write an address"):
        load("--listen", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engnes: []", "gossamer.yaml:1: unknown key 'engnes'; did you mean `engines`?"),
        ("- a", "gossamer.yaml:1: this is no mapping"),
        ("slots: 0", "gossamer.yaml:1: slots: '0' is out of bounds"),
        ("join: [a:1]", "gossamer.yaml:1: join: a node without mesh key cannot join"),
        ("discovery: true", "gossamer.yaml:1: discovery: a node without mesh key cannot join"),
        ("\nlisten: 10.0.0.1:1", "gossamer.yaml:2: listen: a node without mesh key listens on"),
        ("{listen: 0.0.0.0, mesh: {key_file: k}}", "listen: 0.0.0.0 is every address"),
        ("{advertise: 'x:0', mesh: {key_file: k}}", "advertise: nobody can reach x:0"),
        ("engines: [{kind: camunda7}]", "engines[0]: `url` is missing"),
        ("engines: [{kind: camunda9, url: http://x}]", "engines[0].kind: 'camunda9' is none of"),
        ("engines: [{kind: camunda7, url: ftp://x}]", "'ftp://x' is no http(s) URL"),
        ("engines: [{kind: camunda7, url: http://u:p@x}]", "has credentials"),
        (
            "engines: [{kind: camunda7, url: http://x}, {kind: camunda7, url: http://y}]",
            "engines[1]: the same as engines[0]",
        ),
        (
            "engines: [{kind: camunda7, url: http://x, auth: {username: a}}]",
            "engines[0].auth: write `type`: `none` or `basic`",
        ),
        (
            "engines: [{kind: camunda7, url: http://x, auth: {type: basic, username: a}}]",
            "engines[0].auth: `password` is missing",
        ),
        (
            "engines: [{kind: camunda7, url: http://x, auth: {type: bearer, token: abc}}]",
            "engines[0].auth.token: write a reference",
        ),
        ("grants: {hotel: {htpp: []}}", "grants.hotel: unknown key 'htpp'; did you mean `http`?"),
        ("log: {level: loud}", "log.level: 'loud' is none of the choices"),
    ],
)
def test_a_wrong_file_is_named_by_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Invalid) as raised:
        load_file(tmp_path, text)
    assert said in str(raised.value)


def test_an_error_names_the_variable_or_the_flag() -> None:
    with pytest.raises(Invalid, match=r"^GOSSAMER_SLOTS: slots: 'many'"):
        load(environ=HOME | {"GOSSAMER_SLOTS": "many"})
    with pytest.raises(Invalid, match=r"^--slots: slots: 'many'"):
        load("--slots", "many")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load("--config", str(tmp_path / "none.yaml"))


def test_a_switch_needs_no_value() -> None:
    assert load("--discovery", "--key", "k").discovery
    assert not load("--claim", "false").claim


def test_a_command_may_take_some_flags_only() -> None:
    parser = argparse.ArgumentParser()
    config.add_flags(parser, "name", "data_dir")
    made = config.load(parser.parse_args(["--data-dir", "d", "--name", "n"]), HOME)
    assert (made.name, made.data_dir) == ("n", Path("d"))
    assert "--slots" not in parser.format_help()


def test_slips_of_the_pen_in_variables_are_found() -> None:
    environ = {"GOSSAMER_SLOT": "1", "GOSSAMER_SLOTS": "1", "GOSSAMER_DEBUG": "1", "HOME": "/"}
    assert config.unknown_variables(environ) == ["GOSSAMER_SLOT"]


@given(st.sampled_from([one.variable for one in config.settings()]), st.text(max_size=60))
def test_any_text_in_a_variable_is_a_setting_or_an_input_error(variable: str, text: str) -> None:
    try:
        config.load(None, HOME | {variable: text})
    except InputError as error:
        assert str(error).isprintable()
