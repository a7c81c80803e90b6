"""How the live page reaches its gateway where the plain way is closed: no WebSocket gets through,
or it is held for ever; the page is of another origin, and its key opens one workflow alone.
"""

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
import yaml
from cryptography import x509
from tests.certificates import self_signed
from tests.gateway.chromium import Browser, open_browser
from tests.gateway.relay import Relay
from tests.gateway.test_gateway_guides import Newcomer, blocks
from tests.gateway.whole_gateway import answer
from tests.runs.live_world import LiveWorld, open_live
from tests.runs.test_runs_live_page import LIVE, RUNS, TAIL, TRIGGER, complaints, picture, tail_of

from gossamer_gateway.door.principals import Grant, Role

UPGRADE = re.compile(rb"\r\nupgrade: *websocket\r\n", re.I)

COUNTED = """
globalThis.tried = 0;
globalThis.WebSocket = class extends WebSocket {
  constructor(...told) {
    tried += 1;
    super(...told);
  }
};
0
"""
"""From now on the page counts its attempts at a WebSocket."""

GUIDE = "live-page.md"


class Deaf(Relay):
    """A relay that lets no WebSocket through.

    Attributes:
        is_silent: it does not even say so.
        refused: how many it did not let through.
    """

    def __init__(self, address: str, *, is_silent: bool = False) -> None:
        super().__init__(address)
        self.is_silent = is_silent
        self.refused = 0

    async def _carry(self, near: trio.SocketStream) -> None:
        # A browser opens a connection of its own for each WebSocket, so the first bytes tell.
        peeked = await _peek(near)
        if UPGRADE.search(peeked) is None:
            await super()._carry(near)
            return
        self.refused += 1
        async with near:
            if self.is_silent:
                await trio.sleep_forever()
            await near.send_all(answer(b"no upgrades here", "426 Upgrade Required", "text/plain"))


async def _peek(stream: trio.SocketStream) -> bytes:
    """The head of the first request, which stays to be read."""
    found = b""
    while b"\r\n\r\n" not in found:
        more: bytes = await stream.socket.recv(65_536, trio.socket.MSG_PEEK)
        if len(more) == len(found):
            return found  # the other side is gone, or says no more yet
        found = more
    return found


@pytest.mark.processes
@pytest.mark.parametrize("is_silent", (False, True))
async def test_without_websockets_events_come_as_a_stream(
    tmp_path: Path, nursery: trio.Nursery, is_silent: bool
) -> None:
    (tmp_path / "browser").mkdir()
    async with open_live(tmp_path) as world, open_browser(tmp_path / "browser") as browser:
        relay = Deaf(world.url, is_silent=is_silent)
        await nursery.start(relay.run)
        page = await browser.open(f"{relay.address}/live/")
        await page.until(LIVE)
        assert relay.refused == 1
        told = await page.eval("document.querySelector('#link').title")
        assert told.startswith("Something between here and the gateway lets no WebSocket through")
        assert await page.eval("document.querySelector('#link').innerText") == "live, as a stream"
        wanted = [await greeted(world, index) for index in range(2)]
        await page.until(f"{TAIL}.querySelectorAll('li').length === 12")
        # The stream is cut: what happens meanwhile is there once it is back, and once.
        await page.eval(COUNTED)
        relay.cut()
        await page.until("document.querySelector('#link').dataset.state === 'away'")
        assert await page.eval("!document.querySelector('#away').hidden")
        wanted.append(await greeted(world, 2))
        relay.mend()
        await page.eval("document.querySelector('#away button').click()")
        await page.until(LIVE)
        assert await page.eval("tried") >= 1, "a WebSocket is tried first each time"
        await page.until(f"{TAIL}.querySelectorAll('li').length === 18")
        assert [one.split()[0] for one in (await tail_of(page))[::-6]] == wanted
        assert complaints(page) == []
        nursery.cancel_scope.cancel()


HELD = """
const ask = globalThis.fetch;
globalThis.fetch = async (...told) => {
  const answer = await ask(...told);
  if (answer.status === 401 && String(told[0]).endsWith("/workflow/runs?limit=1"))
    await new Promise((go) => (globalThis.letGo = go));
  return answer;
};
"""
"""The answer that a key is wanted, where no WebSocket was let in, is long on its way."""


@pytest.mark.processes
async def test_a_key_is_heard_of_that_came_before_one_was_wanted(tmp_path: Path) -> None:
    """Nobody waited for it yet; and once somebody did, no other came."""
    (tmp_path / "browser").mkdir()
    keys = {"person": [Grant(Role.READ)]}
    async with open_live(tmp_path, keys=keys) as world, open_browser(tmp_path / "browser") as made:
        page = await made.open("about:blank")
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=HELD)
        await page.call("Page.navigate", url=f"{world.url}/live/")
        await page.until("globalThis.letGo")
        given = f"location.origin, '{world.whole.keys['person']}'"
        await page.eval(f"import('/live/gossamer-live.js').then(it => it.setKey({given}))")
        await page.eval("letGo()")
        await page.until(LIVE)


async def greeted(world: LiveWorld, given: int) -> str:
    run = await world.trigger("hello", given)
    await world.done(run, "greet", given)
    return run


SHOP, GATEWAY = "shop.example", "gateway.example"

GATEWAY_COMMAND = "gossamer gateway --config gateway.yaml --http 127.0.0.1:0 --grpc 127.0.0.1:0"
MAKE_ADMIN = "gossamer gateway key new admin --role admin --config gateway.yaml"


@pytest.mark.processes
@pytest.mark.parametrize("signs_in", (False, True))
async def test_the_guides_page_of_another_origin_works_as_it_is_written(
    tmp_path_factory: pytest.TempPathFactory, signs_in: bool
) -> None:
    """The gateway's settings and the page are the guide's; names mean this machine."""
    folder = tmp_path_factory.mktemp("g")
    (settings,) = blocks(GUIDE, "yaml", "Put it into your own page")
    (html,) = blocks(GUIDE, "html", "Put it into your own page")
    (script,) = blocks(GUIDE, "js", "Put it into your own page")
    written = yaml.safe_load(settings)
    certificate, certificate_key = self_signed(folder, x509.DNSName(GATEWAY))
    written["tls"] = {"cert_file": str(certificate), "key_file": str(certificate_key)}
    if signs_in:
        written["door"]["authentication"] = [{"type": "api_keys"}]
    (folder / "gateway.yaml").write_text(yaml.safe_dump({"name": "g", **written}))
    person = Newcomer(folder, {})
    key, admin = "", ""
    if signs_in:
        (command,) = blocks(GUIDE, "sh", "Put it into your own page")
        key = person.types(command).strip().splitlines()[-1]
        admin = person.types(MAKE_ADMIN).strip().splitlines()[-1]
        html = html.replace(
            "</head>", f'<script type="module">const key = "{key}";\n{script}</script></head>'
        )
    with person.runs(GATEWAY_COMMAND) as told:
        port = httpx.URL(told["http"]).port
        await trio.to_thread.run_sync(define, told["http"], admin)
        async with open_shop(html, certificate, certificate_key) as shop_port:
            places = f"MAP {SHOP} 127.0.0.1:{shop_port},MAP {GATEWAY} 127.0.0.1:{port}"
            arguments = (
                f"--host-resolver-rules={places}",
                "--ignore-certificate-errors",
                "--proxy-server=direct://",
            )
            async with open_browser(folder, *arguments) as browser:
                await an_order_is_started(browser)


async def an_order_is_started(browser: Browser) -> None:
    page = await browser.open(f"https://{SHOP}/orders")
    await page.until(
        "document.querySelector('gossamer-runs')?.shadowRoot"
        f" && {RUNS}.querySelector('[data-state=live]')"
    )
    await page.eval(f"{TRIGGER}.querySelector('button[type=submit]').click()")
    await page.until(f"{TRIGGER}.querySelector('.sent').innerText.includes('started')")
    await page.until(f"{RUNS}.querySelectorAll('tbody tr:not([data-pending])').length === 1")
    link = await page.eval(f"{RUNS}.querySelector('a.run').href")
    assert re.fullmatch(rf"https://{SHOP}/orders/\S+", link)
    # A colour that is set for the list is the list's alone.
    assert (
        await page.eval(f"getComputedStyle({RUNS}.querySelector('a.run')).color")
        == "rgb(180, 35, 106)"
    )
    send = f"getComputedStyle({TRIGGER}.querySelector('button')).backgroundColor"
    assert await page.eval(send) == "rgb(15, 118, 110)"
    await picture(page, "guide")
    # Who comes later has it from the list, with no more than the key may see.
    later = await browser.open(f"https://{SHOP}/orders")
    await later.until(
        "document.querySelector('gossamer-runs')?.shadowRoot"
        f" && {RUNS}.querySelectorAll('tbody tr').length === 1"
    )
    assert await later.eval(f"{RUNS}.querySelector('.more small').innerText") == ""
    # Before the page gave its key the list was refused, and asked for again with it.
    for told in (page.complaints, later.complaints):
        assert [one for one in told if "favicon" not in one and " 401 " not in one] == []


def define(url: str, key: str) -> None:
    """The workflow that the guide's page starts."""
    body = {"id": "order", "steps": [{"action": "reserve"}]}
    headers = {"x-api-key": key} if key else {}
    with httpx.Client(verify=False, trust_env=False) as client:
        client.post(f"{url}/workflow/", json=body, headers=headers).raise_for_status()


@asynccontextmanager
async def open_shop(html: str, certificate: Path, key: Path) -> AsyncIterator[int]:
    """A server of the page; yields its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    told = answer(html.encode(), kind="text/html")

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
            while b"\r\n\r\n" not in data:
                if not (more := await stream.receive_some()):
                    return
                data += more
            await stream.send_all(told.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1")
        )
        yield listeners[0].transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()
