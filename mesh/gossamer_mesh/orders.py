"""Orders: what an operator tells all members of a mesh, signed, so that having the mesh key is not
enough to give one.

    order      [1, operator's public key (32), payload, Ed25519 signature (64)]
    payload    [mesh name, number, kind, body]         all of it msgpack

The signature is over a prefix that no other use of the key has, and the payload. An order may come
from anyone and at any time, also again, so two things make an old one harmless:

1. Numbers rise. A member keeps, for each operator, the highest number that it followed, on the
   disk; a lower one is refused, and the same order again is answered and changes nothing.
2. Bodies say to what state they apply (`from` which key): a member that is new and remembers
   no number follows no order that was for another time.

What an order does is its kind's matter (`key.add`, `key.use`, `key.remove`: the node's `keeping`).
No I/O but the file of the numbers.
"""

import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gossamer_mesh import keyfiles
from gossamer_mesh.errors import KeyFileError, OrderError
from gossamer_mesh.identity import operator_of
from gossamer_mesh.packing import pack, unpack

ORDER_BYTES_MAX = 64 * 2**10
"""What is longer than orders are (a signed module is named by its hash, not carried)."""

NUMBER_MAX = 2**53
OPERATORS_MAX = 64

NUMBERS_FILE_BYTES_MAX = 2**16

_VERSION = 1
_PREFIX = b"gossamer 1 order\0"

Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class Order:
    """An order whose signature holds.

    Attributes:
        operator: who gave it (`identity.operator_of`).
        number: higher than any before of this operator.
        kind: what is to be done.
        body: with what.
        digest: of the whole order: the same order again has the same.
    """

    operator: str
    number: int
    kind: str
    body: Body
    digest: str


def next_number(highest: int) -> int:
    """For a new order: the time, so that operators need not remember; or one more than is known."""
    return max(time.time_ns() // 1_000_000, highest + 1)


def sign(key: Ed25519PrivateKey, mesh_name: str, number: int, kind: str, body: Body) -> bytes:
    """An order as it travels."""
    payload = pack([mesh_name, number, kind, body])
    signature = key.sign(_PREFIX + payload)
    return pack([_VERSION, bytes.fromhex(operator_of(key)), payload, signature])


def read(data: bytes, mesh_name: str, operators: Iterable[str]) -> Order:
    """An order of one of these operators, for this mesh.

    Raises:
        OrderError: it is none; nobody is to act on it.
    """
    fields = _unpacked(data) if len(data) <= ORDER_BYTES_MAX else None
    if not isinstance(fields, list) or len(fields) < 4 or fields[0] != _VERSION:
        raise OrderError("this is no order that this version can read")
    _, public_key, payload, signature = fields[:4]
    if not all(isinstance(each, bytes) for each in (public_key, payload, signature)):
        raise OrderError("this is no order that this version can read")
    operator = public_key.hex()
    if operator not in set(operators):
        raise OrderError(f"{operator[:16]}… is no operator here; name it in mesh.operators")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _PREFIX + payload)
    except (InvalidSignature, ValueError) as error:
        raise OrderError("the operator's signature does not hold") from error
    said = _unpacked(payload)
    if not isinstance(said, list) or len(said) < 4:
        raise OrderError("this is no order that this version can read")
    name, number, kind, body = said[:4]
    if (
        type(number) is not int
        or not 0 < number <= NUMBER_MAX
        or not isinstance(kind, str)
        or not isinstance(body, dict)
    ):
        raise OrderError("this is no order that this version can read")
    if name != mesh_name:
        raise OrderError(f"the order is for the mesh {name!r}, this one is {mesh_name!r}")
    return Order(operator, number, kind, body, sha256(data).hexdigest())


def operator_in(order: bytes) -> str:
    """Who gave an order that `read` took before, without checking it again; "" for junk."""
    fields = _unpacked(order)
    named = fields[1] if isinstance(fields, list) and len(fields) >= 4 else None
    return named.hex() if isinstance(named, bytes) else ""


class Numbers:
    """The last order of each operator that this member followed, in a file.

    Args:
        path: the file. A broken one is like none; `problem` says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, tuple[int, str]] = {}
        self.problem = ""
        if path.exists():
            try:
                self._last = _numbers_of(path)
            except KeyFileError as error:
                self.problem = str(error)

    def highest(self, operator: str) -> int:
        """0 where there was none."""
        return self._last.get(operator, (0, ""))[0]

    def is_new(self, order: Order) -> bool:
        """Whether an order is to be followed; False: it was, so say the same again.

        Raises:
            OrderError: a later one was followed.
        """
        number, digest = self._last.get(order.operator, (0, ""))
        if order.digest == digest:
            return False
        if order.number <= number:
            raise OrderError(
                f"the order has number {order.number}, and number {number} was followed here; "
                "give the order anew"
            )
        return True

    def record(self, order: Order) -> None:
        """An order was followed; on the disk when this returns.

        Raises:
            KeyFileError: it cannot be kept.
        """
        last = {**self._last, order.operator: (order.number, order.digest)}
        while len(last) > OPERATORS_MAX:
            del last[min(last, key=lambda each: last[each][0])]
        text = json.dumps({each: list(last[each]) for each in sorted(last)}, indent=1)
        keyfiles.replace(self._path, text.encode() + b"\n", "the numbers of orders")
        self._last = last


def _numbers_of(path: Path) -> dict[str, tuple[int, str]]:
    data = keyfiles.read(path, "the numbers of orders", bytes_max=NUMBERS_FILE_BYTES_MAX)
    with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
        read_back = json.loads(data)
        last = {str(each): (number, digest) for each, (number, digest) in read_back.items()}
        if all(type(number) is int and type(digest) is str for number, digest in last.values()):
            return last
    raise KeyFileError(f"{path} cannot be read as the numbers of orders; it begins anew.")


def _unpacked(data: bytes) -> object:
    try:
        value: object = unpack(data)
    except Exception:  # msgpack raises a dozen kinds for junk
        return None
    return value
