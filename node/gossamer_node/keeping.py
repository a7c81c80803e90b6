"""What a running node keeps of its mesh's trust: the key file, the list of members, orders.

Three ways change it, and all end here: a person edits a file and says `gossamer key reload` (or
SIGHUP); the list of members is another one than before (looked at now and then); an operator's
order arrives. An order is followed when its signature is of a configured operator, its number is
new and the node's keys are the ones it is for; the changed key file is on the disk before it is
confirmed. A file with an error changes nothing and is said.

`carry` takes an order from the control socket to all members that are there. Adding and using a
key begin at this node, removing ends here: so whoever gives the order can give it again after any
crash, and `rotating_to` tells it with which key.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import trio

from gossamer_mesh import keyfiles
from gossamer_mesh.admission import AllowList
from gossamer_mesh.drivers import Mesh
from gossamer_mesh.drivers.calls import Handler
from gossamer_mesh.drivers.links import ORDER
from gossamer_mesh.errors import KeyFileError, MeshError, MisuseError, OrderError, PeerError
from gossamer_mesh.keyring import RETIRED_MAX, Keyring, fingerprint, read_keyring, write_keyring
from gossamer_mesh.orders import ORDER_BYTES_MAX, Numbers, Order, read
from gossamer_mesh.packing import pack, unpack
from gossamer_node import logs
from gossamer_node.config import NodeConfig

log = logs.get("keys")

ADD, USE, REMOVE = "key.add", "key.use", "key.remove"

ANSWER_TIMEOUT_S = 10.0
"""For one member to follow an order: a handshake, some files, and room for a slow disk."""

ATTEMPTS_MAX = 3
RETRY_S = 0.5
"""Before a member that could not be reached is asked again."""

CARRIED_AT_ONCE_MAX = 32
"""Members that are told at one time."""

LOOK_INTERVAL_S = 2.0
"""How often the list of members is looked at for a change."""

FINGERPRINT_FILE_BYTES_MAX = 64

Tell = Callable[[Mapping[str, object]], Awaitable[None]]


class Keeping:
    """One node's.

    Args:
        mesh: the running member.
        config: names the files and the operators.
        allowed: the list of members, where there is one.
    """

    def __init__(self, mesh: Mesh, config: NodeConfig, allowed: AllowList | None) -> None:
        self._mesh = mesh
        self._config = config
        self._allowed = allowed
        self._numbers = Numbers(config.data_dir / "orders.json")
        if self._numbers.problem:
            log.warning(self._numbers.problem)
        self._rotating_file = config.data_dir / "rotating_to"
        handler = Handler(self._take, ORDER_BYTES_MAX, ANSWER_TIMEOUT_S)
        mesh.handle(ORDER, handler)

    async def run(self) -> None:
        """Looks at the list of members until cancelled."""
        while self._allowed is not None:
            await trio.sleep(LOOK_INTERVAL_S)
            if self._allowed.is_stale():
                self._reload_list()

    def reload(self) -> dict[str, object]:
        """Reads the key file and the list again: `gossamer key reload`, SIGHUP."""
        problems = [self._reload_keys(), self._reload_list()]
        return {"problems": [each for each in problems if each]}

    def overview(self) -> dict[str, object]:
        """What `gossamer key list` and `gossamer key rotate` show and need; no key."""
        ring, allowed = self._mesh.keyring, self._allowed
        return {
            "keys": list(ring.fingerprints()),
            "retired": list(ring.retired),
            "rotating_to": self._rotating_to(),
            "members": [
                {"id": one.id, "name": one.name, "state": one.state} for one in self._mesh.members()
            ],
            "members_file": str(allowed.path) if allowed else None,
            "allowed": allowed.ids() if allowed else None,
            "refused": self._mesh.refused(),
            "operators": list(self._config.mesh.operators),
            "numbers": {each: self._numbers.highest(each) for each in self._config.mesh.operators},
        }

    # Files.

    def _reload_keys(self) -> str:
        """What went wrong."""
        path = self._config.mesh.key_file
        if path is None:
            return ""
        before = self._mesh.keyring
        try:
            ring = read_keyring(path)
        except KeyFileError as error:
            return _said(f"the keys stay as they were: {error}")
        if ring.keys != before.keys:
            removed = [mark for mark in before.fingerprints() if ring.key_of(mark) is None]
            retired = tuple(dict.fromkeys((*before.retired, *ring.retired, *removed)))
            kept = [mark for mark in retired if ring.key_of(mark) is None]
            self._set(Keyring(ring.keys, tuple(kept[-RETIRED_MAX:])))
        return ""

    def _reload_list(self) -> str:
        """What went wrong."""
        if self._allowed is None:
            return ""
        try:
            changed = self._allowed.reload()
        except KeyFileError as error:
            return _said(f"the list of members stays as it was: {error}")
        if changed:
            log.info("the list of members changed", ids=len(self._allowed.ids()))
            self._mesh.admission_changed()
        return ""

    def _set(self, ring: Keyring) -> None:
        self._mesh.set_keyring(ring)
        log.info("the keys of the mesh changed", in_use=ring.fingerprints()[0], keys=len(ring.keys))

    # Orders that arrive.

    async def _take(self, sender: str, data: bytes) -> bytes:
        return pack(list(self._follow(data)))

    def _follow(self, data: bytes) -> tuple[bool, str, int]:
        """Whether the order was followed now or before; why not; the highest number followed."""
        number = 0
        try:
            order = read(data, self._config.mesh.name, self._config.mesh.operators)
            number = self._numbers.highest(order.operator)
            if self._numbers.is_new(order):
                self._act(order)
                self._numbers.record(order)
                number = order.number
        except MeshError as error:
            log.warning("an order was refused", why=str(error))
            return False, str(error), number
        return True, "", number

    def _act(self, order: Order) -> None:
        """Raises: OrderError, KeyFileError, MisuseError; then nothing was changed."""
        path = self._config.mesh.key_file
        if path is None:
            raise OrderError("this node has no mesh.key_file")
        ring = read_keyring(path)
        if ring.keys != self._mesh.keyring.keys:
            raise OrderError(
                f"{path} has other keys than the node uses; mend it or run: gossamer key reload"
            )
        changed = self._changed(ring, order)
        key = order.body.get("key")
        if order.kind == ADD and isinstance(key, bytes):
            self._remember(fingerprint(key))
        if changed != ring:
            write_keyring(path, changed)
            self._set(changed)
        if order.kind == REMOVE:
            self._remember(None)

    def _changed(self, ring: Keyring, order: Order) -> Keyring:
        """The ring that an order makes of this one. Raises: OrderError."""
        body, marks = order.body, ring.fingerprints()
        key, to, replaced = body.get("key"), body.get("to"), body.get("from")
        try:
            if order.kind == ADD and isinstance(key, bytes):
                if key not in ring.keys and replaced not in marks:
                    raise OrderError(_other_keys(marks, replaced))
                return ring.added(key)
            if order.kind == USE and isinstance(to, str):
                if to != marks[0] and replaced not in marks:
                    raise OrderError(_other_keys(marks, replaced))
                return ring.led_by(to)
            if order.kind == REMOVE and isinstance(to, str):
                return ring.kept_only(to)
        except MisuseError as error:
            raise OrderError(str(error)) from error
        raise OrderError(f"this version knows no order {order.kind!r} of this form; update it")

    def _rotating_to(self) -> str | None:
        """The key to which the last rotation goes, until it is through."""
        try:
            data = keyfiles.read(
                self._rotating_file, "the rotation", bytes_max=FINGERPRINT_FILE_BYTES_MAX
            )
        except KeyFileError:
            return None
        mark = data.decode("ascii", "replace").strip()
        return mark if self._mesh.keyring.key_of(mark) else None

    def _remember(self, mark: str | None) -> None:
        if mark is None:
            self._rotating_file.unlink(missing_ok=True)
        else:
            keyfiles.replace(self._rotating_file, mark.encode() + b"\n", "the rotation")

    # Orders that go out.

    async def carry(self, text: str, tell: Tell) -> None:
        """Takes an order (base64) to all members that are there, and tells of each."""
        operators = self._config.mesh.operators
        try:
            if not operators:
                raise OrderError("no operator is named in mesh.operators of this node")
            data = base64.b64decode(text, validate=True)
            order = read(data, self._config.mesh.name, operators)
        except (MeshError, binascii.Error) as error:
            await tell({"error": str(error)})
            return
        own = self._mesh.node_id
        others = [one for one in self._mesh.members() if one.id != own]
        results: list[bool] = []

        async def follow_here() -> None:
            done, said, number = self._follow(data)
            results.append(done)
            await tell(_result(own, self._config.name, done, said, number))

        async def send(id: str, name: str) -> None:
            async with limiter:
                done, said, number = await self._send(id, data)
            results.append(done)
            await tell(_result(id, name, done, said, number))

        limiter = trio.CapacityLimiter(CARRIED_AT_ONCE_MAX)
        is_last = order.kind == REMOVE
        if not is_last:
            await follow_here()
        if all(results):
            async with trio.open_nursery() as nursery:
                for one in others:
                    nursery.start_soon(send, one.id, one.name)
        if is_last and all(results):
            await follow_here()
        await tell({"finished": all(results), "members": len(others) + 1})

    async def _send(self, id: str, data: bytes) -> tuple[bool, str, int]:
        ask = partial(self._mesh.ask, id, ORDER, data, timeout_s=ANSWER_TIMEOUT_S)
        said = ""
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                await trio.sleep(RETRY_S)
            try:
                return _answer_of(await ask())
            except PeerError as error:
                said = f"it {error}"
        return False, said, 0


def order_to_add(key: bytes, replaced: str) -> tuple[str, dict[str, object]]:
    """Kind and body: everyone opens with `key`, too."""
    return ADD, {"key": key, "from": replaced}


def order_to_use(key: bytes, replaced: str) -> tuple[str, dict[str, object]]:
    """Kind and body: everyone seals with `key`."""
    return USE, {"to": fingerprint(key), "from": replaced}


def order_to_remove(key: bytes) -> tuple[str, dict[str, object]]:
    """Kind and body: everyone forgets all keys but `key`."""
    return REMOVE, {"to": fingerprint(key)}


def allow_list(path: Path | None, own_id: str) -> AllowList | None:
    """Raises: KeyFileError, when a list is named and cannot be used."""
    return AllowList(path, own_id) if path else None


def _result(id: str, name: str, done: bool, said: str, number: int) -> dict[str, object]:
    return {"member": id, "name": name, "done": done, "said": said, "number": number}


def _answer_of(data: bytes) -> tuple[bool, str, int]:
    try:
        done, said, number = unpack(data)
    except Exception:  # msgpack raises a dozen kinds for junk
        return False, "its answer cannot be read", 0
    clean = "".join(each if each.isprintable() else "\ufffd" for each in str(said))
    return done is True, clean[:1_000], number if type(number) is int else 0


def _other_keys(marks: tuple[str, ...], replaced: object) -> str:
    return (
        f"the order is to replace the key {replaced}, and this node has {', '.join(marks)}; copy "
        "another member's key file to it"
    )


def _said(problem: str) -> str:
    log.error(problem)
    return problem
