"""API keys: made, known again, revoked, expired, shared by gateways; what is at rest."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.door_world import NOW_MS, Clock, MemoryStorage, keyring_of, new_key

from gossamer_gateway.door import api_keys, key_command
from gossamer_gateway.door.api_keys import LOOK_MS, Keyring
from gossamer_gateway.door.key_desk import DAY_MS, KeyDesk, carry_out, read_grant, written_grant
from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.errors import InputError, StorageFailed

WORK = (Grant(Role.WORK),)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage(Clock())


def test_a_key_is_known_again(storage: MemoryStorage) -> None:
    key = new_key(storage, "worker", Grant(Role.WORK), Grant(Role.READ, ("a",), ("/v2/*",)))
    found = keyring_of(storage).whose(key, NOW_MS)
    assert found is not None
    assert (found.name, found.known_by) == ("worker", "api key")
    assert found.grants == (Grant(Role.WORK), Grant(Role.READ, ("a",), ("/v2/*",)))


def test_its_secret_is_at_rest_nowhere(storage: MemoryStorage) -> None:
    key = new_key(storage, "worker", *WORK)
    secret = key.split("_", 2)[2]
    at_rest = "\n".join(storage.connection.iterdump())
    assert "worker" in at_rest
    assert secret not in at_rest and secret.encode().hex() not in at_rest
    (row,) = api_keys.read_all(storage.rows)
    assert secret not in repr(row) and row.hash.hex() not in repr(row)


def test_keys_of_equal_secrets_have_other_hashes() -> None:
    storages = [MemoryStorage(Clock()) for _ in range(2)]
    drawn = iter(range(100))
    for storage in storages:
        api_keys.make(
            storage.rows, NOW_MS, "k", WORK,
            draw=lambda n: bytes(n) if n == 32 else bytes([next(drawn)] * n),
        )  # fmt: skip
    one, two = (api_keys.read_all(storage.rows)[0] for storage in storages)
    assert one.hash != two.hash


def test_a_changed_key_is_no_key(storage: MemoryStorage) -> None:
    key = new_key(storage, "worker", *WORK)
    ring = keyring_of(storage)
    for index in range(len(key)):
        other = key[:index] + ("A" if key[index] != "A" else "B") + key[index + 1 :]
        # The last character has two bits that say nothing; it is compared as text all the same.
        assert ring.whose(other, NOW_MS) is None, index
    for other in (
        "",
        key[:-1],
        key + "A",
        key.upper(),
        f" {key}",
        f"{key}\n",
        key.replace("_", ""),
    ):
        assert ring.whose(other, NOW_MS) is None
    assert ring.whose(key, NOW_MS) is not None


def test_the_secret_of_one_does_not_open_with_the_id_of_another(storage: MemoryStorage) -> None:
    one, two = (new_key(storage, name, *WORK).split("_", 2) for name in ("one", "two"))
    assert keyring_of(storage).whose("_".join((*one[:2], two[2])), NOW_MS) is None


@given(st.text(max_size=100) | st.from_regex(r"gsk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_junk_is_nobodys(text: str) -> None:
    assert Keyring().whose(text, NOW_MS) is None


def test_a_key_ends(storage: MemoryStorage) -> None:
    key = api_keys.make(storage.rows, NOW_MS, "worker", WORK, NOW_MS + 1_000)
    ring = keyring_of(storage)
    assert ring.whose(key, NOW_MS + 999) is not None
    assert ring.whose(key, NOW_MS + 1_000) is None
    assert api_keys.read_all(storage.rows)[0].state(NOW_MS + 1_000) == "expired"


def test_a_key_is_revoked_and_forgotten(storage: MemoryStorage) -> None:
    key = new_key(storage, "worker", *WORK)
    with pytest.raises(InputError, match="revoke it first"):
        api_keys.remove(storage.rows, "worker")
    assert api_keys.revoke(storage.rows, NOW_MS, "worker")
    assert not api_keys.revoke(storage.rows, NOW_MS, "worker")
    assert keyring_of(storage).whose(key, NOW_MS) is None
    with pytest.raises(InputError, match="made before"):
        new_key(storage, "worker", *WORK)
    api_keys.remove(storage.rows, "worker")
    assert new_key(storage, "worker", *WORK) != key


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a" * 64, "a\n", "ä", "a/b"])
def test_a_name_is_plain(storage: MemoryStorage, name: str) -> None:
    with pytest.raises(InputError):
        new_key(storage, name, *WORK)


def test_a_key_that_may_nothing_or_never_is_not_made(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="--role"):
        api_keys.make(storage.rows, NOW_MS, "a", [])
    with pytest.raises(InputError, match="ended before"):
        api_keys.make(storage.rows, NOW_MS, "a", WORK, NOW_MS)
    monkeypatch.setattr(api_keys, "KEYS_MAX", 1)
    new_key(storage, "a", *WORK)
    with pytest.raises(InputError, match="remove some"):
        new_key(storage, "b", *WORK)
    with pytest.raises(InputError, match="no key c"):
        api_keys.revoke(storage.rows, NOW_MS, "c")


async def test_gateways_that_share_a_storage_hear_within_a_second(
    storage: MemoryStorage, autojump_clock: trio.testing.MockClock
) -> None:
    """The storage is one; one of them makes and revokes, the other looks."""
    rings = [Keyring(), Keyring()]
    desks = [KeyDesk(storage, ring) for ring in rings]
    async with trio.open_nursery() as nursery:
        for desk in desks:
            nursery.start_soon(desk.run)
        made = await desks[0].order({"do": "new", "name": "worker", "roles": ["work"]})
        key = str(made["key"])
        assert rings[0].whose(key, NOW_MS) is not None, "at once where it was made"
        await trio.sleep(1)
        assert rings[1].whose(key, NOW_MS) is not None
        storage.fails = StorageFailed("the disk is gone")
        await trio.sleep(10)
        assert rings[1].whose(key, NOW_MS) is not None, "what was known counts on"
        storage.fails = None
        await desks[0].order({"do": "revoke", "name": "worker"})
        assert rings[0].whose(key, NOW_MS) is None
        await trio.sleep(1)
        assert rings[1].whose(key, NOW_MS) is None
        nursery.cancel_scope.cancel()
    assert LOOK_MS < 1_000


async def test_keys_are_read_again_only_when_they_changed(storage: MemoryStorage) -> None:
    ring = Keyring()
    desk = KeyDesk(storage, ring)
    new_key(storage, "worker", *WORK)
    await desk.look()
    storage.rows.execute("UPDATE api_keys SET name = 'behind its back'")
    await desk.look()
    assert ring.changes == 1
    assert {one.name for _, one in ring._known.values()} == {"worker"}


@pytest.mark.parametrize(
    ("text", "grant"),
    [
        ("work", Grant(Role.WORK)),
        ("start:hotel,pay*", Grant(Role.START, ("hotel", "pay*"))),
        ("read@/engine-rest/*", Grant(Role.READ, (), ("/engine-rest/*",))),
        ("admin:a@/v1/*,/v2/*", Grant(Role.ADMIN, ("a",), ("/v1/*", "/v2/*"))),
    ],
)
def test_a_role_is_written_with_its_limits(text: str, grant: Grant) -> None:
    assert read_grant(text) == grant
    assert written_grant(grant) == text


@pytest.mark.parametrize("text", ["", "boss", "work:", "work@", "work:@", "Work", ":a", "work:,@/"])
def test_a_role_that_is_none(text: str) -> None:
    with pytest.raises(InputError):
        read_grant(text)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["do", "name", "roles", "days"]),
        JUNK | st.sampled_from(["new", "list", "revoke", "remove"]),
    )
)
def test_an_order_that_is_none_changes_nothing(order: dict[str, Any]) -> None:
    storage = MemoryStorage(Clock())
    try:
        carry_out(storage.rows, NOW_MS, order)
    except InputError:
        assert api_keys.read_all(storage.rows) == []


async def test_the_control_socket_is_told(storage: MemoryStorage) -> None:
    desk = KeyDesk(storage, Keyring())
    lines: list[Mapping[str, object]] = []

    async def tell(line: Mapping[str, object]) -> None:
        lines.append(line)

    for argument in ('{"do": "list"}', "junk", "[]", '{"do": "revoke", "name": "x"}', "[" * 9_999):
        await desk.converse(argument, tell)
    assert lines[0] == {"keys": []}
    assert [set(line) for line in lines[1:]] == [{"refused"}] * 4


# --- the command


def command(storage: MemoryStorage, text: str) -> int:
    parser = argparse.ArgumentParser()
    key_command.configure(parser, lambda action: None)
    arguments = parser.parse_args(text.split())
    return key_command.run(
        arguments,
        # As over the control socket, as JSON.
        lambda order: carry_out(storage.rows, NOW_MS, json.loads(json.dumps(order))),
    )


def test_a_person_makes_lists_and_ends_keys(
    storage: MemoryStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(storage, "new shop --role start:hotel --role read --days 2") == 0
    key = capsys.readouterr().out.strip()
    ring = keyring_of(storage)
    assert ring.whose(key, NOW_MS + 2 * DAY_MS - 1) is not None
    assert ring.whose(key, NOW_MS + 2 * DAY_MS) is None
    command(storage, "list")
    shown = capsys.readouterr().out
    assert "shop" in shown and "start:hotel read" in shown and "works" in shown
    assert key[21:] not in shown
    command(storage, "list --json")
    (told,) = json.loads(capsys.readouterr().out)["keys"]
    assert told["expires_ms"] == NOW_MS + 2 * DAY_MS
    for text, said in (
        ("revoke shop", "shop is revoked.\n"),
        ("revoke shop", "shop is revoked, as before.\n"),
        ("remove shop", "shop is forgotten.\n"),
    ):
        command(storage, text)
        assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    "text", ["new a --role boss", "new a --role work --days 0", "revoke a", "remove a"]
)
def test_a_mistake_is_a_sentence(storage: MemoryStorage, text: str) -> None:
    with pytest.raises(InputError, match=r"[.]$"):
        command(storage, text)


def test_what_the_gateway_refuses_is_said(storage: MemoryStorage) -> None:
    parser = argparse.ArgumentParser()
    key_command.configure(parser, lambda action: None)
    with pytest.raises(InputError, match="not today"):
        key_command.run(parser.parse_args(["list"]), lambda order: {"refused": "not today"})
