"""A service's `proto-files` → the methods that it may call.

A file named `*.proto` is read as it is; any other is a set of descriptors that protoc compiled
(`--descriptor_set_out`, best with `--include_imports`). Imports are found among the named files:
by the whole path, or by its end (`google/api/http.proto` is `protos/google/api/http.proto`). The
files of protobuf itself (`google/protobuf/timestamp.proto`, ...) come with the node. All goes into
a pool of descriptors of the service's own, so two services may differ on a name.

The files are somebody else's work: their number, size and nesting are bounded, and so is what a
message can cost in memory (`FIELDS_MAX`), because a field takes room in each message whether it is
set or not.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gossamer_node.proto.bundle import BUNDLE_BYTES_MAX, unpack_files
from gossamer_node.proto.declaring import ParsedFile
from gossamer_node.proto.names import defined_by, packages, resolve
from gossamer_node.proto.parser import parse
from gossamer_node.proto.tokens import NAME_CHARS_MAX, ProtoError, shown
from gossamer_node.service.spec import ServiceSpec

FILE_BYTES_MAX = 2**20
"""Largest file. Zeebe's gateway has 32 KiB, compiled or not."""

ALL_BYTES_MAX = 4 * 2**20
"""All files of a service together. A MiB takes about a second to read."""

FIELDS_MAX = 1_000
"""Fields of one message; its memory grows with them even when it is empty."""

REFUSAL_CHARS_MAX = 500
"""Of protobuf's own words on what it refuses."""

_OURS = "google.protobuf"
_BUNDLED = (
    *("any", "api", "descriptor", "duration", "empty", "field_mask", "source_context", "struct"),
    *("timestamp", "type", "wrappers"),
)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a gRPC service.

    Attributes:
        path: `/package.Service/Method`.
        asks_stream, answers_stream: whether it takes, and gives, many messages.
    """

    path: str
    request: type[Message]
    answer: type[Message]
    asks_stream: bool
    answers_stream: bool


class Schema:
    """The methods that a service's files define, by path, and the types that belong to them.

    Attributes:
        fields_max: of the message with the most of them.
    """

    def __init__(self, methods: Mapping[str, Method], pool: DescriptorPool, fields_max: int):
        self.methods = methods
        self.pool = pool
        self.fields_max = fields_max


def read_files(spec: ServiceSpec) -> dict[str, bytes]:
    """The contents of a service's `proto-files`, by their names. Raises: ProtoError."""
    folder = spec.path.parent
    contents: dict[str, bytes] = {}
    names = spec.grpc.proto_files if spec.grpc else ()
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ProtoError(
                f"{spec.path}: {name} lies outside the service's folder; put it beside the file."
            )
        if spec.files is None:
            contents[name] = _read(folder / path)
    if names and spec.files is not None:
        contents = unpack_files(_read(spec.files, BUNDLE_BYTES_MAX), names)
    size = sum(map(len, contents.values()))
    if size > ALL_BYTES_MAX:
        raise ProtoError(
            f"{spec.path}: its proto-files have {size:,} bytes; at most {ALL_BYTES_MAX:,} are read."
        )
    return contents


def load_schema(spec: ServiceSpec) -> Schema | None:
    """What a service's `grpc` lets it call; None without one.

    Raises: ProtoError, with file, line, column and what was expected.
    """
    if spec.grpc is None:
        return None
    schema = compile_schema(read_files(spec), spec.path.parent)
    if not schema.methods:
        raise ProtoError(
            f"{spec.path}: its proto-files define no `service`, so there is nothing to call; name "
            "the file that has it."
        )
    return schema


def describe(
    contents: Mapping[str, bytes], folder: Path = Path()
) -> dict[str, FileDescriptorProto]:
    """The descriptors of files by name, each behind those that it imports, bundled ones included.

    Args:
        contents: of each file, by its name in `proto-files`.
        folder: how errors call the place of the files.

    Raises: ProtoError.
    """
    return _Compiler(contents, folder).files()


def compile_schema(contents: Mapping[str, bytes], folder: Path = Path()) -> Schema:
    """A schema from files; as `describe`."""
    files = describe(contents, folder)
    pool = DescriptorPool()
    for name, file in files.items():
        try:
            pool.AddSerializedFile(file.SerializeToString())
        except Exception as error:
            words = " ".join(str(error).split())[:REFUSAL_CHARS_MAX]
            raise ProtoError(f"{folder / name} is refused by protobuf: {words}.") from None
    methods: dict[str, Method] = {}
    for file in files.values():
        for service in file.service:
            full_name = f"{file.package}.{service.name}" if file.package else service.name
            for method in pool.FindServiceByName(full_name).methods:
                path = f"/{full_name}/{method.name}"
                methods[path] = Method(
                    path,
                    GetMessageClass(method.input_type),
                    GetMessageClass(method.output_type),
                    method.client_streaming,
                    method.server_streaming,
                )
    return Schema(methods, pool, max(map(_fields_max, files.values()), default=0))


def _read(path: Path, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    try:
        if not path.is_file():
            raise ProtoError(f"{path} is not there, or no file; put it beside service.yaml.")
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise ProtoError(f"{path} cannot be read ({error.strerror}); mend its rights.") from error
    if len(data) > bytes_max:
        raise ProtoError(f"{path} is larger than {bytes_max:,} bytes; no API is so large.")
    return data


def bundled(name: str) -> FileDescriptorProto | None:
    """A file that comes with protobuf, by its path in imports."""
    path = PurePosixPath(name)
    if str(path.parent) != "google/protobuf" or path.suffix != ".proto":
        return None
    if path.stem not in _BUNDLED:
        return None
    module = importlib.import_module(f"google.protobuf.{path.stem}_pb2")
    return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


class _Compiler:
    def __init__(self, contents: Mapping[str, bytes], folder: Path) -> None:
        self._folder = folder
        self._parsed: dict[str, ParsedFile] = {}
        self._files: dict[str, FileDescriptorProto] = {}
        self._defined: dict[str, dict[str, str]] = {}
        for name, data in contents.items():
            if name.endswith(".proto"):
                parsed = self._parsed[name] = parse(self._label(name), name, data)
                self._files[name] = parsed.proto
            else:
                self._take_set(name, data)

    def _label(self, name: str) -> str:
        return str(self._folder / name)

    def _take_set(self, name: str, data: bytes) -> None:
        try:
            compiled = FileDescriptorSet.FromString(data)
        except DecodeError:
            raise ProtoError(
                f"{self._label(name)} is neither named *.proto nor a compiled descriptor set; make "
                "one with `protoc --include_imports --descriptor_set_out`."
            ) from None
        if not compiled.file:
            raise ProtoError(f"{self._label(name)} is a descriptor set without a file in it.")
        for file in compiled.file:
            if not file.name.isprintable() or len(file.name) > NAME_CHARS_MAX:
                raise ProtoError(f"{self._label(name)} holds a file named {shown(file.name)}.")
            if bundled(file.name) is None:
                self._files[file.name] = file

    def files(self) -> dict[str, FileDescriptorProto]:
        for name, file in self._files.items():
            if file.package == _OURS or file.package.startswith(f"{_OURS}."):
                raise ProtoError(
                    f"{self._label(name)}: the package {_OURS} is protobuf's own, and the "
                    "node brings it; take the file off proto-files."
                )
            _check_bounds(self._label(name), file)
        for parsed in self._parsed.values():
            self._bind_imports(parsed)
        order = self._in_order()
        for name in order:
            if name in self._parsed:
                self._resolve(name)
        return {name: self._files[name] for name in order}

    def _bind_imports(self, parsed: ParsedFile) -> None:
        """Each import's path becomes the name of the file that is meant."""
        for index, (path, at) in enumerate(parsed.imports):
            if path in self._files:
                continue
            if (ours := bundled(path)) is not None:
                self._files[path] = ours
                continue
            ends = [name for name in self._files if name.endswith(f"/{path}")]
            if len(ends) != 1:
                many = f"found it {len(ends)} times" if ends else "found none"
                raise parsed.source.error(
                    at, f"expected {shown(path)} among the service's proto-files, {many}"
                )
            parsed.proto.dependency[index] = ends[0]

    def _in_order(self) -> list[str]:
        """Every file behind those that it imports."""
        order: list[str] = []
        state: dict[str, int] = {}
        for root in list(self._files):
            waiting = [root]
            while waiting:
                name = waiting[-1]
                if state.get(name) == 2:
                    waiting.pop()
                    continue
                below = [one for one in self._dependencies(name) if state.get(one) != 2]
                if state.get(name) == 1 and any(state.get(one) == 1 for one in below):
                    raise ProtoError(f"{self._label(name)} imports itself by way of its imports.")
                state[name] = 1
                if below:
                    waiting += below
                else:
                    state[name] = 2
                    order.append(name)
                    waiting.pop()
        return order

    def _dependencies(self, name: str) -> list[str]:
        for one in self._files[name].dependency:
            if one not in self._files:
                ours = bundled(one)
                if ours is None:
                    raise ProtoError(
                        f"{self._label(name)} needs {shown(one)}; compile the set with "
                        "`--include_imports`, or name that file as well."
                    )
                self._files[one] = ours
        return list(self._files[name].dependency)

    def _resolve(self, name: str) -> None:
        seen: dict[str, str] = {}
        prefixes: set[str] = set()
        for one in self._visible(name):
            if one not in self._defined:
                parsed = self._parsed.get(one)
                self._defined[one] = parsed.defined if parsed else defined_by(self._files[one])
            seen |= self._defined[one]
            prefixes |= packages([self._files[one].package])
        resolve(self._parsed[name], seen, prefixes)

    def _visible(self, name: str) -> set[str]:
        found = {name}
        waiting = list(self._files[name].dependency)
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                file = self._files[one]
                waiting += [file.dependency[index] for index in file.public_dependency]
        return found


def _messages(file: FileDescriptorProto) -> Iterator[DescriptorProto]:
    waiting: list[DescriptorProto] = list(file.message_type)
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        yield message


def _fields_max(file: FileDescriptorProto) -> int:
    return max((len(one.field) for one in _messages(file)), default=0)


def _check_bounds(label: str, file: FileDescriptorProto) -> None:
    """Raises: ProtoError."""
    for message in _messages(file):
        names = [message.name, *(one.name for one in message.field)]
        names += [one.json_name for one in message.field]
        names += [one.name for enum in message.enum_type for one in enum.value]
        names += [one.name for one in message.extension]
        _check_names(label, names)
        if len(message.field) > FIELDS_MAX:
            raise ProtoError(
                f"{label}: the message {shown(message.name)} has {len(message.field):,} fields; at "
                f"most {FIELDS_MAX:,} are read."
            )
        if message.options.message_set_wire_format:
            raise ProtoError(
                f"{label}: {shown(message.name)} is a message set, which is not supported."
            )
    _check_names(label, [one.name for enum in file.enum_type for one in enum.value])
    _check_names(label, [one.name for one in file.extension])


def _check_names(label: str, names: list[str]) -> None:
    for name in names:
        if len(name) > NAME_CHARS_MAX:
            raise ProtoError(
                f"{label}: the name {shown(name)} is longer than {NAME_CHARS_MAX} characters."
            )
