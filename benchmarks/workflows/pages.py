"""How long after its commit an event is in the pages that follow, and what they cost the gateway.

    python -m benchmarks.workflows.pages [--pages 100] [--seconds 10] [--browser]

A whole gateway on a SQLite file, in this process; so many WebSocket clients in another, which offer
compression as browsers do; runs of one step at several rates. The time counts from when the commit
was known here to when the frame was whole in the client, by the clock that both share. `--browser`:
beside them a real Chromium has the live page open, and the time is that of the frame of pixels
after it was told.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trio
from benchmarks.workflows.measured import own_cpu_s, percentile
from tests.gateway.chromium import Page, open_browser
from tests.gateway.whole_gateway import open_whole

from gossamer_gateway.runs.engine import Engine
from gossamer_gateway.runs.model.deciding import Answer
from gossamer_gateway.runs.model.definition import Definition, Step
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.model.run import Run
from gossamer_node.pauses import settle

HELLO = Definition("hello", "greet", {"greet": Step("greet", action="greet")})
RATES = (5, 20, 100)
"""Runs in a second: each has six events in two commits."""

EVENTS = 6
"""Of each run."""


@dataclass(frozen=True)
class Followed:
    """What pages saw of one rate.

    Attributes:
        expected, came: events in all pages.
        core_part: of a core, what the gateway needed.
        drawn: events that the browser drew; None without one.
    """

    pages: int
    events_s: float
    expected: int
    came: int
    p50_ms: float
    p99_ms: float
    most_ms: float
    core_part: float
    drawn: int | None
    drawn_p50_ms: float
    drawn_p99_ms: float

    def __str__(self) -> str:
        said = (
            f"{self.pages} pages, {self.events_s:.0f} events/s: p50 {self.p50_ms:.1f} ms,"
            f" p99 {self.p99_ms:.1f} ms, most {self.most_ms:.1f} ms; gateway's processor time"
            f" {self.core_part * 100:.0f} % of a core; {self.came} of {self.expected} events came"
        )
        if self.drawn is not None:
            said += (
                f"; Chromium, drawn: p50 {self.drawn_p50_ms:.1f} ms,"
                f" p99 {self.drawn_p99_ms:.1f} ms of {self.drawn} events"
            )
        return said


class Commits:
    """When each event was on disk."""

    def __init__(self, engine: Engine) -> None:
        self.at_ns: dict[tuple[str, int], int] = {}
        engine.listen(self._note)

    def _note(self, _run: Run, events: Sequence[Event]) -> None:
        now_ns = time.time_ns()
        for one in events:
            self.at_ns[one.run, one.seq] = now_ns


async def load(engine: Engine, rate: int, seconds: float) -> int:
    """Starts and completes runs at a rate; returns how many."""
    began = trio.current_time()
    count = round(rate * seconds)

    async def one() -> None:
        run = await engine.trigger("hello", {"name": "you"})
        await engine.answer(run.id, Answer("greet", 1, {"said": "hello"}))

    async with trio.open_nursery() as nursery:
        for index in range(count):
            await trio.sleep_until(began + index / rate)
            nursery.start_soon(one)
    return count


async def measure(folder: Path, pages: int, rate: int, seconds: float, browser: bool) -> Followed:
    async with open_whole(folder) as whole:
        settle()  # as a gateway's process does when it begins to serve
        engine = whole.gateway.workflows.engine
        await engine.define(HELLO)
        commits = Commits(engine)
        async with (
            clients(whole.gateway.url, pages) as told,
            shown(folder, whole.gateway.url, browser) as seen,
        ):
            await load(engine, rate, 1)
            commits.at_ns.clear()
            cpu_s = own_cpu_s()
            runs = await load(engine, rate, seconds)
            cpu_s = own_cpu_s() - cpu_s
            await trio.sleep(1)
        late = [
            (at_ns - commits.at_ns[name]) / 1e6
            for names, at in told
            for name in names
            if name in commits.at_ns
            for at_ns in at
        ]
        drawn = [
            at_ms - commits.at_ns[run, seq] / 1e6
            for run, seq, at_ms in seen
            if (run, seq) in commits.at_ns
        ]
        return Followed(
            pages, rate * EVENTS, runs * EVENTS * pages, len(late),
            percentile(late, 0.5), percentile(late, 0.99), max(late, default=0), cpu_s / seconds,
            len(drawn) if browser else None, percentile(drawn, 0.5), percentile(drawn, 0.99),
        )  # fmt: skip


@asynccontextmanager
async def clients(
    url: str, count: int
) -> AsyncIterator[list[tuple[list[tuple[str, int]], list[int]]]]:
    """So many in a process of their own. After the block: events of each frame, and its times."""
    command = [sys.executable, "-m", "benchmarks.workflows.pages", "--client", url]
    process = await trio.lowlevel.open_process(
        [*command, "--pages", str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout
    found: list[tuple[list[tuple[str, int]], list[int]]] = []
    said = b""
    while said != b"ready\n":  # it may come in parts
        part = await process.stdout.receive_some(6 - len(said))
        assert part, "the clients ended"
        said += part
    try:
        yield found
    finally:
        await process.stdin.aclose()
        data = b""
        async for part in process.stdout:
            data += part
        await process.wait()
        for names, at in json.loads(data):
            found.append(([(run, seq) for run, seq in names], at))


async def be_clients(url: str, count: int) -> None:
    """Follows until the standard input ends, then tells what came."""
    names: dict[str, list[tuple[str, int]]] = {}
    at: dict[str, list[int]] = {}
    async with trio.open_nursery() as nursery:
        for index in range(count):
            await nursery.start(follow, url, names if index == 0 else None, at)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()
    print(json.dumps([[names.get(cursor, []), times] for cursor, times in at.items()]))


async def follow(
    url: str,
    names: dict[str, list[tuple[str, int]]] | None,
    at: dict[str, list[int]],
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """One client. The first reads its frames; of the others only the cursor is looked at."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    await stream.send_all(
        f"GET /workflow/events HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: gossamer\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n".encode()
    )
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    del data[: data.index(b"\r\n\r\n") + 4]
    inflate = zlib.decompressobj(-15)
    message = b""
    while True:
        size = 2 + {126: 2, 127: 8}.get(data[1], 0) if len(data) > 1 else 2
        if len(data) >= size:
            length = data[1] if size == 2 else int.from_bytes(data[2:size], "big")
            if len(data) >= size + length:
                first, payload = data[0], bytes(data[size : size + length])
                del data[: size + length]
                if first & 0x40:
                    payload = inflate.decompress(payload + b"\x00\x00\xff\xff")
                message += payload
                if first & 0x80:
                    now_ns = time.time_ns()
                    head, _, _ = message[:200].partition(b'","workflows"')
                    if head.startswith(b'{"kind":"events"'):
                        cursor = head.rpartition(b'"')[2].decode()
                        at.setdefault(cursor, []).append(now_ns)
                        if names is not None:
                            events = json.loads(message)["events"]
                            names[cursor] = [(one["run"], one["seq"]) for one in events]
                    else:
                        task_status.started()
                    message = b""
                continue
        more = await stream.receive_some()
        if not more:
            raise EOFError("the gateway closed a page")
        data += more


@asynccontextmanager
async def shown(
    folder: Path, url: str, wanted: bool
) -> AsyncIterator[list[tuple[str, int, float]]]:
    """The live page in a browser. After the block: run, number and time of what was drawn."""
    found: list[tuple[str, int, float]] = []
    if not wanted:
        yield found
        return
    (folder / "browser").mkdir()
    async with open_browser(folder / "browser") as browser:
        page: Page = await browser.open(f"{url}/live/")
        await page.until("document.querySelector('#link')?.dataset.state === 'live'")
        await page.eval(
            "import('/live/gossamer-live.js').then(({storeOf}) => {"
            " const store = storeOf(location.origin); let last = store.told; window.drawn = [];"
            " store.addEventListener('change', () => requestAnimationFrame(() => {"
            "  const at = performance.timeOrigin + performance.now();"
            "  for (const one of store.tail.filter(x => x.number > last))"
            "   window.drawn.push([one.event.run, one.event.seq, at]);"
            "  last = store.told; })); })"
        )
        yield found
        found += await page.eval("window.drawn")


def over(pages: int, rates: Sequence[int], seconds: float, browser: bool) -> Iterator[Followed]:
    """Each rate in turn."""
    for rate in rates:
        with tempfile.TemporaryDirectory() as folder:
            yield trio.run(measure, Path(folder), pages, rate, seconds, browser)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rates", type=int, nargs="*", default=RATES)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        trio.run(be_clients, arguments.client, arguments.pages)
        return 0
    print(f"{os.cpu_count()} cores")
    for one in over(arguments.pages, arguments.rates, arguments.seconds, arguments.browser):
        print(one)
    return 0


if __name__ == "__main__":
    sys.exit(main())
