"""Define workflows, trigger them and look at their runs.

A gateway that runs is asked, as `gossamer route` asks it. A file that cannot be a workflow is
refused before anything is sent, with line and column, as a compiler does it; `check` does that
alone and needs no gateway.

examples:
  gossamer workflow check order.yaml
  gossamer workflow define order.yaml
  gossamer workflow trigger order --input '{"amount": 42}' --wait
  gossamer workflow run 550e8400-e29b-41d4-a716-446655440000 --follow
  gossamer workflow runs --status Failed
  gossamer workflow retry 550e8400-e29b-41d4-a716-446655440000
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gossamer_gateway.errors import BadRequest, GatewayError, InputError
from gossamer_gateway.runs import strict, telling
from gossamer_gateway.runs.model.definition import Definition
from gossamer_gateway.runs.model.problems import DefinitionRefused
from gossamer_gateway.runs.model.reading import read_definition
from gossamer_gateway.runs.model.run import Status
from gossamer_gateway.settings.remote import add_flags, ask_path, segment, table
from gossamer_node.cli.helping import add_subcommand, run_subcommand

ENDED = tuple(one.value for one in Status if one.has_ended)

LOOK_S, LOOK_S_MAX = 0.1, 1.0
"""Between two looks at a run, the longer the run takes."""

FILE_BYTES_MAX = 2 * 2**20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parsers = parser.add_subparsers(metavar="ACTION", required=True)
    checking = add_subcommand(parsers, "check", check)
    checking.add_argument("file", metavar="FILE", type=Path, help="YAML or JSON")
    checking.add_argument("--json", action="store_true", help="print what was found as JSON")
    defining = add_subcommand(parsers, "define", define)
    defining.add_argument("file", metavar="FILE", type=Path, help="YAML or JSON")
    add_flags(defining)
    add_flags(add_subcommand(parsers, "list", list_all))
    showing = add_subcommand(parsers, "show", show)
    showing.add_argument("id", metavar="ID", help="the workflow's")
    showing.add_argument("--version", type=int, metavar="N", help="this one (default: the newest)")
    add_flags(showing)
    triggering = add_subcommand(parsers, "trigger", trigger)
    triggering.add_argument("id", metavar="ID", help="the workflow's")
    given = triggering.add_mutually_exclusive_group()
    given.add_argument("--input", metavar="JSON", help="what the run is given (default: null)")
    given.add_argument("--input-file", metavar="FILE", type=Path, help="holds it, as JSON")
    triggering.add_argument("--key", help="a repetition under the same key starts no second run")
    triggering.add_argument(
        "--version", type=int, metavar="N", help="this one (default: the newest)"
    )
    triggering.add_argument("--wait", action="store_true", help="until the run has ended")
    add_flags(triggering)
    looking = add_subcommand(parsers, "run", run_shown)
    looking.add_argument("run", metavar="RUN", help="its id")
    looking.add_argument("--follow", action="store_true", help="tell its events until it has ended")
    add_flags(looking)
    listing = add_subcommand(parsers, "runs", runs)
    listing.add_argument("--workflow", metavar="ID", help="of this one alone")
    listing.add_argument("--status", choices=[one.value for one in Status], help="in this state")
    listing.add_argument("--run", metavar="RUN[,RUN]", help="with these ids, or whose ids begin so")
    listing.add_argument("--since", metavar="TIME", help="triggered then or later")
    listing.add_argument("--until", metavar="TIME", help="triggered before")
    listing.add_argument("--limit", type=int, metavar="N", help="how many (default: 200)")
    listing.add_argument("--after", metavar="NEXT", help="what the page before ended with")
    add_flags(listing)
    cancelling = add_subcommand(parsers, "cancel", cancel)
    cancelling.add_argument("run", metavar="RUN", help="its id")
    cancelling.add_argument("--reason", default="", help="for who looks at it later")
    add_flags(cancelling)
    again = add_subcommand(parsers, "retry", retry)
    again.add_argument("run", metavar="RUN", help="its id")
    add_flags(again)


run = run_subcommand


def check(arguments: argparse.Namespace) -> int:
    """Say what is wrong with a workflow's file, line by line; nothing is sent.

    examples:
      gossamer workflow check order.yaml
      gossamer workflow check order.json --json
    """
    try:
        found = read_definition(_read(arguments.file))
    except DefinitionRefused as error:
        if arguments.json:
            problems = [
                {"line": one.line, "column": one.column, "field": one.field, "message": one.message}
                for one in error.problems
            ]
            print(json.dumps({"problems": problems, "leftOut": error.left_out}, indent=2))
        else:
            print(_compiled(arguments.file, error))
        return error.exit_status
    told = {"id": found.id, "steps": len(found.steps)}
    _print(arguments, told, f"{arguments.file}: {_summary(found)}, and right")
    return 0


def define(arguments: argparse.Namespace) -> int:
    """Define a workflow, or a new version of it.

    examples:
      gossamer workflow define order.yaml
      gossamer workflow define order.json --gateway http://gateway:8090
    """
    data = _read(arguments.file)
    try:
        found = read_definition(data)
    except DefinitionRefused as error:
        print(_compiled(arguments.file, error), file=sys.stderr)
        return error.exit_status
    media = {"content-type": "application/yaml"}
    made = ask_path(arguments, "POST", "/workflow", data, more=media)
    _print(arguments, made, f"{made['id']}: version {made['version']}, {_summary(found)}")
    return 0


def list_all(arguments: argparse.Namespace) -> int:
    """List the workflows, each in its newest version.

    examples:
      gossamer workflow list
      gossamer workflow list --json
    """
    found: list[Any] = []
    after = None
    while True:
        page = ask_path(arguments, "GET", "/workflow", query={"after": after})
        found += page["items"]
        after = page["next"]
        if after is None:
            break
    rows = [
        (one["id"], str(one["version"]), str(one["steps"]), one["created"], one["name"] or "")
        for one in found
    ]
    text = table(("WORKFLOW", "VERSION", "STEPS", "CREATED", "NAME"), rows)
    _print(arguments, found, text if rows else "no workflows")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Show a workflow, as it could be defined again.

    examples:
      gossamer workflow show order
      gossamer workflow show order --version 2 > order.json
    """
    path = f"/workflow/{segment(arguments.id)}"
    found = ask_path(arguments, "GET", path, query={"version": arguments.version})
    _print(arguments, found, json.dumps(found["definition"], indent=2, ensure_ascii=False))
    return 0


def trigger(arguments: argparse.Namespace) -> int:
    """Start a run; print its id, or with --wait how it ended.

    With --wait the exit status is 1 where the run did not complete.

    examples:
      gossamer workflow trigger order --input '{"amount": 42}'
      gossamer workflow trigger order --input-file order-4711.json --key order-4711 --wait
    """
    body = {"input": _input(arguments), "version": arguments.version}
    more = {} if arguments.key is None else {"Idempotency-Key": arguments.key}
    path = f"/workflow/{segment(arguments.id)}/trigger"
    made = ask_path(arguments, "POST", path, body, more=more)
    if not arguments.wait:
        _print(arguments, made, made["runId"])
        return 0
    pause_s = LOOK_S
    with _goes_on(made["runId"]):
        while (found := _run(arguments, made["runId"]))["status"] not in ENDED:
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LOOK_S_MAX)
    _print(arguments, found, telling.run(found))
    return _status(found)


def run_shown(arguments: argparse.Namespace) -> int:
    """Show a run and its steps; with --follow what happens in it, as it happens.

    With --follow the exit status is 1 where the run did not complete. With --json each event is a
    line.

    examples:
      gossamer workflow run 550e8400-e29b-41d4-a716-446655440000
      gossamer workflow run 550e8400-e29b-41d4-a716-446655440000 --follow
    """
    if arguments.follow:
        _follow(arguments)
        return _status(_run(arguments, arguments.run))
    found = _run(arguments, arguments.run)
    _print(arguments, found, telling.run(found))
    return 0


def runs(arguments: argparse.Namespace) -> int:
    """List runs, the newest first.

    A TIME is RFC 3339, as 2026-11-22T09:30:00Z.

    examples:
      gossamer workflow runs
      gossamer workflow runs --workflow order --status Failed --limit 20
      gossamer workflow runs --run 550e84
    """
    names = ("workflow", "status", "run", "since", "until", "limit", "after")
    query = {name: getattr(arguments, name) for name in names}
    found = ask_path(arguments, "GET", "/workflow/runs", query=query)
    rows = [
        (
            one["runId"],
            f"{one['workflowId']} {one['version']}",
            one["status"],
            one["startTime"],
            one["endTime"] or "",
        )
        for one in found["items"]
    ]
    lines = [
        table(("RUN", "WORKFLOW", "STATUS", "TRIGGERED", "ENDED"), rows) if rows else "no runs"
    ]
    if found["next"] is not None:
        lines.append(f"there are more: --after {found['next']}")
    _print(arguments, found, "\n".join(lines))
    return 0


def cancel(arguments: argparse.Namespace) -> int:
    """End a run; what is at work for it is not waited for.

    examples:
      gossamer workflow cancel 550e8400-e29b-41d4-a716-446655440000 --reason "ordered twice"
    """
    path = f"/workflow/run/{segment(arguments.run)}/cancel"
    found = ask_path(arguments, "POST", path, {"reason": arguments.reason})
    _print(arguments, found, f"{found['runId']}: {found['status']}")
    return 0


def retry(arguments: argparse.Namespace) -> int:
    """Have a failed run go on with the step that failed.

    examples:
      gossamer workflow retry 550e8400-e29b-41d4-a716-446655440000
    """
    found = ask_path(arguments, "POST", f"/workflow/run/{segment(arguments.run)}/retry", {})
    _print(arguments, found, f"{found['runId']}: {found['status']}")
    return 0


# --- what several have in common


def _run(arguments: argparse.Namespace, id: str) -> Any:
    return ask_path(arguments, "GET", f"/workflow/run/{segment(id)}")


def _status(shown: Any) -> int:
    return 0 if shown["status"] == "Completed" else 1


@contextmanager
def _goes_on(run: str) -> Iterator[None]:
    """Names a run that is not waited for any more: nothing that happens here ends it."""
    try:
        yield
    except (KeyboardInterrupt, GatewayError):
        print(f"run {run} goes on; `gossamer workflow run {run}` tells how", file=sys.stderr)
        raise


def _follow(arguments: argparse.Namespace) -> None:
    """Tells a run's events until the last one is one after which nothing happens."""
    path = f"/workflow/run/{segment(arguments.run)}/events"
    after, pause_s, last = 0, LOOK_S, ""
    while True:
        page = ask_path(arguments, "GET", path, query={"after": after})
        for event in page["events"]:
            print(json.dumps(event) if arguments.json else telling.line(event), flush=True)
            after, last = event["seq"], event["kind"]
        if page["next"] is not None:
            continue
        if last in telling.ENDS or (last == "attempt.late" and _has_ended(arguments)):
            return
        time.sleep(pause_s)
        pause_s = LOOK_S if page["events"] else min(pause_s * 1.5, LOOK_S_MAX)


def _has_ended(arguments: argparse.Namespace) -> bool:
    return _run(arguments, arguments.run)["status"] in ENDED


def _input(arguments: argparse.Namespace) -> Any:
    """Raises: InputError for what is no JSON."""
    if arguments.input is None and arguments.input_file is None:
        return None
    if arguments.input_file is not None:
        data, what = _read(arguments.input_file), str(arguments.input_file)
    else:
        data, what = os.fsencode(arguments.input), "--input"
    try:
        return strict.read(data)
    except BadRequest as error:
        said = str(error).removeprefix("the body ")
        raise InputError(f"{what} {said}; a text is written in quotes, '\"like this\"'.") from None


def _read(path: Path) -> bytes:
    """Raises: InputError."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from None
    if len(data) > FILE_BYTES_MAX:
        raise InputError(f"{path} is larger than {FILE_BYTES_MAX} bytes.")
    return data


def _compiled(path: Path, error: DefinitionRefused) -> str:
    """Problems as compilers tell them, `FILE:LINE:COLUMN: FIELD: what is wrong`."""
    lines = [
        ":".join(str(part) for part in (path, one.line, one.column) if part)
        + ": "
        + ": ".join(part for part in (one.field, one.message) if part)
        for one in error.problems
    ]
    if error.left_out:
        lines.append(f"{path}: and {error.left_out} more")
    return "\n".join(lines)


def _summary(found: Definition) -> str:
    count = len(found.steps)
    return f"{found.id} has {count} step{'' if count == 1 else 's'}"


def _print(arguments: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if arguments.json else text)
