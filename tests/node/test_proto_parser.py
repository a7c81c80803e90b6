"""The parser of .proto files beside protoc's, on what is easy to get wrong, and on any text."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import grpc_tools
import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from hypothesis import example, given
from hypothesis import strategies as st

from gossamer_node.engines import zeebe
from gossamer_node.proto import ProtoError, Schema
from gossamer_node.proto.parser import parse
from gossamer_node.proto.schema import (
    ALL_BYTES_MAX,
    FILE_BYTES_MAX,
    compile_schema,
    describe,
    load_schema,
)
from gossamer_node.service.spec import Grpc, ServiceSpec

PROTOS = Path(__file__).parent / "protos"
ZEEBE = Path(zeebe.__file__).parent / "gateway.proto"
BUNDLED = Path(grpc_tools.__file__).parent / "_proto"
WELL_KNOWN = ("any", "duration", "empty", "field_mask", "source_context", "struct", "timestamp")


def protoc(folder: Path, *names: str, imports: bool = False) -> bytes:
    """What protoc compiles of files in a folder."""
    out = folder / "compiled.pb"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{BUNDLED}"]
    command += ["--include_imports"] if imports else []
    subprocess.run([*command, f"--descriptor_set_out={out}", *names], check=True)
    return out.read_bytes()


def plain(file: FileDescriptorProto) -> FileDescriptorProto:
    """A descriptor without the options that the parser reads past, and protoc's filled-in names."""
    file = FileDescriptorProto.FromString(file.SerializeToString())
    file.ClearField("options")
    waiting: list[DescriptorProto] = list(file.message_type)
    enums: list[EnumDescriptorProto] = list(file.enum_type)
    fields: list[FieldDescriptorProto] = list(file.extension)
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        enums += message.enum_type
        fields += [*message.field, *message.extension]
        is_map = message.options.map_entry
        message.ClearField("options")
        if is_map:
            message.options.map_entry = True
        for part in (*message.oneof_decl, *message.extension_range):
            part.ClearField("options")
    for enum in enums:
        alias = enum.options.HasField("allow_alias")
        enum.ClearField("options")
        if alias:
            enum.options.allow_alias = True
        for value in enum.value:
            value.ClearField("options")
    for one in fields:
        packed = one.options.packed if one.options.HasField("packed") else None
        one.ClearField("options")
        if packed is not None:
            one.options.packed = packed
        if one.json_name == json_name(one.name):
            one.ClearField("json_name")
    for service in file.service:
        service.ClearField("options")
        for method in service.method:
            method.ClearField("options")
            for flag in ("client_streaming", "server_streaming"):
                if not getattr(method, flag):
                    method.ClearField(flag)
    return file


def json_name(name: str) -> str:
    first, *words = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in words)


def copy(folder: Path, files: Iterable[Path]) -> dict[str, bytes]:
    """Files of other places in one folder. A package of protobuf's own gets another name."""
    for file in files:
        text = file.read_text().replace("google.protobuf", "copied").replace("google/protobuf/", "")
        (folder / file.name).write_text(text)
    return {file.name: (folder / file.name).read_bytes() for file in files}


def test_the_same_descriptors_as_protoc_makes(tmp_path: Path) -> None:
    contents = {one.name: one.read_bytes() for one in (ZEEBE, *PROTOS.glob("*.proto"))}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    theirs = FileDescriptorSet.FromString(protoc(tmp_path, *contents))
    made = describe(contents)
    assert len(theirs.file) == len(contents) == 3
    for file in theirs.file:
        assert plain(made[file.name]) == plain(file), file.name


def test_the_same_of_the_well_known_types(tmp_path: Path) -> None:
    files = [BUNDLED / "google" / "protobuf" / f"{one}.proto" for one in (*WELL_KNOWN, "wrappers")]
    contents = copy(tmp_path, files)
    made = describe(contents)
    for file in FileDescriptorSet.FromString(protoc(tmp_path, *contents)).file:
        assert plain(made[file.name]) == plain(file), file.name


@pytest.mark.parametrize("imports", [True, False])
def test_a_compiled_set_instead_of_the_files(tmp_path: Path, imports: bool) -> None:
    names = [one.name for one in PROTOS.glob("*.proto")]
    copied = {name: (PROTOS / name).read_bytes() for name in names}
    for name, data in copied.items():
        (tmp_path / name).write_bytes(data)
    compiled = compile_schema({"all.pb": protoc(tmp_path, *names, imports=imports)})
    assert signatures(compiled) == signatures(compile_schema(copied))
    assert compiled.methods["/modern.Shades/Count"].answers_stream


def signatures(schema: Schema) -> dict[str, tuple[str, str, bool, bool]]:
    return {
        path: (
            one.request.DESCRIPTOR.full_name,
            one.answer.DESCRIPTOR.full_name,
            one.asks_stream,
            one.answers_stream,
        )
        for path, one in schema.methods.items()
    }


def test_files_in_folders_are_imported_by_the_end_of_their_path() -> None:
    api = b'syntax = "proto3"; package api; message Http { string get = 1; }'
    user = b'import "google/api/http.proto"; message M { optional api.Http http = 1; }'
    compile_schema({"protos/google/api/http.proto": api, "user.proto": user})
    with pytest.raises(
        ProtoError, match=r"^user.proto:1:8: expected 'google/api/http.proto' among"
    ):
        compile_schema({"user.proto": user})
    with pytest.raises(ProtoError, match="found it 2 times"):
        compile_schema(
            {"a/google/api/http.proto": api, "b/google/api/http.proto": b"", "user.proto": user}
        )


WRONG = [
    ("message M { optional string = 1; }", "1:29: expected the field's name, found '='"),
    ("message M {\n  optional string a 1;\n}", "2:21: expected `=`, found '1'"),
    ("message M {", "1:12: expected `optional`, `required` or `repeated`, found the end of the f"),
    ("mesage M {}", "1:1: expected `message`, `enum`, `service`, `import`, `package`, `option`"),
    ('syntax = "proto4";', '1:10: expected "proto3" or "proto2", found \'"proto4"\''),
    ('edition = "2023";', '1:1: expected `syntax = "proto3";` or "proto2", found an edition; '),
    ("message M { string a = 1; }", "1:13: expected `optional`, `required` or `repeated`, found"),
    ("P message M { required string a = 1; }", "expected no `required` in proto3"),
    ("P message M { string a = 1 [default = 'x']; }", "expected no `default` in proto3"),
    ("P message M { Nothing a = 1; }", "expected a type that this file or its imports define"),
    (
        "P message M { string a = 1; string b = 1; }",
        "expected a number of its own, found 1 as in a",
    ),
    ("P message M { string a = 1; int32 a = 2; }", "expected a new name, found M.a a second time"),
    ("P message M { string a = 0; }", "expected the field's number from 1 to 536870911, found '0'"),
    ("P message M { string a = 19500; }", "expected a number not within 19000 to 19999"),
    ("P message M { reserved 1 to 5; string a = 3; }", "a number that is free, found 3 reserved"),
    ("P message M { reserved 'a'; string a = 3; }", "expected a field that is free, found a reser"),
    ("P message M { oneof o { } }", "expected a field in the oneof o, found none"),
    (
        "P message M { oneof o { repeated string a = 1; } }",
        "a field without label, as all in a one",
    ),
    (
        "P message M { map<float, string> a = 1; }",
        "expected a map's key: `string`, `bool` or a whol",
    ),
    ("P enum E { A = 1; }", "expected 0 first, as proto3 wants it, found 1"),
    ("P enum E { A = 0; B = 0; }", "expected a number of its own, or `option allow_alias = true;`"),
    ("P enum E { }", "expected a value in the enum E, found none"),
    ("P enum E { A = 99999999999; }", "expected the value's number from -2147483648 to 2147483647"),
    ("P service S { rpc A (M) returns (N); }", "expected a message that this file or its imports"),
    ("P service S { rpc A (int32) returns (N); }", "expected a message that this file or its impo"),
    (
        "P service S { method A (M) returns (N); }",
        "expected `rpc`, `option` or `}`, found 'method'",
    ),
    ("message M { optional int32 a = 1 [default = 'x']; }", "expected a whole number from -21474"),
    ("message M { optional int32 a = 1 [default = 3000000000]; }", "expected a whole number from"),
    ("message M { optional M a = 1 [default = X]; }", "expected no `default` of a field that is a"),
    ("message M { optional string a = 1 [default = '\\ud800']; }", "a text"),
    ("message M { optional string a = 1 [default = 'x]; }", "expected ' to end this text before"),
    ("/* for ever", "1:1: expected `*/` to end this comment, found none"),
    ("message M { optional int32 a = 12ab; }", "1:32: expected a number, found '12ab;'"),
    ("message é {}", "1:9: expected a word of the protobuf language, found 'é'"),
    ("option x = { a { b }", "expected `}` to end the option's value, found the end"),
    ("message " + "a" * 256 + " {}", "expected a name of at most 255 characters"),
    ("".join(f"message M{i} {{" for i in range(33)), "expected at most 32 messages in one another"),
    ("message M { optional E e = 1 [default = B]; } enum E { A = 0; }", "is refused by protobuf: "),
    ("package google.protobuf; message Timestamp {}", "the package google.protobuf is protobuf's"),
    (
        "P message M {" + "".join(f"bool f{i} = {i + 1};" for i in range(1001)) + "}",
        "the message 'M' has 1,001 fields; ",
    ),
    (";" * 250_001, "a.proto:1:250001: expected the file to end after 250,000 words"),
    ('import "a.proto";', "a.proto imports itself by way of its imports"),
    ("message M { option message_set_wire_format = true; }", "expected an option that is in use"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG, ids=[text[:60] for text, _ in WRONG])
def test_what_is_wrong_is_said_with_its_place(text: str, sentence: str) -> None:
    text = text.replace("P ", 'syntax = "proto3"; ', 1) if text.startswith("P ") else text
    with pytest.raises(ProtoError) as caught:
        compile_schema({"a.proto": text.encode()})
    assert sentence in str(caught.value) and str(caught.value).startswith("a.proto")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_junk_that_is_no_text() -> None:
    with pytest.raises(ProtoError, match=r"^a.proto:2: a byte that is no UTF-8"):
        compile_schema({"a.proto": b"\n\xff"})
    with pytest.raises(ProtoError, match=r"neither named \*.proto nor a compiled descriptor set"):
        compile_schema({"a.pb": b"\xff\xff"})


def test_imports_in_a_ring() -> None:
    ring = {f"{i}.proto": f'import "{(i + 1) % 3}.proto";'.encode() for i in range(3)}
    with pytest.raises(ProtoError, match="imports itself by way of its imports"):
        compile_schema(ring)


def test_only_what_is_imported_is_seen() -> None:
    files = {
        "a.proto": b"package p; message A {}",
        "b.proto": b'package p; import public "a.proto"; message B {}',
        "c.proto": b'package p; import "b.proto"; message C { optional A a = 1; }',
        "d.proto": b'package p; import "c.proto"; message D { optional C c = 1; }',
    }
    compile_schema(files)
    hidden = b'package p; import "c.proto"; message D { optional A a = 1; }'
    with pytest.raises(ProtoError, match=r"^d.proto:1:51: .*, found A\.$"):
        compile_schema(files | {"d.proto": hidden})


def service(folder: Path, *names: str) -> ServiceSpec:
    return ServiceSpec(folder / "service.yaml", "s", "1.0.0", grpc=Grpc("h", 1, names))


def test_files_are_read_beside_the_service_and_bounded(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.proto").write_bytes((PROTOS / "modern.proto").read_bytes())
    schema = load_schema(service(tmp_path, "sub/a.proto"))
    assert schema and len(schema.methods) == 7
    (tmp_path / "large.proto").write_bytes(b" " * (FILE_BYTES_MAX + 1))
    (tmp_path / "none.proto").write_bytes(b"message M {}")
    fill = [f"fill{i}.proto" for i in range(5)]
    for name in fill:
        (tmp_path / name).write_bytes(b" " * (ALL_BYTES_MAX // 5 + 1))
    for names, sentence in (
        (["absent.proto"], "absent.proto is not there, or no file; put it beside service.yaml."),
        (["sub"], "sub is not there, or no file; "),
        (["../a.proto"], "../a.proto lies outside the service's folder; "),
        (["/etc/hostname"], "/etc/hostname lies outside the service's folder; "),
        (["large.proto"], "large.proto is larger than 1,048,576 bytes; "),
        (fill, "its proto-files have 4,194,305 bytes; "),
        (["none.proto"], "its proto-files define no `service`, so there is nothing to call; "),
    ):
        with pytest.raises(ProtoError) as caught:
            load_schema(service(tmp_path, *names))
        assert sentence in str(caught.value)
    assert load_schema(ServiceSpec(tmp_path / "service.yaml", "s", "1.0.0")) is None


WORDS = (
    *("message", "enum", "service", "rpc", "returns", "stream", "oneof", "map", "group", "extend"),
    *("extensions", "reserved", "optional", "required", "repeated", "import", "package", "option"),
    *("syntax", "=", '"proto3"', "{", "}", "(", ")", "<", ">", "[", "]", ";", ",", ".", "-", "to"),
    *("max", "A", "B", "a", "b", "0", "1", "2", "0x7", "1.5", "string", "int32", "default", "'x'"),
    *("true", "inf", "packed", "json_name", "allow_alias", '"google/protobuf/any.proto"', "// c\n"),
)
FILES = [one.read_text() for one in (ZEEBE, *PROTOS.glob("*.proto"))]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(FILES))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 30)))
    return text[:start] + draw(st.sampled_from(("", *WORDS))) + text[end:]


@given(st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join) | mutated())
@example("message " * 10_000)
@example("message M {" * 10_000)
@example("option a = " + "{" * 100_000)
@example("/" * 100_000)
@example("message M { optional a" + ".a" * 100_000)
def test_any_text_gives_a_schema_or_a_sentence(text: str) -> None:
    try:
        compile_schema({"a.proto": text.encode("utf-8", "replace")})
    except ProtoError as error:
        assert str(error).startswith("a.proto") and "\n" not in str(error)


COMPILED = FileDescriptorSet(
    file=describe({one.name: one.read_bytes() for one in PROTOS.iterdir()}).values()
).SerializeToString()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(COMPILED)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@given(st.binary() | damaged())
def test_any_bytes_give_a_schema_or_a_sentence(data: bytes) -> None:
    for name in ("a.proto", "a.pb"):
        try:
            compile_schema({name: data})
        except ProtoError as error:
            assert "\n" not in str(error) and len(str(error)) < 1_000


def test_errors_are_short_and_on_one_line() -> None:
    long = ".".join(["a" * 200] * 1_000)
    texts = (
        f"package {long};",
        f"message M {{ optional {long} a = 1; }}",
        'import "a\\nb' + "x" * 1_000 + '";',
        'import "a\\nb"; import "a\\nb";',
        "message M { optional int32 a = 1 [json_name = '" + "\\n" * 500 + "']; }",
    )
    for text in texts:
        with pytest.raises(ProtoError) as caught:
            compile_schema({"a.proto": text.encode()})
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    file = FileDescriptorProto(name="a\nb", package="p", dependency=["c\nd" * 1_000])
    for one in (file, FileDescriptorProto(name="a", dependency=file.dependency)):
        with pytest.raises(ProtoError) as caught:
            compile_schema({"a.pb": FileDescriptorSet(file=[one]).SerializeToString()})
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_descriptor_keeps_its_name() -> None:
    parsed = parse("label", "name.proto", b"\xef\xbb\xbfpackage p; message M {}")
    assert parsed.proto.name == "name.proto" and parsed.defined == {"p.M": "message"}
