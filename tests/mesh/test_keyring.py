"""Keyrings: files, the three steps of a rotation, and what is refused."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.errors import KeyFileError, MisuseError
from gossamer_mesh.keyring import (
    KEYS_MAX,
    RETIRED_MAX,
    Keyring,
    fingerprint,
    read_keyring,
    text_of,
    write_keyring,
)
from gossamer_mesh.seal import Seal

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_file_of_one_line_is_a_ring_of_one_key(tmp_path: Path) -> None:
    path = write(tmp_path / "mesh.key", base64.b64encode(OLD) + b"\n")
    assert read_keyring(path) == Keyring((OLD,))


def test_comments_order_and_retired_keys_are_read(tmp_path: Path) -> None:
    text = b"# of the hall\n\n%s  # in use\n%s\nretired 0123456789abcdef\n" % (
        base64.b64encode(NEW),
        base64.b64encode(OLD),
    )
    ring = read_keyring(write(tmp_path / "mesh.key", text))
    assert ring == Keyring((NEW, OLD), ("0123456789abcdef",))
    write_keyring(tmp_path / "mesh.key", ring)
    assert read_keyring(tmp_path / "mesh.key") == ring
    assert (tmp_path / "mesh.key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["mesh.key"]


@pytest.mark.parametrize(
    "data",
    [
        b"not base64!",
        base64.b64encode(b"short"),
        b"A" * 10_000,
        b"\xff\xfe",
        b"retired 0123",
        base64.b64encode(OLD) + b"\nand more\n",
    ],
)
def test_what_is_no_mesh_key_is_refused_by_its_line(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(KeyFileError, match=r"line \d of .* is not a mesh key"):
        read_keyring(write(tmp_path / "mesh.key", data))


def test_files_that_are_no_ring_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mesh.key"
    for data, said in (
        (b"# nothing\n", "has no mesh key"),
        (b"\n".join([base64.b64encode(OLD)] * 2), "each key once"),
        (b"#" * 20_000, "longer than"),
        (
            b"\n".join(base64.b64encode(bytes([n]) * 32) for n in range(KEYS_MAX + 1)),
            f"1 to {KEYS_MAX} keys",
        ),
    ):
        with pytest.raises(KeyFileError, match=said):
            read_keyring(write(path, data))
    write(path, base64.b64encode(OLD), 0o640)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        read_keyring(path)
    with pytest.raises(KeyFileError, match="No such file"):
        read_keyring(tmp_path / "nowhere")
    with pytest.raises(KeyFileError, match=r"is not a file|Is a directory"):
        read_keyring(tmp_path)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_ring_or_one_error(tmp_path_factory: object, data: bytes) -> None:
    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    path = write(tmp_path_factory.getbasetemp() / "any.key", data)
    try:
        ring = read_keyring(path)
    except KeyFileError:
        return
    write_keyring(path, ring)
    assert read_keyring(path) == ring


def test_a_rotation_in_three_steps() -> None:
    mark = fingerprint(NEW)
    ring = Keyring((OLD,))
    added = ring.added(NEW)
    assert added.keys == (OLD, NEW) and added.added(NEW) is added
    with pytest.raises(MisuseError, match="use it first"):
        added.kept_only(mark)
    used = added.led_by(mark)
    assert used.keys == (NEW, OLD)
    assert used.kept_only(mark) == Keyring((NEW,), (fingerprint(OLD),))
    with pytest.raises(MisuseError, match="add it first"):
        ring.led_by(mark)


def test_retired_keys_are_forgotten_in_time_and_come_back_by_being_added() -> None:
    ring = Keyring((OLD,))
    for number in range(1, RETIRED_MAX + 3):
        key = bytes([number]) * 32
        ring = ring.added(key).led_by(fingerprint(key)).kept_only(fingerprint(key))
    assert len(ring.retired) == RETIRED_MAX
    assert fingerprint(OLD) not in ring.retired
    again = ring.added(bytes([RETIRED_MAX]) * 32)
    assert fingerprint(bytes([RETIRED_MAX]) * 32) not in again.retired


def test_the_file_never_shows_what_a_fingerprint_could_not() -> None:
    ring = Keyring((NEW,), (fingerprint(OLD),))
    assert OLD not in base64.b64decode(text_of(ring).split()[0])
    assert fingerprint(OLD).encode() in text_of(ring)


# Under the seal.


def test_every_key_of_the_ring_opens_and_the_first_seals() -> None:
    old, both, new = (Seal(Keyring(keys), "mesh") for keys in ((OLD,), (OLD, NEW), (NEW,)))
    assert both.open(old.seal(b"from old")) == b"from old"
    assert both.open(new.seal(b"from new")) == b"from new"
    assert old.open(both.seal(b"sealed with the first")) == b"sealed with the first"
    assert new.open(both.seal(b"x")) is None
    both.set_ring(Keyring((NEW, OLD)))
    assert new.open(both.seal(b"now with the new one")) == b"now with the new one"
    assert old.open(both.seal(b"x")) is None


def test_a_removed_key_opens_nothing_although_it_did() -> None:
    old, ours = Seal(Keyring((OLD,)), "mesh"), Seal(Keyring((NEW, OLD)), "mesh")
    assert ours.open(old.seal(b"x")) == b"x"
    ours.set_ring(Keyring((NEW,), (fingerprint(OLD),)))
    datagram = old.seal(b"x")
    assert ours.open(datagram) is None
    assert ours.is_of_retired_key(datagram)
    assert not ours.is_of_retired_key(Seal(Keyring((NEW,)), "mesh").seal(b"x"))
    assert not ours.is_of_retired_key(b"short")


def test_a_key_that_comes_back_repeats_no_nonce() -> None:
    seal = Seal(Keyring((OLD, NEW)), "mesh")
    headers = set()
    for ring in (Keyring((OLD, NEW)), Keyring((NEW, OLD))) * 2:
        seal.set_ring(ring)
        headers.add(seal.seal(b"x")[:25])
    assert len(headers) == 4


@given(st.binary(min_size=41, max_size=200), st.booleans())
def test_junk_costs_at_most_one_derivation(junk: bytes, guesses_the_hint: bool) -> None:
    keys = tuple(bytes([number]) * 32 for number in range(KEYS_MAX))
    seal = Seal(Keyring(keys), "mesh")
    before = seal.derivations
    hint = bytes.fromhex(fingerprint(keys[3]))[:4] if guesses_the_hint else junk[1:5]
    assert seal.open(b"\1" + hint + junk[5:]) is None
    assert seal.derivations - before <= 1
    assert seal.rejected_key == 1
