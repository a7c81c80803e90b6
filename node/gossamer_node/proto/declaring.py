"""What a file declares: its names, the types that it refers to, its enums and its services.

Whatever has no fields. A name is noted once; a type that is named is noted as a `Reference`, for
`names` to resolve when all files are read.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.descriptor_pb2 import (
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from gossamer_node.proto.tokens import SourceText, Token
from gossamer_node.proto.words import Words

_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1


@dataclass(frozen=True, slots=True)
class Reference:
    """A type that is named, and where the descriptor wants its full name.

    Attributes:
        at: its offset in the file.
        scope: the full name of the message or package in which it stands.
        holder: the descriptor whose field `slot` is to be set.
        slot: `type_name`, `extendee`, `input_type` or `output_type`.
    """

    at: int
    name: str
    scope: str
    holder: FieldDescriptorProto | MethodDescriptorProto
    slot: str


@dataclass(slots=True)
class ParsedFile:
    """A file as far as it can be understood alone.

    Attributes:
        imports: the path of each import, and its offset.
        defined: what the file defines, by full name: `message`, `enum` or `other`.
    """

    source: SourceText
    proto: FileDescriptorProto
    imports: list[tuple[str, int]] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    defined: dict[str, str] = field(default_factory=dict)


class Declaring(Words):
    """The rules of declarations without fields."""

    def __init__(self, source: SourceText, name: str) -> None:
        super().__init__(source)
        self._result = ParsedFile(source, FileDescriptorProto(name=name))
        self._proto3 = False

    def _define(self, scope: str, token: Token, kind: str = "other") -> str:
        full_name = f"{scope}.{token.text}" if scope else token.text
        if full_name in self._result.defined:
            raise self._wrong(token, f"expected a new name, found {full_name} a second time")
        self._result.defined[full_name] = kind
        return full_name

    def _refer(
        self,
        scope: str,
        holder: FieldDescriptorProto | MethodDescriptorProto,
        slot: str,
        named: tuple[str, Token],
    ) -> None:
        name, token = named
        self._result.references.append(Reference(token.at, name, scope, holder, slot))

    def _package(self) -> str:
        return self._result.proto.package

    def _reserved_names(self) -> list[str]:
        names = [self._text("a name in quotes")]
        while self._accept(","):
            names.append(self._text("a name in quotes"))
        return names

    def _ranges(self, least: int, most: int) -> list[tuple[int, int]]:
        """`2, 9 to 11, 40 to max`, both ends of each included."""
        found = []
        while True:
            start = end = self._whole("a number", least, most)
            if self._accept("to"):
                end = most if self._accept("max") else self._whole("a number", start, most)
            found.append((start, end))
            if not self._accept(","):
                return found

    # --- enums and services

    def _enum(self, add: Callable[[], EnumDescriptorProto], scope: str) -> None:
        token = self._name("the enum's name")
        proto = add()
        proto.name = token.text
        self._define(scope, token, "enum")
        numbers: dict[int, Token] = {}
        first_again: Token | None = None
        self._expect("{")
        while not self._accept("}"):
            if self._accept(";"):
                continue
            if self._accept("option"):
                self._enum_option(proto)
                continue
            if self._accept("reserved"):
                self._enum_reserved(proto)
                continue
            name = self._name("the name of an enum's value")
            self._define(scope, name)
            self._expect("=")
            at = self._here
            number = self._whole("the value's number", _INT32_MIN, _INT32_MAX)
            if not numbers and self._proto3 and number:
                raise self._wrong(at, f"expected 0 first, as proto3 wants it, found {number}")
            if number in numbers and first_again is None:
                first_again = at
            numbers[number] = at
            proto.value.add(name=name.text, number=number)
            self._skip_bracketed_options()
            self._expect(";")
        if not numbers:
            raise self._wrong(token, f"expected a value in the enum {token.text}, found none")
        if first_again is not None and not proto.options.allow_alias:
            raise self._wrong(
                first_again, "expected a number of its own, or `option allow_alias = true;`"
            )

    def _enum_option(self, proto: EnumDescriptorProto) -> None:
        if not self._sees("allow_alias", "="):
            self._option()
            return
        self._next += 2
        proto.options.allow_alias = self._flag()
        self._expect(";")

    def _enum_reserved(self, proto: EnumDescriptorProto) -> None:
        if self._here.kind == "text":
            proto.reserved_name.extend(self._reserved_names())
        else:
            for start, end in self._ranges(_INT32_MIN, _INT32_MAX):
                proto.reserved_range.add(start=start, end=end)
        self._expect(";")

    def _service(self, proto: ServiceDescriptorProto) -> None:
        token = self._name("the service's name")
        proto.name = token.text
        scope = self._define(self._package(), token)
        self._expect("{")
        while not self._accept("}"):
            if self._accept(";"):
                continue
            if self._accept("option"):
                self._option()
                continue
            if not self._accept("rpc"):
                raise self._unexpected("`rpc`, `option` or `}`")
            self._method(proto.method.add(), scope)

    def _method(self, proto: MethodDescriptorProto, scope: str) -> None:
        token = self._name("the method's name")
        proto.name = token.text
        self._define(scope, token)
        proto_streams = []
        for slot in ("input_type", "output_type"):
            self._expect("(")
            streams = self._here.text == "stream" and self._tokens[self._next + 1].text != ")"
            if streams:
                self._take()
            proto_streams.append(streams)
            self._refer(scope, proto, slot, self._dotted("a message's name", rooted=True))
            self._expect(")")
            if slot == "input_type":
                self._expect("returns")
        proto.client_streaming, proto.server_streaming = proto_streams
        if self._accept(";"):
            return
        self._expect("{")
        while not self._accept("}"):
            if not self._accept(";"):
                self._expect("option")
                self._option()
