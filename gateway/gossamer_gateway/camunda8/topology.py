"""The cluster, as clients ask for it before they begin.

Where there is a Camunda 8, its own. Without one, or while it does not answer, the gateway stands
for a broker with one partition: clients wait for a topology before they work, and there is work in
the other engines.
"""

from gossamer_gateway.camunda8.fields import Json
from gossamer_gateway.desk import Desk

VERSION = "8.6.0"
"""Of the API that is spoken here."""

HOST, PORT = "gossamer", 26501


def own(desk: Desk) -> Json:
    """The gateway's own topology; its partition is unhealthy while a Camunda 8 is away."""
    eight = desk.engines.eight
    health = "healthy" if eight is None or eight.failed_ms is None else "unhealthy"
    partition = {"partitionId": 1, "role": "leader", "health": health}
    return {
        "brokers": [
            {
                "nodeId": 0,
                "host": HOST,
                "port": PORT,
                "partitions": [partition],
                "version": VERSION,
            }
        ],
        "clusterSize": 1,
        "partitionsCount": 1,
        "replicationFactor": 1,
        "gatewayVersion": VERSION,
    }
