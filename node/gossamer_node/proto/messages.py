"""Values as JSON has them ↔ messages as bytes, by protobuf's own JSON mapping, within bounds.

Who writes the schema may be hostile, and so may be who answers: a message of 1,000 fields takes
some 16 KB of memory and can be spelt with two bytes. So a message is weighed before it is made,
a field of an empty message counting as much as one that is set: an answer by walking over its bytes
along its descriptor, a request by its maps. `VALUES_MAX` of them take well under a second.
"""

from collections.abc import Iterable
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import DecodeError

from gossamer_node.proto.schema import Method, Schema

VALUES_MAX = 65_536
"""Fields of all messages of a call, and members of its request."""

SLOTS_MAX = 2**20
"""Maps of a request, each as large as the largest message: at most 16 MiB of memory."""

_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_VARINT_BYTES_MAX = 10

_ANY = "google.protobuf.Any"


class TooMuch(Exception):
    """More values than a call may have."""


class BadMessage(Exception):
    """Values, or bytes, that are not what the schema says. The message is a clause."""


def encode(schema: Schema, method: Method, value: dict[str, Any]) -> bytes:
    """A request's bytes. Raises: BadMessage, TooMuch."""
    _weigh_value(value, schema.fields_max)
    try:
        message = ParseDict(value, method.request(), descriptor_pool=schema.pool)
        return message.SerializeToString()
    except Exception as error:
        # ParseError for the most part; but what a value of a wrong kind stumbles over comes, too.
        raise BadMessage(_one_line(error)) from None


def decode(schema: Schema, method: Method, answers: Iterable[bytes]) -> list[dict[str, Any]]:
    """Answers as JSON has them, every field included. Raises: BadMessage, TooMuch."""
    weight = _Weight(schema.pool)
    found = []
    kind = cast(Descriptor, method.answer.DESCRIPTOR)  # upb's own class, which is the same
    for data in answers:
        weight.add(data, kind)
        try:
            message = method.answer.FromString(data)
            found.append(
                MessageToDict(
                    message,
                    always_print_fields_with_no_presence=True,
                    descriptor_pool=schema.pool,
                )
            )
        except DecodeError:
            raise BadMessage(f"no {kind.full_name}") from None
        except Exception as error:
            # A time out of range, an Any of a type that no file defines, nesting without end.
            raise BadMessage(f"what has no form in JSON ({_one_line(error)})") from None
    return found


def _one_line(error: Exception) -> str:
    """Its first sentence: protobuf goes on with all the fields that there are."""
    words = " ".join(str(error).partition(" Available Fields")[0].split())
    return words.replace('"', "'").rstrip(".") or type(error).__name__


def _weigh_value(value: object, fields_max: int) -> None:
    values = slots = 0
    waiting: list[object] = [value]
    while waiting:
        one = waiting.pop()
        values += 1
        if isinstance(one, dict):
            slots += fields_max
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        if values + len(waiting) > VALUES_MAX or slots > SLOTS_MAX:
            raise TooMuch


class _Weight:
    """Counts the values of messages by walking over their bytes. Junk is for the parser to name."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool
        self._values = 0

    def add(self, data: bytes, descriptor: Descriptor) -> None:
        """Raises: TooMuch."""
        waiting = [(0, len(data), descriptor)]
        while waiting:
            waiting += self._walk(data, *waiting.pop())

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > VALUES_MAX:
            raise TooMuch

    def _walk(
        self, data: bytes, at: int, end: int, descriptor: Descriptor
    ) -> list[tuple[int, int, Descriptor]]:
        """Counts one message. Returns those in it: their place and kind."""
        self._count(1 + len(descriptor.fields))
        inside: list[tuple[int, int, Descriptor]] = []
        groups: list[Descriptor | None] = []
        here: Descriptor | None = descriptor
        any_type, any_value = "", (0, 0)
        while at < end:
            tag, at = _varint(data, at, end)
            number, wire = tag >> 3, tag & 7
            self._count(1)
            field = None if here is None else self._field(here, number)
            below = None if field is None else field.message_type
            if wire == _VARINT:
                _, at = _varint(data, at, end)
            elif wire == _FIXED64:
                at += 8
            elif wire == _FIXED32:
                at += 4
            elif wire == _BYTES:
                length, at = _varint(data, at, end)
                stop = min(end, at + length)
                if below is not None:
                    inside.append((at, stop, below))
                elif field is not None and field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
                    self._count(stop - at)  # packed: a value has a byte at least
                elif here is descriptor and descriptor.full_name == _ANY:
                    if number == 1:
                        any_type = data[at:stop].decode(errors="replace")
                    elif number == 2:
                        any_value = (at, stop)
                at += length
            elif wire == _GROUP:
                groups.append(here)
                here = below
                self._count(len(below.fields) if below is not None else 0)
            elif wire == _GROUP_END and groups:
                here = groups.pop()
            else:
                return inside
        packed = self._message(any_type.rpartition("/")[2]) if any_type else None
        if packed is not None:
            inside.append((*any_value, packed))
        return inside

    def _field(self, descriptor: Descriptor, number: int) -> FieldDescriptor | None:
        found: FieldDescriptor | None = descriptor.fields_by_number.get(number)
        if found is None and descriptor.is_extendable:
            try:
                found = self._pool.FindExtensionByNumber(descriptor, number)
            except KeyError:
                return None
        return found

    def _message(self, name: str) -> Descriptor | None:
        try:
            return self._pool.FindMessageTypeByName(name)
        except KeyError:
            return None


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 7 * _VARINT_BYTES_MAX:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return value, end  # junk: nothing more to walk over
