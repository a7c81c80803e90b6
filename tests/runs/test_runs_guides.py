"""What the guides to workflows tell a newcomer to type works as written, and the reference has
every endpoint."""

import re
import shlex
import subprocess
import sys

import pytest
from tests.gateway.test_gateway_guides import HOW_TO, Newcomer, answers, blocks, files

from gossamer_gateway.door.rules import HTTP, need_of

GUIDE, WORKERS = "workflows.md", "workflow-workers-http-and-mesh.md"

API = (HOW_TO.parent / "reference" / "workflow-api.md").read_text("utf-8")

GATEWAY = "gossamer gateway --http 127.0.0.1:0 --grpc 127.0.0.1:0"


@pytest.mark.processes
def test_a_newcomer_defines_triggers_and_looks(tmp_path_factory: pytest.TempPathFactory) -> None:
    person = Newcomer(tmp_path_factory.mktemp("g"), {})
    for page in (GUIDE, WORKERS):
        for name, text in files(page).items():
            (person.folder / name).write_text(text)
    start, define, defined, trigger, again, runs, failed, execute = blocks(GUIDE, "sh")
    assert GATEWAY.startswith(start.strip())
    with person.runs(GATEWAY) as gateway:
        person.here["http://127.0.0.1:8090"] = gateway["http"]
        person.environment["GOSSAMER_GATEWAY"] = gateway["http"]
        assert "order has 2 steps, and right" in person.types(define)
        assert person.types(defined) == "order"
        id = person.types(trigger).strip()
        assert person.types(again) == id
        assert f"{id}  order 1" in person.types(runs)
        assert "nobody has asked for jobs of reserve" in person.types(f"gossamer workflow run {id}")
        worker = subprocess.Popen(
            [sys.executable, "worker.py", gateway["http"]],
            cwd=person.folder,
            env=person.environment,
        )
        try:
            told = person.types(f"gossamer workflow run {id} --follow").splitlines()
        finally:
            worker.terminate()
            worker.wait()
        shown = blocks(GUIDE, "text")[0].splitlines()
        assert [one[12:] for one in told] == [one[12:] for one in shown]  # but for the moments
        assert person.types(failed) == "no runs\n"
        (execution,) = answers(person.types(execute))
        assert (execution["workflowId"], execution["status"]) == ("greet", "Running")


@pytest.mark.processes
def test_a_newcomer_has_a_service_on_the_mesh_do_a_step(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    person = Newcomer(tmp_path_factory.mktemp("g"), {})
    begin, node, trigger = blocks(WORKERS, "sh", "On the mesh")
    person.types(begin)
    readme = (person.folder / "hello" / "README.md").read_text()
    (build,) = re.findall(r"^```sh\n(python -m ziglang.*?)^```$", readme, re.M | re.S)
    person.types(f"cd hello\n{build}")
    with person.runs(GATEWAY) as gateway:
        person.here["http://127.0.0.1:8090"] = gateway["http"]
        person.environment["GOSSAMER_GATEWAY"] = gateway["http"]
        for name, text in files(WORKERS).items():
            (person.folder / name).write_text(person.put(text))
        with (person.folder / "node.log").open("w") as log:
            command = [*shlex.split(node), "--listen", "127.0.0.1:0", "--name", "hand"]
            worker = subprocess.Popen(
                command, cwd=person.folder, env=person.environment, stdout=log, stderr=log
            )
        try:
            assert '{"greeting": "Hello, Ada!"}' in person.types(trigger)
        finally:
            worker.terminate()
            worker.wait()


def test_a_worker_that_asks_for_what_is_not_offered_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """As the guide's own worker does it, of any mistake that the gateway names."""
    person = Newcomer(tmp_path_factory.mktemp("g"), {})
    text = files(WORKERS)["worker.py"].replace('"reserve", "charge"', '"provider:AWS"')
    (person.folder / "worker.py").write_text(text)
    with person.runs(GATEWAY) as gateway:
        done = subprocess.run(
            [sys.executable, "worker.py", gateway["http"]],
            cwd=person.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "/workflow/jobs/fetch: provider:AWS is no action; the gateway calls functions itself\n"
    )


def test_the_reference_has_every_endpoint_and_its_role() -> None:
    rows = re.findall(r"^\| `(\w+) (/\S+)` \|.*\| ([\w ]+) \|$", API, re.M)
    assert {(method, path.replace("{id}", "{process}").replace("{run}", "{}").rstrip("/"))
            for method, path, _ in rows} == {
        (one.method, one.path)
        for one in HTTP
        if one.path.startswith(("/workflow", "/executions"))
        and not one.path.startswith(("/workflow/engine-rest", "/workflow/events"))
    }  # fmt: skip
    for method, path, role in rows:
        needed = need_of(method, path.replace("{", "").replace("}", "")).role
        assert role.split()[0] == needed
