"""Sets up what a make target needs: a virtual environment, and Debian's packages where missing.

Runs on a bare python3 with the standard library alone. It says what it is doing, does nothing
when nothing changed (a stamp holds the hash of pyproject.toml), and ends in one sentence that
names the next step when it cannot go on. After `demo` come the demonstration's own arguments,
for it needs more when it is to start a Camunda.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"

EXTRAS = {"demo": "embedded", "engines": "engines", "check": "dev", "test": "dev"}
"""What each target installs."""

ALSO_SERVED_BY = {"demo": ("dev",), "engines": ("dev",)}
"""Larger sets that serve a target as well as its own."""

DEBIAN_PACKAGES = {
    "mvn": "maven",
    "javac": "default-jdk-headless",
    "npm": "npm",
    "node": "nodejs",
    "postgres": "postgresql",
    "redis-server": "redis-server",
    "chromium": "chromium",
}
"""Command → Debian package, for the targets of `COMMANDS`."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "engines": ("mvn",),
    "test": ("mvn", "javac", "node", "npm", "postgres", "redis-server", "chromium"),
}

BESIDE_THE_PATH = {"postgres": "usr/lib/postgresql/*/bin/postgres"}
"""Where Debian has a command that is on nobody's path."""

NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/gossamer.conf")
"""Says to the package that no server of its own is to run here. Tests start theirs."""


def main() -> int:
    target, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if target not in EXTRAS:
        return fail(f"bootstrap: unknown target {target!r}; one of {', '.join(EXTRAS)}.")
    if sys.version_info < (3, 11):
        return fail(
            f"Gossamer needs Python 3.11 or newer, this is {sys.version.split()[0]}; "
            "run make with PYTHON=python3.11."
        )
    targets = [target]
    if target == "demo" and starts_a_camunda(arguments):
        targets.append("engines")
    for one in targets:
        status = debian(one) or environment(one)
        if status:
            return status
    return 0


def starts_a_camunda(arguments: list[str]) -> bool:
    """Whether the demonstration, with these arguments, starts an engine that needs Java."""
    has_url = any(one.startswith("--url") for one in arguments)
    return not has_url and any("camunda" in one for one in arguments)


def environment(target: str) -> int:
    """Creates .venv and installs the project into it, editable, with the target's extras."""
    wanted = EXTRAS[target]
    state = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamps = [VENV / f".gossamer-{extra}" for extra in (wanted, *ALSO_SERVED_BY.get(target, ()))]
    if any(stamp.exists() and stamp.read_text() == state for stamp in stamps):
        return 0
    began_s = time.monotonic()
    say(f"installing Gossamer and its libraries into {VENV.name} (once; needs the network)")
    if not (VENV / "bin" / "pip").exists():
        shutil.rmtree(VENV, ignore_errors=True)
        if subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False).returncode:
            return fail("no virtual environment: install Debian's python3-venv and run make again.")
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    environ = os.environ | {"PIP_ROOT_USER_ACTION": "ignore"}
    installed = subprocess.run(
        [*pip, "install", "--progress-bar", "on", "-e", f"{ROOT}[{wanted}]"],
        stdout=None if sys.stdout.isatty() else subprocess.DEVNULL,
        env=environ,
        check=False,
    )
    if installed.returncode:
        return fail(
            "pip could not install the libraries, and says why above; "
            "check the network and pip's settings, then run make again."
        )
    (VENV / f".gossamer-{wanted}").write_text(state)
    say(f"installed in {time.monotonic() - began_s:.0f} s")
    return 0


def debian(target: str) -> int:
    """Installs the Debian packages whose command is missing, as root or through sudo."""
    missing = sorted(
        DEBIAN_PACKAGES[command] for command in COMMANDS.get(target, ()) if not there(command)
    )
    if not missing:
        return 0
    by_hand = f"apt-get install {' '.join(missing)}"
    if shutil.which("apt-get") is None:
        return fail(f"missing: {', '.join(missing)}; install them and run make again.")
    sudo: list[str] = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            return fail(f"missing: {', '.join(missing)}; as root, run: {by_hand}")
        sudo = ["sudo"]
    say(f"installing Debian packages: {' '.join(missing)}")
    if "postgresql" in missing:
        subprocess.run([*sudo, "mkdir", "-p", str(NO_CLUSTER.parent)], check=False)
        subprocess.run(
            [*sudo, "tee", str(NO_CLUSTER)],
            input=b"create_main_cluster = false\n",
            stdout=subprocess.DEVNULL,
            check=False,
        )
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(
            [*sudo, "apt-get", *step], stdout=subprocess.DEVNULL, env=environ, check=False
        )
        if done.returncode:
            return fail(f"apt-get {step[0]} failed; run it by hand: {by_hand}")
    return 0


def there(command: str) -> bool:
    """Whether a command can be had without installing anything."""
    beside = BESIDE_THE_PATH.get(command)
    return shutil.which(command) is not None or bool(beside and any(Path("/").glob(beside)))


def say(text: str) -> None:
    print(f"gossamer: {text}", flush=True)


def fail(text: str) -> int:
    print(f"gossamer: {text}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
