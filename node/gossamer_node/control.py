"""The door to a running node for the person on its machine: a Unix socket in its data folder.

One request a connection, a word and maybe an argument, and its answer: a line of JSON, or several
for what takes its time (a conversation). The socket's folder is its owner's
alone, so who can open it may see everything and needs no other proof. Nothing here listens on a
network.
"""

import fcntl
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from gossamer_node.errors import InputError, NodeError

SOCKET_NAME = "control.sock"

REQUEST_BYTES_MAX = 128 * 2**10
"""A request is a word and an argument, such as a signed order in base64; more is none."""

ANSWER_BYTES_MAX = 16 * 2**20
"""The status of ten thousand leases is a tenth of this."""

ANSWER_MS_MAX = 5_000
"""A node that does not answer its own machine by then hangs."""

PATH_BYTES_MAX = 107
"""sun_path of Linux, unix(7), less its closing zero."""

CONVERSATION_MS_MAX = 10 * 60_000
"""For an order to reach every member of a large mesh, those that do not answer included."""

Handler = Callable[[], Mapping[str, object]]

Tell = Callable[[Mapping[str, object]], Awaitable[None]]

Conversation = Callable[[str, Tell], Awaitable[None]]
"""Given the argument of a request and how to tell a line."""


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


def is_held(data_dir: Path) -> bool:
    """Whether somebody runs in a data folder now."""
    try:
        with hold_folder(data_dir):
            return False
    except FileNotFoundError:
        return False
    except InputError:
        return True


async def serve_control(
    data_dir: Path,
    handlers: Mapping[str, Handler],
    conversations: Mapping[str, Conversation] = {},
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers requests until it is cancelled; the socket goes with it.

    Args:
        data_dir: the node's data folder, held by `hold_folder`.
        handlers: what is answered at once, by the request's word.
        conversations: what is answered in its time.
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
                    partial(_answer, handlers, conversations),
                    [trio.SocketListener(listener)],
                    handler_nursery=nursery,
                )
        finally:
            path.unlink(missing_ok=True)


async def _answer(
    handlers: Mapping[str, Handler],
    conversations: Mapping[str, Conversation],
    stream: trio.SocketStream,
) -> None:
    turn = trio.Lock()

    async def tell(line: Mapping[str, object]) -> None:
        # Whoever asked may be gone; what was begun is brought to its end all the same.
        async with turn:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(json.dumps(line).encode() + b"\n")

    with trio.move_on_after(ANSWER_MS_MAX / 1_000) as patience:
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                word, _, argument = (await _request(stream)).partition(" ")
                if word in conversations:
                    patience.deadline += CONVERSATION_MS_MAX / 1_000
                    await conversations[word](argument, tell)
                else:
                    handler = handlers.get(word)
                    await tell(handler() if handler else {"error": "unknown request"})


async def _request(stream: trio.SocketStream) -> str:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) < REQUEST_BYTES_MAX:
        data = await stream.receive_some(65_536)
        if not data:
            break
        received += data
    return received.decode("utf-8", "replace").strip()


def ask(data_dir: Path, request: str) -> dict[str, object]:
    """Asks the node that runs in a data folder. Blocks, at most `ANSWER_MS_MAX`.

    Raises: NodeError when no node runs there or it does not answer.
    """
    for answer in converse(data_dir, request, ANSWER_MS_MAX):
        return answer
    raise NodeError(f"the node in {data_dir} gave no answer that can be read.")


def converse(
    data_dir: Path, request: str, silence_ms_max: int = CONVERSATION_MS_MAX
) -> Iterator[dict[str, object]]:
    """The lines of an answer, as they come. Blocks, at most `silence_ms_max` for each.

    Raises: NodeError, as `ask`.
    """
    path = socket_path(data_dir)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(silence_ms_max / 1_000)
        try:
            stream.connect(str(path))
            stream.sendall(request.encode() + b"\n")
            with stream.makefile("rb") as lines:
                while line := lines.readline(ANSWER_BYTES_MAX):
                    answer = json.loads(line)
                    if not isinstance(answer, dict):
                        raise NodeError(f"the node in {data_dir} gave no answer that can be read.")
                    yield answer
        except (FileNotFoundError, ConnectionRefusedError):
            raise NodeError(
                f"no node runs in {data_dir}; start one with `gossamer node`, or name the right "
                "folder with --data-dir."
            ) from None
        except (OSError, ValueError) as error:
            raise NodeError(f"the node in {data_dir} does not answer: {error}.") from None
