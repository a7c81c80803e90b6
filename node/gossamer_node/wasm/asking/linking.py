"""What a host function is to this package, apart from how it reaches wasmtime."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gossamer_node.wasm.fastcall import Memory
from gossamer_node.wasm.run import Run

RANDOM_PART_BYTES = 64 * 2**10
"""Between two looks at the time: 0.2 ms."""

ValueType = Literal["i32", "i64"]

MemoryOf = Callable[[], Memory]
"""Looks up the caller's memory: only when it is needed, as that costs more than the call."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's type, in the terms of the text format."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.parameters)}) -> ({', '.join(self.results)})"


@dataclass(frozen=True, slots=True)
class HostFunction:
    """One import that the host provides.

    Attributes:
        call: called as `call(run, memory, *arguments)`, arguments unsigned; returns the result.
            Whatever it raises ends the guest.
    """

    module: str
    name: str
    parameters: tuple[ValueType, ...]
    result: ValueType | None
    call: Callable[..., int | None]

    @property
    def signature(self) -> Signature:
        return Signature(self.parameters, (self.result,) if self.result else ())


Table = dict[tuple[str, str], HostFunction]


def table(module: str, *rows: Any) -> Table:
    """A table of rows `(name, parameters, result, call)`; parameters as one string."""
    return {
        (module, name): HostFunction(module, name, tuple(parameters.split()), result, call)
        for name, parameters, result, call in rows
    }


def fill_random(run: Run, memory: Memory, pointer: int, length: int) -> None:
    """Random bytes for a guest, in parts: all of its memory would take seconds.

    Raises: OutOfRange, with nothing written; Interrupted.
    """
    memory.check(pointer, length)
    for at in range(pointer, pointer + length, RANDOM_PART_BYTES):
        run.check()
        memory.write(at, os.urandom(min(RANDOM_PART_BYTES, pointer + length - at)))
