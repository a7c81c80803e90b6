"""Secrets that a node's configuration names for its services, and where their values are.

The configuration says where a secret is, never what it is. A file is read whenever a worker asks,
so a new value needs no restart, and its mode is looked at each time: one that other users may read
is refused, as the mesh's key files are. A value stands in no `repr`, so no log, status or traceback
shows it by way of the configuration; `blacked_out` keeps what a worker was given out of the lines
that it logs and the failures that it reports.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gossamer_mesh import keyfiles
from gossamer_mesh.errors import KeyFileError
from gossamer_node.logs import REDACTED
from gossamer_node.schema import FilePath, JsonSchema, Kind, Secret, Text
from gossamer_node.schema.kinds import SECRET_BYTES_MAX
from gossamer_node.schema.source import Mapping, Node, invalid

BLACKED_CHARS_MIN = 4
"""Shorter parts of a secret would black out half of a log and hide nothing."""

_VARIABLE = Text("the name of an environment variable", 255, r"[A-Za-z_][A-Za-z0-9_]*")


class SecretError(Exception):
    """A secret cannot be had; the message is a sentence for the node's operator."""


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is: in a file, or in a variable, whose value was taken along at the start."""

    file: Path | None = None
    variable: str = ""
    value: str = field(default="", repr=False)

    def read(self) -> str:
        """The secret, without the line end of its file. Raises: SecretError."""
        if self.file is None:
            if not self.value:
                raise SecretError(f"the environment variable {self.variable} is not set; set it.")
            return self.value
        try:
            data = keyfiles.read(self.file, "a secret", bytes_max=SECRET_BYTES_MAX)
            text = data.decode().rstrip("\r\n")
        except KeyFileError as error:
            raise SecretError(str(error)) from None
        except UnicodeDecodeError:
            raise SecretError(f"{self.file} holds no text; write the secret into it.") from None
        if not text:
            raise SecretError(f"{self.file} is empty; write the secret into it.")
        return text


class SecretSourceKind(Kind[SecretSource]):
    """`{file: PATH}` or `{env: NAME}`, as the node's own secrets are written; not read here, as
    a file of grants may be read where the secrets are not."""

    def read(self, node: Node, field: str) -> SecretSource:
        if not isinstance(node, Mapping) or len(node.entries) != 1:
            raise invalid(node.place, f"write {self.words()}", field=field)
        key, value = node.entries[0]
        if key.text == "file":
            return SecretSource(FilePath("a file's path").read(value, f"{field}.file"))
        if key.text == "env":
            name = _VARIABLE.read(value, f"{field}.env")
            return SecretSource(None, name, node.place.source.environ.get(name, ""))
        raise invalid(key.place, f"write {self.words()}", field=field)

    def words(self) -> str:
        return Secret().words()

    def json_schema(self) -> JsonSchema:
        return Secret().json_schema()


class Disclosed:
    """The values that one service was given. Safe to use from several threads.

    Attributes:
        values: as of now; never changed, but replaced.
        bytes_max: of the longest of them.
    """

    def __init__(self) -> None:
        self.values: tuple[str, ...] = ()
        self.bytes_max = 0
        self._by_name: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, value: str) -> None:
        """Remember a value, and the one before it: a job may still have that."""
        with self._lock:
            before = self._by_name.get(name, ())
            if value in before[:1]:
                return
            self._by_name[name] = (value, *before[:1])
            self.values = tuple(one for known in self._by_name.values() for one in known)
            self.bytes_max = max(len(one.encode()) for one in self.values)


def blacked_out(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, and without any line of one."""
    parts = {part for secret in secrets for part in (secret, *secret.splitlines())}
    # The longest first: one may be the beginning of another.
    for part in sorted(parts, key=lambda part: (-len(part), part)):
        if len(part.strip()) >= BLACKED_CHARS_MIN:
            text = text.replace(part, REDACTED)
    return text
