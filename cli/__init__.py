"""The command line: ``python path/to/folder restore|models|doctor|demo …``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
from pathlib import Path

from .errors import UsageError
from .packages import missing
from .signals import Terminated, as_exceptions
from .text import printable

COMMANDS = ("restore", "models", "doctor", "demo")  # one module each, with add_parser(subparsers) and run(args) -> int
INTERRUPTED = 130  # as shells report a process that Ctrl-C ended


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments behind the program's name; None: those of the process.

    Returns:
        The exit code: 0 done, 1 something failed, 2 wrong usage or an unusable model or detector file, 130 Ctrl-C,
        143 SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a test's stream
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # for a console that lacks a sign
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    arguments = sys.argv[1:] if argv is None else argv
    try:
        with as_exceptions():
            code = _run(arguments)
            sys.stdout.flush()  # a full disk behind it shows here, not when Python ends
            return code
    except Terminated as stop:
        print("\nterminated: finished files stay, no half file is left.", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted: finished files stay, no half file is left.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output stopped reading
        _discard_stdout()
        return 1
    except OSError as error:
        if error.filename is not None:  # a file that a command needs
            reason = error.strerror or str(error)
            print(f"error: {printable(error.filename)}: cannot be read or written: {reason}.", file=sys.stderr)
            return 1
        _discard_stdout()
        print(f"standard output cannot be written to: {error.strerror or error}.", file=sys.stderr)
        return 1


def _run(arguments: list[str]) -> int:
    program = _program()
    try:
        parser = build_parser(arguments[0] if arguments and arguments[0] in COMMANDS else None)
        args = parser.parse_args(arguments)
        if args.command is None:
            parser.print_help()
            return 2
        return importlib.import_module(f".commands.{args.command}", __name__).run(args)
    except SystemExit as stop:  # argparse: 2 for wrong usage, 0 for --help
        return stop.code if isinstance(stop.code, int) else 2
    except UsageError as error:
        print(f"{program}: error: {printable(error, keep=chr(10))}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__name__.partition(".")[0]):
            raise  # a mistake of ours
        print(f"{program}: error: {missing(error.name.partition('.')[0], error)}", file=sys.stderr)
        return 2


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser with all commands, or with one, whose module alone is then imported (some take a second)."""
    parser = _Parser(
        prog=_program(),
        description="Restore faces with GPEN, at up to 2048 px, and paste them back without a seam.",
        epilog="exit codes: 0 done; 1 something failed; 2 wrong usage, or an unusable model or detector file.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in (only,) if only else COMMANDS:
        importlib.import_module(f".commands.{command}", __name__).add_parser(subparsers)
    return parser


class _Parser(argparse.ArgumentParser):
    """Escapes what was typed where it is quoted in an error; subparsers are of the same class."""

    def error(self, message: str) -> None:  # type: ignore[override] # typeshed says NoReturn, and so it is
        super().error(printable(message, keep="\n"))


def _program() -> str:
    root, typed = Path(__file__).resolve().parents[1], Path(sys.argv[0])
    return f"python {typed if typed.resolve() == root else root.name}"


def _discard_stdout() -> None:
    """Let Python end without another attempt to write what is left in the buffer."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
