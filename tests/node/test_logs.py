"""Log lines: what they hold, that none can be forged, and that no secret gets into one."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Literal

import pytest
from gossamer_node import logs
from hypothesis import given
from hypothesis import strategies as st

log = logs.get("claiming")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The root logger as pytest had it: its handlers and level are the process's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: Literal["logfmt", "json"], message: str, **fields: object) -> str:
    stream = io.StringIO()
    logs.setup(form, "info", stream)
    log.info(message, **fields)
    return stream.getvalue()


def test_logfmt() -> None:
    line = written(
        "logfmt", "granted", job="17", topic="block room", epoch="3.1", left=None, ok=True
    )
    assert re.fullmatch(
        r"ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info logger=claiming msg=granted "
        r'job=17 topic="block room" epoch=3\.1 left=none ok=true\n',
        line,
    )


def test_json_lines() -> None:
    line = json.loads(written("json", "granted", job="17", lease=4, share=0.5, far=float("inf")))
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "claiming",
        "msg": "granted",
        "job": "17",
        "lease": 4,
        "share": 0.5,
        "far": "inf",
    }


@pytest.mark.parametrize(
    "value", ["a\nlevel=error", 'a" level=error "', "a\r", "\x1b[2J", "\u2028", "\u202e", "\\"]
)
@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_value_forges_nothing(form: Literal["logfmt", "json"], value: str) -> None:
    line = written(form, value, job=value)
    assert line.endswith("\n") and line[:-1].isprintable()
    if form == "json":
        assert json.loads(line)["job"] == value
    else:
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
        assert "error" not in bare and '"' not in bare


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=50))
def test_any_text_is_one_line(value: str) -> None:
    for form in (logs.Logfmt(), logs.JsonLines()):
        record = logging.LogRecord("gossamer.x", logging.INFO, "", 0, value, None, None)
        record.fields = {"job": value}
        assert form.format(record).isprintable()


@pytest.mark.parametrize("name", ["password", "client_secret", "access_token", "Authorization"])
def test_a_field_named_as_a_secret_is_not_written(name: str) -> None:
    line = written("logfmt", "asked", **{name: "swordfish"})
    assert "swordfish" not in line and f"{name}={logs.REDACTED}" in line


def test_a_field_cannot_pass_for_the_level() -> None:
    line = json.loads(written("json", "granted", level="error", ts="never"))
    assert (line["level"], line["level_"], line["ts_"]) == ("info", "error", "never")


def test_long_values_are_cut() -> None:
    line = json.loads(written("json", "failed", details="x" * 100_000))
    assert len(line["details"]) == logs.VALUE_CHARS_MAX + 1


def test_a_traceback_stays_on_its_line() -> None:
    stream = io.StringIO()
    logs.setup("logfmt", "info", stream)
    try:
        raise ValueError("no\nroom")
    except ValueError:
        logging.getLogger("some.library").exception("broke at 100%")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert "logger=some.library" in line and "ValueError: no\\nroom" in line


def test_libraries_are_heard_from_warning_on() -> None:
    stream = io.StringIO()
    logs.setup("logfmt", "debug", stream)
    logging.getLogger("httpx").info("HTTP Request")
    log.debug("asked")
    assert "HTTP" not in stream.getvalue() and "msg=asked" in stream.getvalue()


def test_the_level_is_a_threshold() -> None:
    stream = io.StringIO()
    logs.setup("logfmt", "warning", stream)
    log.info("granted")
    log.warning("revoked")
    assert "granted" not in stream.getvalue() and "msg=revoked" in stream.getvalue()


def test_a_stream_that_is_gone_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.setup("logfmt", "info", stream)
    stream.close()
    log.error("nobody reads this")
    assert capsys.readouterr() == ("", "")
