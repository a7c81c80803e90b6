"""Make, list and change the keys of a mesh, and say which nodes may be in it.

A mesh key is 32 random bytes in base64, in a file that its owner alone can read. Every node of a
mesh needs it: who holds it is a member, unless the nodes keep a list of members (`gossamer key
trust`). Copy it as you would a password. An operator's key signs orders to all nodes, such as a
change of the mesh key (`gossamer key rotate`).

examples:
  gossamer key new mesh.key
  gossamer key new --operator operator.pem
  gossamer key list --config gossamer.yaml
  gossamer key rotate --operator operator.pem --config gossamer.yaml
"""

import argparse
import json
import secrets
from pathlib import Path
from typing import Any

from gossamer_mesh import keyfiles
from gossamer_mesh.admission import edit, is_node_id, read_ids
from gossamer_mesh.errors import KeyFileError
from gossamer_mesh.identity import create_operator_key
from gossamer_mesh.keyring import KEY_BYTES, Keyring, read_keyring, text_of
from gossamer_node import config
from gossamer_node.cli import rotating
from gossamer_node.cli.helping import add_subcommand, run_subcommand
from gossamer_node.cli.status import table
from gossamer_node.config import NodeConfig
from gossamer_node.control import ask
from gossamer_node.errors import InputError, NodeError


def configure(parser: argparse.ArgumentParser) -> None:
    parsers = parser.add_subparsers(metavar="ACTION", required=True)
    making = add_subcommand(parsers, "new", new)
    making.add_argument("path", metavar="PATH", type=Path, help="the file to make")
    making.add_argument("--operator", action="store_true", help="an operator's key instead")
    listing = add_subcommand(parsers, "list", list_keys)
    listing.add_argument("--json", action="store_true", help="one JSON object")
    turning = add_subcommand(parsers, "rotate", rotating.rotate)
    turning.add_argument("--operator", metavar="FILE", type=Path, help="the operator's key")
    turning.add_argument("--json", action="store_true", help="one JSON object a line")
    trusting = add_subcommand(parsers, "trust", trust)
    trusting.add_argument(
        "node_id", metavar="NODE_ID", help="32 hex digits, as in `gossamer status`"
    )
    trusting.add_argument("--remove", action="store_true", help="take it off the list")
    reloading = add_subcommand(parsers, "reload", reload)
    for each in (listing, turning, trusting, reloading):
        config.add_flags(each, "name", "data_dir", "mesh.key_file")


run = run_subcommand


def new(arguments: argparse.Namespace) -> int:
    """Make a new mesh key, or an operator's key.

    Writes 32 random bytes in base64 to PATH, readable by you alone. With --operator it is an
    Ed25519 private key, and what is printed is its public half, for `mesh.operators` of each
    node. A file that exists is never overwritten: a mesh whose key is gone can be entered by
    nobody.

    examples:
      gossamer key new mesh.key
      gossamer key new --operator operator.pem
    """
    path: Path = arguments.path
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} exists; choose another name, or remove it first.")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be made; choose a folder that exists and is yours.")
    try:
        if arguments.operator:
            public = create_operator_key(path)
            print(f"{path}: a new operator's key, readable by you alone. Its public half:")
            print(public)
            return 0
        ring = Keyring((secrets.token_bytes(KEY_BYTES),))
        keyfiles.create(path, text_of(ring), "the mesh key")
    except KeyFileError as error:
        raise InputError(str(error)) from error
    print(f"{path}: a new mesh key, readable by you alone; give each node a copy.")
    return 0


def list_keys(arguments: argparse.Namespace) -> int:
    """Show the mesh's keys by fingerprint, who is in it, and who may be.

    Asks the node that runs here; without one, only the files are shown. A key itself is never
    shown.

    examples:
      gossamer key list
      gossamer key list --config gossamer.yaml --json
    """
    settings = config.load(arguments)
    try:
        shown: dict[str, Any] = ask(settings.data_dir, "keys")
    except NodeError:
        shown = _of_files(settings)
    if arguments.json:
        print(json.dumps(shown))
        return 0
    keys = [(each, "opens") for each in shown["keys"]]
    rows = [(each, "seals and opens") for each, _ in keys[:1]] + keys[1:]
    rows += [(each, "removed") for each in shown["retired"]]
    print("\n".join(table(("KEY", "USE"), rows)))
    allowed = shown["allowed"]
    if allowed is None:
        print("\nno list of members: whoever has the mesh key may be in the mesh")
    seen = {one["id"]: (one["name"], one["state"]) for one in shown.get("members", ())}
    seen |= {each: ("", "refused") for each in shown.get("refused", ())}
    seen |= {each: ("", "not here") for each in allowed or () if each not in seen}
    members = [
        (id, *seen[id], "" if allowed is None else "yes" if id in allowed else "no")
        for id in sorted(seen)
    ]
    if members:
        print("\n" + "\n".join(table(("NODE", "NAME", "STATE", "ON THE LIST"), members)))
    operators = [(each,) for each in shown["operators"]]
    if operators:
        print("\n" + "\n".join(table(("OPERATOR",), operators)))
    return 0


def trust(arguments: argparse.Namespace) -> int:
    """Put a node on the list of members, or take it off.

    Edits the file that the configuration names as `mesh.members_file`; a node that runs here takes
    it at once. Each node keeps its own list, so do the same on each, or give each the file.

    examples:
      gossamer key trust 3f9a1c0be2d4778890aa55bb66cc77dd --config gossamer.yaml
      gossamer key trust 3f9a1c0be2d4778890aa55bb66cc77dd --remove
    """
    settings = config.load(arguments)
    path, node_id = settings.mesh.members_file, arguments.node_id
    if path is None:
        raise InputError(
            "there is no list of members; name a file as mesh.members_file in the configuration."
        )
    if not is_node_id(node_id):
        raise InputError(
            f"{node_id} is no node id (32 hex digits); `gossamer key list` shows them."
        )
    try:
        changed = edit(path, node_id, remove=arguments.remove)
    except KeyFileError as error:
        raise InputError(str(error)) from error
    where = "not on" if arguments.remove else "on"
    print(f"{node_id} is {where} the list {path}" + ("." if changed else ", as before."))
    return _reloaded(settings, is_needed=False)


def reload(arguments: argparse.Namespace) -> int:
    """Let the running node read its key file and its list of members again.

    For changes by hand: add a key as a second line on all nodes and reload each; move it to the
    first line on all and reload each; remove the old one on all and reload each.

    examples:
      gossamer key reload
      gossamer key reload --config gossamer.yaml
    """
    return _reloaded(config.load(arguments), is_needed=True)


def _reloaded(settings: NodeConfig, *, is_needed: bool) -> int:
    try:
        answer: dict[str, Any] = ask(settings.data_dir, "reload")
    except NodeError:
        if is_needed:
            raise
        print("no node runs here; it reads the list when it starts.")
        return 0
    if answer["problems"]:
        raise InputError(" ".join(answer["problems"]))
    print("the running node has read its key file and its list of members.")
    return 0


def _of_files(settings: NodeConfig) -> dict[str, Any]:
    mesh = settings.mesh
    if mesh.key_file is None:
        raise InputError(
            "no node runs here, and no key is named; name one with --key or mesh.key_file."
        )
    try:
        ring = read_keyring(mesh.key_file)
        allowed = sorted(read_ids(mesh.members_file)) if mesh.members_file else None
    except KeyFileError as error:
        raise InputError(str(error)) from error
    return {
        "keys": list(ring.fingerprints()),
        "retired": list(ring.retired),
        "allowed": allowed,
        "operators": list(mesh.operators),
    }
