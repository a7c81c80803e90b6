"""How an operation refuses, and how it reads its request."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """What `job1.call` returns instead of a length (ABI.md §4)."""

    UNKNOWN = -1
    DENIED = -2
    BAD_REQUEST = -3
    DEADLINE = -4
    UNAVAILABLE = -5
    TOO_LARGE = -6
    HOST = -7


class OperationError(Exception):
    """A refusal: its code goes to the worker's program, its text to the worker's author."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def text(request: Mapping[str, Any], name: str) -> str | None:
    """A string of the request, None where it has none. Raises OperationError for another type."""
    value = request.get(name)
    if value is not None and not isinstance(value, str):
        raise OperationError(Code.BAD_REQUEST, f"{name} is not a string.")
    return value


def count(request: Mapping[str, Any], name: str, maximum: int) -> int | None:
    """An integer from 1 of the request, None where it has none."""
    value = request.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= maximum:
        raise OperationError(Code.BAD_REQUEST, f"{name} is not an integer from 1 to {maximum}.")
    return value


def why(error: BaseException) -> str:
    """What an error says, or the one that it was made of: some libraries wrap without a word."""
    one: BaseException | None = error
    while one is not None:
        if str(one):
            return str(one)
        one = one.__cause__ or one.__context__
    return type(error).__name__
