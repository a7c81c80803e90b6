"""The door to a running node for the person on its machine: a Unix socket in its data folder.

One request and one answer a connection, each a line of JSON. The socket's folder is its owner's
alone, so who can open it may see everything and needs no other proof. Nothing here listens on a
network.
"""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from gossamer_node.errors import InputError, NodeError

SOCKET_NAME = "control.sock"

REQUEST_BYTES_MAX = 4_096
"""A request is one word; more is not a request."""

ANSWER_BYTES_MAX = 16 * 2**20
"""The status of ten thousand leases is a tenth of this."""

ANSWER_MS_MAX = 5_000
"""A node that does not answer its own machine by then hangs."""

PATH_BYTES_MAX = 107
"""sun_path of Linux, unix(7), less its closing zero."""

Handler = Callable[[], Mapping[str, object]]


def socket_path(data_dir: Path) -> Path:
    """Where a node's socket is.

    Raises: InputError when the path is too long for a Unix socket.
    """
    path = data_dir / SOCKET_NAME
    if len(bytes(path)) > PATH_BYTES_MAX:
        raise InputError(
            f"{path} is too long for a Unix socket ({PATH_BYTES_MAX} bytes); "
            "choose a shorter --data-dir."
        )
    return path


@contextmanager
def hold_folder(data_dir: Path) -> Iterator[None]:
    """Keeps other nodes out of a data folder for the length of a block.

    The lock is the kernel's (flock(2) on the folder itself), so it ends with the process, however
    that ends. Two nodes of one folder would be one identity at two places.

    Raises: InputError when another node runs in this folder.
    """
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"a node already runs in {data_dir}; stop it, or choose another --data-dir or "
                "--name."
            ) from None
        yield
    finally:
        os.close(descriptor)


async def serve_control(
    data_dir: Path,
    handlers: Mapping[str, Handler],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers requests until it is cancelled; the socket goes with it.

    Args:
        data_dir: the node's data folder, held by `hold_folder`.
        handlers: what is answered, by the request's word.
    """
    path = socket_path(data_dir)
    path.unlink(missing_ok=True)  # a node that was killed leaves one that nobody hears
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        await listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(8)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                await trio.serve_listeners(
                    partial(_answer, handlers),
                    [trio.SocketListener(listener)],
                    handler_nursery=nursery,
                )
        finally:
            path.unlink(missing_ok=True)


async def _answer(handlers: Mapping[str, Handler], stream: trio.SocketStream) -> None:
    with trio.move_on_after(ANSWER_MS_MAX / 1_000):
        async with stream:
            try:
                request = await stream.receive_some(REQUEST_BYTES_MAX)
                handler = handlers.get(request.decode("utf-8", "replace").strip())
                answer = handler() if handler else {"error": "unknown request"}
                await stream.send_all(json.dumps(answer).encode() + b"\n")
            except trio.BrokenResourceError:
                pass  # who asked did not wait for the answer


def ask(data_dir: Path, request: str) -> dict[str, object]:
    """Asks the node that runs in a data folder. Blocks, at most `ANSWER_MS_MAX`.

    Raises: NodeError when no node runs there or it does not answer.
    """
    path = socket_path(data_dir)
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(ANSWER_MS_MAX / 1_000)
        try:
            stream.connect(str(path))
            stream.sendall(request.encode() + b"\n")
            while not received.endswith(b"\n") and len(received) < ANSWER_BYTES_MAX:
                data = stream.recv(65_536)
                if not data:
                    break
                received += data
            answer = json.loads(received)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NodeError(
                f"no node runs in {data_dir}; start one with `gossamer node`, or name the right "
                "folder with --data-dir."
            ) from None
        except (OSError, ValueError) as error:
            raise NodeError(f"the node in {data_dir} does not answer: {error}.") from None
    if not isinstance(answer, dict):
        raise NodeError(f"the node in {data_dir} gave no answer that can be read.")
    return answer
