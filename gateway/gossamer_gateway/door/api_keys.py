"""API keys: made once, shown once, known again by a hash. Rows in the gateway's storage.

A key is `gsk_<id>_<secret>`. The id is public and finds the row; the secret is 256 random bits. At
rest there is only HMAC-SHA-256 of the secret under a salt of the row. bcrypt, scrypt and Argon2
are slow on purpose, to make the guessing of *passwords* dear, of which people choose some 2^30;
nobody guesses one of 2^256, however fast the hash is, and the door takes it with each request.

Rules:

1. Rows are the truth and gateways share them; each has all of them in memory (`Keyring`) and looks
   twice a second whether the count of changes has moved. So no request waits for the storage, a
   key works within a second of being made, and one that is revoked stops within a second.
2. While the storage cannot be asked, what was known counts on. A request that changes anything
   needs the storage itself then.
3. A name is used once, revoked keys included, so that a log says one thing for ever.
4. A comparison takes the same time however much of it is right, and whether the id is known or not.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gossamer_gateway.door.credentials import KEY_PREFIX
from gossamer_gateway.door.principals import Grant, Principal, Role
from gossamer_gateway.errors import InputError
from gossamer_gateway.storage.port import Rows

SCHEMA = """
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL UNIQUE, salt TEXT NOT NULL,
    hash TEXT NOT NULL, grants TEXT NOT NULL, made_ms INTEGER NOT NULL, expires_ms INTEGER,
    revoked_ms INTEGER
);
CREATE TABLE api_key_changes (one INTEGER NOT NULL PRIMARY KEY, count INTEGER NOT NULL)
"""

KEYS_MAX = 10_000
"""Kept at a time, revoked ones included: some 10 MB in memory."""

GRANTS_MAX = 100
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
LOOK_MS = 500
"""Between two looks at the count of changes."""

_FORM = re.compile(KEY_PREFIX + r"([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NO_SALT = bytes(16)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as it is kept."""

    id: str
    name: str
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)
    grants: tuple[Grant, ...]
    made_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None

    def state(self, now_ms: int) -> str:
        """`works`, `expired` or `revoked`."""
        if self.revoked_ms is not None:
            return "revoked"
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return "expired"
        return "works"


def hash_of(secret: str, salt: bytes) -> bytes:
    return hmac.digest(salt, secret.encode(), hashlib.sha256)


def make(
    rows: Rows,
    now_ms: int,
    name: str,
    grants: Sequence[Grant],
    expires_ms: int | None = None,
    draw: Callable[[int], bytes] = secrets.token_bytes,
) -> str:
    """A new key: the only time that anybody sees it.

    Args:
        expires_ms: when it ends, since 1970; None: never.
        draw: random bytes.

    Raises: InputError.
    """
    if NAME.fullmatch(name) is None:
        raise InputError(
            f"{name!r} is no name for a key; use up to 63 letters, digits, `.`, `_` and `-`."
        )
    if not 0 < len(grants) <= GRANTS_MAX:
        raise InputError(f"A key needs 1 to {GRANTS_MAX} roles; name them with --role.")
    if expires_ms is not None and expires_ms <= now_ms:
        raise InputError(f"The key {name} would have ended before it is made.")
    (count,) = rows.execute("SELECT count(*) FROM api_keys").fetchone()
    if count >= KEYS_MAX:
        raise InputError(f"There are {KEYS_MAX} keys; remove some that are revoked.")
    if rows.execute("SELECT 1 FROM api_keys WHERE name = ?", (name,)).fetchone():
        raise InputError(f"A key {name} was made before; choose another name.")
    # 32 bytes are 43 characters of base64url without padding.
    id, salt, secret = draw(8).hex(), draw(16), _base64url(draw(32))
    rows.execute(
        "INSERT INTO api_keys (id, name, salt, hash, grants, made_ms, expires_ms, revoked_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
        (id, name, salt.hex(), hash_of(secret, salt).hex(), written(grants), now_ms, expires_ms),
    )
    _changed(rows)
    return f"{KEY_PREFIX}{id}_{secret}"


def revoke(rows: Rows, now_ms: int, name: str) -> bool:
    """Ends a key for good. Returns whether it worked until now. Raises: InputError."""
    found = rows.execute("SELECT revoked_ms FROM api_keys WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise InputError(f"There is no key {name}; `gossamer gateway key list` shows them.")
    if found[0] is not None:
        return False
    rows.execute("UPDATE api_keys SET revoked_ms = ? WHERE name = ?", (now_ms, name))
    _changed(rows)
    return True


def remove(rows: Rows, name: str) -> None:
    """Forgets a revoked key, and with it whose name that was. Raises: InputError."""
    answered = rows.execute(
        "DELETE FROM api_keys WHERE name = ? AND revoked_ms IS NOT NULL", (name,)
    )
    if answered.rowcount != 1:
        raise InputError(f"There is no revoked key {name}; revoke it first.")
    _changed(rows)


def read_all(rows: Rows) -> list[KeyRow]:
    """Every key, by name."""
    found = rows.execute(
        "SELECT id, name, salt, hash, grants, made_ms, expires_ms, revoked_ms FROM api_keys "
        "ORDER BY name LIMIT ?",
        (KEYS_MAX,),
    )
    return [
        KeyRow(id, name, bytes.fromhex(salt), bytes.fromhex(hash), read(grants), *times)
        for id, name, salt, hash, grants, *times in found
    ]


def changes(rows: Rows) -> int:
    """How often a key was made, revoked or removed."""
    found = rows.execute("SELECT count FROM api_key_changes WHERE one = 1").fetchone()
    return 0 if found is None else int(found[0])


def _changed(rows: Rows) -> None:
    rows.execute(
        "INSERT INTO api_key_changes (one, count) VALUES (1, 1) "
        "ON CONFLICT (one) DO UPDATE SET count = api_key_changes.count + 1"
    )


def written(grants: Iterable[Grant]) -> str:
    """Grants as a row keeps them."""
    return json.dumps([[one.role, list(one.processes), list(one.paths)] for one in grants])


def read(text: str) -> tuple[Grant, ...]:
    return tuple(
        Grant(Role(role), tuple(processes), tuple(paths))
        for role, processes, paths in json.loads(text)
    )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Keyring:
    """All keys, in memory. Decides; `watch` in `key_desk` keeps it new."""

    def __init__(self) -> None:
        self.changes = -1
        """The count of changes that it has seen."""
        self._known: dict[str, tuple[KeyRow, Principal]] = {}

    def take(self, changes: int, rows: Iterable[KeyRow]) -> None:
        """Forgets what it knew for what is so now."""
        self.changes = changes
        self._known = {one.id: (one, Principal(one.name, "api key", one.grants)) for one in rows}

    def whose(self, text: str, now_ms: int) -> Principal | None:
        """Whose key it is; None for one that is unknown, revoked, expired or no key."""
        form = _FORM.fullmatch(text)
        if form is None:
            return None
        row, principal = self._known.get(form[1], (None, None))
        hashed = hash_of(form[2], _NO_SALT if row is None else row.salt)
        is_right = hmac.compare_digest(hashed, hashed[::-1] if row is None else row.hash)
        if row is None or not is_right or row.state(now_ms) != "works":
            return None
        return principal
