"""One .proto file → a `FileDescriptorProto`, as protoc makes it, but for names and most options.

A recursive descent over the grammar of the protobuf language specification (proto2 and proto3).
Names of types stay as they are written, each noted as a `Reference` for `names` to resolve. Options
are read past, except those that change what a message means as JSON or on the wire: `packed`,
`json_name`, `default`, `allow_alias`. Nothing recurses with the text but messages in messages,
which are bounded; a rule of the language that matters to a call is held here, where its place is
known, and whatever else is wrong protobuf's own pool refuses.

Editions are not read here; protoc compiles them (`--descriptor_set_out`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    OneofDescriptorProto,
)

from gossamer_node.proto.declaring import Declaring, ParsedFile
from gossamer_node.proto.defaults import default_text
from gossamer_node.proto.tokens import SourceText, Token, shown

DEPTH_MAX = 32
"""Messages in messages; protoc's own bound."""

NUMBER_MAX = 2**29 - 1
_NUMBERS_OF_PROTOBUF = range(19_000, 20_000)

SCALARS = {
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "fixed64": FieldDescriptorProto.TYPE_FIXED64,
    "fixed32": FieldDescriptorProto.TYPE_FIXED32,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "sfixed32": FieldDescriptorProto.TYPE_SFIXED32,
    "sfixed64": FieldDescriptorProto.TYPE_SFIXED64,
    "sint32": FieldDescriptorProto.TYPE_SINT32,
    "sint64": FieldDescriptorProto.TYPE_SINT64,
}
_NO_KEYS = frozenset({"double", "float", "bytes"})

_LABELS = {
    "optional": FieldDescriptorProto.LABEL_OPTIONAL,
    "required": FieldDescriptorProto.LABEL_REQUIRED,
    "repeated": FieldDescriptorProto.LABEL_REPEATED,
}


def parse(label: str, name: str, data: bytes) -> ParsedFile:
    """A file's descriptor, its type names not resolved.

    Args:
        label: what errors call the file.
        name: the descriptor's name for it.

    Raises: ProtoError.
    """
    return _Parser(SourceText(label, data), name).file()


class _Parser(Declaring):
    # --- the file

    def file(self) -> ParsedFile:
        proto = self._result.proto
        self._syntax()
        if self._proto3:
            proto.syntax = "proto3"
        while self._here.kind != "end":
            token = self._here
            if self._accept(";"):
                continue
            if self._accept("import"):
                self._import()
            elif self._accept("package"):
                if proto.package:
                    raise self._wrong(token, "expected one package, found a second")
                proto.package, _ = self._dotted("the package's name")
                self._expect(";")
            elif self._accept("option"):
                self._option()
            elif self._accept("message"):
                self._message(proto.message_type.add, self._package(), 1)
            elif self._accept("enum"):
                self._enum(proto.enum_type.add, self._package())
            elif self._accept("extend"):
                self._extend(proto.extension.add, proto.message_type.add, self._package(), 1)
            elif self._accept("service"):
                self._service(proto.service.add())
            else:
                raise self._unexpected(
                    "`message`, `enum`, `service`, `import`, `package`, `option` or `extend`"
                )
        return self._result

    def _syntax(self) -> None:
        if self._sees("edition", "="):
            raise self._wrong(
                self._here,
                'expected `syntax = "proto3";` or "proto2", found an edition; compile the file '
                "with `protoc --descriptor_set_out` and name that",
            )
        if not self._accept("syntax"):
            return
        self._expect("=")
        token = self._here
        told = self._text('"proto3" or "proto2"')
        if told not in ("proto2", "proto3"):
            raise self._wrong(token, f'expected "proto3" or "proto2", found {token}')
        self._proto3 = told == "proto3"
        self._expect(";")

    def _import(self) -> None:
        proto = self._result.proto
        index = len(self._result.imports)
        if self._accept("public"):
            proto.public_dependency.append(index)
        elif self._accept("weak"):
            proto.weak_dependency.append(index)
        token = self._here
        path = self._text("the path of a .proto file in quotes")
        if path in proto.dependency:
            raise self._wrong(token, f"expected another file, found {shown(path)} imported twice")
        proto.dependency.append(path)
        self._result.imports.append((path, token.at))
        self._expect(";")

    def _field_options(self, proto: FieldDescriptorProto) -> None:
        if not self._accept("["):
            return
        while True:
            token = self._here
            name = self._option_name()
            self._expect("=")
            if name == "json_name":
                proto.json_name = self._text("a name in quotes")
            elif name == "packed":
                proto.options.packed = self._flag()
            elif name == "default":
                self._default(proto, token)
            else:
                self._skip_value()
            if not self._accept(","):
                break
        self._expect("]")

    def _default(self, proto: FieldDescriptorProto, token: Token) -> None:
        if self._proto3:
            raise self._wrong(token, "expected no `default` in proto3; its defaults are fixed")
        if proto.label == FieldDescriptorProto.LABEL_REPEATED:
            raise self._wrong(token, "expected no `default` of a repeated field")
        start = self._here
        words = self._constant()
        try:
            kind = proto.type if proto.HasField("type") else 0
            proto.default_value = default_text(kind, words)
        except ValueError as error:
            raise self._wrong(start, f"expected {error} as the field's default") from None

    # --- messages

    def _message(
        self,
        add: Callable[[], DescriptorProto],
        scope: str,
        depth: int,
        token: Token | None = None,
    ) -> None:
        """A message after its first word; or the body of the group that `token` names."""
        token = token or self._name("the message's name")
        if depth > DEPTH_MAX:
            raise self._wrong(token, f"expected at most {DEPTH_MAX} messages in one another")
        proto = add()
        proto.name = token.text
        body = _Message(proto, self._define(scope, token, "message"), depth)
        self._expect("{")
        while not self._accept("}"):
            self._message_part(body)
        self._check_reserved(body)
        self._add_synthetic_oneofs(body)

    def _message_part(self, body: "_Message") -> None:
        proto, scope = body.proto, body.scope
        if self._accept(";"):
            return
        if self._accept("message"):
            self._message(proto.nested_type.add, scope, body.depth + 1)
        elif self._accept("enum"):
            self._enum(proto.enum_type.add, scope)
        elif self._accept("extend"):
            self._extend(proto.extension.add, proto.nested_type.add, scope, body.depth)
        elif self._accept("option"):
            token = self._here
            if self._option() in ("message_set_wire_format", "map_entry"):
                raise self._wrong(token, f"expected an option that is in use, found {token}")
        elif self._accept("extensions"):
            self._extensions(body)
        elif self._accept("reserved"):
            self._reserved(body)
        elif self._accept("oneof"):
            self._oneof(body)
        else:
            self._field(body, proto.field.add, proto.nested_type.add, scope, body.depth)

    def _oneof(self, body: "_Message") -> None:
        token = self._name("the oneof's name")
        self._define(body.scope, token)
        index = len(body.proto.oneof_decl)
        body.proto.oneof_decl.append(OneofDescriptorProto(name=token.text))
        self._expect("{")
        count = 0
        while not self._accept("}"):
            if self._accept(";"):
                continue
            if self._accept("option"):
                self._option()
                continue
            if self._here.text in _LABELS or self._sees("map", "<"):
                raise self._unexpected("a field without label, as all in a oneof are,")
            add = body.proto.field.add
            made = self._field(
                body, add, body.proto.nested_type.add, body.scope, body.depth, in_oneof=True
            )
            made.oneof_index = index
            count += 1
        if not count:
            raise self._wrong(token, f"expected a field in the oneof {token.text}, found none")

    def _extend(
        self,
        add: Callable[[], FieldDescriptorProto],
        add_type: Callable[[], DescriptorProto],
        scope: str,
        depth: int,
    ) -> None:
        extendee = self._dotted("the name of the message to extend", rooted=True)
        self._expect("{")
        while not self._accept("}"):
            if self._accept(";"):
                continue
            made = self._field(None, add, add_type, scope, depth)
            self._refer(scope, made, "extendee", extendee)

    def _field(
        self,
        body: "_Message | None",
        add: Callable[[], FieldDescriptorProto],
        add_type: Callable[[], DescriptorProto],
        scope: str,
        depth: int,
        *,
        in_oneof: bool = False,
    ) -> FieldDescriptorProto:
        """Args: body: the message whose field it is; None for an extension."""
        start = self._here
        if body is not None and self._sees("map", "<"):
            return self._map(body)
        label = None
        if self._here.text in _LABELS and not in_oneof:
            label = self._take().text
        if label == "required" and self._proto3:
            raise self._wrong(start, "expected no `required` in proto3")
        if label is None and not self._proto3 and not in_oneof:
            raise self._unexpected("`optional`, `required` or `repeated`")
        proto = add()
        proto.label = _LABELS[label or "optional"]
        if self._here.text == "group" and self._tokens[self._next + 1].kind == "name":
            self._group(body, proto, add_type, scope, depth)
            return proto
        if self._here.text in SCALARS:
            proto.type = SCALARS[self._take().text]
        else:
            self._refer(scope, proto, "type_name", self._dotted("a field's type", rooted=True))
        name = self._name("the field's name")
        self._finish_field(body, proto, name, scope)
        if label == "optional" and self._proto3:
            proto.proto3_optional = True
            if body is not None:
                body.optional.append(proto)
        self._expect(";")
        return proto

    def _finish_field(
        self, body: "_Message | None", proto: FieldDescriptorProto, name: Token, scope: str
    ) -> None:
        """What follows a field's name: `= number [options]`."""
        proto.name = name.text
        self._define(scope, name)
        self._expect("=")
        token = self._here
        proto.number = self._whole("the field's number", 1, NUMBER_MAX)
        if proto.number in _NUMBERS_OF_PROTOBUF:
            raise self._wrong(token, "expected a number not within 19000 to 19999, protobuf's own")
        if body is not None:
            if proto.number in body.numbers:
                raise self._wrong(
                    token,
                    f"expected a number of its own, found {proto.number} as in "
                    f"{body.numbers[proto.number][0]}",
                )
            body.numbers[proto.number] = (name.text, token)
        self._field_options(proto)

    def _group(
        self,
        body: "_Message | None",
        proto: FieldDescriptorProto,
        add_type: Callable[[], DescriptorProto],
        scope: str,
        depth: int,
    ) -> None:
        word = self._take()
        if self._proto3:
            raise self._wrong(word, "expected no `group` in proto3")
        name = self._name("the group's name")
        if not name.text[0].isupper():
            raise self._wrong(name, "expected a group's name with a capital first")
        proto.type = FieldDescriptorProto.TYPE_GROUP
        self._finish_field(body, proto, name._replace(text=name.text.lower()), scope)
        self._refer(scope, proto, "type_name", (name.text, name))
        self._message(add_type, scope, depth + 1, name)

    def _map(self, body: "_Message") -> FieldDescriptorProto:
        self._take()
        self._expect("<")
        if self._here.text not in SCALARS or self._here.text in _NO_KEYS:
            raise self._unexpected("a map's key: `string`, `bool` or a whole number's type")
        key = SCALARS[self._take().text]
        self._expect(",")
        proto = body.proto.field.add(label=FieldDescriptorProto.LABEL_REPEATED)
        entry = body.proto.nested_type.add()
        entry.options.map_entry = True
        optional = FieldDescriptorProto.LABEL_OPTIONAL
        entry.field.add(name="key", number=1, label=optional, type=key)
        value = entry.field.add(name="value", number=2, label=optional)
        if self._here.text in SCALARS:
            value.type = SCALARS[self._take().text]
        else:
            named = self._dotted("the type of a map's values", rooted=True)
            self._refer(body.scope, value, "type_name", named)
        self._expect(">")
        name = self._name("the field's name")
        entry.name = _entry_name(name.text)
        self._define(body.scope, name._replace(text=entry.name), "message")
        self._finish_field(body, proto, name, body.scope)
        proto.type = FieldDescriptorProto.TYPE_MESSAGE
        proto.type_name = f".{body.scope}.{entry.name}"
        self._expect(";")
        return proto

    def _extensions(self, body: "_Message") -> None:
        if self._proto3:
            raise self._unexpected("no `extensions` in proto3; found it before")
        for start, end in self._ranges(1, NUMBER_MAX):
            body.proto.extension_range.add(start=start, end=end + 1)
        self._skip_bracketed_options()
        self._expect(";")

    def _reserved(self, body: "_Message") -> None:
        if self._here.kind == "text":
            body.proto.reserved_name.extend(self._reserved_names())
        else:
            for start, end in self._ranges(1, NUMBER_MAX):
                body.proto.reserved_range.add(start=start, end=end + 1)
        self._expect(";")

    def _check_reserved(self, body: "_Message") -> None:
        names = set(body.proto.reserved_name)
        ranges = [(one.start, one.end) for one in body.proto.reserved_range]
        ranges += [(one.start, one.end) for one in body.proto.extension_range]
        for number, (name, token) in body.numbers.items():
            if name in names:
                raise self._wrong(token, f"expected a field that is free, found {name} reserved")
            if any(start <= number < end for start, end in ranges):
                raise self._wrong(token, f"expected a number that is free, found {number} reserved")

    def _add_synthetic_oneofs(self, body: "_Message") -> None:
        """proto3's `optional`: a oneof of its own for each, behind all others."""
        taken = {one.name for one in body.proto.oneof_decl}
        taken |= {one.name for one in body.proto.field}
        for proto in body.optional:
            name = proto.name if proto.name.startswith("_") else f"_{proto.name}"
            while name in taken:
                name = f"X{name}"
            taken.add(name)
            proto.oneof_index = len(body.proto.oneof_decl)
            body.proto.oneof_decl.append(OneofDescriptorProto(name=name))


@dataclass(slots=True)
class _Message:
    """A message while it is read: `numbers` are its fields' names and places."""

    proto: DescriptorProto
    scope: str
    depth: int
    numbers: dict[int, tuple[str, Token]] = field(default_factory=dict)
    optional: list[FieldDescriptorProto] = field(default_factory=list)


def _entry_name(field_name: str) -> str:
    """The message behind a map: protoc's MapEntryName."""
    words = field_name.split("_")
    return "".join(word[:1].upper() + word[1:] for word in words) + "Entry"
