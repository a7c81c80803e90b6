"""An override that a WASM service of the mesh answers: a real node has it, a real gateway asks."""

from pathlib import Path

import httpx
import pytest
from tests.integration.compiling import compile_guest
from tests.integration.nodes import until, write_service

from gossamer_gateway.config import GatewayConfig
from gossamer_gateway.server import open_gateway
from gossamer_hotel.demo.processes import open_nodes
from gossamer_node.address import Address, parse_address
from gossamer_node.local_engines.progress import silent
from gossamer_node.mesh_config import MeshConfig

RULE = {
    "match": {"method": "GET", "path": "/engine-rest/rooms/{id}"},
    "service": {"name": "answering"},
}


@pytest.mark.processes
async def test_a_service_answers(tmp_path: Path) -> None:
    module = compile_guest("answering", tmp_path)
    service = write_service(tmp_path / "answering", module, ["never-asked"], capabilities={})
    settings = [{"services": [str(service)]}]
    async with open_nodes(settings, tmp_path, silent) as (node,):
        config = GatewayConfig(
            name="gateway",
            data_dir=tmp_path / "data",
            cache_dir=tmp_path / "cache",
            http=Address("127.0.0.1", 0),
            grpc=Address("127.0.0.1", 0),
            mesh=MeshConfig(key_file=tmp_path / "mesh.key"),
            join=(parse_address(node.status["node"]["address"]),),
        )
        async with (
            open_gateway(config) as gateway,
            httpx.AsyncClient(base_url=gateway.url, timeout=30) as http,
        ):
            made = await http.put("/v1/overrides/rooms", json=RULE)
            assert made.status_code == 200, made.text

            async def answers() -> httpx.Response | None:
                # What the node offers is heard by gossip.
                told = await http.get("/engine-rest/rooms/7")
                return None if told.status_code == 503 else told

            told = await until(answers)
            assert (told.status_code, told.json()) == (202, {"method": "GET", "id": "7"})
            other = await http.post("/engine-rest/rooms/7")
            assert other.status_code == 404
            assert (await http.delete("/v1/overrides/rooms")).status_code == 204
            assert (await http.get("/engine-rest/rooms/7")).status_code == 404
