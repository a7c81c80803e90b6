"""Debian's Chromium, headless, driven over its DevTools protocol: as much of it as the tests need.

async with open_browser(folder) as browser:
    page = await browser.open("http://127.0.0.1:8080/", width=1280, height=900)
    await page.until("document.querySelectorAll('.node-card').length === 3")

A page remembers what its console complained of: exceptions, what its security policy refused, and
what could not be loaded.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.patience import patience, seen
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

COMMAND = "chromium"

PATIENCE_S = 60.0
"""For whatever a page is to come to show."""

ANSWER_BYTES_MAX = 64 * 2**20
"""A screenshot of a long page is large."""

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)

KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "ArrowRight": (39, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowDown": (40, ""),
    "Home": (36, ""),
    "End": (35, ""),
    " ": (32, " "),
}


class Page:
    """One tab."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A method of the DevTools protocol."""
        return await self._browser.call(method, parameters, self._session)

    async def eval(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        told = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, script: str) -> None:
        """Looks until an expression is true, or an element."""

        async def look() -> bool | None:
            return bool(await self.eval(f"!!({script})")) or None

        try:
            await seen(look, PATIENCE_S, 0.05)
        except BaseException:
            print(f"in vain: {script}\n{(await self.text())[:4_000]}\n{self.complaints}")
            raise

    async def text(self) -> str:
        """What a person can read."""
        return str(await self.eval("document.body.innerText"))

    async def press(self, key: str, *, shift: bool = False) -> None:
        """A key, down and up."""
        code, text = KEYS[key]
        common = {
            "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0,
        }  # fmt: skip
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def write(self, text: str) -> None:
        """Text, where the focus is."""
        await self.call("Input.insertText", text=text)

    async def size(
        self, width: int, height: int, *, dark: bool = False, still: bool = False, scale: float = 1
    ) -> None:
        """The window's, in CSS pixels, and what its system prefers.

        Args:
            still: nothing is to move.
            scale: device pixels to one of CSS, as with a browser's zoom.
        """
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        motion = {"name": "prefers-reduced-motion", "value": "reduce" if still else ""}
        await self.call("Emulation.setEmulatedMedia", features=[scheme, motion])

    async def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page, of all its height where `whole`."""
        told = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(told["data"]))


class Browser:
    """A running one. Made by `open_browser`."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._waiting: dict[int, tuple[trio.Event, dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def open(
        self, url: str, *, width: int = 1_280, height: int = 900, dark: bool = False
    ) -> Page:
        """A new tab."""
        target = await self.call("Target.createTarget", {"url": "about:blank"})
        told = await self.call(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        page = self._pages[told["sessionId"]] = Page(self, told["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        await page.size(width, height, dark=dark)
        await page.call("Page.navigate", url=url)
        return page

    async def call(
        self, method: str, parameters: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        answered, answer = self._waiting[number] = (trio.Event(), {})
        await self._socket.send_message(json.dumps(message))
        with patience(PATIENCE_S, lambda: f"the answer to {method}"):
            await answered.wait()
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    async def run(self) -> None:
        """Takes what the browser says."""
        try:
            while True:
                message = json.loads(await self._socket.get_message())
                if "id" in message:
                    answered, answer = self._waiting.pop(message["id"])
                    answer.update(message)
                    answered.set()
                elif message.get("sessionId") in self._pages:
                    complaint = _complaint(message)
                    if complaint is not None:
                        self._pages[message["sessionId"]].complaints.append(complaint)
        except ConnectionClosed:
            pass


def _complaint(message: dict[str, Any]) -> str | None:
    told = message["params"]
    if message["method"] == "Runtime.exceptionThrown":
        details = told["exceptionDetails"]
        return str(details.get("exception", {}).get("description", details["text"]))
    if message["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
        return " ".join(str(one.get("value", one.get("description"))) for one in told["args"])
    if message["method"] == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
        return f"{told['entry']['text']} {told['entry'].get('url', '')}"
    return None


@asynccontextmanager
async def open_browser(folder: Path, *more: str) -> AsyncIterator[Browser]:
    """Starts a browser; it ends with the block.

    Args:
        folder: a fresh one, for its profile.
        more: arguments of its command line.
    """
    if shutil.which(COMMAND) is None:
        pytest.skip(f"NOT RUN: there is no {COMMAND} on this machine; Debian has a package.")
    log = (folder / "chromium.log").open("wb")
    process = await trio.lowlevel.open_process(
        [COMMAND, *ARGUMENTS, *more, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    log.close()
    try:
        place = folder / "profile" / "DevToolsActivePort"

        async def started() -> list[str] | None:
            lines = place.read_text().split() if place.exists() else []
            return lines if len(lines) == 2 else None

        port, path = await seen(started, PATIENCE_S, 0.05)
        url = f"ws://127.0.0.1:{port}{path}"
        async with open_websocket_url(url, max_message_size=ANSWER_BYTES_MAX) as socket:
            browser = Browser(socket)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(browser.run)
                yield browser
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            os.killpg(process.pid, signal.SIGKILL)  # a group of its own: its helpers, too
            await process.wait()
