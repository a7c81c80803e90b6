"""What the mesh costs and how it behaves, beside memberlist: tables, JSON and charts.

Every part may be run alone. With --out each writes its JSON, Markdown and charts there; with --page
all parts that the folder holds become one page. Without --out the tables are printed.

examples:
  python -m benchmarks.mesh --quick                      two minutes, to see that nothing broke
  python -m benchmarks.mesh detection spread --quick     two of the parts
  python -m benchmarks.mesh stalls --out /tmp/mesh       one part in full
  python -m benchmarks.mesh --json idle                  its result as JSON
  make bench-mesh                                        everything, as it is committed
"""

import argparse
import importlib
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.mesh import report
from benchmarks.mesh.report import Part

from gossamer_mesh.testing.commit import commit

NAMES = ("detection", "spread", "stalls", "idle", "recovery", "requests", "handoff")

OPENING = """# What the mesh costs, and how fast it is

Written by `make bench-mesh`; to change the words, change `benchmarks/mesh`. Simulated figures come
from the real cores in virtual time and are the same on every machine for one commit and seed. Real
ones were measured on {machine}, busy with other work:
read them as orders of magnitude. Each part says at which commit, and whether in its full form. What
is said of memberlist follows from its defaults and formulas (`config.go`, `util.go`,
`suspicion.go`) in the same reduced model; it was not run here.

## Goals
"""


def run_part(name: str, scale: str, folder: Path) -> Part:
    """One part, timed and stamped."""
    module = importlib.import_module(f"benchmarks.mesh.{name}")
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{name} {time.monotonic() - began_s:6.1f} s  {text}", file=sys.stderr, flush=True)

    part: Part = module.run(scale, say, folder)
    part.seconds = time.monotonic() - began_s
    part.scale = scale
    part.commit = commit()
    return part


def page(parts: list[Part], pictures: str) -> str:
    """All parts as one Markdown page."""
    cores = len(os.sched_getaffinity(0))
    machine = f"{cores} shared {platform.machine()} cores, Python {platform.python_version()}"
    lines = OPENING.format(machine=machine).splitlines()
    lines += ["", *report.goals_lines(parts), ""]
    for part in parts:
        lines += [f"## {part.title}", ""]
        lines += report.part_lines(part, pictures)
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Runs parts. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mesh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(NAMES)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="small: two minutes for all")
    parser.add_argument("--scale", choices=report.SCALES, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write files there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="with --out: write the page, too")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.parts) - set(NAMES))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if given.page and not given.out:
        parser.error("--page needs --out, where the charts are")
    scale = given.scale or ("quick" if given.quick else "full")
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.parts or NAMES:
            folder = Path(scratch) / name
            folder.mkdir()
            part = run_part(name, scale, folder)
            if given.out:
                report.write_part(part, given.out)
            if given.json:
                print(part.to_json())
            else:
                print("\n".join([f"## {part.title}", "", *report.goals_lines([part]), ""]))
                for table in part.tables:
                    print("\n".join([*report.table_lines(table), ""]))
                print(f"seeds: {part.seeds}\n", flush=True)
    if given.page:
        found = report.read_parts(given.out, NAMES)
        pictures = os.path.relpath(given.out.resolve(), given.page.resolve().parent) + "/"
        given.page.write_text(page(found, pictures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
