"""What the gateway adds to a call, and how many clients may wait at it: `python -m
benchmarks.gateway --help`. Beside it stand the engine asked directly, and an application on
Hypercorn and trio that does nothing but answer."""
