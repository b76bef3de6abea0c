"""Detector sessions: one for each file and choice, shared between nodes, gone with the last node that uses it."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import torch

from ..detectors import Detector, detector_files
from ..detectors import load_detector as load_session
from . import host

# sessions live as long as a node that uses them: ComfyUI drops the nodes of a graph that is gone
_sessions: weakref.WeakValueDictionary[tuple[Any, ...], Detector] = weakref.WeakValueDictionary()


def load_detector(name: str, keeper: Any) -> Detector:
    """A detector; ``keeper``, the node, holds it while the node lives.

    Raises:
        DetectorError: no such detector, or its file cannot be read.
    """
    folders = host.detector_folders()
    files = [] if name == "builtin" else [file.path for file in detector_files(folders) if name in ("auto", file.kind)]
    key = (name, *map(_signature, files))  # a new or replaced file makes another session
    detector = _sessions.get(key)
    if detector is None:
        with torch.inference_mode(False):  # its weights outlive the run that loads them
            detector = _sessions[key] = load_session(name, folders=folders)
    keeper.kept_detector = detector
    return detector


def _signature(path: Path) -> tuple[str, int, int]:
    try:
        facts = path.stat()
    except OSError:  # gone since it was listed: the loader says so, or takes another
        return str(path), 0, 0
    return str(path), facts.st_size, facts.st_mtime_ns
