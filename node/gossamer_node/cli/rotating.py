"""`gossamer key rotate`: another key for the whole mesh, in three steps, while it runs.

The command signs, the node on this machine carries. Each step must be confirmed by every member
that is there before the next one begins; so the mesh is never parted, and a command that was
stopped or failed goes on when it is run again, with the same new key.
"""

import argparse
import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gossamer_mesh.errors import KeyFileError
from gossamer_mesh.identity import load_operator_key, operator_of
from gossamer_mesh.keyring import KEY_BYTES, fingerprint, read_keyring
from gossamer_mesh.orders import Body, next_number, sign
from gossamer_node import config
from gossamer_node.config import NodeConfig
from gossamer_node.control import ask, converse
from gossamer_node.errors import InputError, NodeError
from gossamer_node.keeping import order_to_add, order_to_remove, order_to_use

BY_HAND = (
    "by hand: add a new key as a second line to the key file of every node and run `gossamer key "
    "reload` on each; then move it to the first line everywhere; then remove the old one everywhere"
)


def rotate(arguments: argparse.Namespace) -> int:
    """Give the whole mesh another key, without stopping it.

    Signs three orders with the operator's key: add the new key everywhere, use it everywhere,
    remove the old ones everywhere. The node on this machine carries them to all members that are
    there; each writes its key file and confirms, and no step begins before all have confirmed the
    one before. When one does not, mend it and run the same command again: it goes on. A node that
    is away meanwhile needs a copy of a member's key file before it comes back.

    Everyone who is in the mesh gets the new key. To shut out somebody who has the old one, let
    all nodes keep a list of members first (`gossamer key trust`).

    examples:
      gossamer key rotate --operator operator.pem --config gossamer.yaml
      gossamer key rotate --operator operator.pem --json
    """
    settings = config.load(arguments)
    key, operator = _operator_of(arguments)
    view: dict[str, Any] = ask(settings.data_dir, "keys")
    if not view["operators"]:
        raise InputError(
            "the node here follows no operator (mesh.operators is empty), so no order; name "
            f"{operator} there on every node, or change the key {BY_HAND}."
        )
    if operator not in view["operators"]:
        raise InputError(
            f"the node here does not follow this operator; add {operator} to mesh.operators of "
            "every node, or use the key of one that is named there."
        )
    told = _Teller(as_json=arguments.json)
    order = _Orders(settings, key, view["numbers"][operator], told)
    old, wanted = _keys(settings, view["rotating_to"])
    if fingerprint(wanted) == view["rotating_to"]:
        told.say({"resumed": fingerprint(wanted)}, "going on with the rotation that was begun")
    order.give("add", *order_to_add(wanted, old))
    order.give("use", *order_to_use(wanted, old))
    order.give("remove", *order_to_remove(wanted))
    told.say(
        {"rotated": fingerprint(wanted)},
        f"the mesh uses the key {fingerprint(wanted)} alone. A node that was away needs a copy of "
        f"{settings.mesh.key_file} before it comes back.",
    )
    return 0


class _Teller:
    """Progress for a person or a program."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def say(self, record: Mapping[str, object], text: str) -> None:
        print(json.dumps(record) if self._as_json else text, flush=True)


class _Orders:
    """The orders of one rotation."""

    def __init__(
        self, settings: NodeConfig, key: Ed25519PrivateKey, highest: int, told: _Teller
    ) -> None:
        self._settings = settings
        self._key = key
        self._highest = highest
        self._told = told

    def give(self, step: str, kind: str, body: Body) -> None:
        """Raises: NodeError when a member does not confirm."""
        number = next_number(self._highest)
        failed = self._carry(step, number, kind, body)
        if failed and self._highest > number:
            # Somebody knows a later order, of a machine whose clock is ahead of this one's.
            failed = self._carry(step, next_number(self._highest), kind, body)
        if failed:
            raise NodeError(
                f"the rotation stopped at the step `{step}`: {'; '.join(failed)}. All members "
                "still talk with each other. Mend that, or stop that node, and run the same "
                "command again."
            )

    def _carry(self, step: str, number: int, kind: str, body: Body) -> list[str]:
        """Who did not confirm, and why."""
        self._highest = max(self._highest, number)
        order = sign(self._key, self._settings.mesh.name, number, kind, body)
        failed: list[str] = []
        is_finished = False
        text = base64.b64encode(order).decode()
        for line in converse(self._settings.data_dir, f"order {text}"):
            if "error" in line:
                raise NodeError(f"the node here does not carry the order: {line['error']}.")
            if "finished" in line:
                is_finished = True
                continue
            self._highest = max(self._highest, int(str(line["number"])))
            who = f"{line['name']} ({line['member']})"
            said = "confirmed" if line["done"] else f"did not confirm: {line['said']}"
            self._told.say({"step": step, **line}, f"{step:6}  {who}  {said}")
            if not line["done"]:
                failed.append(f"{who} {said}")
        if not is_finished and not failed:
            failed.append("the node here ended before all had confirmed")
        return failed


def _operator_of(arguments: argparse.Namespace) -> tuple[Ed25519PrivateKey, str]:
    if arguments.operator is None:
        raise InputError(
            "an order needs an operator's key (--operator FILE); make one with `gossamer key new "
            f"--operator FILE`, or change the key {BY_HAND}."
        )
    try:
        key = load_operator_key(arguments.operator)
    except KeyFileError as error:
        raise InputError(str(error)) from error
    return key, operator_of(key)


def _keys(settings: NodeConfig, rotating_to: str | None) -> tuple[str, bytes]:
    """The fingerprint of the key that is replaced, and the key that comes: the one of the rotation
    that was begun, or a new one."""
    path = settings.mesh.key_file
    if path is None:
        raise InputError("no key file is named here; name it with --key or mesh.key_file.")
    try:
        ring = read_keyring(path)
    except KeyFileError as error:
        raise InputError(str(error)) from error
    begun = ring.key_of(rotating_to) if rotating_to else None
    wanted = begun or secrets.token_bytes(KEY_BYTES)
    olds = [mark for mark in ring.fingerprints() if mark != fingerprint(wanted)]
    return olds[0] if olds else fingerprint(wanted), wanted
