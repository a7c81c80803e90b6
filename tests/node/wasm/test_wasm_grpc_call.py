"""`grpc.call`, asked by a real guest of grpcio's server, and the bounds of messages."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.certificates import self_signed
from tests.node.shades_peer import PROTO, shades

from gossamer_node.jobs import Completed, Failed, Outcome
from gossamer_node.proto import Method, ProtoError, Schema
from gossamer_node.proto.messages import (
    SLOTS_MAX,
    VALUES_MAX,
    BadMessage,
    TooMuch,
    decode,
    encode,
)
from gossamer_node.proto.schema import compile_schema
from gossamer_node.service.spec import Grant, Grpc, ServiceSpec
from gossamer_node.wasm import Detached, WasmHost
from gossamer_node.wasm.asking.operations import OPERATIONS, Code, OperationError, perform
from gossamer_node.wasm.asking.operations.grpc_call import ANSWER_BYTES_MAX, REQUEST_BYTES_MAX
from gossamer_node.wasm.engine import STACK_BYTES_MIN, Engines
from gossamer_node.wasm.run import Run, Surroundings

Spec = Callable[..., ServiceSpec]
RunJob = Callable[..., Outcome]
GRANTED = Grant(grpc=True)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with shades() as port:
        yield port


@pytest.fixture(scope="module")
def schema() -> Schema:
    return compile_schema({"modern.proto": PROTO.read_bytes()})


@pytest.fixture
def call(
    wasm_host: WasmHost, wasm_file: Callable[..., Path], spec: Spec, run: RunJob, port: int
) -> Callable[..., Any]:
    """Call a method through a guest. Gives the reply, or (code, sentence)."""

    def make(
        method: str,
        request: object = None,
        *,
        grant: Grant = GRANTED,
        server: Grpc | None = None,
        **rest: Any,
    ) -> Any:
        asked = json.dumps({"method": method, "request": request, **rest})
        module = wasm_file("caller", op="grpc.call", request=asked)
        module.with_name("modern.proto").write_bytes(PROTO.read_bytes())
        server = server or Grpc("127.0.0.1", port, ("modern.proto",))
        limits = {"output_bytes_max": 2 * REQUEST_BYTES_MAX}
        worker = wasm_host.load_blocking(spec(module, grpc=server, limits=limits), grant)
        outcome = run(worker)
        if isinstance(outcome, Failed):
            assert outcome.message[0].isdigit(), outcome
            return Code(-int(outcome.message[0])), outcome.message[1:]
        assert isinstance(outcome, Completed)
        return outcome.variables.values["reply"]

    return make


def test_values_of_every_kind_come_back_as_they_went(call: Callable[..., Any]) -> None:
    sent = {
        "maybe": 0,
        "_kind": "DARK",
        "text": "grüße",
        "again": {"data": "AP8="},
        "numbers": [1, -2],
        "kinds": {"-3": "MIN"},
        "at": "2026-11-21T09:00:00.250Z",
        "free": {"a": [1.5, None, {"b": True}]},
        "boxed": "9007199254740993",
        "lasting": "-1.500s",
        "wide": "18446744073709551615",
        "ratio": "Infinity",
        "largeNumber": "18446744073709551615",
        "list": [],
        "shades": {"é": {"kind": "DARK"}},
    }
    reply = call("modern.Shades/Echo", sent)
    told = reply["response"]
    assert reply["status"] == "OK" and "message" not in reply
    assert told["again"]["data"] == "AP8=" and told["again"]["kind"] == "KIND_UNSPECIFIED"
    assert told["shades"]["é"]["kind"] == "DARK"
    for name, value in sent.items():
        if name not in ("again", "shades"):
            assert told[{"_kind": "Kind"}.get(name, name)] == value, name
    assert (told["flag"], told["kind"], told["loose"]) == (False, "KIND_UNSPECIFIED", [])
    assert "value" not in told and "data" not in told


def test_names_as_the_proto_file_has_them_and_a_slash_in_front(call: Callable[..., Any]) -> None:
    reply = call("/modern.Shades/Echo", {"large_number": 7, "kind": 16})
    assert (reply["response"]["largeNumber"], reply["response"]["kind"]) == ("7", "DARK")
    assert call("modern.Shades/Echo")["response"]["largeNumber"] == "0"


def test_metadata_goes_along(call: Callable[..., Any]) -> None:
    metadata = {"Note": "from a worker", "raw-bin": "AP8="}
    reply = call("modern.Shades/Echo", {"text": "metadata"}, metadata=metadata)
    assert (reply["response"]["Maybe"], reply["response"]["data"]) == ("from a worker", "AP8=")


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        {"": "x"},
        {"a b": "x"},
        {":path": "x"},
        {"grpc-timeout": "1S"},
        {"Content-Type": "x"},
        {"a": 1},
        {"a": "x\r\ny: z"},
        {"a": "é"},
        {str(i): "" for i in range(65)},
    ],
)
def test_metadata_that_is_refused(call: Callable[..., Any], metadata: object) -> None:
    assert call("modern.Shades/Echo", metadata=metadata)[0] is Code.BAD_REQUEST


def test_too_much_metadata(call: Callable[..., Any]) -> None:
    assert call("modern.Shades/Echo", metadata={"a": "x" * 8192})[0] is Code.TOO_LARGE


def test_a_status_of_the_server_is_a_reply(call: Callable[..., Any]) -> None:
    for name in ("NOT_FOUND", "UNAVAILABLE", "UNAUTHENTICATED"):
        reply = call("modern.Shades/Fail", {"text": name})
        assert reply == {"status": name, "message": "No such shade: ü %."}
    # The server's clock or ours, whichever is first.
    assert call("modern.Shades/Fail", {"text": "DEADLINE_EXCEEDED"})[0] is Code.DEADLINE


def test_a_stream_is_gathered(call: Callable[..., Any]) -> None:
    reply = call("modern.Shades/Count", {"largeNumber": 300})
    assert (reply["status"], reply["complete"]) == ("OK", True)
    assert [one["largeNumber"] for one in reply["responses"]] == [str(n) for n in range(300)]
    reply = call("modern.Shades/Count", {"largeNumber": 0})
    assert reply == {"status": "OK", "responses": [], "complete": True}
    reply = call("modern.Shades/Count", {"largeNumber": 2, "flag": True})
    assert (reply["status"], reply["message"]) == ("RESOURCE_EXHAUSTED", "No more.")
    assert (len(reply["responses"]), reply["complete"]) == (2, True)


def test_a_stream_ends_at_the_bounds_that_the_worker_names(call: Callable[..., Any]) -> None:
    reply = call("modern.Shades/Push", {"text": "x"}, messages_max=3)
    assert (reply["status"], reply["complete"], len(reply["responses"])) == ("OK", False, 3)
    # One comes at once, the next one long after.
    reply = call("modern.Shades/Push", {"ratio": 60}, timeout_ms=2_000)
    assert (reply["status"], reply["complete"]) == ("DEADLINE_EXCEEDED", False)
    assert len(reply["responses"]) == 1
    assert reply["message"].endswith("/modern.Shades/Push did not answer within 2000 ms")
    assert call("modern.Shades/Push", messages_max=1001)[0] is Code.BAD_REQUEST


def test_time_ends_a_call(call: Callable[..., Any], port: int) -> None:
    code, sentence = call("modern.Shades/Wait", timeout_ms=150)
    assert code is Code.DEADLINE
    assert sentence == f"127.0.0.1:{port}/modern.Shades/Wait did not answer within 150 ms."


def test_the_jobs_time_ends_a_call(
    wasm_host: WasmHost, wasm_file: Callable[..., Path], spec: Spec, run: RunJob, port: int
) -> None:
    request = json.dumps({"method": "modern.Shades/Wait"})
    module = wasm_file("caller", op="grpc.call", request=request)
    module.with_name("modern.proto").write_bytes(PROTO.read_bytes())
    server = Grpc("127.0.0.1", port, ("modern.proto",))
    waiting = spec(module, grpc=server, limits={"time_ms_max": 200})
    outcome = run(wasm_host.load_blocking(waiting, GRANTED))
    assert isinstance(outcome, Failed) and "200" in outcome.message


def test_what_can_not_be_reached(call: Callable[..., Any], unused_tcp_port: int) -> None:
    server = Grpc("127.0.0.1", unused_tcp_port, ("modern.proto",))
    code, sentence = call("modern.Shades/Echo", server=server)
    assert code is Code.UNAVAILABLE
    assert sentence.startswith(f"127.0.0.1:{unused_tcp_port}/modern.Shades/Echo gave no answer: ")
    assert sentence.endswith("; check that it runs and its address.")
    code, sentence = call("modern.Shades/Count", server=server)
    assert code is Code.UNAVAILABLE and "check that it runs" in sentence


@pytest.fixture
def unused_tcp_port() -> Iterator[int]:
    with socket.socket() as unheard:  # bound, so that nobody else gets the port; not listening
        unheard.bind(("127.0.0.1", 0))
        port: int = unheard.getsockname()[1]
        yield port


def test_a_server_without_the_method(call: Callable[..., Any], port: int, tmp_path: Path) -> None:
    other = b'syntax = "proto3"; package p; message M {} service S { rpc A (M) returns (M); }'
    (tmp_path / "other.proto").write_bytes(other)
    server = Grpc("127.0.0.1", port, ("other.proto",))
    assert call("p.S/A", server=server)["status"] == "UNIMPLEMENTED"


def test_an_answer_that_is_junk(call: Callable[..., Any]) -> None:
    code, sentence = call("modern.Shades/Junk")
    assert code is Code.UNAVAILABLE
    assert "/modern.Shades/Junk answered no modern.Shade; compare the service's" in sentence


def test_sizes_are_bounded(call: Callable[..., Any]) -> None:
    large = "A" * (REQUEST_BYTES_MAX // 3 * 4)
    assert call("modern.Shades/Echo", {"text": "x" * (REQUEST_BYTES_MAX + 1)})[0] is Code.TOO_LARGE
    assert call("modern.Shades/Count", {"largeNumber": 2, "data": large})[0] is Code.TOO_LARGE
    small = {"largeNumber": 4, "data": "A" * (ANSWER_BYTES_MAX // 4 // 3 * 4)}
    assert call("modern.Shades/Count", small)[0] is Code.TOO_LARGE
    fits = call("modern.Shades/Echo", {"text": "x" * (REQUEST_BYTES_MAX - 100)})
    assert len(fits["response"]["text"]) == REQUEST_BYTES_MAX - 100


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"method": ""}, "grpc.call wants a method, such as package.Service/Method."),
    (
        {"method": "modern.Shades/Gone"},
        "have no method modern.Shades/Gone; they have modern.Shades",
    ),
    ({"method": "modern.Shades/Gather"}, "takes a stream of requests; grpc.call sends one."),
    ({"method": "modern.Shades/Echo", "request": 3}, "The request is no modern.Shade: "),
    (
        {"method": "modern.Shades/Echo", "request": {"colour": 1}},
        "has no field named 'colour' at 'Shade'.",
    ),
    ({"method": "modern.Shades/Echo", "request": {"text": 1}}, "The request is no modern.Shade: "),
    (
        {"method": "modern.Shades/Echo", "request": {"at": "now"}},
        "The request is no modern.Shade: ",
    ),
    ({"method": "modern.Shades/Echo", "timeout_ms": 0}, "timeout_ms is not an integer from 1 to"),
]


@pytest.mark.parametrize(("asked", "sentence"), REFUSED)
def test_requests_that_are_refused(
    call: Callable[..., Any], asked: dict[str, Any], sentence: str
) -> None:
    code, told = call(**asked)
    assert code is Code.BAD_REQUEST and sentence in told and told.endswith(".")


def test_only_what_is_granted_is_called(call: Callable[..., Any], port: int) -> None:
    code, sentence = call("modern.Shades/Echo", grant=Grant())
    assert code is Code.DENIED
    assert sentence.startswith(f"The gRPC server 127.0.0.1:{port} is not granted; grant it")


def test_a_granted_name_leads_nowhere_that_nobody_granted(
    call: Callable[..., Any], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def lookup(host: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real("127.0.0.1" if name == "shades.test" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    server = Grpc("shades.test", port, ("modern.proto",))
    for method in ("Echo", "Count"):
        code, sentence = call(f"modern.Shades/{method}", server=server)
        assert code is Code.DENIED
        assert sentence.startswith("shades.test leads to 127.0.0.1, which is no address of the pub")
    granted = Grant(grpc=True, networks=("127.0.0.0/8",))
    reply = call("modern.Shades/Echo", {"text": "x"}, server=server, grant=granted)
    assert reply["response"]["text"] == "x"
    # The connection that the other has made is none of this one's.
    assert call("modern.Shades/Echo", server=server)[0] is Code.DENIED


def test_a_service_without_a_server(
    wasm_host: WasmHost, wasm_file: Callable[..., Path], spec: Spec, run: RunJob
) -> None:
    module = wasm_file("caller", op="grpc.call", request="{}")
    outcome = run(wasm_host.load_blocking(spec(module), GRANTED))
    assert isinstance(outcome, Failed) and outcome.message[1:].startswith("service.yaml names no g")


def test_junk_in_a_proto_file_is_told_when_the_service_is_loaded(
    wasm_host: WasmHost, wasm_file: Callable[..., Path], spec: Spec
) -> None:
    module = wasm_file("caller", op="grpc.call", request="{}")
    module.with_name("a.proto").write_text('syntax = "proto3";\nmessage M { string = 1; }')
    with pytest.raises(ProtoError, match=r"a\.proto:2:20: expected the field's name, found '='\.$"):
        wasm_host.load_blocking(spec(module, grpc=Grpc("h", 1, ("a.proto",))), Grant())


def test_tls_with_a_certificate_that_nobody_vouches_for(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    with shades(str(certificate), str(key)) as port:
        server = Grpc("127.0.0.1", port, ("modern.proto",), tls=True)
        code, sentence = call("modern.Shades/Echo", server=server)
        assert code is Code.UNAVAILABLE
        assert sentence == (
            f"127.0.0.1:{port}/modern.Shades/Echo gave no answer: nothing here vouches for its "
            "certificate; let the machine trust its authority."
        )
        plain = Grpc("127.0.0.1", port, ("modern.proto",))
        assert call("modern.Shades/Echo", server=plain, timeout_ms=2_000)[0] in (
            Code.UNAVAILABLE,
            Code.DEADLINE,
        )


def test_over_tls_that_the_machine_trusts(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ssl.get_default_verify_paths().cafile == str(certificate)
    with shades(str(certificate), str(key)) as port:
        server = Grpc("127.0.0.1", port, ("modern.proto",), tls=True)
        assert call("modern.Shades/Echo", {"text": "x"}, server=server)["status"] == "OK"


HOSTILE = b"""
syntax = "proto3"; package h; import "google/protobuf/any.proto";
import "google/protobuf/wrappers.proto";
message Wide { %s }
message Root {
  repeated Wide wide = 1; bytes data = 2; repeated int32 packed = 3; google.protobuf.Any any = 4;
  map<int32, Wide> by_number = 5; repeated google.protobuf.Int32Value boxed = 6; Root root = 7;
}
service S { rpc A (Root) returns (Root); }
""" % b"".join(b"int64 f%d = %d;" % (i, i) for i in range(1, 1001))


@pytest.fixture(scope="module")
def hostile() -> tuple[Schema, Method]:
    schema = compile_schema({"h.proto": HOSTILE})
    return schema, schema.methods["/h.S/A"]


def field(number: int, data: bytes) -> bytes:
    length, size = b"", len(data)
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def packed_any(data: bytes) -> bytes:
    return field(1, b"type.googleapis.com/h.Root") + field(2, data)


AMPLIFIED = {
    "empty messages of a thousand fields": field(1, b"") * 500_000,
    "in a map": field(5, b"") * 400_000,
    "in an Any": field(4, packed_any(field(1, b"") * 400_000)),
    "in an Any in an Any": field(4, packed_any(field(4, packed_any(field(1, b"") * 99_000)))),
    "packed numbers": field(3, bytes(1_000_000)),
    "in one another": field(7, field(7, field(7, field(1, b"") * 1_000))),
}


@pytest.mark.parametrize("name", AMPLIFIED)
def test_an_answer_that_would_grow_is_refused_before_it_does(
    hostile: tuple[Schema, Method], name: str
) -> None:
    begun_s = time.process_time()
    with pytest.raises(TooMuch):
        decode(*hostile, [AMPLIFIED[name]])
    assert time.process_time() - begun_s < 2


OLD = b"""
package h;
message Wide { %s }
message Root { extensions 100 to 200; repeated group G = 1 { %s } }
extend Root { repeated Wide wide = 100; }
service S { rpc A (Root) returns (Root); }
""" % ((b"".join(b"optional int64 f%d = %d;" % (i, i) for i in range(1, 1001)),) * 2)


def test_groups_and_extensions_are_weighed() -> None:
    schema, method = _made({"h.proto": OLD}, "/h.S/A")
    extension, group = b"\xa2\x06\x00", b"\x0b\x0c"
    (told,) = decode(schema, method, [extension * 20 + group * 20])
    assert len(told["[h.wide]"]) == 20 and len(told["g"]) == 20
    for one in (extension, group):
        with pytest.raises(TooMuch):
            decode(schema, method, [one * 100])
    assert encode(schema, method, {"[h.wide]": [{}], "g": [{}]}) in (
        extension + group,
        group + extension,
    )


def test_a_request_that_would_grow_is_refused_before_it_does(
    hostile: tuple[Schema, Method],
) -> None:
    requests: tuple[dict[str, Any], ...] = (
        {"wide": [{}] * (SLOTS_MAX // 1_000 + 1)},
        {"byNumber": {str(i): {} for i in range(SLOTS_MAX // 1_000 + 1)}},
        {"packed": [0] * VALUES_MAX},
        {"boxed": [0] * VALUES_MAX},
    )
    for request in requests:
        with pytest.raises(TooMuch):
            encode(*hostile, request)
    assert len(encode(*hostile, {"wide": [{}] * 1_000})) == 2_000


def test_the_weight_of_an_answer_that_fits(hostile: tuple[Schema, Method]) -> None:
    (told,) = decode(*hostile, [field(1, b"") * 60])
    assert len(told["wide"]) == 60 and len(told["wide"][0]) == 1_000
    (told,) = decode(*hostile, [field(3, bytes(60_000))])
    assert len(told["packed"]) == 60_000
    (told,) = decode(*hostile, [field(2, bytes(1_000_000))])
    assert len(told["data"]) > 1_000_000


@given(st.binary())
@example(field(4, field(1, b"type.googleapis.com/h.Gone")))
@example(b"\x0b" * 1_000)
@example(b"\x0c")
@example(field(7, b"") * 3)
def test_any_bytes_are_an_answer_or_are_refused(data: bytes) -> None:
    for schema, method in _SCHEMAS:
        with suppress(BadMessage, TooMuch):
            decode(schema, method, [data])


NAMES = st.sampled_from(
    (
        *("maybe", "text", "data", "again", "numbers", "kinds", "at", "free", "boxed", "lasting"),
        *("ratio", "flag", "kind", "list", "value", "shades", "any", "@type", "root", "byNumber"),
    )
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text() | st.just("1s"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
@example({"any": {"@type": "type.googleapis.com/h.Root", "any": {"@type": "gone"}}})
def test_any_value_is_a_request_or_is_refused(value: dict[str, Any]) -> None:
    for schema, method in _SCHEMAS:
        try:
            data = encode(schema, method, value)
        except (BadMessage, TooMuch):
            continue
        decode(schema, method, [data])


def _made(contents: dict[str, bytes], path: str) -> tuple[Schema, Method]:
    schema = compile_schema(contents)
    return schema, schema.methods[path]


_SCHEMAS = [
    _made({"modern.proto": PROTO.read_bytes()}, "/modern.Shades/Echo"),
    _made({"h.proto": HOSTILE}, "/h.S/A"),
]


@given(
    st.binary()
    | st.dictionaries(
        st.sampled_from(["method", "request", "metadata", "messages_max", "timeout_ms"]),
        st.just("modern.Shades/Echo") | st.text() | st.integers() | st.none() | VALUES,
    ).map(lambda request: json.dumps(request).encode("utf-8", "replace"))
)
def test_any_request_of_a_granted_service_is_refused_in_words(data: bytes) -> None:
    spec = ServiceSpec(Path("s.yaml"), "s", "1.0.0", grpc=Grpc("127.0.0.1", 1, ("modern.proto",)))
    around = Surroundings(
        spec,
        GRANTED,
        Engines().get(STACK_BYTES_MIN),
        None,  # type: ignore[arg-type] # nothing may reach the network
        OPERATIONS,
        nullcontext,
        is_command=False,
        schema=_SCHEMAS[0][0],
    )
    try:
        perform("grpc.call", data, Run(around, Detached(), deadline_s=time.monotonic() + 60))
    except OperationError as refusal:
        assert refusal.code in {Code.BAD_REQUEST, Code.TOO_LARGE, Code.HOST}
