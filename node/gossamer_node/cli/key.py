"""Make a mesh key.

A mesh key is 32 random bytes in base64, in a file that its owner alone can read. Every node of a
mesh needs the same file: who holds it is a member. Copy it as you would a password.

examples:
  gossamer key new mesh.key
  gossamer node --key mesh.key --listen 192.168.1.10:7407
"""

import argparse
import base64
import os
import secrets
from pathlib import Path

from gossamer_node.cli.helping import add_subcommand, run_subcommand
from gossamer_node.errors import InputError

KEY_BYTES = 32
"""256 bits: a key for any of the AEADs of RFC 5116."""


def configure(parser: argparse.ArgumentParser) -> None:
    parsers = parser.add_subparsers(metavar="ACTION", required=True)
    add_subcommand(parsers, "new", new).add_argument(
        "path", metavar="PATH", type=Path, help="the file to make; it must not exist"
    )


run = run_subcommand


def new(arguments: argparse.Namespace) -> int:
    """Make a new mesh key.

    Writes 32 random bytes in base64 to PATH, readable by you alone. A file that exists is never
    overwritten: a mesh whose key is gone can be entered by nobody.

    examples:
      gossamer key new mesh.key
      gossamer key new /etc/gossamer/mesh.key
    """
    path: Path = arguments.path
    text = base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n"
    try:
        # O_EXCL also refuses a dangling link; the mode is there before the first byte.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InputError(f"{path} exists; choose another name, or remove it first.") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be made ({error.strerror}); choose a folder that exists and is yours."
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    print(f"{path}: a new mesh key, readable by you alone; give each node a copy.")
    return 0
