"""Steps of a workflow worked by a WASM service: a real node, to which the gateway is an engine."""

from pathlib import Path

import pytest
from tests.integration.compiling import compile_guest
from tests.integration.nodes import SLOTS, new_topic, reaches, write_service
from tests.runs.worlds import Opens, execution, opens

from gossamer_hotel.demo.processes import open_nodes
from gossamer_node.engines.config import EngineConfig
from gossamer_node.local_engines.progress import silent

__all__ = ["execution", "opens"]


@pytest.mark.processes
async def test_a_service_works_the_steps(opens: Opens, tmp_path: Path) -> None:
    doubles, adds = new_topic(), new_topic()
    module = compile_guest("doubling", tmp_path)
    service = write_service(tmp_path / "doubling", module, [doubles, adds], capabilities={})
    async with opens(tmp_path / "gateway") as world:
        engine = EngineConfig(
            "workflows", "camunda7", f"{world.whole.gateway.url}/workflow/engine-rest"
        )
        settings = reaches(engine) | {"services": [str(service)], "slots": SLOTS}
        async with open_nodes([settings], tmp_path, silent):
            await world.define(
                "sum",
                {"id": "double", "action": doubles},
                {"id": "add", "action": adds, "input": "$.previous.total"},
            )
            run = await world.ended(await world.trigger("sum", {"amount": 21}))
            assert run["status"] == "Completed", run
            assert run["finalOutput"] == 43
            double, add = run["stepResults"]
            assert double["output"] == {"total": 42, "key": f"{run['runId']}:double"}
            assert (add["input"], add["attempts"]) == (42, 1)

            refused = await world.ended(await world.trigger("sum", {"amount": -1}))
    assert refused["status"] == "Failed"
    assert (refused["error"]["code"], refused["error"]["message"]) == ("NEGATIVE", "no debts")
    assert [one["attempts"] for one in refused["stepResults"]] == [1]
