"""Does `step1` over a Kafka with TLS and SASL. Its secrets come from the environment."""

import os

from gossamer_worker import Worker


def main() -> None:
    worker = Worker(
        kafka_options={
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": os.environ["KAFKA_CA_FILE"],
            "sasl.mechanism": os.environ.get("KAFKA_MECHANISM", "SCRAM-SHA-512"),
            "sasl.username": os.environ["KAFKA_USER"],
            "sasl.password": os.environ["KAFKA_PASSWORD"],
        }
    )
    worker.register("step1", lambda payload: f"Processed: {payload}")
    worker.start()


if __name__ == "__main__":
    main()
