"""Help texts from docstrings: the first line, what is to say, and `examples:` at the end.

A command's module, and each function that runs a subcommand, has such a docstring; a house rule
wants the examples.
"""

import argparse
import inspect
from collections.abc import Callable

EXAMPLES = "\nexamples:\n"

Handler = Callable[[argparse.Namespace], int]


def describe(parser: argparse.ArgumentParser, docstring: str) -> None:
    """Gives a parser the help that a docstring says: the examples come after the options."""
    text, heading, examples = inspect.cleandoc(docstring).partition(EXAMPLES)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = text.strip()  # argparse takes a % in these two as it is
    parser.epilog = heading.lstrip() + examples.rstrip() or None


def add_subcommand(
    parsers: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, handler: Handler
) -> argparse.ArgumentParser:
    """A subcommand, such as `new` of `gossamer service`, that `run_subcommand` runs."""
    docstring = inspect.getdoc(handler) or ""
    parser = parsers.add_parser(name, help=docstring.partition("\n")[0].rstrip("."))
    describe(parser, docstring)
    parser.set_defaults(handler=handler)
    return parser


def run_subcommand(arguments: argparse.Namespace) -> int:
    handler: Handler = arguments.handler
    return handler(arguments)
