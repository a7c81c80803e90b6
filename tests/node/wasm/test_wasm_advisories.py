"""A wasmtime with a known way out is refused, by a sentence that says what to install."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from gossamer_node.errors import NodeError
from gossamer_node.wasm import WasmHost
from gossamer_node.wasm.loading.advisories import ADVISORIES, WANTED, refuse_known_escapes

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("version", "machine", "named"),
    [
        ("47.0.2", "x86_64", "RUSTSEC-2026-0223"),
        ("46.0.1", "x86_64", "RUSTSEC-2026-0223"),
        ("45.0.0", "x86_64", "RUSTSEC-2026-0222"),
        ("36.0.6", "x86_64", "RUSTSEC-2026-0222"),
        ("24.0.12", "aarch64", "RUSTSEC-2026-0096"),
        ("24.0.12", "x86_64", "RUSTSEC-2026-0088"),
        ("4.0.0", "x86_64", "RUSTSEC-2026-0222"),
        ("unknown", "x86_64", "RUSTSEC-2026-0223"),
    ],
)
def test_versions_with_an_escape_are_refused(version: str, machine: str, named: str) -> None:
    with pytest.raises(NodeError) as caught:
        refuse_known_escapes(version, machine)
    said = str(caught.value)
    assert said.startswith(f"The node does not run workers with wasmtime {version}, in which ")
    assert named in said
    assert said.endswith(f"install another: pip install '{WANTED}'.")


@pytest.mark.parametrize("version", ["36.0.13", "46.0.2", "47.0.3", "48.0.0", "50.0.1", "51.0"])
@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "aarch64", "arm64", "riscv64"])
def test_versions_without_are_taken(version: str, machine: str) -> None:
    refuse_known_escapes(version, machine)


def test_an_advisory_on_one_machine_is_none_on_another() -> None:
    on_arm = next(one for one in ADVISORIES if one.ids[0] == "RUSTSEC-2026-0096")
    assert on_arm.concerns((43, 0, 0), "arm64")
    assert not on_arm.concerns((43, 0, 0), "x86_64")


def test_the_host_looks_before_it_runs_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "43.0.0")
    with pytest.raises(NodeError, match=r"wasmtime 43\.0\.0"):
        WasmHost(tmp_path / "cache")


def test_what_is_to_be_installed_is_what_the_project_wants() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert WANTED in project["project"]["dependencies"]
