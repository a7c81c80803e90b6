"""What the page serves: its files, their headers, and a bundle that is what its sources make."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.gateway.v1_world import open_gateway

from gossamer_gateway.page import FOLDER
from gossamer_mesh.keyring import Keyring

ROOT = Path(__file__).parents[2]


async def test_files_and_headers() -> None:
    async with open_gateway(Keyring((bytes(32),))) as gateway:
        for path in ("/", "/v1/docs", "/favicon.ico", "/page/app.js", "/page/vendor/bpmn.js"):
            told = await gateway.http.get(path)
            assert told.status_code == 200, path
            policy = told.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert told.headers["x-content-type-options"] == "nosniff"
        for path in ("/page/", "/page/../__init__.py", "/page/..%2f__init__.py", "/page/none.js"):
            assert (await raw(gateway.url, path)).status_code == 404, path


async def raw(url: str, path: str) -> httpx.Response:
    """A path as it is written, dots and all."""
    async with httpx.AsyncClient(timeout=60) as client:
        request = client.build_request("GET", url)
        request.url = request.url.copy_with(raw_path=path.encode())
        return await client.send(request)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.html")), ids=lambda one: one.name)
def test_no_script_is_inline(file: Path) -> None:
    text = file.read_text()
    assert "<script>" not in text and "style=" not in text and " on" + "click" not in text
    assert "http://" not in text and "https://" not in text


def test_no_file_of_ours_makes_markup_of_text() -> None:
    for file in FOLDER.glob("*.js"):
        text = file.read_text()
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, f"{file.name}: {way}"


def test_the_bundle_is_what_its_sources_make() -> None:
    command = [sys.executable, str(ROOT / "tools" / "build_page.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "npm failed" in done.stderr:
        pytest.skip("NOT RUN: npm or its registry is not to be had here.")
    assert done.returncode == 0, done.stderr
