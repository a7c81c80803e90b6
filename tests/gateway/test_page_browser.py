"""The operations page in a real browser, before a real mesh: what happens is seen, and can be done.

Pictures of it are kept under build/screenshots, for a person to look at.
"""

import json
from pathlib import Path

import httpx
import pytest
import trio
from quart import Response
from tests.gateway.chromium import Browser, Page, open_browser
from tests.gateway.page_world import NODES, PROCESS, World, open_world
from tests.gateway.v1_world import open_gateway
from tests.integration.compiling import compile_guest
from tests.integration.nodes import bpmn, kill, new_topic
from tests.integration.server import Server

from gossamer_mesh.keyring import Keyring
from gossamer_node.variables import Variables

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"

ROWS = "gs-leases tbody tr"


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What processes leave, they leave here."""
    for variable, name in (("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))


@pytest.fixture(scope="session")
def telling(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The module of guests/telling.c."""
    return compile_guest("telling", tmp_path_factory.mktemp("guests"))


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    running = Server()
    await nursery.start(running.run)
    return running


@pytest.mark.processes
async def test_a_mesh_at_work(tmp_path: Path, telling: bytes, server: Server) -> None:
    profile = tmp_path / "browser"
    profile.mkdir()
    async with (
        open_world(tmp_path, telling, server) as world,
        open_browser(profile) as browser,
    ):
        page = await browser.open(f"{world.gateway.url}/", width=1_360, height=900)
        await page.until(f"document.querySelectorAll('.node-card').length === {NODES + 1}")
        await leases_come(world, page)
        await everything_fits(page)
        await a_node_dies(world, page)
        await tokens_are_seen(page)
        await an_incident_is_retried(world, page)
        await a_route_is_set(world, page)
        await an_engine_falls_silent(world, page)
        assert page.complaints == []
        await the_api_explains_itself(world, browser)


async def leases_come(world: World, page: Page) -> None:
    await world.start(world.old, 9)
    await world.start(world.new, 5)
    await page.until(f"document.querySelectorAll('{ROWS}').length === 14")
    await page.until("document.querySelectorAll('gs-web .lease').length === 14")
    shown = await page.eval(f"[...document.querySelectorAll('{ROWS}')].map(x => x.innerText)")
    assert all(world.topic in row for row in shown)
    await page.until("document.querySelector('gs-processes .counts')")
    for text in (PROCESS, "32 slots", "14 at work"):
        await says(page, text)
    await picture(page, "wide", whole=True)


async def everything_fits(page: Page) -> None:
    """In 360 pixels nothing sticks out, and what a person needs is there."""
    for dark in (False, True):
        await page.size(360, 780, dark=dark)
        await page.until("innerWidth === 360")
        await settle(page)
        assert await page.eval("document.documentElement.scrollWidth") == 360
        beyond = await page.eval(
            "[...document.querySelectorAll('main *:not(svg *)')].filter(x => x.offsetParent"
            " && x.getBoundingClientRect().right > 361).map(x => x.outerHTML.slice(0, 80))"
        )
        assert beyond == []
        await picture(page, "narrow-dark" if dark else "narrow", whole=not dark)
    await page.size(1_360, 900)
    await page.until("innerWidth === 1360")


async def a_node_dies(world: World, page: Page) -> None:
    await page.eval("scrollTo({top: 0, behavior: 'instant'})")
    held = "[...document.querySelectorAll('gs-leases tbody td:nth-child(4)')].map(x => x.innerText)"
    holders: list[str] = await page.eval(held)
    victim = next(one for one in world.nodes if one is not world.claimer and one.name in holders)
    count = holders.count(victim.name)
    await kill(victim)
    await page.until(
        "[...document.querySelectorAll('.node-card[data-state=dead]')]"
        f".some(x => x.innerText.includes('{victim.name}'))"
    )
    await page.until(f"document.querySelectorAll('{ROWS}[data-moved]').length >= {count}")
    await page.until(f"document.querySelectorAll('{ROWS}[data-state=held]').length === 14")
    now: list[str] = await page.eval(held)
    assert not any(one.startswith(victim.name) for one in now)
    assert sum(f"from {victim.name}" in one for one in now) == count
    lines = "[...document.querySelectorAll('.feed li')].map(x => x.innerText.replace('\\n', ' '))"
    died = f"x.startsWith('died') && x.includes('{victim.name}')"
    moved = f"x.startsWith('moved') && x.includes('{victim.name} →')"
    await page.until(f"{lines}.some(x => {died})")
    await page.until(f"{lines}.filter(x => {moved}).length >= {count}")
    assert await page.eval(f"{lines}.filter(x => {moved}).length") == count
    await settle(page)
    await picture(page, "died")
    await page.size(1_360, 900, dark=True)
    await settle(page)
    await picture(page, "died-dark")
    await page.size(1_360, 900)


async def tokens_are_seen(page: Page) -> None:
    """By the keyboard alone: the diagram is opened, read and closed, and the focus comes back."""
    button = f"[aria-label='Diagram of {PROCESS} on old']"
    await page.eval(f'document.querySelector("{button}").focus()')
    await page.press("Enter")
    await page.until("document.querySelector('.canvas .token')")
    await page.until("document.querySelector('.token').innerText === '9'")
    await says(page, "task-0: 9 instances")
    # bpmn.io's mark belongs to the diagram, by its licence.
    await page.until(
        "document.querySelector('.bjs-powered-by')?.getBoundingClientRect().width > 10"
    )
    await settle(page)
    await picture(page, "diagram")
    await page.press("Escape")
    await page.until("document.querySelector('dialog.diagram')?.open === false")
    await page.until(
        f"document.activeElement.getAttribute('aria-label') === 'Diagram of {PROCESS} on old'"
    )


async def an_incident_is_retried(world: World, page: Page) -> None:
    topic = new_topic()
    await world.new.deploy({"stuck.bpmn": bpmn("camunda7", "stuck", [topic]).encode()})
    await world.new.start("stuck", variables=Variables())
    async with httpx.AsyncClient(base_url=world.configs[1].url, timeout=60) as engine:
        wanted = {"workerId": "w", "maxTasks": 1, "topics": [{"topicName": topic,
                  "lockDuration": 60_000}]}  # fmt: skip
        (task,) = (await engine.post("/external-task/fetchAndLock", json=wanted)).json()
        failure = {"workerId": "w", "retries": 0, "errorMessage": "no room in the inn"}
        await engine.post(f"/external-task/{task['id']}/failure", json=failure)
        await page.until("document.querySelector('gs-incidents button')")
        await says(page, "no room in the inn")
        await page.eval(
            "document.querySelector('#incidents').scrollIntoView({behavior: 'instant'})"
        )
        await settle(page)
        await picture(page, "incident")
        await page.eval("document.querySelector('gs-incidents button').focus()")
        await page.press("Enter")
        await page.until("!document.querySelector('gs-incidents button')")
        assert (await engine.get("/incident")).json() == []
    await says(page, "tries task-0 again")


async def a_route_is_set(world: World, page: Page) -> None:
    """By the keyboard: a quarter goes to `new`."""
    share = f"document.getElementById('share-{PROCESS}-new')"
    await page.until(share)
    await page.eval(f"{share}.focus()")
    for _ in range(25):
        await page.press("ArrowRight")
    assert await page.eval(f"document.getElementById('share-{PROCESS}-old').value") == "75"
    await page.eval("document.querySelector('#routes').scrollIntoView({behavior: 'instant'})")
    await settle(page)
    await picture(page, "route")
    await page.press("Tab")
    await page.press("Tab")
    assert await page.eval("document.activeElement.innerText") == "Set"
    await page.press("Enter")
    await page.until("document.querySelector('gs-routes [data-made]')")
    (route,) = (await world.gateway.http.get("/v1/routes")).json()["routes"]
    assert (route["process"], route["shares"]) == (PROCESS, {"new": 25.0, "old": 75.0})
    await says(page, "set by operator")


async def an_engine_falls_silent(world: World, page: Page) -> None:
    """Its instances are unknown from then on, and not nought."""
    await world.stop_new()
    await page.until("document.querySelector('gs-engines .badge.silent')")
    await page.until("document.querySelector('.unknowns .note')")
    await says(page, "What runs on new is unknown")


async def the_api_explains_itself(world: World, browser: Browser) -> None:
    page = await browser.open(f"{world.gateway.url}/v1/docs")
    await page.until("document.querySelectorAll('.endpoint').length > 10")
    await page.eval("document.querySelectorAll('.endpoint')[6].open = true")
    await picture(page, "api")
    assert page.complaints == []


async def test_every_part_is_reached_by_the_keyboard(tmp_path: Path) -> None:
    async with open_gateway(Keyring((bytes(32),))) as gateway, open_browser(tmp_path) as browser:
        page = await browser.open(f"{gateway.url}/")
        await page.until("document.querySelector('[data-state=live]')")
        reached = await focused(page, 10)
        assert reached[0] == "Skip to the mesh"
        assert reached[2:10] == [
            "Mesh", "Leases", "Routes", "Processes", "Incidents", "Services", "Workflows", "API"
        ]  # fmt: skip
        unnamed = await page.eval(
            "[...document.querySelectorAll('button, select, input, a')].filter(x =>"
            " !(x.innerText || x.getAttribute('aria-label') || x.labels?.length"
            " || x.textContent)).map(x => x.outerHTML)"
        )
        assert unnamed == []
        assert page.complaints == []


async def test_a_person_signs_in(tmp_path: Path) -> None:
    async with (
        open_gateway(Keyring((bytes(32),)), is_closed=True) as gateway,
        open_browser(tmp_path) as browser,
    ):
        page = await browser.open(f"{gateway.url}/")
        await page.until("document.querySelector('gs-sign-in dialog')?.open")
        await page.write("gsk_wrong")
        await page.press("Enter")
        await page.until("document.querySelector('.wrong')?.textContent")
        await picture(page, "sign-in")
        await page.write(gateway.key)
        await page.press("Enter")
        await page.until("document.querySelector('gs-sign-in dialog')?.open === false")
        await page.until("document.querySelector('gs-status[data-state=live]')")
        assert await page.eval("document.cookie") == ""
        assert await page.eval("localStorage.length") == 0


async def test_events_come_without_websockets_too(tmp_path: Path) -> None:
    async with open_gateway(Keyring((bytes(32),))) as gateway, open_browser(tmp_path) as browser:

        async def refuse() -> Response:
            return Response("", 403)

        gateway.app.before_websocket(refuse)
        page = await browser.open(f"{gateway.url}/")
        await page.until("document.querySelector('gs-status[data-state=live]')")
        await page.until("document.querySelector('.node-card')")


# --- small things


async def focused(page: Page, count: int) -> list[str]:
    """What Tab reaches, one after the other."""
    found = []
    for _ in range(count):
        await page.press("Tab")
        found.append(await page.eval("document.activeElement.innerText.trim()"))
    return found


async def says(page: Page, text: str) -> None:
    """Waits until a person can read it: parts of the page draw in frames of their own."""
    await page.until(f"document.body.innerText.includes({json.dumps(text)})")


async def settle(page: Page) -> None:
    """Waits until nothing on the page moves any more, but for what moves for ever."""
    await page.until(
        "document.getAnimations().every(x => x.playState === 'finished'"
        " || x.effect.getTiming().iterations === Infinity)"
    )


async def picture(page: Page, name: str, *, whole: bool = False) -> None:
    await page.screenshot(PICTURES / f"{name}.png", whole=whole)
