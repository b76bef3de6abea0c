"""Where detector files lie: the folders handed in, then where InsightFace and ReActor keep theirs, then ours."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..models import default_folders

# InsightFace's packs hold a larger and a smaller detector; the larger finds more
_SCRFD_BEST_FIRST = ("det_10g.onnx", "scrfd_10g*.onnx", "det_2.5g.onnx", "scrfd_2.5g*.onnx", "det_500m.onnx")
_SCRFD_NAMES = (*_SCRFD_BEST_FIRST, "det_*.onnx", "scrfd*.onnx")
_YUNET_NAMES = ("face_detection_yunet*.onnx", "yunet*.onnx")
_DEPTH = 4  # insightface/models/<pack>/det_10g.onnx below a models folder


def searched_folders(folders: Sequence[Path | str] = ()) -> list[Path]:
    """All folders that are looked into, in order, whether they exist or not; each once."""
    own = [Path(folder) for folder in folders]
    for models in default_folders():
        own.append(models)
        if models.parent.name == "models":  # ComfyUI's own: its neighbours are ReActor's and InsightFace's
            own += [models.parent / "insightface", models.parent / "facedetection"]
    home = Path(os.environ.get("INSIGHTFACE_HOME") or Path.home() / ".insightface")
    return list(dict.fromkeys([*own, home / "models"]))


def detector_files(folders: Sequence[Path | str] = ()) -> list[tuple[str, Path]]:
    """("insightface" or "yunet", file) for every detector file that its name gives away, the best of each kind first.

    Files are listed, not opened: what a file really is shows when it is loaded.
    """
    found: dict[Path, str] = {}
    for folder in searched_folders(folders):
        for path in sorted(_onnx_files(folder)):
            name = path.name.lower()
            if _rank(name, _YUNET_NAMES) is not None:
                found.setdefault(path.resolve(), "yunet")
            elif _rank(name, _SCRFD_NAMES) is not None:
                found.setdefault(path.resolve(), "insightface")
    files = [(kind, path) for path, kind in found.items()]
    return sorted(files, key=lambda entry: (entry[0], _rank(entry[1].name.lower(), _SCRFD_NAMES) or 0))


def _rank(name: str, patterns: Sequence[str]) -> int | None:
    return next((i for i, pattern in enumerate(patterns) if fnmatch.fnmatchcase(name, pattern)), None)


def _onnx_files(folder: Path) -> Iterator[Path]:
    for root, subfolders, names in os.walk(folder, followlinks=True):
        if len(Path(root).relative_to(folder).parts) >= _DEPTH:
            subfolders.clear()
        yield from (Path(root) / name for name in names if name.lower().endswith(".onnx"))
