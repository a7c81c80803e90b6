"""Run a real Camunda 7 and a real Zeebe (Camunda 8) here, until Ctrl-C.

They listen on free ports of 127.0.0.1, begin empty and keep nothing. The first start downloads
them from Maven Central.

examples:
  gossamer engines                    both, for people
  gossamer engines --zeebe --json     one line of JSON when Zeebe is well, for programs
"""

import argparse
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import trio

from gossamer_node.errors import LocalEngineError, NodeError
from gossamer_node.local_engines.processes import EngineProcess
from gossamer_node.local_engines.progress import printed
from gossamer_node.local_engines.starting import start_camunda7, start_zeebe


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--camunda7", action="store_true", help="Camunda 7 (default: both)")
    parser.add_argument("--zeebe", action="store_true", help="Zeebe (default: both)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when all run")


def run(arguments: argparse.Namespace) -> int:
    """Runs the engines until SIGINT or SIGTERM.

    Raises:
        LocalEngineError: One could not be had, did not start, or ended by itself; none runs any
            more.
    """
    both = arguments.camunda7 == arguments.zeebe
    failure = trio.run(
        _until_signal, both or arguments.camunda7, both or arguments.zeebe, arguments.json
    )
    if failure is not None:
        raise failure
    return 0


async def _until_signal(camunda7: bool, zeebe: bool, as_json: bool) -> NodeError | None:
    failure: NodeError | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at, signals, nursery.cancel_scope)
            try:
                await _run_engines(camunda7, zeebe, as_json)
            except NodeError as error:  # kept out of the nursery, which would wrap it in a group
                failure = error
            nursery.cancel_scope.cancel()
    return failure


async def _cancel_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def _run_engines(camunda7: bool, zeebe: bool, as_json: bool) -> None:
    progress = printed()
    urls: dict[str, dict[str, str]] = {}
    processes: list[EngineProcess] = []
    async with AsyncExitStack() as stack:
        if camunda7:
            seven = await stack.enter_async_context(start_camunda7(progress=progress))
            urls["camunda7"] = {"version": seven.version, "url": seven.url}
            processes.append(seven.process)
        if zeebe:
            eight = await stack.enter_async_context(start_zeebe(progress=progress))
            urls["zeebe"] = {
                "version": eight.version,
                "url": eight.url,
                "grpc_address": eight.grpc_address,
                "management_url": eight.management_url,
            }
            processes.append(eight.process)
        print(json.dumps(urls) if as_json else _for_people(urls), flush=True)
        raise LocalEngineError(await _first_ended(processes))


def _for_people(urls: dict[str, dict[str, str]]) -> str:
    lines = []
    if camunda7 := urls.get("camunda7"):
        lines.append(f"Camunda {camunda7['version']}   {camunda7['url']}")
    if zeebe := urls.get("zeebe"):
        lines.append(f"Zeebe {zeebe['version']}      {zeebe['url']}  gRPC {zeebe['grpc_address']}")
    return "\n".join([*lines, "Ctrl-C stops them."])


async def _first_ended(processes: list[EngineProcess]) -> str:
    sentences: list[str] = []

    async def watch(process: EngineProcess, scope: trio.CancelScope) -> None:
        sentences.append(await process.wait_ended())
        scope.cancel()

    async with trio.open_nursery() as nursery:
        for process in processes:
            nursery.start_soon(watch, process, nursery.cancel_scope)
    return sentences[0]
