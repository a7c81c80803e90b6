"""All parts on one machine: Kafka from Maven Central, PostgreSQL and Redis, a gateway, workers.

`broker` runs a real Kafka for the length of a block; `gossamer stack up` runs everything.
"""
