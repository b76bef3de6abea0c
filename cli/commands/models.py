"""`models list | download | verify`: the known files, downloading them, and checking what a file is."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ...models import (
    BUILTIN_NAME,
    BUILTIN_PATH,
    CATALOGUE,
    CatalogueEntry,
    DownloadError,
    ModelFile,
    Verdict,
    by_hand,
    default_folders,
    default_shared_folders,
    download,
    download_folder,
    find_entry,
    find_model_files,
    sha256_of,
    verify_file,
)
from ..download_bar import DownloadBar

_EXIT_CODES = (
    "exit codes: 0 all is well; 1 something failed, or a file is not what its name says; "
    "2 wrong usage, or an unusable file"
)


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the `models` subcommand, which `run` runs.

    Args:
        subparsers: what ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models", help="list, download and verify model files", description=__doc__, epilog=_EXIT_CODES
    )
    commands = parser.add_subparsers(dest="models_command", required=True, metavar="list|download|verify")

    listing = commands.add_parser("list", help="list the known files, which of them are here, and other model files")
    listing.add_argument(
        "--folder", action="append", type=Path, default=[], help="search this folder too (may be repeated)"
    )
    listing.add_argument("--check", action="store_true", help="hash the files that are here (reads all of them)")
    listing.add_argument("--json", action="store_true", help="one JSON line per file")

    fetching = commands.add_parser("download", help="fetch known files", epilog=_EXIT_CODES)
    fetching.add_argument("names", nargs="+", metavar="NAME", help="a name from `models list`")
    fetching.add_argument("--folder", type=Path, help="where to (default: ComfyUI's models/gpen, else our own)")
    fetching.add_argument(
        "--accept-license", "--accept-licence", "-y", dest="accept", action="store_true",
        help="you have read and accept the licence of the weights; without it you are asked",
    )  # fmt: skip
    fetching.add_argument(
        "--unverified", action="store_true",
        help="take files whose sha256 nobody published; their weights are checked instead",
    )  # fmt: skip
    fetching.add_argument("--quiet", "-q", action="store_true", help="no progress bar")

    checking = commands.add_parser(
        "verify", help="compare files with the published hashes, and say what their weights are", epilog=_EXIT_CODES
    )
    checking.add_argument("files", nargs="+", metavar="FILE", type=Path)
    checking.add_argument("--json", action="store_true", help="one JSON line per file")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run `models …`; returns the exit code."""
    if args.models_command == "list":
        return _list(args)
    if args.models_command == "download":
        return _download(args)
    return _verify(args)


def _list(args: argparse.Namespace) -> int:
    folders = [*args.folder, *default_folders()]
    files = find_model_files(folders, default_shared_folders())
    rows = [_known(entry, files, args.check) for entry in CATALOGUE]
    named = {entry.filename.casefold() for entry in CATALOGUE}
    others = [{"name": f.name, "path": str(f.path)} for f in files if f.path.name.casefold() not in named]
    rows.insert(0, {"name": BUILTIN_NAME, "size": 256, "kind": "restoration", "bytes": None, "sha256": None,
                    "path": str(BUILTIN_PATH) if BUILTIN_PATH.is_file() else None,
                    "state": "comes with the pack" if BUILTIN_PATH.is_file() else "missing"})  # fmt: skip
    if args.json:
        for row in [*rows, *({**other, "state": "not in the catalogue"} for other in others)]:
            print(json.dumps(row, ensure_ascii=False))
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        size = f"{row['size']} px" if row["size"] else "–"
        weight = f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] else ""
        print(f"{row['name']:<{width}}  {row['kind']:<13}  {size:>7}  {weight:>8}  {row['state']}")
        if row["path"] and row["name"] != BUILTIN_NAME:
            print(f"{'':<{width}}  {row['path']}")
    for other in others:
        print(f"{other['name']}  not in the catalogue  {other['path']}")
    print("searched: " + ", ".join(str(folder) for folder in [*folders, *default_shared_folders()]))
    return 0


def _known(entry: CatalogueEntry, files: list[ModelFile], check: bool) -> dict[str, Any]:
    here = next((f.path for f in files if f.path.name.casefold() == entry.filename.casefold()), None)
    state = "not here" if entry.sha256 else "not here; no hash published"
    if here is not None:
        if entry.bytes is not None and here.stat().st_size != entry.bytes:
            state = "here, but not the published file (another size)"
        elif entry.sha256 is None:
            state = "here; no hash published"
        elif check:
            state = "here, verified" if sha256_of(here) == entry.sha256 else "here, but not the published file"
        else:
            state = "here, not verified (--check)"
    return {
        "name": entry.name, "kind": entry.kind, "size": entry.out_size or None, "bytes": entry.bytes,
        "sha256": entry.sha256, "licence": entry.licence, "origin": entry.origin, "urls": list(entry.urls),
        "path": None if here is None else str(here), "state": state,
    }  # fmt: skip


def _download(args: argparse.Namespace) -> int:
    entries = []
    for name in args.names:
        entry = find_entry(name)
        if entry is None:
            return _usage(f"no file called {name} is known; `models list` shows those that are")
        if entry.kind == "discriminator":
            return _usage(f"{entry.name} is a discriminator: it is needed for training only and restores nothing")
        if entry.sha256 is None and not args.unverified:
            return _usage(
                f"{entry.name}: nobody published its sha256, so what comes cannot be checked against it; "
                "add --unverified to fetch it all the same (its weights are checked then)"
            )
        entries.append(entry)
    if not _accepted(entries, args.accept):
        return 2
    folder = args.folder or download_folder()
    failed = False
    for entry in entries:
        bar = DownloadBar(entry.filename, quiet=args.quiet)
        try:
            path = download(entry, folder, bar, allow_unverified=args.unverified)
        except DownloadError as error:
            bar.close()
            print(error, file=sys.stderr)
            failed = True
        except KeyboardInterrupt:
            bar.close()
            print(f"interrupted; the same command goes on with {folder / entry.filename}.part", file=sys.stderr)
            return 1
        else:
            bar.close()
            proof = "sha256 verified" if entry.sha256 else f"sha256 {sha256_of(path)}, which nobody published"
            print(f"{path}  {proof}")
    return 1 if failed else 0


def _accepted(entries: list[CatalogueEntry], accepted: bool) -> bool:
    """Show every licence once, and ask at a terminal where the command line did not accept them."""
    for licence in dict.fromkeys(entry.licence for entry in entries):
        print(licence, file=sys.stderr)
    if accepted:
        return True
    if not sys.stdin.isatty():
        print("add --accept-license if you accept these terms; nothing was downloaded", file=sys.stderr)
        return False
    print("Do you accept these terms? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().casefold() in ("y", "yes"):
        return True
    print("nothing was downloaded", file=sys.stderr)
    return False


def _usage(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


def _verify(args: argparse.Namespace) -> int:
    code = 0
    for path in args.files:
        verdict = verify_file(path)
        if not verdict.usable:
            code = 2
        elif verdict.contradiction:
            code = max(code, 1)
        if args.json:
            print(json.dumps(_verdict_row(verdict), ensure_ascii=False))
        else:
            print(_verdict_text(verdict))
    return code


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    info = verdict.info
    return {
        "file": str(verdict.path), "usable": verdict.usable, "sha256": verdict.sha256 or None,
        "is": verdict.entry.name if verdict.entry else None,
        "in_size": info.in_size if info else None, "out_size": info.out_size if info else None,
        "parameters": info.parameters if info else None, "dtype": info.dtype if info else None,
        "format": info.format if info else None, "warnings": list(info.warnings) if info else [],
        "contradiction": verdict.contradiction or None, "problem": verdict.problem or None,
    }  # fmt: skip


def _verdict_text(verdict: Verdict) -> str:
    if verdict.problem:
        lines = [f"unusable: {verdict.problem}"]
    else:
        lines = [f"{verdict.path}: {verdict.info or 'a face detector'}"]
    if verdict.sha256:
        known = f"published as {verdict.entry.name}" if verdict.entry else "not a hash that the catalogue knows"
        lines.append(f"  sha256 {verdict.sha256}, {known}")
    if verdict.contradiction:
        lines.append(f"  but: {verdict.contradiction}")
        if verdict.entry is None and (promised := find_entry(verdict.path.name)) is not None:
            lines.append(f"  {by_hand(promised, verdict.path.parent)}")
    lines += [f"  {warning}" for warning in (verdict.info.warnings if verdict.info else ())]
    return "\n".join(lines)
