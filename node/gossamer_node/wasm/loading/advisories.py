"""wasmtime's versions from which a guest can get out, refused before anything is run in them.

The rows are those advisories of the RustSec database (crates/wasmtime, as of 2 October 2026, and
wasmtime's release notes up to 50.0.1 of 29 October 2026) by which a core module in an engine as
`engine` configures it can read or write what is not its own, or end the node. Advisories on what is
off or not used here have no row: components, wasmtime's own WASI, threads, 64-bit memories,
garbage collection, exceptions, the compiler Winch. Neither have those from before 2024: no version
that they name is outside the rows below.
"""

import importlib.metadata
import platform
import re
from dataclasses import dataclass

from gossamer_node.errors import NodeError

WANTED = "wasmtime>=50,<51"
"""What to install instead: as pyproject.toml has it."""

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Advisory:
    """One hole.

    Attributes:
        ids: in the RustSec database and at github.com/bytecodealliance/wasmtime/security/advisories
        clause: what a guest can do, after "in which".
        mended: versions without it, from the first up to the second; None: no end.
        machines: which it concerns, as `platform.machine` says; empty: all.
    """

    ids: tuple[str, str]
    clause: str
    mended: tuple[tuple[Version, Version | None], ...]
    machines: tuple[str, ...] = ()

    def concerns(self, version: Version, machine: str) -> bool:
        """Whether this version on such a machine has the hole."""
        if self.machines and machine.lower() not in self.machines:
            return False
        return not any(
            first <= version and (end is None or version < end) for first, end in self.mended
        )


_X86 = ("x86_64", "amd64")
_ARM = ("aarch64", "arm64")

ADVISORIES = (
    Advisory(
        ("RUSTSEC-2026-0223", "GHSA-2hw9-mc66-jc2q"),
        "a guest that is stopped in a bulk operation can break what the host knows of it",
        (((0,), (46,)), ((46, 0, 2), (47,)), ((47, 0, 3), None)),
    ),
    Advisory(
        ("RUSTSEC-2026-0222", "GHSA-hgjw-h833-99q9"),
        "types of one engine can be taken for those of another",
        (
            ((24, 0, 12), (25,)),
            ((36, 0, 13), (37,)),
            ((46, 0, 2), (47,)),
            ((47, 0, 3), None),
        ),
    ),
    Advisory(
        ("RUSTSEC-2026-0096", "GHSA-jhxm-h53p-jm7w"),
        "a guest can read and write outside its memory",
        (((36, 0, 7), (37,)), ((42, 0, 2), (43,)), ((43, 0, 1), None)),
        _ARM,
    ),
    Advisory(
        ("RUSTSEC-2026-0088", "GHSA-6wgr-89rj-399p"),
        "a guest can read what another left in the pool of instances",
        (((36, 0, 7), (37,)), ((42, 0, 2), (43,)), ((43, 0, 1), None)),
    ),
    Advisory(
        ("RUSTSEC-2026-0087", "GHSA-qqfj-4vcm-26hv"),
        "a guest can end the process by a load outside its memory (f64x2.splat)",
        (((24, 0, 7), (25,)), ((36, 0, 7), (37,)), ((42, 0, 2), (43,)), ((43, 0, 1), None)),
        _X86,
    ),
    Advisory(
        ("RUSTSEC-2026-0006", "GHSA-vc8c-j3xm-xj73"),
        "a guest can end the process by a load outside its memory (f64.copysign)",
        (((0,), (29,)), ((36, 0, 5), (37,)), ((40, 0, 3), (41,)), ((41, 0, 1), None)),
        _X86,
    ),
)


def refuse_known_escapes(version: str | None = None, machine: str | None = None) -> None:
    """Looks at the version that is installed.

    Raises: NodeError, which says which version, why not, and what to install.
    """
    version = version or importlib.metadata.version("wasmtime")
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    parsed = tuple(map(int, numbers.group().split("."))) if numbers else ()
    for advisory in ADVISORIES:
        if not parsed or advisory.concerns(parsed, machine or platform.machine()):
            raise NodeError(
                f"The node does not run workers with wasmtime {version}, in which "
                f"{advisory.clause} ({', '.join(advisory.ids)}); install another: "
                f"pip install '{WANTED}'."
            )
