"""What a run must not do: overwrite what it reads, write one file twice, begin where it cannot write."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import JobError
from .job import PictureJob, check_suffix
from .paths import absolute, identity_of, parents_of

_CROP = re.compile(r"(.*)-\d+")


def check_outputs(jobs: Sequence[PictureJob], in_use: Iterable[Path] = ()) -> None:
    """No file that is read may be written, and no file may be written twice.

    Args:
        in_use: further files that are read.

    Raises:
        JobError: names the file and what is in its way.
    """
    read = {path for job in jobs for path in job.inputs()} | {path.expanduser() for path in in_use}
    identities = {identity: path for path in read if (identity := identity_of(path)) is not None}
    written: dict[str, Path] = {}
    for job in jobs:
        for path in job.outputs():
            identity = identity_of(path)
            victim = None if identity is None else identities.get(identity)
            if victim is not None:
                raise JobError(f"{path}: this would overwrite the input {victim}; name another output.")
            key = absolute(path)
            if key in written:
                what = "one file is written twice" if written[key] == job.source else f"{written[key]} goes there, too"
                raise JobError(f"{path}: {what}; name another output, or restore the folders one by one.")
            written[key] = job.source
            check_suffix(path)
            if path.is_dir():
                raise JobError(f"{path}: a folder of this name is in the way of a picture.")
    _check_crops(jobs, read)


def _check_crops(jobs: Sequence[PictureJob], read: set[Path]) -> None:
    """A crop's name ends in a number that is known only when the faces are found: no file may look like one."""
    crops = {(absolute(job.crops.parent), job.crops.name) for job in jobs if job.crops is not None}
    if not crops:
        return
    for path in read | {path for job in jobs for path in job.outputs()}:
        match = _CROP.fullmatch(path.stem)
        if match and (absolute(path.parent), match[1]) in crops:
            kind = "the input" if path in read else "the output"
            raise JobError(f"--save-crops: this would overwrite {kind} {path}; name another folder.")


def check_writable(jobs: Iterable[PictureJob]) -> None:
    """Refuse a run whose output folders cannot be made or written to, before the first picture.

    Raises:
        JobError: names the folder and the reason.
    """
    checked: set[Path] = set()
    for job in jobs:
        for path in (*job.outputs(), *([job.crops] if job.crops is not None else [])):
            folder = next((parent for parent in parents_of(path) if os.path.lexists(parent)), None)
            if folder is None or folder in checked:
                continue
            checked.add(folder)
            if not folder.is_dir():
                raise JobError(f"{path}: {folder} is not a folder; name another output.")
            try:
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                reason = error.strerror or str(error)
                raise JobError(f"{path}: the folder {folder} cannot be written to: {reason}.") from error
