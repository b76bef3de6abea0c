"""The command line: ``python path/to/folder restore|models|doctor|demo …``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import sys
from pathlib import Path

from ..jobs.errors import UsageError

COMMANDS = ("restore", "models", "doctor", "demo")  # one module each, with add_parser(subparsers) and run(args) -> int
INTERRUPTED = 130  # as shells report a process that Ctrl-C ended


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments behind the program's name; None: those of the process.

    Returns:
        The exit code: 0 done, 1 something failed, 2 wrong usage or an unusable model or detector file, 130 Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a test's stream
            stream.reconfigure(errors="replace")  # type: ignore[union-attr] # a console that lacks a sign shows another
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    arguments = sys.argv[1:] if argv is None else argv
    parser = build_parser(arguments[0] if arguments and arguments[0] in COMMANDS else None)
    try:
        args = parser.parse_args(arguments)
        if args.command is None:
            parser.print_help()
            return 2
        return importlib.import_module(f".commands.{args.command}", __name__).run(args)
    except SystemExit as stop:  # argparse: 2 for wrong usage, 0 for --help
        return stop.code if isinstance(stop.code, int) else 2
    except UsageError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: finished files stay, no half file is left.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output stopped reading
        with contextlib.suppress(OSError):
            sys.stdout.close()
        return 1


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser with all commands, or with one, whose module alone is then imported (some take a second)."""
    root, typed = Path(__file__).resolve().parents[1], Path(sys.argv[0])
    folder = typed if typed.resolve() == root else root.name
    parser = argparse.ArgumentParser(
        prog=f"python {folder}",
        description="Restore faces with GPEN, at up to 2048 px, and put them back without a seam.",
        epilog="exit codes: 0 done; 1 something failed; 2 wrong usage, or an unusable model or detector file.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in (only,) if only else COMMANDS:
        importlib.import_module(f".commands.{command}", __name__).add_parser(subparsers)
    return parser
