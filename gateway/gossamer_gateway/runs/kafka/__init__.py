"""Workflows over Kafka: events and jobs go out, results come in, and a log to follow and replay."""
