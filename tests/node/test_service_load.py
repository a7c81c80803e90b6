"""service.yaml: the seed's file as it stands, every field, and the rules between services."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_node.errors import InputError, ServiceError
from gossamer_node.reference import service_schema
from gossamer_node.schema.source import Invalid
from gossamer_node.service import load
from gossamer_node.service.grants import Grants
from gossamer_node.service.host import HOST, require_host, services_needed
from gossamer_node.service.spec import (
    Capabilities,
    Dense,
    Dependency,
    Grpc,
    Limits,
    ServiceSpec,
    Topic,
)
from gossamer_node.wasm.asking.operations import OPERATIONS

FIRST_SERVICE = b"""\
service:
  name: "Camunda8Worker"
  description: "Worker service for interacting with Camunda 8 via gRPC API"
  version: "1.0.0"
  dependencies:
    - name: "grpc"
      version: "^1.0.0"
  grpc:
    host: "localhost"
    port: 26500
    proto-files:
      - "camunda8.proto"
"""

EVERY_FIELD = b"""\
name: booking
version: 2.1.0-rc.1+build.7
description: |
  Books rooms.
module: build/booking.wasm
topics:
  - name: block-room
    engines: [camunda7]
    variables: [room, nights]
    lock: 5m
  - name: create-booking
limits: {memory: 1.5MiB, time: 250ms, output: 64KiB, stack: 1MiB}
capabilities:
  http: ["{booking}", "HTTPS://API.example.org:443/"]
  config: [currency]
  extend_lock: true
concurrency: 2
encoding: msgpack
retries: 5
backoff: 1m
on_holder_lost: wait
profile: dense
dense:
  key: /variables/room/id
  live: 100000
  when_full: refuse
  idle: 1h
  age: 720h
  jobs: 500
  memory: 2MiB
  waiting: 0
  state: 0B
"""

FILE = Path("booking/service.yaml")


def spec_of(text: str, path: Path = FILE) -> ServiceSpec:
    return load.loads(f"version: 1.0.0\n{text}".encode(), path)


def test_the_first_service_passes_as_it_stands() -> None:
    assert load.loads(FIRST_SERVICE, FILE) == ServiceSpec(
        path=FILE,
        name="Camunda8Worker",
        version="1.0.0",
        description="Worker service for interacting with Camunda 8 via gRPC API",
        dependencies=(Dependency("grpc", "^1.0.0"),),
        grpc=Grpc("localhost", 26500, ("camunda8.proto",)),
    )


def test_a_description_is_not_run() -> None:
    with pytest.raises(ServiceError, match=r"has no `module`, so it is a description"):
        load.require_runnable(load.loads(FIRST_SERVICE, FILE))


def test_every_field_is_read() -> None:
    assert load.loads(EVERY_FIELD, FILE) == ServiceSpec(
        path=FILE,
        name="booking",
        version="2.1.0-rc.1+build.7",
        description="Books rooms.\n",
        module=Path("booking/build/booking.wasm"),
        topics=(
            Topic("block-room", ("camunda7",), ("room", "nights"), 300_000),
            Topic("create-booking"),
        ),
        limits=Limits(3 * 2**19, 250, 2**16, 2**20),
        capabilities=Capabilities(("{booking}", "https://api.example.org"), ("currency",), True),
        concurrency=2,
        encoding="msgpack",
        retries=5,
        backoff_ms=60_000,
        on_holder_lost="wait",
        profile="dense",
        dense=Dense(
            key="/variables/room/id",
            live=100_000,
            when_full="refuse",
            idle_ms=3_600_000,
            age_ms=2_592_000_000,
            jobs=500,
            memory_bytes=2**21,
            waiting=0,
            state_bytes_max=0,
        ),
    )


def test_the_root_is_optional() -> None:
    rooted = b"service:\n" + b"".join(b"  " + line for line in EVERY_FIELD.splitlines(True))
    assert load.loads(rooted, FILE) == load.loads(EVERY_FIELD, FILE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nmae: a", "booking/service.yaml:2: unknown key 'nmae'; did you mean `name`?"),
        ("name: a b", "booking/service.yaml:2: name: 'a b' won't do; write a name"),
        ("name: a\nlimits:\n  memory: 16 MB", "service.yaml:4: limits.memory: '16 MB' is not a"),
        ("name: a\nlimits: {memory: 8GiB}", "limits.memory: '8GiB' is out of bounds"),
        ("name: a\nlimits: {memroy: 8MiB}", "limits: unknown key 'memroy'; did you mean `memory`"),
        ("name: a\ntopics: [{lock: 3s}]", "topics[0]: `name` is missing"),
        ("name: a\ntopics: [{name: t}, {name: t}]", "topics[1]: the same as topics[0]"),
        ("name: a\ntopics: [t]", "topics[0]: this is no mapping; write the keys `name`"),
        ("name: a\ncapabilities: {http: [http://x/a]}", "has more than scheme, host and port"),
        ("name: a\ncapabilities: {http: [http://u:p@x]}", "has more than scheme, host and port"),
        ("name: a\ncapabilities: {http: ['http://x:99999']}", "capabilities.http[0]: "),
        ("name: a\ncapabilities: {http: ['http://[::1']}", "capabilities.http[0]: "),
        ("name: a\ncapabilities: {http: ['*']}", "'*' is not an origin"),
        (
            "name: a\ndependencies: [{name: grpc, version: latest}]",
            "'latest' has no version at 'latest'; write a version range",
        ),
        ("name: a\ngrpc: {host: x, port: 0, proto-files: [a]}", "grpc.port: '0' is out of bounds"),
        ("name: a\ngrpc: {host: x, port: 1, proto-files: []}", "grpc.proto-files: 0 items"),
        ("name: a\nprofile: lazy", "profile: 'lazy'"),
        ("name: a\ndense: {live: 2}", "dense: only instances of `profile: dense` live on"),
        ("name: a\nprofile: dense\ndense: {key: business_key}", "dense.key: 'business_key' won't"),
        ("name: a\nprofile: dense\ndense: {key: /types/x}", "an input has no types; begin with"),
        ("name: a\nprofile: dense\ndense: {key: /variables}", "this is a whole map; name what"),
        ("name: a\nprofile: dense\ndense: {live: 0}", "dense.live: '0' is out of bounds"),
        (
            "name: a\ntopics: [{name: t, variables: [b]}]\nprofile: dense\n"
            "dense: {key: /variables/a/id}",
            "topics: t does not fetch a, the key of `dense`; add it",
        ),
        ("name: a\nservice: {}", "'version' stands beside `service:`; indent it under that"),
    ],
)
def test_a_wrong_field_is_named_by_line(text: str, said: str) -> None:
    with pytest.raises(Invalid) as raised:
        spec_of(text)
    assert said in str(raised.value)


@pytest.mark.parametrize("version", ["1.0", "01.0.0", "v1.0.0", "1.0.0-", "1.0.0+", "latest"])
def test_a_version_is_semantic(version: str) -> None:
    with pytest.raises(Invalid, match="version: "):
        load.loads(f'name: a\nversion: "{version}"'.encode(), FILE)


@pytest.mark.parametrize(
    "version",
    [
        *("*", "1", "~1.2", ">=1.0.0 <2.0.0", "=1.0.0-rc.1", "^0.2"),
        *("1.x || >=2.5.0", "1.2 - 2.3.4", "^1.2.3-beta.2"),
    ],
)
def test_ranges_of_dependencies(version: str) -> None:
    text = f'name: a\ndependencies: [{{name: x, version: "{version}"}}]'
    assert spec_of(text).dependencies == (Dependency("x", version),)


@pytest.mark.parametrize("version", ["", " ", "latest", "^", "1 - ", "01", "^1 ||| ^2", "1" * 101])
def test_a_bad_range_is_refused_by_line_and_field(version: str) -> None:
    with pytest.raises(Invalid) as raised:
        spec_of(f'name: a\ndependencies:\n  - name: x\n    version: "{version}"')
    (problem,) = raised.value.problems
    assert (problem.place.line, problem.field) == (5, "dependencies[0].version")
    assert problem.sentence.endswith(
        "write a version range such as `^1.0.0`, `>=1.2 <2`, `1.x || 3.x`, or `*`"
    )


def test_a_service_that_needs_what_the_host_has_otherwise_is_refused(tmp_path: Path) -> None:
    needs = "[{name: kv, version: ^1}, {name: grpc, version: ^2.1}, {name: log, version: <1}]"
    text = f"name: a\nmodule: a.wasm\ntopics: [{{name: t}}]\ndependencies: {needs}"
    with pytest.raises(ServiceError) as raised:
        load.require_runnable(spec_of(text))
    assert str(raised.value) == (
        "booking/service.yaml: service a depends on grpc ^2.1, and this host has grpc 1.0.0; on "
        "log <1, and this host has log 1.0.0: change the range, or run it where Gossamer has that "
        "version (`gossamer doctor` shows what a host has)."
    )


def test_the_first_service_depends_on_what_this_host_has() -> None:
    spec = load.loads(FIRST_SERVICE, FILE)
    require_host(spec)
    assert services_needed(spec) == ()


def test_each_operation_belongs_to_a_capability_of_the_host() -> None:
    named = [each for one in HOST.values() for each in one.operations]
    assert sorted(named) == sorted(OPERATIONS)
    assert all(each.startswith(f"{name}.") for name, one in HOST.items() for each in one.operations)
    text = "[" + ", ".join(f"{{name: {one}, version: ^1}}" for one in HOST) + "]"
    require_host(spec_of(f"name: a\ndependencies: {text}"))


def test_all_problems_come_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        load.loads(b"name: no\nretries: 0\nbackoff: 1\ntopics: [{}, {}]", FILE)
    assert [one.place.line for one in raised.value.problems] == [1, 2, 3, 4, 4, 1]
    assert "(and 5 more)" in str(raised.value)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_bytes_are_a_service_or_an_input_error(data: bytes) -> None:
    try:
        load.loads(data, FILE)
    except InputError as error:
        assert str(error).isprintable()


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("30s")
)


@given(
    st.dictionaries(
        st.sampled_from([row.key for row in load.SERVICE.fields]),
        st.recursive(
            SCALARS,
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["name", "version", "lock", "http", "memory", "port", "x"]),
                    inner,
                    max_size=3,
                ),
            ),
            max_leaves=8,
        ),
    )
)
def test_any_values_are_a_service_or_invalid(plain: dict[str, object]) -> None:
    # JSON is YAML, but for what no JSON has (NaN), which must be refused as well.
    try:
        load.loads(json.dumps(plain).encode(), FILE)
    except Invalid as error:
        assert error.problems


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"service\.yaml cannot be read \(No such file"):
        load.load(tmp_path / "service.yaml")


def test_a_folder_means_its_service_or_those_below(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no service\.yaml"):
        load.find(tmp_path)
    for name in ("b", "a", "empty"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "service.yaml").write_text("name: x")
    below = [tmp_path / "a" / "service.yaml", tmp_path / "b" / "service.yaml"]
    assert load.find(tmp_path) == below
    assert load.find(tmp_path / "a") == below[:1]
    assert load.find(below[1]) == below[1:]


def test_a_module_is_there_and_is_webassembly(tmp_path: Path) -> None:
    spec = spec_of("name: a\nmodule: a.wasm\ntopics: [{name: t}]", tmp_path / "service.yaml")
    with pytest.raises(ServiceError, match=r"a\.wasm cannot be read \(No such file"):
        load.require_runnable(spec)
    (tmp_path / "a.wasm").write_bytes(b"MZ")
    with pytest.raises(ServiceError, match=r"a\.wasm is not a WebAssembly binary"):
        load.require_runnable(spec)
    (tmp_path / "a.wasm").write_bytes(load.WASM_MAGIC)
    assert load.require_runnable(spec) == tmp_path / "a.wasm"


def test_a_service_without_topics_is_for_other_services(tmp_path: Path) -> None:
    spec = spec_of("name: a\nmodule: a.wasm", tmp_path / "service.yaml")
    (tmp_path / "a.wasm").write_bytes(load.WASM_MAGIC)
    assert load.require_runnable(spec) == spec.module


def topic(name: str, engines: str = "", file: str = "a") -> ServiceSpec:
    at = f", engines: [{engines}]" if engines else ""
    text = f"name: {name}\ntopics: [{{name: t{at}}}]"
    return spec_of(text, Path(file) / "service.yaml")


def test_two_services_on_one_topic_of_one_engine_are_refused() -> None:
    with pytest.raises(ServiceError, match=r"a/service.yaml and b/service.yaml both claim topic t"):
        load.refuse_conflicts([topic("a"), topic("b", "c7", "b")], ["c7", "c8"])


def test_one_topic_on_two_engines_is_no_conflict() -> None:
    load.refuse_conflicts([topic("a", "c8"), topic("b", "c7", "b")], ["c7", "c8"])


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ServiceError, match="are both named a; rename one"):
        load.refuse_conflicts([topic("a", "c7"), topic("a", "c8", "b")], ["c7", "c8"])


def test_a_topic_names_engines_that_exist() -> None:
    with pytest.raises(ServiceError, match="names the engine c9, which this node doesn't have"):
        load.refuse_conflicts([topic("a", "c9")], ["c7"])


def test_a_node_without_engines_serves_those_of_others() -> None:
    load.refuse_conflicts([topic("a", "c7"), topic("b", "c8", "b")], [])
    with pytest.raises(ServiceError, match="both claim topic t on engine c7"):
        load.refuse_conflicts([topic("a", "c7"), topic("b", file="b")], [])
    with pytest.raises(ServiceError, match="both claim topic t on engine any"):
        load.refuse_conflicts([topic("a"), topic("b", file="b")], [])


def test_a_service_gets_what_it_requests_and_the_node_grants() -> None:
    spec = spec_of(
        "name: a\ncapabilities: {http: ['{booking}', '{room}', http://a, http://b], "
        "config: [x, y], extend_lock: true}"
    )
    grants = Grants(
        http_origins=("http://a", "http://unasked"),
        origins={"booking": "http://127.0.0.1:5001"},
        config={"x": "1", "unasked": "2"},
    )
    grant, refused = grants.bind(spec)
    assert grant.http_origins == ("http://127.0.0.1:5001", "http://a")
    assert grant.config == {"booking": "http://127.0.0.1:5001", "x": "1"}
    assert not grant.extend_lock
    assert [one.split(", which")[0].removeprefix("service a requests ") for one in refused] == [
        "http {room}",
        "http http://b",
        "config y",
        "extend_lock",
    ]


def test_a_grpc_server_is_granted_by_host_and_port() -> None:
    text = "name: a\ngrpc: {{host: {}, port: 26500, proto-files: [a.proto]}}"
    for host, target in (("Localhost", "localhost:26500"), ('"::1"', "[::1]:26500")):
        spec = spec_of(text.format(host))
        assert spec.grpc is not None and spec.grpc.target == target and not spec.grpc.tls
        grant, refused = Grants(grpc=(target,)).bind(spec)
        assert grant.grpc and not refused
        grant, refused = Grants(grpc=("localhost:26501", "other:26500")).bind(spec)
        assert not grant.grpc
        assert refused == (
            f"service a requests grpc {target}, which this node doesn't grant; to grant it, write "
            f'`grpc: ["{target}"]` under grants.a.',
        )
    assert not Grants(grpc=("localhost:26500",)).bind(spec_of("name: a"))[0].grpc
    assert load.parse_target("LOCALHOST:26500") == "localhost:26500"
    for wrong in (
        "localhost",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "http://a:1",
        "::1:1",
    ):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            load.parse_target(wrong)


def test_tls_to_a_grpc_server() -> None:
    text = "name: a\ngrpc: {host: h, port: 1, proto-files: [a.proto], tls: true}"
    assert spec_of(text).grpc == Grpc("h", 1, ("a.proto",), tls=True)


def test_the_schema_names_the_fields_of_the_table() -> None:
    defs = service_schema()["$defs"]
    assert isinstance(defs, dict) and isinstance(defs["service"], dict)
    service = defs["service"]
    assert service["required"] == ["name", "version"]
    assert service["additionalProperties"] is False
