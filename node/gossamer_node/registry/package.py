"""A service as it is added: service.yaml, module, proto-files, and an operator's word for all.

The word is an order (`gossamer_mesh.orders`): "this name and version is this service.yaml, this
module and these files", each by SHA-256, or "this name and version is removed". It is for one mesh,
and its number says which of two orders about one version is the later one. So who receives the
order first can tell of everything that comes after whether it is what the operator meant.
`service.sig`, beside service.yaml, holds it in base64.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gossamer_mesh import orders
from gossamer_mesh.errors import OrderError
from gossamer_node.errors import InputError, NodeError, ServiceError
from gossamer_node.proto.bundle import BUNDLE_BYTES_MAX, pack_files
from gossamer_node.proto.schema import read_files
from gossamer_node.schema import Text
from gossamer_node.schema.source import FILE_BYTES_MAX
from gossamer_node.service.load import NAME, VERSION, loads, require_runnable
from gossamer_node.service.spec import ServiceSpec
from gossamer_node.wasm.loading.module import MODULE_BYTES_MAX, read_module

SIGNATURE_NAME = "service.sig"

SIGNATURE_BYTES_MAX = 4_096
"""An order about a service has some 400 bytes, in base64."""

ADD, REMOVE = "service.add", "service.remove"

_HASH_BYTES = sha256().digest_size


@dataclass(frozen=True, slots=True)
class Word:
    """What an operator says of one version of a service; its signature was checked.

    Attributes:
        number: of two words on one version, the one with the higher number counts.
        is_there: whether the version is to be there; False: it is removed.
        description, module: SHA-256 of service.yaml and of the module; empty for a removal.
        size: the module's, in bytes.
        order: the signed bytes.
        files: SHA-256 of the proto-files, packed (`proto.bundle`); empty where there are none.
        files_size: theirs, in bytes.
    """

    number: int
    name: str
    version: str
    is_there: bool
    description: bytes
    module: bytes
    size: int
    order: bytes
    files: bytes = b""
    files_size: int = 0


@dataclass(frozen=True, slots=True)
class Package:
    """What `add` takes.

    Attributes:
        description: service.yaml, byte by byte.
        order: an operator's, as it was found; not checked yet.
        files: the service's proto-files, packed; empty where it has none.
    """

    spec: ServiceSpec
    description: bytes
    wasm: bytes
    order: bytes | None
    files: bytes = b""


def read_package(path: Path, *, with_signature: bool = True) -> Package:
    """The service that a service.yaml describes, with its module and its signature, if wanted.

    Raises: Invalid, InputError, ServiceError: nothing that could run, or be kept.
    """
    try:
        with path.open("rb") as file:
            description = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check the path and its permissions."
        ) from error
    spec = loads(description, path)
    wasm = read_module(require_runnable(spec))
    files = pack_files(read_files(spec))
    order = _read_signature(path.with_name(SIGNATURE_NAME)) if with_signature else None
    return Package(spec, description, wasm, order, files)


def unpack(description: bytes, label: Path, module: Path, files: Path | None) -> ServiceSpec:
    """The service of a description that was kept or came from another node.

    Args:
        label: what errors call it. What it says of its module's path counts for nothing.
        module: the file that holds the module, whatever the description calls it.
        files: the one that holds the packed proto-files; None where there are none.

    Raises: InputError, ServiceError.
    """
    spec = loads(description, label)
    if (spec.grpc is not None) != (files is not None):
        raise ServiceError(
            f"{label}: the proto-files of service {spec.name} were not signed with it; sign it "
            "again with `gossamer service sign`."
        )
    return replace(spec, module=module, files=files)


def sign_addition(key: Ed25519PrivateKey, mesh_name: str, number: int, package: Package) -> bytes:
    """The order that says what a version is."""
    body: orders.Body = {
        "name": package.spec.name,
        "version": package.spec.version,
        "description": sha256(package.description).digest(),
        "module": sha256(package.wasm).digest(),
        "size": len(package.wasm),
    }
    if package.files:
        body |= {"files": sha256(package.files).digest(), "files_size": len(package.files)}
    return orders.sign(key, mesh_name, number, ADD, body)


def sign_removal(
    key: Ed25519PrivateKey, mesh_name: str, number: int, name: str, version: str
) -> bytes:
    """The order that a version is to be nowhere."""
    return orders.sign(key, mesh_name, number, REMOVE, {"name": name, "version": version})


def read_word(order: bytes, mesh_name: str, operators: Iterable[str]) -> Word:
    """What an operator of these says. Raises: OrderError; then it counts for nothing."""
    said = orders.read(order, mesh_name, operators)
    body = said.body
    name, version, size = body.get("name"), body.get("version"), body.get("size", 0)
    description, module = body.get("description", b""), body.get("module", b"")
    files, files_size = body.get("files", b""), body.get("files_size", 0)
    is_there = said.kind == ADD
    if (
        said.kind not in (ADD, REMOVE)
        or not isinstance(name, str)
        or not isinstance(version, str)
        or not _fits(NAME, name)
        or not _fits(VERSION, version)
        or type(size) is not int
        or not 0 <= size <= MODULE_BYTES_MAX
        or not isinstance(description, bytes)
        or not isinstance(module, bytes)
        or not isinstance(files, bytes)
        or len(files) not in (0, _HASH_BYTES)
        or type(files_size) is not int
        or not 0 <= files_size <= BUNDLE_BYTES_MAX
        or (is_there and (len(description), len(module)) != (_HASH_BYTES, _HASH_BYTES))
    ):
        raise OrderError("this is no order about a service that this version can read")
    return Word(
        said.number,
        name,
        version,
        is_there,
        description,
        module,
        size,
        order,
        files,
        files_size,
    )


def check(package: Package, mesh_name: str, operators: Iterable[str]) -> Word | None:
    """The operator's word for a package; None for one that nobody signed.

    Raises: ServiceError when there is a signature, and it is none for this package here.
    """
    if package.order is None:
        return None
    where = package.spec.path.with_name(SIGNATURE_NAME)
    again = f"sign it again with `gossamer service sign`, or remove {where}"
    try:
        word = read_word(package.order, mesh_name, operators)
    except OrderError as error:
        raise ServiceError(
            f"{where} does not count here: {error}; name its operator in mesh.operators, {again}."
        ) from error
    wanted = (package.spec.name, package.spec.version, True)
    if (word.name, word.version, word.is_there) != wanted or not is_meant(package, word):
        raise ServiceError(f"{where} is for something else than what lies beside it; {again}.")
    return word


def is_meant(package: Package, word: Word) -> bool:
    """Whether these are the bytes that the operator signed."""
    return (
        sha256(package.description).digest() == word.description
        and sha256(package.wasm).digest() == word.module
        and (sha256(package.files).digest() if package.files else b"") == word.files
    )


def write_signature(path: Path, order: bytes) -> Path:
    """Puts an order beside a service.yaml. Raises: NodeError when it cannot be written."""
    target = path.with_name(SIGNATURE_NAME)
    try:
        target.write_bytes(base64.b64encode(order) + b"\n")
    except OSError as error:
        raise NodeError(f"{target} cannot be written ({error.strerror}).") from error
    return target


def _fits(kind: Text, value: str) -> bool:
    return len(value) <= kind.chars_max and re.fullmatch(kind.pattern or "", value) is not None


def _read_signature(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            text = file.read(SIGNATURE_BYTES_MAX + 1)
        if len(text) > SIGNATURE_BYTES_MAX:
            raise binascii.Error
        return base64.b64decode(text.strip(), validate=True)
    except FileNotFoundError:
        return None
    except (OSError, binascii.Error) as error:
        raise ServiceError(
            f"{path} cannot be read as a signature; make it again with `gossamer service sign`, "
            "or remove it."
        ) from error
