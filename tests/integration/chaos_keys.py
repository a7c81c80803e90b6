"""The keys of a mesh whose key is to change while it runs: a copy for each node, an operator."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from gossamer_mesh.keyring import read_keyring


@dataclass(frozen=True, slots=True)
class Keys:
    """Made by `make_keys`.

    Attributes:
        operator: the public half of the operator's key.
    """

    folder: Path
    operator: str

    def settings_of(self, name: str) -> dict[str, Any]:
        """What a node's configuration says as `mesh`, with a key file of its own."""
        own = self.file_of(name)
        if not own.exists():
            shutil.copy(self.folder / "mesh.key", own)
        return {"key_file": str(own), "operators": [self.operator]}

    def file_of(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def first(self) -> bytes:
        """The key with which the mesh began."""
        return read_keyring(self.folder / "mesh.key").keys[0]

    def kept_by(self, name: str) -> tuple[str, ...]:
        """Fingerprints of the keys that a node has in its file now."""
        return read_keyring(self.file_of(name)).fingerprints()

    async def rotate(self, config: Path) -> list[dict[str, Any]]:
        """Changes the mesh key by a running node. Returns what the command said, line by line.

        Args:
            config: that node's configuration.

        Raises: subprocess.CalledProcessError when a member did not confirm.
        """
        said = await trio.run_process(
            _gossamer("key", "rotate", "--json", "--config", config, "--operator", self._operator),
            capture_stdout=True,
        )
        return [json.loads(line) for line in said.stdout.splitlines()]

    @property
    def _operator(self) -> Path:
        return self.folder / "operator.pem"


async def make_keys(folder: Path) -> Keys:
    """A mesh key and an operator's, in a folder that is made."""
    folder.mkdir()
    await trio.run_process(_gossamer("key", "new", folder / "mesh.key"), capture_stdout=True)
    said = await trio.run_process(
        _gossamer("key", "new", "--operator", folder / "operator.pem"), capture_stdout=True
    )
    return Keys(folder, said.stdout.decode().splitlines()[-1])


def _gossamer(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "gossamer_node", *map(str, arguments)]
