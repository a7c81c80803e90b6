"""Clusters of the real cores, formed once, and trials on copies of them.

To form a mesh of a thousand costs more than most that is then done with it. So a cluster is formed
once in this process, and each trial runs in a child made by fork: the child has its own copy of
everything, two run at once on two cores, and what it returns comes back through a pipe.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from benchmarks.mesh.report import Say
from gossamer_mesh.swim.config import Config
from gossamer_mesh.swim.rng import Rng
from gossamer_mesh.testing.cluster import Cluster

T = TypeVar("T")

START_GAP_MS = 20
"""Between two members that start, as one who brings a mesh up would see it."""

AGREE_MS_MAX = 900_000
QUIET_MS = 30_000
"""Run after all agree, so that what is said of the joins has died down."""

_formed: dict[tuple[int, int, bool], Cluster] = {}


def formed(size: int, seed: int, say: Say, config: Config | None = None) -> Cluster:
    """A cluster in which all agree and nothing is news. Only to be used in children.

    Args:
        config: of a cluster of its own kind; one of the defaults is kept for the next part.
    """
    key = (size, seed, config is None)
    if config is None and key in _formed:
        return _formed[key]
    say(f"forming a mesh of {size:,} (seed {seed})")
    cluster = Cluster(seed, size, config)
    for process in cluster.processes:
        process.start(cluster.seeds)
        cluster.run(START_GAP_MS)
    took_ms = cluster.run_until_agreed(AGREE_MS_MAX, step_ms=1_000)
    say(f"{size:,} agree {(took_ms + size * START_GAP_MS) / 1_000:.0f} s after the first start")
    cluster.run(QUIET_MS)
    for process in cluster.processes:
        process.events.clear()
    if config is None:
        _formed[key] = cluster
    return cluster


def settle(cluster: Cluster, seed: int) -> Rng:
    """Lets a copy run for a time of its own, so that no two trials are alike; returns its dice."""
    rng = Rng(seed)
    cluster.run(1_000 + rng.below(4_000))
    return rng


def in_children(
    tasks: Sequence[Callable[[], T]], say: Say, what: str, workers: int | None = None
) -> list[T]:
    """Runs each task in a child made by fork, some at once; their results in order.

    Raises:
        RuntimeError: a task raised; its traceback is on stderr.
    """
    context = multiprocessing.get_context("fork")
    workers = workers or min(2, os.cpu_count() or 1)
    results: dict[int, T] = {}
    running: dict[Connection, int] = {}
    waiting = list(enumerate(tasks))
    children = []
    while waiting or running:
        while waiting and len(running) < workers:
            number, task = waiting.pop(0)
            here, there = context.Pipe(duplex=False)
            child = context.Process(target=_run_child, args=(there, task))
            child.start()
            there.close()
            children.append(child)
            running[here] = number
        for ready in wait(list(running)):
            assert isinstance(ready, Connection)
            number = running.pop(ready)
            try:
                results[number] = ready.recv()
            except EOFError:
                raise RuntimeError(f"{what}: a child ended without a result") from None
            ready.close()
            say(f"{what}: {len(results)} of {len(tasks)}")
    for child in children:
        child.join()
    return [results[number] for number in range(len(tasks))]


def _run_child(there: Connection, task: Callable[[], T]) -> None:
    there.send(task())
    there.close()
