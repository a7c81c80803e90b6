"""The registry by itself: which decision counts, which version is chosen, what a digest tells."""

import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import permutations
from pathlib import Path

import pytest

from gossamer_node.errors import InputError
from gossamer_node.registry.packed import pack_spec, unpack_spec
from gossamer_node.registry.rows import Row
from gossamer_node.registry.semver import precedence
from gossamer_node.registry.store import Registry
from gossamer_node.service.load import loads


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(tmp_path)
    yield opened
    opened.close()


def row(name: str = "s", version: str = "1.0.0", number: int = 1, *, there: bool = True) -> Row:
    return Row(name, version, number, there, module=f"{name}{version}", here=there)


def signed(one: Row) -> Row:
    return replace(one, word=f"{one.label} {one.number} {one.there}".encode())


def test_versions_come_in_the_order_of_semver() -> None:
    # semver.org 2.0.0, §11.4, and numbers that text would order otherwise.
    ordered = [
        "0.9.0",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.2.0",
        "1.10.0",
        "2.0.0",
    ]
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled, key=precedence) == ordered


def test_the_highest_version_that_can_run_is_chosen(registry: Registry) -> None:
    registry.put([row(version=one) for one in ("1.9.0", "1.10.0", "1.2.0")])
    chosen = registry.chosen("s")
    assert chosen is not None and chosen.version == "1.10.0"
    registry.refuse(chosen, "not granted")
    assert [one.version for one in registry.most_used(10)] == ["1.9.0"]
    registry.put(
        [row(version="2.0.0", number=2, there=True), row(version="1.9.0", number=2, there=False)]
    )
    registry.put([replace(row(version="3.0.0"), here=False)])
    assert [one.version for one in registry.most_used(10)] == ["2.0.0"]
    assert [one.version for one in registry.wanted()] == ["3.0.0"]
    assert [one.version for one in registry.versions("s")] == ["3.0.0", "2.0.0", "1.10.0", "1.2.0"]


def test_decisions_end_alike_in_whatever_order_they_come(tmp_path: Path) -> None:
    decisions = [
        signed(row(number=1)),
        signed(row(number=2, there=False)),
        signed(row(number=3)),
        signed(row(version="2.0.0", number=1)),
    ]
    digests, listed = set(), set()
    for number, order in enumerate(permutations(decisions)):
        registry = Registry(tmp_path / str(number))
        for one in order:
            registry.put([one])
        digests.add(registry.digest())
        listed.add(tuple((one.label, one.number) for one in registry.listed()))
        registry.close()
        again = Registry(tmp_path / str(number))
        digests.add(again.digest())
        assert again.known() == 2
        again.close()
    assert len(digests) == 1 and listed == {(("s@1.0.0", 3), ("s@2.0.0", 1))}


def test_the_digest_is_of_signed_decisions_alone(registry: Registry) -> None:
    assert registry.digest() == b""
    registry.put([row()])
    assert registry.digest() == b""
    registry.put([signed(row(number=2))])
    first = registry.digest()
    assert len(first) == 8
    registry.put([signed(row(number=3, there=False))])
    assert registry.digest() not in (b"", first)


def test_ones_own_decision_yields_to_a_signed_one_that_a_person_here_adds(
    registry: Registry,
) -> None:
    registry.put([row(number=9, there=False)])
    assert registry.put([signed(row(number=5))]) == []
    assert registry.put([signed(row(number=5))], over_own=True)
    assert registry.put([signed(row(number=4, there=False))], over_own=True) == []
    assert registry.known() == 1


def test_pages_have_every_word_once_the_newest_first(registry: Registry) -> None:
    count = 3_000
    registry.put([signed(row(f"s{number}")) for number in range(count)])
    registry.put([row("unsigned")])
    place, found = registry.words(0)
    pages = 1
    while place:
        place, more = registry.words(place)
        found += more
        pages += 1
    assert pages > 1 and found == [f"s{n}@1.0.0 1 True".encode() for n in reversed(range(count))]


def test_a_module_goes_with_the_last_version_that_has_it(registry: Registry) -> None:
    registry.contents.keep(b"\0asm", b"")
    module = sha256(b"\0asm").hexdigest()
    both = [replace(row(version=one), module=module) for one in ("1.0.0", "2.0.0")]
    registry.put(both)
    for one, stays in zip(both, (True, False), strict=True):
        registry.put([Row(one.name, one.version, 2, there=False)])
        registry.forget(module, "")
        assert registry.contents.module(module).is_file() is stays


def test_a_file_that_is_no_registry_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "registry.sqlite").write_bytes(b"something else entirely, and long enough" * 100)
    with pytest.raises(InputError, match="cannot be used"):
        Registry(tmp_path)


def test_a_change_that_fails_changes_nothing(registry: Registry) -> None:
    registry.put([signed(row())])
    digest = registry.digest()
    with pytest.raises(AttributeError):
        registry.put([signed(row("t")), None])  # type: ignore[list-item]
    assert (registry.digest(), registry.known()) == (digest, 1)
    assert registry.get("t", "1.0.0") is None


def test_nothing_that_a_start_asks_reads_all_rows(registry: Registry) -> None:
    registry.put([row(f"s{number}") for number in range(2_000)])
    asked: list[str] = []
    registry._reader.set_trace_callback(asked.append)
    registry.most_used(10)
    registry.wanted()
    registry.words(0)
    registry._reader.set_trace_callback(None)
    registry._database.set_trace_callback(asked.append)
    registry.ask_anew()
    registry._database.set_trace_callback(None)
    asked = [one for one in asked if one.startswith("SELECT")]
    assert len(asked) == 4
    with sqlite3.connect(registry.folder / "registry.sqlite") as database:
        for query in asked:
            (plan,) = [one[3] for one in database.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert "USING INDEX" in plan, (query, plan)


def test_a_start_and_a_stop_with_a_hundred_thousand_services_are_quick(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for first in range(0, 100_000, 5_000):
        numbers = range(first, first + 5_000)
        registry.put([signed(replace(row(f"s{one}"), description=bytes(200))) for one in numbers])
    digest = registry.digest()
    registry.close()
    began_s = time.thread_time()
    registry = Registry(tmp_path)
    registry.ask_anew()
    at_work = registry.most_used(1_024)
    assert registry.wanted() == []
    took_s = time.thread_time() - began_s
    assert (registry.known(), len(at_work), registry.digest()) == (100_000, 1_024, digest)
    assert registry.chosen_count() == 100_000
    print(f"{took_s * 1_000:.1f} ms")
    # Of this thread alone, however busy the machine is.
    # The whole node has 2 s; a scan of all rows alone would take a good part of them.
    assert took_s < 1
    began_s = time.thread_time()
    registry.used([one.name for one in at_work])
    for one in at_work[:100]:
        registry.refuse(one, "not today")
        registry.forget("no such module", "no such files")
    assert registry.travels("neither") is False
    took_s = time.thread_time() - began_s
    assert registry.chosen_count() == 99_900
    registry.close()
    print(f"{took_s * 1_000:.1f} ms")
    # One statement that looks at all chosen rows, for each of them, takes half a minute.
    assert took_s < 5


def test_a_packed_spec_is_the_spec(tmp_path: Path) -> None:
    text = b"""
name: s
version: 1.0.0
module: w.wasm
topics: [{name: t, engines: [a, b], variables: [], lock: 10s}, {name: u}]
limits: {time: 1s}
capabilities: {http: ["{booking}"], config: [x], extend_lock: true}
instances: {min: 2, max: 3}
dependencies: [{name: grpc, version: ^1.0.0}]
grpc: {host: h, port: 1, proto-files: [a.proto]}
profile: dense
dense: {key: /job/business_key}
"""
    spec = loads(text, tmp_path / "service.yaml")
    assert unpack_spec(pack_spec(spec)) == spec
    for junk in (b"", b"\xc1", pack_spec(spec)[:-1], b"\x92\xc4\x08aaaaaaaa\x90"):
        assert unpack_spec(junk) is None
