"""Make, list, revoke and remove the gateway's API keys.

A key is shown once, when it is made; the gateway keeps a hash of it. A new key works within a
second on every gateway of the same storage, and a revoked one ends within a second. `--role` is
read, work, start, deploy or admin, and may be given several times; `start:hotel,pay*` is for some
processes, `read@/engine-rest/*` on some paths.

examples:
  gossamer gateway key new hotel-worker --role work
  gossamer gateway key new web-shop --role start:hotel --role read:hotel --days 90
  gossamer gateway key list
  gossamer gateway key revoke hotel-worker
"""

import argparse
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gossamer_gateway.door.key_desk import Order
from gossamer_gateway.errors import InputError
from gossamer_node.cli.helping import describe
from gossamer_node.cli.status import table

_HELP = {
    "new": """Make an API key, and show it this once.

    The gateway keeps a hash of it. `--role` is read, work, start, deploy or admin, with limits as
    in `start:hotel,pay*` (some processes) and `read@/engine-rest/*` (some paths).

    examples:
      gossamer gateway key new hotel-worker --role work
      gossamer gateway key new web-shop --role start:hotel --role read:hotel --days 90
    """,
    "list": """Show the keys, but for their secrets.

    examples:
      gossamer gateway key list
      gossamer gateway key list --json
    """,
    "revoke": """End a key for good, within a second.

    Its name stays taken, so that logs tell whose it was; `remove` frees it.

    examples:
      gossamer gateway key revoke hotel-worker
    """,
    "remove": """Forget a key that was revoked, and with it whose name that was.

    examples:
      gossamer gateway key remove hotel-worker
    """,
}

Ask = Callable[[Order], Mapping[str, Any]]
"""Has an order carried out by the running gateway, or on its storage."""


def configure(
    parser: argparse.ArgumentParser, add_flags: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Declares the actions; `run` does them. A key's name is `key` among the arguments, as `name`
    is the gateway's.

    Args:
        add_flags: adds what says which gateway is meant, to each action.
    """
    describe(parser, __doc__ or "")
    parsers = parser.add_subparsers(metavar="ACTION", dest="do", required=True)
    making = parsers.add_parser("new", help="make a key, and show it this once")
    making.add_argument("key", metavar="NAME", help="whose it is; for logs and for `revoke`")
    making.add_argument(
        "--role", dest="roles", action="append", required=True, metavar="ROLE",
        help="what it may do; may be given several times",
    )  # fmt: skip
    making.add_argument("--days", type=int, metavar="N", help="how long it lives (default: ever)")
    listing = parsers.add_parser("list", help="show the keys, but for their secrets")
    listing.add_argument("--json", action="store_true", help="one JSON object")
    for do, words in (("revoke", "end a key for good"), ("remove", "forget a revoked key")):
        ending = parsers.add_parser(do, help=words)
        ending.add_argument("key", metavar="NAME", help="the key's name")
    for do, action in parsers.choices.items():
        describe(action, _HELP[do])
        add_flags(action)


def run(arguments: argparse.Namespace, ask: Ask) -> int:
    """Carries out the action. Raises: InputError; what `ask` raises."""
    order = {
        word: value
        for word, said in (("do", "do"), ("name", "key"), ("roles", "roles"), ("days", "days"))
        if (value := getattr(arguments, said, None)) is not None
    }
    answer = ask(order)
    if "refused" in answer:
        raise InputError(str(answer["refused"]))
    if arguments.do == "new":
        print(answer["key"])
    elif arguments.do == "list":
        print(json.dumps(answer) if arguments.json else _listed(answer["keys"]))
    else:
        done = "revoked" if arguments.do == "revoke" else "forgotten"
        print(f"{arguments.key} is {done}" + ("." if answer["changed"] else ", as before."))
    return 0


def _listed(keys: list[dict[str, Any]]) -> str:
    rows = [
        (
            one["name"],
            one["state"],
            " ".join(one["roles"]),
            _day(one["made_ms"]),
            "never" if one["expires_ms"] is None else _day(one["expires_ms"]),
        )
        for one in keys
    ]
    return "\n".join(table(("NAME", "STATE", "ROLES", "MADE", "EXPIRES"), rows))


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
