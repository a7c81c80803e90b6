"""The locked list of Maven artifacts that an engine is made of.

A lock file is text, one artifact per line: SHA-256, size in bytes, Maven coordinate. Nothing that
differs from its line is ever used, so the same engine runs on every machine. `relock.py` writes
the files that are shipped beside this module; `cache.py` uses them.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(
    r"(?P<sha256>[0-9a-f]{64}) +(?P<size>[0-9]+) +"
    r"(?P<group>[\w.-]+):(?P<name>[\w.-]+):(?P<version>[\w.-]+):(?P<type>[\w.-]+)"
    r"(?::(?P<classifier>[\w.-]+))?"
)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Coordinate:
    """Where Maven finds one file."""

    group: str
    name: str
    version: str
    type: str = "jar"
    classifier: str = ""

    @property
    def file_name(self) -> str:
        """The name that Maven gives the file when it copies it."""
        stem = "-".join(filter(None, (self.name, self.version, self.classifier)))
        return f"{stem}.{self.type}"

    def __str__(self) -> str:
        parts = (self.group, self.name, self.version, self.type, self.classifier)
        return ":".join(filter(None, parts))


@dataclass(frozen=True)
class Locked:
    """One line of a lock file."""

    sha256: str
    size_bytes: int
    coordinate: Coordinate

    def __str__(self) -> str:
        return f"{self.sha256} {self.size_bytes:>9} {self.coordinate}"


@dataclass(frozen=True)
class Lock:
    """One engine's artifacts."""

    artifacts: tuple[Locked, ...]
    digest: str
    """SHA-256 of the lock file: names the directory of what was made from it."""


def read_lock(path: Path) -> Lock:
    """Reads a lock file; empty lines and lines that begin with `#` are comments.

    Raises:
        ValueError: A line has another form, or two artifacts share a file name; names the line.
    """
    text = path.read_text(encoding="utf-8")
    artifacts: dict[str, Locked] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path.name}:{number}: not 'sha256 size coordinate': {line[:80]!r}")
        sha256, size, group, name, version, type_, classifier = match.groups(default="")
        locked = Locked(sha256, int(size), Coordinate(group, name, version, type_, classifier))
        if artifacts.setdefault(locked.coordinate.file_name, locked) is not locked:
            raise ValueError(f"{path.name}:{number}: {locked.coordinate.file_name} is there twice")
    if not artifacts:
        raise ValueError(f"{path.name}: no artifact in it")
    return Lock(tuple(artifacts.values()), hashlib.sha256(text.encode()).hexdigest())


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
