"""The pictures that are meant by a file, a folder or a pattern, and a count of all that is left out."""

from __future__ import annotations

import glob
import os
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import JobError
from .image_io.heif import readable_heif
from .image_io.kinds import LINKED_TWICE, NOT_READ, OTHER, READ, READ_NAMES, READ_ONLY, left_out_text
from .paths import absolute, identity_of
from .row import Row

_WILDCARDS = "*?["


@dataclass(frozen=True)
class InputFile:
    """A picture and where it stands below what was named, so that OUTPUT can get the same tree."""

    path: Path
    relative: Path


@dataclass
class Inputs:
    """Everything that was found.

    Attributes:
        files: the pictures, in the order of the inputs, folders sorted by name.
        several: OUTPUT must be a folder: there was a folder, a pattern, or more than one input.
        left_out: how many files of which kind are not read.
        failed: inputs and folders that cannot be read.
    """

    files: list[InputFile] = field(default_factory=list)
    several: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    failed: list[Row] = field(default_factory=list)


def find_inputs(inputs: Sequence[str], own: Sequence[Path]) -> Inputs:
    """Look for pictures. One input that names nothing does not stop the rest.

    Args:
        inputs: files, folders, patterns.
        own: files and folders that other options name; a folder among them is not searched.

    Raises:
        JobError: none of the inputs names a picture.
    """
    found = Inputs(several=len(inputs) > 1)
    problems: list[tuple[str, str]] = []
    for text in inputs:
        try:
            _add(text, own, found)
        except JobError as error:
            problems.append((text, str(error)))
    if problems and not found.files:
        raise JobError(problems[0][1] if len(problems) == 1 else " ".join(sentence for _, sentence in problems))
    found.failed += [Row(Path(text), error=sentence) for text, sentence in problems]
    first: dict[str, InputFile] = {}
    for file in found.files:
        first.setdefault(absolute(file.path), file)
    found.files = list(first.values())
    return found


def _add(text: str, own: Sequence[Path], found: Inputs) -> None:
    if not text:
        raise JobError("an input is an empty string: expected a picture, a folder or a pattern.")
    if text == "-":
        raise JobError("-: standard input is not read; name a file, a folder or a pattern.")
    path = Path(text).expanduser()
    before = len(found.files)
    try:
        if path.is_dir():
            found.several = True
            _walk(path, own, found)
            if len(found.files) == before and not found.failed:
                raise JobError(f"{text}: no {READ_NAMES} pictures in this folder{_but(found.left_out)}.")
        elif os.path.lexists(path) or not any(sign in text for sign in _WILDCARDS):
            if not path.exists():
                raise JobError(f"{text}: no such file or folder.")
            found.files.append(InputFile(path, Path(path.name)))
        else:  # a pattern that the shell left to us, as those of Windows do
            found.several = True
            _match(path, found)
            if len(found.files) == before:
                raise JobError(f"{text}: no picture fits this pattern.")
    except (OSError, ValueError) as error:  # a name that is too long, or with a zero byte
        if isinstance(error, JobError):
            raise
        raise JobError(f"{text}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _but(left_out: Counter[str]) -> str:
    return f" (left out: {left_out_text(left_out)})" if left_out else ""


def _walk(folder: Path, own: Sequence[Path], found: Inputs) -> None:
    """Pictures below a folder; hidden ones and folders that another option names are not looked at.

    Links to folders are followed once the folder itself has been searched, each folder once: no loop, and where a
    folder stands both as itself and as a link, the folder itself counts.
    """
    skipped = {path.resolve() for path in own} - {folder.resolve()}
    readable = readable_heif()
    below: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = deque([folder])

    def unreadable(error: OSError) -> None:
        path = Path(error.filename or folder)
        found.failed.append(Row(path, error=f"{path}: this folder cannot be read: {error.strerror or error}."))

    while waiting:
        top = waiting.popleft()
        identity = identity_of(top)
        if identity in seen:
            found.left_out[LINKED_TWICE] += 1
            continue
        for root, subfolders, names in os.walk(top, onerror=unreadable):
            here = Path(root)
            identity = identity_of(here)
            if identity is not None:
                if identity in seen:
                    subfolders.clear()
                    continue
                seen.add(identity)
            inner = [here / n for n in sorted(subfolders) if not n.startswith(".")]
            inner = [path for path in inner if path.resolve() not in skipped]
            waiting += (path for path in inner if path.is_symlink())
            subfolders[:] = [path.name for path in inner if not path.is_symlink()]
            for name in names:
                kind = READ.get(Path(name).suffix.lower())
                if name.startswith("."):
                    continue
                if kind is None or (kind in ("HEIC", "AVIF") and kind not in readable):
                    found.left_out[kind or NOT_READ.get(Path(name).suffix.lower(), OTHER)] += 1
                else:
                    below.append((here / name).relative_to(folder))
    below.sort(key=_tree_order)
    found.files += (InputFile(folder / relative, relative) for relative in below)


def _tree_order(relative: Path) -> tuple[tuple[int, str], ...]:
    """The files of a folder by name, then its subfolders."""
    *folders, name = relative.parts
    return (*((1, folder) for folder in folders), (0, name))


def _match(pattern: Path, found: Inputs) -> None:
    """Pictures that fit a pattern; their tree begins behind the last part without a wildcard."""
    fixed = [part for i, part in enumerate(pattern.parts) if not _has_wildcard(pattern.parts[: i + 1])]
    base = Path(*fixed) if fixed else Path()
    for text in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 (Path.glob takes no absolute pattern)
        path = Path(text)
        suffix = path.suffix.lower()
        if suffix in READ and not path.is_dir():
            found.files.append(InputFile(path, path.relative_to(base)))
        elif not path.is_dir():
            found.left_out[NOT_READ.get(suffix, OTHER)] += 1


def _has_wildcard(parts: tuple[str, ...]) -> bool:
    return any(sign in part for part in parts for sign in _WILDCARDS)


def output_name(relative: Path, taken: Counter[Path]) -> Path:
    """The name of the result: the input's, or .png for kinds that are read but not written.

    Args:
        taken: how many inputs share a name without extension.
    """
    if relative.suffix.lower() not in READ_ONLY:
        return relative
    return Path(f"{relative}.png") if taken[relative.with_suffix("")] > 1 else relative.with_suffix(".png")
