"""Where `http.fetch` connects to: the address that was judged, and none that nobody granted.

The DNS is the test's own, as it is whoever runs a name's; the servers and the workers are real.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from tests.certificates import self_signed

from gossamer_node.config import load_grants
from gossamer_node.schema.source import Invalid
from gossamer_node.service.networks import may_lead, parse_network
from gossamer_node.service.spec import Grant
from gossamer_node.wasm import WasmHost
from gossamer_node.wasm.asking.operations import Code

Ask = Callable[..., Any]

HERE = "127.0.0.1"
BESIDE = "127.0.0.2"


class Answering(BaseHTTPRequestHandler):
    """Answers the address that was reached, and by which name."""

    protocol_version = "HTTP/1.1"
    location = ""

    def do_GET(self) -> None:
        body = f"{self.request.getsockname()[0]} {self.headers['host']}".encode()
        path = self.path
        self.send_response(302 if path == "/to" else 200)
        if path == "/to":
            self.send_header("location", self.location)
        if path == "/close":
            self.send_header("connection", "close")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    with ThreadingHTTPServer((host, port), Answering) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which two addresses of this machine answer."""
    with ExitStack() as stack:
        found = stack.enter_context(serving(HERE))
        stack.enter_context(serving(BESIDE, found))
        yield found


class Dns:
    """Names of `.test`; each lookup takes the next answer, the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.lookups: list[str] = []
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or not name.endswith(".test"):
            return self._real(host, port, *args, **more)
        flags = more.get("flags", args[3] if len(args) > 3 else 0)
        if flags & socket.AI_NUMERICHOST or name not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.lookups.append(name)
        answers = self.answers[name]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [one for address in found for one in self._real(address, port, *args, **more)]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    made = Dns()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


@pytest.fixture
def get(ask: Ask) -> Ask:
    def fetch(url: str, *origins: str, redirects: bool = False, networks: str = "") -> Any:
        granted = tuple(networks.split())
        origin = "/".join(url.split("/")[:3])
        grant = Grant((origin, *origins), redirects=redirects, networks=granted)
        reply = ask("http.fetch", {"url": url}, grant)
        return reply["body"] if isinstance(reply, dict) else reply

    return fetch


def test_a_name_that_leads_inside_is_refused_unless_its_network_is_granted(
    get: Ask, dns: Dns, port: int
) -> None:
    dns.answers["shop.test"] = [[HERE]]
    url = f"http://shop.test:{port}/"
    assert get(url) == (
        Code.DENIED,
        "shop.test leads to 127.0.0.1, which is no address of the public internet; to allow it, "
        "the node's configuration grants its network (`networks`).",
    )
    assert get(url, networks="10.0.0.0/8 127.0.0.2")[0] is Code.DENIED
    assert get(url, networks="127.0.0.0/30") == f"{HERE} shop.test:{port}"


def test_addresses_in_origins_and_localhost_need_no_network(get: Ask, port: int) -> None:
    assert get(f"http://{HERE}:{port}/") == f"{HERE} {HERE}:{port}"
    assert get(f"http://localhost:{port}/") == f"{HERE} localhost:{port}"


def test_a_name_that_is_rebound_leads_nowhere_else(get: Ask, dns: Dns, port: int) -> None:
    """What was judged is what is connected to: there is no second lookup that could differ."""
    dns.answers["shop.test"] = [[HERE], [BESIDE]]
    url = f"http://shop.test:{port}/close"
    assert get(url, networks=HERE) == f"{HERE} shop.test:{port}"
    assert dns.lookups == ["shop.test"]
    assert get(url, networks=HERE)[0] is Code.DENIED
    assert dns.lookups == ["shop.test"] * 2


def test_of_mixed_addresses_only_those_that_may_be_are_tried(get: Ask, dns: Dns, port: int) -> None:
    dns.answers["shop.test"] = [[BESIDE, "::1", HERE]]
    assert get(f"http://shop.test:{port}/", networks=HERE) == f"{HERE} shop.test:{port}"
    # Nobody listens at the first that may be.
    dns.answers["shop.test"] = [["127.0.0.3", BESIDE]]
    url = f"http://shop.test:{port}/close"
    assert get(url, networks="127.0.0.2/31") == f"{BESIDE} shop.test:{port}"


def test_a_connection_is_not_lent_to_who_may_not_make_it(
    get: Ask, dns: Dns, port: int, wasm_host: WasmHost
) -> None:
    dns.answers["shop.test"] = [[HERE]]
    url = f"http://shop.test:{port}/"
    assert get(url, networks=HERE) == f"{HERE} shop.test:{port}"
    assert get(url)[0] is Code.DENIED
    assert get(url, networks=HERE) == f"{HERE} shop.test:{port}"
    assert len(dns.lookups) == 2  # the third used the first's connection


def test_a_redirect_to_a_granted_name_that_leads_inside_is_refused(
    get: Ask, dns: Dns, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns.answers["shop.test"] = [[BESIDE]]
    target = f"http://shop.test:{port}"
    monkeypatch.setattr(Answering, "location", f"{target}/")
    url = f"http://{HERE}:{port}/to"
    assert get(url, target, redirects=True)[0] is Code.DENIED
    assert get(url, target, redirects=True, networks=BESIDE) == f"{BESIDE} shop.test:{port}"
    assert get(url, redirects=True)[0] is Code.DENIED


def test_a_name_without_address_gives_no_answer(get: Ask, dns: Dns) -> None:
    code, sentence = get("http://nobody.test/")
    assert code is Code.UNAVAILABLE and "gave no answer" in sentence
    dns.answers["empty.test"] = [[]]
    code, sentence = get("http://empty.test/")
    assert (code, sentence) == (
        Code.UNAVAILABLE,
        "http://empty.test:80/ gave no answer: it has no address.",
    )


@pytest.fixture
def secure_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with a certificate for shop.test, of an authority that this machine trusts."""
    certificate, key = self_signed(tmp_path, x509.DNSName("shop.test"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with serving(HERE, tls=context) as found:
        yield found


def test_a_certificate_is_for_the_name_and_not_for_the_address(
    get: Ask, dns: Dns, secure_port: int
) -> None:
    dns.answers |= {"shop.test": [[HERE]], "other.test": [[HERE]]}
    answer = get(f"https://shop.test:{secure_port}/", networks=HERE)
    assert answer == f"{HERE} shop.test:{secure_port}"
    for host in ("other.test", HERE):
        code, sentence = get(f"https://{host}:{secure_port}/", networks=HERE)
        assert code is Code.UNAVAILABLE and "certificate" in sentence


PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public(address: str) -> None:
    assert not may_lead("shop.example", address, ())
    assert not may_lead("localhost.example", address, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert may_lead("shop.example", address, ())


@pytest.mark.parametrize(
    ("host", "address", "networks", "may"),
    [
        ("10.0.0.1", "10.0.0.1", "", True),
        ("10.0.0.1", "10.0.0.2", "", False),
        ("::ffff:10.0.0.1", "10.0.0.1", "", True),
        ("fd00::1", "fd00:0::1", "", True),
        ("localhost", "127.0.0.1", "", True),
        ("localhost", "::1", "", True),
        ("localhost", "10.0.0.1", "", False),
        ("app.localhost", "127.0.0.1", "", True),
        ("notlocalhost", "127.0.0.1", "", False),
        ("2130706433", "127.0.0.1", "", False),
        ("shop", "10.2.3.4", "10.0.0.0/8", True),
        ("shop", "::ffff:10.2.3.4", "10.0.0.0/8", True),
        ("shop", "fd00::1", "10.0.0.0/8 fd00::/8", True),
        ("shop", "192.168.0.1", "10.0.0.0/8 fd00::/8", False),
    ],
)
def test_where_a_name_may_lead(host: str, address: str, networks: str, may: bool) -> None:
    assert may_lead(host, address, networks.split()) is may


def test_networks_are_read_from_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "gossamer.yaml"
    file.write_text("grants: {rooms: {networks: ['10.1.0.0/16', 192.168.7.9, 'FD00::/8']}}")
    grants = load_grants(file)["rooms"]
    assert grants.networks == ("10.1.0.0/16", "192.168.7.9/32", "fd00::/8")
    for wrong in ("10.1.2.3/16", "shop", "'10.0.0.0/33'", "''", "[]", "10"):
        file.write_text(f"grants: {{rooms: {{networks: [{wrong}]}}}}")
        with pytest.raises(Invalid, match=r"grants\.rooms\.networks\[0\]"):
            load_grants(file)
    assert parse_network("::/0") == "::/0"
