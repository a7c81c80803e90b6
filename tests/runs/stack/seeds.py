"""The documents' own commands, typed against `gossamer stack up` on its own ports, as a program.

It is run in a network of its own, so that the ports are free whatever else runs here:
`unshare --net python -m tests.runs.stack.seeds FOLDER`. Prints what a person would have seen as
JSON. Workers are built before: that needs a network.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
from typing import Any

RUNS = 60
"""Runs by which each of three workers has something to do; which, its partitions say."""

DEFINE = """
curl -sS -X POST http://localhost:8080/workflow/ -H 'Content-Type: application/json' -d '
{
  "id": "my-first-workflow",
  "steps": [
    {
      "action": "step1",
      "stepIndex": 0
    },
    {
      "action": "step2",
      "stepIndex": 1
    }
  ]
}'
"""

TRIGGER = """
curl -sS -X POST http://localhost:8080/workflow/my-first-workflow/trigger \\
  -H 'Content-Type: application/json' -d '
{
  "input": "Hello World"
}'
"""

STATUS = "curl -sS http://localhost:8080/workflow/run/{}"

EXECUTE = """
curl -sS -X POST http://localhost:3000/executions \\
  -H "Content-Type: application/json" \\
  -d '{
    "workflow": {
      "id": "my-flow",
      "startAt": "step1",
      "steps": [{ 
        "id": "step1", 
        "type": "TASK", 
        "provider": "AWS", 
        "functionId": "my-func" 
      }]
    },
    "input": { "hello": "world" }
  }'
"""  # noqa: W291 - as it is written there

EXECUTION = "curl -sS http://localhost:3000/executions/{}"

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def loopback_up() -> None:
    """A new network has a loopback, which is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = b"lo".ljust(16, b"\0")
        (flags,) = struct.unpack(
            "16xh", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, name + bytes(2))[:18]
        )
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, name + struct.pack("h", flags | _IFF_UP))


def typed(command: str) -> str:
    """What a shell prints."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def ended(command: str) -> Any:
    """What is said of a run or an execution in the end."""
    while True:
        told = json.loads(typed(command))
        if told["status"] not in ("Pending", "Running"):
            return told
        time.sleep(0.1)


def main(folder: str) -> None:
    loopback_up()
    with subprocess.Popen(
        [sys.executable, "-m", "gossamer_node", "stack", "up", "--dir", folder, "--json"],
        stdout=subprocess.PIPE,
    ) as up:
        try:
            assert up.stdout is not None
            stack = json.loads(up.stdout.readline())
            defined = typed(DEFINE)
            runs = [typed(TRIGGER) for _ in range(RUNS)]
            statuses = [ended(STATUS.format(one)) for one in runs]
            executed = json.loads(typed(EXECUTE))
            execution = ended(EXECUTION.format(executed["executionId"]))
        finally:
            up.terminate()
    print(
        json.dumps({"stack": stack, "defined": defined, "runs": statuses, "execution": execution})
    )


if __name__ == "__main__":
    main(sys.argv[1])
