"""The loader's list and the files behind its entries."""

from __future__ import annotations

import logging
from pathlib import Path

from ..models import (
    BUILTIN_LABEL,
    BUILTIN_PATH,
    ModelFile,
    ModelFileError,
    find_entry,
    find_model_files,
    inspect_header,
    near_names,
)
from . import host

_log = logging.getLogger(__name__)
_said: set[str] = set()  # what was logged: the page asks for the list again and again


def model_names() -> list[str]:
    """What the loader offers: files that are a GPEN by their headers, the built-in model last.

    So the built-in one is the default only where it is alone. Files that are no GPEN are named once in the log.
    """
    names = list(dict.fromkeys(file.name for file in _files() if _is_gpen(file)))
    if BUILTIN_PATH.is_file() or not names:
        names.append(BUILTIN_LABEL)
    return names


def _files() -> list[ModelFile]:
    return find_model_files(host.model_folders(), host.shared_folders())


def _is_gpen(file: ModelFile) -> bool:
    entry = find_entry(file.path.name)
    if entry is not None and entry.kind == "detector":  # where it belongs; not worth a line in the log
        return False
    try:
        inspect_header(file.path)
    except ModelFileError as error:
        sentence = str(error)
        if sentence not in _said:
            _said.add(sentence)
            _log.warning("left out of the list of GPEN models: %s", sentence)
        return False
    return True


def model_path(name: str) -> Path:
    """The file behind an entry of the list. Nothing but entries of the list is opened: no path, no ``~``.

    Raises:
        FileNotFoundError: there is no such entry; the sentence says which file goes where.
        ModelFileError: the file is there, but its header is no GPEN's.
    """
    if name == BUILTIN_LABEL:
        if not BUILTIN_PATH.is_file():
            raise FileNotFoundError(
                f"This copy of the pack lacks the built-in model, {BUILTIN_PATH}. Install the pack again."
            )
        return BUILTIN_PATH
    files = _files()
    named = [file for file in files if file.name == name]
    for file in named:  # two folders may have a file of that name
        if _is_gpen(file):
            return file.path
    if named:
        inspect_header(named[0].path)
    raise FileNotFoundError(_missing(name, near_names(name, model_names())))


def why_no_model(name: str) -> str | None:
    """None where there is a usable file behind the entry, else the sentence for the page."""
    try:
        model_path(name)
    except (FileNotFoundError, ModelFileError) as error:
        return str(error)
    return None


def _missing(name: str, near: list[str]) -> str:
    sentence = f"There is no model {name!r} in the list. Put the file into {host.model_folders()[0]}"
    entry = find_entry(Path(name).name)
    if entry is not None and entry.urls:
        sentence += f"; it can be downloaded from {entry.urls[0]} ({entry.licence})"
    if near:
        sentence += f"; or choose one that is there: {', '.join(near)}"
    return sentence + ". Press R on the page afterwards, so that the list is read again."


def file_signature(name: str) -> str:
    """Path, size and time of the file behind an entry; the bare name where there is none."""
    try:
        path = model_path(name)
        facts = path.stat()
    except (ModelFileError, OSError):
        return name
    return f"{path}:{facts.st_size}:{facts.st_mtime_ns}"
