"""Bundles what browsers load as one file into files that are committed and served so.

The operations page's own files need no building. bpmn-js does, and a node of npm is not what a
person who installs Gossamer should need, least of all on a Raspberry Pi: so the bundle is
committed, some 200 KB, with the licences of all that is in it. The live components are one module,
so that any page can load them with one line; they take nothing of npm. Run this after a change of
`gateway/viewer` or `gateway/live-page`:

    python3 tools/build_page.py            # installs by package-lock.json, bundles, writes
    python3 tools/build_page.py --check    # says whether what is committed is what would be written
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "gateway" / "viewer"
TARGET = ROOT / "gateway" / "gossamer_gateway" / "page" / "static" / "vendor"
LIVE = ROOT / "gateway" / "live-page" / "gossamer-live.js"
LIVE_TARGET = ROOT / "gateway" / "gossamer_gateway" / "runs" / "live" / "static"

LICENCES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "license")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        made = build(Path(scratch))
    changed = [
        name for name, content in made.items() if not name.exists() or name.read_bytes() != content
    ]
    if check:
        for name in changed:
            print(f"{name.relative_to(ROOT)} is not what it would be", file=sys.stderr)
        return 1 if changed else 0
    for name, content in made.items():
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(content)
        print(f"{name.relative_to(ROOT)}: {len(content):,} bytes")
    return 0


def build(folder: Path) -> dict[Path, bytes]:
    """The files, by their places. Needs npm and its registry."""
    for name in ("package.json", "package-lock.json", "viewer.js"):
        shutil.copy(SOURCE / name, folder)
    run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], folder)
    meta = folder / "meta.json"
    told = "bpmn-js and more, see LICENSES.txt"
    bundle(folder, "viewer.js", "bpmn.js", told, f"--metafile={meta}")
    bundle(folder, str(LIVE), "gossamer-live.js", "Gossamer's live components; Apache-2.0")
    used = json.loads(meta.read_text())["inputs"]
    packages = sorted({package_of(one) for one in used if one.startswith("node_modules/")})
    modules = folder / "node_modules"
    return {
        TARGET / "bpmn.js": (folder / "bpmn.js").read_bytes(),
        TARGET / "bpmn.css": (modules / "bpmn-js/dist/assets/diagram-js.css").read_bytes(),
        TARGET / "LICENSES.txt": "\n".join(licence(modules / one) for one in packages).encode(),
        LIVE_TARGET / "gossamer-live.js": (folder / "gossamer-live.js").read_bytes(),
    }


def bundle(folder: Path, source: str, target: str, banner: str, *more: str) -> None:
    """Makes one module of one and all that it imports."""
    run(
        [
            str(folder / "node_modules" / ".bin" / "esbuild"),
            source,
            "--bundle",
            "--minify",
            "--format=esm",
            "--target=es2022",
            "--legal-comments=none",
            f"--banner:js=/* {banner} */",
            f"--outfile={target}",
            *more,
            "--log-level=warning",
        ],
        folder,
    )


def package_of(path: str) -> str:
    """The package of a module: its last folder below `node_modules`, with its scope."""
    parts = path.rpartition("node_modules/")[2].split("/")
    return "/".join(parts[:2] if parts[0].startswith("@") else parts[:1])


def licence(package: Path) -> str:
    """What a package's licence is, in its own words where it has some."""
    told = json.loads((package / "package.json").read_text())
    texts = [package / name for name in LICENCES if (package / name).exists()]
    text = texts[0].read_text() if texts else f"Licence: {told['license']}\n"
    title = f"{told['name']} {told['version']}"
    return f"{title}\n{'=' * len(title)}\n\n{text.strip()}\n"


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed, and says why above.")


if __name__ == "__main__":
    sys.exit(main())
