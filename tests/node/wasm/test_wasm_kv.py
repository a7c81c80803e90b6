"""What services keep: asked by real guests, on the disk before they hear of it, within bounds."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.patience import PATIENCE_S

from gossamer_node.config import load as load_config
from gossamer_node.errors import InputError
from gossamer_node.jobs import Failed, Outcome
from gossamer_node.service.spec import Grant, KvQuota, ServiceSpec
from gossamer_node.supervisor import open_node
from gossamer_node.wasm import Detached, WasmHost, Worker
from gossamer_node.wasm.asking.kv import Kv, QuotaError
from gossamer_node.wasm.asking.operations import OPERATIONS, Code, OperationError, perform
from gossamer_node.wasm.engine import STACK_BYTES_MIN, Engines
from gossamer_node.wasm.run import Run, Surroundings

Load = Callable[..., Worker]
RunJob = Callable[..., Outcome]
Ask = Callable[..., Any]

GRANT = Grant(kv=KvQuota())


@pytest.fixture
def kv_file(tmp_path: Path) -> Path:
    return tmp_path / "kv.sqlite"


@pytest.fixture
def wasm_host(tmp_path: Path, kv_file: Path) -> Iterator[WasmHost]:
    with WasmHost(tmp_path / "cache", threads=2, kv_file=kv_file) as host:
        yield host


@pytest.fixture
def kv(kv_file: Path) -> Iterator[Kv]:
    opened = Kv(kv_file)
    yield opened
    opened.close()


def put(kv: Kv, key: str, value: bytes | None, if_version: int | None = None) -> tuple[bool, int]:
    return kv.write("s", key.encode(), value, if_version=if_version, quota=KvQuota())


def test_a_value_comes_back_as_it_was_put_and_from_another_job(ask: Ask) -> None:
    value = {"größe": [1, 1.0, -(2**63), 2**63 - 1, True, None, "x\0y"], "": {}}
    assert ask("kv.get", {"key": "ä"}, GRANT) == {"value": None, "version": 0}
    assert ask("kv.put", {"key": "ä", "value": value}, GRANT) == {"stored": True, "version": 1}
    found = ask("kv.get", {"key": "ä"}, GRANT)
    assert json.dumps(found) == json.dumps({"value": value, "version": 1})
    assert ask("kv.delete", {"key": "ä"}, GRANT) == {"deleted": True, "version": 0}
    assert ask("kv.delete", {"key": "ä"}, GRANT) == {"deleted": False, "version": 0}
    assert ask("kv.get", {"key": "ä"}, GRANT) == {"value": None, "version": 0}


def test_a_write_of_another_version_changes_nothing(ask: Ask) -> None:
    def put(value: object, if_version: int) -> Any:
        return ask("kv.put", {"key": "k", "value": value, "if_version": if_version}, GRANT)

    assert put("a", 7) == {"stored": False, "version": 0}
    assert put("a", 0) == {"stored": True, "version": 1}
    assert put("b", 0) == {"stored": False, "version": 1}
    assert put("b", 1) == {"stored": True, "version": 2}
    gone = ask("kv.delete", {"key": "k", "if_version": 1}, GRANT)
    assert gone == {"deleted": False, "version": 2}
    assert ask("kv.get", {"key": "k"}, GRANT) == {"value": "b", "version": 2}


def test_a_version_never_comes_again(kv: Kv, kv_file: Path) -> None:
    """Who saw version 1 must not overwrite what another made after a deletion, or a restart."""
    assert put(kv, "k", b"a") == (True, 1)
    assert put(kv, "k", None) == (True, 0)
    kv.close()
    again = Kv(kv_file)
    assert put(again, "k", b"b", 0) == (True, 2)
    assert put(again, "k", b"c", 1) == (False, 2)
    again.close()


def test_keys_are_listed_by_prefix_in_the_order_of_their_bytes(ask: Ask) -> None:
    for key in ("b", "a/2", "a/10", "a/1", "a", "a0", "a/\U0010ffff", "a/é"):
        ask("kv.put", {"key": key, "value": 1}, GRANT)
    below = ["a/1", "a/10", "a/2", "a/é", "a/\U0010ffff"]
    assert ask("kv.list", {"prefix": "a/"}, GRANT) == {"keys": below, "more": False}
    first = ask("kv.list", {"prefix": "a/", "limit": 2}, GRANT)
    assert first == {"keys": below[:2], "more": True}
    rest = ask("kv.list", {"prefix": "a/", "after": "a/10"}, GRANT)
    assert rest == {"keys": below[2:], "more": False}
    assert ask("kv.list", {"prefix": "a/", "after": "a"}, GRANT)["keys"] == below
    assert ask("kv.list", {"prefix": "a/", "after": "b"}, GRANT) == {"keys": [], "more": False}
    assert ask("kv.list", {}, GRANT)["keys"] == ["a", *below, "a0", "b"]
    assert ask("kv.list", {"prefix": "\U0010ffff"}, GRANT) == {"keys": [], "more": False}


@pytest.mark.parametrize(
    ("op", "request_", "code"),
    [
        ("kv.get", {}, Code.BAD_REQUEST),
        ("kv.get", {"key": ""}, Code.BAD_REQUEST),
        ("kv.get", {"key": 3}, Code.BAD_REQUEST),
        ("kv.get", {"key": "ä" * 257}, Code.BAD_REQUEST),
        ("kv.put", {"key": "k"}, Code.BAD_REQUEST),
        ("kv.put", {"key": "k", "value": None}, Code.BAD_REQUEST),
        ("kv.put", {"key": "k", "value": 1, "if_version": -1}, Code.BAD_REQUEST),
        ("kv.put", {"key": "k", "value": 1, "if_version": True}, Code.BAD_REQUEST),
        ("kv.put", {"key": "k", "value": 1, "if_version": "1"}, Code.BAD_REQUEST),
        ("kv.put", {"key": "k", "value": "x" * 2**18}, Code.TOO_LARGE),
        ("kv.delete", {}, Code.BAD_REQUEST),
        ("kv.delete", {"key": "k", "if_version": 1.5}, Code.BAD_REQUEST),
        ("kv.list", {"prefix": []}, Code.BAD_REQUEST),
        ("kv.list", {"after": "x" * 513}, Code.BAD_REQUEST),
        ("kv.list", {"limit": 0}, Code.BAD_REQUEST),
        ("kv.list", {"limit": 1001}, Code.BAD_REQUEST),
    ],
)
def test_bad_requests_are_refused(op: str, request_: object, code: Code, ask: Ask) -> None:
    assert ask(op, request_, GRANT)[0] is code


@pytest.mark.parametrize("op", ["kv.get", "kv.put", "kv.delete", "kv.list"])
def test_nothing_is_kept_where_it_is_not_granted(op: str, ask: Ask, kv_file: Path) -> None:
    code, sentence = ask(op, {"key": "k", "value": 1}, Grant())
    assert code is Code.DENIED
    assert sentence.startswith("kv is not granted; request it")
    assert not kv_file.exists()


def test_a_quota_bounds_keys_and_bytes_and_shrinking_is_never_refused(ask: Ask, kv: Kv) -> None:
    two = Grant(kv=KvQuota(keys=2))
    for key in ("a", "b"):
        assert ask("kv.put", {"key": key, "value": "x" * 100}, two)["stored"]
    code, sentence = ask("kv.put", {"key": "c", "value": 1}, two)
    assert code is Code.TOO_LARGE
    assert sentence == (
        "rooms has 2 keys, its quota on this node; delete some, or raise `kv.keys` in its grant."
    )
    assert ask("kv.put", {"key": "a", "value": "y" * 100}, two)["stored"]
    # 2 keys of a byte, 2 values of 102.
    small = Grant(kv=KvQuota(bytes=206))
    assert ask("kv.put", {"key": "a", "value": "z" * 100}, small)["stored"]
    code, sentence = ask("kv.put", {"key": "a", "value": "z" * 101}, small)
    assert code is Code.TOO_LARGE and "keeps 206 bytes of its quota of 206" in sentence
    shrunk = Grant(kv=KvQuota(bytes=10))
    assert ask("kv.put", {"key": "a", "value": "z" * 99}, shrunk)["stored"]
    assert ask("kv.delete", {"key": "b"}, shrunk)["deleted"]
    assert ask("kv.get", {"key": "a"}, shrunk)["value"] == "z" * 99
    assert ask("kv.put", {"key": "c", "value": 1}, two)["stored"]


def test_services_share_nothing(kv: Kv) -> None:
    quota = KvQuota(keys=1)
    for service in ("one", "two"):
        done = kv.write(service, b"k", service.encode(), if_version=0, quota=quota)
        assert done[0]
    with pytest.raises(QuotaError, match="one has 1 keys"):
        kv.write("one", b"l", b"", if_version=None, quota=quota)
    found = kv.get("one", b"k")
    assert found is not None and found.value == b"one"
    assert kv.keys("three", b"", b"", 10) == []


def test_a_version_of_the_service_finds_what_another_kept(
    load: Load, run: RunJob, wasm_host: WasmHost, kv_file: Path
) -> None:
    one = load("caller", op="kv.put", request='{"key": "k", "value": 17}', grant=GRANT)
    assert not isinstance(run(one), Failed)
    wasm_host._kv = None  # as another process would: from the file
    other = load("caller", op="kv.get", request='{"key": "k"}', grant=GRANT)
    outcome = run(other)
    assert not isinstance(outcome, Failed)
    assert outcome.variables.values["reply"] == {"value": 17, "version": 1}


def test_no_update_is_lost_between_threads(kv: Kv) -> None:
    def add() -> None:
        for _ in range(25):
            while True:
                entry = kv.get("s", b"sum")
                value = int(entry.value) if entry else 0
                if put(kv, "sum", b"%d" % (value + 1), entry.version if entry else 0)[0]:
                    break

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = kv.get("s", b"sum")
    assert entry is not None and entry.value == b"200"


KILLED = """
    import os, sys
    from pathlib import Path
    from gossamer_node.service.spec import KvQuota
    from gossamer_node.wasm.asking.kv import Kv

    kv = Kv(Path(sys.argv[1]))
    for number in range(20):
        kv.write("s", b"k", b"%d" % number, if_version=None, quota=KvQuota())
    os.kill(os.getpid(), 9)
"""


def test_what_was_answered_outlives_the_process(kv_file: Path) -> None:
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(kv_file)]
    assert subprocess.run(script, check=False).returncode == -9
    kv = Kv(kv_file)
    entry = kv.get("s", b"k")
    assert entry is not None and (entry.value, entry.version) == (b"19", 20)
    kv.close()


def test_a_full_disk_is_told_and_changes_nothing(kv: Kv, ask: Ask, wasm_host: WasmHost) -> None:
    assert ask("kv.put", {"key": "k", "value": "kept"}, GRANT)["stored"]
    assert wasm_host._kv is not None
    database = wasm_host._kv._store.database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count={pages}")
    code, sentence = ask("kv.put", {"key": "k", "value": "x" * 100_000}, GRANT)
    assert code is Code.UNAVAILABLE
    assert sentence.startswith("What the service keeps could not be written to ")
    assert ask("kv.get", {"key": "k"}, GRANT) == {"value": "kept", "version": 1}
    database.execute("PRAGMA max_page_count=1000000")
    assert ask("kv.put", {"key": "k", "value": "x" * 100_000}, GRANT)["stored"]


def test_a_disk_that_stands_still_ends_with_the_jobs_time(
    load: Load, run: RunJob, wasm_host: WasmHost
) -> None:
    limits = {"time_ms_max": 200}
    request = '{"key": "k", "value": 1}'
    worker = load("caller", op="kv.put", request=request, grant=GRANT, limits=limits)
    assert wasm_host._kv is not None
    with wasm_host._kv._store._lock:
        began_s = time.monotonic()
        outcome = run(worker)
        assert time.monotonic() - began_s < PATIENCE_S
    assert isinstance(outcome, Failed)
    assert outcome.message == "The worker ran longer than its limit of 200 ms and was stopped."


def test_a_file_that_is_no_database_is_refused(kv_file: Path) -> None:
    kv_file.write_bytes(os.urandom(4_096))
    with pytest.raises(InputError, match=r"what services keep in .* cannot be used"):
        Kv(kv_file)


async def test_a_node_keeps_it_in_its_data_folder_for_whom_it_grants(
    wasm_file: Callable[..., Path], tmp_path: Path
) -> None:
    wasm_file("echo")
    service = "{name: rooms, version: 1.0.0, module: echo.wasm, topics: [{name: t}]"
    (tmp_path / "service.yaml").write_text(f"{service}, capabilities: {{kv: true}}}}")
    (tmp_path / "gossamer.yaml").write_text(
        "{name: n, listen: '127.0.0.1:0', services: [service.yaml], data_dir: data, "
        "cache_dir: cache, grants: {rooms: {kv: {bytes: 1KiB, keys: 3}}}}"
    )
    config = load_config(environ={"GOSSAMER_CONFIG": str(tmp_path / "gossamer.yaml")})
    assert config.grants_of("rooms").kv == KvQuota(1_024, 3)
    async with open_node(config):
        assert (tmp_path / "data" / "kv.sqlite").is_file()
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


texts = st.text(max_size=6) | st.sampled_from(["k", "", "é" * 300])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["key", "value", "if_version", "prefix", "after", "limit"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    op=st.sampled_from(["kv.get", "kv.put", "kv.delete", "kv.list"]),
    request_=st.dictionaries(names, anything | st.just("k"), max_size=4),
)
def test_any_request_is_answered_or_refused_in_words(
    op: str,
    request_: dict[str, Any],
    wasm_host: WasmHost,
    spec: Callable[..., ServiceSpec],
    tmp_path: Path,
) -> None:
    around = Surroundings(
        spec(tmp_path / "m.wasm"),
        GRANT,
        Engines().get(STACK_BYTES_MIN),
        wasm_host.io,
        OPERATIONS,
        nullcontext,
        is_command=False,
        kv=wasm_host._open_kv(),
    )
    run = Run(around, Detached(), deadline_s=time.monotonic() + 60)
    try:
        perform(op, json.dumps(request_).encode(), run)
    except OperationError as error:
        assert error.code in {Code.BAD_REQUEST, Code.TOO_LARGE}
