"""Secrets for workers: granted by name, from safe files or variables, and told to nobody else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh import keyfiles
from gossamer_node.config import load as load_config
from gossamer_node.config import load_grants
from gossamer_node.jobs import Failed, Outcome
from gossamer_node.schema.source import Invalid
from gossamer_node.service.load import loads
from gossamer_node.service.secrets import Disclosed, SecretSource, blacked_out
from gossamer_node.service.spec import Grant
from gossamer_node.wasm import Detached, Worker
from gossamer_node.wasm.asking.operations import Code
from gossamer_node.wasm.run import LOG_LINE_BYTES_MAX

Load = Callable[..., Worker]
RunJob = Callable[..., Outcome]
Ask = Callable[..., Any]

VALUE = "hunter2-hunter2"
ASKING = {"name": "token"}


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    keyfiles.create(file, f"{VALUE}\n".encode(), "a secret")
    return file


def granted(file: Path) -> Grant:
    return Grant(secrets={"token": SecretSource(file)})


def test_a_granted_secret_is_given_and_a_new_value_at_once(ask: Ask, token: Path) -> None:
    assert ask("secrets.get", ASKING, granted(token)) == {"value": VALUE}
    keyfiles.replace(token, b"another\n", "a secret")
    assert ask("secrets.get", ASKING, granted(token)) == {"value": "another"}
    variable = Grant(secrets={"token": SecretSource(None, "TOKEN", VALUE)})
    assert ask("secrets.get", ASKING, variable) == {"value": VALUE}


def test_what_is_not_granted_or_no_name_is_refused(ask: Ask, token: Path) -> None:
    code, sentence = ask("secrets.get", {"name": "other"}, granted(token))
    assert code is Code.DENIED and sentence.startswith("The secret other is not granted; ")
    assert ask("config.get", ASKING, granted(token))[0] is Code.DENIED
    for request in ({}, {"name": None}, {"name": 3}, {"name": ["token"]}):
        assert ask("secrets.get", request, granted(token))[0] is Code.BAD_REQUEST


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o660])
def test_a_file_that_others_may_use_is_refused_and_the_worker_learns_no_path(
    mode: int, ask: Ask, token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token.chmod(mode)
    answer = ask("secrets.get", ASKING, granted(token))
    sentence = "The secret token cannot be had on this node; its log says why."
    assert answer == (Code.HOST, sentence)
    assert f"run: chmod 600 {token}" in caplog.text
    assert VALUE not in caplog.text


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_of_no_use_is_the_nodes_matter(
    content: bytes | None, ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "bad"
    if content is not None:
        keyfiles.create(file, content, "a secret")
    assert ask("secrets.get", ASKING, granted(file))[0] is Code.HOST
    assert str(file) in caplog.text


SERVICE = b"{name: rooms, version: 1.0.0, capabilities: {secrets: [token, other, third]}}"


def test_the_configuration_names_secrets_and_the_start_says_which_are_missing(
    tmp_path: Path, token: Path
) -> None:
    text = (
        "grants: {rooms: {secrets: {token: {file: token}, other: {env: NOT_SET}, more: {env: X}}}}"
    )
    (tmp_path / "gossamer.yaml").write_text(text)
    grants = load_grants(tmp_path / "gossamer.yaml")["rooms"]
    grant, refused = grants.bind(loads(SERVICE, tmp_path / "service.yaml"))
    assert set(grant.secrets) == {"token", "other"}
    assert grant.secrets["token"].read() == VALUE
    assert refused == (
        "service rooms cannot have its secret other: the environment variable NOT_SET is not set; "
        "set it.",
        "service rooms requests secret third, which this node doesn't grant; to grant it, write "
        "`secrets: {third: {file: PATH}}` under grants.rooms.",
    )


@pytest.mark.parametrize(
    "written",
    ["hunter2", "{file: token, env: X}", "{file: ''}", "{env: 'a b'}", "{value: hunter2}", "[]"],
)
def test_a_secret_that_is_written_out_is_refused_and_not_repeated(
    written: str, tmp_path: Path
) -> None:
    file = tmp_path / "gossamer.yaml"
    file.write_text(f"grants: {{rooms: {{secrets: {{token: {written}}}}}}}")
    with pytest.raises(Invalid, match=r"grants\.rooms\.secrets\.token") as caught:
        load_grants(file)
    assert "hunter2" not in str(caught.value)


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "gossamer.yaml"
    file.write_text("{name: n, grants: {rooms: {secrets: {token: {env: ROOMS_TOKEN}}}}}")
    environ = {"GOSSAMER_CONFIG": str(file), "ROOMS_TOKEN": VALUE, "HOME": str(tmp_path)}
    grants = load_config(environ=environ).grants_of("rooms")
    assert grants.secrets["token"].read() == VALUE
    assert VALUE not in repr(grants)


def test_log_lines_have_it_blacked_out(load: Load, run: RunJob, token: Path) -> None:
    """By way of the imports themselves: asked, put at the end of a line that is cut, and told."""
    lines: list[str] = []
    before = LOG_LINE_BYTES_MAX - len('{"value":"hunter')
    # The reply is written so that the line's bound falls amid the secret.
    imports = (
        '(import "job1" "log" (func $log (param i32 i32 i32)))'
        '(import "job1" "call" (func $call (param i32 i32 i32 i32) (result i32)))'
        '(import "job1" "take" (func $take (param i32 i32) (result i32)))'
    )
    handle = f"""
      (memory.fill (i32.const 8192) (i32.const 120) (i32.const {before}))
      (drop (call $call (i32.const 4096) (i32.const 11) (i32.const 4112) (i32.const 16)))
      (drop (call $take (i32.const {8192 + before}) (i32.const 100)))
      (call $log (i32.const 1) (i32.const 8192) (i32.const {before + 27}))
      (call $log (i32.const 1) (i32.const {8192 + before}) (i32.const 27))
      (i64.or (i64.shl (i64.const 128) (i64.const 32)) (i64.const 16))
    """
    data = """
      (data (i32.const 4096) "secrets.get")
      (data (i32.const 4112) "{\\"name\\":\\"token\\"}")
    """
    worker = load("any", imports=imports, handle=handle, rest=data, grant=granted(token))
    outcome = run(worker, context=Detached(lambda _level, line: lines.append(line)))
    assert not isinstance(outcome, Failed), outcome
    assert len(lines) == 2
    assert "hunter" not in "".join(lines)
    assert lines[1] == '{"value":"[redacted]"}'


@given(
    st.lists(st.text(max_size=8), max_size=4),
    st.lists(st.sampled_from(["abcdef", "abcd", "line one\nline two", "abc", "  \n  "])),
)
def test_no_text_keeps_a_secret(around: list[str], secrets: list[str]) -> None:
    text = "".join(part for pair in zip(around, secrets, strict=False) for part in pair)
    clean = blacked_out(text, secrets)
    for secret in secrets:
        for line in secret.splitlines():
            assert len(line.strip()) < 4 or line not in clean


def test_a_value_and_the_one_before_it_are_remembered() -> None:
    disclosed = Disclosed()
    for value in ("first", "first", "second", "third-é", "third-é"):
        disclosed.add("token", value)
    disclosed.add("other", "x")
    assert disclosed.values == ("third-é", "second", "x")
    assert disclosed.bytes_max == 8
