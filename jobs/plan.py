"""From the files that a user names to a list of jobs: one picture in, its output and side files out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import JobError
from .image_io.kinds import READ, WRITTEN
from .inputs import InputFile, find_inputs, output_name
from .job import SIDE_INPUTS, SIDE_OUTPUTS, PictureJob, check_suffix
from .options import Files
from .protection import check_outputs
from .row import Row


@dataclass
class Plan:
    """The jobs, how many files of which kind are left out, and the inputs that cannot be read."""

    jobs: list[PictureJob]
    left_out: Counter[str] = field(default_factory=Counter)
    failed: list[Row] = field(default_factory=list)


def plan_jobs(files: Files) -> Plan:
    """What to do, in the order of the inputs, folders sorted by name. Nothing is written.

    Raises:
        JobError: nothing found, OUTPUT of the wrong kind, an output that is an input, two pictures for one output.
    """
    if not files.output:
        raise JobError("-o is an empty string: expected a file, or a folder for several pictures.")
    if files.output == "-":
        raise JobError("-o -: pictures are not written to standard output; name a file or a folder.")
    named = {name: getattr(files, name) for name in (*SIDE_INPUTS, *SIDE_OUTPUTS, "save_crops")}
    files = replace(files, **{name: path.expanduser() for name, path in named.items() if path is not None})
    output = Path(files.output).expanduser()
    own = [output, *(path for name in named if (path := getattr(files, name)) is not None)]
    found = find_inputs(files.inputs, own)
    if files.save_crops is not None and files.save_crops.exists() and not files.save_crops.is_dir():
        raise JobError(f"--save-crops {files.save_crops}: expected a folder, got a file.")
    if not found.files:
        return Plan([], found.left_out, found.failed)
    jobs = _in_folders(files, found.files, output) if found.several else [_single(files, found.files[0], output)]
    check_outputs(jobs, files.in_use)
    return Plan(jobs, found.left_out, found.failed)


def _single(files: Files, found: InputFile, output: Path) -> PictureJob:
    if output.is_dir() or files.output.endswith(("/", os.sep)) or not (output.suffix or output.exists()):
        output = output / output_name(found.relative, Counter())
    check_suffix(output)
    for name in SIDE_INPUTS:
        path = getattr(files, name)
        if path is not None and not path.is_file():
            raise JobError(f"{_option(name)} {path}: expected a picture, {_what(path)}.")
    for name in SIDE_OUTPUTS:
        path = getattr(files, name)
        if path is not None and path.is_dir():
            raise JobError(f"{_option(name)} {path}: expected a file name, got a folder.")
    if files.mask_out is not None and files.mask_out.suffix.lower() != ".png":
        raise JobError(f"--mask-out {files.mask_out}: expected a name that ends in .png (the mask has 16 bits).")
    if files.compare is not None:
        check_suffix(files.compare)
    return PictureJob(
        found.path,
        output,
        **{name: getattr(files, name) for name in (*SIDE_INPUTS, *SIDE_OUTPUTS)},
        crops=None if files.save_crops is None else files.save_crops / found.path.stem,
    )


def _in_folders(files: Files, found: Sequence[InputFile], output: Path) -> list[PictureJob]:
    for option, path in (("-o", output), *((_option(name), getattr(files, name)) for name in SIDE_OUTPUTS)):
        looks_like_file = path is not None and not path.is_dir() and path.suffix.lower() in WRITTEN
        if path is not None and (looks_like_file or path.is_file()):
            raise JobError(f"{option} {path}: expected a folder, because the input is a folder or several pictures.")
    for name in SIDE_INPUTS:
        path = getattr(files, name)
        if path is not None and not path.is_dir():
            what = "expected a folder with a picture for every input"
            raise JobError(f"{_option(name)} {path}: {what}, {_what(path)}.")
    stems = Counter(entry.relative.with_suffix("") for entry in found)

    def side(folder: Path | None, entry: InputFile, suffix: str) -> Path | None:
        """<folder>/a/b<suffix> for a/b.jpg, or a/b.jpg<suffix> where there is an a/b.png, too."""
        if folder is None:
            return None
        stem = entry.relative.with_suffix("")
        return folder / f"{entry.relative if stems[stem] > 1 else stem}{suffix}"

    return [
        PictureJob(
            entry.path,
            output / output_name(entry.relative, stems),
            **{name: _partner(getattr(files, name), entry.relative) for name in SIDE_INPUTS},
            mask_out=side(files.mask_out, entry, ".png"),
            compare=side(files.compare, entry, ".png"),
            crops=side(files.save_crops, entry, ""),
        )
        for entry in found
    ]


def _partner(folder: Path | None, relative: Path) -> Path | None:
    """The file of the same name, or else of the same stem; where there is none the job will say so by this name."""
    if folder is None:
        return None
    exact = folder / relative
    others = (exact.with_suffix(suffix) for suffix in READ)
    return next((path for path in (exact, *others) if path.is_file()), exact)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _what(path: Path) -> str:
    return "got a folder" if path.is_dir() else "got a file" if path.exists() else "but there is none"
