"""What the documentation shows is true: its files are read, built and run, its commands exist.

A file in a page is a code block under a line with nothing but its name, as in `` `one.yaml`: ``.
The tutorial's are made into a folder and played: worker, shop, process, two nodes.
"""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from tests.patience import seen, until

from gossamer_gateway.config import GATEWAY
from gossamer_gateway.embedded.bpmn import parse_bpmn
from gossamer_gateway.overrides.rules import read_value
from gossamer_gateway.runs.model.reading import read_definition
from gossamer_node import cli
from gossamer_node.cli import ExitStatus
from gossamer_node.config import NodeConfig, load, load_record
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.service.load import load as load_service
from gossamer_node.supervisor import open_node
from gossamer_node.variables import Variables
from gossamer_node.wasm.envelope import read_job

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
MOVE = DOCS / "how-to" / "move-from-camunda7-to-8.md"

FILE = re.compile(r"^ *`([\w./-]+)`:\n\n( *)```\w+\n(.*?)^\2```$", flags=re.M | re.S)
SHELL = re.compile(r"^ *```sh\n(.*?)^ *```$", flags=re.M | re.S)


@dataclass(frozen=True)
class Shown:
    """A file that a page shows."""

    page: Path
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}:{self.name}"


def shown(page: Path) -> list[Shown]:
    return [
        Shown(page, name, dedent(text)) for name, _, text in FILE.findall(page.read_text("utf-8"))
    ]


PAGES = [
    ROOT / "README.md",
    ROOT / "gateway" / "README.md",
    ROOT / "sdk-wasm" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
FILES = [file for page in PAGES for file in shown(page)]


def of(suffix: str) -> list[Shown]:
    return [file for file in FILES if file.name.endswith(suffix)]


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Short, as the name of a Unix socket below it must be.
    for name, folder in (("XDG_STATE_HOME", "s"), ("XDG_CACHE_HOME", "c")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    for name in (
        "CAMUNDA7_PASSWORD", "CAMUNDA_CLIENT_SECRET", "CAMUNDA_SECRET", "GATEWAY_DATABASE",
    ):  # fmt: skip
        monkeypatch.setenv(name, "x")


def test_there_is_something_to_judge() -> None:
    assert len(of(".yaml")) >= 8 and len(shown(TUTORIAL)) == 6


@pytest.mark.parametrize("file", of(".yaml"), ids=str)
def test_what_configures_is_read(file: Shown, tmp_path: Path) -> None:
    path = tmp_path / Path(file.name).name
    path.write_text(file.text)
    if path.name == "service.yaml":
        assert load_service(path).module
    elif path.name.startswith("gateway"):
        assert load_record(GATEWAY, Namespace(config=path)).engines
    elif file.page.stem.startswith("workflows") or "\nsteps:" in file.text:
        assert read_definition(path.read_bytes()).steps
    else:
        assert load(Namespace(config=path)).services


@pytest.mark.parametrize("file", of(".json"), ids=str)
def test_what_is_a_job_or_a_rule_is_read(file: Shown) -> None:
    value = json.loads(file.text)
    if "match" in value:
        assert read_value(file.name, value).name
    else:
        assert read_job(file.text.encode()).ref.topic


def commands() -> Iterator[str]:
    for page in PAGES:
        for block in SHELL.findall(page.read_text("utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for command in re.findall(r"(?:^|\| *|\$\(|/bin/)(gossamer \w.*)", line.strip()):
                    yield command.split("#")[0].split("|")[0].split("2>")[0].strip()


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_is_one(command: str) -> None:
    words = shlex.split(command)[1:]
    parser = cli.build_parser(words)
    assert parser.parse_args(words).command_module


# --- the tutorial, played


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's folder, its worker built by the tutorial's own command."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(["service", "new", "returns"]) == 0
        for file in shown(TUTORIAL):
            (folder / file.name).write_text(file.text)
        shell = SHELL.findall(TUTORIAL.read_text("utf-8"))
        (build,) = [one for one in shell if "ziglang cc" in one]
        command = build.replace("python -m", f"{shlex.quote(sys.executable)} -m")
        subprocess.run(["sh", "-ec", command], check=True)
    return folder


@pytest.fixture
def parcels(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which to work."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(built, tmp_path, dirs_exist_ok=True))


@pytest.mark.parametrize(
    ("days", "status", "kind"),
    [(20, ExitStatus.DONE, "completed"), (40, ExitStatus.BPMN_ERROR, "bpmn_error")],
)
def test_the_tutorials_worker_answers(
    parcels: Path, capsys: pytest.CaptureFixture[str], days: int, status: int, kind: str
) -> None:
    job = {"job": {"topic": "check-return"}, "variables": {"days": days, "price_cents": 1000}}
    (parcels / "job.json").write_text(json.dumps(job))
    assert cli.main(["service", "check", "returns"]) == 0
    capsys.readouterr()
    assert cli.main(["service", "run", "returns", "--job", "job.json"]) == status
    outcome = json.loads(capsys.readouterr().out)
    assert list(outcome) == [kind]
    if kind == "completed":
        # As the page prints it.
        assert json.dumps(outcome, indent=2) in TUTORIAL.read_text("utf-8")


@contextmanager
def shop(folder: Path) -> Iterator[tuple[int, Path]]:
    """The tutorial's shop. Yields its port, and the file of what it prints."""
    printed = folder / "shop.out"
    script = folder / "shop.py"
    with socket.socket() as kept:  # bound: until the shop listens there, nobody else does
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = int(kept.getsockname()[1])
        script.write_text(script.read_text().replace("5080", str(port)))
        with (
            printed.open("w") as out,
            subprocess.Popen([sys.executable, script], stdout=out) as process,
        ):
            try:
                yield port, printed
            finally:
                process.terminate()


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def ended(engine: Engine, count: int) -> list[str]:
    """Waits until so many instances have ended; the end events that they reached."""

    async def look() -> list[str] | None:
        found = await engine.list_instances("ParcelReturn")
        ends = [one.end_element_ids for one in found if one.state == "completed"]
        if len(ends) != count:
            return None
        return sorted(event for one in ends for event in one or ())

    return await seen(look, pause_s=0.05)


@pytest.mark.processes
async def test_the_tutorials_process_runs_on_two_nodes(parcels: Path, embedded_url: str) -> None:
    assert cli.main(["key", "new", "mesh.key"]) == 0
    engine = open_engine(EngineConfig("small", "camunda7", embedded_url))
    assert await engine.deploy({"returns.bpmn": (parcels / "returns.bpmn").read_bytes()})
    with shop(parcels) as (port, printed):
        await until(lambda: is_open(port))
        here = {
            "http://127.0.0.1:8070/engine-rest": embedded_url,
            "127.0.0.1:5080": f"127.0.0.1:{port}",
            "listen: 127.0.0.1:7407": "listen: 127.0.0.1:0",
            "listen: 127.0.0.1:7408": "listen: 127.0.0.1:0",
        }
        async with open_node(config_of(parcels / "one.yaml", here)) as one:
            here["127.0.0.1:7407"] = "{}:{}".format(*one.mesh.address)
            async with open_node(config_of(parcels / "two.yaml", here)):
                for days in (3, 20, 40):
                    values = {"parcel": f"P-{days}", "days": days, "price_cents": 1000}
                    await engine.start("ParcelReturn", variables=Variables(values))
                assert await ended(engine, 3) == ["Refunded", "Refunded", "Refused"]
    await engine.aclose()
    assert sorted(re.findall(r"'cents': (\d+)", printed.read_text())) == ["1000", "500"]


def config_of(path: Path, here: dict[str, str]) -> NodeConfig:
    """A configuration of the tutorial, at the addresses of this test."""
    text = path.read_text()
    for there, address in here.items():
        text = text.replace(there, address)
    path.write_text(text)
    return load(Namespace(config=path))


def test_a_process_for_camunda_7_is_read_by_the_embedded_engine() -> None:
    (file,) = [one for one in shown(TUTORIAL) if one.name == "returns.bpmn"]
    processes, problems = parse_bpmn(file.text.encode())
    assert [one.id for one in processes] == ["ParcelReturn"] and not problems


@pytest.mark.camunda7
async def test_a_process_for_camunda_7_is_deployed_there(camunda7_url: str) -> None:
    (file,) = [one for one in shown(TUTORIAL) if one.name == "returns.bpmn"]
    await deploy(EngineConfig("seven", "camunda7", camunda7_url), file)


@pytest.mark.zeebe
async def test_a_process_for_camunda_8_is_deployed_there(zeebe_url: str) -> None:
    (file,) = [one for one in shown(MOVE) if one.name.endswith(".bpmn")]
    await deploy(EngineConfig("eight", "camunda8", zeebe_url), file)


async def deploy(config: EngineConfig, file: Shown) -> None:
    engine = open_engine(config)
    assert await engine.deploy({file.name: file.text.encode()}) == ["ParcelReturn"]
    await engine.aclose()
