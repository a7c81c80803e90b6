"""Fetches Debian trixie's MicroPython and the libraries that it needs, and installs nothing.

apt does it, with its signatures, in directories of our own, so that the machine's packages, lists
and settings stay as they are; `dpkg-deb -x` unpacks, and a launcher runs the binary through the
unpacked dynamic linker, since the machine's own C library may be older. The mirror is the one that
this machine's apt has for Debian; where it has none, or an archive without trixie, Debian's own.
Runs on a bare python3, as root or not. `python tools/get_micropython.py` prints the launcher's path
in seconds, and at once when it is there already.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
"""Debian's own, for machines whose apt knows no other."""

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-trixie-stable.gpg"),
)
"""Where Debian's package debian-archive-keyring has the keys; the first since bookworm's 12.2."""

TIMEOUT_S = 120


class MissingError(Exception):
    """MicroPython cannot be had here; the message says why and what to do."""


def cache_dir() -> Path:
    """Where it is kept from one run to the next."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "gossamer" / f"micropython-{SUITE}"


def get(cache: Path) -> Path:
    """The launcher's path; fetches what is missing first.

    Raises:
        MissingError: there is no apt, no network, no key, or no such package.
    """
    launcher = cache / "micropython"
    if launcher.exists():
        return launcher
    for command in ("apt-get", "dpkg-deb"):
        if shutil.which(command) is None:
            raise MissingError(f"the command {command} is missing; use Debian or a child of it.")
    keyring = next((one for one in KEYRINGS if one.exists()), None)
    if keyring is None:
        raise MissingError("Debian's keys are missing; install debian-archive-keyring.")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingError(f"{cache.parent} cannot be made: {error.strerror}") from None
    said = ""
    for mirror in mirrors():
        # Made beside its place and renamed into it: what has the final name is complete.
        work = Path(tempfile.mkdtemp(dir=cache.parent, prefix=".micropython-"))
        try:
            said = download(work, mirror, keyring)
            if said:
                continue
            root = work / "root"
            for package in sorted((work / "debs").glob("*.deb")):
                run(["dpkg-deb", "-x", str(package), str(root)])
            write_launcher(work, cache)
            shutil.rmtree(work / "apt")
            shutil.rmtree(work / "debs")
            if not launcher.exists():  # another process may have been quicker
                shutil.rmtree(cache, ignore_errors=True)
                work.rename(cache)
            return launcher
        finally:
            shutil.rmtree(work, ignore_errors=True)
    raise MissingError(f"apt could not fetch micropython of Debian {SUITE}: {said}")


def mirrors() -> list[str]:
    """Where apt gets Debian here, then Debian's own."""
    listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"])[1].split()
    found = [one.rstrip("/") for one in listed if re.search(r"/debian/?$", one)]
    return list(dict.fromkeys([*found, MIRROR]))


def download(work: Path, mirror: str, keyring: Path) -> str:
    """Fetches the packages into `work`/debs. Returns what apt complained of, empty for nothing."""
    apt = work / "apt"
    debs = work / "debs"
    for path in (apt / "lists" / "partial", apt / "cache", debs / "partial"):
        path.mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {SUITE} main\n")
    options = [
        f"Dir::State={apt}",
        f"Dir::State::lists={apt / 'lists'}",
        f"Dir::State::status={apt / 'status'}",  # empty: as if nothing was installed here
        f"Dir::Cache={apt / 'cache'}",
        f"Dir::Cache::archives={debs}",
        f"Dir::Etc::sourcelist={apt / 'sources.list'}",
        "Dir::Etc::sourceparts=-",
        "Dir::Etc::preferencesparts=-",
        "APT::Sandbox::User=root",  # the user _apt may not read a home directory
        "APT::Install-Recommends=false",
        "Acquire::Languages=none",
        "Acquire::Retries=2",
        "Debug::NoLocking=true",
        "APT::Keep-Downloaded-Packages=true",
    ]
    command = ["apt-get", "-qq", *(word for one in options for word in ("-o", one))]
    for step in (["update", "--error-on=any"], ["--download-only", "-y", "install", "micropython"]):
        status, text = run([*command, *step])
        if status:
            return " ".join(text.split())[-300:]
    return ""


def write_launcher(work: Path, final: Path) -> None:
    """A script that runs the unpacked binary with the unpacked libraries, under its final path."""
    root = work / "root"
    loaders = sorted(
        path
        for path in root.rglob("ld-linux*.so.*")
        if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK)
    )
    if not loaders:
        raise MissingError("the packages hold no dynamic linker; this architecture is not known.")
    loader = final / loaders[0].relative_to(work)
    binary = final / "root" / "usr" / "bin" / "micropython"
    launcher = work / "micropython"
    command = f'exec "{loader}" --library-path "{loader.parent}" "{binary}" "$@"'
    launcher.write_text(f"#!/bin/sh\n{command}\n")
    launcher.chmod(0o755)


def run(command: list[str]) -> tuple[int, str]:
    """A command's status and what it said."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            env=os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired:
        return 1, f"{command[0]} took more than {TIMEOUT_S} s"
    return done.returncode, done.stdout


def main() -> int:
    try:
        print(get(cache_dir()))
    except MissingError as error:
        print(f"get_micropython: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
