"""Begin, check, run, add and remove services: workers as WebAssembly modules.

A service is a folder with a service.yaml and the module that it names. To begin, check, run and
sign one needs neither an engine nor a node; `add`, `list` and `rm` are about a node, which may run.

examples:
  gossamer service new greeter
  gossamer service check greeter
  gossamer service run greeter --job job.json
  gossamer service add greeter --config gossamer.yaml
  gossamer service list --config gossamer.yaml
  gossamer service rm greeter@1.0.0 --config gossamer.yaml
  gossamer service sign greeter --operator operator.pem
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from gossamer_node import config, logs
from gossamer_node.cli import ExitStatus, stocking
from gossamer_node.cli.helping import add_subcommand, run_subcommand
from gossamer_node.errors import InputError
from gossamer_node.jobs import BpmnError, Completed, Failed, Job
from gossamer_node.registry.ranges import parse_range
from gossamer_node.schema.source import Invalid
from gossamer_node.service import load
from gossamer_node.service.grants import Grants
from gossamer_node.service.host import HOST, require_host
from gossamer_node.service.spec import Dependency, ServiceSpec
from gossamer_node.variables import JsonValue
from gossamer_node.wasm import Detached, WasmHost
from gossamer_node.wasm.envelope import outcome_map, read_job

log = logs.get("service")

JOB_BYTES_MAX = 16 * 2**20
"""Largest job read. Camunda 8 stops at 4 MiB, Camunda 7 where its database does."""

TEMPLATES = resources.files("gossamer_node.service") / "templates"


def configure(parser: argparse.ArgumentParser) -> None:
    parsers = parser.add_subparsers(metavar="ACTION", required=True)
    languages = sorted(folder.name for folder in TEMPLATES.iterdir() if folder.is_dir())
    begin = add_subcommand(parsers, "new", new)
    begin.add_argument("name", metavar="NAME", help="the service's name, and its folder's")
    begin.add_argument("--language", choices=languages, default="c", help="default: c")
    begin.add_argument("--json", action="store_true", help="print one JSON object")
    checking = add_subcommand(parsers, "check", check)
    checking.add_argument(
        "paths", metavar="PATH", nargs="+", type=Path, help="a service.yaml, or a folder"
    )
    checking.add_argument("--json", action="store_true", help="print one JSON object")
    running = add_subcommand(parsers, "run", run_job)
    running.add_argument("path", metavar="PATH", type=Path, help="a service.yaml, or its folder")
    running.add_argument(
        "--job", metavar="FILE", required=True, help="the job as JSON or msgpack; - reads it here"
    )
    running.add_argument(
        "--grants", metavar="FILE", type=Path, help="a node's configuration; its `grants` apply"
    )
    stocking.configure(parsers)


run = run_subcommand


def new(arguments: argparse.Namespace) -> int:
    """Begin a service: a folder with a service.yaml and a worker to change.

    The folder's README says how to build the module; `gossamer service run` tries it.

    examples:
      gossamer service new greeter
      gossamer service new greeter --language assemblyscript --json
    """
    name: str = arguments.name
    if not re.fullmatch(load.NAME.pattern or "", name) or len(name) > load.NAME.chars_max:
        raise InputError(f"{name!r} cannot name a service; write {load.NAME.words()}.")
    folder = Path(name)
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise InputError(f"{folder} exists; choose another name, or remove it first.") from error
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}); go elsewhere.") from error
    _copy(TEMPLATES / arguments.language, folder, name)
    if arguments.json:
        print(json.dumps({"service": name, "folder": name, "language": arguments.language}))
    else:
        print(f"{folder}: a new service; {folder / 'README.md'} says how to build and try it.")
    return 0


def _copy(template: Traversable, folder: Path, name: str) -> None:
    for part in template.iterdir():
        target = folder / part.name
        if part.is_dir():
            target.mkdir()
            _copy(part, target, name)
        else:
            text = part.read_text(encoding="utf-8").replace("SERVICE_NAME", name)
            target.write_text(text, encoding="utf-8")


def check(arguments: argparse.Namespace) -> int:
    """Check service.yaml files, and name all that is wrong by line and field.

    Also asks whether the module is there and is WebAssembly, whether this host has the capabilities
    that a service depends on, and whether two of the services claim one topic. Exit status 2 when
    something is wrong. A service that another one depends on is looked for among those that are
    checked; who else offers it the mesh knows, and `gossamer status` of a node that runs.

    examples:
      gossamer service check greeter
      gossamer service check services/ --json
    """
    reports: list[dict[str, JsonValue]] = []
    specs: list[ServiceSpec] = []
    problems: list[str] = []
    for file in (file for path in arguments.paths for file in load.find(path)):
        found = _problems(file, specs)
        report: dict[str, JsonValue] = {"file": str(file), "ok": not found, "problems": [*found]}
        reports.append(report)
        problems += [str(one["text"]) for one in found]
    good = [one for one in reports if one["ok"]]
    for report, spec in zip(good, specs, strict=True):
        report["dependencies"] = [_found(one, specs) for one in spec.dependencies]
    if not arguments.json:
        for report, spec in zip(good, specs, strict=True):
            print(f"{report['file']}: ok")
            for one in spec.dependencies:
                print(f"  {_need_shown(_found(one, specs))}")
    conflict = ""
    try:
        load.refuse_conflicts(specs, ())
    except InputError as error:
        conflict = str(error)
    if arguments.json:
        ok = not problems and not conflict
        print(json.dumps({"ok": ok, "files": [*reports], "conflict": conflict or None}))
    else:
        for text in [*problems, *filter(None, [conflict])]:
            print(text)
    return InputError.exit_status if problems or conflict else 0


def _found(need: Dependency, specs: Sequence[ServiceSpec]) -> dict[str, JsonValue]:
    """What is known of a dependency without a mesh."""
    found: dict[str, JsonValue] = {"name": need.name, "version": need.version, "met": None}
    if need.name in HOST:
        return found | {"of": "host", "there": [HOST[need.name].version], "met": True}
    there = [one.version for one in specs if one.name == need.name]
    met = any(one in parse_range(need.version) for one in there) or None
    return found | {"of": "mesh", "there": [*there], "met": met}


def _need_shown(found: Mapping[str, JsonValue]) -> str:
    said = f"{found['name']} {found['version']}"
    there = found["there"]
    versions = ", ".join(map(str, there)) if isinstance(there, list) else ""
    if found["of"] == "host":
        return f"depends on {said}: this host has {versions}"
    if found["met"]:
        return f"depends on {said}: {versions} is among the services checked"
    beside = f"; of those checked it is {versions}, which won't do" if versions else ""
    return f"depends on {said}: takes no jobs until a node of the mesh offers it{beside}"


def run_job(arguments: argparse.Namespace) -> int:
    """Run one job on the real host, without an engine.

    A job is what the worker gets, all of it optional: {"variables": {"name": "Ada"}}. For a
    service of several topics it names one: {"job": {"topic": "greet"}, "variables": {…}}. The
    outcome goes to standard output as JSON, what the worker logs to standard error. Exit status
    0: the job completed; 4: it ended with a BPMN error; 5: it failed.

    examples:
      gossamer service run greeter --job job.json
      echo '{"variables": {"name": "Ada"}}' | gossamer service run greeter --job -
      gossamer service run greeter --job job.json --grants gossamer.yaml
    """
    logs.setup()
    files = load.find(arguments.path)
    if len(files) > 1:
        raise InputError(f"{arguments.path} has {len(files)} services; name one of them.")
    spec = load.load(files[0])
    load.require_module(spec)
    grants = config.load_grants(arguments.grants) if arguments.grants else {}
    grant, refused = grants.get(spec.name, Grants()).bind(spec)
    for sentence in refused:
        log.warning(sentence)
    job = _read_job(arguments.job)
    job = replace(job, ref=replace(job.ref, topic=_topic(job, spec)))
    with WasmHost(config.load().cache_dir / "modules") as host:
        outcome = host.load_blocking(spec, grant).run_blocking(
            job, deadline_ms=spec.limits.time_ms_max, context=Detached(_log_line)
        )
    print(json.dumps(outcome_map(outcome), indent=2, ensure_ascii=False))
    match outcome:
        case Completed():
            return ExitStatus.DONE
        case BpmnError():
            return ExitStatus.BPMN_ERROR
        case Failed():
            return ExitStatus.JOB_FAILED


def _topic(job: Job, spec: ServiceSpec) -> str:
    """The topic of a job that a person wrote; one of the service's, if it has any."""
    names = [topic.name for topic in spec.topics]
    if job.ref.topic in names or not names:
        return job.ref.topic
    if not job.ref.topic and len(names) == 1:
        return names[0]
    wrong = f"the job's topic is {job.ref.topic!r}" if job.ref.topic else "the job names no topic"
    raise InputError(
        f"{wrong}, and {spec.name} works on {', '.join(names)}; "
        f'write {{"job": {{"topic": "{names[0]}"}}, "variables": {{…}}}}.'
    )


def _read_job(name: str) -> Job:
    subject = "the job on standard input" if name == "-" else name
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            data = file.read(JOB_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{subject} cannot be read ({error.strerror}); check the path.") from error
    if len(data) > JOB_BYTES_MAX:
        raise InputError(
            f"{subject} is larger than {JOB_BYTES_MAX >> 20} MiB; no engine sends that."
        )
    try:
        return read_job(data)
    except InputError as error:
        raise InputError(f"{subject} {error}.") from error


def _log_line(level: int, line: str) -> None:
    """What a worker logs; its levels are ABI.md's."""
    (log.debug, log.info, log.warning, log.error)[level](line)


def _problems(file: Path, specs: list[ServiceSpec]) -> list[dict[str, JsonValue]]:
    """What is wrong with one file; a good one joins `specs`."""
    try:
        spec = load.load(file)
        require_host(spec)
        if spec.module or spec.topics:
            load.require_runnable(spec)
    except Invalid as error:
        return [
            {
                "line": one.place.line,
                "field": one.field,
                "message": one.sentence,
                "text": str(one),
            }
            for one in error.problems
        ]
    except InputError as error:
        return [{"line": None, "field": "", "message": str(error), "text": str(error)}]
    specs.append(spec)
    return []
