"""A host, and services of modules that attack it, in either profile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.hostile.services import PROFILES, service

from gossamer_node.service.spec import Grant, Limits, Profile
from gossamer_node.wasm import WasmHost, Worker

PATIENT = Limits(time_ms_max=20_000)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmHost]:
    with WasmHost(tmp_path_factory.mktemp("cache"), threads=2) as host:
        yield host


@pytest.fixture
def load(host: WasmHost, tmp_path: Path) -> Callable[..., Worker]:
    """Load bytes as the module of a service."""

    def make(wasm: bytes, profile: Profile = "fast", limits: Limits = PATIENT) -> Worker:
        path = tmp_path / "m.wasm"
        path.write_bytes(wasm)
        return host.load_blocking(service(path, profile, limits), Grant())

    return make


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> Profile:
    found: Profile = request.param
    return found
