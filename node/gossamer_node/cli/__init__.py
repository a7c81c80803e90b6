"""The command line: finds its subcommands by entry points, and turns errors into sentences.

A command is a module under the entry point group `gossamer.commands`, with `configure(parser)`
and `run(arguments) -> int`; its docstring is its help (`helping`). An entry point may name the
extra that its imports need, `engine = "gossamer_gateway.engine [embedded]"`: without it the
command says what to install. Nothing here knows a command, so the node never imports the gateway.
`ExitStatus` is what a script may rely on.
"""

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from enum import IntEnum
from importlib import metadata
from types import ModuleType
from typing import TextIO

from gossamer_mesh.errors import MeshError
from gossamer_node.cli.helping import describe
from gossamer_node.errors import InputError, NodeError
from gossamer_node.extras import pip_command

GROUP = "gossamer.commands"

DEBUG_VARIABLE = "GOSSAMER_DEBUG"
"""Set to 1, an error also shows its traceback."""


class ExitStatus(IntEnum):
    """What the exit statuses of every command mean; the command line's page has the same table."""

    DONE = 0
    FAILED = 1
    WRONG_INPUT = 2
    """A file or an argument is wrong; nothing was started or changed."""
    ENGINE = 3
    """An engine could not be reached, or refused."""
    BPMN_ERROR = 4
    """`service run`: the worker ended the job with a BPMN error."""
    JOB_FAILED = 5
    """`service run`: the job failed."""
    BUG = 70
    """Gossamer broke (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    """Ctrl-C: 128 + SIGINT."""
    BROKEN_PIPE = 141
    """Whoever read the output went away: 128 + SIGPIPE."""


DESCRIPTION = """Job workers as WebAssembly on a mesh, for Camunda 7 and 8 and for small workflows.

examples:
  gossamer demo                            the hotel reservation, on three nodes
  gossamer stack up                        workflows, with all that they can stand on
  gossamer service new greeter             begin a worker
  gossamer node --config gossamer.yaml     run a node
  gossamer doctor                          is everything there that a node needs?
  gossamer service check --help            more about a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status. No exception leaves it but SystemExit."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As standard error does by itself: a path may have bytes that are no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        parser = build_parser(arguments)
        parsed = parser.parse_args(arguments)
        module: ModuleType | None = getattr(parsed, "command_module", None)
        if module is None:
            parser.print_help()
            return ExitStatus.WRONG_INPUT
        status = int(module.run(parsed))
        # A broken pipe shows here, where it can be told apart, and not while Python ends.
        sys.stdout.flush()
        return status
    except BaseException as error:  # the last stop before the person
        return report(error, sys.stderr)


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of every command; where `arguments` begin with one, only that one is imported."""
    parser = argparse.ArgumentParser(prog="gossamer")
    describe(parser, DESCRIPTION)
    parser.add_argument(
        "--version", action="version", version=f"gossamer {metadata.version('gossamer')}"
    )
    commands = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    wanted = arguments[0] if arguments and arguments[0] in commands else None
    subparsers = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, entry in sorted(commands.items()):
        if wanted not in (None, name):
            continue
        try:
            module: ModuleType = entry.load()
        except ModuleNotFoundError as error:
            # A module of ours that is missing is a broken installation, not a missing extra.
            if (error.name or "").startswith("gossamer"):
                raise
            sentence = _not_installed(name, entry, error)
            if wanted:
                raise InputError(sentence) from error
            extras = ",".join(entry.extras)
            subparsers.add_parser(name, help=f"(not installed: needs the extra [{extras}])")
            continue
        first_line = (module.__doc__ or "").partition("\n")[0].rstrip(".")
        subparser = subparsers.add_parser(name, help=first_line.replace("%", "%%"))
        describe(subparser, module.__doc__ or "")
        subparser.set_defaults(command_module=module)
        module.configure(subparser)
    return parser


def report(error: BaseException, stream: TextIO) -> int:
    """Says in one sentence what ended the command, and returns its exit status."""
    if isinstance(error, SystemExit):
        raise error
    leaves = list(_leaves(error))
    if os.environ.get(DEBUG_VARIABLE) == "1":
        sys.excepthook(type(error), error, error.__traceback__)
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return ExitStatus.INTERRUPTED
    if all(isinstance(leaf, BrokenPipeError) for leaf in leaves):
        # What is still buffered has no reader; Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitStatus.BROKEN_PIPE
    # Of several, the least expected says most.
    sentence, status = max(map(_sentence, leaves), key=lambda said: said[1])
    print(f"gossamer: {' '.join(sentence.split())}", file=stream)
    return status


def _sentence(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and its exit status. An error on purpose says it itself."""
    if isinstance(error, (NodeError, MeshError)) or hasattr(error, "exit_status"):
        return str(error), int(getattr(error, "exit_status", ExitStatus.FAILED))
    if isinstance(error, OSError):
        # A full disk, a folder that is somebody else's: the machine's, not ours.
        return f"the system refused ({error}); mend that and run it again.", ExitStatus.FAILED
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    again = f"run it again with {DEBUG_VARIABLE}=1 to see where, and report it."
    return f"unexpected {what}; {again}", ExitStatus.BUG


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """What a nursery gathered, out of its groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _not_installed(name: str, entry: metadata.EntryPoint, error: ModuleNotFoundError) -> str:
    remedy = pip_command(*entry.extras)
    return f"`gossamer {name}` needs {error.name}, which isn't installed; run: {remedy}"
