"""The cores stay within the Python that MicroPython runs: checked on their syntax trees."""

import ast
from pathlib import Path

import pytest

import gossamer_mesh

PACKAGE = Path(gossamer_mesh.__file__).parent
CORES = ("swim", "leases")
FILES = sorted(
    path for core in CORES if (PACKAGE / core).is_dir() for path in (PACKAGE / core).glob("**/*.py")
)

FORBIDDEN_NODES: dict[type[ast.AST], str] = {
    ast.Match: "match",
    ast.TryStar: "except*",
    ast.AsyncFunctionDef: "async def in a core without I/O",
    ast.Await: "await in a core without I/O",
    ast.Global: "global state",
}
"""Syntax that MicroPython has not, or that a core has no use for."""

MISSING_METHODS = {
    "bit_length", "hexdigest", "move_to_end", "removeprefix", "removesuffix", "zfill", "_asdict",
}  # fmt: skip
"""Methods that MicroPython's types lack (measured on 1.25 and 1.27)."""

ALLOWED_MODULES = ("binascii", "collections", "hashlib", "heapq", "struct")
"""What a core may import besides its own package."""


def complaints(source: str) -> list[str]:
    """What MicroPython would refuse or do otherwise, or what a core must not do."""
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        line = getattr(node, "lineno", 0)
        for kind, name in FORBIDDEN_NODES.items():
            if isinstance(node, kind):
                found.append(f"{line}: {name}")
        found.extend(f"{line}: {text}" for text in _complaints_about(node))
    return found


def _complaints_about(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [f"import {each.name}" for each in names if each.name not in ALLOWED_MODULES]
        case ast.ImportFrom(module=module):
            top = (module or "").split(".")[0]
            allowed = top in ALLOWED_MODULES or top == "gossamer_mesh"
            return [] if allowed else [f"from {module} import"]
        case ast.arguments(posonlyargs=[_, *_]):
            return ["positional-only parameters"]
        case ast.List(elts=elements) | ast.Set(elts=elements) | ast.Tuple(elts=elements):
            starred = any(isinstance(each, ast.Starred) for each in elements)
            return ["* in a display"] if starred else []
        case ast.Dict(keys=keys):
            return ["** in a display"] if None in keys else []
        case ast.ClassDef(keywords=[_, *_]):
            return ["a metaclass keyword"]
        case ast.Constant(value=float()):
            return ["a float: some boards have 32 bits of it"]
        case ast.BinOp(op=ast.Div()):
            return ["/ makes a float; use //"]
        case ast.Attribute(attr=attr) if attr in MISSING_METHODS:
            return [f".{attr} is missing"]
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.BinOp()]):
            return ["isinstance with X | Y"]
        case ast.Call(func=ast.Name(id="next"), args=[ast.Call(func=ast.Name(id="iter")), *_]):
            return ["next(iter(…)): maps have no order there"]
        case ast.FunctionDef(decorator_list=decorators):
            plain = {"property", "staticmethod", "classmethod"}
            return [
                f"decorator {ast.unparse(each)}"
                for each in decorators
                if ast.unparse(each) not in plain
            ]
        case _:
            return []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_core_is_within_micropythons_subset(path: Path) -> None:
    assert complaints(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from dataclasses import dataclass",
        "def f(a, /): pass",
        "x = [*a, *b]",
        "x = {**a}",
        "x = 1.5",
        "x = a / b",
        "match x:\n    case 1: pass",
        "isinstance(a, int | str)",
        "(1).bit_length()",
        "next(iter(d))",
        "class A(metaclass=B): pass",
        "async def f(): pass",
        "@dataclass\ndef f(): pass",
        "import typing\nif TYPE_CHECKING:\n    import trio",
    ],
)
def test_the_check_finds(source: str) -> None:
    assert len(complaints(source)) == 1


def test_imports_for_the_type_checker_alone_pass() -> None:
    source = "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from typing import Any\n"
    assert complaints(source) == []


def test_there_is_something_to_check() -> None:
    assert any(path.name == "protocol.py" for path in FILES)
