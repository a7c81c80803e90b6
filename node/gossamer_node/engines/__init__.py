"""Engines are ports: one small protocol (`port`), an adapter for each engine."""
