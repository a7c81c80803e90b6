"""The words of a .proto file, and the one error that tells where one of them is wrong.

Lexical elements are those of the protobuf language specification. A token knows its offset alone;
line and column are counted when an error needs them.
"""

import re
from typing import NamedTuple

from gossamer_node.errors import ServiceError

NAME_CHARS_MAX = 255
"""Longest name. Each value of an answer carries its field's name, so names are bounded as well."""

TOKENS_MAX = 250_000
"""Words of one file. A MiB of text has that many if it has no comments; of `;` alone, more."""

SHOWN_MAX = 40
"""Characters of a file that an error repeats."""

_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\n\v\f]+ | //[^\n]* | /\*[\s\S]*?\*/)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<float>(?: (?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+ )
        (?![A-Za-z0-9_.]))
    | (?P<int>(?: 0[xX][0-9a-fA-F]+ | [0-9]+ )(?![A-Za-z0-9_.]))
    | (?P<text>"(?:[^"\\\n\0]|\\[^\n\0])*" | '(?:[^'\\\n\0]|\\[^\n\0])*')
    | (?P<sign>[{}\[\]()<>;:,.=+-] | /(?![*/]))
    """,
    re.VERBOSE,
)

_ESCAPE = re.compile(
    rb"\\(?: ([abfnrtv\\'\"?]) | ([0-7]{1,3}) | [xX]([0-9a-fA-F]{1,2})"
    rb" | u([0-9a-fA-F]{4}) | U([0-9a-fA-F]{8}) | ([\s\S]?) )",
    re.VERBOSE,
)
_LETTERS = {b"a": 7, b"b": 8, b"f": 12, b"n": 10, b"r": 13, b"t": 9, b"v": 11}


class ProtoError(ServiceError):
    """A protocol definition can't be used. The message names the file, and a place where it can."""


def shown(text: str) -> str:
    """Somebody's text in an error: in quotes, on one line, not too long."""
    return repr(text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…")


class Token(NamedTuple):
    """A word of a file.

    Attributes:
        kind: `name`, `int`, `float`, `text` (with its quotes), `sign` or `end`.
        at: its offset in the file, in characters.
    """

    kind: str
    text: str
    at: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the file"
        return shown(self.text)


class SourceText:
    """A file's text, for errors that point into it."""

    def __init__(self, label: str, data: bytes) -> None:
        """Args: label: what errors call the file. Raises: ProtoError, if it isn't UTF-8."""
        self.label = label
        try:
            self.text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ProtoError(
                f"{label}:{line}: a byte that is no UTF-8; save the file as UTF-8."
            ) from None

    def error(self, at: int, sentence: str) -> ProtoError:
        """Args: sentence: what was expected there, and what was found; without its period."""
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        return ProtoError(f"{self.label}:{line}:{column}: {sentence}.")

    def tokens(self) -> list[Token]:
        """Raises: ProtoError."""
        tokens: list[Token] = []
        at, text = 0, self.text
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._no_token(at)
            kind = found.lastgroup or ""
            if kind != "space":
                word = found.group()
                if kind == "name" and len(word) > NAME_CHARS_MAX:
                    raise self.error(at, f"expected a name of at most {NAME_CHARS_MAX} characters")
                if len(tokens) == TOKENS_MAX:
                    raise self.error(at, f"expected the file to end after {TOKENS_MAX:,} words")
                tokens.append(Token(kind, word, at))
            at = found.end()
        tokens.append(Token("end", "", at))
        return tokens

    def _no_token(self, at: int) -> ProtoError:
        rest = self.text[at : at + SHOWN_MAX]
        if rest.startswith("/*"):
            return self.error(at, "expected `*/` to end this comment, found none")
        if rest[0] in "\"'":
            return self.error(at, f"expected {rest[0]} to end this text before its line ends")
        if rest[0] in ".0123456789":
            return self.error(at, f"expected a number, found {rest.split()[0]!r}")
        return self.error(at, f"expected a word of the protobuf language, found {rest[0]!r}")


def unquoted(token: Token) -> bytes:
    """What a text token means. Raises ValueError for an escape that means nothing."""
    return _ESCAPE.sub(_unescaped, token.text[1:-1].encode())


def _unescaped(found: re.Match[bytes]) -> bytes:
    letter, octal, two, four, eight, wrong = found.groups()
    if wrong is not None:
        raise ValueError(f"no such escape: \\{wrong.decode(errors='replace')}")
    if letter is not None:
        return bytes([_LETTERS[letter]]) if letter in _LETTERS else bytes(letter)
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if two is not None:
        return bytes([int(two, 16)])
    return chr(int(four or eight, 16)).encode()  # ValueError for what is no character


def escaped(data: bytes) -> str:
    """Bytes as protoc writes the default of a `bytes` field."""
    special = {10: "\\n", 13: "\\r", 9: "\\t", 34: '\\"', 39: "\\'", 92: "\\\\"}
    return "".join(
        special.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}")
        for byte in data
    )
