"""Settings as pure decisions: which counts, words that are forged, gateways in any order."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_gateway.errors import BadRequest, WordRefused
from gossamer_gateway.settings import signed
from gossamer_gateway.settings.signed import NAME_CHARS_MAX, VALUE_BYTES_MAX
from gossamer_gateway.settings.table import (
    CLOCK_MAX,
    KINDS_MAX,
    SETTINGS_MAX,
    Setting,
    Table,
    Version,
    next_clock,
)
from gossamer_mesh.identity import Identity, operator_of
from gossamer_mesh.packing import pack, unpack

MESH = "tests"
A, B, C = sorted((Identity.generate() for _ in range(3)), key=lambda one: one.node_id)


def setting(
    name: str = "hotel",
    value: Mapping[str, Any] | None = None,
    *,
    of: Identity = A,
    clock: int = 1,
    kind: str = "route",
    who: str = "ada",
) -> Setting:
    return signed.sign(of, MESH, kind, name, value, clock=clock, who=who, at_ms=7)


class World:
    """A gateway's table, with its identity."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.table = Table()

    def change(self, kind: str, name: str, value: Mapping[str, Any] | None, now_ms: int) -> Setting:
        clock = next_clock(self.table.clock, now_ms)
        made = setting(name, value, of=self.identity, clock=clock, kind=kind)
        assert self.table.learn(made), "what a gateway changes counts there"
        return made


@pytest.mark.parametrize("seed", range(100))
def test_gateways_agree_whatever_the_order(seed: int) -> None:
    luck = random.Random(seed)
    worlds = [World(one) for one in (A, B, C)]
    clocks_ms = [luck.randrange(3) * 1_000 for _ in worlds]  # each is wrong in its own way
    said: list[Setting] = []
    for now_ms in range(40):
        number = luck.randrange(3)
        one = worlds[number]
        if said and luck.random() < 0.4:
            one.table.learn(luck.choice(said))
        else:
            value = luck.choice([None, {"a": 1}, {"a": 2}])
            kind, name = luck.choice(["route", "override"]), luck.choice(["hotel", "car"])
            made = one.change(kind, name, value, now_ms + clocks_ms[number])
            said.append(made)
            assert one.table.get(kind, name) == (made if value is not None else None)
    for one in worlds:
        for each in luck.sample(said, len(said)):
            one.table.learn(each)
    tables = [one.table for one in worlds]
    assert tables[0].all() == tables[1].all() == tables[2].all(), f"seed {seed}"
    assert len({one.digest() for one in tables}) == 1, f"seed {seed}"
    last = worlds[0].change("route", "hotel", {"a": 3}, 0)
    assert tables[1].digest() != tables[0].digest()
    assert tables[1].learn(last) and not tables[1].learn(last)
    assert tables[1].get("route", "hotel") == last


@pytest.mark.parametrize("seed", range(40))
def test_pages_bring_parted_gateways_together(seed: int) -> None:
    """As `spreading` walks: in order, from where the page before ended, while changes go on."""
    luck = random.Random(seed)
    one, other = World(A), World(B)
    for now_ms in range(luck.randrange(60)):
        luck.choice([one, other]).change("route", f"p{luck.randrange(20)}", {"a": now_ms}, now_ms)
    for reader, read in ((one, other), (other, one)):
        after = None
        while True:
            page = [each for _, each in zip(range(7), read.table.after(after), strict=False)]
            if not page:
                break
            for each in page:
                reader.table.learn(each)
            after = page[-1].key
    assert one.table.all() == other.table.all(), f"seed {seed}"
    assert one.table.digest() == other.table.digest()


def test_a_removal_wins_and_is_kept() -> None:
    table = Table()
    assert table.learn(setting(value={"a": 1}, clock=1))
    removal = setting(value=None, clock=2)
    assert table.learn(removal)
    assert table.get("route", "hotel") is None and table.of("route") == []
    assert table.all() == [removal]
    assert not table.learn(setting(value={"a": 1}, clock=1))
    assert table.learn(setting(value={"a": 1}, clock=3)) and table.get("route", "hotel")


def test_of_one_version_with_two_texts_all_keep_the_same() -> None:
    """A gateway that was set back to an old copy of its file may say a number twice."""
    both = [setting(value={"a": number}) for number in (1, 2)]
    tables = [Table(), Table()]
    for table, order in zip(tables, (both, both[::-1]), strict=True):
        for each in order:
            table.learn(each)
    assert tables[0].all() == tables[1].all() and tables[0].digest() == tables[1].digest()


def test_the_clock_is_never_behind_the_time_nor_the_highest() -> None:
    assert next_clock(0, 1_700) == 1_700
    assert next_clock(1_700, 1_700) == 1_701
    assert next_clock(9_000, 1_700) == 9_001
    table = Table()
    for clock in (0, -1, CLOCK_MAX + 1):
        evil = Setting("route", "hotel", {}, Version(clock, "evil"), "", 0, b"")
        assert not table.learn(evil)
    assert table.all() == [] and table.clock == 0


def test_a_table_has_bounds() -> None:
    table = Table()
    for number in range(SETTINGS_MAX):
        assert table.learn(Setting("route", str(number), {}, Version(1, "a"), "", 0, bytes(number)))
    assert not table.learn(Setting("route", "more", {}, Version(1, "a"), "", 0, b"more"))
    assert table.learn(Setting("route", "7", {}, Version(2, "a"), "", 0, b"other"))
    for number in range(KINDS_MAX - 1):
        assert table.learn(Setting(f"kind{number}", "", {}, Version(1, "a"), "", 0, b""))
    assert not table.learn(Setting("another", "", {}, Version(1, "a"), "", 0, b""))


def test_a_word_says_what_was_signed() -> None:
    made = setting(value={"shares": {"c8": 10_000}, "ü": None}, of=B, clock=9, who="ada")
    assert signed.read(made.word, MESH, [B.node_id]) == made
    assert signed.read_kept(made.word) == made
    removal = setting(value=None)
    assert signed.read(removal.word, MESH, [A.node_id]).value is None


def test_any_changed_bit_is_refused() -> None:
    word = setting(value={"a": 1}).word
    for index in range(len(word)):
        changed = bytearray(word)
        changed[index] ^= 1
        with pytest.raises(WordRefused):
            signed.read(bytes(changed), MESH, [A.node_id])


def test_strangers_other_meshes_and_other_uses_of_a_key_are_refused() -> None:
    word = setting(value={"a": 1}).word
    with pytest.raises(WordRefused, match=f"made by {A.node_id}.*name it in peers"):
        signed.read(word, MESH, [B.node_id])
    with pytest.raises(WordRefused, match="for the mesh 'tests', this one is 'other'"):
        signed.read(word, "other", [A.node_id])
    _, _, payload, signature = unpack(word)
    stolen = pack([1, bytes.fromhex(operator_of(B.private_key)), payload, signature])
    with pytest.raises(WordRefused, match="signature does not hold"):
        signed.read(stolen, MESH, [A.node_id, B.node_id])
    # The same key over the same payload, for another purpose.
    for prefix in (b"", b"gossamer 1 order\0", b"gossamer 1 claim\0"):
        key = bytes.fromhex(operator_of(A.private_key))
        other = pack([1, key, payload, A.private_key.sign(prefix + payload)])
        with pytest.raises(WordRefused, match="signature does not hold"):
            signed.read(other, MESH, [A.node_id])


def resigned(*said: object) -> bytes:
    """Any payload, with a signature that holds."""
    payload = pack(list(said))
    key = bytes.fromhex(operator_of(A.private_key))
    return pack([1, key, payload, A.private_key.sign(b"gossamer 1 setting\0" + payload)])


@pytest.mark.parametrize(
    "said",
    [
        (),
        (MESH, "route", "hotel", "", 0, "", 1),
        (MESH, "route", "hotel", "", CLOCK_MAX + 1, "", 1),
        (MESH, "route", "hotel", "", 1, "", -1),
        (MESH, "route", "", "", 1, "", 1),
        (MESH, "", "hotel", "", 1, "", 1),
        (MESH, "route", "h" * (NAME_CHARS_MAX + 1), "", 1, "", 1),
        (MESH, "route", "hotel", "[1]", 1, "", 1),
        (MESH, "route", "hotel", "{", 1, "", 1),
        (MESH, "route", "hotel", "[" * 20_000, 1, "", 1),
        (MESH, "route", "hotel", "", 1, "w" * 1_000, 1),
        (MESH, "route", "hotel", b"", 1, "", 1),
        (MESH, "route", "hotel", " " * (VALUE_BYTES_MAX + 9_000) + "{}", 1, "", 1),
    ],
)
def test_a_trusted_gateway_s_junk_is_refused(said: tuple[object, ...]) -> None:
    with pytest.raises(WordRefused, match="nothing that this version can read"):
        signed.read(resigned(*said), MESH, [A.node_id])


def test_a_later_version_may_say_more() -> None:
    word = resigned(MESH, "route", "hotel", "{}", 1, "", 1, "more")
    assert signed.read(word, MESH, [A.node_id]).value == {}


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(junk: bytes) -> None:
    with pytest.raises(WordRefused):
        signed.read(junk, MESH, [A.node_id])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", {}),
        ("h" * (NAME_CHARS_MAX + 1), {}),
        ("\ud800", {}),
        ("hotel", {"a": "x" * VALUE_BYTES_MAX}),
        ("hotel", {"a": float("nan")}),
        ("hotel", {"a": object()}),
    ],
)
def test_what_cannot_be_said_is_refused_where_it_is_written(name: str, value: Any) -> None:
    with pytest.raises(BadRequest):
        setting(name, value)
