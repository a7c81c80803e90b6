"""Both engines start here, answer, and never outlive the program that started them."""

import httpx
import pytest
from gossamer_node.local_engines.starting import CAMUNDA7_VERSION, ZEEBE_VERSION


@pytest.mark.camunda7
async def test_camunda7_answers_with_its_version(camunda7_url: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{camunda7_url}/version")
    assert answer.json() == {"version": CAMUNDA7_VERSION}


@pytest.mark.zeebe
async def test_zeebe_answers_with_its_version(zeebe_url: str, zeebe_grpc_address: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{zeebe_url}/v2/topology")
    assert answer.json()["gatewayVersion"] == ZEEBE_VERSION
    assert zeebe_grpc_address.startswith("127.0.0.1:")
