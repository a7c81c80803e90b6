"""Does `step1` and `step2`: each says what it processed."""

from gossamer_worker import Worker


def main() -> None:
    worker = Worker()

    # Register handlers for specific actions
    worker.register("step1", lambda payload: f"Processed: {payload}")
    worker.register("step2", lambda payload: f"Processed again: {payload}")

    # Connects to Kafka and starts listening
    worker.start()


if __name__ == "__main__":
    main()
