"""From what was typed to a list of jobs: one picture in, its output and side files out. Nothing is written here."""

from __future__ import annotations

import argparse
import glob
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .image_io.picture import FORMAT_OF_SUFFIX, READABLE

SIDE_INPUTS = ("mask", "original_image", "upscaled_image")
SIDE_OUTPUTS = ("mask_out", "compare")
_WILDCARDS = "*?["


@dataclass(frozen=True)
class Found:
    """A picture and where it stands below what was named, so that OUTPUT can get the same tree."""

    path: Path
    relative: Path


@dataclass(frozen=True)
class Job:
    """One picture. ``crops`` is the path of its crops without number and extension."""

    source: Path
    output: Path
    mask: Path | None = None
    original_image: Path | None = None
    upscaled_image: Path | None = None
    mask_out: Path | None = None
    compare: Path | None = None
    crops: Path | None = None

    def outputs(self) -> Iterator[Path]:
        yield from (path for path in (self.output, self.mask_out, self.compare) if path is not None)


def plan_jobs(args: argparse.Namespace) -> list[Job]:
    """The jobs of a ``restore``, in the order of the inputs, folders sorted by name.

    Raises:
        UsageError: nothing found, OUTPUT of the wrong kind, an output that is an input, two pictures for one output.
    """
    output = Path(args.output).expanduser()
    for name in (*SIDE_INPUTS, *SIDE_OUTPUTS, "save_crops"):
        path = getattr(args, name)
        if path is not None:
            setattr(args, name, path.expanduser())
    named = (output, args.save_crops, *(getattr(args, name) for name in (*SIDE_INPUTS, *SIDE_OUTPUTS)))
    own = [path for path in named if path is not None]
    found, several = _find_all(args.inputs, own)
    if args.save_crops is not None and args.save_crops.exists() and not args.save_crops.is_dir():
        raise UsageError(f"--save-crops {args.save_crops}: expected a folder, got a file.")
    jobs = _in_folders(args, found, output) if several else [_single(args, found[0], output)]
    _protect(jobs, args)
    return jobs


def _find_all(inputs: list[str], own: list[Path]) -> tuple[list[Found], bool]:
    """Every picture, and whether OUTPUT must be a folder: it must for a folder, a pattern, or more than one input."""
    found: list[Found] = []
    several = len(inputs) > 1
    for text in inputs:
        path = Path(text).expanduser()
        if path.is_dir():
            several = True
            below = list(_walk(path, own))
            if not below:
                raise UsageError(f"{text}: no {READABLE} pictures in this folder.")
            found += below
        elif path.exists() or not any(sign in text for sign in _WILDCARDS):
            if not path.exists():
                raise UsageError(f"{text}: no such file or folder.")
            found.append(Found(path, Path(path.name)))
        else:  # a pattern that the shell left to us, as those of Windows do
            several = True
            matches = list(_match(path))
            if not matches:
                raise UsageError(f"{text}: no picture fits this pattern.")
            found += matches
    first = {absolute(entry.path): entry for entry in reversed(found)}
    return [entry for entry in found if first[absolute(entry.path)] is entry], several


def _walk(folder: Path, own: list[Path]) -> Iterator[Found]:
    """Pictures below a folder, sorted; hidden ones and folders that another option names are left out."""
    skipped = {path.resolve() for path in own} - {folder.resolve()}
    for root, subfolders, names in os.walk(folder):
        here = Path(root)
        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and (here / n).resolve() not in skipped)
        for name in sorted(names):
            if Path(name).suffix.lower() in FORMAT_OF_SUFFIX and not name.startswith("."):
                yield Found(here / name, (here / name).relative_to(folder))


def _match(pattern: Path) -> Iterator[Found]:
    """Pictures that fit a pattern; their tree begins behind the last part without a wildcard."""
    fixed = [part for i, part in enumerate(pattern.parts) if not _has_wildcard(pattern.parts[: i + 1])]
    base = Path(*fixed) if fixed else Path()
    for text in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 (Path.glob takes no absolute pattern)
        path = Path(text)
        if path.is_file() and path.suffix.lower() in FORMAT_OF_SUFFIX:
            yield Found(path, path.relative_to(base))


def _has_wildcard(parts: tuple[str, ...]) -> bool:
    return any(sign in part for part in parts for sign in _WILDCARDS)


def _single(args: argparse.Namespace, found: Found, output: Path) -> Job:
    if output.is_dir() or str(args.output).endswith(("/", os.sep)) or not (output.suffix or output.exists()):
        output = output / found.path.name
    _check_suffix(output)
    for name in SIDE_INPUTS:
        path = getattr(args, name)
        if path is not None and not path.is_file():
            raise UsageError(f"--{name.replace('_', '-')} {path}: expected a picture, {_what(path)}.")
    for name in SIDE_OUTPUTS:
        path = getattr(args, name)
        if path is not None and path.is_dir():
            raise UsageError(f"--{name.replace('_', '-')} {path}: expected a file name, got a folder.")
    if args.mask_out is not None and args.mask_out.suffix.lower() != ".png":
        raise UsageError(f"--mask-out {args.mask_out}: expected a name that ends in .png (the mask has 16 bits).")
    if args.compare is not None:
        _check_suffix(args.compare)
    return Job(
        found.path,
        output,
        **{name: getattr(args, name) for name in (*SIDE_INPUTS, *SIDE_OUTPUTS)},
        crops=None if args.save_crops is None else args.save_crops / found.path.stem,
    )


def _in_folders(args: argparse.Namespace, found: list[Found], output: Path) -> list[Job]:
    for option, path in (("-o", output), *((f"--{n.replace('_', '-')}", getattr(args, n)) for n in SIDE_OUTPUTS)):
        looks_like_file = path is not None and not path.is_dir() and path.suffix.lower() in FORMAT_OF_SUFFIX
        if path is not None and (looks_like_file or path.is_file()):
            raise UsageError(f"{option} {path}: expected a folder, because the input is a folder or several pictures.")
    for name in SIDE_INPUTS:
        path = getattr(args, name)
        if path is not None and not path.is_dir():
            what = "expected a folder with a picture for every input"
            raise UsageError(f"--{name.replace('_', '-')} {path}: {what}, {_what(path)}.")
    stems = Counter(entry.relative.with_suffix("") for entry in found)

    def side(folder: Path | None, entry: Found, suffix: str) -> Path | None:
        """<folder>/a/b<suffix> for a/b.jpg, or a/b.jpg<suffix> where there is an a/b.png, too."""
        if folder is None:
            return None
        stem = entry.relative.with_suffix("")
        return folder / f"{entry.relative if stems[stem] > 1 else stem}{suffix}"

    return [
        Job(
            entry.path,
            output / entry.relative,
            **{name: _partner(getattr(args, name), entry.relative) for name in SIDE_INPUTS},
            mask_out=side(args.mask_out, entry, ".png"),
            compare=side(args.compare, entry, ".png"),
            crops=side(args.save_crops, entry, ""),
        )
        for entry in found
    ]


def _partner(folder: Path | None, relative: Path) -> Path | None:
    """The file of the same name, or else of the same stem; where there is none the job will say so by this name."""
    if folder is None:
        return None
    exact = folder / relative
    others = (exact.with_suffix(suffix) for suffix in FORMAT_OF_SUFFIX)
    return next((path for path in (exact, *others) if path.is_file()), exact)


def _protect(jobs: list[Job], args: argparse.Namespace) -> None:
    """No file that is read may be written, and no file may be written twice."""
    read = {path for job in jobs for path in (job.source, *(getattr(job, name) for name in SIDE_INPUTS)) if path}
    read |= {Path(path).expanduser() for path in (args.model, args.detector_model) if path}
    identities = {identity: path for path in read if (identity := _identity(path)) is not None}
    written: dict[str, Path] = {}
    for job in jobs:
        for path in job.outputs():
            identity = _identity(path)
            victim = None if identity is None else identities.get(identity)
            if victim is not None:
                raise UsageError(f"{path}: this would overwrite the input {victim}; name another output.")
            key = absolute(path)
            if key in written:
                what = "one file is written twice" if written[key] == job.source else f"{written[key]} goes there, too"
                raise UsageError(f"{path}: {what}; name another output, or restore the folders one by one.")
            written[key] = job.source
            _check_suffix(path)
            if path.is_dir():
                raise UsageError(f"{path}: a folder of this name is in the way of a picture.")
    outputs = {path for job in jobs for path in job.outputs()}
    for crops in (job.crops for job in jobs if job.crops is not None):
        for path in read | outputs:
            if absolute(path.parent) == absolute(crops.parent) and is_crop_of(crops, path):
                kind = "the input" if path in read else "the output"
                raise UsageError(f"--save-crops: this would overwrite {kind} {path}; name another folder.")


def crop_path(crops: Path, index: int) -> Path:
    """Where the face of this index goes: photo-00.png, photo-01.png, …"""
    return crops.with_name(f"{crops.name}-{index:02d}.png")


def is_crop_of(crops: Path, path: Path) -> bool:
    return path.name.startswith(f"{crops.name}-") and path.stem[len(crops.name) + 1 :].isdigit()


def absolute(path: Path) -> str:
    """One spelling a path, links not followed: two links to one file are two pictures."""
    return os.path.normcase(os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells files apart, through links and in any spelling; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in FORMAT_OF_SUFFIX:
        kind = f"got {path.suffix}" if path.suffix else "got none"
        raise UsageError(f"{path}: expected an extension of {READABLE} (.jpg .png .webp .tif), {kind}.")


def _what(path: Path) -> str:
    return "got a folder" if path.is_dir() else "got a file" if path.exists() else "but there is none"
