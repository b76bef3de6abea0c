"""Where detectors' files lie: the folders of InsightFace, ReActor, ComfyUI and ours. Lists folders, reads no file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..models import default_folders
from ..models.search import is_reachable_file

DEPTH = 4  # folders below the given one: insightface/models/<pack>/det_10g.onnx, and ComfyUI's models above that
_SCRFD = re.compile(r"(det|scrfd)[_-].*\.onnx", re.IGNORECASE)
_YUNET = re.compile(r".*yunet.*\.onnx", re.IGNORECASE)
_SIZE = re.compile(r"(\d+(?:[.p]\d+)?)(g|m)(?![a-z])", re.IGNORECASE)  # det_10g, scrfd_2.5g, 2p5g, 500m: operations
_YEAR = re.compile(r"20\d\d")


@dataclass(frozen=True)
class DetectorFile:
    """A file that is a detector by its name: ``insightface`` or ``yunet``."""

    kind: str
    path: Path


def search_folders(folders: Sequence[Path | str] = ()) -> tuple[Path, ...]:
    """Where detectors are looked for: the given folders, ours, ComfyUI's around us, InsightFace's in the home."""
    own = default_folders()
    around = [own[-1].parent / name for name in ("insightface", "facedetection")] if len(own) > 1 else []
    given = [Path(folder).expanduser() for folder in folders]
    return tuple(dict.fromkeys([*given, *own, *around, Path("~/.insightface").expanduser()]))


def detector_files(folders: Sequence[Path | str] = ()) -> list[DetectorFile]:
    """All files that are detectors by their names, the best first of either kind.

    InsightFace's ``det_*.onnx`` and ``scrfd*.onnx``: the largest model first. YuNet's ``*yunet*.onnx``: the newest
    first, quantised ones (``int8``) last. Equals go in the order of the folders. No folder is created.
    """
    found: dict[Path, tuple[tuple[float, ...], DetectorFile]] = {}
    for folder in search_folders(folders):
        for path in sorted(_walk(folder)):
            if _YUNET.fullmatch(path.name):
                found.setdefault(path.resolve(), ((1.0, *_yunet_rank(path.name)), DetectorFile("yunet", path)))
            elif _SCRFD.fullmatch(path.name):
                found.setdefault(path.resolve(), ((0.0, -_operations(path.name)), DetectorFile("insightface", path)))
    return [file for _, file in sorted(found.values(), key=lambda entry: entry[0])]


def _walk(folder: Path) -> Iterator[Path]:
    visited: set[Path] = set()
    for root, subfolders, names in os.walk(folder, followlinks=True):
        real = Path(root).resolve()
        if real in visited:  # a link in a circle
            subfolders.clear()
            continue
        visited.add(real)
        if len(Path(root).relative_to(folder).parts) >= DEPTH:
            subfolders.clear()
        paths = (Path(root) / name for name in names if name.lower().endswith(".onnx"))
        yield from filter(is_reachable_file, paths)  # a dangling link is listed, too


def _operations(name: str) -> float:
    """Billions of operations, as the name tells; 0 where it does not."""
    match = _SIZE.search(name)
    if not match:
        return 0.0
    return float(match[1].lower().replace("p", ".")) * (1.0 if match[2].lower() == "g" else 1e-3)


def _yunet_rank(name: str) -> tuple[float, ...]:
    year = _YEAR.search(name)
    return (float("int8" in name.lower()), -float(year[0]) if year else 0.0)
