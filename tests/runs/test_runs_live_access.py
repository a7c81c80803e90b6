"""The live page for everybody: axe-core finds nothing, all is done by the keyboard, nobody is told
more than they can hear, nothing moves for whom nothing is to move, and it fits at a zoom of 400 %.
"""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.gateway.chromium import Browser, Page, open_browser
from tests.gateway.relay import Relay
from tests.gateway.whole_gateway import open_whole
from tests.runs.live_states import (
    a_cancelled_one,
    a_failover,
    a_failure,
    a_long_one,
    define_all,
    of_other_scripts,
)
from tests.runs.live_world import DOWN, LiveWorld, open_live
from tests.runs.test_runs_live_page import LIVE, RUN, RUNS, TAIL, TRIGGER, complaints, picture

from gossamer_gateway.runs.config import WorkflowsConfig
from gossamer_gateway.runs.providers.config import AwsConfig, AzureConfig, GcpConfig
from gossamer_gateway.runs.providers.invoker import Invoker

VIEWER = Path(__file__).parents[2] / "gateway" / "viewer"

CHECKS = """
axe.run(document, {resultTypes: ["violations", "passes"]}).then(({violations, passes}) => ({
  rules: passes.length,
  inside: passes.some(one => one.nodes.some(node => Array.isArray(node.target[0]))),
  found: violations.map(one => `${one.id}: ${one.help}\\n` + one.nodes.map(node =>
    `    ${node.target.flat().join(" >> ")} ${node.html.slice(0, 200)} ${node.failureSummary}`
  ).join("\\n")),
}))
"""
"""What it found, and whether it looked: it knows shadow roots."""

EVERYTHING = """
globalThis.everything = (root = document) =>
  [...root.querySelectorAll("*")].flatMap(one =>
    [one, ...(one.shadowRoot ? everything(one.shadowRoot) : [])]);
0
"""
"""Elements of the page, also those in shadow roots."""

PROVIDERS = "document.querySelector('gossamer-providers').shadowRoot"

READ = """
document.querySelector("main")?.innerText.length > 200
|| document.querySelector("gossamer-trigger")?.shadowRoot?.querySelector(".none pre")
  ?.checkVisibility()
"""
"""A page of a gateway in which nothing is yet."""

FRAMES = "new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, of the version in the lock file of what is bundled."""
    if shutil.which("npm") is None:
        pytest.skip("NOT RUN: there is no npm on this machine; Debian has a package.")
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(VIEWER / name, folder)
    done = subprocess.run(
        ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("NOT RUN: npm's registry is not to be had here.")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@asynccontextmanager
async def shown(folder: Path) -> AsyncIterator[tuple[LiveWorld, Browser]]:
    (folder / "browser").mkdir()
    config = WorkflowsConfig(providers=(AwsConfig(), GcpConfig(), AzureConfig()))
    async with (
        open_live(folder, workflows=config) as world,
        open_browser(folder / "browser") as browser,
    ):
        await define_all(world)
        yield world, browser


def is_shown(run: str) -> str:
    return f"document.querySelector('gossamer-run[run=\"{run}\"]') && {RUN}.querySelector('.row')"


async def opened(page: Page, run: str) -> None:
    """A run's picture, with all its steps open."""
    await page.eval(f"location.hash = '#/run/{run}'")
    await page.until(is_shown(run))
    await page.eval(
        f"[...{RUN}.querySelectorAll('.row, details > summary')].forEach(x => x.click())"
    )
    await page.until(f"{RUN}.querySelector('.events li')")


def providers_in_every_state(invoker: Invoker) -> None:
    """One that answers, one that fails of late, one that is not asked, one that may try again."""
    now_ms = 1_000_000
    for name, failure, calls in (("AWS", None, 40), ("GCP", DOWN, 2), ("AZURE", DOWN, 9)):
        tally = invoker.tallies.of(name, "eu-1")
        for _ in range(calls):
            ticket = tally.circuit.ask(now_ms)
            if ticket is None:
                tally.refused += 1
                continue
            tally.note(failure, 0.04, now_ms)
            tally.circuit.tell(ticket, now_ms, good=failure is None)


@pytest.mark.processes
async def test_axe_finds_nothing(tmp_path: Path, axe: str, nursery: trio.Nursery) -> None:
    problems: list[str] = []

    async def look(page: Page, name: str) -> None:
        for dark in (False, True):
            await page.size(1_360, 900, dark=dark, still=True)
            await page.eval(FRAMES)
            if not await page.eval("Boolean(window.axe)"):
                await page.eval(axe + ";0")
            told = await page.eval(CHECKS)
            assert told["rules"] > 15 and (told["inside"] or name.endswith(("/", "docs")))
            problems.extend(f"{name}{' dark' if dark else ''}: {one}" for one in told["found"])

    (tmp_path / "empty").mkdir()
    async with shown(tmp_path) as (world, browser):
        async with open_whole(tmp_path / "empty") as empty:
            for path in ("/live/", "/", "/v1/docs"):
                page = await browser.open(f"{empty.gateway.url}{path}")
                await page.until(READ)
                await look(page, f"nothing yet, {path}")
        relay = Relay(world.url)
        await nursery.start(relay.run)
        page = await browser.open(f"{relay.address}/live/")
        await page.until(LIVE)
        providers_in_every_state(world.whole.gateway.workflows.invoker)
        runs = [
            await make(world)
            for make in (a_failover, a_failure, a_cancelled_one, a_long_one, of_other_scripts)
        ]
        runs.append(await world.an_order())
        await page.until(f"{RUNS}.querySelectorAll('tbody tr').length === 6")
        await page.until(f"{PROVIDERS}.querySelectorAll('.one').length === 3")
        await look(page, "runs")
        for run in runs:
            await opened(page, run)
            await look(page, f"run {run}")
        await page.eval(f"{RUN}.querySelector('[aria-haspopup=dialog]').click()")
        await look(page, "is it sure")
        await page.press("Escape")
        relay.cut()
        await page.until("!document.querySelector('#away').hidden")
        await page.eval("location.hash = '#/'")
        await page.eval(f"{TRIGGER}.querySelector('button[type=submit]').click()")
        await page.until(f"{TRIGGER}.querySelector('.sent').innerText.includes('asking again')")
        await look(page, "not connected")
        nursery.cancel_scope.cancel()
    assert not problems, "\n".join(problems)


FOCUSED = """(() => {
  let one = document.activeElement;
  while (one?.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;
  const box = one.getBoundingClientRect();
  const {outlineWidth, outlineStyle} = getComputedStyle(one);
  return {
    name: one.getAttribute("aria-label") ?? one.innerText?.trim().split("\\n")[0] ?? "",
    ring: parseFloat(outlineWidth) >= 2 && outlineStyle !== "none",
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
})()"""


async def focused(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = await page.eval(FOCUSED)
    return found


async def tab_to(page: Page, name: str) -> None:
    """Presses Tab until that has the focus; every stop on the way is seen, and has a ring."""
    passed = []
    for _ in range(120):
        await page.press("Tab")
        stop = await focused(page)
        passed.append(stop["name"])
        assert stop["ring"] and stop["seen"], stop
        if stop["name"].startswith(name):
            return
    raise AssertionError(f"no stop is {name}: {passed}")


@pytest.mark.processes
async def test_everything_is_done_by_the_keyboard(tmp_path: Path) -> None:
    async with shown(tmp_path) as (world, browser):
        failed = await a_failure(world)
        going = await world.an_order()
        page = await browser.open(f"{world.url}/live/")
        await page.until(LIVE)
        await page.until(f"{RUNS}.querySelector('[data-run=\"{going}\"] .badge.busy')")
        await tab_to(page, "Skip to the runs")
        await page.press("Enter")
        await page.until("document.activeElement.id === 'main' && location.hash === ''")
        await tab_to(page, "Workflow, or a part")
        await page.write("orde")
        await page.until(f"{RUNS}.querySelectorAll('tbody tr').length === 2")
        await page.eval(f"{RUNS}.activeElement.select()")
        await page.write("nothing")
        await page.until(
            f"{RUNS}.querySelector('.empty').innerText === 'No run passes these filters.'"
        )
        await page.eval(f"{RUNS}.activeElement.select()")
        await page.write("order")
        await page.until(f"{RUNS}.querySelectorAll('tbody tr').length === 2")
        await tab_to(page, f"Run …{failed[-8:]}")
        await page.press("Enter")
        await page.until(is_shown(failed))
        await tab_to(page, "Try again")
        await page.press("Enter")
        await page.until(f"{RUN}.querySelector('header .badge').innerText === 'Running'")
        said = f"{RUN}.querySelector('p[role=status]').innerText"
        await page.until(f"{said} === 'The run is Running now.'")
        # It is ended, after a second thought.
        await tab_to(page, "Cancel run")
        await page.press("Enter")
        await page.until(f"{RUN}.querySelector('dialog').open")
        assert (await focused(page))["name"] == "Keep it"
        await page.press("Escape")
        await page.until(f"!{RUN}.querySelector('dialog').open")
        assert (await focused(page))["name"] == "Cancel run"
        await page.press("Enter")
        await tab_to(page, "Cancel run")
        await page.press("Enter")
        await page.until(f"{RUN}.querySelector('header .badge').innerText === 'Cancelled'")
        # And back, to where it was.
        await page.eval("history.back()")
        await page.until("!document.querySelector('#runs').hidden")
        await page.until(f"{RUNS}.activeElement?.dataset.run === '{failed}'")
        await tab_to(page, "Events, the newest first")
        assert complaints(page) == []


@pytest.mark.processes
async def test_nobody_is_told_more_than_they_can_hear(tmp_path: Path) -> None:
    """Regions that are read out do not change while others' runs go by."""
    async with shown(tmp_path) as (world, browser):
        page = await browser.open(f"{world.url}/live/")
        await page.until(LIVE)
        await page.eval(EVERYTHING)
        await page.eval("""
            globalThis.told = [];
            globalThis.regions = everything().filter(x =>
              ["polite", "assertive"].includes(x.ariaLive)
              || ["status", "alert", "log"].includes(x.role));
            const how = {childList: true, characterData: true, subtree: true};
            for (const one of regions)
              new MutationObserver(() => told.push(one.innerText)).observe(one, how);
            0
        """)  # fmt: skip
        for index in range(50):
            run = await world.trigger("hello", index)
            await world.done(run, "greet", index)
        await page.until(f"{TAIL}.querySelectorAll('li').length === 300")
        assert await page.eval("regions.length") > 3
        assert await page.eval("told") == []
        await page.eval(f"{TRIGGER}.querySelector('button[type=submit]').click()")
        await page.until(f"{TRIGGER}.querySelector('.sent').innerText.includes('started')")
        assert 0 < len(await page.eval("told")) < 5
        # Whether it is connected says one of them, not each.
        speaking = await page.eval(
            "everything().filter(x => x.role === 'status' && x.closest('.link')).length"
        )
        assert speaking == 1


@pytest.mark.processes
async def test_nothing_moves_for_whom_nothing_is_to_move(tmp_path: Path) -> None:
    async with shown(tmp_path) as (world, browser):
        run = await world.an_order()
        page = await browser.open(f"{world.url}/live/")
        await page.until(LIVE)
        await page.eval(EVERYTHING)
        moving = "everything().reduce((sum, x) => sum + x.getAnimations().length, 0)"
        for place in ("#/", f"#/run/{run}"):
            await page.eval(f"location.hash = '{place}'")
            await page.size(1_360, 900)
            await page.until(moving)
            await page.size(1_360, 900, still=True)
            await page.until(f"{moving} === 0")


@pytest.mark.processes
async def test_it_fits_at_any_zoom_and_without_colours(tmp_path: Path) -> None:
    async with shown(tmp_path) as (world, browser):
        page = await browser.open(f"{world.url}/live/")
        await page.until(LIVE)
        providers_in_every_state(world.whole.gateway.workflows.invoker)
        runs = [await make(world) for make in (a_failover, a_failure, a_long_one, of_other_scripts)]
        await page.eval(EVERYTHING)
        await page.until(f"{RUNS}.querySelectorAll('tbody tr').length === 4")
        await page.until(f"{PROVIDERS}.querySelectorAll('.one').length === 3")
        for place in (None, *runs):
            if place is None:
                await page.eval("location.hash = '#/'")
            else:
                await opened(page, place)
            # 1,280 pixels at 100, 200 and 400 %
            for width, height, scale in ((1_280, 1_024, 1), (640, 512, 2), (320, 256, 4)):
                await page.size(width, height, scale=scale)
                await page.until(f"innerWidth === {width}")
                await page.eval(FRAMES)
                beyond = await page.eval(f"""
                    everything().filter(x => x.checkVisibility()
                      && !x.closest(".unseen, .hidden, pre, .track, nav, option")
                      && x.getBoundingClientRect().right > {width + 1})
                      .map(x => x.outerHTML.slice(0, 120))
                """)
                assert beyond == [], (place, width, beyond[:5])
            await picture(page, "zoomed")
        await page.size(1_280, 1_024)
        await page.call(
            "Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}]
        )
        await picture(page, "forced-colours")
