"""Clusters of the real cores, formed once, and trials on copies of them.

A mesh of a thousand takes seconds to make. So a cluster is formed once in this process, and each
trial runs in a child made by fork: the child has its own copy of everything, two run at once on two
cores, and what it returns comes back through a pipe.
"""

import gc
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

QUIET_MS = 20_000
"""Run after the start, so that nobody's timers are those of the start."""

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
    gc.disable()  # a million table entries, none of them garbage: each look at them costs seconds
    cluster.start_agreed()
    gc.freeze()
    gc.enable()
    cluster.run(QUIET_MS)
    wrong = cluster.disagreement()
    assert not wrong, f"seed {seed}: {wrong}"
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
