"""Runs one command and ends it when its own standard input ends.

An engine must not outlive the program that started it, even one that was killed with SIGKILL.
The starter holds the writing end of this process's standard input; the kernel closes it however
the starter ends. Should this process itself be killed, the kernel kills the command
(PR_SET_PDEATHSIG; it is bound to this process's only long-lived thread, the main one, which is
why the starter, whose threads come and go, doesn't use it directly). Standard library alone: it is
run by path, `python guard.py DIRECTORY COMMAND...`, and removes the directory at the end.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

STOP_GRACE_S = 15.0
"""From SIGTERM to SIGKILL. Both engines end within about 2 s when they are well; a node waits for
the end of its long poll, 10 s at most, since cutting one off leaves the next job locked."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(directory: str, *command: str) -> int:
    guard_pid = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_guard() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard_pid:  # it died before the line above
            os._exit(1)

    # No other thread runs yet, so a function between fork and exec is safe.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_guard,  # noqa: PLW1509
    )
    threading.Thread(target=_end_with_starter, args=(child,), daemon=True).start()
    status = child.wait()
    shutil.rmtree(directory, ignore_errors=True)
    return 128 - status if status < 0 else status


def _end_with_starter(child: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1):
        pass
    child.terminate()
    time.sleep(STOP_GRACE_S)
    child.kill()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
