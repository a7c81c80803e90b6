"""What a person sees: a panel that moves on a terminal, a few plain lines anywhere else."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import trio

from gossamer_hotel.demo.play import Progress, jobs_done
from gossamer_hotel.demo.processes import Node

FRAME_MS = 200
PLAIN_MS = 2_000
BAR_COLUMNS = 32

COLOURS = {"confirmed": 32, "rejected": 33, "invalid": 35, "dim": 2, "bad": 31, "bold": 1}
"""ECMA-48 SGR. Left out where NO_COLOR is set or nobody looks (no-color.org)."""


class Show:
    """Draws the progress until it is cancelled, and once more at the end."""

    def __init__(self, title: str, nodes: Sequence[Node], progress: Progress, stream: TextIO):
        self._title = title
        self._nodes = nodes
        self._progress = progress
        self._stream = stream
        self._live = stream.isatty()
        self._colours = self._live and "NO_COLOR" not in os.environ
        self._drawn_lines = 0

    async def run(self) -> None:
        """Draws, again and again."""
        try:
            while True:
                self.draw()
                await trio.sleep((FRAME_MS if self._live else PLAIN_MS) / 1_000)
        finally:
            self.draw()

    def draw(self) -> None:
        """Draws one frame over the last one; one line where it is no terminal."""
        if not self._live:
            counts = Counter(one for one in self._progress.endings.values() if one)
            said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
            self._write(f"  {self._progress.started} started, {said or 'none ended yet'}\n")
            return
        lines = list(self._frame())
        up = f"\x1b[{self._drawn_lines}A" if self._drawn_lines else ""
        self._write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
        self._drawn_lines = len(lines)

    def _frame(self) -> Iterator[str]:
        progress = self._progress
        seconds = max(0.001, trio.current_time() - progress.began_ms / 1_000)
        jobs = sum(jobs_done(one) for one in self._nodes if one.status)
        counts = Counter(one for one in progress.endings.values() if one)
        yield self._paint("bold", self._title)
        yield f"  {'started':10}{progress.started:5} {self._bar('dim', progress.started)}"
        for name in ("confirmed", "rejected", "invalid"):
            yield f"  {name:10}{counts[name]:5} {self._bar(name, counts[name])}"
        yield ""
        for node in self._nodes:
            yield f"  {self._node(node)}"
        yield ""
        yield f"  {jobs} jobs in {seconds:.1f} s, {jobs / seconds:.0f} jobs/s"

    def _node(self, node: Node) -> str:
        if node.killed:
            held = self._progress.victim_held
            return self._paint(
                "bad", f"✕ {node.name}  killed with {held} job{'s' * (held != 1)} in hand"
            )
        running = node.status["holding"]["running"]
        claims = any(one["member"] == node.name for one in node.status["claimers"])
        shown = f"● {node.name}  {jobs_done(node):6} jobs  {'■' * min(running, 24):24}"
        return shown + ("  asks the engine" if claims else "")

    def _bar(self, colour: str, count: int) -> str:
        columns = round(BAR_COLUMNS * count / max(1, self._progress.total))
        return self._paint(colour, "█" * columns) + self._paint(
            "dim", "·" * (BAR_COLUMNS - columns)
        )

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self._colours else text

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def print_summary(
    result: Mapping[str, object], complaints: Sequence[str], good: bool, stream: TextIO = sys.stdout
) -> None:
    """The end of the story, for a person."""
    print(
        f"\n{result['started']} reservations on {result['engine']} with {result['nodes']} nodes: "
        f"{result['completed']} confirmed, {result['rejected']} rejected (no room), "
        f"{result['invalid']} invalid.",
        file=stream,
    )
    if result["nodes_killed"]:
        print(
            f"{result['nodes_killed']} node killed in the middle; {result['recovered_leases']} of "
            "its leases went on elsewhere.",
            file=stream,
        )
    print(
        f"{result['lost']} lost, {result['effective_twice']} effective twice, as the engine and "
        f"the hotel's databases say. {result['jobs_per_second']} jobs/s over "
        f"{result['seconds']} s.",
        file=stream,
    )
    for one in complaints:
        print(f"  {one}", file=stream)
    print("All is well." if good else "That is not as it should be.", file=stream)
