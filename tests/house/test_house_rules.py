"""House rules that no linter knows: sizes, docstrings, links, names and paths."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LINES_MAX = 600
EXCUSE = "house: long because "
"""A file past `LINES_MAX` says why, in a comment that begins so."""

MACHINE_PATH = re.compile(r"(?<![\w.{}/])/(?:work|home|Users|root|tmp/wt)/[A-Za-z0-9_.-]+")
"""An absolute path of somebody's machine."""

FILES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    if (ROOT / name).is_file() and not (ROOT / name).is_symlink()
]
SOURCES = [file for file in FILES if file.suffix in (".py", ".c", ".h", ".ts", ".rs", ".go")]
MODULES = [file for file in FILES if file.suffix == ".py"]
PAGES = [file for file in FILES if file.suffix == ".md"]


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_there_is_something_to_judge() -> None:
    assert len(MODULES) > 20 and PAGES


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_a_long_file_says_why(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES_MAX or EXCUSE in text


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_a_module_opens_with_its_theory(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring


@pytest.mark.parametrize("file", [*MODULES, *PAGES], ids=name)
def test_no_path_of_one_machine(file: Path) -> None:
    if file != Path(__file__):
        assert not MACHINE_PATH.findall(file.read_text(encoding="utf-8"))


def test_names_of_tests_are_unique() -> None:
    """mypy takes two files of one name for one module."""
    counted = Counter(file.name for file in MODULES if file.is_relative_to(ROOT / "tests"))
    assert [one for one, count in counted.items() if count > 1 and one != "conftest.py"] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page if not path else page.parent / path
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_a_package_exports_is_there() -> None:
    for file in MODULES:
        if file.name != "__init__.py":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        bound: set[str] = set()
        exported: list[str] = []
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                bound |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                bound.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                bound.add(node.target.id)
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
                bound |= set(names)
                if names == ["__all__"]:
                    exported = ast.literal_eval(node.value)
        assert set(exported) <= bound, name(file)
