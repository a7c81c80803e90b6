"""A service: a WASM worker and what service.yaml says of it."""
