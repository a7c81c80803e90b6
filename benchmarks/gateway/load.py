"""Requests over plain sockets, prepared beforehand, so that the client costs next to nothing."""

import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """What calls cost, one after another on each connection.

    Attributes:
        p50_ms, p99_ms: from the first byte out to the last byte in.
        cpu_us: of the server's process, for one call.
    """

    p50_ms: float
    p99_ms: float
    cpu_us: float


class Connection:
    """Keeps alive; one exchange at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        self._address = (parts.hostname, parts.port)
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._is_last = False

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Returns the status and the body. Tomcat ends a connection after 100 of them."""
        if self._is_last:
            self.close()
            self._connect()
        self._socket.sendall(request)
        return self.answer()

    def send(self, request: bytes) -> None:
        """Asks, without waiting for the answer."""
        self._socket.sendall(request)

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def answer(self) -> tuple[int, bytes]:
        """Waits for an answer."""
        data = self._rest
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        status = int(lines[0].split()[1])
        self._is_last = b"connection: close" in lines
        if b"transfer-encoding: chunked" in lines:
            while not body.endswith(b"0\r\n\r\n"):
                body += self._more()
            self._rest = b""
            return status, body
        length = next((int(x[15:]) for x in lines if x.startswith(b"content-length:")), 0)
        while len(body) < length:
            body += self._more()
        self._rest = body[length:]
        return status, body[:length]

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def request(method: str, target: str, body: bytes | None = None) -> bytes:
    """A request as it goes over the wire."""
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


def measure(
    url: str,
    asked: Sequence[bytes],
    *,
    pids: Sequence[int],
    count: int,
    connections: int,
    status: int,
) -> Cost:
    """Asks `count` times over so many connections at once, after a tenth of that to warm up.

    Args:
        asked: the requests; each connection repeats one of them.

    Raises: AssertionError for another status.
    """
    took_s: list[float] = []

    def client(number: int, times: int, note: list[float]) -> None:
        request = asked[number % len(asked)]
        connection = Connection(url)
        for _ in range(times):
            begun_s = time.perf_counter()
            said, body = connection.exchange(request)
            note.append(time.perf_counter() - begun_s)
            assert said == status, f"{said}: {body[:300]!r}"
        connection.close()

    client(0, max(20, count // 10), [])
    before_s = cpu_s(pids)
    notes: list[list[float]] = [[] for _ in range(connections)]
    threads = [
        threading.Thread(target=client, args=(number, count // connections, note))
        for number, note in enumerate(notes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = sorted(one for note in notes for one in note)
    assert len(took_s) == count // connections * connections, "a client failed; see above"
    return Cost(
        took_s[len(took_s) // 2] * 1_000,
        took_s[len(took_s) * 99 // 100] * 1_000,
        (cpu_s(pids) - before_s) / len(took_s) * 1e6,
    )


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time of processes."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(one for one in lines if one.startswith("VmRSS")).split()[1]) / 1024
