"""The WASM host: runs workers of the ABI job1 (`sdk-wasm/ABI.md`) on jobs.

`host` is the way in; `guest` is one job in one instance, `run` what its host functions know,
`envelope` the bytes, `engine` and `fastcall` are wasmtime, `pool`, `tasks`, `watchdog` and `share`
the threads, `store` a file that several keep things in. Rooms: `loading` (how bytes become code),
`asking` (what a guest may ask of the host), `living` (instances that live on).
"""

from gossamer_node.wasm.host import WasmHost, Worker
from gossamer_node.wasm.run import Detached, JobContext

__all__ = ["Detached", "JobContext", "WasmHost", "Worker"]
