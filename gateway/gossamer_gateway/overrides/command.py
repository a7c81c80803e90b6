"""Answer requests otherwise than their engine would, while gateways run.

A rule matches requests to /engine-rest and /v2 and sends them to another engine, to a URL or to a
WASM service, or has a fixed answer for them. The lowest position is asked first. It counts on every
gateway at once, and each change is in the history.

examples:
  gossamer override add closed --method POST --path /engine-rest/message --respond 503
  gossamer override list
  gossamer override test POST /engine-rest/message
  gossamer override remove closed
"""

import argparse
import json
from pathlib import Path
from typing import Any

from gossamer_gateway.errors import InputError
from gossamer_gateway.settings.remote import add_flags, ask, segment, table
from gossamer_node.cli.helping import add_subcommand, run_subcommand

FILE_BYTES_MAX = 2**20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parsers = parser.add_subparsers(metavar="ACTION", required=True)
    adding = add_subcommand(parsers, "add", add)
    adding.add_argument("name", metavar="NAME", help="the rule's; one that exists is replaced")
    adding.add_argument("--file", type=Path, metavar="FILE", help="the rule as JSON")
    adding.add_argument("--position", type=int, metavar="N", help="lower ones come first")
    match = adding.add_argument_group("which requests")
    match.add_argument("--path", help="{name} stands for a segment, * for anything")
    match.add_argument("--method", action="append", metavar="M", help="may be given again")
    match.add_argument(
        "--header", action="append", metavar="NAME=TEXT", help="* in it is anything; again: and"
    )
    match.add_argument("--process", metavar="ID", help="where the request says its process")
    action = adding.add_argument_group("what happens (one of them)").add_mutually_exclusive_group()
    action.add_argument("--engine", metavar="NAME", help="another engine serves it")
    action.add_argument("--upstream", metavar="URL", help="a URL does, with parts of the path")
    action.add_argument("--respond", type=int, metavar="STATUS", help="a fixed answer")
    action.add_argument("--service", metavar="NAME", help="a service of the mesh answers")
    adding.add_argument("--body", help="of a fixed answer: JSON, else text")
    adding.add_argument("--timeout-ms", type=int, metavar="MS", help="for a URL or a service")
    add_flags(adding)
    listing = add_subcommand(parsers, "list", list_rules)
    add_flags(listing)
    removing = add_subcommand(parsers, "remove", remove)
    removing.add_argument("name", metavar="NAME", help="the rule's")
    add_flags(removing)
    past = add_subcommand(parsers, "history", history)
    past.add_argument("name", metavar="NAME", nargs="?", help="one alone")
    past.add_argument("--limit", type=int, metavar="N", help="changes to show (default: 50)")
    past.add_argument("--before", type=int, metavar="NUMBER", help="older than this change")
    add_flags(past)
    testing = add_subcommand(parsers, "test", test)
    testing.add_argument("method", metavar="METHOD", help="such as POST")
    testing.add_argument("path", metavar="PATH", help="such as /engine-rest/message")
    testing.add_argument(
        "--header", action="append", metavar="NAME=TEXT", help="may be given again"
    )
    testing.add_argument("--body", help="of the request")
    testing.add_argument("--process", metavar="ID", help="instead of what path and body say")
    add_flags(testing)


run = run_subcommand


def add(arguments: argparse.Namespace) -> int:
    """Add a rule, or put another in its place.

    The rule comes from a file, or from the options. Its header options match the request; what else
    a rule may say (headers of a fixed answer, a service's version) is in the file's form.

    examples:
      gossamer override add to-8 --path '/engine-rest/process-definition/key/hotel/*' --engine c8
      gossamer override add old-reports --path '/engine-rest/history/*' \\
          --upstream 'http://reports.example:8080/rest/{*}' --timeout-ms 5000
      gossamer override add closed --method POST --path /engine-rest/message \\
          --header 'X-Tenant=acme*' --respond 503 --body '{"message": "closed until Monday"}'
      gossamer override add prices --file prices.json --position 10
    """
    if arguments.file is not None:
        value = _file(arguments.file)
        if arguments.path is not None:
            raise InputError("a rule comes from --file or from --path; give one of them.")
    else:
        value = _value(arguments)
    if arguments.position is not None:
        value["position"] = arguments.position
    made = ask(arguments, "PUT", f"/overrides/{segment(arguments.name)}", value)
    _print(arguments, made, f"{made['name']}: {_match(made['match'])} → {_action(made)}")
    return 0


def list_rules(arguments: argparse.Namespace) -> int:
    """List the rules, in the order in which they are asked.

    examples:
      gossamer override list
      gossamer override list --json
    """
    found = ask(arguments, "GET", "/overrides")
    rows = [
        (str(one["position"]), one["name"], _match(one["match"]), _action(one), one["who"])
        for one in found["overrides"]
    ]
    text = table(("POSITION", "NAME", "MATCHES", "ACTION", "BY"), rows)
    _print(arguments, found, text if rows else "no overrides")
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Remove a rule.

    examples:
      gossamer override remove closed
    """
    ask(arguments, "DELETE", f"/overrides/{segment(arguments.name)}")
    _print(arguments, {"name": arguments.name}, f"{arguments.name}: removed")
    return 0


def history(arguments: argparse.Namespace) -> int:
    """Show who changed which rule, and when; the newest first.

    examples:
      gossamer override history
      gossamer override history closed --json
    """
    name = arguments.name
    path = "/override-history" if name is None else f"/overrides/{segment(name)}/history"
    found = ask(arguments, "GET", path, limit=arguments.limit, before=arguments.before)
    rows = [
        (
            str(one["number"]),
            one["at"],
            one["who"],
            one["name"],
            "removed" if one["is"] is None else _match(one["is"]["match"]),
            "" if one["is"] is None else _action(one["is"]),
        )
        for one in found["changes"]
    ]
    text = table(("NUMBER", "WHEN", "BY", "NAME", "MATCHES", "ACTION"), rows)
    _print(arguments, found, text if rows else "no changes")
    return 0


def test(arguments: argparse.Namespace) -> int:
    """Say which rule would answer a request, and why those before it would not.

    Nothing is sent. Exit status 1 where no rule matches.

    examples:
      gossamer override test POST /engine-rest/message
      gossamer override test POST /v2/process-instances --body '{"processDefinitionId": "hotel"}'
      gossamer override test GET /v2/topology --header X-Tenant=acme --json
    """
    body = {
        "method": arguments.method,
        "path": arguments.path,
        "headers": _headers(arguments.header),
        "body": arguments.body or "",
    }
    if arguments.process is not None:
        body["process"] = arguments.process
    found = ask(arguments, "POST", "/overrides/test", body)
    lines = [f"{one['name']}: no, {one['why_not']}" for one in found["before"]]
    rule = found["rule"]
    if rule is None:
        lines.append("no rule matches; the engine of the request answers")
    else:
        lines.append(f"{rule['name']}: yes → {_action(rule)}")
        lines += [f"  {{{name}}} is {text}" for name, text in found["parts"].items()]
    _print(arguments, found, "\n".join(lines))
    return 0 if rule is not None else 1


def _value(arguments: argparse.Namespace) -> dict[str, Any]:
    """A rule out of the options; the gateway says what is wrong with it."""
    if arguments.path is None:
        raise InputError("say with --path which requests, or give the rule with --file.")
    match: dict[str, Any] = {"path": arguments.path}
    if arguments.method:
        match["method"] = [one.upper() for one in arguments.method]
    if arguments.header:
        match["headers"] = _headers(arguments.header)
    if arguments.process is not None:
        match["process"] = arguments.process
    value: dict[str, Any] = {"match": match}
    timeout = {} if arguments.timeout_ms is None else {"timeout_ms": arguments.timeout_ms}
    if arguments.engine is not None:
        value["engine"] = arguments.engine
    elif arguments.upstream is not None:
        value["upstream"] = {"url": arguments.upstream, **timeout}
    elif arguments.service is not None:
        value["service"] = {"name": arguments.service, **timeout}
    elif arguments.respond is not None:
        value["respond"] = {"status": arguments.respond}
        if arguments.body is not None:
            try:
                value["respond"]["body"] = json.loads(arguments.body)
            except (ValueError, RecursionError):
                value["respond"]["body"] = arguments.body
    else:
        raise InputError("say what happens: --engine, --upstream, --respond or --service.")
    return value


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name another.") from error
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}); mend it.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object; write a rule.")
    return value


def _headers(given: list[str] | None) -> dict[str, str]:
    headers = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InputError(f"{text!r} is no header; write NAME=TEXT.")
        headers[name] = value
    return headers


def _match(match: dict[str, Any]) -> str:
    methods = match.get("method", [])
    parts = [methods if isinstance(methods, str) else "|".join(methods), match["path"]]
    parts += [f"{name}={text}" for name, text in match.get("headers", {}).items()]
    parts += [f"process {match['process']}"] if "process" in match else []
    return " ".join(filter(None, parts))


def _action(rule: dict[str, Any]) -> str:
    if "engine" in rule:
        return f"engine {rule['engine']}"
    if "respond" in rule:
        return f"respond {rule['respond'].get('status', 200)}"
    for kind, name in (("upstream", "url"), ("service", "name")):
        if kind in rule:
            said = rule[kind]
            return f"{kind} {said if isinstance(said, str) else said[name]}"
    return ""


def _print(arguments: argparse.Namespace, said: Any, text: str) -> None:
    print(json.dumps(said) if arguments.json else text)
