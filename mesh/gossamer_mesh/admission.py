"""Who may be in the mesh beside having its key: a list of node ids in a file.

    # one id a line, comments for people
    3f9a1c0be2d4778890aa55bb66cc77dd   # the node in the hall

Without a list the mesh key alone admits. With one, a thief of the mesh key is still refused: the id
is the hash of a key that it does not have. The file may change at any time; one that cannot be
read, or has an error, changes nothing and is said.
"""

import re
from pathlib import Path

from gossamer_mesh import keyfiles
from gossamer_mesh.errors import KeyFileError

MEMBERS_MAX = 10_000
FILE_BYTES_MAX = 2**20
"""100 bytes for each: the id and some words on it."""

_ID = re.compile(r"[0-9a-f]{32}")


class AllowList:
    """The ids of a file, and this node's own.

    Args:
        path: the file.
        own_id: admitted in any case.

    Raises:
        KeyFileError: see `reload`.
    """

    def __init__(self, path: Path, own_id: str) -> None:
        self.path = path
        self._own_id = own_id
        self._ids: frozenset[str] = frozenset()
        self._stamp: tuple[int, int, int] | None = None
        self.reload()

    def admits(self, node_id: str) -> bool:
        """Whether a node is on the list."""
        return node_id in self._ids or node_id == self._own_id

    def ids(self) -> list[str]:
        """Those in the file, sorted."""
        return sorted(self._ids)

    def is_stale(self) -> bool:
        """Whether the file is another one than was read last; one look at its times."""
        return self._stamp != _stamp_of(self.path)

    def reload(self) -> bool:
        """Reads the file; whether the list changed.

        Raises:
            KeyFileError: it cannot be read, others may change it, or a line is no id. The list is
                as before.
        """
        self._stamp = _stamp_of(self.path)
        ids = frozenset(read_ids(self.path))
        changed = ids != self._ids
        self._ids = ids
        return changed


def read_ids(path: Path) -> list[str]:
    """The ids of a file, in its order.

    Raises:
        KeyFileError: see `AllowList.reload`.
    """
    ids = []
    for number, line in enumerate(_text_of(path).splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        if not is_node_id(word):
            raise KeyFileError(
                f"line {number} of {path} is no node id (32 hex digits); `gossamer status --json` "
                "shows a node's own."
            )
        ids.append(word)
    if len(ids) > MEMBERS_MAX:
        raise KeyFileError(f"{path} has {len(ids)} ids; {MEMBERS_MAX} are the most.")
    return ids


def edit(path: Path, node_id: str, *, remove: bool) -> bool:
    """Puts an id on the list of a file, which is made if need be, or takes it off; whether that
    changed anything. Other lines stay as they are.

    Raises:
        KeyFileError: the file cannot be used; it is as before.
    """
    lines: list[str] = []
    if path.exists():
        read_ids(path)
        lines = _text_of(path).splitlines()
    others = [line for line in lines if line.partition("#")[0].strip() != node_id]
    wanted = others if remove else lines if len(others) < len(lines) else [*lines, node_id]
    if wanted == lines and path.exists():
        return False
    keyfiles.replace(path, "".join(f"{line}\n" for line in wanted).encode(), "the list of members")
    return wanted != lines


def is_node_id(text: str) -> bool:
    """32 lowercase hex digits."""
    return _ID.fullmatch(text) is not None


def _text_of(path: Path) -> str:
    data = keyfiles.read(
        path, "the list of members", bytes_max=FILE_BYTES_MAX, forbidden=keyfiles.TRUSTED
    )
    return data.decode("utf-8", "replace")


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
