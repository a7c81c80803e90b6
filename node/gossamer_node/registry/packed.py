"""A ServiceSpec as bytes: what was read from a service.yaml once, without reading YAML again.

PyYAML takes some milliseconds for a file, and a node that starts has a thousand services to
announce. The bytes say which form they have, so a version of Gossamer with other fields reads the
YAML instead.
"""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgpack

from gossamer_node.service.spec import ServiceSpec

Reader = Callable[[Any], Any]


def pack_spec(spec: ServiceSpec) -> bytes:
    """The bytes of a spec."""
    return bytes(msgpack.packb([_form(), _plain(spec)]))


def unpack_spec(data: bytes) -> ServiceSpec | None:
    """The spec again; None for bytes of another form than this version's."""
    try:
        form, plain = msgpack.unpackb(data)
        if form != _form():
            return None
        spec: ServiceSpec = _reader(ServiceSpec)(plain)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    return spec


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return [_plain(getattr(value, one.name)) for one in fields(value)]
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


@cache
def _form() -> bytes:
    return sha256(_words(ServiceSpec).encode()).digest()[:8]


def _words(kind: Any) -> str:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        inner = ",".join(f"{one.name}:{_words(hints[one.name])}" for one in fields(kind))
        return f"({inner})"
    return f"{get_origin(kind) or kind}[{','.join(map(_words, get_args(kind)))}]"


@cache
def _reader(kind: Any) -> Reader:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        readers = [_reader(hints[one.name]) for one in fields(kind)]
        make: Any = kind
        return lambda plain: make(*[read(one) for read, one in zip(readers, plain, strict=True)])
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (some,) = [one for one in inner if one is not type(None)]
        read_some = _reader(some)
        return lambda plain: None if plain is None else read_some(plain)
    if origin is tuple:
        read_item = _reader(inner[0])
        return lambda plain: tuple([read_item(one) for one in plain])
    if kind is Path:
        return Path
    if origin is not Literal and kind not in (str, int, bool):
        raise TypeError(f"{kind} has no form here; give it one.")
    return lambda plain: plain
