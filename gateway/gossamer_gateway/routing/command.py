"""Say which engine new instances start in, while gateways run.

A route belongs to a process and gives each engine a share of its new instances; instances that
exist stay where they live. It counts on every gateway at once, and each change is in the history.

examples:
  gossamer route set hotel c8=25%
  gossamer route show
  gossamer route progress hotel
  gossamer route remove hotel
  gossamer route history hotel
  gossamer route message paid --to start --process hotel
"""

import argparse
import json
import re
from typing import Any

from gossamer_gateway.errors import InputError
from gossamer_gateway.routing.messages import ALL_TO
from gossamer_gateway.routing.routes import BUSINESS_KEY
from gossamer_gateway.settings.remote import add_flags, ask, segment, table
from gossamer_node.cli.helping import add_subcommand, run_subcommand

_SHARE = re.compile(r"([^=]+)=(\d{1,3}(?:\.\d{1,2})?)\s*%?")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parsers = parser.add_subparsers(metavar="ACTION", required=True)
    setting = add_subcommand(parsers, "set", set_route)
    setting.add_argument("process", metavar="PROCESS", help="its id; * for all without a route")
    setting.add_argument("shares", metavar="ENGINE=PERCENT", nargs="+", help="such as c8=25%%")
    setting.add_argument(
        "--sticky",
        metavar="WHAT",
        default=BUSINESS_KEY,
        help="starts with an equal one go to one engine: business-key, header:NAME, or none "
        "(default: %(default)s)",
    )
    add_flags(setting)
    showing = add_subcommand(parsers, "show", show)
    showing.add_argument("process", metavar="PROCESS", nargs="?", help="one alone")
    add_flags(showing)
    moving = add_subcommand(parsers, "progress", progress)
    moving.add_argument("process", metavar="PROCESS", nargs="?", help="one alone")
    add_flags(moving)
    removing = add_subcommand(parsers, "remove", remove)
    removing.add_argument("process", metavar="PROCESS", help="its id, or *")
    add_flags(removing)
    past = add_subcommand(parsers, "history", history)
    past.add_argument("process", metavar="PROCESS", nargs="?", help="one alone")
    past.add_argument("--limit", type=int, metavar="N", help="changes to show (default: 50)")
    past.add_argument("--before", type=int, metavar="NUMBER", help="older than this change")
    add_flags(past)
    message = add_subcommand(parsers, "message", message_rule)
    message.add_argument("message", metavar="NAME", nargs="?", help="the message's name")
    message.add_argument("--to", choices=ALL_TO, help="where messages of this name go")
    message.add_argument("--process", metavar="PROCESS", help="the process that it starts")
    message.add_argument("--remove", action="store_true", help="remove the rule")
    add_flags(message)


run = run_subcommand


def set_route(arguments: argparse.Namespace) -> int:
    """Give each engine its share of a process's new instances.

    Of two engines one may be left out; it gets the rest. Starts with the same business key go to
    the same engine while the route stands, and when a share grows, none moves but to that engine.

    examples:
      gossamer route set hotel c8=25%
      gossamer route set hotel c7=50% c8=25% old=25% --sticky header:X-Tenant
      gossamer route set '*' c8=100%
    """
    shares: dict[str, float] = {}
    for text in arguments.shares:
        found = _SHARE.fullmatch(text)
        if found is None:
            raise InputError(f"{text!r} is no share; write an engine's name and a share, c8=25%.")
        if found[1] in shares:
            raise InputError(f"{found[1]} has two shares; give it one.")
        shares[found[1]] = float(found[2])
    sticky = "" if arguments.sticky == "none" else arguments.sticky
    body = {"shares": shares, "sticky": sticky}
    made = ask(arguments, "PUT", f"/routes/{segment(arguments.process)}", body)
    _print(arguments, made, f"{made['process']}: {shown(made)}")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Show the routes.

    A process without one starts in the first engine of its client's own dialect.

    examples:
      gossamer route show
      gossamer route show hotel --json
    """
    found = ask(arguments, "GET", "/routes")
    routes = [
        one for one in found["routes"] if arguments.process in (None, one["process"])
    ]  # fmt: skip
    if arguments.process is not None and not routes:
        raise InputError(f"there is no route {arguments.process} here.")
    rows = [
        (one["process"], _shares(one["shares"]), one["sticky"] or "none", one["at"], one["who"])
        for one in routes
    ]
    text = table(("PROCESS", "SHARES", "STICKY", "CHANGED", "BY"), rows)
    said = f"no routes; the engines are {', '.join(found['engines']) or 'none'}"
    _print(arguments, {**found, "routes": routes}, text if routes else said)
    return 0


def progress(arguments: argparse.Namespace) -> int:
    """Show how many instances of each process live, started and ended on each engine.

    Who says so stands beside: the engine itself, its exporter, or the gateway, which knows what it
    saw and no more. What nobody can tell is a question mark, never zero.

    examples:
      gossamer route progress
      gossamer route progress hotel --json
    """
    found = ask(arguments, "GET", "/progress")
    processes = [
        one for one in found["processes"] if arguments.process in (None, one["process"])
    ]  # fmt: skip
    if arguments.process is not None and not processes:
        raise InputError(f"nothing is known of a process {arguments.process} here.")
    rows = [
        (
            one["process"],
            each["engine"],
            *(_figure(each[name]) for name in ("live", "started", "finished", "incidents")),
            each["seen_by"],
        )
        for one in processes
        for each in one["engines"]
    ]
    heads = ("PROCESS", "ENGINE", "LIVE", "STARTED", "FINISHED", "INCIDENTS", "SAID BY")
    lines = [table(heads, rows) if rows else "no processes"]
    lines += [f"{engine}: {why}" for engine, why in sorted(found["unknown"].items())]
    _print(arguments, {**found, "processes": processes}, "\n".join(lines))
    return 0


def _figure(value: int | None) -> str:
    return "?" if value is None else str(value)


def remove(arguments: argparse.Namespace) -> int:
    """Remove a route.

    New instances of the process go by the route of `*`, or where there is none to the first engine
    of their client's own dialect.

    examples:
      gossamer route remove hotel
    """
    ask(arguments, "DELETE", f"/routes/{segment(arguments.process)}")
    _print(arguments, {"process": arguments.process}, f"{arguments.process}: removed")
    return 0


def history(arguments: argparse.Namespace) -> int:
    """Show who changed which route, and when; the newest first.

    examples:
      gossamer route history
      gossamer route history hotel --limit 5
    """
    name = arguments.process
    path = "/route-history" if name is None else f"/routes/{segment(name)}/history"
    found = ask(arguments, "GET", path, limit=arguments.limit, before=arguments.before)
    rows = [
        (
            str(one["number"]),
            one["at"],
            one["who"],
            one["name"],
            "none" if one["was"] is None else shown(one["was"]),
            "removed" if one["is"] is None else shown(one["is"]),
            one["gateway"][:8],
        )
        for one in found["changes"]
    ]
    text = table(("NUMBER", "WHEN", "BY", "PROCESS", "WAS", "IS", "GATEWAY"), rows)
    _print(arguments, found, text if rows else "no changes")
    return 0


def message_rule(arguments: argparse.Namespace) -> int:
    """Say where messages of a name go; without arguments, show what was said.

    instance: to the engine where the instance lives that it is for. start: the same, and where none
    does, by the route of the process that the message starts. all: to every engine.

    examples:
      gossamer route message
      gossamer route message paid --to start --process hotel
      gossamer route message paid --remove
    """
    name = arguments.message
    if name is None:
        if arguments.to or arguments.process or arguments.remove:
            raise InputError("name the message.")
        found = ask(arguments, "GET", "/messages")
        rows = [(one["message"], one["to"], one.get("process", "")) for one in found["messages"]]
        text = table(("MESSAGE", "TO", "PROCESS"), rows)
        _print(arguments, found, text if rows else "no rules; messages go to where instances are")
    elif arguments.remove:
        ask(arguments, "DELETE", f"/messages/{segment(name)}")
        _print(arguments, {"message": name}, f"{name}: removed")
    else:
        body = {"to": arguments.to}
        if arguments.to is None:
            raise InputError(f"say with --to where messages {name} go: {', '.join(ALL_TO)}.")
        if arguments.process is not None:
            body["process"] = arguments.process
        made = ask(arguments, "PUT", f"/messages/{segment(name)}", body)
        by = f", by the route of {made['process']}" if "process" in made else ""
        _print(arguments, made, f"{name}: to {made['to']}{by}")
    return 0


def shown(route: dict[str, Any]) -> str:
    """A route's shares, and what sticks if it is not the business key."""
    sticky = route["sticky"]
    ending = "" if sticky == BUSINESS_KEY else f", sticky by {sticky or 'nothing'}"
    return _shares(route["shares"]) + ending


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:g} %" for name, share in shares.items())


def _print(arguments: argparse.Namespace, said: Any, text: str) -> None:
    print(json.dumps(said) if arguments.json else text)
