"""Runs whose flow a Zeebe keeps and whose jobs go over a Kafka: neither knows of the other."""

from pathlib import Path

import pytest
from tests.gateway.whole_gateway import open_whole
from tests.kafka_fixture import Kafka
from tests.runs.kafka_world import ACTIONS, working
from tests.runs.worlds import World

from gossamer_gateway.runs.config import KafkaConfig, WorkflowsConfig
from gossamer_gateway.runs.kafka.bus import open_sender
from gossamer_node.address import parse_address
from gossamer_node.engines.config import EngineConfig
from gossamer_node.local_engines import RunningZeebe

RUNS = 10


@pytest.mark.kafka
@pytest.mark.zeebe
async def test_jobs_go_over_kafka_and_the_flow_is_zeebes(
    kafka: Kafka, zeebe: RunningZeebe, tmp_path: Path
) -> None:
    config = WorkflowsConfig(execution="zeebe", kafka=KafkaConfig((parse_address(kafka.address),)))
    eight = EngineConfig("eight", "camunda8", zeebe.url, grpc=zeebe.grpc_address)
    async with (
        open_whole(tmp_path, eight, workflows=config) as whole,
        open_sender(kafka.cluster, "worker") as sender,
        working(kafka.cluster, sender, times=2),
    ):
        world = World(whole, whole.http)
        await world.define("over-kafka", *({"action": one} for one in ACTIONS))
        for run in [await world.trigger("over-kafka", []) for _ in range(RUNS)]:
            ended = await world.ended(run)
            assert (ended["status"], ended["execution"]) == ("Completed", "zeebe")
            assert ended["finalOutput"] == list(ACTIONS)
            assert [one["attempts"] for one in ended["stepResults"]] == [1, 1, 1]
