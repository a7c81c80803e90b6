"""What every rule of the grammar is made of: taking words, and reading past options."""

from gossamer_node.proto.tokens import ProtoError, SourceText, Token, unquoted

DOTTED_CHARS_MAX = 1_024
"""Longest name with dots in it."""

_DIGITS_MAX = 30


class Words:
    """The words of a file and how far they are read. Every error names the place and what was
    expected there.
    """

    def __init__(self, source: SourceText) -> None:
        self._source = source
        self._tokens = source.tokens()
        self._next = 0

    @property
    def _here(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._here
        if token.kind != "end":
            self._next += 1
        return token

    def _sees(self, *texts: str) -> bool:
        """Whether these words are next."""
        found = self._tokens[self._next : self._next + len(texts)]
        return [one.text for one in found] == list(texts)

    def _accept(self, text: str) -> bool:
        if self._here.text != text:
            return False
        self._next += 1
        return True

    def _expect(self, text: str) -> Token:
        if self._here.text != text or self._here.kind == "end":
            raise self._unexpected(f"`{text}`")
        return self._take()

    def _unexpected(self, wanted: str) -> ProtoError:
        return self._wrong(self._here, f"expected {wanted}, found {self._here}")

    def _wrong(self, token: Token, sentence: str) -> ProtoError:
        return self._source.error(token.at, sentence)

    def _name(self, wanted: str) -> Token:
        if self._here.kind != "name":
            raise self._unexpected(wanted)
        return self._take()

    def _dotted(self, wanted: str, *, rooted: bool = False) -> tuple[str, Token]:
        """A name with dots, perhaps one at its beginning."""
        first = self._here
        name = "." if rooted and self._accept(".") else ""
        name += self._name(wanted).text
        while self._accept("."):
            name += "." + self._name("a name after `.`").text
            if len(name) > DOTTED_CHARS_MAX:
                raise self._wrong(first, f"expected at most {DOTTED_CHARS_MAX} characters of names")
        return name, first

    def _whole(self, wanted: str, least: int, most: int) -> int:
        start = self._here
        negative = least < 0 and self._accept("-")
        token = self._here
        if token.kind != "int":
            raise self._unexpected(wanted)
        self._take()
        value = whole(token)
        value = -value if negative and value is not None else value
        if value is None or not least <= value <= most:
            raise self._wrong(start, f"expected {wanted} from {least} to {most}, found {token}")
        return value

    def _string(self, wanted: str) -> bytes:
        if self._here.kind != "text":
            raise self._unexpected(wanted)
        told = b""
        while self._here.kind == "text":
            token = self._take()
            try:
                told += unquoted(token)
            except (ValueError, OverflowError) as error:
                raise self._wrong(token, f"expected a text, found one that has {error}") from None
        return told

    def _text(self, wanted: str) -> str:
        token = self._here
        try:
            return self._string(wanted).decode()
        except UnicodeDecodeError:
            raise self._wrong(token, f"expected {wanted} in UTF-8") from None

    # --- options

    def _option(self) -> str:
        """An option statement after its first word. Returns its name, if it is a plain one."""
        name = self._option_name()
        self._expect("=")
        self._skip_value()
        self._expect(";")
        return name

    def _option_name(self) -> str:
        name = ""
        while True:
            if self._accept("("):
                self._dotted("an option's name", rooted=True)
                self._expect(")")
                name += "()"
            else:
                name += self._name("an option's name").text
            if not self._accept("."):
                return name
            name += "."

    def _skip_value(self) -> None:
        if not self._accept("{"):
            self._constant()
            return
        depth = 1
        while depth:
            token = self._take()
            if token.kind == "end":
                raise self._wrong(token, "expected `}` to end the option's value, found the end")
            depth += {"{": 1, "}": -1}.get(token.text, 0)

    def _constant(self) -> list[Token]:
        if self._here.kind == "text":
            found = []
            while self._here.kind == "text":
                found.append(self._take())
            return found
        sign = [self._take()] if self._here.text in ("-", "+") else []
        if self._here.kind not in ("name", "int", "float"):
            raise self._unexpected("a value: a word, a number or a text")
        token = self._take()
        while token.kind == "name" and self._accept("."):
            self._name("a name after `.`")
        return [*sign, token]

    def _skip_bracketed_options(self) -> None:
        if self._accept("["):
            while True:
                self._option_name()
                self._expect("=")
                self._skip_value()
                if not self._accept(","):
                    break
            self._expect("]")

    def _flag(self) -> bool:
        if self._here.text not in ("true", "false"):
            raise self._unexpected("`true` or `false`")
        return self._take().text == "true"


def whole(token: Token) -> int | None:
    """An integer as the language writes it: decimal, 0x or 0 for octal. None for what is none."""
    text = token.text.lower()
    if len(text) > _DIGITS_MAX:
        return None
    try:
        if text.startswith("0x"):
            return int(text, 16)
        return int(text, 8) if text.startswith("0") else int(text)
    except ValueError:
        return None
