"""`gossamer service add`, `list`, `rm` and `sign`: the services that a node keeps by itself.

With a node in the data folder they ask it, and what they change works at once. Without one they
change the folder, and the next start finds it. Signing needs neither.
"""

import argparse
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gossamer_mesh.errors import KeyFileError
from gossamer_mesh.identity import load_operator_key, operator_of
from gossamer_mesh.orders import next_number
from gossamer_node import config
from gossamer_node.cli.helping import add_subcommand
from gossamer_node.cli.status import table
from gossamer_node.config import NodeConfig
from gossamer_node.control import converse, hold_folder, socket_path
from gossamer_node.errors import InputError, NodeError, ServiceError
from gossamer_node.registry import decisions, desk
from gossamer_node.registry.decisions import Terms
from gossamer_node.registry.package import (
    read_package,
    sign_addition,
    sign_removal,
    write_signature,
)
from gossamer_node.registry.store import FOLDER_NAME, Registry
from gossamer_node.service import load
from gossamer_node.wasm import WasmHost


def configure(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the four commands."""
    adding = add_subcommand(parsers, "add", add)
    adding.add_argument("path", metavar="PATH", type=Path, help="a service.yaml, or a folder")
    listing = add_subcommand(parsers, "list", show)
    listing.add_argument(
        "service", metavar="NAME[@VERSION]", nargs="?", default="", help="default: all"
    )
    removing = add_subcommand(parsers, "rm", remove)
    removing.add_argument("service", metavar="NAME[@VERSION]", help="default: all its versions")
    removing.add_argument(
        "--operator", metavar="FILE", type=Path, help="an operator's key: removes it on all nodes"
    )
    signing = add_subcommand(parsers, "sign", sign)
    signing.add_argument("path", metavar="PATH", type=Path, help="a service.yaml, or its folder")
    signing.add_argument(
        "--operator", metavar="FILE", type=Path, required=True, help="the operator's key"
    )
    for each in (adding, listing, removing):
        config.add_flags(each, "name", "data_dir", "cache_dir", "mesh.name")
    config.add_flags(signing, "mesh.name")
    for each in (adding, listing, removing, signing):
        each.add_argument("--json", action="store_true", help="one JSON object a line")


def add(arguments: argparse.Namespace) -> int:
    """Add a service to a node, which works on it at once.

    Its service.yaml, its module and the proto-files that it names are kept in the node's data
    folder, so the files may go. A version higher than the one that works takes over its topics; the
    one before ends its jobs and stays, to come back when this one is removed. A service that an
    operator signed (`gossamer service sign`) goes on from here to every node that trusts the
    operator.

    examples:
      gossamer service add greeter --config gossamer.yaml
      gossamer service add services/ --json
    """
    settings = config.load(arguments)
    path: Path = arguments.path.absolute()
    request, beyond = f"{desk.ADD} {desk.write_argument(path)}", None
    for one in _answers(settings, request, lambda: _add_here(settings, path)):
        _say(arguments, one, _added(one))
        beyond = one.get("beyond")
    if beyond and not arguments.json:
        print(beyond)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """List the services that were added to a node, with all their versions.

    STATE says what a version does: `live` works and is loaded, `parked` works and is loaded by its
    next job, `lacking` takes no jobs until a service that it depends on is there, `draining` ends
    its last jobs, `registered` is there beside a higher version, `coming` is fetched from another
    node, `refused` says why in its line. `waiting` would work, but the node announces no more
    topics (`topics_max`); other services reach it by name. `chosen` works when the node starts.

    examples:
      gossamer service list --config gossamer.yaml
      gossamer service list greeter --config gossamer.yaml
      gossamer service list greeter@1.0.0 --json
    """
    settings = config.load(arguments)
    label: str = arguments.service
    name, version = desk.read_label(label) if label else ("", None)
    found = [
        one
        for one in _answers(settings, f"{desk.LIST} {name}", lambda: _list_here(settings, name))
        if version in (None, one["version"])
    ]
    if arguments.json:
        for one in found:
            print(json.dumps(one))
        return 0
    head = ("SERVICE", "VERSION", "STATE", "PROFILE", "SIGNED", "MODULE", "TOPICS")
    rows = [
        (
            one["service"],
            one["version"],
            one["state"],
            one["profile"],
            "yes" if one["signed"] else "no",
            one["module"][:12],
            ", ".join(one["topics"]),
        )
        for one in found
    ]
    print("\n".join(table(head, rows)))
    for one in found:
        if one["refused"] or one.get("waits"):
            print(f"{one['service']}@{one['version']}: {one['refused'] or one['waits']}")
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Remove a service, or one version of it; running jobs end in peace.

    The highest version that is left takes over: to remove the newest one is to roll back. Without
    --operator this node alone drops it, and takes it from no other node any more. With an
    operator's key the removal is signed and goes to every node that trusts the operator.

    examples:
      gossamer service rm greeter@2.0.0 --config gossamer.yaml
      gossamer service rm greeter@2.0.0 --operator operator.pem --config gossamer.yaml
      gossamer service rm greeter --json
    """
    settings = config.load(arguments)
    named: str = arguments.service
    name, version = desk.read_label(named)
    if arguments.operator is None:
        requests = [f"{desk.REMOVE} {named}"]
    else:
        requests = list(_removals(arguments, settings, name, version))
    for request in requests:
        for one in _answers(settings, request, lambda: _remove_here(settings, name, version)):
            _say(arguments, one, f"{one['service']}@{one['version']}: removed.")
    return 0


def sign(arguments: argparse.Namespace) -> int:
    """Sign a service with an operator's key, so that it may go from node to node.

    Writes `service.sig` beside service.yaml: the operator's word that this name and version is
    this service.yaml, this module and these proto-files. It holds for one mesh (--mesh, or
    `mesh.name`). Nodes that name the operator's public half in `mesh.operators` take the service
    from each other.

    examples:
      gossamer key new --operator operator.pem
      gossamer service sign greeter --operator operator.pem
      gossamer service sign greeter --operator operator.pem --mesh hotel --json
    """
    settings = config.load(arguments)
    files = load.find(arguments.path)
    if len(files) > 1:
        raise InputError(f"{arguments.path} has {len(files)} services; sign one at a time.")
    try:
        key = load_operator_key(arguments.operator)
    except KeyFileError as error:
        raise InputError(str(error)) from error
    package = read_package(files[0], with_signature=False)
    written = write_signature(
        files[0], sign_addition(key, settings.mesh.name, next_number(0), package)
    )
    spec = package.spec
    told = {
        "service": spec.name,
        "version": spec.version,
        "operator": operator_of(key),
        "mesh": settings.mesh.name,
        "file": str(written),
    }
    _say(
        arguments,
        told,
        f"{written}: {spec.name}@{spec.version}, signed for the mesh {settings.mesh.name} by "
        f"{operator_of(key)}; give it to one node with `gossamer service add`.",
    )
    return 0


def _say(arguments: argparse.Namespace, one: dict[str, Any], text: str) -> None:
    print(json.dumps(one) if arguments.json else text, flush=True)


def _added(one: dict[str, Any]) -> str:
    label = f"{one['service']}@{one['version']}"
    if one["refused"]:
        return f"{label}: kept, but not at work: {one['refused']}"
    how = "added" if one["new"] else "is here already"
    if one["state"] == "registered":
        return f"{label}: {how}; a higher version works, so this one waits."
    if one["state"] == "chosen":
        return f"{label}: {how}; it works when the node starts."
    if one["state"] == "lacking":
        return f"{label}: {how}; it takes no jobs yet: it {one['waits']}."
    far = "" if one["signed"] else " It is not signed, so it stays on this node."
    return f"{label}: {how}, and at work.{far}"


def _answers(settings: NodeConfig, request: str, here: Any) -> Iterator[dict[str, Any]]:
    """The running node's answers, or those of `here` where none runs."""
    if not _runs(settings):
        yield from here()
        return
    for one in converse(settings.data_dir, request):
        if "error" in one:
            error = InputError if one.get("status") == InputError.exit_status else NodeError
            raise error(str(one["error"]))
        yield one


def _runs(settings: NodeConfig) -> bool:
    if not socket_path(settings.data_dir).exists():
        return False
    try:
        with hold_folder(settings.data_dir):
            return False  # a node that was killed leaves its socket
    except InputError:
        return True


def _opened(settings: NodeConfig) -> Registry:
    return Registry(settings.data_dir / FOLDER_NAME)


def _add_here(settings: NodeConfig, path: Path) -> Iterator[dict[str, Any]]:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with hold_folder(settings.data_dir), WasmHost(settings.cache_dir / "modules") as host:
        registry, terms = _opened(settings), Terms.of(settings)
        try:
            for file in load.find(path):
                package = read_package(file)
                row = decisions.entry(registry, package, terms)
                try:
                    grant = terms.grant(package.spec)
                except ServiceError as error:
                    row = decisions.refused(row, str(error))
                else:
                    host.load_blocking(package.spec, grant)
                before = registry.get(row.name, row.version)
                registry.contents.keep(package.wasm, package.files)
                taken = decisions.put_own(registry, row, terms)
                if before is not None:
                    registry.forget(before.module, before.files)
                kept = registry.get(row.name, row.version) or row
                yield {**decisions.shown(kept, decisions.state_of(kept)), "new": taken}
        finally:
            registry.close()


def _remove_here(settings: NodeConfig, name: str, version: str | None) -> Iterator[dict[str, Any]]:
    if not settings.data_dir.is_dir():
        raise InputError(f"{settings.data_dir} has no services; see `gossamer service list`.")
    with hold_folder(settings.data_dir):
        registry = _opened(settings)
        try:
            for row in decisions.remove_own(registry, name, version):
                registry.forget(row.module, row.files)
                yield {"service": row.name, "version": row.version}
        finally:
            registry.close()


def _list_here(settings: NodeConfig, name: str) -> Iterator[dict[str, Any]]:
    if not (settings.data_dir / FOLDER_NAME).is_dir():
        return
    with hold_folder(settings.data_dir):
        registry = _opened(settings)
        try:
            for row in registry.listed(name):
                shown = decisions.shown(row, decisions.state_of(row))
                yield {**shown, "number": row.number}
        finally:
            registry.close()


def _removals(
    arguments: argparse.Namespace, settings: NodeConfig, name: str, version: str | None
) -> Iterator[str]:
    """Requests of a running node to follow orders, and to carry them on."""
    try:
        key = load_operator_key(arguments.operator)
    except KeyFileError as error:
        raise InputError(str(error)) from error
    if not _runs(settings):
        raise InputError(
            "no node runs here, to carry the order to the others; start it with `gossamer node`, "
            "or leave --operator out to remove the service from this node's folder alone."
        )
    found = [
        one
        for one in _answers(settings, f"{desk.LIST} {name}", lambda: ())
        if version in (None, one["version"])
    ]
    if not found:
        raise InputError(f"there is no {arguments.service} here; see `gossamer service list`.")
    for one in found:
        number = next_number(int(one["number"]))
        order = sign_removal(key, settings.mesh.name, number, name, one["version"])
        yield f"{desk.ORDER} {base64.b64encode(order).decode()}"
