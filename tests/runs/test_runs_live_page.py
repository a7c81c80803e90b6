"""The live page in a real browser, before a real gateway: what happens is seen, once, whatever
becomes of the connection; what is started here is there at once, and taken back when it is refused.

Pictures of it are kept under build/screenshots, for a person to look at.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from tests.gateway.chromium import Browser, Page, open_browser
from tests.gateway.relay import Relay
from tests.kafka_fixture import Kafka
from tests.runs.live_world import HARM, LiveWorld, open_live

from gossamer_gateway.door.cors import CorsRule
from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.runs.config import KafkaConfig, WorkflowsConfig
from gossamer_gateway.runs.live.page import FOLDER
from gossamer_gateway.runs.model.events import Failure
from gossamer_node.address import parse_address

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"

RUNS, RUN, TAIL, TRIGGER = (
    f"document.querySelector('gossamer-{one}').shadowRoot"
    for one in ("runs", "run", "live-tail", "trigger")
)
LIVE = "document.querySelector('#link')?.dataset.state === 'live'"


@asynccontextmanager
async def seen_in_browser(folder: Path, **more: Any) -> AsyncIterator[tuple[LiveWorld, Browser]]:
    profile = folder / "browser"
    profile.mkdir()
    async with open_live(folder, **more) as world, open_browser(profile) as browser:
        yield world, browser


async def picture(page: Page, name: str) -> None:
    await page.eval("new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))")
    await page.screenshot(PICTURES / f"live-{name}.png")


def complaints(page: Page) -> list[str]:
    """All but what a browser says of itself where something is not served, or was cut."""
    return [one for one in page.complaints if "/workflow/" not in one and "ERR_" not in one]


async def tail_of(page: Page) -> list[str]:
    """Run and sentence of what the tail shows, the newest first."""
    rows: list[str] = await page.eval(
        f"[...{TAIL}.querySelectorAll('li')].map(x => x.querySelector('.run').title + ' '"
        " + x.querySelector('.badge').title)"
    )
    return rows


async def tells(page: Page, wanted: list[str]) -> None:
    """The tail shows these alone, the newest first.

    Each part of a page is drawn by itself: what one shows, another may show some frames later.
    """
    await page.until(f"{TAIL}.querySelectorAll('li').length >= {len(wanted)}")
    assert await tail_of(page) == wanted


@pytest.mark.processes
async def test_what_happens_is_seen(tmp_path: Path) -> None:
    async with seen_in_browser(tmp_path) as (world, browser):
        before = await world.trigger("hello", "before the page")
        page = await browser.open(f"{world.url}/live/", width=1_360, height=900)
        await page.until(LIVE)
        await page.until(f"{RUNS}.querySelector('[data-run=\"{before}\"] .steps i.Running')")
        run = await world.an_order({"customer": HARM})
        await page.until(
            f"{RUNS}.querySelectorAll('[data-run=\"{run}\"] i.Completed').length === 6"
        )
        await world.fails(run, "ship", Failure("CarrierDown", HARM, details=HARM))
        await world.begun(run, "ship", 2)
        await world.fails(run, "ship", Failure("CarrierDown", HARM, details=HARM))
        await page.until(f"{RUNS}.querySelector('[data-run=\"{run}\"] .badge.bad')")
        assert await page.eval(f"{RUNS}.querySelector('tbody tr').dataset.run") == run
        history = await world.engine.history(run)
        kinds = [one.__struct_config__.tag for one in history]
        await tells(page, [f"{run} {kind}" for kind in reversed(kinds)])
        assert HARM in await page.eval(f"{RUN.replace('-run', '-live-tail')}.textContent")
        await everything_fits(page, "runs")
        await page.eval(f"{RUNS}.querySelector('[data-run=\"{run}\"] a').click()")
        await a_run_is_a_picture(world, page, run)
        assert await page.eval("document.title") == f"Run {run[-8:]} · Gossamer"
        assert complaints(page) == []


async def a_run_is_a_picture(world: LiveWorld, page: Page, run: str) -> None:
    await page.until(f"document.querySelector('gossamer-run') && {RUN}.querySelector('.row')")
    steps = await page.eval(f"[...{RUN}.querySelectorAll('.steps > li')].map(x => x.dataset.step)")
    assert steps == ["reserve", "prepare", "pay", "pack", "label", "together", "ship"]
    pay = f"{RUN}.querySelector('[data-step=pay]')"
    bars = f"[...{pay}.querySelectorAll('.bar')].map(x => x.className.split(' ')[1])"
    assert await page.eval(bars) == ["failed", "failed", "completed"]
    assert await page.eval(f"{pay}.querySelectorAll('.pause').length") == 1
    assert await page.eval(f"{pay}.querySelector('.move').title") == "cloud-a/west → cloud-b"
    lanes = f"[...{RUN}.querySelectorAll('.rails i')].map(x => x.className)"
    assert await page.eval(lanes) == ["lane-0", "lane-1", "lane-1"]
    story = await page.eval(f"{pay}.querySelector('.unseen').textContent")
    assert story.startswith("Completed. In branch 1. Attempt 1 at cloud-a/west: failed after")
    assert "It waited 150 ms." in story and "It went over from cloud-a/west to cloud-b." in story
    why = await page.eval(f"{RUN}.querySelector('.note.bad:not([hidden])').textContent")
    assert why.startswith(f"ship: CarrierDown — {HARM}")
    # By the keyboard: the arrow keys go from line to line, Enter opens one.
    await page.eval(f"{RUN}.querySelector('.row').focus()")
    await page.press("ArrowDown")
    await page.press("ArrowDown")
    assert await page.eval(f"{RUN}.activeElement.closest('li').dataset.step") == "pay"
    await page.press("Enter")
    await page.until(f"!{pay}.querySelector('.inside').hidden")
    rows = f"[...{pay}.querySelectorAll('.attempts tbody tr')].map(x => x.innerText)"
    told = " ".join(await page.eval(rows))
    assert "Unavailable: 503 from the provider" in told
    assert "waited 150 ms" in told and "went over from cloud-a/west to cloud-b" in told
    await picture(page, "run")
    await everything_fits(page, "run")
    # It goes on where it failed, and is seen to.
    await page.eval(
        f"[...{RUN}.querySelectorAll('button')].find(x => x.innerText === 'Try again').click()"
    )
    await world.begun(run, "ship", 3)
    await page.until(f"{RUN}.querySelector('[data-step=ship] .bar.running')")
    await world.done(run, "ship", {"parcel": 1})
    await page.until(f"{RUN}.querySelector('header .badge').innerText === 'Completed'")
    assert await page.eval("document.title") != "harmed"


async def everything_fits(page: Page, name: str) -> None:
    """In 360 pixels nothing sticks out."""
    for dark in (False, True):
        await page.size(360, 780, dark=dark)
        await page.until("innerWidth === 360")
        await picture(page, f"{name}-narrow{'-dark' if dark else ''}")
        assert await page.eval("document.documentElement.scrollWidth") == 360
        beyond = await page.eval(
            "[...document.querySelectorAll('main > :not([hidden]) *')].flatMap(x => x.shadowRoot ?"
            " [...x.shadowRoot.querySelectorAll('*')] : [x]).filter(x => x.checkVisibility()"
            " && !x.closest('.unseen') && x.getBoundingClientRect().right > 361)"
            ".map(x => x.outerHTML.slice(0, 90))"
        )
        assert beyond == []
    await page.size(1_360, 900, dark=True)
    await picture(page, f"{name}-dark")
    await page.size(1_360, 900)
    await page.until("innerWidth === 1360")


@pytest.mark.processes
async def test_a_cut_connection_misses_nothing_and_doubles_nothing(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    async with seen_in_browser(tmp_path) as (world, browser):
        relay = Relay(world.url)
        await nursery.start(relay.run)
        page = await browser.open(f"{relay.address}/live/")
        await page.until(LIVE)
        wanted = []
        for index in range(3):
            run = await world.trigger("hello", index)
            await world.done(run, "greet", index)
            await page.until(f"{RUNS}.querySelector('[data-run=\"{run}\"] .badge.good')")
            relay.cut()
            await page.until("document.querySelector('#link').dataset.state === 'away'")
            unseen = await world.trigger("hello", index)
            await world.done(unseen, "greet", index)
            wanted += [run, unseen]
            if not index:
                await picture(page, "away")
            relay.mend()
            await page.until(LIVE)
            await page.until(f"{RUNS}.querySelector('[data-run=\"{unseen}\"] .badge.good')")
        kinds = ["run.triggered", "run.started", "step.started", "attempt.started"]
        kinds += ["step.completed", "run.completed"]
        expected = [f"{run} {kind}" for run in wanted for kind in kinds]
        await tells(page, expected[::-1])
        assert complaints(page) == []
        nursery.cancel_scope.cancel()


@pytest.mark.processes
async def test_what_is_started_is_there_at_once(tmp_path: Path, nursery: trio.Nursery) -> None:
    """By the keyboard alone; confirmed by its event, taken back by a refusal, and once."""
    async with seen_in_browser(tmp_path) as (world, browser):
        relay = Relay(world.url)
        await nursery.start(relay.run)
        page = await browser.open(f"{relay.address}/live/")
        await page.until(LIVE)
        await page.until(f"{TRIGGER}.querySelector('option')")
        await page.until(f"!{TRIGGER}.querySelector('button[type=submit]').disabled")
        await page.eval(f"{TRIGGER}.querySelector('textarea').focus()")
        await page.eval(f"{TRIGGER}.querySelector('textarea').select()")
        await page.write('{"amount": }')
        assert await page.eval(f"{TRIGGER}.querySelector('textarea').ariaInvalid") == "true"
        wrong = await page.eval(f"{TRIGGER}.querySelector('.wrong').innerText")
        assert wrong.startswith("This is no JSON: Unexpected token '}'")
        await page.eval(f"{TRIGGER}.querySelector('textarea').select()")
        await page.write('{"amount": 3}')
        # The gateway is away: the run is shown, and asked for again until it is known.
        relay.cut()
        await page.press("Tab")
        assert await page.eval(f"{TRIGGER}.activeElement.innerText") == "Start run"
        await page.press("Enter")
        await page.until(f"{RUNS}.querySelector('tr[data-pending]')")
        await page.until(f"{TRIGGER}.querySelector('.sent').innerText.includes('asking again')")
        await picture(page, "pending")
        assert (await world.whole.http.get("/workflow/runs")).json()["items"] == []
        relay.mend()
        await page.until(f"{TRIGGER}.querySelector('.sent').innerText.includes('started')")
        await page.until(f"!{RUNS}.querySelector('tr[data-pending]')")
        (row,) = await page.eval(
            f"[...{RUNS}.querySelectorAll('tbody tr')].map(x => x.dataset.run)"
        )
        run = await world.engine.run(row)
        assert run.input == {"amount": 3} and run.key
        # Of a workflow that is not there: shown, taken back, and the input is kept.
        await page.until(LIVE)
        await page.eval(
            "document.querySelector('gossamer-trigger').setAttribute('workflow', 'gone')"
        )
        await page.eval(f"{TRIGGER}.querySelector('button[type=submit]').click()")
        await page.until(f"{TRIGGER}.querySelector('.sent').innerText.includes('taken back')")
        assert "no workflow gone" in await page.eval(f"{TRIGGER}.querySelector('.sent').innerText")
        await page.until(f"{RUNS}.querySelectorAll('tbody tr').length === 1")
        await picture(page, "refused")
        assert len(await page.eval(f"{TRIGGER}.querySelector('textarea').value")) > 0
        nursery.cancel_scope.cancel()


@pytest.mark.processes
async def test_the_tail_stands_still_for_who_reads(tmp_path: Path) -> None:
    async with seen_in_browser(tmp_path) as (world, browser):
        page = await browser.open(f"{world.url}/live/")
        await page.until(LIVE)
        await world.trigger("hello", 1)
        await page.until(f"{TAIL}.querySelectorAll('li').length === 4")
        await page.eval(
            f"[...{TAIL}.querySelectorAll('button')].find(x => x.innerText === 'Pause').click()"
        )
        await world.trigger("hello", 2)
        await page.until(f"!{TAIL}.querySelector('.held').hidden")
        assert await page.eval(f"{TAIL}.querySelector('.held').innerText") == "4 newer events ↑"
        assert len(await tail_of(page)) == 4
        await page.eval(f"{TAIL}.querySelector('.held button').click()")
        await page.until(f"{TAIL}.querySelectorAll('li').length === 8")
        await page.eval(f"{TAIL}.querySelector('input').focus()")
        await page.write("greet")
        await page.until(
            f"{TAIL}.querySelectorAll('li').length === 4"
        )  # steps and attempts of both
        assert complaints(page) == []


@pytest.mark.processes
async def test_an_old_page_is_no_larger_than_a_young_one(tmp_path: Path) -> None:
    """Nor does what somebody reads go, when more has come than is kept."""
    async with seen_in_browser(tmp_path) as (world, browser):
        page = await browser.open(f"{world.url}/live/")
        await page.until(LIVE)
        kept = await world.trigger("hello", "kept")
        await page.until(f"{TAIL}.querySelectorAll('li').length === 4")
        await page.eval(
            f"[...{TAIL}.querySelectorAll('button')].find(x => x.innerText === 'Pause').click()"
        )
        async with trio.open_nursery() as nursery:
            for _ in range(500):
                nursery.start_soon(a_greeting, world)
        counts = f"{RUNS}.querySelector('header').textContent"
        await page.until(f"{counts}.includes('501 runs here · 1 open')")
        await page.until(f"{TAIL}.querySelector('.held').innerText.startsWith('more than 2,')")
        assert {one.split()[0] for one in await tail_of(page)} == {kept}
        await page.eval(f"{TAIL}.querySelector('.held button').click()")
        await page.until(f"{TAIL}.querySelectorAll('li').length === 300")
        assert await page.eval(f"{RUNS}.querySelectorAll('tbody tr').length") == 25
        sizes = await page.eval(
            "import('/live/gossamer-live.js').then(({storeOf}) => storeOf(location.origin))"
            ".then(one => [one.tail.length, one.runs.size, one.listed.size, one.histories.size])"
        )
        assert sizes[0] <= 2_500 and sizes[1:] == [501, 0, 0]
        assert complaints(page) == []


@pytest.mark.processes
async def test_a_key_is_asked_for_and_a_page_of_another_origin_is_let_in(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    grants = [Grant(Role.READ), Grant(Role.START)]
    (tmp_path / "host").mkdir()
    host = """<!doctype html><title>Another</title>
        <script type="module">
          import { setKey } from "GATEWAY/live/gossamer-live.js";
          setKey("GATEWAY", "KEY");
        </script>
        <style>gossamer-live-tail {{ --gossamer-accent: red }}</style>
        <gossamer-live-tail gateway="GATEWAY" workflow="hello"></gossamer-live-tail>
        <gossamer-trigger gateway="GATEWAY" workflow="hello" input='"afar"'></gossamer-trigger>"""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            while b"\r\n\r\n" not in (await stream.receive_some() or b"\r\n\r\n"):
                pass
            body = content.encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n"
            await stream.send_all(f"{head}connection: close\r\n\r\n".encode() + body)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    origin = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    rule = CorsRule((origin,), ("/live/*", "/workflow/*"))
    async with seen_in_browser(tmp_path, keys={"person": grants}, cors=(rule,)) as (world, browser):
        key = world.whole.keys["person"]
        content = host.replace("GATEWAY", world.url).replace("KEY", key)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        page = await browser.open(f"{world.url}/live/")
        await page.until("document.getElementById('door')?.open")
        await picture(page, "door")
        await page.write(key)
        await page.press("Enter")
        await page.until(LIVE)
        afar = await browser.open(origin)
        await afar.until(
            "document.querySelector('gossamer-trigger')?.shadowRoot"
            f" && {TAIL}.querySelector('[data-state=live]')"
        )
        await afar.eval(f"{TRIGGER}.querySelector('button').click()")
        await afar.until(f"{TAIL}.querySelectorAll('li').length === 4")
        await picture(afar, "embedded")
        await page.call("Page.bringToFront")  # what nobody sees is not drawn
        await page.until(f"{TAIL}.querySelectorAll('li').length === 4")
        nursery.cancel_scope.cancel()


async def test_files_and_headers(tmp_path: Path) -> None:
    async with open_live(tmp_path) as world:
        http: httpx.AsyncClient = world.whole.http
        for path in ("/live/", "/live/gossamer-live.js", "/live/shell.js", "/live/shell.css"):
            told = await http.get(path)
            assert told.status_code == 200, path
            policy = told.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
        assert (await http.get("/live")).headers["location"] == "/live/"
        assert (await http.get("/live/none.js")).status_code == 404


def test_nothing_makes_markup_of_text_or_loads_from_elsewhere() -> None:
    sources = Path(__file__).parents[2] / "gateway" / "live-page"
    for file in [*sources.glob("*.js"), *FOLDER.iterdir()]:
        text = file.read_text()
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, f"{file.name}: {way}"
        if file.suffix == ".html":
            assert "<script>" not in text and "style=" not in text and "://" not in text


@pytest.mark.kafka
@pytest.mark.processes
async def test_it_follows_through_a_restart_of_the_broker(tmp_path: Path, kafka: Kafka) -> None:
    config = WorkflowsConfig(
        kafka=KafkaConfig((parse_address(kafka.address),)), offered=("*",)
    )  # fmt: skip
    async with seen_in_browser(tmp_path, workflows=config) as (world, browser):
        page = await browser.open(f"{world.url}/live/", width=1_360, height=900)
        await page.until(LIVE)
        runs = [await a_greeting(world) for _ in range(6)]
        await page.until(all_are_completed(runs))
        await trio.to_thread.run_sync(kafka.kill)
        try:
            # Runs go on; what happens to them waits in the outbox.
            runs += [await a_greeting(world) for _ in range(6)]
            await picture(page, "broker-away")
        finally:
            await trio.to_thread.run_sync(kafka.start)
        runs += [await a_greeting(world) for _ in range(6)]
        await page.until(all_are_completed(runs))
        await picture(page, "broker-back")
        history = {run: await world.engine.history(run) for run in runs}
        count = sum(map(len, history.values()))
        await page.until(f"{TAIL}.querySelectorAll('li').length >= {count}")
        seen = await tail_of(page)
        for run in runs:
            kinds = [one.__struct_config__.tag for one in history[run]]
            assert [one for one in reversed(seen) if one.startswith(run)] == [
                f"{run} {kind}" for kind in kinds
            ]
        assert complaints(page) == []


async def a_greeting(world: LiveWorld) -> str:
    run = await world.trigger("hello", "you")
    await world.done(run, "greet", "hello")
    return run


def all_are_completed(runs: list[str]) -> str:
    return " && ".join(
        f"{RUNS}.querySelector('[data-run=\"{run}\"] .steps i.Completed')" for run in runs
    )
