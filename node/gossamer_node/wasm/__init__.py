"""The WASM host: runs workers of the ABI job1 (`sdk-wasm/ABI.md`) on jobs.

`host` is the way in. Below it: `module` (what a file is), `guest` (one job in one instance), `run`
(what its host functions know), `job1` and `wasi` (those functions), `operations` (what it may ask
for), `envelope` (bytes), `engine`, `advisories`, `cache`, `anatomy`, `compiling` and `fastcall`
(wasmtime), `pool`, `io_loop`, `watchdog` and `share` (threads).
"""

from gossamer_node.wasm.host import WasmHost, Worker
from gossamer_node.wasm.run import Detached, JobContext

__all__ = ["Detached", "JobContext", "WasmHost", "Worker"]
