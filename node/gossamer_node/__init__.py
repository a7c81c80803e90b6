"""The node: hosts WASM workers and runs them on jobs that engines hand out."""
