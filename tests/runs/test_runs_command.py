"""`gossamer workflow` against a whole gateway, and its check of a file without one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.runs.worlds import World

from gossamer_node import cli

FLOW = """id: greet
steps:
  - action: hello
  - action: bye
"""


class Shell:
    """Runs commands; each blocks, so it has a thread."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self._capsys = capsys

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Its exit status, and what it printed."""
        given = ["workflow", *words, "--gateway", self._url]
        status = await trio.to_thread.run_sync(cli.main, given)
        return status, *self._capsys.readouterr()

    async def json(self, *words: str) -> Any:
        status, out, _ = await self.run(*words, "--json")
        assert status == 0
        return json.loads(out)


@pytest.fixture
def shell(world: World, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(world.whole.gateway.url, capsys)


@pytest.fixture
def flow(tmp_path: Path) -> str:
    path = tmp_path / "greet.yaml"
    path.write_text(FLOW)
    return str(path)


async def test_from_a_file_to_the_end_of_a_run(world: World, shell: Shell, flow: str) -> None:
    assert await shell.run("define", flow) == (0, "greet: version 1, greet has 2 steps\n", "")
    _, listed, _ = await shell.run("list")
    assert listed.splitlines()[1].split()[:3] == ["greet", "1", "2"]
    _, shown, _ = await shell.run("show", "greet")
    assert [one["action"] for one in json.loads(shown)["steps"]] == ["hello", "bye"]
    async with world.working(hello=lambda payload: f"hello {payload}", bye=lambda _: "bye"):
        status, told, _ = await shell.run("trigger", "greet", "--input", '"you"', "--wait")
        made = await shell.json("trigger", "greet", "--input", "1", "--key", "k")
        again = await shell.json("trigger", "greet", "--input", "2", "--key", "k")
        follow = await shell.run("run", made["runId"], "--follow")
    assert status == 0 and "Completed" in told and '"hello you"' in told
    assert made == again
    assert follow[0] == 0
    said = follow[1].splitlines()
    assert "triggered with 1" in said[0] and 'completed: "bye"' in said[-1]
    _, events, _ = await shell.run("run", made["runId"], "--follow", "--json")
    told_of = [json.loads(one)["seq"] for one in events.splitlines()]
    assert told_of == list(range(1, len(said) + 1))
    runs = await shell.json("runs", "--workflow", "greet", "--limit", "1")
    assert runs["items"][0]["runId"] == made["runId"] and runs["next"] is not None
    _, page, _ = await shell.run("runs", "--limit", "1")
    assert f"--after {runs['next']}" in page
    (one,) = (await shell.json("runs", "--run", f"z,{made['runId'][:13]}"))["items"]
    assert one["runId"] == made["runId"]


async def test_a_run_that_does_not_complete(world: World, shell: Shell) -> None:
    await world.define("flow", {"action": "a", "retry": {"maxAttempts": 1}})
    failing = await world.trigger("flow")
    _, told, _ = await shell.run("run", failing)
    assert "nobody has asked for jobs of a" in told
    await world.fail(await world.job("a"), "Broken", message="no luck")
    status, said, _ = await shell.run("run", failing, "--follow")
    assert status == 1
    ends = [one.split(maxsplit=1)[1].split() for one in said.splitlines()[-2:]]
    assert ends == [[of, "failed:", "Broken:", "no", "luck"] for of in ("a", "-")]
    assert (await shell.run("retry", failing))[1] == f"{failing}: Running\n"
    status, said, _ = await shell.run("cancel", failing, "--reason", "enough")
    assert (status, said) == (0, f"{failing}: Cancelled\n")
    status, _, error = await shell.run("retry", failing)
    assert status == 2 and "is Cancelled" in error


async def test_what_is_wrong_is_told_like_a_compiler(
    shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("id: bad\nsteps:\n  - acton: hello\n  - action: bye\n    timeoutMs: soon\n")
    status = await trio.to_thread.run_sync(cli.main, ["workflow", "check", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert status == 2
    assert lines[0].startswith(f"{path}:3:5: steps[0]") and "action" in lines[0]
    assert lines[-1].startswith(f"{path}:5:16: steps[1].timeoutMs: ")
    status, out, error = await shell.run("define", str(path))
    assert (status, out, error.splitlines()) == (2, "", lines)
    path.write_text(FLOW)
    status = await trio.to_thread.run_sync(cli.main, ["workflow", "check", str(path)])
    assert (status, capsys.readouterr().out) == (0, f"{path}: greet has 2 steps, and right\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trigger", "nobody"), "there is no workflow nobody"),
        (("trigger", "x", "--input", "hello"), "--input"),
        (("run", "nobody"), "there is no run"),
        (("define", "/nowhere/x.yaml"), "/nowhere/x.yaml can't be read"),
        (("runs", "--since", "yesterday"), "since"),
        (("runs", "--limit", "0"), "limit must be a whole number, 1 to 500"),
        (("runs", "--run", ","), "ids of runs, or how they begin"),
        (("runs", "--after", "x"), "`next` of the page before"),
        (("show", ""), "'' is no name"),
        (("show", ".."), "'..' is no name"),
        (("show", "run"), "GET /workflow/run/{run}"),
        (("show", "nobody"), "GET /workflow/ lists them"),
        (("show", "nobody", "--version", "0"), "version must be a whole number"),
        (("run", ""), "'' is no name"),
        (("run", "nobody", "--follow"), "there is no run"),
        (("retry", ""), "'' is no name"),
        (("cancel", "nobody"), "GET /workflow/runs lists those that are kept"),
        (("trigger", ""), "'' is no name"),
        (("trigger", "x", "--key", ""), "Idempotency-Key must have 1 to 200"),
        (("trigger", "x", "--input-file", "/nowhere/x.json"), "/nowhere/x.json can't be read"),
        (("define", "/"), "/ can't be read: Is a directory"),
    ],
)
async def test_mistakes_are_told_in_a_sentence(
    shell: Shell, words: Sequence[str], said: str
) -> None:
    status, _, error = await shell.run(*words)
    assert status == 2 and said in error


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("nonsense", 2, "nonsense is no URL; write one such as http://127.0.0.1:8090"),
        ("ftp://127.0.0.1:1", 2, "is no URL"),
        ("http://127.0.0.1:1", 1, "gives no answer"),
        ("http://no.such.host.invalid", 1, "--gateway names another"),
    ],
)
async def test_a_gateway_that_is_none(
    world: World, capsys: pytest.CaptureFixture[str], url: str, status: int, said: str
) -> None:
    for words in (("runs",), ("list", "--json"), ("run", "x", "--follow")):
        found = await trio.to_thread.run_sync(cli.main, ["workflow", *words, "--gateway", url])
        assert found == status
        assert said in capsys.readouterr().err


async def test_a_run_that_is_not_waited_for_any_more_is_named(
    world: World, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody presses Ctrl-C while it waits."""
    await world.define("flow", {"action": "a"})

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gossamer_gateway.runs.command.time.sleep", interrupted)
    status, out, error = await shell.run("trigger", "flow", "--wait")
    assert (status, out) == (130, "")
    (id,) = [one["runId"] for one in (await world.http.get("/workflow/runs")).json()["items"]]
    assert f"run {id} goes on; `gossamer workflow run {id}` tells how" in error
