"""The table that the SDKs of all languages share: `sdk-wasm/vectors/worker`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from gossamer_worker import WorkerError
from gossamer_worker.failures import failure_of
from gossamer_worker.memory import RUN, WAIT, Memory, Offsets
from gossamer_worker.messages import (
    Job,
    Outcome,
    Unreadable,
    completed,
    failed,
    read_job,
    read_message,
    result,
)

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "worker"


def cases(name: str) -> list[Any]:
    found = json.loads((VECTORS / name).read_text(encoding="utf-8"))["cases"]
    return [pytest.param(one, id=one["name"]) for one in found]


def table(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return found


class CardDeclined(Exception):
    pass


class CardStolen(CardDeclined):
    pass


THROWN: dict[str, type[Exception]] = {"CardDeclined": CardDeclined, "CardStolen": CardStolen}


def text_of(said: Any) -> str:
    if isinstance(said, dict):
        return str(said["character"]) * int(said["times"]) + str(said.get("then", ""))
    return str(said)


@pytest.mark.parametrize("case", cases("jobs.json"))
def test_a_message_is_read(case: dict[str, Any]) -> None:
    value: bytes | None
    if "base64" in case:
        value = base64.b64decode(case["base64"])
    else:
        value = None if case["value"] is None else case["value"].encode()
    expected = case["expect"]
    if "dead" in expected:
        with pytest.raises(Unreadable) as raised:
            read_message("step1", case["header"], value)
        assert str(raised.value) == expected["dead"]
        return
    job = read_message("step1", case["header"], value)
    if "skip" in expected:
        assert job is None
    else:
        assert job == read_job(expected["job"])
        assert job is not None
        assert job.payload == expected["job"]["payload"]


class Broken(dict[str, Any]):
    def items(self) -> Any:
        raise LookupError("it is broken")


def nested(times: int) -> Any:
    value: Any = 1
    for _ in range(times):
        value = [value]
    return value


def special(name: str) -> Any:
    circular: list[Any] = []
    circular.append(circular)
    return {
        "not-a-number": float("nan"),
        "infinity-inside": {"a": [float("inf")]},
        "circular": circular,
        "thing": {"a": object()},
        "lone-surrogate": "\ud800",
        "large-integer": [2**64],
        "broken": Broken(a=1),
    }[name]


@pytest.mark.parametrize("case", cases("results.json"))
def test_a_result_is_made(case: dict[str, Any]) -> None:
    vectors = table("results.json")
    job: Job = read_job(vectors["job"])
    if "special" in case:
        output = special(case["special"])
    elif "nested" in case:
        output = nested(case["nested"])
    else:
        output = text_of(case["text"]) if "text" in case else case["output"]
    said = json.loads(result(job, completed(output), vectors["worker"]))
    expected = dict(case["expect"])
    assert {one: said.pop(one) for one in ("form", "run", "step", "attempt", "worker")} == {
        "form": 1, "run": "r-1", "step": "s1", "attempt": 1, "worker": "w-1",
    }  # fmt: skip
    if expected["status"] == "failed":
        if "message" not in expected["failure"]:
            said["failure"].pop("message")
    elif "characters" in expected:
        expected["output"] = output
        assert len(said["output"]) == expected.pop("characters")
    elif "nested" in expected:
        expected["output"] = nested(expected.pop("nested"))
    assert said == expected


@pytest.mark.parametrize("case", cases("failures.json"))
def test_a_failure_is_made(case: dict[str, Any]) -> None:
    thrown = case["thrown"]
    message = text_of(thrown["text"]) if "text" in thrown else thrown.get("message", "")
    if "halfCharacter" in thrown:
        message = "\ud83d"
    if thrown["type"] == "WorkerError":
        code = text_of(thrown.get("codeText", thrown.get("code")))
        error: Exception = WorkerError(code, message, retryable=thrown.get("retryable", True))
    else:
        error = THROWN[thrown["type"]](message)
    not_retryable = tuple(THROWN[one] for one in case.get("notRetryable", ()))
    try:
        raise error
    except Exception as caught:
        said = json.loads(failed(failure_of(caught, not_retryable)).text)
    details = said.pop("details")
    assert thrown["type"] in details and len(details) <= 20_000
    expected = case["expect"]
    assert said == {
        "code": text_of(expected["code"]),
        "message": text_of(expected["message"]),
        "retryable": expected["retryable"],
    }


@pytest.mark.parametrize("case", cases("memory.json"))
def test_what_was_done_is_remembered(case: dict[str, Any]) -> None:
    bounds = {one + "_max": case[one] for one in ("keys", "bytes") if one in case}
    memory: Memory[int] = Memory(**bounds)

    def outcome(said: dict[str, Any]) -> Outcome:
        return Outcome("output" in said, json.dumps(said.get("output", said.get("code"))))

    for step in case["steps"]:
        expected = step["expect"]
        if "deliver" in step:
            got = memory.take(step["deliver"]["key"], step["deliver"]["attempt"],
                              step["deliver"]["attempt"])  # fmt: skip
            assert got == (
                {"run": RUN, "wait": WAIT}[expected]
                if isinstance(expected, str)
                else outcome(expected)
            )
        else:
            said = step.get("completed") or step["failed"]
            then = memory.done(said["key"], outcome(said))
            assert then == [
                (one["attempt"], None if "run" in one else outcome(one)) for one in expected
            ]


@pytest.mark.parametrize("case", cases("offsets.json"))
def test_only_what_is_finished_is_committed(case: dict[str, Any]) -> None:
    offsets = Offsets()
    for step in case["steps"]:
        for name in ("begin", "skip", "finish"):
            if name in step:
                getattr(offsets, name)(step[name])
        assert offsets.position == step["position"], step
