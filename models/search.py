"""Where model files are searched, and which one a name means. Lists folders, reads no file, creates nothing."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .catalogue import CATALOGUE, find_entry
from .errors import ModelNotFoundError

EXTENSIONS = (".safetensors", ".pth", ".pt", ".onnx")  # preferred in this order where one name fits several files
OWN_FOLDER = Path(__file__).resolve().parent
BUILTIN_NAME = "builtin"
BUILTIN_LABEL = "GPEN compact 256 (built in)"
BUILTIN_PATH = OWN_FOLDER / "builtin" / "gpen-compact-256.safetensors"


@dataclass(frozen=True)
class ModelFile:
    """A file that may be a model: its path, the folder it was found through, and its name relative to that folder."""

    path: Path
    folder: Path
    name: str


def default_folders() -> tuple[Path, ...]:
    """Our own models folder, then `models/gpen` of the ComfyUI that this pack is installed in, if any."""
    models = _comfyui_models()
    return (OWN_FOLDER,) if models is None else (OWN_FOLDER, models / "gpen")


def download_folder() -> Path:
    """Where a download goes when nobody names a folder: ComfyUI's `models/gpen`, or our own models folder."""
    return default_folders()[-1]


def default_shared_folders() -> tuple[Path, ...]:
    """Folders of other packs: ReActor's `models/facerestore_models`, of which only GPEN's files are used."""
    models = _comfyui_models()
    return () if models is None else (models / "facerestore_models",)


def _comfyui_models() -> Path | None:
    """`models` of the ComfyUI around this pack, also where the pack is linked into it."""
    for own in (OWN_FOLDER, Path(__file__).absolute().parent):
        custom_nodes = own.parent.parent
        if custom_nodes.name == "custom_nodes":
            return custom_nodes.parent / "models"
    return None


def find_model_files(
    folders: Sequence[Path | str] | None = None, shared_folders: Sequence[Path | str] = ()
) -> list[ModelFile]:
    """All files with a model's extension, by name; nothing is opened, so some may be no models.

    Args:
        folders: folders for GPEN models, searched with their subfolders; None: `default_folders()`.
        shared_folders: folders that hold other models, too: only names with `gpen` in them count.

    Returns:
        In the order of the folders, then by name; a file that two folders reach is listed once. The built-in models
        are not in it. Folders that do not exist are skipped.
    """
    found: dict[Path, ModelFile] = {}
    searched = [(Path(f), False) for f in (default_folders() if folders is None else folders)]
    searched += [(Path(f), True) for f in shared_folders]
    for folder, shared in searched:
        for path in sorted(_walk(folder), key=lambda p: p.as_posix().casefold()):
            if not shared or "gpen" in path.name.casefold():
                found.setdefault(path.resolve(), ModelFile(path, folder, path.relative_to(folder).as_posix()))
    return list(found.values())


def _walk(folder: Path) -> Iterator[Path]:
    visited: set[Path] = set()
    for root, subfolders, names in os.walk(folder, followlinks=True):
        real = Path(root).resolve()
        if real in visited or real == BUILTIN_PATH.parent:  # a link in a circle; our own detector's weights
            subfolders.clear()
            continue
        visited.add(real)
        yield from filter(is_reachable_file, (Path(root) / name for name in names if name.lower().endswith(EXTENSIONS)))


def is_reachable_file(path: Path) -> bool:
    """Whether there is a file behind the name: not behind a dangling or forbidden link."""
    try:
        return path.is_file()
    except OSError:  # a folder on the way forbids to look
        return False


def resolve_model(path_or_name: Path | str, folders: Sequence[Path | str] = ()) -> Path:
    """The file that a path or a name means.

    Args:
        path_or_name: a path; `builtin`; a file name or a path relative to one of the folders; a name without its
            extension, a catalogue's for instance. Case does not matter in names.
        folders: searched first, then our own, then ComfyUI's beside us.

    Raises:
        ModelNotFoundError: neither such a file nor such a name; it lists near names and says how to get one.
    """
    text = str(path_or_name)
    if text in (BUILTIN_NAME, BUILTIN_LABEL):
        if not BUILTIN_PATH.is_file():
            raise ModelNotFoundError(BUILTIN_NAME, [BUILTIN_PATH.parent], (), (
                f"the built-in model's file {BUILTIN_PATH.name} is missing from this copy of the pack: "
                "install the pack again, or give a model file"
            ))  # fmt: skip
        return BUILTIN_PATH
    path = Path(text).expanduser()
    if path.exists() and (path.is_file() or path.is_absolute() or len(path.parts) > 1):
        return path  # a folder named as a path gets its own sentence from the reader
    own = tuple(folder for folder in default_folders() if folder not in {Path(f) for f in folders})
    searched = [Path(f) for f in folders] + list(own)
    files = find_model_files(searched, default_shared_folders())
    wanted = path.as_posix().casefold()
    for fits in (
        lambda file: file.name.casefold() == wanted,
        lambda file: file.path.name.casefold() == wanted,
        lambda file: wanted in (file.path.stem.casefold(), Path(file.name).with_suffix("").as_posix().casefold()),
    ):
        hits = [file for file in files if fits(file)]
        if hits:
            return min(hits, key=lambda file: EXTENSIONS.index(file.path.suffix.lower())).path
    if path.is_dir():
        return path
    raise _not_found(path_or_name, searched, files)


def near_names(name: str, names: Sequence[str]) -> list[str]:
    """Up to three names that are similar to ``name``; the first five where none is."""
    return difflib.get_close_matches(name, names, n=3, cutoff=0.5) or list(names[:5])


def _not_found(wanted: Path | str, searched: Sequence[Path], files: Sequence[ModelFile]) -> ModelNotFoundError:
    name = Path(str(wanted)).name
    here = [file.name for file in files]
    near = near_names(name, here)
    entry = find_entry(name)
    known = [e.name for e in CATALOGUE if e.loadable]
    if entry is not None and entry.loadable:
        remedy = f"fetch it with `models download {entry.name}`"
    else:
        close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
        remedy = "`models list` shows the known files"
        if close:
            remedy = f"`models download {close[0]}` fetches one of a similar name"
    return ModelNotFoundError(wanted, searched, near, remedy)
