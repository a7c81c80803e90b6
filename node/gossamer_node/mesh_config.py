"""Settings of the mesh: its name, its key, who may be in it, and whose orders count.

A part of the table in `config`, where the rules of reading are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gossamer_node.schema import Field, FilePath, Form, ListOf, Record
from gossamer_node.service.load import NAME


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """Which mesh the node belongs to. `key_file` None: none; the node works by itself."""

    name: str = "gossamer"
    key_file: Path | None = None
    members_file: Path | None = None
    operators: tuple[str, ...] = ()


def _operator(text: str) -> str:
    """An operator's public key."""
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        raise ValueError("is no operator's public key")
    return text


def _check(config: MeshConfig) -> Iterator[tuple[str, str]]:
    """Settings that are right alone and wrong together."""
    for given, key in ((config.members_file, "members_file"), (config.operators, "operators")):
        if given and config.key_file is None:
            yield (
                key,
                "this is for a mesh, and a node without key is in none; make a key with "
                "`gossamer key new PATH` and name it as mesh.key_file",
            )


OPERATOR = Form("64 hex digits, an operator's public key", _operator, str)

MESH = Record(
    "Mesh",
    "Which mesh the node belongs to.",
    MeshConfig,
    (
        Field(
            "name",
            NAME,
            "name",
            "Nodes of another mesh name are not heard, even under the same key.",
            "One mesh is all that most networks have.",
            flag="--mesh",
        ),
        Field(
            "key_file",
            FilePath("the path of a key file"),
            "key_file",
            "The mesh's key, made by `gossamer key new`; the same file on every node, readable by "
            "its user alone.",
            "Without a key the node works by itself and nobody can join it.",
            default_words="none",
            flag="--key",
        ),
        Field(
            "members_file",
            FilePath("the path of a list of node ids"),
            "members_file",
            "The nodes that may be in the mesh, one id a line; others are refused although they "
            "have the key. `gossamer key trust` edits it, and the node follows at once.",
            "Whoever has the mesh key may be in the mesh.",
            default_words="none",
        ),
        Field(
            "operators",
            ListOf(OPERATOR, "public keys of operators", 64),
            "operators",
            "Whose signed orders this node follows: another mesh key (`gossamer key rotate`), "
            "services from other nodes (`gossamer service sign`). `gossamer key new --operator "
            "FILE` makes such a key and prints this.",
            "A node follows nobody that its own configuration does not name.",
        ),
    ),
    check=_check,
)
