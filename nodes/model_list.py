"""The loader's list and the files behind its entries."""

from __future__ import annotations

from pathlib import Path

from ..models import (
    BUILTIN_LABEL,
    BUILTIN_PATH,
    ModelFileError,
    ModelNotFoundError,
    find_entry,
    find_model_files,
    resolve_model,
)
from . import host


def model_names() -> list[str]:
    """What the loader offers: files by name, the built-in model last, so that it is the default only where alone."""
    files = find_model_files(host.model_folders(), host.shared_folders())
    names = list(dict.fromkeys(file.name for file in files if not _is_detector(file.name)))
    if BUILTIN_PATH.is_file() or not names:
        names.append(BUILTIN_LABEL)
    return names


def _is_detector(name: str) -> bool:
    """YuNet's file may lie in models/gpen and is no GPEN; other files are decided by their weights, when loaded."""
    entry = find_entry(Path(name).name)
    return entry is not None and entry.kind == "detector"


def model_path(name: str) -> Path:
    """The file behind an entry of the list.

    Raises:
        ModelNotFoundError: it is not there.
    """
    for file in find_model_files(host.model_folders(), host.shared_folders()):
        if file.name == name:
            return file.path
    return resolve_model(name, host.model_folders())


def why_no_model(name: str) -> str | None:
    """None where there is a file behind the entry, else which file goes where, for somebody in front of ComfyUI."""
    try:
        model_path(name)
    except ModelNotFoundError as error:
        return _missing(name, error.near)
    except ModelFileError as error:
        return str(error)
    return None


def _missing(name: str, near: tuple[str, ...]) -> str:
    if name == BUILTIN_LABEL:
        return f"This copy of the pack lacks the built-in model, {BUILTIN_PATH}. Install the pack again."
    sentence = f"There is no model {name}. Put the file into {host.model_folders()[0]}"
    entry = find_entry(Path(name).name)
    if entry is not None and entry.urls:
        sentence += f"; it can be had at {entry.urls[0]} ({entry.licence})"
    if near:
        sentence += f"; or choose one that is there: {', '.join(near)}"
    return sentence + ". Press R on the page afterwards, so that the list is read again."


def file_signature(name: str) -> str:
    """Path, size and time of the file behind an entry; the bare name where it is missing."""
    try:
        path = model_path(name)
        facts = path.stat()
    except (ModelFileError, OSError):
        return name
    return f"{path}:{facts.st_size}:{facts.st_mtime_ns}"
